//! Snapshots: which commits a reader sees, and which versions the garbage collector must keep.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::CommitTs;

/// A registered reader's view. Clones share the registration; it ends with the last clone.
#[derive(Debug, Clone)]
pub struct Snapshot(Arc<Registration>);

impl Snapshot {
    /// Commits at or before this are visible.
    pub fn ts(&self) -> CommitTs {
        self.0.ts
    }
}

#[derive(Debug)]
struct Registration {
    ts: CommitTs,
    shard: usize,
    registry: Arc<Snapshots>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut shard = self.registry.shards[self.shard].lock();
        if let Some(count) = shard.get_mut(&self.ts) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&self.ts);
            }
        }
    }
}

const SHARDS: usize = 16;

/// The visible watermark and who still reads at older ones.
///
/// Invariant: [`Self::horizon`] is never above a registered snapshot. The watermark is read before the shards, and a
/// new snapshot reads it with its shard locked, so one that the scan missed has a watermark at least as new.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    watermark: AtomicU64,
    next: AtomicUsize,
    shards: [Mutex<BTreeMap<CommitTs, usize>>; SHARDS],
}

impl Snapshots {
    pub fn watermark(&self) -> CommitTs {
        CommitTs(self.watermark.load(Ordering::Acquire))
    }

    /// Everything up to `ts` is installed. Only the applier calls it, with growing values (or after a restore).
    pub fn set_watermark(&self, ts: CommitTs) {
        self.watermark.store(ts.0, Ordering::Release);
    }

    pub fn acquire(self: &Arc<Self>) -> Snapshot {
        let shard = self.next.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let mut counts = self.shards[shard].lock();
        let ts = self.watermark();
        *counts.entry(ts).or_default() += 1;
        drop(counts);
        Snapshot(Arc::new(Registration { ts, shard, registry: self.clone() }))
    }

    /// No registered or future snapshot is older.
    pub fn horizon(&self) -> CommitTs {
        let watermark = self.watermark();
        let oldest = self.shards.iter().filter_map(|s| s.lock().keys().next().copied()).min();
        oldest.map_or(watermark, |o| o.min(watermark))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn horizon_follows_the_oldest_reader() {
        let snapshots = Arc::new(Snapshots::default());
        snapshots.set_watermark(CommitTs(5));
        let old = snapshots.acquire();
        let twin = old.clone();
        snapshots.set_watermark(CommitTs(9));
        let new = snapshots.acquire();
        assert_eq!(snapshots.horizon(), CommitTs(5));
        drop(old);
        assert_eq!(snapshots.horizon(), CommitTs(5), "a clone keeps the registration");
        drop(twin);
        assert_eq!(snapshots.horizon(), CommitTs(9));
        assert_eq!(new.ts(), CommitTs(9));
        drop(new);
        snapshots.set_watermark(CommitTs(12));
        assert_eq!(snapshots.horizon(), CommitTs(12));
    }
}
