//! The directory of checkpoints: written aside, published by rename, the previous one kept until then.
//!
//! ```text
//! checkpoints/checkpoint-<n>/meta    what it contains: log id, membership, position
//!                          /state/  the engine's files
//! checkpoints/writing-<n>/, incoming-<n>/: not published, deleted at the next start
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use engine::commit_log::{Checkpoint, CheckpointError, LogPosition};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::checkpoint_meter::CheckpointMeter;
use super::partial::Partial;
use super::types::{SnapshotMeta, StoredMembership};
use crate::blocking::aside;
use crate::wal::disk::{sync_directory, write_file_atomically};
use crate::wal::{EntryId, disk};

const META: &str = "meta";
const STATE: &str = "state";

/// What a checkpoint contains.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckpointMeta {
    /// Last entry that it contains; `None`: nothing was applied yet.
    pub last: Option<EntryId>,
    pub membership: StoredMembership,
    pub position: LogPosition,
}

impl CheckpointMeta {
    pub fn snapshot_meta(&self) -> SnapshotMeta {
        let last_log_id = self.last.map(super::types::log_id);
        SnapshotMeta { last_log_id, last_membership: self.membership.clone() }
    }

    fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let body = postcard::to_stdvec(self).map_err(io::Error::other)?;
        let mut bytes = crc32c::crc32c(&body).to_le_bytes().to_vec();
        bytes.extend(body);
        Ok(bytes)
    }

    fn read(directory: &Path) -> Result<Self, CheckpointError> {
        let path = directory.join(META);
        let corrupt = |what: String| CheckpointError::Corrupt(format!("{} {what}", path.display()));
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(corrupt("is missing".to_owned())),
            Err(error) => return Err(error.into()),
        };
        let (crc, body) = bytes.split_at_checked(4).ok_or_else(|| corrupt("is cut short".to_owned()))?;
        if crc != crc32c::crc32c(body).to_le_bytes() {
            return Err(corrupt("is damaged".to_owned()));
        }
        postcard::from_bytes(body).map_err(|error| corrupt(format!("cannot be read: {error}")))
    }
}

/// A published checkpoint. Its directory is deleted, little by little, once a newer one is published and nobody ships it
/// any more; a process that ends meanwhile leaves the rest to its next start.
#[derive(Debug)]
pub struct StoredCheckpoint {
    directory: PathBuf,
    pub meta: CheckpointMeta,
    obsolete: AtomicBool,
    /// Whoever received it found it damaged.
    damaged: AtomicBool,
    replace: Arc<Notify>,
}

impl StoredCheckpoint {
    fn new(directory: PathBuf, meta: CheckpointMeta, replace: Arc<Notify>) -> Self {
        Self { directory, meta, obsolete: AtomicBool::new(false), damaged: AtomicBool::new(false), replace }
    }

    /// Directory of the engine's files.
    pub fn state(&self) -> PathBuf {
        self.directory.join(STATE)
    }

    /// Has another one written in its place, none of whose files are taken from it.
    pub fn condemn(&self) {
        error!("the checkpoint {} is damaged and is written anew", self.directory.display());
        self.damaged.store(true, Ordering::Release);
        self.replace.notify_one();
    }

    /// What it holds is whole and wrong: none of its files are taken over into the next one.
    pub fn discredit(&self) {
        self.damaged.store(true, Ordering::Release);
    }

    pub fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }
}

impl Drop for StoredCheckpoint {
    fn drop(&mut self) {
        if self.obsolete.load(Ordering::Acquire) {
            let directory = std::mem::take(&mut self.directory);
            aside("checkpoint-removal", move || {
                if let Err(error) = delete(&directory) {
                    warn!("cannot delete the old checkpoint {}: {error}", directory.display());
                }
            });
        }
    }
}

/// Deletes a checkpoint, resting after each of its files: while the file system frees one, the log's syncs wait.
fn delete(directory: &Path) -> io::Result<()> {
    for file in std::fs::read_dir(directory.join(STATE))? {
        let begun = Instant::now();
        std::fs::remove_file(file?.path())?;
        std::thread::sleep(begun.elapsed() * 3);
    }
    std::fs::remove_dir_all(directory)
}

/// A directory that becomes a checkpoint when [`Checkpoints::publish`] is called, and nothing otherwise.
#[derive(Debug)]
pub struct Unpublished {
    directory: PathBuf,
    published: bool,
}

impl Unpublished {
    pub fn state(&self) -> PathBuf {
        self.directory.join(STATE)
    }
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        if !self.published {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// The checkpoints of one group.
#[derive(Debug)]
pub struct Checkpoints {
    root: PathBuf,
    current: Mutex<Option<Arc<StoredCheckpoint>>>,
    counter: AtomicU64,
    /// The current one was found to be damaged.
    pub replace: Arc<Notify>,
    /// What arrived of checkpoints that did not arrive whole.
    pub partial: Partial,
    pub meter: CheckpointMeter,
}

impl Checkpoints {
    /// Finds the newest checkpoint and deletes what was never published.
    pub fn open(root: PathBuf) -> Result<Self, CheckpointError> {
        disk::create_directory(&root)?;
        let partial = Partial::new(&root);
        let mut published = Vec::new();
        for entry in std::fs::read_dir(&root)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("checkpoint-") {
                published.push(path);
            } else if name.starts_with("writing-") || name.starts_with("incoming-") {
                if name.starts_with("incoming-") {
                    // A file that is cut short is known by its length, other damage by its checksum.
                    partial.keep_all(&path.join(STATE))?;
                }
                std::fs::remove_dir_all(&path)?;
            }
        }
        // Names sort by index, and those of one index by age.
        published.sort();
        let replace = Arc::new(Notify::new());
        let current = match published.pop() {
            None => None,
            Some(directory) => {
                let meta = CheckpointMeta::read(&directory)?;
                info!(last = ?meta.last, "found checkpoint {}", directory.display());
                Some(Arc::new(StoredCheckpoint::new(directory, meta, replace.clone())))
            }
        };
        for older in published {
            std::fs::remove_dir_all(&older)?;
        }
        let meter = CheckpointMeter::default();
        if let Some(current) = &current {
            let written = std::fs::metadata(current.directory.join(META)).and_then(|meta| meta.modified());
            meter.published(&current.state(), written.ok());
        }
        Ok(Self { root, current: Mutex::new(current), counter: AtomicU64::new(0), replace, partial, meter })
    }

    pub fn current(&self) -> Option<Arc<StoredCheckpoint>> {
        self.current.lock().clone()
    }

    /// A new directory for a checkpoint that is written here (`writing`) or received (`incoming`).
    pub fn unpublished(&self, kind: &str) -> io::Result<Unpublished> {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let directory = self.root.join(format!("{kind}-{number}"));
        let unpublished = Unpublished { directory, published: false };
        std::fs::create_dir_all(unpublished.state())?;
        Ok(unpublished)
    }

    /// Writes the engine's state, as fast as it is due, and publishes it. Blocks.
    pub fn write(
        &self,
        checkpoint: Box<dyn Checkpoint>,
        meta: CheckpointMeta,
        due: &dyn Fn() -> f64,
    ) -> Result<Arc<StoredCheckpoint>, CheckpointError> {
        let unpublished = self.unpublished("writing")?;
        let previous = self.current().filter(|previous| !previous.is_damaged());
        checkpoint.write(&unpublished.state(), previous.as_deref().map(StoredCheckpoint::state).as_deref(), due)?;
        Ok(self.publish(unpublished, meta)?)
    }

    /// Makes a complete, synced directory the current checkpoint. Blocks.
    pub fn publish(&self, mut unpublished: Unpublished, meta: CheckpointMeta) -> io::Result<Arc<StoredCheckpoint>> {
        disk::sync_directory(&unpublished.state())?;
        write_file_atomically(&unpublished.directory.join(META), &meta.to_bytes()?)?;
        let mut directory = self.root.join(format!("checkpoint-{:020}", meta.last.map_or(0, |last| last.index + 1)));
        let mut current = self.current.lock();
        if let Some(current) = current.as_ref().filter(|current| current.meta.last >= meta.last) {
            if !current.is_damaged() || current.meta.last > meta.last {
                return Ok(current.clone());
            }
            directory = current.directory.clone();
            directory.as_mut_os_string().push("-again");
        }
        std::fs::rename(&unpublished.directory, &directory)?;
        unpublished.published = true;
        sync_directory(&self.root)?;
        let stored = Arc::new(StoredCheckpoint::new(directory, meta, self.replace.clone()));
        self.meter.published(&stored.state(), None);
        let old = current.replace(stored.clone());
        drop(current);
        if let Some(old) = old {
            old.obsolete.store(true, Ordering::Release);
        }
        Ok(stored)
    }
}
