//! Records that were proposed and whose outcome is awaited.
//!
//! Each proposal gets a [`Ticket`]; exactly one of applied, refused or unknown reaches those who wait: a ticket that
//! is dropped means unknown, and so does the loss of leadership, whatever becomes of the entry later.

use std::collections::VecDeque;
use std::sync::Arc;

use engine::commit_log::{AppendError, LogPosition, NodeId};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::types;
use crate::seeded;

pub type Waiter = oneshot::Sender<Result<LogPosition, AppendError>>;

struct Batch {
    waiters: Vec<Waiter>,
    bytes: u64,
}

#[derive(Default)]
struct Inner {
    /// Number of the first batch in the queue.
    first: u64,
    batches: VecDeque<Option<Batch>>,
    bytes: u64,
}

#[derive(Default)]
pub struct InFlight {
    inner: Mutex<Inner>,
    changed: Notify,
}

/// What became of a proposal.
pub enum Outcome {
    /// Committed and applied here, as the entry with this index.
    Applied(u64),
    /// Never written.
    Refused(Option<NodeId>),
    Unknown(&'static str),
}

impl InFlight {
    pub fn add(self: &Arc<Self>, waiters: Vec<Waiter>, bytes: u64) -> Ticket {
        let mut inner = self.inner.lock();
        inner.bytes += bytes;
        inner.batches.push_back(Some(Batch { waiters, bytes }));
        let number = inner.first + inner.batches.len() as u64 - 1;
        Ticket { number, in_flight: Some(self.clone()) }
    }

    /// True when everything that was proposed has been completed.
    pub fn is_empty(&self) -> bool {
        self.inner.lock().batches.is_empty()
    }

    /// Waits until nothing is on its way.
    pub async fn none(&self) {
        loop {
            let changed = self.changed.notified();
            if self.is_empty() {
                return;
            }
            changed.await;
        }
    }

    /// Waits until less than `bytes_max` is on its way.
    pub async fn room(&self, bytes_max: u64) {
        loop {
            let changed = self.changed.notified();
            if self.inner.lock().bytes < bytes_max {
                return;
            }
            changed.await;
        }
    }

    /// Everybody who waits learns that the outcome is unknown.
    pub fn abandon(&self, reason: &'static str) {
        let batches: Vec<Batch> = {
            let mut inner = self.inner.lock();
            inner.bytes = 0;
            inner.batches.iter_mut().filter_map(Option::take).collect()
        };
        self.changed.notify_waiters();
        for batch in batches {
            answer(batch.waiters, &Outcome::Unknown(reason));
        }
    }

    /// Only for the seeded bug of that name: says that everything is applied.
    pub fn acknowledge_all(&self, index: u64) {
        let batches: Vec<Batch> = self.inner.lock().batches.iter_mut().filter_map(Option::take).collect();
        batches.into_iter().for_each(|batch| answer(batch.waiters, &Outcome::Applied(index)));
    }

    fn complete(&self, number: u64, outcome: &Outcome) {
        let batch = {
            let mut inner = self.inner.lock();
            let at = number.checked_sub(inner.first).map(|at| at as usize);
            let batch = at.and_then(|at| inner.batches.get_mut(at)).and_then(Option::take);
            inner.bytes -= batch.as_ref().map_or(0, |batch| batch.bytes);
            while let Some(None) = inner.batches.front() {
                inner.batches.pop_front();
                inner.first += 1;
            }
            batch
        };
        self.changed.notify_waiters();
        if let Some(batch) = batch {
            answer(batch.waiters, outcome);
        }
    }
}

fn answer(waiters: Vec<Waiter>, outcome: &Outcome) {
    for (i, waiter) in waiters.into_iter().enumerate() {
        let result = match outcome {
            Outcome::Applied(index) => Ok(types::position(*index, i)),
            Outcome::Refused(primary) => Err(AppendError::NotPrimary { primary: *primary }),
            Outcome::Unknown(_) if seeded::unknown_called_refused() => Err(AppendError::NotPrimary { primary: None }),
            Outcome::Unknown(reason) => Err(AppendError::Unknown((*reason).to_owned())),
        };
        // A session that is gone does not wait any more.
        let _ = waiter.send(result);
    }
}

/// The right and duty to say what became of one proposal.
pub struct Ticket {
    number: u64,
    in_flight: Option<Arc<InFlight>>,
}

impl Ticket {
    pub fn complete(mut self, outcome: &Outcome) {
        if let Some(in_flight) = self.in_flight.take() {
            in_flight.complete(self.number, outcome);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(in_flight) = self.in_flight.take() {
            in_flight.complete(self.number, &Outcome::Unknown("the node stopped"));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    type Waiting = oneshot::Receiver<Result<LogPosition, AppendError>>;

    fn add(in_flight: &Arc<InFlight>, records: usize) -> (Ticket, Vec<Waiting>) {
        let (waiters, waiting) = (0..records).map(|_| oneshot::channel()).unzip();
        (in_flight.add(waiters, 10), waiting)
    }

    #[test]
    fn each_record_learns_its_own_fate_once() {
        let in_flight = Arc::new(InFlight::default());
        let (first, mut a) = add(&in_flight, 2);
        let (second, mut b) = add(&in_flight, 1);
        let (third, mut c) = add(&in_flight, 1);
        second.complete(&Outcome::Refused(Some(NodeId(3))));
        first.complete(&Outcome::Applied(6));
        assert_eq!(a[0].try_recv().unwrap().unwrap(), types::position(6, 0));
        assert_eq!(a[1].try_recv().unwrap().unwrap(), types::position(6, 1));
        let refused = b[0].try_recv().unwrap().unwrap_err();
        assert!(matches!(refused, AppendError::NotPrimary { primary: Some(NodeId(3)) }));
        in_flight.abandon("leadership was lost");
        assert!(matches!(c[0].try_recv().unwrap().unwrap_err(), AppendError::Unknown(_)));
        // Applied after all: nobody waits any more, and the bytes are not given back twice.
        third.complete(&Outcome::Applied(7));
        assert_eq!(in_flight.inner.lock().bytes, 0);
        drop(add(&in_flight, 1).0);
        assert_eq!(in_flight.inner.lock().bytes, 0);
    }
}
