//! Checkpoints on their way to another node: the files in chunks, each with its checksum, into a directory aside;
//! installed only when everything arrived and was synced.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

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

/// Small, for commits use the same threads and connections' buffers between two of them.
pub(super) const CHUNK: usize = 128 << 10;
/// Progress is told this often.
const TELL: Duration = Duration::from_secs(5);

pub(super) async fn blocking<T: Send + 'static>(act: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    crate::blocking::blocking(act).await.map_err(io::Error::other)?
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

/// At most so many bytes of a file, and their checksum. Blocks.
pub(super) fn next_chunk(mut file: File, most: usize) -> io::Result<(File, Bytes, u32)> {
    let mut chunk = Vec::with_capacity(most);
    (&mut file).take(most as u64).read_to_end(&mut chunk)?;
    let crc = crc32c::crc32c(&chunk);
    Ok((file, Bytes::from(chunk), crc))
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
    let wanted = match timeout(patience.progress, connection.call(&Request::Snapshot(header))).await?? {
        Response::SnapshotWanted(wanted) => wanted,
        _ => return Err(NetError::Protocol),
    };
    let total: u64 = wanted.iter().filter_map(|number| files.get(*number as usize)).map(|(_, size)| size).sum();
    info!(files = wanted.len(), of = files.len(), bytes = total, last = ?stored.meta.last, "sending a checkpoint");
    let (mut sent, mut told) = (0, Instant::now());
    for number in wanted {
        let (name, _) = files.get(number as usize).ok_or(NetError::Protocol)?;
        let path = directory.join(name);
        let mut file = blocking(move || File::open(path)).await?;
        loop {
            if told.elapsed() > TELL {
                told = Instant::now();
                info!("{sent} of {total} bytes of the checkpoint are sent");
            }
            let (back, chunk, crc) = blocking(move || next_chunk(file, CHUNK)).await?;
            file = back;
            if chunk.is_empty() {
                break;
            }
            throttle.pass(chunk.len()).await;
            sent += chunk.len() as u64;
            let request = Request::SnapshotChunk { file: number, crc };
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

/// How much of a checkpoint is here, and of how much.
#[derive(Debug, Default)]
pub struct Arriving {
    done: AtomicU64,
    total: AtomicU64,
}

impl Arriving {
    /// `None`: it is not known yet.
    pub fn get(&self) -> Option<(u64, u64)> {
        let total = self.total.load(Ordering::Acquire);
        (total > 0).then(|| (self.done.load(Ordering::Relaxed).min(total), total))
    }

    /// Another one begins.
    pub fn reset(&self) {
        self.total.store(0, Ordering::Release);
    }
}

/// A checkpoint that is arriving.
pub struct Receiving {
    machine: Arc<Machine>,
    header: SnapshotHeader,
    /// Taken when it is installed.
    unpublished: Option<Unpublished>,
    /// Numbers of the files that are still to come, in order.
    missing: VecDeque<u32>,
    /// The file that is being written: number, bytes so far.
    current: Option<(u32, File, u64)>,
    /// Files that arrived whole.
    complete: Vec<String>,
    /// Whether a file was here already.
    reused: bool,
    arriving: Arc<Arriving>,
    /// None of the files is wanted.
    witness: bool,
}

impl Receiving {
    /// Looks what is here already. Blocks.
    pub fn begin(
        machine: Arc<Machine>,
        header: SnapshotHeader,
        arriving: Arc<Arriving>,
        witness: bool,
    ) -> io::Result<Self> {
        check_names(&header.files)?;
        let unpublished = machine.checkpoints.unpublished("incoming")?;
        let own = machine.checkpoints.current().filter(|own| !own.is_damaged());
        let own = own.as_ref().map(|own| own.state());
        let (mut missing, mut complete, mut done) = (VecDeque::new(), Vec::new(), 0);
        let files = if witness { &[][..] } else { &header.files[..] };
        for (number, (name, size)) in (0..).zip(files) {
            match machine.checkpoints.partial.link(name, *size, own.as_deref(), &unpublished.state()) {
                true => {
                    done += size;
                    complete.push(name.clone());
                }
                false => missing.push_back(number),
            }
        }
        arriving.done.store(done, Ordering::Relaxed);
        arriving.total.store(files.iter().map(|(_, size)| size).sum(), Ordering::Release);
        info!(files = files.len(), here = complete.len(), bytes_here = done, "receiving a checkpoint");
        let (reused, unpublished) = (!complete.is_empty(), Some(unpublished));
        Ok(Self { machine, header, unpublished, missing, current: None, complete, reused, arriving, witness })
    }

    /// Numbers of the files that have to come.
    pub fn wanted(&self) -> Vec<u32> {
        self.missing.iter().copied().collect()
    }

    fn state(&self) -> io::Result<PathBuf> {
        self.unpublished.as_ref().map(Unpublished::state).ok_or_else(|| io::Error::other("it was installed before"))
    }

    /// Adds a chunk; chunks come in the order of the files. Blocks.
    pub fn chunk(mut self, number: u32, crc: u32, bytes: &Bytes) -> io::Result<Self> {
        if crc32c::crc32c(bytes) != crc {
            return Err(io::Error::other("a chunk of a checkpoint arrived damaged"));
        }
        while self.current.as_ref().is_none_or(|(current, ..)| *current < number) {
            self.next_file()?;
        }
        match &mut self.current {
            Some((current, file, written)) if *current == number => {
                file.write_all(bytes)?;
                *written += bytes.len() as u64;
                self.arriving.done.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                Ok(self)
            }
            _ => Err(io::Error::other("the chunks of a checkpoint arrived out of order")),
        }
    }

    /// Completes the current file and begins the next one that is missing.
    fn next_file(&mut self) -> io::Result<()> {
        self.end_file()?;
        let unknown = || io::Error::other("a chunk of a file that is not wanted");
        let number = self.missing.pop_front().ok_or_else(unknown)?;
        let (name, _) = self.header.files.get(number as usize).ok_or_else(unknown)?;
        self.current = Some((number, File::create(self.state()?.join(name))?, 0));
        Ok(())
    }

    fn end_file(&mut self) -> io::Result<()> {
        let Some((number, file, written)) = self.current.take() else { return Ok(()) };
        let Some((name, size)) = self.header.files.get(number as usize) else { return Ok(()) };
        if written != *size {
            return Err(io::Error::other(format!("{written} of {size} bytes of {name} arrived")));
        }
        file.sync_all()?;
        self.complete.push(name.clone());
        Ok(())
    }

    /// Empty files have no chunks.
    fn finish(&mut self) -> io::Result<()> {
        if self.witness {
            return witness::write_checkpoint(&self.state()?, self.header.position);
        }
        while !self.missing.is_empty() {
            self.next_file()?;
        }
        self.end_file()
    }

    /// Everything arrived: installs it, if it is whole. A damaged one must not reach consensus, for which a checkpoint
    /// that cannot be installed is the end.
    pub async fn install(mut self, machine: &Arc<Machine>, raft: &Raft) -> Response {
        let verifier = machine.clone();
        let verified = blocking(move || {
            self.finish()?;
            let verified = verifier.verify(&self.state()?);
            Ok((verified, self))
        });
        let mut this = match verified.await {
            Ok((Ok(()), this)) => this,
            // Perhaps it is what was here before: the next time all of it has to come.
            Ok((Err(CheckpointError::Corrupt(what)), mut this)) if this.reused => {
                this.complete.clear();
                if let Some(own) = machine.checkpoints.current() {
                    own.condemn();
                }
                return Response::Error(format!("with the files that were here already it is damaged: {what}"));
            }
            Ok((Err(CheckpointError::Corrupt(what)), mut this)) => {
                this.complete.clear();
                warn!("a checkpoint arrived that is damaged: {what}");
                return Response::SnapshotDamaged(what);
            }
            Ok((Err(error), _)) => return Response::Error(error.to_string()),
            Err(error) => return Response::Error(error.to_string()),
        };
        let Some(unpublished) = this.unpublished.take() else {
            return Response::Error("it was installed before".to_owned());
        };
        if let Err(error) = machine.checkpoints.partial.clear() {
            warn!("cannot delete what is left of an earlier transfer: {error}");
        }
        let SnapshotHeader { vote, meta, position, .. } = this.header.clone();
        let snapshot = Snapshot { meta, snapshot: SnapshotData::Received(unpublished, position) };
        match raft.install_full_snapshot(vote, snapshot).await {
            Ok(response) => Response::Snapshot(response),
            Err(error) => Response::Error(error.to_string()),
        }
    }
}

impl Drop for Receiving {
    /// Cut short: what arrived whole is kept for the next attempt.
    fn drop(&mut self) {
        let Some(unpublished) = &self.unpublished else { return };
        let partial = &self.machine.checkpoints.partial;
        let kept = match self.complete.is_empty() {
            true => partial.clear(),
            false => partial.keep(&unpublished.state(), self.complete.iter()),
        };
        if let Err(error) = kept {
            warn!("what arrived of a checkpoint cannot be kept: {error}");
        }
    }
}
