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
    thread: JoinHandle<io::Result<Arc<dyn DiskFile>>>,
}

impl Allocation {
    /// `written`: see [`Disk::create`].
    pub fn begin(disk: Arc<dyn Disk>, name: String, size: u64, written: bool, shared: Arc<Shared>) -> io::Result<Self> {
        let thread = std::thread::Builder::new()
            .name("wal-allocator".to_owned())
            .spawn(move || allocate(disk.as_ref(), &name, size, written, &shared))?;
        Ok(Self { size, thread })
    }

    /// Waits for the file.
    pub fn finish(self) -> io::Result<Arc<dyn DiskFile>> {
        self.thread.join().map_err(|_| io::Error::other("the allocator panicked"))?
    }

    /// The log ends: nobody needs the file.
    pub fn give_up(self) {
        if self.thread.join().is_err() {
            error!("the thread that allocates segments panicked");
        }
    }
}

fn allocate(disk: &dyn Disk, name: &str, size: u64, written: bool, shared: &Shared) -> io::Result<Arc<dyn DiskFile>> {
    loop {
        let created = disk.create(name, size, written);
        let full = created.as_ref().err().is_some_and(is_full);
        let was_full = shared.full.load(Ordering::Acquire);
        match &created {
            Err(failure) if full && !was_full => {
                error!("no space for {name}, {size} bytes: writes are refused until there is: {failure}");
                shared.full.store(true, Ordering::Release);
            }
            Ok(_) if was_full => {
                info!("there is space for the log again: writes are taken");
                shared.full.store(false, Ordering::Release);
            }
            _ => {}
        }
        // Of a log that ends, `full` stays set: it says why.
        if !full || shared.ends_within(AGAIN) {
            return created;
        }
    }
}
