//! What the writer measures of itself, for the views: sizes, and how long the disk takes to sync.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use engine::commit_log::{LogFigures, SLOW_SYNC};
use engine::monitor::Histogram;

/// Nanoseconds since `begun` stand for times; 0 for none.
#[derive(Debug)]
pub(super) struct Meter {
    begun: Instant,
    segments: AtomicU64,
    segment_bytes: AtomicU64,
    written: AtomicU64,
    records: AtomicU64,
    batches: AtomicU64,
    syncs: Histogram,
    /// When the sync under way began.
    syncing: AtomicU64,
    /// When the last slow sync ended, and how long it took.
    slow: AtomicU64,
    slow_took: AtomicU64,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            segments: AtomicU64::new(0),
            segment_bytes: AtomicU64::new(0),
            written: AtomicU64::new(0),
            records: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            syncs: Histogram::default(),
            syncing: AtomicU64::new(0),
            slow: AtomicU64::new(0),
            slow_took: AtomicU64::new(0),
        }
    }
}

impl Meter {
    fn now(&self) -> u64 {
        nanos(self.begun.elapsed()).max(1)
    }

    pub fn segments(&self, count: u64, bytes: u64) {
        self.segments.store(count, Ordering::Relaxed);
        self.segment_bytes.store(bytes, Ordering::Relaxed);
    }

    pub fn wrote(&self, bytes: u64, records: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.written.fetch_add(bytes, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    /// Measures a sync. One that fails is none.
    pub fn sync(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let began = self.now();
        self.syncing.store(began, Ordering::Relaxed);
        let synced = sync();
        let ended = self.now();
        self.syncing.store(0, Ordering::Relaxed);
        let took = Duration::from_nanos(ended - began);
        if synced.is_ok() {
            self.syncs.record(took);
        }
        if took > SLOW_SYNC {
            self.slow_took.store(nanos(took), Ordering::Relaxed);
            self.slow.store(ended, Ordering::Relaxed);
        }
        synced
    }

    pub fn read(&self) -> LogFigures {
        let now = self.now();
        let since = |time: &AtomicU64| {
            let time = time.load(Ordering::Relaxed);
            (time != 0).then(|| Duration::from_nanos(now.saturating_sub(time)))
        };
        let took = Duration::from_nanos(self.slow_took.load(Ordering::Relaxed));
        LogFigures {
            segments: self.segments.load(Ordering::Relaxed),
            segment_bytes: self.segment_bytes.load(Ordering::Relaxed),
            written_bytes: self.written.load(Ordering::Relaxed),
            records: self.records.load(Ordering::Relaxed),
            batches: self.batches.load(Ordering::Relaxed),
            sync_latency: self.syncs.read(),
            syncing_for: since(&self.syncing),
            slow_sync: since(&self.slow).map(|ago| (took, ago)),
            ..LogFigures::default()
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_sync_and_one_under_way_are_seen() {
        let meter = Meter::default();
        meter.sync(|| Ok(())).unwrap();
        assert!(meter.read().slow_sync.is_none());
        meter.sync(|| Err(io::Error::other("gone"))).unwrap_err();
        let slow = || {
            let until = Instant::now() + SLOW_SYNC * 2;
            while Instant::now() < until {
                assert!(meter.read().syncing_for.is_some());
            }
            Ok(())
        };
        meter.sync(slow).unwrap();
        let read = meter.read();
        assert!(read.slow_sync.is_some_and(|(took, _)| took >= SLOW_SYNC * 2));
        assert_eq!((read.sync_latency.count(), read.syncing_for), (2, None));
    }
}
