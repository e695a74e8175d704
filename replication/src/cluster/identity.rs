//! The data directory: whose it is, and that only one process uses it.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::known::Known;
use crate::StartError;
use crate::rebuild::Mark;
use crate::wal::disk::{create_directory, move_directory, sync_directory, write_file_atomically};

/// Changes when a directory of an older version cannot be used any more.
pub const FORMAT: u32 = 2;
const IDENTITY: &str = "cluster.toml";
const LOCK: &str = "lock";
/// What may lie in a directory that has no identity yet.
const HARMLESS: [&str; 4] = [LOCK, "cluster.new", "lost+found", "lockstep.toml"];
/// Beginning of the name of a directory with what a damaged node left behind.
const DAMAGED: &str = "damaged-node";

/// Who a node is, for the rest of its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub format: u32,
    pub cluster_id: String,
    pub node_id: u64,
    /// The cluster began on this node.
    pub founder: bool,
    /// There are no tables here.
    #[serde(default)]
    pub witness: bool,
    /// The log and the checkpoints that lie here are damaged and belong to the node with this id, whose place this one
    /// takes: they have to be put aside before anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<u64>,
}

impl Identity {
    pub fn founder() -> Self {
        let random: u128 = rand::random();
        let (cluster_id, witness, replaces) = (format!("{random:032x}"), false, None);
        Self { format: FORMAT, cluster_id, node_id: 1, founder: true, witness, replaces }
    }
}

/// A data directory, locked as long as this lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
    pub identity: Option<Identity>,
}

impl DataDir {
    pub fn open(path: &Path) -> Result<Self, StartError> {
        let unusable = |source: io::Error| StartError::DataDir { path: path.to_owned(), source };
        create_directory(path).map_err(unusable)?;
        let identity = read_identity(path)?;
        if identity.is_none() {
            for entry in std::fs::read_dir(path).map_err(unusable)? {
                let name = entry.map_err(unusable)?.file_name();
                if !HARMLESS.iter().any(|harmless| name == *harmless) {
                    return Err(StartError::Foreign(path.to_owned()));
                }
            }
        }
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK));
        let lock = lock.map_err(unusable)?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StartError::InUse(path.to_owned())),
            Err(error) => return Err(unusable(error.into())),
        }
        // Between the first look and the lock another process may have made the directory its own.
        let identity = read_identity(path)?;
        Ok(Self { path: path.to_owned(), _lock: lock, identity })
    }

    pub fn adopt(&mut self, identity: Identity) -> Result<(), StartError> {
        let unusable = |source: io::Error| StartError::DataDir { path: self.path.clone(), source };
        let text = toml::to_string(&identity).map_err(|e| unusable(io::Error::other(e)))?;
        write_file_atomically(&self.path.join(IDENTITY), text.as_bytes()).map_err(unusable)?;
        self.identity = Some(identity);
        Ok(())
    }

    /// Completes the change to an identity that replaces a damaged one: what lies here is put aside, for whoever wants to
    /// look at it. Only the latest such remains are kept. Does nothing when there is nothing to be done; may be cut
    /// short at any point and is then done at the next start.
    pub fn put_damaged_aside(&mut self) -> Result<(), StartError> {
        let Some(identity) = self.identity.clone() else { return Ok(()) };
        let Some(replaced) = identity.replaces else { return Ok(()) };
        let unusable = |source: io::Error| StartError::DataDir { path: self.path.clone(), source };
        let aside = self.path.join(format!("{DAMAGED}{replaced}"));
        for entry in std::fs::read_dir(&self.path).map_err(unusable)? {
            let path = entry.map_err(unusable)?.path();
            let remains = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(DAMAGED));
            if remains && path != aside {
                std::fs::remove_dir_all(&path).map_err(unusable)?;
            }
        }
        create_directory(&aside).map_err(unusable)?;
        let to = |from: &Path| aside.join(from.file_name().unwrap_or_default());
        let (wal, checkpoints) = (self.wal(), self.checkpoints());
        for moved in [move_directory(&wal, &to(&wal)), std::fs::rename(&checkpoints, to(&checkpoints))] {
            moved
                .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(unusable(error)) })?;
        }
        Known::remove(&self.path).map_err(unusable)?;
        Mark::new(&self.path).remove().map_err(unusable)?;
        sync_directory(&aside).and_then(|()| sync_directory(&self.path)).map_err(unusable)?;
        self.adopt(Identity { replaces: None, ..identity })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn wal(&self) -> PathBuf {
        self.path.join("wal")
    }

    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }
}

/// Whose a directory is; `None`: nobody's yet.
pub fn read_identity(path: &Path) -> Result<Option<Identity>, StartError> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let unusable = |source: io::Error| StartError::DataDir { path: path.to_owned(), source };
    let text = match std::fs::read_to_string(path.join(IDENTITY)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(error)),
    };
    let wrong = |error: toml::de::Error| {
        unusable(io::Error::new(io::ErrorKind::InvalidData, format!("{IDENTITY} cannot be read: {}", error.message())))
    };
    let Format { format } = toml::from_str(&text).map_err(wrong)?;
    if format != FORMAT {
        return Err(StartError::Version { path: path.to_owned(), found: format, expected: FORMAT });
    }
    Ok(Some(toml::from_str(&text).map_err(wrong)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_belongs_to_one_process_and_one_node() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        let mut data = DataDir::open(&path).unwrap();
        assert!(matches!(DataDir::open(&path), Err(StartError::InUse(_))));
        let identity = Identity::founder();
        data.adopt(identity.clone()).unwrap();
        drop(data);
        assert_eq!(DataDir::open(&path).unwrap().identity, Some(identity));
    }

    #[test]
    fn what_a_damaged_node_left_is_put_aside_whenever_that_was_cut_short() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        let mut data = DataDir::open(&path).unwrap();
        data.adopt(Identity::founder()).unwrap();
        data.put_damaged_aside().unwrap();
        let fill = |data: &DataDir| {
            for directory in [data.wal(), data.checkpoints()] {
                std::fs::create_dir_all(&directory).unwrap();
                std::fs::write(directory.join("file"), "x").unwrap();
            }
            Known::default().write(data.path()).unwrap();
        };
        fill(&data);
        data.adopt(Identity { node_id: 4, founder: false, replaces: Some(1), ..Identity::founder() }).unwrap();
        // Cut short after one of the two was moved.
        std::fs::create_dir(path.join("damaged-node1")).unwrap();
        std::fs::rename(data.wal(), path.join("damaged-node1/wal")).unwrap();
        drop(data);
        let mut data = DataDir::open(&path).unwrap();
        data.put_damaged_aside().unwrap();
        let identity = data.identity.clone().unwrap();
        assert_eq!((identity.node_id, identity.founder, identity.replaces), (4, false, None));
        assert!(!data.wal().exists() && !data.checkpoints().exists());
        assert_eq!(Known::read(&path).unwrap(), None);
        assert!(path.join("damaged-node1/wal/file").exists() && path.join("damaged-node1/checkpoints/file").exists());
        // The next time: only the latest remains are kept.
        fill(&data);
        data.adopt(Identity { node_id: 5, replaces: Some(4), ..identity }).unwrap();
        data.put_damaged_aside().unwrap();
        assert!(!path.join("damaged-node1").exists() && path.join("damaged-node4/wal/file").exists());
    }

    #[test]
    fn foreign_unusable_and_other_versions_directories_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        std::fs::write(path.join("thesis.tex"), "x").unwrap();
        assert!(matches!(DataDir::open(path), Err(StartError::Foreign(_))));
        assert!(!path.join(LOCK).exists(), "a foreign directory is not touched");
        assert!(matches!(DataDir::open(&path.join("thesis.tex")), Err(StartError::DataDir { .. })));
        std::fs::write(path.join(IDENTITY), "format = 99\nfuture = true\n").unwrap();
        assert!(matches!(DataDir::open(path), Err(StartError::Version { found: 99, .. })));
        std::fs::write(path.join(IDENTITY), "format = ").unwrap();
        assert!(matches!(DataDir::open(path), Err(StartError::DataDir { .. })));
    }
}
