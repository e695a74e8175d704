//! FOREIGN KEY, both directions: a row that references must find what it names, a row that is referenced must not go
//! (NO ACTION, RESTRICT) or takes its followers along (CASCADE, SET NULL, SET DEFAULT).
//!
//! Invariants:
//! 1. What a new reference names is locked (KEY SHARE) until the transaction ends, so it can't be deleted under it.
//! 2. Checks of NO ACTION and of new references run after the whole statement, on a snapshot taken after its locks;
//!    deferred ones at COMMIT.
//! 3. The two sides may differ in type ([`crate::types::equal`]): values are of the side that was written until the other is looked at.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use futures::future::BoxFuture;
use sqlparser::ast;

use super::rules::{TableRules, key_text};
use crate::catalog::{Catalog, ConstraintDef, ConstraintKind, ForeignKey, IndexDef, Oid, ReferentialAction, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::functions::casts::cast_value;
use crate::session::{Row, Session};
use crate::storage::{IndexRange, RowId, RowKey, Table};
use crate::txn::{Locked, Reads, RowImage, RowLock, TableLock, Transaction, Wait};
use crate::types::arrow::ColumnReader;
use crate::types::compare::compare;
use crate::types::equal::equal_values;
use crate::types::{Datum, PgType};

/// From this many references on, the referenced table is locked as a whole instead of row by row.
const MANY_REFERENCES: usize = 4096;

/// A foreign key of the table that is written.
#[derive(Clone)]
pub struct Outgoing {
    pub constraint: Arc<ConstraintDef>,
    pub key: ForeignKey,
}

/// A foreign key of another table (or the same) to the table that is written.
#[derive(Clone)]
pub struct Incoming {
    pub child: Arc<TableDef>,
    pub constraint: Arc<ConstraintDef>,
    pub key: ForeignKey,
}

/// All foreign keys that concern a table.
#[derive(Clone, Default)]
pub struct ForeignKeys {
    pub outgoing: Vec<Outgoing>,
    pub incoming: Vec<Incoming>,
    /// Unique indexes whose keys are compared after the rows were written, with their constraints.
    pub deferrable: Vec<(Arc<IndexDef>, Arc<ConstraintDef>)>,
}

impl ForeignKeys {
    pub fn of(def: &TableDef, catalog: &Catalog) -> ForeignKeys {
        ForeignKeys {
            outgoing: def
                .foreign_keys()
                .map(|(constraint, key)| Outgoing { constraint: constraint.clone(), key: key.clone() })
                .collect(),
            incoming: catalog
                .foreign_keys_to(def.oid)
                .map(|(child, constraint, key)| Incoming {
                    child: child.clone(),
                    constraint: constraint.clone(),
                    key: key.clone(),
                })
                .collect(),
            deferrable: def
                .indexes
                .iter()
                .filter(|index| index.deferrable)
                .filter_map(|index| Some((index.clone(), def.index_constraint(index.oid)?.clone())))
                .collect(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.outgoing.is_empty() && self.incoming.is_empty() && self.deferrable.is_empty()
    }
}

/// A check that waits for the end of the statement or for COMMIT.
#[derive(Debug, Clone)]
pub struct DeferredCheck {
    pub constraint: Oid,
    child: Oid,
    parent: Oid,
    /// Values of the key columns, in the foreign key's order.
    values: Vec<Datum>,
    /// True: a child row names them; false: a parent row with them went away.
    reference: bool,
    /// RESTRICT: never later than its statement.
    now: bool,
}

impl DeferredCheck {
    /// The table whose row was written.
    pub fn table(&self) -> Oid {
        if self.reference { self.child } else { self.parent }
    }
}

/// A key of a deferrable constraint that a row got.
#[derive(Debug, Clone)]
pub struct DeferredKey {
    pub constraint: Oid,
    pub table: Oid,
    index: Oid,
    row: Row,
}

/// What a statement must still look at.
#[derive(Default)]
pub struct Pending {
    checks: Vec<DeferredCheck>,
    keys: Vec<DeferredKey>,
    seen: HashSet<(Oid, bool, Vec<u8>)>,
    /// Cascading actions, in order.
    actions: Vec<(Incoming, Vec<Datum>, Option<Vec<Datum>>)>,
}

fn values_of(row: &[Datum], columns: &[i16]) -> Vec<Datum> {
    columns.iter().map(|a| row.get(*a as usize - 1).cloned().unwrap_or(Datum::Null)).collect()
}

fn equal(a: &[Datum], b: &[Datum], types: &[PgType]) -> bool {
    a.iter().zip(b).zip(types).all(|((a, b), ty)| !a.is_null() && !b.is_null() && compare(a, b, *ty).is_eq())
}

fn column_types(def: &TableDef, columns: &[i16]) -> Vec<PgType> {
    columns.iter().map(|a| def.attribute(*a).map_or(crate::types::TypeOid::TEXT.into(), |c| c.ty)).collect()
}

impl Pending {
    /// Takes over what another part of the statement left.
    pub fn absorb(&mut self, other: Pending) {
        self.keys.extend(other.keys);
        self.checks.extend(other.checks);
        self.seen.extend(other.seen);
        self.actions.extend(other.actions);
    }

    fn add(&mut self, check: DeferredCheck, types: &[PgType]) {
        let mut bytes = Vec::new();
        for (value, ty) in check.values.iter().zip(types) {
            crate::types::compare::encode_key(value, *ty, &mut bytes);
        }
        if self.seen.insert((check.constraint, check.reference, bytes)) {
            self.checks.push(check);
        }
    }

    /// A new version of a row; `old` is the one before.
    pub fn written(&mut self, def: &TableDef, keys: &ForeignKeys, old: Option<&[Datum]>, new: &[Datum]) -> Result<()> {
        for (index, constraint) in &keys.deferrable {
            let same = |old: &[Datum]| {
                index.reads().all(|a| old.get(a as usize - 1).zip(new.get(a as usize - 1)).is_some_and(|(a, b)| a == b))
            };
            if !old.is_some_and(same) {
                let row = new.iter().cloned().collect();
                self.keys.push(DeferredKey { constraint: constraint.oid, table: def.oid, index: index.oid, row });
            }
        }
        for fk in &keys.outgoing {
            let values = values_of(new, &fk.key.columns);
            let types = column_types(def, &fk.key.columns);
            if old.is_some_and(|old| equal(&values_of(old, &fk.key.columns), &values, &types)) {
                continue;
            }
            let nulls = values.iter().filter(|v| v.is_null()).count();
            if nulls > 0 && fk.key.match_full && nulls < values.len() {
                return Err(Error::new(
                    SqlState::ForeignKeyViolation,
                    format!(
                        "insert or update on table \"{}\" violates foreign key constraint \"{}\"",
                        def.name, fk.constraint.name
                    ),
                )
                .detail("MATCH FULL does not allow mixing of null and nonnull key values.")
                .constraint(&fk.constraint.name));
            }
            if nulls == 0 {
                let check = DeferredCheck {
                    constraint: fk.constraint.oid,
                    child: def.oid,
                    parent: fk.key.references,
                    values,
                    reference: true,
                    now: false,
                };
                self.add(check, &types);
            }
        }
        if let Some(old) = old {
            self.gone(def, keys, old, Some(new));
        }
        Ok(())
    }

    /// The version `old` of a row went away, perhaps replaced by `new`.
    pub fn gone(&mut self, def: &TableDef, keys: &ForeignKeys, old: &[Datum], new: Option<&[Datum]>) {
        for fk in &keys.incoming {
            let columns = &fk.key.referenced_columns;
            let types = column_types(def, columns);
            let values = values_of(old, columns);
            if values.iter().any(Datum::is_null) {
                continue;
            }
            let replaced = new.map(|new| values_of(new, columns));
            if replaced.as_ref().is_some_and(|new| equal(&values, new, &types)) {
                continue;
            }
            let action = if new.is_some() { fk.key.on_update } else { fk.key.on_delete };
            match action {
                ReferentialAction::NoAction | ReferentialAction::Restrict => {
                    let check = DeferredCheck {
                        constraint: fk.constraint.oid,
                        child: fk.child.oid,
                        parent: def.oid,
                        values,
                        reference: false,
                        now: action == ReferentialAction::Restrict,
                    };
                    self.add(check, &types);
                }
                _ => self.actions.push((fk.clone(), values, replaced)),
            }
        }
    }
}

/// Rows of `table` whose `columns` equal `values`: by an index that starts with them, else by a scan.
pub fn find_rows(
    transaction: &mut Transaction,
    table: &Arc<Table>,
    columns: &[i16],
    values: &[Datum],
    limit: usize,
) -> Result<Vec<RowImage>> {
    let types = column_types(&table.def, columns);
    for index in table.def.indexes.iter().filter(|index| index.is_plain() && index.is_ordered()) {
        let attnums: Vec<i16> = index.attnums().collect();
        let leading = attnums.get(..columns.len()).is_some_and(|head| head.iter().all(|a| columns.contains(a)));
        if !leading || (!table.is_ordered(index.oid) && attnums.len() != columns.len()) {
            continue;
        }
        let prefix = attnums
            .iter()
            .take(columns.len())
            .filter_map(|a| columns.iter().position(|c| c == a))
            .filter_map(|i| values.get(i).cloned())
            .collect();
        return transaction.lookup(table, index.oid, &IndexRange::equal(prefix), limit);
    }
    let source = transaction.scan(table)?;
    let mut found = Vec::new();
    for batch in source.scan(0..source.partitions(), columns, true, None) {
        let batch = batch?;
        let readers: Vec<ColumnReader<'_>> = batch
            .columns()
            .iter()
            .zip(&types)
            .map(|(array, ty)| ColumnReader::new(array.as_ref(), *ty))
            .collect::<Result<_>>()?;
        let ids = batch.columns().last().and_then(|c| c.as_primitive_opt::<UInt64Type>());
        let ids = ids.ok_or_else(|| Error::internal("a scan lacks row ids"))?;
        for row in 0..ids.len() {
            let hit = readers.iter().zip(values).zip(&types).all(|((reader, value), ty)| {
                let cell = reader.get(row);
                !cell.is_null() && compare(&cell, value, *ty).is_eq()
            });
            if hit {
                found.extend(transaction.fetch(table, RowId(ids.value(row))));
                if found.len() >= limit {
                    return Ok(found);
                }
            }
        }
    }
    Ok(found)
}

fn find_constraint(
    catalog: &Catalog,
    child: Oid,
    constraint: Oid,
) -> Option<(Arc<TableDef>, Arc<ConstraintDef>, ForeignKey)> {
    let table = catalog.tables.get(&child)?;
    let found = table.constraints.iter().find(|c| c.oid == constraint)?;
    match &found.kind {
        ConstraintKind::ForeignKey(key) => Some((table.clone(), found.clone(), key.clone())),
        _ => None,
    }
}

impl Session {
    /// End of a statement: cascades, then what must hold now; deferred checks are kept for COMMIT.
    pub(crate) fn settle(&mut self, mut pending: Pending) -> BoxFuture<'_, Result<()>> {
        if pending.checks.is_empty() && pending.actions.is_empty() && pending.keys.is_empty() {
            return Box::pin(std::future::ready(Ok(())));
        }
        Box::pin(async move {
            self.settle_keys(std::mem::take(&mut pending.keys)).await?;
            self.see_references(&pending).await?;
            let mut cascaded = Pending::default();
            for (fk, old, new) in std::mem::take(&mut pending.actions) {
                self.cascade(&fk, &old, new.as_deref(), &mut cascaded).await?;
            }
            self.settle(cascaded).await?;
            let checks = std::mem::take(&mut pending.checks);
            let catalog = self.catalog();
            let mut now = Vec::with_capacity(checks.len());
            for check in checks {
                let deferred = find_constraint(&catalog, check.child, check.constraint)
                    .is_some_and(|(_, constraint, _)| !check.now && self.is_deferred(&constraint));
                match deferred {
                    true => self.deferred.push(check),
                    false => now.push(check),
                }
            }
            self.check_all(now).await
        })
    }

    /// Keys of deferrable constraints: compared now, or kept for COMMIT.
    async fn settle_keys(&mut self, keys: Vec<DeferredKey>) -> Result<()> {
        let catalog = self.catalog();
        for key in keys {
            let table = catalog.tables.get(&key.table);
            let constraint = table.and_then(|t| t.constraints.iter().find(|c| c.oid == key.constraint));
            match constraint.is_some_and(|c| self.is_deferred(c)) {
                true => self.deferred_keys.push(key),
                false => self.check_key(&key)?,
            }
        }
        Ok(())
    }

    /// 23505 if another row has the key.
    fn check_key(&mut self, key: &DeferredKey) -> Result<()> {
        let context = self.eval_context();
        let catalog = self.catalog();
        let transaction = self.transaction()?;
        let Some(table) = transaction.table(key.table) else { return Ok(()) };
        let Some(index) = table.def.index(key.index) else { return Ok(()) };
        let Some(bytes) = Transaction::unique_key(&table, key.index, &key.row) else { return Ok(()) };
        if !transaction.is_duplicated(&table, key.index, &bytes) {
            return Ok(());
        }
        let shown = crate::ddl::key_text(&table.def, index, &key.row, &catalog, &context);
        Err(Error::new(
            SqlState::UniqueViolation,
            format!("duplicate key value violates unique constraint \"{}\"", index.name),
        )
        .detail(format!("Key {shown} already exists."))
        .table(catalog.schema_name(table.def.schema), &table.def.name)
        .constraint(&index.name))
    }

    /// What others committed before our locks is to be seen, applied or not.
    async fn see_references(&mut self, pending: &Pending) -> Result<()> {
        let transaction = self.transaction()?;
        let mut looks = false;
        for child in pending.actions.iter().map(|(fk, _, _)| fk.child.oid) {
            transaction.see_writes_to(child)?;
            looks = true;
        }
        for check in pending.checks.iter().filter(|c| !c.reference) {
            transaction.see_writes_to(check.child)?;
            looks = true;
        }
        match looks {
            true => self.begin_statement(Reads::Snapshot).await,
            false => Ok(()),
        }
    }

    fn is_deferred(&self, constraint: &ConstraintDef) -> bool {
        constraint.deferrable && self.block.constraint_mode(constraint.oid).unwrap_or(constraint.initially_deferred)
    }

    async fn check_all(&mut self, checks: Vec<DeferredCheck>) -> Result<()> {
        let mut by_parent: HashMap<Oid, usize> = HashMap::new();
        for check in checks.iter().filter(|c| c.reference) {
            *by_parent.entry(check.parent).or_default() += 1;
        }
        let mut whole: HashSet<Oid> = HashSet::new();
        for (parent, count) in by_parent {
            if count >= MANY_REFERENCES
                && self.transaction()?.lock_table(parent, TableLock::Share, Wait::SkipLocked).await?
            {
                whole.insert(parent);
            }
        }
        for (i, check) in checks.into_iter().enumerate() {
            if i % 1024 == 1023 {
                tokio::task::yield_now().await;
            }
            let locked = whole.contains(&check.parent);
            self.check_one(check, locked).await?;
        }
        Ok(())
    }

    async fn check_one(&mut self, check: DeferredCheck, table_locked: bool) -> Result<()> {
        // DDL that is under way may make another table of it.
        let asked = if check.reference { check.parent } else { check.child };
        self.transaction()?.lock_table(asked, TableLock::RowShare, Wait::Block).await?;
        let catalog = self.catalog();
        let Some((child, constraint, key)) = find_constraint(&catalog, check.child, check.constraint) else {
            return Ok(());
        };
        let transaction = self.transaction()?;
        let (Some(parent), Some(child_table)) = (transaction.table(check.parent), transaction.table(check.child))
        else {
            return Ok(());
        };
        if check.reference {
            if let Some(named) = equal_values(&check.values, &column_types(&parent.def, &key.referenced_columns))
                && has_parent(transaction, &parent, &key, &named, table_locked).await?
            {
                return Ok(());
            }
            let context = self.eval_context();
            let row = scatter(&child, &key.columns, &check.values);
            return Err(Error::new(
                SqlState::ForeignKeyViolation,
                format!(
                    "insert or update on table \"{}\" violates foreign key constraint \"{}\"",
                    child.name, constraint.name
                ),
            )
            .detail(match crate::dml::rules::shows_columns(&catalog, self.user(), &child, &key.columns) {
                true => format!(
                    "Key {} is not present in table \"{}\".",
                    key_text(&child, &key.columns, &row, &context),
                    parent.def.name
                ),
                false => format!("Key is not present in table \"{}\".", parent.def.name),
            })
            .table(catalog.schema_name(child.schema), &child.name)
            .constraint(&constraint.name));
        }
        // A parent row went away: nobody may name it, unless another row took its place.
        let columns = &key.referenced_columns;
        let Some(naming) = equal_values(&check.values, &column_types(&child, &key.columns)) else { return Ok(()) };
        if !self.is_named(&child_table, &key.columns, &naming).await? {
            return Ok(());
        }
        if !find_rows(self.transaction()?, &parent, columns, &check.values, 1)?.is_empty() {
            return Ok(());
        }
        let context = self.eval_context();
        let row = scatter(&parent.def, columns, &check.values);
        Err(Error::new(
            SqlState::ForeignKeyViolation,
            format!(
                "update or delete on table \"{}\" violates foreign key constraint \"{}\" on table \"{}\"",
                parent.def.name, constraint.name, child.name
            ),
        )
        .detail(match crate::dml::rules::shows_columns(&catalog, self.user(), &parent.def, columns) {
            true => format!(
                "Key {} is still referenced from table \"{}\".",
                key_text(&parent.def, columns, &row, &context),
                child.name
            ),
            false => format!("Key is still referenced from table \"{}\".", child.name),
        })
        .table(catalog.schema_name(child.schema), &child.name)
        .constraint(&constraint.name))
    }

    /// Whether a row names a key, once whoever is changing it is done.
    async fn is_named(&mut self, child: &Arc<Table>, columns: &[i16], naming: &[Datum]) -> Result<bool> {
        let types = column_types(&child.def, columns);
        loop {
            let transaction = self.transaction()?;
            let Some(image) = find_rows(transaction, child, columns, naming, 1)?.into_iter().next() else {
                return Ok(false);
            };
            let locked = transaction.lock_row(child, &image.key, RowLock::KeyShare, Wait::Block).await?;
            // One that did not change is what was found: nothing newer is to be seen of it.
            if let Locked::Held { latest: Some(row), changed } = locked
                && (!changed || equal(&values_of(&row, columns), naming, &types))
            {
                return Ok(true);
            }
            self.see_now(child.def.oid).await?;
        }
    }

    /// Goes on with a snapshot that shows what was written to a table until now.
    async fn see_now(&mut self, table: Oid) -> Result<()> {
        self.transaction()?.see_writes_to(table)?;
        self.begin_statement(Reads::Snapshot).await
    }

    /// CASCADE, SET NULL and SET DEFAULT on the rows that name `old`.
    async fn cascade(
        &mut self,
        fk: &Incoming,
        old: &[Datum],
        new: Option<&[Datum]>,
        pending: &mut Pending,
    ) -> Result<()> {
        // DDL that is under way may make another table of it.
        self.transaction()?.lock_table(fk.child.oid, TableLock::RowExclusive, Wait::Block).await?;
        let catalog = self.catalog();
        let def = catalog.tables.get(&fk.child.oid).cloned().unwrap_or_else(|| fk.child.clone());
        let rules = TableRules::bind(self, &def, &catalog)?;
        let keys = ForeignKeys::of(&def, &catalog);
        let transaction = self.transaction()?;
        let Some(table) = transaction.table(def.oid) else { return Ok(()) };
        let Some(parent) = transaction.table(fk.key.references) else { return Ok(()) };
        let action = if new.is_some() { fk.key.on_update } else { fk.key.on_delete };
        let types = column_types(&def, &fk.key.columns);
        let parent_types = column_types(&parent.def, &fk.key.referenced_columns);
        let context = self.eval_context();
        let follow = |(value, (from, to)): (&Datum, (&PgType, &PgType))| match action {
            ReferentialAction::Cascade => cast_value(value, *from, *to, false, &context),
            _ => Ok(Datum::Null),
        };
        let columns = |new: &[Datum]| new.iter().zip(parent_types.iter().zip(&types)).map(follow).collect();
        let assigned: Option<Vec<Datum>> = new.map(columns).transpose()?;
        let Some(named) = equal_values(old, &types) else { return Ok(()) };
        let mut rows = VecDeque::from(find_rows(self.transaction()?, &table, &fk.key.columns, &named, usize::MAX)?);
        let mut gone = false;
        loop {
            let Some(image) = rows.pop_front() else {
                if !std::mem::take(&mut gone) {
                    return Ok(());
                }
                // A row that somebody took away may be there under another key.
                self.see_now(def.oid).await?;
                rows = find_rows(self.transaction()?, &table, &fk.key.columns, &named, usize::MAX)?.into();
                continue;
            };
            let transaction = self.transaction()?;
            let locked = transaction.lock_row(&table, &image.key, RowLock::Update, Wait::Block).await?;
            let Locked::Held { latest: Some(row), .. } = locked else {
                gone = true;
                continue;
            };
            if !equal(&values_of(&row, &fk.key.columns), &named, &types) {
                continue;
            }
            if action == ReferentialAction::Cascade && new.is_none() {
                transaction.delete(&table, &image.key).await?;
                pending.gone(&def, &keys, &row, None);
                continue;
            }
            let mut changed = self.followed(fk, &rules, &row, assigned.as_deref()).await?;
            let context = self.eval_context();
            rules.finish(&mut changed, &context)?;
            if action == ReferentialAction::SetDefault && equal(&values_of(&changed, &fk.key.columns), &named, &types) {
                // The default is the very key that goes: nothing changes, and the row would be left without what it names.
                let (child, parent) = (def.oid, fk.key.references);
                let (constraint, values) = (fk.constraint.oid, old.to_vec());
                let check = DeferredCheck { constraint, child, parent, values, reference: false, now: true };
                pending.add(check, &parent_types);
                continue;
            }
            let written = self.transaction()?.update(&table, &image.key, changed.clone()).await?;
            if let Err(duplicate) = written {
                return Err(rules.unique_violation(&duplicate, Some(&changed), &context));
            }
            pending.written(&def, &keys, Some(&row), &changed)?;
        }
    }

    /// The child row after the action; `new`: what its key becomes by CASCADE.
    async fn followed(&mut self, fk: &Incoming, rules: &TableRules, row: &Row, new: Option<&[Datum]>) -> Result<Row> {
        let action = if new.is_some() { fk.key.on_update } else { fk.key.on_delete };
        let mut changed = row.clone();
        for (i, attnum) in fk.key.columns.iter().enumerate() {
            let limited = new.is_none() && !fk.key.set_columns.is_empty();
            if limited && !fk.key.set_columns.contains(attnum) {
                continue;
            }
            let slot = *attnum as usize - 1;
            let value = match (action, new) {
                (ReferentialAction::Cascade, Some(new)) => new.get(i).cloned().unwrap_or(Datum::Null),
                (ReferentialAction::SetDefault, _) => match rules.defaults.get(slot).and_then(Option::as_ref) {
                    Some(default) => default.eval(self, &[], &[]).await?,
                    None => Datum::Null,
                },
                _ => Datum::Null,
            };
            if let Some(place) = changed.get_mut(slot) {
                *place = value;
            }
        }
        Ok(changed)
    }

    /// COMMIT: what was deferred must hold now.
    pub(crate) async fn check_deferred(&mut self) -> Result<()> {
        for key in std::mem::take(&mut self.deferred_keys) {
            self.check_key(&key)?;
        }
        if self.deferred.is_empty() {
            return Ok(());
        }
        let checks = std::mem::take(&mut self.deferred);
        self.begin_statement(Reads::Snapshot).await?;
        self.check_still(checks).await
    }

    /// Deferred references whose row is no longer there need not hold.
    async fn check_still(&mut self, checks: Vec<DeferredCheck>) -> Result<()> {
        let catalog = self.catalog();
        let mut still = Vec::with_capacity(checks.len());
        for check in checks {
            let Some((_, _, key)) = find_constraint(&catalog, check.child, check.constraint) else { continue };
            let transaction = self.transaction()?;
            let Some(child) = transaction.table(check.child) else { continue };
            let relevant =
                !check.reference || !find_rows(transaction, &child, &key.columns, &check.values, 1)?.is_empty();
            if relevant {
                still.push(check);
            }
        }
        self.check_all(still).await
    }

    /// SET CONSTRAINTS.
    pub(crate) async fn set_constraints(&mut self, names: Option<Vec<ast::ObjectName>>, deferred: bool) -> Result<()> {
        if !self.block.explicit {
            self.warn_outside_block("SET CONSTRAINTS");
            return Ok(());
        }
        let catalog = self.catalog();
        let oids = match names {
            None => None,
            Some(names) => {
                let mut oids = Vec::new();
                for name in names {
                    let (_, name) = crate::session::plan::object_name(&name)?;
                    let mut found = catalog.tables.values().flat_map(|t| &t.constraints).filter(|c| c.name == name);
                    let Some(constraint) = found.next() else {
                        return Err(Error::new(
                            SqlState::UndefinedObject,
                            format!("constraint \"{name}\" does not exist"),
                        ));
                    };
                    if !constraint.deferrable {
                        return Err(Error::new(
                            SqlState::WrongObjectType,
                            format!("constraint \"{name}\" is not deferrable"),
                        ));
                    }
                    oids.push(constraint.oid);
                    oids.extend(found.map(|c| c.oid));
                }
                Some(oids)
            }
        };
        self.block.set_constraint_mode(oids.as_deref(), deferred);
        if !deferred {
            // What was deferred so far is checked now.
            let all = std::mem::take(&mut self.deferred);
            let (now, later) = all.into_iter().partition(|c| oids.as_ref().is_none_or(|o| o.contains(&c.constraint)));
            self.deferred = later;
            let keys = std::mem::take(&mut self.deferred_keys);
            let (due, kept): (Vec<_>, Vec<_>) =
                keys.into_iter().partition(|k| oids.as_ref().is_none_or(|o| o.contains(&k.constraint)));
            self.deferred_keys = kept;
            due.iter().try_for_each(|key| self.check_key(key))?;
            self.transaction()?;
            self.begin_statement(Reads::Snapshot).await?;
            self.check_still(now).await?;
        }
        Ok(())
    }
}

/// Whether a row that a reference names is there; it is locked against going away.
async fn has_parent(
    transaction: &mut Transaction,
    parent: &Arc<Table>,
    key: &ForeignKey,
    values: &[Datum],
    table_locked: bool,
) -> Result<bool> {
    let types = column_types(&parent.def, &key.referenced_columns);
    let primary = parent.def.primary_key().filter(|index| {
        index.columns.len() == key.referenced_columns.len()
            && index.attnums().all(|a| key.referenced_columns.contains(&a))
    });
    if let Some(index) = primary {
        let ordered: Vec<Datum> = index
            .attnums()
            .filter_map(|a| key.referenced_columns.iter().position(|c| *c == a))
            .filter_map(|i| values.get(i).cloned())
            .collect();
        let Some(row_key) = parent.key(&ordered) else { return Ok(false) };
        if table_locked && transaction.get(parent, &row_key, Some(&[])).is_some() {
            return Ok(true);
        }
        return Ok(lock_parent(transaction, parent, &row_key).await?.is_some());
    }
    for image in find_rows(transaction, parent, &key.referenced_columns, values, 1)? {
        if table_locked {
            return Ok(true);
        }
        if let Some(row) = lock_parent(transaction, parent, &image.key).await?
            && equal(&values_of(&row, &key.referenced_columns), values, &types)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn lock_parent(transaction: &mut Transaction, parent: &Arc<Table>, key: &RowKey) -> Result<Option<Row>> {
    match transaction.lock_row(parent, key, RowLock::KeyShare, Wait::Block).await? {
        Locked::Held { latest, .. } => Ok(latest),
        Locked::Skipped => Ok(None),
    }
}

/// A row with `values` in `columns` and NULL elsewhere, for messages.
fn scatter(def: &TableDef, columns: &[i16], values: &[Datum]) -> Vec<Datum> {
    let mut row = vec![Datum::Null; def.columns.len()];
    for (attnum, value) in columns.iter().zip(values) {
        if let Some(slot) = row.get_mut(*attnum as usize - 1) {
            *slot = value.clone();
        }
    }
    row
}
