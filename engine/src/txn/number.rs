//! Numbers of transactions for clients that ask for them (`pg_current_xact_id`), and which of them a snapshot saw running
//! (`pg_current_snapshot`).
//!
//! A transaction gets its number when it is first asked for. Numbers come from the clock of the commits ([`NUMBER_BITS`] below it), so
//! whatever is committed under a number has a later timestamp, and a new primary goes on above all of them.
//!
//! Invariants:
//! 1. A transaction with a number below a snapshot's `xmin` is over, and what it committed is in what the snapshot shows. So
//!    who reads a table of events up to `xmin`, again and again, misses none.
//! 2. Numbers that are given after a snapshot was taken, on whichever primary, are not below its `xmax`.
//! 3. Until the first number is asked for, snapshots look at a flag and nothing else.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::locks::TxnId;
use super::sequencer::Sequencer;
use super::shared::Transactions;
use crate::error::{Error, Result, SqlState};
use crate::storage::{CommitTs, Snapshot, Snapshots};
use crate::types::snapshot::TransactionSnapshot;

/// A number is the timestamp of a commit without so many bits: it fits a bigint until 2112.
const NUMBER_BITS: u32 = 4;

/// The first number that nobody who is committed at `ts` has: the end of what a snapshot of then knows. What was given
/// beyond it may be given again by the next primary, whose clock is its own.
fn above(ts: CommitTs) -> u64 {
    (ts.0 >> NUMBER_BITS) + 1
}

/// The numbers of an engine.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    in_use: AtomicBool,
    /// Whoever has a number and was not over when somebody last looked; with the timestamp of its commit once it has one.
    running: Mutex<BTreeMap<u64, Option<CommitTs>>>,
}

impl Numbers {
    fn give(&self, sequencer: &Sequencer) -> Result<u64> {
        self.in_use.store(true, Ordering::SeqCst);
        let mut running = self.running.lock();
        let number = sequencer.reserve(NUMBER_BITS)?.0 >> NUMBER_BITS;
        running.insert(number, None);
        Ok(number)
    }

    /// The commit of a transaction has its place in the log: it is over when that is applied.
    pub(super) fn sequenced(&self, number: u64, ts: CommitTs) {
        self.running.lock().insert(number, Some(ts));
    }

    /// A transaction is over without a commit.
    pub(super) fn ended(&self, number: u64) {
        self.running.lock().remove(&number);
    }

    /// What is running now: for a snapshot that is taken afterwards.
    fn look(&self, snapshots: &Snapshots) -> TransactionSnapshot {
        let mut running = self.running.lock();
        let applied = snapshots.watermark();
        running.retain(|_, commit| commit.is_none_or(|ts| ts > applied));
        let next = above(applied);
        TransactionSnapshot::new(next, running.range(..next).map(|(number, _)| *number).collect())
    }
}

/// Instead of the timestamp of a snapshot: there is none, or a standby took it, which does not know what runs.
const NONE: u64 = 0;
const UNKNOWN: u64 = u64::MAX;

/// The number of what a session runs, and what its snapshot saw of others. Queries ask for it on any thread.
#[derive(Debug, Default)]
pub struct SessionNumber {
    /// The transaction that runs; 0: none.
    running: AtomicU64,
    /// Timestamp of the snapshot of the running statement, or transaction.
    snapshot: AtomicU64,
    numbered: AtomicBool,
    own: Mutex<Own>,
}

#[derive(Debug, Default)]
struct Own {
    number: Option<u64>,
    seen: Option<TransactionSnapshot>,
}

impl SessionNumber {
    /// The number of the running transaction, which is given now if `give` says so.
    pub fn get(&self, shared: &Transactions, give: bool) -> Result<Option<u64>> {
        let outside = || Error::internal("a number is asked for outside of a transaction");
        let mut own = self.own.lock();
        if own.number.is_none() && give {
            let transaction = self.running.load(Ordering::SeqCst);
            if transaction == 0 {
                return Err(outside());
            }
            let number = shared.numbers.give(&shared.sequencer)?;
            own.number = Some(number);
            self.numbered.store(true, Ordering::SeqCst);
            // A query that was cancelled goes on for a moment: its transaction may have left without the number.
            if self.running.load(Ordering::SeqCst) != transaction {
                own.number = None;
                shared.numbers.ended(number);
                return Err(outside());
            }
        }
        Ok(own.number)
    }

    /// What the running statement's snapshot saw.
    pub fn seen(&self, shared: &Transactions) -> Result<TransactionSnapshot> {
        let snapshot = self.snapshot.load(Ordering::Acquire);
        if snapshot == UNKNOWN || (snapshot == NONE && !shared.is_primary()) {
            return Err(Error::new(
                SqlState::FeatureNotSupported,
                "a snapshot of running transactions is not supported on a standby",
            ));
        }
        shared.numbers.in_use.store(true, Ordering::SeqCst);
        if snapshot == NONE {
            return Ok(shared.numbers.look(&shared.storage.snapshots));
        }
        // Taken before there was a first number, which then is above it.
        let before = || TransactionSnapshot::new(above(CommitTs(snapshot)), Vec::new());
        Ok(self.own.lock().seen.clone().unwrap_or_else(before))
    }

    pub(super) fn begin(&self, transaction: TxnId) {
        self.running.store(transaction.0, Ordering::SeqCst);
        self.forget_snapshot();
    }

    /// The statement that the snapshot was taken for is over.
    pub(super) fn forget_snapshot(&self) {
        self.snapshot.store(NONE, Ordering::Release);
    }

    /// Takes a snapshot, and notes what is running.
    pub(super) fn snapshot(&self, shared: &Transactions) -> Snapshot {
        let numbers = &shared.numbers;
        loop {
            let seen = match numbers.in_use.load(Ordering::SeqCst) {
                true => Some(numbers.look(&shared.storage.snapshots)),
                false => None,
            };
            let taken = shared.storage.snapshot();
            // Otherwise the first number was given while the snapshot was being taken, and may be below it.
            if seen.is_some() || !numbers.in_use.load(Ordering::SeqCst) {
                self.snapshot.store(taken.ts().0.max(1), Ordering::Release);
                if seen.is_some() {
                    self.own.lock().seen = seen;
                }
                return taken;
            }
        }
    }

    /// A standby took the snapshot.
    pub(super) fn unknown(&self) {
        self.snapshot.store(UNKNOWN, Ordering::Release);
    }

    /// The transaction leaves the session, with its number: it commits, or is over.
    pub(super) fn leave(&self, transaction: TxnId) -> Option<u64> {
        let mine = self.running.compare_exchange(transaction.0, 0, Ordering::SeqCst, Ordering::Relaxed).is_ok();
        if mine && self.numbered.swap(false, Ordering::SeqCst) { self.own.lock().number.take() } else { None }
    }
}
