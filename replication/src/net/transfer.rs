//! Checkpoints on their way to another node: the files in chunks, each with its checksum, into a directory aside;
//! installed only when everything arrived and was synced.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use engine::commit_log::CheckpointError;
use openraft::raft::SnapshotResponse;
use openraft::storage::Snapshot;
use tokio::time::timeout;
use tracing::{info, warn};

use super::client::{Connection, NetError};
use super::fetch::Fetch;
use super::message::{Patience, Request, Response, SnapshotHeader};
use super::throttle::Throttle;
use crate::raft::Raft;
use crate::raft::checkpoints::{StoredCheckpoint, Unpublished};
use crate::raft::machine::{Machine, SnapshotData};
use crate::raft::types::{TypeConfig, Vote};
use crate::witness;

pub(super) const CHUNK: usize = 1 << 20;

pub(super) async fn blocking<T: Send + 'static>(act: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(act).await.map_err(io::Error::other)?
}

pub(super) fn files_of(directory: PathBuf) -> io::Result<Vec<(String, u64)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|_| io::Error::other("a file name that is not text"))?;
        files.push((name, entry.metadata()?.len()));
    }
    files.sort();
    Ok(files)
}

/// Names that come from elsewhere must stay within their directory.
pub(super) fn check_names(files: &[(String, u64)]) -> io::Result<()> {
    let plain = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
    match files.iter().find(|(name, _)| !plain(name)) {
        Some((name, _)) => Err(io::Error::other(format!("a checkpoint with a file named {name:?}"))),
        None => Ok(()),
    }
}

/// Fetches all files of a checkpoint into a directory and syncs them.
pub async fn receive(fetch: &mut Fetch, directory: &Path) -> Result<(), NetError> {
    for number in 0..fetch.offer.files.len() {
        let Some((name, size)) = fetch.offer.files.get(number).cloned() else { break };
        let path = directory.join(&name);
        let mut file = blocking(move || File::create(path)).await?;
        fetch.file(number).await?;
        let mut written = 0;
        while let Some(chunk) = fetch.chunk().await? {
            written += chunk.len() as u64;
            file = blocking(move || file.write_all(&chunk).map(|()| file)).await?;
        }
        if written != size {
            return Err(io::Error::other(format!("{written} of {size} bytes of {name} arrived")).into());
        }
        blocking(move || file.sync_all()).await?;
    }
    Ok(())
}

/// Sends a checkpoint and waits until it is installed.
pub async fn send(
    mut connection: Connection,
    vote: Vote,
    stored: Arc<StoredCheckpoint>,
    patience: Patience,
    throttle: &Throttle,
) -> Result<SnapshotResponse<TypeConfig>, NetError> {
    let directory = stored.state();
    let list = directory.clone();
    let files = blocking(move || files_of(list)).await?;
    let header = SnapshotHeader {
        vote,
        meta: stored.meta.snapshot_meta(),
        position: stored.meta.position,
        files: files.clone(),
    };
    info!(files = files.len(), last = ?stored.meta.last, "sending a checkpoint");
    let wanted = match timeout(patience.progress, connection.call(&Request::Snapshot(header))).await?? {
        Response::SnapshotReady => files.len(),
        Response::SnapshotUnwanted => 0,
        _ => return Err(NetError::Protocol),
    };
    for (number, (name, _)) in files.iter().enumerate().take(wanted) {
        let path = directory.join(name);
        let mut file = blocking(move || File::open(path)).await?;
        loop {
            let (back, chunk) = blocking(move || {
                let mut chunk = Vec::with_capacity(CHUNK);
                (&mut file).take(CHUNK as u64).read_to_end(&mut chunk)?;
                Ok((file, Bytes::from(chunk)))
            })
            .await?;
            file = back;
            if chunk.is_empty() {
                break;
            }
            throttle.pass(chunk.len()).await;
            let request = Request::SnapshotChunk { file: number as u32, crc: crc32c::crc32c(&chunk) };
            timeout(patience.progress, connection.send(&request, &[chunk])).await??;
        }
    }
    connection.send(&Request::SnapshotEnd, &[]).await?;
    // Installing takes as long as it takes; openraft cancels it when leadership changes.
    match connection.receive().await? {
        Response::Snapshot(response) => Ok(response),
        Response::SnapshotDamaged(what) => {
            stored.condemn();
            Err(NetError::Remote(what))
        }
        _ => Err(NetError::Protocol),
    }
}

/// A checkpoint that is arriving.
pub struct Receiving {
    header: SnapshotHeader,
    unpublished: Unpublished,
    /// The file that is being written: number, bytes so far.
    current: Option<(usize, File, u64)>,
    complete: usize,
    /// None of the files is wanted.
    witness: bool,
}

impl Receiving {
    pub fn begin(machine: &Machine, header: SnapshotHeader, witness: bool) -> io::Result<Self> {
        check_names(&header.files)?;
        let unpublished = machine.checkpoints.unpublished("incoming")?;
        Ok(Self { header, unpublished, current: None, complete: 0, witness })
    }

    /// Adds a chunk; chunks come in the order of the files. Blocks.
    pub fn chunk(mut self, number: u32, crc: u32, bytes: &Bytes) -> io::Result<Self> {
        if crc32c::crc32c(bytes) != crc {
            return Err(io::Error::other("a chunk of a checkpoint arrived damaged"));
        }
        let number = number as usize;
        while self.current.as_ref().is_none_or(|(current, ..)| *current < number) {
            self.next_file()?;
        }
        match &mut self.current {
            Some((current, file, written)) if *current == number => {
                file.write_all(bytes)?;
                *written += bytes.len() as u64;
                Ok(self)
            }
            _ => Err(io::Error::other("the chunks of a checkpoint arrived out of order")),
        }
    }

    /// Completes the current file and begins the next one.
    fn next_file(&mut self) -> io::Result<()> {
        if let Some((number, file, written)) = self.current.take() {
            let (name, size) = &self.header.files[number];
            if written != *size {
                return Err(io::Error::other(format!("{written} of {size} bytes of {name} arrived")));
            }
            file.sync_all()?;
            self.complete = number + 1;
        }
        let (name, _) =
            self.header.files.get(self.complete).ok_or_else(|| io::Error::other("a chunk of an unknown file"))?;
        self.current = Some((self.complete, File::create(self.unpublished.state().join(name))?, 0));
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.witness {
            return witness::write_checkpoint(&self.unpublished.state(), self.header.position);
        }
        while self.complete < self.header.files.len() {
            if self.current.as_ref().is_some_and(|(number, ..)| number + 1 == self.header.files.len()) {
                let (number, file, written) = self.current.take().ok_or(io::ErrorKind::InvalidData)?;
                if written != self.header.files[number].1 {
                    return Err(io::Error::other("a checkpoint arrived cut short"));
                }
                file.sync_all()?;
                self.complete = number + 1;
            } else {
                self.next_file()?;
            }
        }
        Ok(())
    }

    /// Everything arrived: installs it, if it is whole. A damaged one must not reach consensus, for which a checkpoint
    /// that cannot be installed is the end.
    pub async fn install(mut self, machine: &Arc<Machine>, raft: &Raft) -> Response {
        let verifier = machine.clone();
        let verified = blocking(move || {
            self.finish()?;
            let verified = verifier.verify(&self.unpublished.state());
            Ok((verified, self))
        });
        let this = match verified.await {
            Ok((Ok(()), this)) => this,
            Ok((Err(CheckpointError::Corrupt(what)), _)) => {
                warn!("a checkpoint arrived that is damaged: {what}");
                return Response::SnapshotDamaged(what);
            }
            Ok((Err(error), _)) => return Response::Error(error.to_string()),
            Err(error) => return Response::Error(error.to_string()),
        };
        let SnapshotHeader { vote, meta, position, .. } = this.header;
        let snapshot = Snapshot { meta, snapshot: SnapshotData::Received(this.unpublished, position) };
        match raft.install_full_snapshot(vote, snapshot).await {
            Ok(response) => Response::Snapshot(response),
            Err(error) => Response::Error(error.to_string()),
        }
    }
}
