//! Why a node does not start, and why a running one has to end.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Each one is a clear sentence for whoever started the process.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the data directory {} is in use by another process", .0.display())]
    InUse(PathBuf),
    #[error("the data directory {} cannot be used: {source}", .path.display())]
    DataDir { path: PathBuf, source: io::Error },
    #[error("{} is not empty and is not a Lockstep data directory", .0.display())]
    Foreign(PathBuf),
    #[error("the data directory {} was written by another version of Lockstep (format {found}, this one reads {expected})", .path.display())]
    Version { path: PathBuf, found: u32, expected: u32 },
    #[error("cannot listen for peers on {address}: {source}")]
    PeerListen { address: String, source: io::Error },
    #[error("the log is corrupt: {0}")]
    CorruptLog(String),
    #[error("the checkpoint is corrupt: {0}")]
    CorruptCheckpoint(String),
    /// Damage that nobody can make good. The directory is left as it is.
    #[error(
        "{damage}; this node does not start with it, and no other node is known to rebuild it from: restore the data directory from a backup"
    )]
    Unrecoverable { damage: String },
    /// Damage that the other nodes could make good. The directory is left as it is.
    #[error("{damage}; this node does not start with it, and it cannot be rebuilt from the other nodes now: {trouble}")]
    NotRebuilt { damage: String, trouble: String },
    #[error("the checkpoint cannot be restored: {0}")]
    Checkpoint(String),
    #[error("cannot join the cluster: {0}")]
    Join(String),
    /// The others do not take the node for a member any more.
    #[error("{0}")]
    Removed(String),
    #[error("a setting is wrong: {0}")]
    Config(String),
    #[error("the log does not start: {0}")]
    Log(String),
}

/// A fault after which nothing may be acknowledged any more: the process has to end.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Fatal(pub String);

/// Called once, from any thread, when the node has to end. The binary logs and exits; the node itself has already
/// stopped acknowledging.
pub type FatalHandler = Arc<dyn Fn(Fatal) + Send + Sync>;
