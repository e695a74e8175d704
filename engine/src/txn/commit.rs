//! COMMIT: encode, sequence, wait until it is durable and applied, answer.

use std::collections::VecDeque;
use std::time::Instant;

use arrow::array::Array;

use super::level::{Early, Sequenced};
use super::locks::{LockKey, Pending};
use super::sequencer::{Commit, Reign};
use super::shared::Transactions;
use super::transaction::{Step, Transaction};
use super::writes::TableWrites;
use super::{CommitLevel, Committed, Isolation};
use crate::catalog::{CatalogChange, Oid};
use crate::commit_log::{Appended, LogPosition};
use crate::error::{Error, Result, SqlState};
use crate::record::{PART_BYTES, RecordWriter, Sealed};
use crate::storage::chunk::row_bytes;
use crate::storage::{Account, CommitTs, RowKey, array_of};
use crate::types::Datum;

/// A transaction that changed more rows keeps its locks until it is applied, instead of publishing each row.
const PUBLISH_MAX: usize = 1024;
/// So many inserted rows of a table are written as columns.
const BATCH_MIN: usize = 32;
/// Rows of one such batch, at most.
const BATCH_ROWS: usize = 8192;
/// A record that the log would refuse must not be sequenced: others would build on it.
const RECORD_BYTES_MAX: usize = (1 << 30) - (1 << 20);
/// A record from this size on is counted as memory in use.
const ACCOUNTED_MIN: usize = 64 << 10;
/// Parts of a transaction that are in flight at once.
const PARTS_IN_FLIGHT: usize = 4;

impl Transaction {
    /// Commits. Dropping the future loses only the answer. Errors: 40001 and 25006 mean that nothing happened; 08007
    /// that nobody knows.
    pub async fn commit(self: Box<Self>) -> Result<()> {
        self.commit_at(CommitLevel::Majority).await.map(drop)
    }

    /// Commits as safely as `level` says ([`CommitLevel::RemoteApply`] as [`CommitLevel::Majority`]: the rest of that wait
    /// is the caller's), and says what was committed, if anything was written.
    pub async fn commit_at(mut self: Box<Self>, level: CommitLevel) -> Result<Option<Committed>> {
        let temporary = self.take_temporary();
        let shared = self.shared.clone();
        let committed = match self.has_writes() {
            false => {
                self.prove_reads().await?;
                None
            }
            true => {
                let began = Instant::now();
                let committed = self.commit_writes(level).await?;
                shared.commit_latency.record(began.elapsed());
                committed
            }
        };
        if let Some(temporary) = temporary {
            temporary.finish(&shared.storage);
        }
        Ok(committed)
    }

    async fn commit_writes(mut self: Box<Self>, level: CommitLevel) -> Result<Option<Committed>> {
        self.leave_session();
        let reign = self.enlist()?;
        let mut bodies = self.encode()?;
        let last = bodies.pop().ok_or_else(|| Error::internal("a commit without a record"))?;
        // The next statement has to find what this one made, and binding names waits for nothing.
        let level = if self.has_ddl() { CommitLevel::Majority } else { level };
        let early = self.shared.may_answer_early(level).await;
        if !bodies.is_empty() {
            // The commit must not stop half-way when the session goes away.
            let whole = tokio::spawn(self.commit_in_parts(bodies, last, reign, early));
            return whole.await.unwrap_or_else(|end| Err(outcome_unknown(&format!("its task ended: {end}"))));
        }
        let sequenced = self.sequence(last, 0, reign, early)?;
        self.shared.acknowledge(sequenced, reign).await.map(Some)
    }

    async fn commit_in_parts(
        mut self: Box<Self>,
        bodies: Vec<Sealed>,
        last: Sealed,
        reign: Reign,
        early: Early,
    ) -> Result<Option<Committed>> {
        match self.sequence_parts(bodies, last, reign, early).await {
            Ok(sequenced) => self.shared.acknowledge(sequenced, reign).await.map(Some),
            Err(error) => {
                // Everybody keeps the parts until the commit record comes.
                self.shared.sequencer.forget_parts(self.id, reign, self.shared.log()?.as_ref());
                Err(error)
            }
        }
    }

    async fn sequence_parts(
        &mut self,
        bodies: Vec<Sealed>,
        last: Sealed,
        reign: Reign,
        early: Early,
    ) -> Result<Sequenced> {
        let shared = self.shared.clone();
        let (mut in_flight, count) = (VecDeque::new(), bodies.len() as u32);
        for (number, body) in bodies.into_iter().enumerate() {
            if in_flight.len() >= PARTS_IN_FLIGHT
                && let Some(oldest) = in_flight.pop_front()
            {
                // Nothing happens without the commit record: a part that failed is a transaction that never was.
                shared.answer(oldest, reign).await.map_err(|_| Error::leadership_lost())?;
            }
            in_flight.push_back(shared.sequencer.part(self.id, reign, number as u32, body, shared.log()?.as_ref())?);
        }
        self.sequence(last, count, reign, early)
    }

    /// Hands the record to the sequencer; from there on the transaction is out of this session's hands.
    fn sequence(&mut self, record: Sealed, parts: u32, reign: Reign, mut early: Early) -> Result<Sequenced> {
        let shared = self.shared.clone();
        let changed: usize = self.writes.values().map(TableWrites::len).sum();
        // Rows of a covered table have no locks under which they could be published: whoever waits for the table must not
        // have it before they are installed.
        let unlocked = self.covers_any() || self.writes.values().any(|w| !w.bulk.is_empty());
        let retain = self.has_ddl() || changed > PUBLISH_MAX || unlocked;
        let publish = if retain { Vec::new() } else { self.pending() };
        for (key, _) in &publish {
            self.held.remove(key);
        }
        let serializable = self.options.isolation == Isolation::Serializable;
        let snapshot = self.snapshot.as_ref().map_or(CommitTs(0), |s| s.ts());
        let commit = Commit {
            txn: self.id,
            reign,
            record,
            parts,
            schema_version: self.catalog().version,
            tables: self.writes.keys().copied().collect(),
            release: self.held.iter().cloned().collect(),
            publish,
            retain,
            reads: serializable.then(|| (std::mem::take(&mut self.reads), snapshot)),
            local: early.local(),
        };
        let published: Vec<LockKey> = commit.publish.iter().map(|(key, _)| key.clone()).collect();
        match shared.sequencer.commit(commit, &shared.locks, shared.log()?.as_ref()) {
            Ok((ts, appended)) => {
                // Published, released, or kept until it is applied: no longer the session's. A lock on a table that was
                // also read goes with the stronger one.
                let held = std::mem::take(&mut self.held);
                self.read_locks.retain(|table| !held.contains(&LockKey::Table(*table)));
                if let Some(number) = self.number.take() {
                    shared.numbers.sequenced(number, ts);
                }
                Ok(Sequenced { ts, appended, early })
            }
            Err(error) => {
                self.held.extend(published);
                Err(error)
            }
        }
    }

    /// What other transactions are to see of the rows and unique keys until the commit is applied.
    fn pending(&mut self) -> Vec<(LockKey, Pending)> {
        let mut pending = Vec::with_capacity(self.writes.len());
        for (table, writes) in &self.writes {
            for (key, write) in &writes.rows {
                let lock = LockKey::Row(*table, key.clone());
                if self.held.contains(&lock) {
                    pending.push((lock, Pending::Row(write.after.clone())));
                }
            }
        }
        for (index, unique, table) in std::mem::take(&mut self.unique) {
            let Some(writes) = self.writes.get(&table) else { continue };
            let lock = LockKey::Unique(index, unique.clone());
            match writes.owner(index, &unique, None) {
                Some(owner) => pending.push((lock, Pending::Owner(Some(owner)))),
                None => {
                    // Given up by a row that was changed; or only asked for, and somebody else's still.
                    let layout = writes.table.index_layout(index).cloned();
                    let known = self.shared.storage.table(table);
                    if let (Some(layout), Some(table)) = (layout, known)
                        && self.unique_owner(&table, &layout, &unique).is_none()
                    {
                        pending.push((lock, Pending::Owner(None)));
                    }
                }
            }
        }
        pending
    }

    /// The bodies of the transaction's records: all but the last are parts.
    fn encode(&self) -> Result<Vec<Sealed>> {
        let mut encoder = Encoder { done: Vec::new(), current: RecordWriter::default(), account: &self.account };
        if let Some(ddl) = &self.ddl {
            let mut changes: Vec<CatalogChange> = Vec::new();
            if matches!(ddl.steps.first(), Some(Step::Writes(_))) {
                // Whoever installs the record sees by its first operation that the catalog changes.
                encoder.current.catalog(&[])?;
            }
            for step in &ddl.steps {
                match step {
                    Step::Catalog(change) => changes.push(change.clone()),
                    Step::Writes(writes) => {
                        encoder.catalog(&mut changes)?;
                        encoder.writes(writes)?;
                    }
                }
            }
            encoder.catalog(&mut changes)?;
        }
        for writes in self.writes.values() {
            encoder.writes(writes)?;
        }
        for (sequence, own) in &self.sequences {
            encoder.current.sequence(*sequence, own.state.last, own.state.called, true);
        }
        for notification in &self.notifications {
            encoder.current.notify(notification);
            encoder.cut()?;
        }
        encoder.finish()?;
        if encoder.done.iter().any(|body| body.len() > RECORD_BYTES_MAX) {
            return Err(Error::new(SqlState::ProgramLimitExceeded, "a change is too large for the log")
                .detail(format!("One row, or one step of DDL, may take at most {RECORD_BYTES_MAX} bytes.")));
        }
        Ok(encoder.done)
    }
}

impl Transactions {
    /// Waits for what the log says of a record.
    pub(super) async fn answer(&self, appended: Appended, reign: Reign) -> Result<LogPosition> {
        match appended.await {
            Ok(Ok(position)) => Ok(position),
            Ok(Err(error)) => Err(self.append_failed(error, reign)),
            Err(_) => Err(outcome_unknown("the log was closed")),
        }
    }
}

/// 08007: nobody knows whether the transaction is committed.
pub(super) fn outcome_unknown(why: &str) -> Error {
    Error::new(SqlState::TransactionResolutionUnknown, "the outcome of the commit is unknown")
        .detail(format!("The transaction may or may not be committed: {why}."))
}

/// Rows of a batch so that it is about a quarter of a part, given what all of them take.
fn batch_rows(bytes: usize, rows: usize) -> usize {
    let row = bytes / rows.max(1) + 1;
    (PART_BYTES / 4 / row).clamp(1, BATCH_ROWS)
}

struct Encoder<'a> {
    done: Vec<Sealed>,
    current: RecordWriter,
    /// The records are memory of the transaction until it is answered.
    account: &'a Account,
}

impl Encoder<'_> {
    fn catalog(&mut self, changes: &mut Vec<CatalogChange>) -> Result<()> {
        if !changes.is_empty() {
            self.current.catalog(changes)?;
            changes.clear();
        }
        Ok(())
    }

    fn cut(&mut self) -> Result<()> {
        if self.current.len() < PART_BYTES {
            return Ok(());
        }
        self.finish()
    }

    fn finish(&mut self) -> Result<()> {
        if self.current.len() >= ACCOUNTED_MIN {
            self.account.reserve(self.current.len())?;
        }
        self.done.push(std::mem::take(&mut self.current).seal());
        Ok(())
    }

    fn writes(&mut self, writes: &TableWrites) -> Result<()> {
        let table = writes.table.def.oid;
        let mut rows: Vec<_> = writes.rows.iter().collect();
        rows.sort_unstable_by_key(|(_, w)| w.handle);
        let hidden = writes.table.layout.is_hidden();
        let mut inserts: Vec<(&RowKey, &std::sync::Arc<crate::session::Row>)> = Vec::new();
        for (key, write) in rows {
            match (&write.after, write.base) {
                (Some(row), true) => {
                    let changed = |c: &usize| write.changed >> (*c).min(63) & 1 == 1;
                    let columns = (0..row.len()).filter(changed);
                    self.current.update(table, key, columns.filter_map(|c| Some((c, row.get(c)?))));
                }
                (Some(row), false) => inserts.push((key, row)),
                (None, true) => self.current.delete(table, key),
                (None, false) => {}
            }
            self.cut()?;
        }
        if inserts.len() < BATCH_MIN {
            for (key, row) in inserts {
                self.current.insert(table, hidden.then_some(key), row);
                self.cut()?;
            }
        } else {
            let bytes = inserts.iter().map(|(_, row)| row_bytes(row)).sum();
            for part in inserts.chunks(batch_rows(bytes, inserts.len())) {
                self.rows_as_batch(table, writes, part, hidden)?;
            }
        }
        for bulk in &writes.bulk {
            let bytes = bulk.columns.iter().flatten().map(|c| c.get_buffer_memory_size()).sum();
            for part in bulk.kept().chunks(batch_rows(bytes, bulk.rows)) {
                let columns = bulk.columns_of(part)?;
                let numbers: Option<Vec<i64>> =
                    bulk.hidden.map(|first| part.iter().map(|row| first + i64::from(*row)).collect());
                self.current.batch(table, numbers.as_deref(), part.len(), &columns)?;
                self.cut()?;
            }
        }
        Ok(())
    }

    fn rows_as_batch(
        &mut self,
        table: Oid,
        writes: &TableWrites,
        rows: &[(&RowKey, &std::sync::Arc<crate::session::Row>)],
        hidden: bool,
    ) -> Result<()> {
        let layout = &writes.table.layout;
        let column = |(c, ty): (usize, &Option<crate::types::PgType>)| {
            let missing = layout.missing.get(c).unwrap_or(&Datum::Null);
            ty.map(|ty| array_of(ty, rows.iter().map(|(_, row)| row.get(c).unwrap_or(missing)))).transpose()
        };
        let columns: Vec<_> = layout.types.iter().enumerate().map(column).collect::<Result<_>>()?;
        debug_assert!(columns.iter().flatten().all(|c: &arrow::array::ArrayRef| c.len() == rows.len()));
        let numbers: Option<Vec<i64>> =
            hidden.then(|| rows.iter().filter_map(|(key, _)| key.hidden_number()).collect());
        self.current.batch(table, numbers.as_deref(), rows.len(), &columns)?;
        self.cut()?;
        Ok(())
    }
}
