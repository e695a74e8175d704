//! Latencies counted in buckets, and counters that many cores raise: cheap enough for every statement.
//!
//! A bucket is a quarter of a power of two, so that a quantile read from it is right within an eighth. What is counted
//! is only ever added to, with relaxed atomics: a reader sees every event at most once and misses at most those that
//! are being counted.

use std::array::from_fn;
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Everything below 2^10 ns is in the first bucket, everything from 2^40 ns (18 minutes) in the last.
const LEAST: u32 = 10;
const MOST: u32 = 40;
const PER_OCTAVE: u32 = 4;
const BUCKETS: usize = 2 + ((MOST - LEAST) * PER_OCTAVE) as usize;

/// Parts of what many threads count in, each on cache lines of its own.
const SHARDS: usize = 4;

fn bucket_of(nanos: u64) -> usize {
    let octave = 63 - (nanos | 1).leading_zeros();
    if octave < LEAST {
        return 0;
    }
    if octave >= MOST {
        return BUCKETS - 1;
    }
    let quarter = (nanos >> (octave - 2)) as u32 & (PER_OCTAVE - 1);
    (1 + (octave - LEAST) * PER_OCTAVE + quarter) as usize
}

/// Where a bucket ends, in nanoseconds; the last one has no end.
fn end_of(bucket: usize) -> u64 {
    let octave = bucket as u32 / PER_OCTAVE + LEAST;
    let quarters = u64::from(bucket as u32 % PER_OCTAVE);
    (1 << octave) + (quarters << (octave - 2))
}

/// The part of a sharded figure that this thread counts in.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    SHARD.with(|shard| {
        if shard.get() == usize::MAX {
            shard.set(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
        }
        shard.get()
    })
}

/// A counter that many threads raise.
#[derive(Debug, Default)]
pub struct Counter {
    shards: [Line; SHARDS],
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Line(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        if let Some(line) = self.shards.get(shard()) {
            line.0.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub fn get(&self) -> u64 {
        self.shards.iter().map(|line| line.0.load(Ordering::Relaxed)).sum()
    }
}

/// Latencies that one thread counts, or few.
#[derive(Debug)]
#[repr(align(64))]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    total: AtomicU64,
    max: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: from_fn(|_| AtomicU64::new(0)), total: AtomicU64::new(0), max: AtomicU64::new(0) }
    }
}

impl Histogram {
    pub fn record(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get(bucket_of(nanos)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.total.fetch_add(nanos, Ordering::Relaxed);
        if nanos > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(nanos, Ordering::Relaxed);
        }
    }

    pub fn read(&self) -> Distribution {
        let mut read = Distribution::default();
        self.add_to(&mut read);
        read
    }

    fn add_to(&self, distribution: &mut Distribution) {
        for (sum, bucket) in distribution.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.load(Ordering::Relaxed);
        }
        distribution.total = distribution.total.wrapping_add(self.total.load(Ordering::Relaxed));
        distribution.max = distribution.max.max(self.max.load(Ordering::Relaxed));
    }
}

/// Latencies that many threads count: a thread's part is made when it first counts there.
#[derive(Debug, Default)]
pub struct SharedHistogram {
    shards: [OnceLock<Box<Histogram>>; SHARDS],
}

impl SharedHistogram {
    pub fn record(&self, took: Duration) {
        if let Some(part) = self.shards.get(shard()) {
            part.get_or_init(Box::default).record(took);
        }
    }

    pub fn read(&self) -> Distribution {
        let mut read = Distribution::default();
        for part in self.shards.iter().filter_map(OnceLock::get) {
            part.add_to(&mut read);
        }
        read
    }
}

/// What a histogram held when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    buckets: [u64; BUCKETS],
    /// Nanoseconds.
    total: u64,
    max: u64,
}

impl Default for Distribution {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], total: 0, max: 0 }
    }
}

impl Distribution {
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.total)
    }

    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    pub fn mean(&self) -> Option<Duration> {
        self.total.checked_div(self.count()).map(Duration::from_nanos)
    }

    /// The latency that a share of all (0 to 1) did not exceed, right within an eighth; `None`: nothing was counted.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = (self.count() as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                let end = if bucket == BUCKETS - 1 { self.max } else { end_of(bucket) };
                let begin = bucket.checked_sub(1).map_or(0, end_of);
                return Some(Duration::from_nanos((begin + (end.max(begin) - begin) / 2).min(self.max)));
            }
        }
        None
    }

    pub fn merge(&mut self, other: &Distribution) {
        for (sum, count) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += count;
        }
        self.total = self.total.wrapping_add(other.total);
        self.max = self.max.max(other.max);
    }

    /// Ends of ranges that grow by powers of two, and how many latencies there are up to each; the last range, which has
    /// no end, is left to [`Self::count`].
    pub fn octaves(&self) -> Vec<(Duration, u64)> {
        let mut seen = 0;
        let mut octaves = Vec::new();
        for (bucket, count) in self.buckets.iter().enumerate().take(BUCKETS - 1) {
            seen += count;
            if (bucket as u32).is_multiple_of(PER_OCTAVE) {
                octaves.push((Duration::from_nanos(end_of(bucket)), seen));
            }
        }
        octaves
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_is_below_the_end_of_its_bucket_and_not_below_its_begin() {
        for nanos in (0..44).flat_map(|octave| [1u64 << octave, (1 << octave) + 1, (2 << octave) - 1]) {
            let bucket = bucket_of(nanos);
            assert!(bucket == BUCKETS - 1 || nanos < end_of(bucket), "{nanos} in {bucket}");
            assert!(bucket == 0 || nanos >= end_of(bucket - 1), "{nanos} in {bucket}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_right_within_an_eighth() {
        let histogram = SharedHistogram::default();
        let threads: Vec<u64> = (0..4).collect();
        std::thread::scope(|scope| {
            for part in &threads {
                let histogram = &histogram;
                scope.spawn(move || (1..=2500).for_each(|i| histogram.record(Duration::from_micros(part * 2500 + i))));
            }
        });
        let read = histogram.read();
        assert_eq!((read.count(), read.max()), (10_000, Duration::from_micros(10_000)));
        assert_eq!(read.total(), Duration::from_micros(10_000 * 10_001 / 2));
        for share in [0.01, 0.5, 0.95, 0.99, 1.0] {
            let (exact, got) = (share * 0.01, read.quantile(share).unwrap().as_secs_f64());
            assert!((got / exact - 1.0).abs() <= 0.13, "{share}: {got} for {exact}");
        }
        assert_eq!(Distribution::default().quantile(0.5), None);
    }

    #[test]
    fn octaves_count_what_lies_below() {
        let histogram = Histogram::default();
        for micros in [1, 100, 1000, 3_600_000_000] {
            histogram.record(Duration::from_micros(micros));
        }
        let octaves = histogram.read().octaves();
        let below = |limit: Duration| octaves.iter().rfind(|(end, _)| *end <= limit).unwrap().1;
        assert_eq!((below(Duration::from_micros(50)), below(Duration::from_millis(10))), (1, 3));
        assert_eq!((below(Duration::from_secs(7200)), histogram.read().count()), (3, 4));
    }

    #[test]
    fn counters_add_up_over_threads() {
        let counter = Counter::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1000).for_each(|_| counter.add(2)));
            }
        });
        assert_eq!(counter.get(), 16_000);
    }
}
