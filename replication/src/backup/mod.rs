//! Backups: a checkpoint of a running node in a directory or an object store ([`take`]), the log behind it as it is
//! committed ([`archiver`], [`archive`]), and a new cluster from both ([`restore`]).
//!
//! ```text
//! backup:  backup.toml                     what it is, with the checksum of every file; written last
//!          data/<file>                     the engine's files of one checkpoint
//! archive: <cluster id>/<first>-<last>.log entries with these indexes, in the order of the log
//! ```
//!
//! Invariants:
//! 1. A backup without its `backup.toml` is none; that is written when everything else was read back and found whole.
//! 2. Ranges of an archive follow each other without a gap, or the gap is an error when the archive is read.
//! 3. A restored cluster has an id of its own and goes on in a later term: it never meets the one that it came from.

pub mod archive;
pub mod archiver;
pub mod manifest;
pub mod restore;
pub mod store;
pub mod take;

use std::io;
use std::path::PathBuf;

use engine::commit_log::CheckpointError;

use crate::StartError;
use crate::net::client::NetError;
use crate::wal::WalError;

/// Why a backup or a restore did not succeed. Each one is a sentence for whoever ran it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{0}")]
    Target(String),
    #[error("{what}: {source}")]
    Store { what: String, source: object_store::Error },
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("the node at {address} cannot be backed up: {source}")]
    Node { address: String, source: NetError },
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    #[error("the archive cannot be used: {0}")]
    Archive(String),
    #[error("{} is not empty: a backup is restored into a new directory only", .0.display())]
    NotEmpty(PathBuf),
    #[error("{0}")]
    Log(#[from] WalError),
    #[error("{0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("{0}")]
    Directory(#[from] StartError),
}

impl BackupError {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> BackupError {
        let what = what.into();
        move |source| BackupError::Io { what, source }
    }
}
