//! A checkpoint that is asked for: by a backup, and by a node whose state has diverged. The other side writes one that holds
//! everything acknowledged before the question, keeps it as long as the connection lasts, and sends file by file.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWrite;
use tokio::time::timeout;

use super::client::{Connection, NetError};
use super::frame::write_frame;
use super::message::{Request, Response};
use super::throttle::Throttle;
use super::transfer::{CHUNK, blocking, files_of, next_chunk};
use crate::raft::checkpoints::{CheckpointMeta, StoredCheckpoint};

/// Writing a checkpoint takes as long as the disk takes.
const WRITTEN: Duration = Duration::from_secs(3600);

/// What a node has to give.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Offer {
    pub cluster: String,
    pub node: u64,
    pub name: String,
    pub meta: CheckpointMeta,
    /// Names and sizes.
    pub files: Vec<(String, u64)>,
}

/// A checkpoint of another node, to be read file by file.
pub struct Fetch {
    connection: Connection,
    pub offer: Offer,
    /// For any sign of progress.
    patience: Duration,
}

impl Fetch {
    pub async fn begin(mut connection: Connection, patience: Duration) -> Result<Self, NetError> {
        match timeout(WRITTEN, connection.call(&Request::Checkpoint)).await?? {
            Response::Checkpoint(offer) => {
                super::transfer::check_names(&offer.files)?;
                Ok(Self { connection, offer, patience })
            }
            _ => Err(NetError::Protocol),
        }
    }

    /// Asks for a file; its content follows by [`Self::chunk`].
    pub async fn file(&mut self, number: usize) -> Result<(), NetError> {
        timeout(self.patience, self.connection.send(&Request::CheckpointFile(number as u32), &[])).await?
    }

    /// More of the file that was asked for; `None`: that was all.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, NetError> {
        let (response, blob) = timeout(self.patience, self.connection.receive_blob()).await??;
        match response {
            Response::CheckpointChunk { crc } if blob.is_empty() && crc == 0 => Ok(None),
            Response::CheckpointChunk { crc } if crc32c::crc32c(&blob) == crc => Ok(Some(blob)),
            Response::CheckpointChunk { .. } => Err(io::Error::other("a chunk arrived damaged").into()),
            _ => Err(NetError::Protocol),
        }
    }
}

/// The other side: what a connection asked for.
pub struct Offering {
    stored: Arc<StoredCheckpoint>,
    files: Vec<(String, u64)>,
}

impl Offering {
    pub async fn new(stored: Arc<StoredCheckpoint>) -> io::Result<Self> {
        let directory = stored.state();
        let files = blocking(move || files_of(directory)).await?;
        Ok(Self { stored, files })
    }

    pub fn offer(&self, cluster: &str, node: u64, name: &str) -> Offer {
        let (cluster, name) = (cluster.to_owned(), name.to_owned());
        Offer { cluster, node, name, meta: self.stored.meta.clone(), files: self.files.clone() }
    }

    /// Sends one file and its end.
    pub async fn send<W: AsyncWrite + Unpin>(&self, number: u32, throttle: &Throttle, sink: &mut W) -> io::Result<()> {
        let (name, size) = self.files.get(number as usize).ok_or_else(|| io::Error::other("there is no such file"))?;
        let path = self.stored.state().join(name);
        let mut file = blocking(move || File::open(path)).await?;
        let mut left = *size;
        while left > 0 {
            let most = left.min(CHUNK as u64) as usize;
            let (back, chunk, crc) = blocking(move || next_chunk(file, most)).await?;
            file = back;
            if chunk.is_empty() {
                return Err(io::Error::other(format!("{name} is cut short")));
            }
            left -= chunk.len() as u64;
            throttle.pass(chunk.len()).await;
            let header = postcard::to_stdvec(&Response::CheckpointChunk { crc });
            write_frame(sink, &header.map_err(io::Error::other)?, &[chunk]).await?;
        }
        let end = postcard::to_stdvec(&Response::CheckpointChunk { crc: 0 }).map_err(io::Error::other)?;
        write_frame(sink, &end, &[]).await
    }
}
