//! The disk of a simulated node. It outlives the node's processes, loses what was not synced when its power fails,
//! tears writes at sectors, and fails, fills up or rots when it is told to.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::wal::disk::{Disk, DiskFile};

const SECTOR: usize = 512;

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    /// What stood in the sectors that were written and not synced.
    unsynced: BTreeMap<usize, Vec<u8>>,
}

struct State {
    files: BTreeMap<String, Arc<Mutex<Content>>>,
    random: StdRng,
    /// Number of the process that may use it.
    process: u64,
    /// Operations until one fails, and the process ends.
    fails_after: Option<u32>,
    full: bool,
    /// Bytes that were ever written, for the trace.
    written: u64,
    syncs: u64,
}

/// A disk in the hands of one process; the disk itself is shared by all of its handles.
#[derive(Clone)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
    process: u64,
}

impl SimulatedDisk {
    pub fn new(seed: u64) -> Self {
        let state = State {
            files: BTreeMap::new(),
            random: StdRng::seed_from_u64(seed),
            process: 0,
            fails_after: None,
            full: false,
            written: 0,
            syncs: 0,
        };
        Self { state: Arc::new(Mutex::new(state)), process: 0 }
    }

    /// The disk for the next process; earlier ones can do nothing to it any more.
    pub fn taken(&mut self) -> Self {
        let mut state = self.state.lock();
        state.process += 1;
        state.fails_after = None;
        Self { state: self.state.clone(), process: state.process }
    }

    /// Lets one of the next operations fail.
    pub fn fail_after(&self, operations: u32) {
        self.state.lock().fails_after = Some(operations);
    }

    pub fn set_full(&self, full: bool) {
        self.state.lock().full = full;
    }

    /// The power fails: of each sector that was written and not synced, either content may be there.
    pub fn lose_power(&self) {
        let state = &mut *self.state.lock();
        let all = state.random.random_range(0..4);
        for content in state.files.values() {
            let content = &mut *content.lock();
            for (sector, before) in std::mem::take(&mut content.unsynced) {
                let keep = match all {
                    0 => false,
                    1 => true,
                    _ => state.random.random(),
                };
                if !keep {
                    content.bytes[sector * SECTOR..][..before.len()].copy_from_slice(&before);
                }
            }
        }
    }

    pub fn wipe(&self) {
        self.state.lock().files.clear();
    }

    /// Turns one bit in the first part of the oldest file, if that was written and is not the newest.
    pub fn rot(&self) -> bool {
        let state = &mut *self.state.lock();
        if state.files.len() < 2 {
            return false;
        }
        let Some(content) = state.files.values().next() else { return false };
        let mut content = content.lock();
        let Some(end) = content.bytes.iter().rposition(|byte| *byte != 0) else { return false };
        let at = state.random.random_range(0..=end / 2);
        content.bytes[at] ^= 1 << state.random.random_range(0..8);
        true
    }

    /// Bytes written and syncs so far.
    pub fn counters(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.written, state.syncs)
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let state = &mut *self.state.lock();
        if state.process != self.process {
            return Err(io::Error::other("this process has ended"));
        }
        act(state)
    }
}

impl State {
    fn count_down(&mut self) -> io::Result<()> {
        match &mut self.fails_after {
            Some(0) => Err(io::Error::from_raw_os_error(libc::EIO)),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Disk for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.with(|state| Ok(state.files.keys().cloned().collect()))
    }

    fn create(&self, name: &str, size: u64, _written: bool) -> io::Result<Arc<dyn DiskFile>> {
        self.with(|state| {
            state.count_down()?;
            if state.full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            if state.files.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let content = Content { bytes: vec![0; size as usize], unsynced: BTreeMap::new() };
            let content = Arc::new(Mutex::new(content));
            state.files.insert(name.to_owned(), content.clone());
            Ok(Arc::new(SimulatedFile { disk: self.clone(), content }) as _)
        })
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.with(|state| {
            let content = state.files.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
            Ok(Arc::new(SimulatedFile { disk: self.clone(), content }) as _)
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.with(|state| {
            state.count_down()?;
            state.files.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    /// Readable as long as it is open, like any file.
    content: Arc<Mutex<Content>>,
}

impl DiskFile for SimulatedFile {
    fn read_all(&self) -> io::Result<Vec<u8>> {
        self.disk.with(|_| Ok(self.content.lock().bytes.clone()))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.with(|_| {
            let content = self.content.lock();
            let from = content.bytes.get(offset as usize..).and_then(|rest| rest.get(..buffer.len()));
            buffer.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.with(|state| {
            let failure = state.count_down();
            // A write that fails may have reached the disk in part.
            let reached = match &failure {
                Ok(()) => bytes.len(),
                Err(_) => state.random.random_range(0..=bytes.len()),
            };
            let (at, end) = (offset as usize, offset as usize + reached);
            state.written += reached as u64;
            let content = &mut *self.content.lock();
            if content.bytes.len() < end {
                content.bytes.resize(end, 0);
            }
            for sector in at / SECTOR..end.div_ceil(SECTOR) {
                let before = content.bytes[sector * SECTOR..].iter().take(SECTOR).copied();
                content.unsynced.entry(sector).or_insert_with(|| before.collect());
            }
            content.bytes[at..end].copy_from_slice(&bytes[..reached]);
            failure
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.with(|state| {
            state.count_down()?;
            state.syncs += 1;
            self.content.lock().unsynced.clear();
            Ok(())
        })
    }
}
