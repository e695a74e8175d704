//! What is known of a node's checkpoints beside their content: sizes, times, failures.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use engine::commit_log::{CheckpointError, CheckpointFigures};
use parking_lot::Mutex;

#[derive(Debug, Default)]
pub struct CheckpointMeter {
    figures: Mutex<CheckpointFigures>,
    /// Checkpoints that are being written.
    running: AtomicUsize,
}

/// A checkpoint is being written for the life of this.
#[derive(Debug)]
pub struct Writing<'a> {
    meter: &'a CheckpointMeter,
    began: Instant,
}

impl CheckpointMeter {
    pub fn begin(&self) -> Writing<'_> {
        self.running.fetch_add(1, Ordering::Relaxed);
        Writing { meter: self, began: Instant::now() }
    }

    /// A checkpoint was published, or found at the start. Blocks.
    pub fn published(&self, state: &Path, at: Option<SystemTime>) {
        let bytes = bytes_of(state);
        let at = at.unwrap_or_else(SystemTime::now).duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let mut figures = self.figures.lock();
        figures.bytes = bytes;
        figures.finished_at = i64::try_from(at.as_micros()).ok();
    }

    pub fn read(&self) -> CheckpointFigures {
        let running = self.running.load(Ordering::Relaxed) > 0;
        CheckpointFigures { running, ..self.figures.lock().clone() }
    }
}

impl Writing<'_> {
    pub fn end<T>(self, written: &Result<T, CheckpointError>) {
        let mut figures = self.meter.figures.lock();
        match written {
            Ok(_) => {
                figures.written += 1;
                figures.duration = Some(self.began.elapsed());
                figures.last_error = None;
            }
            Err(error) => {
                figures.failed += 1;
                figures.last_error = Some(error.to_string());
            }
        }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.meter.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes of the plain files in a directory; what cannot be read counts nothing.
fn bytes_of(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
}
