//! Writes of a transaction: locks first, then the private buffer.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::record_batch::RecordBatch;

use super::locks::{Granted, LockKey, Pending, RowLock, TableLock, Wait};
use super::read::project;
use super::transaction::Transaction;
use super::writes::{Buffered, TableWrites, changed_columns, write_bytes};
use super::{Duplicate, Isolation, Locked};
use crate::catalog::Oid;
use crate::error::{Error, Result, SqlState};
use crate::session::Row;
use crate::storage::layout::{IndexKey, IndexLayout, after};
use crate::storage::table::{Latest, row_of_arrays};
use crate::storage::{CommitTs, RowKey, Table, cell_of, check_value};
use crate::types::Datum;

/// Fewer rows are not worth keeping as columns.
const COLUMNS_MIN: usize = 32;
/// So many rows with a key are worth the whole table, which keeps other writers out to the end of the transaction.
const MANY_ROWS: usize = 1024;

/// The newest state of a row, as sequenced, own changes included.
enum Newest {
    Own(Option<Arc<Row>>),
    /// When it came or went (0: it never was), and the row.
    Shared(CommitTs, Option<Arc<Row>>),
}

impl Transaction {
    /// Locks a row and says what it is now. At REPEATABLE READ and above a row that changed after the snapshot is 40001.
    pub async fn lock_row(&mut self, table: &Arc<Table>, key: &RowKey, mode: RowLock, wait: Wait) -> Result<Locked> {
        self.check_writable_to(table)?;
        let oid = table.def.oid;
        if !self.covers(oid) && !self.has_row_share(oid) {
            // Whoever goes on to change the row takes the stronger lock then.
            self.lock_table(oid, TableLock::RowShare, Wait::Block).await?;
        }
        self.check_current(table)?;
        if self.lock_key(table, LockKey::Row(oid, key.clone()), mode, wait).await? == Granted::No {
            return Ok(Locked::Skipped);
        }
        let snapshot = self.snapshot().ts();
        let (latest, changed) = match self.newest(table, key) {
            Newest::Own(latest) => (latest, false),
            Newest::Shared(ts, latest) => {
                self.depends_on(ts);
                (latest, ts > snapshot)
            }
        };
        if changed && self.options.isolation != Isolation::ReadCommitted {
            let what = if latest.is_some() { "update" } else { "delete" };
            let message = format!("could not serialize access due to concurrent {what}");
            return Err(Error::new(SqlState::SerializationFailure, message));
        }
        self.read_row(table, key);
        self.last_locked = latest.as_ref().map(|row| (oid, key.clone(), row.clone()));
        Ok(Locked::Held { latest: latest.map(|row| project(table, &row, None)), changed })
    }

    /// 40001 if the newest version of a row is not one that a snapshot which stands still can see: nothing may be decided
    /// by it.
    pub fn sees(&mut self, table: &Arc<Table>, key: &RowKey) -> Result<()> {
        let snapshot = self.snapshot().ts();
        let changed = matches!(self.newest(table, key), Newest::Shared(ts, _) if ts > snapshot);
        if changed && self.options.isolation != Isolation::ReadCommitted {
            let message = "could not serialize access due to concurrent update";
            return Err(Error::new(SqlState::SerializationFailure, message));
        }
        self.read_row(table, key);
        Ok(())
    }

    /// Locks the row's unique keys, checks them, and buffers the row. The row is whole and checked (types, NOT NULL, CHECK).
    pub async fn insert(&mut self, table: &Arc<Table>, row: Row) -> Result<Result<RowKey, Duplicate>> {
        self.check_writable_to(table)?;
        let oid = table.def.oid;
        self.lock_table(oid, TableLock::RowExclusive, Wait::Block).await?;
        self.check_current(table)?;
        check_row(table, &row)?;
        let key = match table.key_of(&row) {
            None => RowKey::hidden(table.store.next_hidden()),
            Some(key) => {
                self.lock_key(table, LockKey::Row(oid, key.clone()), RowLock::Update, Wait::Block).await?;
                self.read_row(table, &key);
                if self.row_exists(table, &key) {
                    let primary = table.def.indexes.iter().find(|i| i.is_key()).map_or(oid, |i| i.oid);
                    return self.refused(table, Duplicate { index: primary, existing: key }).map(Err);
                }
                key
            }
        };
        if let Some(duplicate) = self.claim_unique(table, None, &row, &key).await? {
            return self.refused(table, duplicate).map(Err);
        }
        self.buffer(table, &key, false, Some(row), u64::MAX)?;
        Ok(Ok(key))
    }

    /// [`Self::insert`], but the unique keys of `arbiters` are looked at before all others: ON CONFLICT names these indexes,
    /// and a row that has one of those keys is the one to update, whatever else it has in common with the new one.
    pub async fn insert_unless(
        &mut self,
        table: &Arc<Table>,
        row: Row,
        arbiters: &[Oid],
    ) -> Result<Result<RowKey, Duplicate>> {
        self.check_writable_to(table)?;
        self.lock_table(table.def.oid, TableLock::RowExclusive, Wait::Block).await?;
        self.check_current(table)?;
        check_row(table, &row)?;
        for index in table.layout.indexes.iter().filter(|index| index.unique && arbiters.contains(&index.oid)) {
            let Some(unique) = index.unique_key(|c| cell_of(&row, c)) else { continue };
            self.lock_unique(table, index, unique.clone()).await?;
            self.read_unique(table, index.oid, &unique);
            if let Some(existing) = self.unique_owner(table, index, &unique) {
                return Ok(Err(Duplicate { index: index.oid, existing }));
            }
        }
        self.insert(table, row).await
    }

    /// Replaces a row that [`Self::lock_row`] holds. A changed primary key is a delete and an insert. Answers the row's key.
    pub async fn update(&mut self, table: &Arc<Table>, key: &RowKey, new: Row) -> Result<Result<RowKey, Duplicate>> {
        self.check_writable_to(table)?;
        let oid = table.def.oid;
        self.lock_table(oid, TableLock::RowExclusive, Wait::Block).await?;
        self.check_current(table)?;
        check_row(table, &new)?;
        let old = self.held_row(table, key)?;
        if let Some(new_key) = table.key_of(&new).filter(|k| k != key) {
            self.lock_key(table, LockKey::Row(oid, new_key.clone()), RowLock::Update, Wait::Block).await?;
            self.read_row(table, &new_key);
            if self.row_exists(table, &new_key) {
                let primary = table.def.indexes.iter().find(|i| i.is_key()).map_or(oid, |i| i.oid);
                return self.refused(table, Duplicate { index: primary, existing: new_key }).map(Err);
            }
            if let Some(duplicate) = self.claim_unique(table, Some((&old, key)), &new, &new_key).await? {
                return self.refused(table, duplicate).map(Err);
            }
            self.buffer(table, key, true, None, u64::MAX)?;
            self.buffer(table, &new_key, false, Some(new), u64::MAX)?;
            return Ok(Ok(new_key));
        }
        if let Some(duplicate) = self.claim_unique(table, Some((&old, key)), &new, key).await? {
            return self.refused(table, duplicate).map(Err);
        }
        let changed = changed_columns(&old, &new, &table.layout);
        self.buffer(table, key, true, Some(new), changed)?;
        Ok(Ok(key.clone()))
    }

    /// Deletes a row that [`Self::lock_row`] holds.
    pub async fn delete(&mut self, table: &Arc<Table>, key: &RowKey) -> Result<()> {
        self.check_writable_to(table)?;
        self.lock_table(table.def.oid, TableLock::RowExclusive, Wait::Block).await?;
        self.check_current(table)?;
        let old = self.held_row(table, key)?;
        for index in table.layout.indexes.iter().filter(|i| i.unique || i.deferrable) {
            if let Some(unique) = index.unique_key(|c| cell_of(&old, c)) {
                self.lock_unique(table, index, unique).await?;
            }
        }
        self.buffer(table, key, true, None, u64::MAX)
    }

    /// Inserts all rows of a batch, whose columns are the table's not-dropped ones in attnum order; nothing of it on a
    /// duplicate. Rows keep their columns: no datum is made.
    pub async fn insert_batch(&mut self, table: &Arc<Table>, batch: RecordBatch) -> Result<Result<(), Duplicate>> {
        self.check_writable_to(table)?;
        let rows = batch.num_rows();
        self.lock_table(table.def.oid, TableLock::RowExclusive, Wait::Block).await?;
        self.check_current(table)?;
        let columns = columns_of(table, &batch)?;
        let unique = table.layout.indexes.iter().any(|i| i.unique);
        // A batch beside single rows could hold a key that one of those speaks of.
        let single = self.writes.get(&table.def.oid).is_some_and(|w| !w.rows.is_empty());
        // Rows without a key need no lock: nobody else can name them.
        let least = if table.layout.is_hidden() { COLUMNS_MIN } else { MANY_ROWS };
        // What an index computes may fail on a row.
        let computed = table.layout.indexes.iter().any(|i| i.computed.is_some());
        let by_row = unique || single || computed || rows < least;
        if by_row || !(table.layout.is_hidden() || self.expect_many_writes(table).await?) {
            return self.insert_rows(table, &columns, rows).await;
        }
        let bytes: usize = batch.columns().iter().map(|c| c.get_array_memory_size()).sum();
        self.account.reserve(bytes + rows * 24)?;
        let hidden = table.layout.is_hidden().then(|| table.store.next_hidden_range(rows));
        let writes = self.writes.entry(table.def.oid).or_insert_with(|| TableWrites::new(table.clone()));
        let added = writes.add_bulk(columns, rows, hidden, &mut self.undo);
        self.trim_undo();
        Ok(added.map_err(|existing| {
            let primary = table.def.indexes.iter().find(|i| i.is_key()).map_or(table.def.oid, |i| i.oid);
            Duplicate { index: primary, existing }
        }))
    }

    async fn insert_rows(
        &mut self,
        table: &Arc<Table>,
        columns: &[Option<ArrayRef>],
        rows: usize,
    ) -> Result<Result<(), Duplicate>> {
        let savepoint = self.savepoint();
        for row in 0..rows {
            let inserted = self.insert(table, row_of_arrays(columns, row, &table.layout)).await;
            if !matches!(inserted, Ok(Ok(_))) {
                self.rollback_to(savepoint);
                self.release(savepoint);
                return inserted.map(|r| r.map(|_| ()));
            }
        }
        self.release(savepoint);
        Ok(Ok(()))
    }

    /// Refuses to write by a definition that is no longer the table's: the statement was planned before it waited for a
    /// lock behind DDL. What it would log could not be installed.
    fn check_current(&self, table: &Arc<Table>) -> Result<()> {
        let current = self.table(table.def.oid);
        if current.is_some_and(|c| Arc::ptr_eq(&c.store, &table.store) && Arc::ptr_eq(&c.def, &table.def)) {
            return Ok(());
        }
        let message = format!("could not serialize access due to a concurrent change of table \"{}\"", table.def.name);
        Err(Error::new(SqlState::SerializationFailure, message).hint("The transaction might succeed if retried."))
    }

    async fn lock_key(&mut self, table: &Table, key: LockKey, mode: RowLock, wait: Wait) -> Result<Granted> {
        if self.covers(table.def.oid) {
            self.enlist()?;
            return Ok(Granted::After(CommitTs(0)));
        }
        self.acquire(key, mode as u8, wait, &table.def.name).await
    }

    async fn lock_unique(&mut self, table: &Arc<Table>, index: &IndexLayout, unique: IndexKey) -> Result<()> {
        let key = LockKey::Unique(index.oid, unique.clone());
        self.lock_key(table, key, RowLock::Update, Wait::Block).await?;
        self.unique.insert((index.oid, unique, table.def.oid));
        Ok(())
    }

    /// Locks the unique keys that a row gets (and that it gives up) and looks for another row that has them.
    async fn claim_unique(
        &mut self,
        table: &Arc<Table>,
        old: Option<(&Row, &RowKey)>,
        new: &Row,
        new_key: &RowKey,
    ) -> Result<Option<Duplicate>> {
        for index in table.layout.indexes.iter().filter(|i| i.unique || i.deferrable) {
            let given_up = old.and_then(|(row, _)| index.unique_key(|c| cell_of(row, c)));
            let wanted = index.unique_key(|c| cell_of(new, c));
            if given_up == wanted && old.is_some_and(|(_, key)| key == new_key) {
                continue;
            }
            if let Some(unique) = given_up.filter(|u| Some(u) != wanted.as_ref()) {
                self.lock_unique(table, index, unique).await?;
            }
            let Some(unique) = wanted else { continue };
            self.lock_unique(table, index, unique.clone()).await?;
            self.read_unique(table, index.oid, &unique);
            if index.deferrable {
                continue;
            }
            let owner = self.unique_owner(table, index, &unique);
            let own_old = old.map(|(_, key)| key);
            if let Some(existing) = owner.filter(|o| o != new_key && Some(o) != own_old) {
                return Ok(Some(Duplicate { index: index.oid, existing }));
            }
        }
        Ok(None)
    }

    /// The answer to a key that another row has. At SERIALIZABLE a row that the snapshot does not have is 40001: the transaction may
    /// have seen that there is none, and does not fail when it is begun again.
    fn refused(&mut self, table: &Arc<Table>, duplicate: Duplicate) -> Result<Duplicate> {
        if self.options.isolation == Isolation::Serializable {
            self.sees(table, &duplicate.existing)?;
        }
        Ok(duplicate)
    }

    /// A duplicate tells of a row by another name than its own, and that there is none is true of a part of the index.
    fn read_unique(&mut self, table: &Arc<Table>, index: Oid, unique: &IndexKey) {
        if self.options.isolation != Isolation::Serializable {
            return;
        }
        match table.store.index(index) {
            Some(index) => self.read_range(table, &index, (unique.clone(), after(unique)), 1),
            None => self.read_table(table),
        }
    }

    /// The row that has a unique key: in the buffer, sequenced, or installed.
    pub(super) fn unique_owner(&mut self, table: &Table, index: &IndexLayout, unique: &IndexKey) -> Option<RowKey> {
        if let Some(own) = self.writes.get(&table.def.oid).and_then(|w| w.owner(index.oid, unique, None)) {
            return Some(own);
        }
        let lock = LockKey::Unique(index.oid, unique.clone());
        let owner = match self.shared.locks.pending(&lock) {
            Some((ts, Pending::Owner(owner))) => {
                self.depends_on(ts);
                owner
            }
            _ => self.installed_owner(table, index, unique),
        };
        // A row that this transaction changed or deleted has the key no longer: it is not in the buffer under it.
        let changed = |key: &RowKey| self.writes.get(&table.def.oid).is_some_and(|w| w.rows.contains_key(key));
        owner.filter(|key| !changed(key))
    }

    /// Whether more than one row has a key of a deferrable index, which the transaction has locked.
    pub fn is_duplicated(&mut self, table: &Table, index: Oid, unique: &IndexKey) -> bool {
        let Some(index) = table.index_layout(index) else { return false };
        let own = self.writes.get(&table.def.oid).map_or(0, |w| w.count(index.oid, unique));
        let lock = LockKey::Unique(index.oid, unique.clone());
        let other = match self.shared.locks.pending(&lock) {
            Some((ts, Pending::Owner(owner))) => {
                self.depends_on(ts);
                owner.filter(|key| !self.is_rewritten(table, key))
            }
            _ => self.installed_owner(table, index, unique),
        };
        own + usize::from(other.is_some()) > 1
    }

    /// The key of a row in a deferrable index; `None`: no other row's is equal to it.
    pub fn unique_key(table: &Table, index: Oid, row: &[Datum]) -> Option<IndexKey> {
        table.index_layout(index)?.unique_key(|c| cell_of(row, c))
    }

    fn installed_owner(&self, table: &Table, index: &IndexLayout, unique: &IndexKey) -> Option<RowKey> {
        let mut owner = None;
        if let Some(index) = table.store.index(index.oid) {
            let range = (unique.clone(), crate::storage::layout::after(unique));
            table.store.walk(&index, range, false, CommitTs::MAX, &table.layout, |bytes, key, _| {
                if bytes == unique.as_slice() && !self.is_rewritten(table, &key) {
                    owner = Some(key);
                }
                owner.is_none()
            });
            return owner;
        }
        // The index was created by this transaction, which holds the table: nothing is pending, all is installed.
        let layout = &table.layout;
        table.store.for_each_live(layout, |key, row| {
            if index.unique_key(|c| cell_of(row, c)).as_ref() == Some(unique) && !self.is_rewritten(table, &key) {
                owner = Some(key);
            }
            owner.is_none()
        });
        owner
    }

    fn is_rewritten(&self, table: &Table, key: &RowKey) -> bool {
        self.writes.get(&table.def.oid).is_some_and(|w| w.rows.contains_key(key))
    }

    fn newest(&self, table: &Table, key: &RowKey) -> Newest {
        let oid = table.def.oid;
        match self.writes.get(&oid).map_or(Buffered::Unknown, |w| w.get(key)) {
            Buffered::Row(row) => return Newest::Own(Some(row)),
            Buffered::Deleted => return Newest::Own(None),
            Buffered::Unknown => {}
        }
        if let Some((ts, Pending::Row(row))) = self.shared.locks.pending(&LockKey::Row(oid, key.clone())) {
            return Newest::Shared(ts, row);
        }
        match table.store.latest(key, &table.layout) {
            Latest::Live { row, begin } => Newest::Shared(begin, Some(Arc::new(row))),
            Latest::Deleted { end } => Newest::Shared(end, None),
            Latest::Never => Newest::Shared(CommitTs(0), None),
        }
    }

    fn row_exists(&mut self, table: &Table, key: &RowKey) -> bool {
        match self.writes.get(&table.def.oid).map_or(Buffered::Unknown, |w| w.get(key)) {
            Buffered::Row(_) => return true,
            Buffered::Deleted => return false,
            Buffered::Unknown => {}
        }
        if let Some((ts, Pending::Row(row))) = self.shared.locks.pending(&LockKey::Row(table.def.oid, key.clone())) {
            self.depends_on(ts);
            return row.is_some();
        }
        table.store.exists(key)
    }

    /// The row that is about to change. It was locked, so it cannot have changed since.
    fn held_row(&mut self, table: &Table, key: &RowKey) -> Result<Arc<Row>> {
        let own = || self.writes.get(&table.def.oid).is_some_and(|w| !matches!(w.get(key), Buffered::Unknown));
        let locked = || self.held.contains(&LockKey::Row(table.def.oid, key.clone()));
        if !self.covers(table.def.oid) && !locked() && !own() {
            return Err(Error::internal("a row is changed that is not locked"));
        }
        if let Some((oid, locked, row)) = self.last_locked.take()
            && oid == table.def.oid
            && locked == *key
        {
            return Ok(row);
        }
        let row = match self.newest(table, key) {
            Newest::Own(row) | Newest::Shared(_, row) => row,
        };
        row.ok_or_else(|| Error::internal("a row to be changed does not exist"))
    }

    pub(super) fn depends_on(&mut self, ts: CommitTs) {
        self.depends = self.depends.max(ts);
    }

    fn buffer(&mut self, table: &Arc<Table>, key: &RowKey, base: bool, row: Option<Row>, changed: u64) -> Result<()> {
        self.account.reserve(write_bytes(key, row.as_ref()))?;
        self.last_locked = None;
        let writes = self.writes.entry(table.def.oid).or_insert_with(|| TableWrites::new(table.clone()));
        writes.set(key, base, row.map(Arc::new), changed, &mut self.undo);
        self.trim_undo();
        Ok(())
    }
}

/// Refuses what the applier could not install.
fn check_row(table: &Table, row: &[Datum]) -> Result<()> {
    if row.len() != table.layout.types.len() {
        return Err(Error::internal("a row has another number of columns than its table"));
    }
    for (datum, ty) in row.iter().zip(&table.layout.types) {
        if let Some(ty) = ty {
            check_value(*ty, &datum.into())?;
        }
    }
    table.layout.indexes.iter().try_for_each(|index| index.check(|c| cell_of(row, c)))
}

/// The batch's columns by attnum - 1.
fn columns_of(table: &Table, batch: &RecordBatch) -> Result<Vec<Option<ArrayRef>>> {
    let mut arrays = batch.columns().iter();
    let mut column = |ty: &Option<crate::types::PgType>| {
        let Some(ty) = ty else { return Ok(None) };
        match arrays.next() {
            Some(array) if *array.data_type() == ty.arrow() => Ok(Some(array.clone())),
            _ => Err(Error::internal("a batch has other columns than its table")),
        }
    };
    table.layout.types.iter().map(&mut column).collect()
}
