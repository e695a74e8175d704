//! A node whose state is not that of the others: taken out of service, and given the primary's state while it goes on
//! voting and keeping the log, which is whole.
//!
//! From the verdict on entries are counted as applied and not given to the engine. A checkpoint comes from the primary, what
//! the log has behind it is applied again, and a checkpoint of the result replaces the node's own.
//!
//! Invariants:
//! 1. A file in the data directory says that the state is not to be trusted, from before the node is out of service until a
//!    checkpoint of a good state is on disk: a node that ends in between is rebuilt at its next start like a damaged one.
//! 2. While it is out of service the node writes no checkpoint, does not stand for election and is never primary.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use crate::blocking::blocking;
use crate::cluster::Members;
use crate::net::client::Connection;
use crate::net::fetch::Fetch;
use crate::raft::machine::{Due, Machine};
use crate::raft::roles::best_successor;
use crate::raft::{Raft, known_primary, leads};
use crate::wal::disk::{sync_directory, write_file_atomically};

const MARK: &str = "diverged";
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(500);
/// The mark is written again and again while the disk is full.
const MARK_PAUSE: Duration = Duration::from_secs(1);

/// The file of invariant 1.
#[derive(Debug, Clone)]
pub struct Mark(PathBuf);

impl Mark {
    pub fn new(data_dir: &Path) -> Self {
        Self(data_dir.join(MARK))
    }

    /// Why the state is not to be trusted.
    pub fn read(&self) -> io::Result<Option<String>> {
        match std::fs::read_to_string(&self.0) {
            Ok(reason) => Ok(Some(reason)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&self, reason: &str) -> io::Result<()> {
        write_file_atomically(&self.0, reason.as_bytes())
    }

    pub fn remove(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        sync_directory(self.0.parent().unwrap_or(Path::new(".")))
    }
}

/// Rebuilds this node whenever it is condemned.
pub struct Rebuilder {
    pub raft: Raft,
    pub machine: Arc<Machine>,
    pub members: Arc<Members>,
    pub mark: Mark,
}

impl Rebuilder {
    pub async fn run(self) {
        loop {
            self.machine.condemned.notified().await;
            while let Some(reason) = self.machine.diverged() {
                self.raft.runtime_config().elect(false);
                let (mark, text) = (self.mark.clone(), reason.clone());
                if let Ok(Err(error)) = blocking(move || mark.write(&text)).await {
                    error!("DIVERGED, and it cannot be written down: {error}");
                    tokio::time::sleep(MARK_PAUSE).await;
                    continue;
                }
                match self.rebuild().await {
                    Ok(()) => info!("rebuilt from the primary: the node is in service again"),
                    Err(trouble) => {
                        warn!("DIVERGED: {reason}. The node is out of service and not rebuilt yet: {trouble}");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
            self.raft.runtime_config().elect(true);
        }
    }

    /// The error is a sentence.
    async fn rebuild(&self) -> Result<(), String> {
        if leads(&self.raft) {
            let successor = best_successor(&self.raft, self.members.id()).ok_or("there is no other node")?;
            self.raft.trigger().transfer_leader(successor).await.map_err(|error| error.to_string())?;
            return Err("another node has to become the primary first".to_owned());
        }
        let primary = known_primary(&self.raft).ok_or("no primary is known")?;
        let address = self.members.address_of(primary.0).ok_or("the primary has no known address")?;
        let patience = self.members.caller.patience;
        let hello = self.members.caller.hello(primary.0);
        let connection = Connection::open(&address, &hello, patience.connect).await.map_err(|e| e.to_string())?;
        let mut fetch = Fetch::begin(connection, patience.progress).await.map_err(|e| e.to_string())?;
        let incoming = self.machine.checkpoints.unpublished("incoming").map_err(|e| e.to_string())?;
        let bytes: u64 = fetch.offer.files.iter().map(|(_, size)| size).sum();
        info!(bytes, files = fetch.offer.files.len(), primary = primary.0, "fetching the primary's checkpoint");
        crate::net::transfer::receive(&mut fetch, &incoming.state()).await.map_err(|e| e.to_string())?;
        self.machine.replace(incoming, fetch.offer.meta, &self.members.log).await?;
        let stored = self.machine.checkpoint(Due::Now).await.map_err(|error| error.to_string())?;
        info!(last = ?stored.meta.last, "a checkpoint of the rebuilt state is written");
        let mark = self.mark.clone();
        let removed = blocking(move || mark.remove()).await.map_err(|error| error.to_string())?;
        removed.map_err(|error| error.to_string())?;
        self.machine.reinstate();
        Ok(())
    }
}
