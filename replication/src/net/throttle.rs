//! A limit of bytes a second that all transfers of a node share, so that a node that is catching up does not slow the
//! commits of the others.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// What may pass at once after a pause.
const BURST: Duration = Duration::from_millis(10);

/// Lets bytes pass at a rate.
#[derive(Debug)]
pub struct Throttle {
    /// 0: no limit.
    bytes_per_second: u64,
    /// When the next byte may pass.
    next: Mutex<Option<Instant>>,
}

impl Throttle {
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, next: Mutex::default() }
    }

    /// Returns when `bytes` may be sent.
    pub async fn pass(&self, bytes: usize) {
        if let Some(at) = self.reserve(Instant::now(), bytes) {
            tokio::time::sleep_until(at).await;
        }
    }

    /// When bytes that are ready now may pass; `None`: at once.
    fn reserve(&self, now: Instant, bytes: usize) -> Option<Instant> {
        if self.bytes_per_second == 0 {
            return None;
        }
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let mut next = self.next.lock();
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let at = next.map_or(earliest, |next| next.max(earliest));
        *next = Some(at + cost);
        Some(at).filter(|at| *at > now)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_at_the_rate_whoever_sends_them() {
        let throttle = Throttle::new(1 << 20);
        let begun = Instant::now();
        let last = (0..32).filter_map(|_| throttle.reserve(begun, 1 << 18)).last().unwrap();
        let took = last - begun;
        assert!((Duration::from_millis(7500)..Duration::from_millis(8000)).contains(&took), "{took:?}");
        // What was not used for a while is not made up for.
        let later = begun + Duration::from_secs(100);
        assert_eq!(throttle.reserve(later, 1 << 20), None);
        let wait = throttle.reserve(later, 1).unwrap() - later;
        assert!((Duration::from_millis(900)..=Duration::from_secs(1)).contains(&wait), "{wait:?}");
        assert_eq!(Throttle::new(0).reserve(begun, usize::MAX), None);
    }
}
