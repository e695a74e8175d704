//! What a node remembers of the other members outside its log, for the day on which it cannot read its log: where to
//! find them. That the file is there also says that this node once had a log.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::wal::disk::write_file_atomically;

const FILE: &str = "members.toml";

/// The other members, as last known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// `HOST:PORT` under which they are reached.
    pub others: BTreeSet<String>,
}

fn file(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

impl Known {
    /// `None`: this node never had a log, or one of an older version. A file that cannot be understood is as good as
    /// one that names nobody.
    pub fn read(directory: &Path) -> io::Result<Option<Self>> {
        match std::fs::read_to_string(file(directory)) {
            Ok(text) => Ok(Some(toml::from_str(&text).unwrap_or_else(|error| {
                warn!("{FILE} cannot be read, the other members are unknown: {}", error.message());
                Self::default()
            }))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(Self::default())),
            Err(error) => Err(error),
        }
    }

    /// Blocks.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        write_file_atomically(&file(directory), text.as_bytes())
    }

    pub fn remove(directory: &Path) -> io::Result<()> {
        match std::fs::remove_file(file(directory)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_members_are_remembered_and_a_damaged_file_names_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert_eq!(Known::read(path).unwrap(), None);
        let known = Known { others: BTreeSet::from(["10.0.0.2:15432".to_owned(), "b:1".to_owned()]) };
        known.write(path).unwrap();
        assert_eq!(Known::read(path).unwrap(), Some(known));
        for damaged in [&b"others = 7"[..], &[0xff, 0xfe], b""] {
            std::fs::write(file(path), damaged).unwrap();
            assert_eq!(Known::read(path).unwrap(), Some(Known::default()));
        }
        Known::remove(path).unwrap();
        Known::remove(path).unwrap();
        assert_eq!(Known::read(path).unwrap(), None);
    }
}
