//! Sequences on the primary: values are counted in memory and logged ahead, so that a crash or a new primary skips a
//! few values and never repeats one.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::locks::TxnId;
use super::sequencer::{Commit, Reign};
use super::shared::Transactions;
use crate::catalog::{Oid, SequenceDef};
use crate::error::{Error, Result, SqlState};
use crate::record::RecordWriter;
use crate::storage::CommitTs;

/// Values covered by one record.
const AHEAD: u32 = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SequenceState {
    pub last: i64,
    pub called: bool,
}

#[derive(Debug, Clone, Copy)]
struct Counter {
    state: SequenceState,
    /// Values that the last record still covers.
    covered: u32,
    /// That record.
    logged: CommitTs,
}

/// Counters of this reign.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    counters: Mutex<HashMap<Oid, Counter>>,
}

impl SequenceState {
    pub fn initial(def: &SequenceDef) -> Self {
        SequenceState { last: def.start, called: false }
    }

    /// The value after this state (2200H at the end of one that does not cycle).
    pub fn next(self, def: &SequenceDef) -> Result<i64> {
        if !self.called {
            return Ok(self.last);
        }
        let next = self.last.checked_add(def.increment).filter(|v| (def.min..=def.max).contains(v));
        let (bound, limit, start) = match def.increment > 0 {
            true => ("maximum", def.max, def.min),
            false => ("minimum", def.min, def.max),
        };
        match next {
            Some(value) => Ok(value),
            None if def.cycle => Ok(start),
            None => Err(Error::new(
                SqlState::SequenceGeneratorLimitExceeded,
                format!("nextval: reached {bound} value of sequence \"{}\" ({limit})", def.name),
            )),
        }
    }
}

impl Sequences {
    /// Forgets what this reign counted: a new one begins with what is applied.
    pub fn clear(&self) {
        self.counters.lock().clear();
    }

    pub fn forget(&self, sequence: Oid) {
        self.counters.lock().remove(&sequence);
    }

    pub fn state(&self, shared: &Transactions, def: &SequenceDef) -> SequenceState {
        let counter = self.counters.lock().get(&def.oid).map(|c| c.state);
        counter.unwrap_or_else(|| shared.storage.sequence(def))
    }

    /// The next value, and the commit that must be applied before anybody learns of it.
    pub fn next(&self, shared: &Transactions, def: &SequenceDef, reign: Reign) -> Result<(i64, CommitTs)> {
        let mut counters = self.counters.lock();
        let counter = counters.entry(def.oid).or_insert_with(|| Counter {
            state: shared.storage.sequence(def),
            covered: 0,
            logged: CommitTs(0),
        });
        let value = counter.state.next(def)?;
        if counter.covered == 0 {
            let (mut ahead, mut covered) = (SequenceState { last: value, called: true }, 1);
            // Stops where a cycle would begin anew: the state after a crash must be one that was reached.
            while let (Ok(next), true) = (ahead.next(def), covered < AHEAD) {
                if (next < ahead.last) == (def.increment > 0) {
                    break;
                }
                (ahead.last, covered) = (next, covered + 1);
            }
            counter.logged = log(shared, def.oid, ahead, reign)?;
            counter.covered = covered;
        }
        counter.covered -= 1;
        counter.state = SequenceState { last: value, called: true };
        Ok((value, counter.logged))
    }

    pub fn set(
        &self,
        shared: &Transactions,
        def: &SequenceDef,
        state: SequenceState,
        reign: Reign,
    ) -> Result<CommitTs> {
        let mut counters = self.counters.lock();
        let logged = log(shared, def.oid, state, reign)?;
        counters.insert(def.oid, Counter { state, covered: 0, logged });
        Ok(logged)
    }
}

/// Appends the state to the log, in order with the caller's lock. Nobody waits for it but who saw a value: a commit
/// that uses one comes later in the log.
fn log(shared: &Transactions, sequence: Oid, state: SequenceState, reign: Reign) -> Result<CommitTs> {
    let mut record = RecordWriter::default();
    record.sequence(sequence, state.last, state.called, false);
    let commit = Commit {
        txn: TxnId(0),
        reign,
        record: record.seal(),
        parts: 0,
        schema_version: 0,
        tables: Vec::new(),
        publish: Vec::new(),
        release: Vec::new(),
        retain: false,
        reads: None,
        local: None,
    };
    Ok(shared.sequencer.commit(commit, &shared.locks, shared.log()?.as_ref())?.0)
}
