//! A disk in memory for tests: it loses what was not synced when it crashes, tears writes at sectors, and fails on
//! demand.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::Rng;

use super::disk::{Disk, DiskFile};

const SECTOR: usize = 512;

/// What goes wrong next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Write,
    Sync,
    Allocation,
}

#[derive(Default)]
struct Content {
    /// What a reader sees.
    seen: Vec<u8>,
    /// What survives a crash for certain.
    synced: Vec<u8>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Arc<Mutex<Content>>>,
    fault: Option<Fault>,
    /// No file can be created.
    full: bool,
    syncs: u64,
}

#[derive(Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

impl MemoryDisk {
    pub fn fail_next(&self, fault: Fault) {
        self.state.lock().fault = Some(fault);
    }

    /// A disk with these files, all synced.
    pub fn holding(files: BTreeMap<String, Vec<u8>>) -> Self {
        let content = |bytes: Vec<u8>| Arc::new(Mutex::new(Content { seen: bytes.clone(), synced: bytes }));
        let files = files.into_iter().map(|(name, bytes)| (name, content(bytes))).collect();
        MemoryDisk { state: Arc::new(Mutex::new(State { files, ..State::default() })) }
    }

    pub fn set_full(&self, full: bool) {
        self.state.lock().full = full;
    }

    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// The disk after a power loss: of each sector that was written and not synced, either content may be there.
    pub fn crashed(&self, random: &mut impl Rng) -> MemoryDisk {
        let mut files = BTreeMap::new();
        for (name, content) in &self.state.lock().files {
            let content = content.lock();
            let mut bytes = content.synced.clone();
            bytes.resize(content.seen.len(), 0);
            for at in (0..bytes.len()).step_by(SECTOR) {
                let end = (at + SECTOR).min(bytes.len());
                if random.random() {
                    bytes[at..end].copy_from_slice(&content.seen[at..end]);
                }
            }
            let content = Content { seen: bytes.clone(), synced: bytes };
            files.insert(name.clone(), Arc::new(Mutex::new(content)));
        }
        MemoryDisk { state: Arc::new(Mutex::new(State { files, ..State::default() })) }
    }

    /// Changes the bytes of a file behind the back of everybody.
    pub fn damage(&self, name: &str, change: impl FnOnce(&mut [u8])) {
        let file = self.state.lock().files[name].clone();
        let mut content = file.lock();
        change(&mut content.seen);
        content.synced = content.seen.clone();
    }

    pub fn content(&self, name: &str) -> Vec<u8> {
        self.state.lock().files[name].lock().seen.clone()
    }

    /// All files as a reader sees them.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.state.lock().files.iter().map(|(name, content)| (name.clone(), content.lock().seen.clone())).collect()
    }

    fn file(&self, content: Arc<Mutex<Content>>) -> Arc<dyn DiskFile> {
        Arc::new(MemoryFile { disk: self.clone(), content })
    }

    fn check(&self, fault: Fault) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.fault == Some(fault) {
            state.fault = None;
            return Err(io::Error::other("injected fault"));
        }
        Ok(())
    }
}

impl Disk for MemoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state.lock().files.keys().cloned().collect())
    }

    fn create(&self, name: &str, size: u64, _written: bool) -> io::Result<Arc<dyn DiskFile>> {
        self.check(Fault::Allocation)?;
        if self.state.lock().full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let zeros = vec![0; size as usize];
        let content = Arc::new(Mutex::new(Content { seen: zeros.clone(), synced: zeros }));
        let mut state = self.state.lock();
        if state.files.insert(name.to_owned(), content.clone()).is_some() {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        drop(state);
        Ok(self.file(content))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let content = self.state.lock().files.get(name).cloned();
        Ok(self.file(content.ok_or(io::ErrorKind::NotFound)?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.state.lock().files.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    content: Arc<Mutex<Content>>,
}

impl DiskFile for MemoryFile {
    fn read_all(&self) -> io::Result<Vec<u8>> {
        Ok(self.content.lock().seen.clone())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let content = self.content.lock();
        let at = offset as usize;
        let bytes = content.seen.get(at..at + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.check(Fault::Write)?;
        let mut content = self.content.lock();
        let at = offset as usize;
        if content.seen.len() < at + bytes.len() {
            content.seen.resize(at + bytes.len(), 0);
        }
        content.seen[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.check(Fault::Sync)?;
        self.disk.state.lock().syncs += 1;
        let mut content = self.content.lock();
        content.synced = content.seen.clone();
        Ok(())
    }
}
