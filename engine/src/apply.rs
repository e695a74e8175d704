//! The applier: installs committed records, the same on primary and standby, and follows the node's role.
//!
//! Invariants:
//! 1. Records are installed in log order; the watermark moves after all of a record's versions are in.
//! 2. A record whose timestamp is not above the last one applied, or whose epoch is older, changes nothing.
//! 3. Parts of a transaction are installed by its commit record, or forgotten when a record says that it will not come;
//!    those of a dead reign are never installed.
//! 4. What cannot be read or installed is corruption or our bug: the process stops rather than diverge.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{Scope, ScopedJoinHandle};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::catalog::Oid;
use crate::checkpoint;
use crate::commit_log::{Checkpoint, CheckpointError, DigestAnswer, Epoch, LogPosition, Record, Role, StateMachine};
use crate::divergence::Checker;
use crate::error::{Error, Result};
use crate::parallel;
use crate::record::{self, Header, Kind, Operation, Operations};
use crate::seeded;
use crate::storage::chunk::Begins;
use crate::storage::{CommitTs, Storage, Table};
use crate::txn::Transactions;
use crate::txn::notify::Notification;

/// The changes of rows in a record of more bytes than this are shared out to all cores, so many at a time.
const SHARED_BYTES_MIN: usize = 128 << 10;
const SLICE_OPERATIONS: usize = 16 << 10;
/// Changes that are installed under one lock of their partition, while nobody can read in it.
const LOCKED_OPERATIONS: usize = 128;

/// The engine as the log's state machine.
pub struct Applier {
    transactions: Arc<Transactions>,
    progress: Mutex<Progress>,
    checker: Checker,
}

/// How far the log is applied.
#[derive(Debug, Default)]
struct Progress {
    position: LogPosition,
    epoch: Epoch,
    ts: CommitTs,
    /// Bodies of transactions whose commit record is still to come.
    parts: HashMap<u64, Vec<Bytes>>,
    /// Only with the seeded bug: what is still to be installed.
    late: Option<(Header, Bytes)>,
}

impl Applier {
    pub fn new(transactions: Arc<Transactions>) -> Applier {
        Applier { transactions, progress: Mutex::default(), checker: Checker::default() }
    }

    /// Transactions of which only parts have come.
    #[cfg(test)]
    pub(crate) fn unfinished(&self) -> usize {
        self.progress.lock().parts.len()
    }

    fn storage(&self) -> &Storage {
        &self.transactions.storage
    }

    fn try_apply(&self, progress: &mut Progress, record: &Record) -> Result<()> {
        let (header, body) = record::open(record)?;
        if header.epoch > progress.epoch {
            progress.epoch = header.epoch;
            progress.parts.clear();
        }
        if header.epoch < progress.epoch || header.ts <= progress.ts {
            tracing::error!(
                ?header,
                epoch = progress.epoch.0,
                last = progress.ts.0,
                "a record out of order is refused"
            );
            return Ok(());
        }
        progress.ts = header.ts;
        match header.kind {
            Kind::Part => {
                let parts = progress.parts.entry(header.transaction).or_default();
                if header.part as usize != parts.len() {
                    return Err(Error::internal("a part of a transaction is missing"));
                }
                parts.push(body);
            }
            Kind::Forget => {
                progress.parts.remove(&header.transaction);
            }
            Kind::Check => self.checker.begin(self.storage(), header.ts),
            Kind::Commit => {
                let parts = progress.parts.remove(&header.transaction).unwrap_or_default();
                if parts.len() != header.part as usize {
                    return Err(Error::internal("a transaction lacks parts"));
                }
                if seeded::watermark_first() {
                    let late = progress.late.replace((header, body));
                    self.storage().snapshots.set_watermark(header.ts);
                    if let Some((header, body)) = late {
                        self.install(&header, parts, body)?;
                    }
                    self.transactions.sequencer.applied(header.ts, &self.transactions.locks);
                    return Ok(());
                }
                let notifications = self.install(&header, parts, body)?;
                self.storage().snapshots.set_watermark(header.ts);
                self.transactions.sequencer.applied(header.ts, &self.transactions.locks);
                self.transactions.notifier.deliver(&notifications);
            }
        }
        Ok(())
    }

    /// Answers what is to be told to those who listen.
    fn install(&self, header: &Header, parts: Vec<Bytes>, body: Bytes) -> Result<Vec<Notification>> {
        let large =
            parts.iter().map(Bytes::len).sum::<usize>() + body.len() > SHARED_BYTES_MIN && !parallel::has_one_thread();
        let bodies = parts.into_iter().chain([body]);
        match large {
            false => self.install_bodies(header.ts, bodies, None),
            true => std::thread::scope(|scope| {
                self.install_bodies(header.ts, bodies, Some(Shared::new(scope, self.storage(), header.ts)))
            }),
        }
    }

    fn install_bodies(
        &self,
        ts: CommitTs,
        bodies: impl Iterator<Item = Bytes>,
        mut shared: Option<Shared<'_, '_>>,
    ) -> Result<Vec<Notification>> {
        let mut tables = Tables { storage: self.storage(), last: None };
        let mut notifications = Vec::new();
        for body in bodies {
            for operation in Operations::new(body) {
                let mut operation = operation?;
                if let Some(shared) = &mut shared {
                    match shared.take(operation, &mut tables)? {
                        Some(other) => operation = other,
                        None => continue,
                    }
                }
                match operation {
                    Operation::Notify(notification) => notifications.push(notification),
                    operation => {
                        shared.as_mut().map_or(Ok(()), Shared::finish)?;
                        self.install_one(operation, ts, &mut tables)?;
                    }
                }
            }
        }
        shared.as_mut().map_or(Ok(()), Shared::finish)?;
        Ok(notifications)
    }

    fn install_one(&self, operation: Operation, ts: CommitTs, tables: &mut Tables<'_>) -> Result<()> {
        match operation {
            Operation::Batch { table, hidden, rows, columns } => {
                let store = &tables.get(table)?.store;
                store.apply_batch(&columns, hidden.as_deref(), rows, Begins::All(ts))?;
                store.activity.inserted.fetch_add(rows as u64, Ordering::Relaxed);
            }
            Operation::Catalog(changes) => {
                tables.last = None;
                self.storage().apply_catalog(&changes, ts)?;
            }
            Operation::Notify(_) => {}
            Operation::Sequence { sequence, last, called, transactional } => {
                self.storage().sequences.write().insert(sequence, (last, called));
                if transactional {
                    self.transactions.sequences.forget(sequence);
                }
            }
            row => install_row(&row, ts, tables)?,
        }
        Ok(())
    }
}

fn install_row(operation: &Operation, ts: CommitTs, tables: &mut Tables<'_>) -> Result<()> {
    match operation {
        Operation::Insert { table, key, row } => tables.get(*table)?.store.apply_insert(key.as_ref(), row, ts),
        Operation::Update { table, key, changes } => tables.get(*table)?.store.apply_update(key, changes, ts),
        Operation::Delete { table, key } => tables.get(*table)?.store.apply_delete(key, ts),
        _ => Err(Error::internal("not a change of a row")),
    }
}

/// Changes of rows out of a large record, in slices of some: a slice is installed while the next one is read.
struct Shared<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    storage: &'env Storage,
    ts: CommitTs,
    next: Slice,
    installing: Option<ScopedJoinHandle<'scope, Result<()>>>,
}

/// Changes of rows by partition: partitions do not know of each other, so they are installed side by side; within one
/// the order is the record's.
#[derive(Default)]
struct Slice {
    partitions: Vec<Vec<Operation>>,
    operations: usize,
}

impl<'scope, 'env> Shared<'scope, 'env> {
    fn new(scope: &'scope Scope<'scope, 'env>, storage: &'env Storage, ts: CommitTs) -> Self {
        Shared { scope, storage, ts, next: Slice::default(), installing: None }
    }

    /// Takes an operation that changes a row, and gives back any other.
    fn take(&mut self, operation: Operation, tables: &mut Tables<'_>) -> Result<Option<Operation>> {
        let partition = match &operation {
            Operation::Insert { table, key: Some(key), .. }
            | Operation::Update { table, key, .. }
            | Operation::Delete { table, key } => tables.get(*table)?.store.partition_of_key(key),
            Operation::Insert { table, key: None, row } => {
                let store = &tables.get(*table)?.store;
                store.partition_of_key(&store.key_of_row(row))
            }
            _ => return Ok(Some(operation)),
        };
        if self.next.partitions.len() <= partition {
            self.next.partitions.resize_with(partition + 1, Vec::new);
        }
        self.next.partitions[partition].push(operation);
        self.next.operations += 1;
        if self.next.operations == SLICE_OPERATIONS {
            self.wait()?;
            let (slice, storage, ts) = (std::mem::take(&mut self.next), self.storage, self.ts);
            self.installing = Some(self.scope.spawn(move || slice.install(storage, ts)));
        }
        Ok(None)
    }

    /// Until the slice before is installed.
    fn wait(&mut self) -> Result<()> {
        let Some(installing) = self.installing.take() else { return Ok(()) };
        installing.join().unwrap_or_else(|_| Err(Error::internal("installing rows panicked")))
    }

    /// Installs all that was taken.
    fn finish(&mut self) -> Result<()> {
        self.wait()?;
        std::mem::take(&mut self.next).install(self.storage, self.ts)
    }
}

impl Slice {
    fn install(self, storage: &Storage, ts: CommitTs) -> Result<()> {
        let partitions: Vec<(usize, Vec<Operation>)> =
            self.partitions.into_iter().enumerate().filter(|(_, operations)| !operations.is_empty()).collect();
        if partitions.is_empty() {
            return Ok(());
        }
        parallel::for_each(
            &partitions,
            || Error::internal("installing rows panicked"),
            |(partition, operations)| {
                let mut tables = Tables { storage, last: None };
                for operations in operations.chunk_by(|one, other| one.table() == other.table()) {
                    for operations in operations.chunks(LOCKED_OPERATIONS) {
                        install_rows(operations, *partition, ts, &mut tables)?;
                    }
                }
                Ok(())
            },
        )
    }
}

/// Installs changes of rows of one table and partition.
fn install_rows(operations: &[Operation], partition: usize, ts: CommitTs, tables: &mut Tables<'_>) -> Result<()> {
    let Some(table) = operations.first().and_then(Operation::table) else { return Ok(()) };
    let store = &tables.get(table)?.store;
    let mut changes = store.changes(partition);
    operations.iter().try_for_each(|operation| match operation {
        Operation::Insert { key: Some(key), row, .. } => changes.insert(key, key.hash(store.seed), row, ts),
        Operation::Insert { key: None, row, .. } => {
            let key = store.key_of_row(row);
            changes.insert(&key, key.hash(store.seed), row, ts)
        }
        Operation::Update { key, changes: new, .. } => changes.update(key, key.hash(store.seed), new, ts),
        Operation::Delete { key, .. } => changes.delete(key, key.hash(store.seed), ts),
        _ => Err(Error::internal("not a change of a row")),
    })
}

/// Tables by OID, remembering the last one: changes come table by table.
struct Tables<'a> {
    storage: &'a Storage,
    last: Option<Arc<Table>>,
}

impl Tables<'_> {
    fn get(&mut self, oid: Oid) -> Result<&Table> {
        if self.last.as_ref().is_none_or(|t| t.def.oid != oid) {
            self.last = self.storage.table(oid);
        }
        self.last
            .as_deref()
            .ok_or_else(|| Error::internal(format!("a record names table {} that does not exist", oid.0)))
    }
}

impl StateMachine for Applier {
    fn apply(&self, position: LogPosition, record: &Record) {
        let mut progress = self.progress.lock();
        if let Err(error) = self.try_apply(&mut progress, record) {
            stop("apply the committed record", position, &error);
        }
        progress.position = position;
    }

    fn takes_long(&self, record: &Record) -> bool {
        record::takes_long(record)
    }

    fn advance(&self, position: LogPosition) {
        self.progress.lock().position = position;
    }

    fn applied(&self) -> LogPosition {
        self.progress.lock().position
    }

    fn begin_checkpoint(&self) -> Box<dyn Checkpoint> {
        let progress = self.progress.lock();
        let parts = progress.parts.iter().map(|(id, bodies)| (*id, bodies.iter().map(|b| b.to_vec()).collect()));
        let mark = checkpoint::Mark {
            position: progress.position,
            epoch: progress.epoch,
            ts: progress.ts,
            parts: parts.collect(),
        };
        match checkpoint::Image::new(self.storage(), mark) {
            Ok(image) => Box::new(image),
            Err(error) => stop("begin a checkpoint", progress.position, &error),
        }
    }

    fn verify(&self, dir: &Path) -> Result<(), CheckpointError> {
        checkpoint::verify(dir)
    }

    fn restore(&self, dir: &Path) -> Result<LogPosition, CheckpointError> {
        let mark = match seeded::stale_restore() && self.applied() > LogPosition(0) {
            true => checkpoint::restore(&scratch(), dir)?,
            false => checkpoint::restore(self.storage(), dir)?,
        };
        let mut progress = self.progress.lock();
        let parts = mark.parts.into_iter().map(|(id, bodies)| (id, bodies.into_iter().map(Bytes::from).collect()));
        *progress =
            Progress { position: mark.position, epoch: mark.epoch, ts: mark.ts, parts: parts.collect(), late: None };
        self.transactions.sequences.clear();
        self.transactions.sequencer.applied(mark.ts, &self.transactions.locks);
        Ok(mark.position)
    }

    fn digest(&self, check: u64) -> DigestAnswer {
        // Who asks must not wait for a record that takes long to install.
        let applied = self.progress.try_lock().map_or(CommitTs(0), |progress| progress.ts);
        self.checker.answer(check, applied)
    }

    fn set_out_of_service(&self, reason: Option<String>) {
        self.transactions.set_out_of_service(reason);
    }

    fn set_role(&self, role: Role) {
        let progress = self.progress.lock();
        let epoch = match role {
            Role::Primary { epoch } => Some(epoch),
            Role::Standby { .. } => None,
        };
        self.transactions.sequencer.set_role(epoch, progress.ts, &self.transactions.locks);
        self.transactions.sequences.clear();
        self.transactions.primary_is_known(!matches!(role, Role::Standby { primary: None }));
    }
}

/// Only for the seeded bug: storage that nobody reads.
fn scratch() -> Storage {
    Storage::new(crate::catalog::Catalog::bootstrap("postgres", "postgres"), 1 << 30, 1)
}

/// The log and this node disagree, or rows of its memory are lost: going on would make it differ from the others.
fn stop(what: &str, position: LogPosition, error: &Error) -> ! {
    tracing::error!(position = position.0, %error, "cannot {what}; stopping");
    if cfg!(test) {
        panic!("cannot {what} at {position:?}: {error}");
    }
    eprintln!("lockstep: cannot {what} at position {}: {error}", position.0);
    std::process::abort();
}
