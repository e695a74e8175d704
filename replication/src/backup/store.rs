//! Where backups and archives lie: a directory, or an object store by its URL.
//!
//! Invariant: what [`Store::put`] or [`Upload::finish`] returned for survives a power loss.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};

use super::BackupError;
use crate::wal::disk::{create_directory, sync_directory};

/// A larger object is written part by part.
const PART: usize = 8 << 20;
/// Parts of one object on their way.
const PARTS_AT_ONCE: usize = 4;
/// Schemes whose stores are known and not part of this program.
const NOT_BUILT_IN: [&str; 10] = ["s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss", "http", "https"];

#[derive(Debug, Clone)]
pub struct Store {
    objects: Arc<LocalFileSystem>,
    url: String,
}

/// An object that is being written.
pub struct Upload {
    store: Store,
    name: String,
    /// What was written of a small object.
    small: Vec<u8>,
    large: Option<WriteMultipart>,
}

/// Length and CRC-32C of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    pub length: u64,
    pub crc: u32,
}

impl Sum {
    pub const EMPTY: Sum = Sum { length: 0, crc: 0 };

    pub fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.crc = crc32c::crc32c_append(self.crc, bytes);
    }
}

fn directory_of(url: &str) -> Result<PathBuf, BackupError> {
    let wrong = |why: &str| BackupError::Target(format!("\"{url}\" cannot be used: {why}"));
    let Some((scheme, rest)) = url.split_once("://") else {
        return if url.is_empty() { Err(wrong("it is empty")) } else { Ok(PathBuf::from(url)) };
    };
    match scheme {
        "file" if rest.starts_with('/') && !rest.contains('%') => Ok(PathBuf::from(rest)),
        "file" => Err(wrong("a file URL is file:///directory, without escapes")),
        known if NOT_BUILT_IN.contains(&known) => {
            Err(wrong(&format!("object stores of the scheme {known} are not built in")))
        }
        _ => Err(wrong("its scheme is unknown")),
    }
}

impl Store {
    /// Opens a directory, which is made if it is not there, or a URL. Says so where the kind of store is not built in.
    pub fn open(url: &str) -> Result<Self, BackupError> {
        let directory = directory_of(url)?;
        create_directory(&directory).map_err(BackupError::io(format!("cannot make the directory {url}")))?;
        Self::at(url, &directory)
    }

    /// Opens what has to be there.
    pub fn existing(url: &str) -> Result<Self, BackupError> {
        let directory = directory_of(url)?;
        if !directory.is_dir() {
            return Err(BackupError::Target(format!("there is no directory {}", directory.display())));
        }
        Self::at(url, &directory)
    }

    fn at(url: &str, directory: &Path) -> Result<Self, BackupError> {
        let source = LocalFileSystem::new_with_prefix(directory);
        let source = source.map_err(|source| BackupError::Store { what: format!("cannot open {url}"), source })?;
        Ok(Self { objects: Arc::new(source), url: url.to_owned() })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    fn key(&self, name: &str) -> Result<Key, BackupError> {
        Key::parse(name).map_err(|error| BackupError::Damaged(format!("a file cannot be named {name:?}: {error}")))
    }

    fn failed(&self, verb: &str, name: &str) -> impl FnOnce(object_store::Error) -> BackupError {
        let what = format!("cannot {verb} {name} in {}", self.url);
        move |source| BackupError::Store { what, source }
    }

    /// Writes a small object, in one piece or not at all.
    pub async fn put(&self, name: &str, bytes: Bytes) -> Result<(), BackupError> {
        let key = self.key(name)?;
        self.objects.put(&key, PutPayload::from(bytes)).await.map_err(self.failed("write", name))?;
        self.sync(name).await
    }

    pub fn upload(&self, name: &str) -> Upload {
        Upload { store: self.clone(), name: name.to_owned(), small: Vec::new(), large: None }
    }

    /// A file system keeps what was written in memory until it is told not to.
    async fn sync(&self, name: &str) -> Result<(), BackupError> {
        let key = self.key(name)?;
        let path = self.objects.path_to_filesystem(&key).map_err(self.failed("sync", name))?;
        let synced = tokio::task::spawn_blocking(move || {
            File::open(&path)?.sync_all()?;
            path.parent().map_or(Ok(()), sync_directory)
        });
        let failed = BackupError::io(format!("cannot sync {name} in {}", self.url));
        synced.await.map_err(std::io::Error::other).and_then(|synced| synced).map_err(failed)
    }

    /// A whole object; `None`: it is not there.
    pub async fn read(&self, name: &str) -> Result<Option<Bytes>, BackupError> {
        let key = self.key(name)?;
        let got = match self.objects.get(&key).await {
            Ok(got) => got,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(self.failed("read", name)(error)),
        };
        got.bytes().await.map(Some).map_err(self.failed("read", name))
    }

    /// Reads an object from its beginning to its end; `None`: it is not there.
    async fn each(&self, name: &str, mut take: impl FnMut(&Bytes) -> std::io::Result<()>) -> Result<bool, BackupError> {
        let key = self.key(name)?;
        let got = match self.objects.get(&key).await {
            Ok(got) => got,
            Err(object_store::Error::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(self.failed("read", name)(error)),
        };
        let mut parts = got.into_stream();
        while let Some(part) = parts.next().await {
            let part = part.map_err(self.failed("read", name))?;
            take(&part).map_err(BackupError::io(format!("cannot write a copy of {name}")))?;
        }
        Ok(true)
    }

    /// What is really there; `None`: nothing.
    pub async fn sum(&self, name: &str) -> Result<Option<Sum>, BackupError> {
        let mut sum = Sum::EMPTY;
        let found = self.each(name, |part| {
            sum.add(part);
            Ok(())
        });
        Ok(found.await?.then_some(sum))
    }

    /// Copies an object into a new file and syncs it; `None`: it is not there.
    pub async fn download(&self, name: &str, path: &Path) -> Result<Option<Sum>, BackupError> {
        let failed = || BackupError::io(format!("cannot write {}", path.display()));
        let mut file = File::create_new(path).map_err(failed())?;
        let mut sum = Sum::EMPTY;
        let found = self.each(name, |part| {
            sum.add(part);
            file.write_all(part)
        });
        let found = found.await?;
        file.sync_all().map_err(failed())?;
        Ok(found.then_some(sum))
    }

    /// Names below a prefix, sorted.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, BackupError> {
        let key = self.key(prefix)?;
        let prefix = (!prefix.is_empty()).then_some(&key);
        let listed: Vec<_> = self.objects.list(prefix).try_collect().await.map_err(self.failed("list", "what is"))?;
        let mut names: Vec<String> = listed.into_iter().map(|object| object.location.to_string()).collect();
        names.sort();
        Ok(names)
    }
}

impl Upload {
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), BackupError> {
        if self.large.is_none() && self.small.len() + bytes.len() <= PART {
            self.small.extend_from_slice(&bytes);
            return Ok(());
        }
        let (store, name) = (&self.store, &self.name);
        let large = match &mut self.large {
            Some(large) => large,
            none => {
                let begun =
                    store.objects.put_multipart(&store.key(name)?).await.map_err(store.failed("write", name))?;
                none.insert(WriteMultipart::new_with_chunk_size(begun, PART))
            }
        };
        if !self.small.is_empty() {
            large.put(std::mem::take(&mut self.small).into());
        }
        large.wait_for_capacity(PARTS_AT_ONCE).await.map_err(store.failed("write", name))?;
        large.put(bytes);
        Ok(())
    }

    pub async fn finish(self) -> Result<(), BackupError> {
        let Self { store, name, small, large } = self;
        match large {
            None => store.put(&name, small.into()).await,
            Some(large) => {
                large.finish().await.map_err(store.failed("write", &name))?;
                store.sync(&name).await
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn small_and_large_objects_are_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("file://{}", dir.path().join("new").display())).unwrap();
        for (name, length) in [("data/empty", 0), ("data/small", 100), ("data/large", PART * 2 + 17)] {
            let mut upload = store.upload(name);
            let mut sum = Sum::EMPTY;
            let bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            for part in bytes.chunks(1 << 20) {
                sum.add(part);
                upload.write(Bytes::copy_from_slice(part)).await.unwrap();
            }
            upload.finish().await.unwrap();
            assert_eq!(store.sum(name).await.unwrap(), Some(sum), "{name}");
            let copy = dir.path().join("copy");
            assert_eq!(store.download(name, &copy).await.unwrap(), Some(sum));
            assert_eq!(std::fs::read(&copy).unwrap(), bytes);
            std::fs::remove_file(copy).unwrap();
        }
        assert_eq!(store.list("data").await.unwrap(), ["data/empty", "data/large", "data/small"]);
        assert_eq!(store.read("nothing").await.unwrap(), None);
        assert_eq!(store.sum("nothing").await.unwrap(), None);
    }

    #[test]
    fn stores_that_are_not_built_in_are_refused_by_name() {
        for url in ["s3://bucket/backups", "gs://bucket", "https://host/path"] {
            assert!(Store::open(url).unwrap_err().to_string().contains("not built in"), "{url}");
        }
        for url in ["", "file://host/path", "ftp://host"] {
            assert!(matches!(Store::open(url), Err(BackupError::Target(_))), "{url}");
        }
        assert!(matches!(Store::existing("/nowhere/at/all"), Err(BackupError::Target(_))));
    }
}
