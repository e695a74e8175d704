//! Takes a backup of a running node: everything that was acknowledged before it began, as of one position.

use std::collections::HashMap;

use engine::recovery;
use tracing::info;

use super::BackupError;
use super::manifest::{BackedUp, BackupManifest, NAME};
use super::store::{Store, Sum};
use crate::net::client::Connection;
use crate::net::fetch::Fetch;
use crate::net::message::{Hello, PROTOCOL};

use std::time::Duration;

/// For a connection, and for any sign of progress.
const CONNECT: Duration = Duration::from_secs(10);
const PROGRESS: Duration = Duration::from_secs(60);
/// Files of the engine lie below this.
pub const DATA: &str = "data";

/// Backs up the node at a peer address, into a store that holds nothing yet. Returns when the whole backup was read back and
/// is as it should be.
pub async fn take(connect: &str, to: &str) -> Result<BackupManifest, BackupError> {
    let store = Store::open(to)?;
    if !store.list("").await?.is_empty() {
        return Err(BackupError::Target(format!("{to} is not empty: a backup needs a place of its own")));
    }
    let node = |source| BackupError::Node { address: connect.to_owned(), source };
    let hello = Hello { protocol: PROTOCOL, cluster: String::new(), from: 0, to: 0 };
    let connection = Connection::open(connect, &hello, CONNECT).await.map_err(node)?;
    let mut fetch = Fetch::begin(connection, PROGRESS).await.map_err(node)?;
    let offer = fetch.offer.clone();
    let last = offer.meta.last.ok_or_else(|| BackupError::Target("the node holds nothing yet".to_owned()))?;
    let bytes: u64 = offer.files.iter().map(|(_, size)| size).sum();
    info!(cluster = offer.cluster, node = offer.name, files = offer.files.len(), bytes, "backing up");

    let mut files = Vec::with_capacity(offer.files.len());
    let mut manifest = Vec::new();
    for (number, (name, size)) in offer.files.iter().enumerate() {
        fetch.file(number).await.map_err(node)?;
        let mut upload = store.upload(&format!("{DATA}/{name}"));
        let mut sum = Sum::EMPTY;
        while let Some(chunk) = fetch.chunk().await.map_err(node)? {
            sum.add(&chunk);
            if name == recovery::MANIFEST {
                manifest.extend_from_slice(&chunk);
            }
            upload.write(chunk).await?;
        }
        if sum.length != *size {
            return Err(BackupError::Damaged(format!("{} of {size} bytes of {name} arrived", sum.length)));
        }
        upload.finish().await?;
        files.push(BackedUp { name: name.clone(), length: sum.length, crc32c: sum.crc });
    }
    // What came is what the engine wrote once, not only what the node read from its disk now.
    let content = recovery::content(&manifest)?;
    let sums: HashMap<&str, Sum> = files.iter().map(|file| (file.name.as_str(), file.sum())).collect();
    for file in &content.files {
        let wanted = Sum { length: file.length, crc: file.crc };
        if sums.get(file.name.as_str()) != Some(&wanted) {
            return Err(BackupError::Damaged(format!("{} is not what the node had written", file.name)));
        }
    }
    let manifest = BackupManifest {
        format: BackupManifest::format(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster_id: offer.cluster,
        node: offer.name,
        term: last.term,
        index: last.index,
        position: content.position.0,
        last_commit: content.last_commit.text(),
        files,
    };
    verify(&store, &manifest).await?;
    let text = manifest.to_text()?;
    store.put(NAME, text.into()).await?;
    let read_back = store.read(NAME).await?.ok_or_else(|| BackupError::Damaged(format!("{NAME} is not there")))?;
    if BackupManifest::parse(&read_back)? != manifest {
        return Err(BackupError::Damaged(format!("{NAME} is not what was written")));
    }
    Ok(manifest)
}

/// Reads every file and compares it with its checksum.
async fn verify(store: &Store, manifest: &BackupManifest) -> Result<(), BackupError> {
    for file in &manifest.files {
        match store.sum(&format!("{DATA}/{}", file.name)).await? {
            Some(sum) if sum == file.sum() => {}
            Some(_) => return Err(BackupError::Damaged(format!("{} is not what was written", file.name))),
            None => return Err(BackupError::Damaged(format!("{} is missing", file.name))),
        }
    }
    Ok(())
}
