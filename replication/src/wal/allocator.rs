//! Space for the next segment, taken by a thread of its own. A full disk is waited out: the thread tries again until
//! there is space or the log ends, and says meanwhile that the log is full, so that no more writes are let in.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{error, info};

use super::disk::{Disk, DiskFile, is_full};
use super::writer::Shared;

/// Pause before space is asked for again.
const AGAIN: Duration = Duration::from_millis(200);

/// A segment's file on its way.
pub(super) struct Allocation {
    pub size: u64,
    file: Coming,
}

enum Coming {
    Thread(JoinHandle<io::Result<Arc<dyn DiskFile>>>),
    /// In a simulation: tried once, and tried again whenever the writer is.
    #[cfg(any(test, feature = "simulation"))]
    Tried(io::Result<Arc<dyn DiskFile>>),
}

impl Allocation {
    /// `written`: see [`Disk::create`].
    pub fn begin(disk: Arc<dyn Disk>, name: String, size: u64, written: bool, shared: Arc<Shared>) -> io::Result<Self> {
        #[cfg(any(test, feature = "simulation"))]
        if crate::simulation::is_running() {
            return Ok(Self { size, file: Coming::Tried(attempt(disk.as_ref(), &name, size, written, &shared)) });
        }
        let thread = std::thread::Builder::new()
            .name("wal-allocator".to_owned())
            .spawn(move || allocate(disk.as_ref(), &name, size, written, &shared))?;
        Ok(Self { size, file: Coming::Thread(thread) })
    }

    /// Waits for the file.
    pub fn finish(self) -> io::Result<Arc<dyn DiskFile>> {
        match self.file {
            Coming::Thread(thread) => thread.join().map_err(|_| io::Error::other("the allocator panicked"))?,
            #[cfg(any(test, feature = "simulation"))]
            Coming::Tried(file) => file,
        }
    }

    /// The log ends: nobody needs the file.
    pub fn give_up(self) {
        if let Err(failure) = self.finish() {
            error!("the next segment was not allocated: {failure}");
        }
    }
}

fn allocate(disk: &dyn Disk, name: &str, size: u64, written: bool, shared: &Shared) -> io::Result<Arc<dyn DiskFile>> {
    loop {
        let created = attempt(disk, name, size, written, shared);
        // Of a log that ends, `full` stays set: it says why.
        if !created.as_ref().err().is_some_and(is_full) || shared.ends_within(AGAIN) {
            return created;
        }
    }
}

fn attempt(disk: &dyn Disk, name: &str, size: u64, written: bool, shared: &Shared) -> io::Result<Arc<dyn DiskFile>> {
    let created = disk.create(name, size, written);
    let was_full = shared.full.load(Ordering::Acquire);
    match &created {
        Err(failure) if is_full(failure) && !was_full => {
            error!("no space for {name}, {size} bytes: writes are refused until there is: {failure}");
            shared.full.store(true, Ordering::Release);
        }
        Ok(_) if was_full => {
            info!("there is space for the log again: writes are taken");
            shared.full.store(false, Ordering::Release);
        }
        _ => {}
    }
    created
}
