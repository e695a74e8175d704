//! Temporary relations: what one session alone has. They are in no record and in no checkpoint, and end with their session.
//!
//! A [`TemporarySpace`] belongs to a session and outlives its transactions; a transaction works on a copy of what is in it
//! and puts it back when it commits. The catalog that the session sees is the shared one with these objects laid over.
//!
//! Invariants:
//! 1. No OID of a temporary relation is in a record: see [`Oid::is_temporary`].
//! 2. Rows of temporary tables are installed at commit, after what goes to the log is safe; only this session reads them,
//!    and it has no snapshot from before, so all of them have the timestamp 0.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::sequences::SequenceState;
use super::transaction::{Transaction, install, with_writes};
use super::writes::TableWrites;
use crate::catalog::{Catalog, CatalogChange, Object, Oid, Persistence, SchemaDef, SequenceDef, TableDef};
use crate::error::{Error, Result};
use crate::storage::layout::Layout;
use crate::storage::{CommitTs, Storage, Table, TableStore};

/// What becomes of a temporary table when a transaction commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCommit {
    DeleteRows,
    Drop,
}

/// OIDs given to temporary objects by this process. Sessions share them, because locks are named by them.
static NEXT_OID: AtomicU32 = AtomicU32::new(Oid::FIRST_TEMPORARY.0);

/// The temporary relations of a session, as of some moment.
#[derive(Debug, Clone, Default)]
pub struct Temporary {
    objects: BTreeMap<Oid, Object>,
    tables: HashMap<Oid, Arc<Table>>,
    on_commit: BTreeMap<Oid, OnCommit>,
}

/// The place where a session's temporary relations are.
#[derive(Debug)]
pub struct TemporarySpace {
    schema: Arc<SchemaDef>,
    committed: Mutex<Arc<Temporary>>,
    /// Values of temporary sequences, which no rollback takes back.
    sequences: Mutex<HashMap<Oid, SequenceState>>,
    /// The last catalog that was laid over another.
    merged: Mutex<Option<Merged>>,
}

#[derive(Debug)]
struct Merged {
    base: Arc<Catalog>,
    temporary: Arc<Temporary>,
    catalog: Arc<Catalog>,
}

/// What a commit does to the session's temporary relations.
pub(super) struct TemporaryCommit {
    space: Arc<TemporarySpace>,
    temporary: Arc<Temporary>,
    writes: Vec<(Oid, TableWrites)>,
}

impl TemporarySpace {
    /// `process`: the session's process number, which names the schema.
    pub fn new(process: i32, owner: Oid) -> Arc<TemporarySpace> {
        let schema = SchemaDef { oid: allocate(1), name: format!("pg_temp_{process}"), owner, comment: None };
        Arc::new(TemporarySpace {
            schema: Arc::new(schema),
            committed: Mutex::default(),
            sequences: Mutex::default(),
            merged: Mutex::default(),
        })
    }

    pub fn schema(&self) -> Oid {
        self.schema.oid
    }

    fn committed(&self) -> Arc<Temporary> {
        self.committed.lock().clone()
    }

    /// `base` with what is committed here laid over.
    pub fn catalog(&self, base: Arc<Catalog>) -> Arc<Catalog> {
        self.over(base, &self.committed())
    }

    fn over(&self, base: Arc<Catalog>, temporary: &Arc<Temporary>) -> Arc<Catalog> {
        let mut merged = self.merged.lock();
        if let Some(known) = &*merged
            && Arc::ptr_eq(&known.base, &base)
            && Arc::ptr_eq(&known.temporary, temporary)
        {
            return known.catalog.clone();
        }
        let mut catalog = Catalog::clone(&base);
        catalog.add_temporary(&self.schema, temporary.objects.values());
        let catalog = Arc::new(catalog);
        *merged = Some(Merged { base, temporary: temporary.clone(), catalog: catalog.clone() });
        catalog
    }

    /// Next value of a temporary sequence.
    pub fn next(&self, sequence: &SequenceDef) -> Result<i64> {
        let mut sequences = self.sequences.lock();
        let state = sequences.entry(sequence.oid).or_insert_with(|| SequenceState::initial(sequence));
        let value = state.next(sequence)?;
        *state = SequenceState { last: value, called: true };
        Ok(value)
    }

    pub(super) fn set(&self, sequence: &SequenceDef, state: SequenceState) {
        self.sequences.lock().insert(sequence.oid, state);
    }

    /// `last_value` and `is_called`.
    pub fn sequence_state(&self, sequence: &SequenceDef) -> (i64, bool) {
        let known = self.sequences.lock().get(&sequence.oid).copied();
        let state = known.unwrap_or_else(|| SequenceState::initial(sequence));
        (state.last, state.called)
    }
}

fn allocate(count: u32) -> Oid {
    let first = NEXT_OID.fetch_add(count, Ordering::Relaxed);
    if Oid(first).is_temporary() {
        return Oid(first);
    }
    // All were given out: those of sessions that ended long ago are free again.
    NEXT_OID.store(Oid::FIRST_TEMPORARY.0 + count, Ordering::Relaxed);
    Oid::FIRST_TEMPORARY
}

impl Transaction {
    /// The session has temporary relations, or is about to.
    pub fn set_temporary_space(&mut self, space: Arc<TemporarySpace>) {
        self.space = Some(space);
    }

    pub fn temporary_space(&self) -> Option<&Arc<TemporarySpace>> {
        self.space.as_ref()
    }

    /// Whether objects that DDL makes from here on are temporary.
    pub fn make_temporary(&mut self, temporary: bool) {
        self.makes_temporary = temporary;
    }

    /// The first of `count` OIDs for temporary objects; `None`: what is made is not temporary.
    pub fn allocate_temporary(&self, count: u32) -> Option<Oid> {
        self.makes_temporary.then(|| allocate(count))
    }

    pub(super) fn temporary(&self) -> Option<Arc<Temporary>> {
        let space = self.space.as_ref()?;
        Some(self.temporary.clone().unwrap_or_else(|| space.committed()))
    }

    /// `base` with the session's temporary relations, as the transaction left them, laid over.
    pub(super) fn with_temporary(&self, base: Arc<Catalog>) -> Arc<Catalog> {
        match (&self.space, self.temporary()) {
            (Some(space), Some(temporary)) => space.over(base, &temporary),
            _ => base,
        }
    }

    pub(super) fn temporary_table(&self, oid: Oid) -> Option<Arc<Table>> {
        self.temporary()?.tables.get(&oid).cloned()
    }

    /// What the table does when the transaction commits; `None`: keeps its rows.
    pub fn on_commit(&mut self, table: Oid, action: Option<OnCommit>) -> Result<()> {
        let temporary = self.own_temporary()?;
        match action {
            Some(action) => temporary.on_commit.insert(table, action),
            None => temporary.on_commit.remove(&table),
        };
        Ok(())
    }

    /// The transaction's own copy, to change.
    fn own_temporary(&mut self) -> Result<&mut Temporary> {
        let now = self.temporary().ok_or_else(|| Error::internal("a temporary relation without its session"))?;
        Ok(Arc::make_mut(self.temporary.insert(now)))
    }

    /// One step of DDL on temporary relations.
    pub(super) fn change_temporary(&mut self, change: CatalogChange) -> Result<()> {
        match change {
            CatalogChange::Put(Object::Table(def)) => {
                let mut catalog = Catalog::clone(&self.catalog());
                catalog.apply(&CatalogChange::Put(Object::Table(def.clone())));
                let def = catalog.tables.get(&def.oid).cloned().unwrap_or(def);
                self.put_temporary_table(def)
            }
            CatalogChange::Put(object) => {
                self.own_temporary()?.objects.insert(object.oid(), object);
                Ok(())
            }
            CatalogChange::Drop(oid) => {
                self.flush(oid);
                let temporary = self.own_temporary()?;
                temporary.objects.remove(&oid);
                temporary.tables.remove(&oid);
                temporary.on_commit.remove(&oid);
                Ok(())
            }
            CatalogChange::In(_, change) => self.change_temporary(*change),
            CatalogChange::NextOid(_) => Ok(()),
        }
    }

    fn put_temporary_table(&mut self, def: Arc<TableDef>) -> Result<()> {
        let oid = def.oid;
        let layout = Arc::new(Layout::new(&def));
        let storage = self.shared.storage.clone();
        let old = self.temporary_table(oid).filter(|old| old.store.storage == def.storage);
        let store = match old {
            Some(old) if old.store.key == layout.key => old.store.clone(),
            Some(old) => {
                let base = match self.flush(oid) {
                    Some(writes) => with_writes(&storage, &old, &writes)?,
                    None => old,
                };
                storage.rekeyed(&base, &layout)?
            }
            None => {
                self.flush(oid);
                new_store(&storage, def.storage, &layout)
            }
        };
        let table = Arc::new(Table { def: def.clone(), store, layout });
        if let Some(writes) = self.writes.get_mut(&oid) {
            writes.set_table(table.clone());
        }
        let temporary = self.own_temporary()?;
        temporary.tables.insert(oid, table);
        temporary.objects.insert(oid, Object::Table(def));
        Ok(())
    }

    /// DISCARD TEMP.
    pub fn drop_all_temporary(&mut self) -> Result<()> {
        let Some(temporary) = self.temporary() else { return Ok(()) };
        temporary.objects.keys().try_for_each(|oid| self.change_temporary(CatalogChange::Drop(*oid)))
    }

    /// Takes what concerns temporary relations out of the transaction: the rest goes to the log.
    pub(super) fn take_temporary(&mut self) -> Option<TemporaryCommit> {
        let space = self.space.clone()?;
        let temporary = self.temporary()?;
        let oids: Vec<Oid> = self.writes.keys().copied().filter(|oid| oid.is_temporary()).collect();
        let writes = oids.into_iter().filter_map(|oid| Some((oid, self.writes.remove(&oid)?))).collect();
        Some(TemporaryCommit { space, temporary, writes })
    }
}

impl TemporaryCommit {
    /// After the commit.
    pub(super) fn finish(self, storage: &Storage) {
        let TemporaryCommit { space, mut temporary, writes } = self;
        for (oid, writes) in writes {
            let Some(table) = temporary.tables.get(&oid) else { continue };
            let emptied = temporary.on_commit.get(&oid) == Some(&OnCommit::DeleteRows);
            if !emptied && let Err(error) = apply(table, &writes) {
                tracing::error!(table = table.def.name, %error, "cannot keep the rows of a temporary table");
            }
        }
        if !temporary.on_commit.is_empty() {
            let now = Arc::make_mut(&mut temporary);
            for (oid, action) in now.on_commit.clone() {
                match action {
                    OnCommit::Drop => now.drop_table(oid),
                    OnCommit::DeleteRows => {
                        if let Some(table) = now.tables.get_mut(&oid)
                            && table.store.rows() > 0
                        {
                            let store = new_store(storage, table.store.storage, &table.layout);
                            *table = Arc::new(Table { def: table.def.clone(), store, layout: table.layout.clone() });
                        }
                    }
                }
            }
        }
        for table in temporary.tables.values() {
            settle(table);
        }
        *space.committed.lock() = temporary;
    }
}

impl Temporary {
    /// With what belongs to the table alone.
    fn drop_table(&mut self, oid: Oid) {
        self.objects.remove(&oid);
        self.tables.remove(&oid);
        self.on_commit.remove(&oid);
        self.objects.retain(|_, object| match object {
            Object::Sequence(sequence) => sequence.owned_by.is_none_or(|(table, _)| table != oid),
            Object::View(view) => !view.depends_on.contains(&oid),
            _ => true,
        });
    }
}

/// A small store: one session alone reads it.
fn new_store(storage: &Storage, oid: Oid, layout: &Arc<Layout>) -> Arc<TableStore> {
    Arc::new(TableStore::new(oid, layout.clone(), 1, &storage.memory))
}

fn apply(table: &Table, writes: &TableWrites) -> Result<()> {
    settle(table);
    install(&table.store, writes)?;
    table.store.maintain(CommitTs::MAX)
}

/// Lets the store have the definition that was committed.
fn settle(table: &Table) {
    if !Arc::ptr_eq(&table.store.layout(), &table.layout)
        && let Err(error) = table.store.set_layout(table.layout.clone(), CommitTs(0))
    {
        tracing::error!(table = table.def.name, %error, "cannot index a temporary table");
    }
}

impl Catalog {
    /// Lays a session's temporary relations over the catalog.
    fn add_temporary<'a>(&mut self, schema: &Arc<SchemaDef>, objects: impl Iterator<Item = &'a Object>) {
        let (next_oid, version) = (self.next_oid, self.version);
        self.apply(&CatalogChange::Put(Object::Schema(schema.clone())));
        for object in objects {
            self.apply(&CatalogChange::Put(object.clone()));
        }
        self.set_temporary_schema(schema.oid);
        (self.next_oid, self.version) = (next_oid, version);
    }
}

/// Whether a change is one of temporary relations.
pub(super) fn is_temporary(change: &CatalogChange) -> bool {
    match change {
        CatalogChange::Put(Object::Table(table)) => table.persistence == Persistence::Temporary,
        CatalogChange::Put(object) => object.oid().is_temporary(),
        CatalogChange::Drop(oid) => oid.is_temporary(),
        CatalogChange::In(_, change) => is_temporary(change),
        CatalogChange::NextOid(_) => false,
    }
}
