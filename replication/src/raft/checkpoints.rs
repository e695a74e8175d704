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

use engine::commit_log::{Checkpoint, CheckpointError, LogPosition};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::types::{SnapshotMeta, StoredMembership};
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

    fn read(directory: &Path) -> Result<Self, String> {
        let path = directory.join(META);
        let bytes = std::fs::read(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let (crc, body) = bytes.split_at_checked(4).ok_or_else(|| format!("{} is cut short", path.display()))?;
        if crc != crc32c::crc32c(body).to_le_bytes() {
            return Err(format!("{} is damaged", path.display()));
        }
        postcard::from_bytes(body).map_err(|e| format!("{} cannot be read: {e}", path.display()))
    }
}

/// A published checkpoint. Its directory is deleted when a newer one is published and nobody ships it any more.
#[derive(Debug)]
pub struct StoredCheckpoint {
    directory: PathBuf,
    pub meta: CheckpointMeta,
    obsolete: AtomicBool,
}

impl StoredCheckpoint {
    /// Directory of the engine's files.
    pub fn state(&self) -> PathBuf {
        self.directory.join(STATE)
    }
}

impl Drop for StoredCheckpoint {
    fn drop(&mut self) {
        if self.obsolete.load(Ordering::Acquire)
            && let Err(error) = std::fs::remove_dir_all(&self.directory)
        {
            warn!("cannot delete the old checkpoint {}: {error}", self.directory.display());
        }
    }
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
}

impl Checkpoints {
    /// Finds the newest checkpoint and deletes what was never published.
    pub fn open(root: PathBuf) -> Result<Self, String> {
        let describe = |e: io::Error| format!("cannot use {}: {e}", root.display());
        std::fs::create_dir_all(&root).map_err(describe)?;
        if let Some(parent) = root.parent() {
            sync_directory(parent).map_err(describe)?;
        }
        let mut published = Vec::new();
        for entry in std::fs::read_dir(&root).map_err(describe)? {
            let path = entry.map_err(describe)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("checkpoint-") {
                published.push(path);
            } else if name.starts_with("writing-") || name.starts_with("incoming-") {
                std::fs::remove_dir_all(&path).map_err(describe)?;
            }
        }
        // Names sort by index.
        published.sort();
        let current = match published.pop() {
            None => None,
            Some(directory) => {
                let meta = CheckpointMeta::read(&directory)?;
                info!(last = ?meta.last, "found checkpoint {}", directory.display());
                Some(Arc::new(StoredCheckpoint { directory, meta, obsolete: AtomicBool::new(false) }))
            }
        };
        for older in published {
            std::fs::remove_dir_all(&older).map_err(describe)?;
        }
        Ok(Self { root, current: Mutex::new(current), counter: AtomicU64::new(0) })
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

    /// Writes the engine's state and publishes it. Blocks.
    pub fn write(
        &self,
        checkpoint: Box<dyn Checkpoint>,
        meta: CheckpointMeta,
    ) -> Result<Arc<StoredCheckpoint>, CheckpointError> {
        let unpublished = self.unpublished("writing")?;
        let previous = self.current();
        checkpoint.write(&unpublished.state(), previous.as_deref().map(StoredCheckpoint::state).as_deref())?;
        Ok(self.publish(unpublished, meta)?)
    }

    /// Makes a complete, synced directory the current checkpoint. Blocks.
    pub fn publish(&self, mut unpublished: Unpublished, meta: CheckpointMeta) -> io::Result<Arc<StoredCheckpoint>> {
        disk::sync_directory(&unpublished.state())?;
        write_file_atomically(&unpublished.directory.join(META), &meta.to_bytes()?)?;
        let directory = self.root.join(format!("checkpoint-{:020}", meta.last.map_or(0, |last| last.index + 1)));
        let mut current = self.current.lock();
        if let Some(current) = current.as_ref().filter(|current| current.meta.last >= meta.last) {
            return Ok(current.clone());
        }
        std::fs::rename(&unpublished.directory, &directory)?;
        unpublished.published = true;
        sync_directory(&self.root)?;
        let stored = Arc::new(StoredCheckpoint { directory, meta, obsolete: AtomicBool::new(false) });
        if let Some(old) = current.replace(stored.clone()) {
            old.obsolete.store(true, Ordering::Release);
        }
        Ok(stored)
    }
}
