//! The rows that an UPDATE or DELETE changes: found by key, by an index or by a query, then locked and looked at again.
//!
//! Invariants:
//! 1. A *simple* target (no FROM or USING, no subquery) is decided on the locked, newest version of each row; where one is gone, the
//!    rows are looked for again.
//! 2. Any other target is decided by its query; a row that changed since the snapshot makes the statement start over
//!    on a newer snapshot, keeping its locks, before anything is written.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;

use super::insert::has_query;
use super::row_expr::{RowColumns, RowExpr};
use crate::catalog::{Oid, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::point::PointAccess;
use crate::session::cursor::batch_rows;
use crate::session::settings::Methods;
use crate::session::{Row, Session};
use crate::sql::bind::row_security::TargetChange;
use crate::sql::scope::RowsOf;
use crate::sql::{Binder, BoundQuery, Target};
use crate::storage::{RowId, RowKey, Table};
use crate::txn::{Locked, Reads, RowLock, Wait};
use crate::types::{Datum, TypeOid};

/// Rows from which on a statement says that it will write many.
const MANY_WRITES: usize = 10_000;
const RESTARTS_MAX: usize = 1000;

pub struct TargetPlan {
    pub def: Arc<TableDef>,
    /// Where the scope's columns lie in the row that expressions see: the target's columns, then those of FROM.
    pub columns: Arc<RowColumns>,
    /// Set for a simple target: the condition over a row, `None` for all rows.
    simple: Option<Option<RowExpr>>,
    point: Option<PointAccess>,
    /// Row id, then what the caller asked for, then the columns of FROM.
    query: BoundQuery,
    /// Number of expressions that the caller asked for.
    asked: usize,
    /// WHERE CURRENT OF: the row that a cursor stands on.
    pub cursor: Option<String>,
    /// What policies ask of each row of a simple target, before anything else looks at it.
    policy: Option<RowExpr>,
    row_id: ColumnId,
}

/// A row to be changed, locked.
pub struct TargetRow {
    pub key: RowKey,
    /// The newest version.
    pub row: Row,
    /// Values of the expressions asked for; empty for a simple target, whose caller evaluates them on the row.
    pub values: Vec<Datum>,
    /// Columns of FROM.
    pub joined: Vec<Datum>,
}

impl TargetPlan {
    /// `expressions`: what the caller wants computed with each row, over the target's scope.
    pub fn bind(
        binder: &mut Binder,
        def: &Arc<TableDef>,
        target: Target,
        expressions: Vec<ScalarExpr>,
        point_path: Option<Methods>,
        parameters: usize,
    ) -> Result<TargetPlan> {
        let mut columns = RowColumns::default();
        let mut joined = Vec::new();
        for (i, relation) in target.scope.relations.iter().enumerate() {
            if i == 0 {
                columns.add(relation.columns.iter(), 0);
                continue;
            }
            for column in &relation.columns {
                columns.put(column.id, def.columns.len() + joined.len());
                joined.push(ScalarExpr::new(ExprKind::Column { id: column.id, depth: 0 }, column.ty));
            }
            if let RowsOf::Column(id) = relation.rows_of {
                columns.put(id, def.columns.len() + joined.len());
                joined.push(ScalarExpr::column(id, TypeOid::OID));
            }
        }
        for column in &target.columns {
            columns.put(column.output.id, column.attnum as usize - 1);
        }
        let mut point = None;
        let mut simple = None;
        let places_rows =
            |e: &ScalarExpr| e.any(&|e| matches!(e.kind, ExprKind::Column { id, .. } if id == target.row_id));
        if let Some((scan, filter)) = &target.simple
            && !expressions.iter().any(|e| has_query(e) || places_rows(e))
            && !filter.as_ref().is_some_and(has_query)
        {
            // An index says where rows are that policies hide.
            if let Some(methods) = point_path.filter(|_| !binder.has_policed_target()) {
                point = PointAccess::choose(scan, filter.as_ref(), &[], def, methods);
            }
            simple = Some(filter.clone());
        }
        let columns = Arc::new(columns);
        let simple = simple.map(|f| f.map(|f| RowExpr::new(f, &columns, parameters)));
        let asked = if simple.is_some() { 0 } else { expressions.len() };
        let mut computed = if simple.is_some() { Vec::new() } else { expressions };
        computed.extend(joined);
        let row_id = target.row_id;
        let mut query = binder.target_query(target, computed)?;
        if !query.runs.is_empty() {
            return Err(Error::unsupported("a SQL function that changes rows in UPDATE, DELETE and MERGE"));
        }
        if !query.reads.contains(&def.oid) {
            query.reads.push(def.oid);
        }
        let (cursor, policy) = (None, None);
        Ok(TargetPlan { def: def.clone(), columns, simple, point, query, asked, cursor, policy, row_id })
    }

    /// Lets policies decide which rows there are, once it is known what the statement reads.
    pub fn police(&mut self, binder: &mut Binder, change: TargetChange, parameters: usize) -> Result<()> {
        let Some(condition) = binder.police_target(&mut self.query, self.row_id, change)? else { return Ok(()) };
        self.policy = self.simple.is_some().then(|| RowExpr::new(condition, &self.columns, parameters));
        Ok(())
    }

    pub fn is_simple(&self) -> bool {
        self.simple.is_some()
    }

    /// Whether the rows are found without the general path.
    pub fn is_point(&self) -> bool {
        self.point.is_some()
    }

    /// The query that finds the rows; `None`: an index does.
    pub fn row_query(&self) -> Option<&BoundQuery> {
        self.point.is_none().then_some(&self.query)
    }

    pub fn explain(&self) -> Vec<String> {
        match &self.point {
            Some(point) => point.explain(&self.def),
            None => vec!["DataFusion row set".to_string()],
        }
    }

    /// Whether the statement reads nothing but the row that it locks.
    pub fn reads(&self) -> Reads {
        match &self.point {
            Some(point) if point.is_primary() => Reads::LockedRows,
            _ => Reads::Snapshot,
        }
    }

    /// Finds and locks the rows.
    pub async fn rows(
        &self,
        session: &mut Session,
        table: &Arc<Table>,
        params: &Arc<[Datum]>,
        mode: RowLock,
    ) -> Result<Vec<TargetRow>> {
        if let Some(cursor) = &self.cursor {
            let Some(id) = session.current_row(cursor, &self.def)? else { return Ok(Vec::new()) };
            let Some(image) = session.transaction()?.fetch(table, id) else { return Ok(Vec::new()) };
            return Ok(lock_simple(session, table, vec![image.key], [&self.policy, &None], params, mode).await?.0);
        }
        for round in 0..RESTARTS_MAX {
            if round > 0 {
                session.begin_statement(Reads::Snapshot).await?;
            }
            if let (Some(point), Some(filter)) = (&self.point, &self.simple)
                && !session.has_parts()
                && let Some(keys) = point.keys(session, table, params).await?
            {
                let (rows, gone) = lock_simple(session, table, keys, [&self.policy, filter], params, mode).await?;
                // Under another key the row is none of those that were asked for.
                if !gone || point.is_primary() {
                    return Ok(rows);
                }
                continue;
            }
            if round == 0 && self.reads() == Reads::LockedRows {
                session.begin_statement(Reads::Snapshot).await?;
            }
            let found = Box::pin(self.found(session, table, params)).await?;
            if found.len() >= MANY_WRITES {
                session.transaction()?.expect_many_writes(table).await?;
            }
            if let Some(filter) = &self.simple {
                let keys = found.into_iter().map(|f| f.key).collect();
                let (rows, gone) = lock_simple(session, table, keys, [&self.policy, filter], params, mode).await?;
                if !gone {
                    return Ok(rows);
                }
            } else if let Some(rows) = Box::pin(lock_joined(session, table, found, mode)).await? {
                return Ok(rows);
            }
            if session.has_parts() {
                return Err(session.restart_parts());
            }
        }
        Err(Error::new(SqlState::SerializationFailure, "could not lock rows because they kept changing"))
    }

    /// Rows of the query on the statement's snapshot, each target row once.
    async fn found(&self, session: &mut Session, table: &Arc<Table>, params: &Arc<[Datum]>) -> Result<Vec<TargetRow>> {
        let mut stream = session.execute_bound(&self.query, params).await?;
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        while let Some(batch) = stream.next().await.transpose()? {
            tokio::task::yield_now().await;
            let values = batch_rows(&batch, &self.query.columns)?;
            let ids = batch.columns().first().and_then(|c| c.as_primitive_opt::<Int64Type>());
            let ids = ids.ok_or_else(|| Error::internal("a row set lacks its row ids"))?;
            let transaction = session.transaction()?;
            for (i, mut values) in values.into_iter().enumerate() {
                let id = RowId(ids.value(i) as u64);
                if ids.is_null(i) || !seen.insert(id) {
                    continue;
                }
                let Some(image) = transaction.fetch(table, id) else { continue };
                let joined = values.drain(1 + self.asked..).collect();
                let values = values.drain(1..).collect();
                found.push(TargetRow { key: image.key, row: image.row, values, joined });
            }
        }
        Ok(found)
    }
}

/// Locks rows one by one; those that no longer satisfy the conditions, asked one after the other, drop out. Answers also whether
/// one was not there any more: it may be under another key.
async fn lock_simple(
    session: &mut Session,
    table: &Arc<Table>,
    keys: Vec<RowKey>,
    filters: [&Option<RowExpr>; 2],
    params: &[Datum],
    mode: RowLock,
) -> Result<(Vec<TargetRow>, bool)> {
    let mut rows = Vec::with_capacity(keys.len());
    let mut gone = false;
    'rows: for (i, key) in keys.into_iter().enumerate() {
        if i % 1024 == 1023 {
            tokio::task::yield_now().await;
        }
        if session.has_written(table.def.oid, &key) {
            continue;
        }
        let locked = session.transaction()?.lock_row(table, &key, mode, Wait::Block).await?;
        let Locked::Held { latest: Some(row), .. } = locked else {
            gone = true;
            continue;
        };
        for filter in filters.into_iter().flatten() {
            if filter.eval(session, &row, params).await? != Datum::Bool(true) {
                continue 'rows;
            }
        }
        rows.push(TargetRow { key, row, values: Vec::new(), joined: Vec::new() });
    }
    Ok((rows, gone))
}

/// Locks rows whose membership a query decided; `None` when one changed in between.
async fn lock_joined(
    session: &mut Session,
    table: &Arc<Table>,
    mut found: Vec<TargetRow>,
    mode: RowLock,
) -> Result<Option<Vec<TargetRow>>> {
    let mut any_changed = false;
    if session.has_parts() {
        found.retain(|target| !session.has_written(table.def.oid, &target.key));
    }
    for (i, target) in found.iter_mut().enumerate() {
        if i % 1024 == 1023 {
            tokio::task::yield_now().await;
        }
        match session.transaction()?.lock_row(table, &target.key, mode, Wait::Block).await? {
            Locked::Held { latest: Some(row), changed } => {
                any_changed |= changed;
                target.row = row;
            }
            _ => any_changed = true,
        }
    }
    Ok((!any_changed).then_some(found))
}

impl Session {
    /// A table of the running transaction.
    pub(crate) fn table(&mut self, oid: Oid) -> Result<Arc<Table>> {
        self.transaction()?
            .table(oid)
            .ok_or_else(|| Error::new(SqlState::UndefinedTable, format!("could not open relation with OID {}", oid.0)))
    }
}
