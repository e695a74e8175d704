//! The point path: short statements on a small typed executor over cached plans. No DataFusion, no Arrow batch, no
//! thread hop, and no await unless a lock must be waited for.
//!
//! Invariant: a statement gives here what the general path gives; a test runs random statements on both.

mod access;

use std::sync::Arc;

pub use access::{Found, PointAccess, covers, is_constant};

use crate::catalog::{Catalog, TableDef};
use crate::dml::row_expr::{RowColumns, RowExpr};
use crate::error::{Result, SqlState};
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::expr_eval::{NoColumns, eval};
use crate::session::portal::RowSource;
use crate::session::query::{count, lock_mode};
use crate::session::settings::Methods;
use crate::session::{Row, Session};
use crate::sql::{BoundQuery, SimpleSelect};
use crate::storage::{RowKey, Table};
use crate::txn::{Locked, Reads, RowLock, Wait};
use crate::types::compare::compare;
use crate::types::{Datum, PgType};

/// A SELECT of the point path.
pub enum PointSelect {
    /// One row of expressions without FROM.
    Constant(Vec<RowExpr>),
    Lookup(Box<Lookup>),
}

pub struct Lookup {
    def: Arc<TableDef>,
    access: PointAccess,
    /// Columns that are read, by attnum: those of the projection first.
    needed: Vec<i16>,
    /// The whole condition; `None` when the key says it all.
    filter: Option<RowExpr>,
    projection: Vec<RowExpr>,
    /// The projection is the first columns of `needed`, as they are.
    direct: bool,
    order_by: Vec<OrderKey>,
    limit: Option<ScalarExpr>,
    offset: Option<ScalarExpr>,
    lock: Option<(RowLock, Wait)>,
}

struct OrderKey {
    expr: RowExpr,
    ty: PgType,
    descending: bool,
    nulls_first: bool,
}

impl PointSelect {
    /// The point plan of a query, if it has one.
    pub fn choose(bound: &BoundQuery, catalog: &Catalog, parameters: usize, methods: Methods) -> Option<PointSelect> {
        if let Some(exprs) = &bound.constant {
            let columns = Arc::new(RowColumns::default());
            let exprs = exprs.iter().map(|e| RowExpr::new(e.clone(), &columns, parameters)).collect();
            return Some(PointSelect::Constant(exprs));
        }
        let simple = bound.simple.as_ref()?;
        let lock = match bound.locks.as_slice() {
            [] => None,
            [request] => {
                let wait = match (request.nowait, request.skip_locked) {
                    (true, _) => Wait::NoWait,
                    (_, true) => Wait::SkipLocked,
                    _ => Wait::Block,
                };
                Some((lock_mode(request.strength), wait))
            }
            _ => return None,
        };
        let def = catalog.tables.get(&simple.scan.table)?;
        Some(PointSelect::Lookup(Box::new(Lookup::choose(simple, def, lock, parameters, methods)?)))
    }

    pub fn explain(&self) -> Vec<String> {
        match self {
            PointSelect::Constant(_) => vec!["Point path: Result".to_string()],
            PointSelect::Lookup(lookup) => lookup.access.explain(&lookup.def),
        }
    }
}

impl Lookup {
    fn choose(
        simple: &SimpleSelect,
        def: &Arc<TableDef>,
        lock: Option<(RowLock, Wait)>,
        parameters: usize,
        methods: Methods,
    ) -> Option<Lookup> {
        // They run before it, on the general path.
        if simple.limit.iter().chain(&simple.offset).any(ScalarExpr::has_subquery) {
            return None;
        }
        let first_rows = (simple.limit.is_some() || !methods.sort) && lock.is_none();
        let wanted = if first_rows { &simple.order_by[..] } else { &[] };
        let access = PointAccess::choose(&simple.scan, simple.filter.as_ref(), wanted, def, methods)?;
        // With a lock the row is looked at after waiting, so its condition is evaluated whatever the key says.
        let filter = simple.filter.as_ref().filter(|_| !access.exact || lock.is_some());
        let attribute = |id: ColumnId| simple.scan.columns.iter().find(|c| c.output.id == id).map(|c| c.attnum);
        let mut needed: Vec<i16> = Vec::new();
        let mut direct = true;
        for expr in &simple.projection {
            match &expr.kind {
                ExprKind::Column { id, depth: 0 } => needed.push(attribute(*id)?),
                _ => direct = false,
            }
        }
        let width = needed.len();
        for column in &simple.scan.columns {
            if !needed.contains(&column.attnum) {
                needed.push(column.attnum);
            }
        }
        if direct && filter.is_none() && simple.order_by.is_empty() {
            needed.truncate(width);
        }
        let mut columns = RowColumns::default();
        for column in &simple.scan.columns {
            if let Some(slot) = needed.iter().position(|a| *a == column.attnum) {
                columns.put(column.output.id, slot);
            }
        }
        let columns = Arc::new(columns);
        let over = |e: &ScalarExpr| RowExpr::new(e.clone(), &columns, parameters);
        Some(Lookup {
            def: def.clone(),
            access,
            needed,
            filter: filter.map(over),
            projection: simple.projection.iter().map(over).collect(),
            direct,
            order_by: simple
                .order_by
                .iter()
                .map(|k| OrderKey {
                    expr: over(&k.expr),
                    ty: k.expr.ty,
                    descending: k.descending,
                    nulls_first: k.nulls_first,
                })
                .collect(),
            limit: simple.limit.clone(),
            offset: simple.offset.clone(),
            lock,
        })
    }

    fn narrow(&self, row: &[Datum]) -> Row {
        self.needed.iter().map(|a| row.get(*a as usize - 1).cloned().unwrap_or(Datum::Null)).collect()
    }
}

/// Runs a point SELECT. `None`: the general path must do it, because there are too many rows.
pub async fn select(session: &mut Session, point: &PointSelect, params: &Arc<[Datum]>) -> Result<Option<RowSource>> {
    match point {
        PointSelect::Constant(exprs) => {
            session.block.queried = true;
            let mut row = Row::with_capacity(exprs.len());
            for expr in exprs {
                row.push(expr.eval(session, &[], params).await?);
            }
            Ok(Some(RowSource::tuples(vec![row])))
        }
        PointSelect::Lookup(lookup) => run(session, lookup, params).await,
    }
}

async fn run(session: &mut Session, lookup: &Lookup, params: &Arc<[Datum]>) -> Result<Option<RowSource>> {
    lookup.def.check_populated()?;
    session.begin_statement(Reads::Snapshot).await?;
    let table = session.table(lookup.def.oid)?;
    let context = session.eval_context();
    let number = |expr: &Option<ScalarExpr>, state, what: &str| match expr {
        None => Ok(None),
        Some(expr) => count(eval(expr, &NoColumns, params, &context)?, state, what),
    };
    let offset = number(&lookup.offset, SqlState::InvalidRowCountInOffsetClause, "OFFSET")?.unwrap_or(0);
    let limit = number(&lookup.limit, SqlState::InvalidRowCountInLimitClause, "LIMIT")?.unwrap_or(usize::MAX);
    let first = offset.saturating_add(limit);
    let found = lookup.access.find(session, &table, params, &context, first)?;
    let mut rows: Vec<Row> = Vec::new();
    match (found, lookup.lock) {
        (Found::Nothing, _) => {}
        (Found::TooMany, _) => return Ok(None),
        (Found::Key(key), None) => {
            if let Some(row) = session.transaction()?.get(&table, &key, Some(&lookup.needed)) {
                keep(session, lookup, row, params, &mut rows).await?;
            }
        }
        (Found::Rows(images), None) => {
            let found = images.len();
            for image in images {
                keep(session, lookup, lookup.narrow(&image.row), params, &mut rows).await?;
            }
            if lookup.access.is_walk() && found == first && rows.len() < found {
                // Not all of the first rows satisfied the condition: there may be others behind them.
                return Ok(None);
            }
        }
        (Found::Key(key), Some(lock)) => lock_one(session, lookup, &table, &key, lock, params, &mut rows).await?,
        (Found::Rows(images), Some(lock)) => {
            // Rows are locked in the order in which they would be returned, up to the limit.
            if !lookup.order_by.is_empty() || images.len() > 1 {
                return Ok(None);
            }
            for image in images {
                lock_one(session, lookup, &table, &image.key, lock, params, &mut rows).await?;
            }
        }
    }
    if rows.len() > 1 && !lookup.order_by.is_empty() && !lookup.access.is_walk() {
        rows = sort(session, lookup, rows, params).await?;
    }
    let rows = rows.into_iter().skip(offset).take(limit);
    let mut out = Vec::with_capacity(rows.len());
    for row in rows {
        out.push(project(session, lookup, row, params).await?);
    }
    if lookup.lock.is_some() {
        session.transaction()?.wait_for_dependencies().await?;
    }
    Ok(Some(RowSource::tuples(out)))
}

/// Keeps a row (of the needed columns) that satisfies the condition.
async fn keep(session: &mut Session, lookup: &Lookup, row: Row, params: &[Datum], rows: &mut Vec<Row>) -> Result<()> {
    if let Some(filter) = &lookup.filter
        && filter.eval(session, &row, params).await? != Datum::Bool(true)
    {
        return Ok(());
    }
    rows.push(row);
    Ok(())
}

async fn lock_one(
    session: &mut Session,
    lookup: &Lookup,
    table: &Arc<Table>,
    key: &RowKey,
    (mode, wait): (RowLock, Wait),
    params: &[Datum],
    rows: &mut Vec<Row>,
) -> Result<()> {
    session.check_writable(match mode {
        RowLock::KeyShare => "SELECT FOR KEY SHARE",
        RowLock::Share => "SELECT FOR SHARE",
        RowLock::NoKeyUpdate => "SELECT FOR NO KEY UPDATE",
        RowLock::Update => "SELECT FOR UPDATE",
    })?;
    if session.transaction()?.get(table, key, Some(&[])).is_none() {
        return Ok(());
    }
    match session.transaction()?.lock_row(table, key, mode, wait).await? {
        Locked::Held { latest: Some(row), .. } => keep(session, lookup, lookup.narrow(&row), params, rows).await,
        _ => Ok(()),
    }
}

async fn project(session: &mut Session, lookup: &Lookup, mut row: Row, params: &[Datum]) -> Result<Row> {
    if lookup.direct {
        row.truncate(lookup.projection.len());
        return Ok(row);
    }
    let mut out = Row::with_capacity(lookup.projection.len());
    for expr in &lookup.projection {
        out.push(expr.eval(session, &row, params).await?);
    }
    Ok(out)
}

async fn sort(session: &mut Session, lookup: &Lookup, rows: Vec<Row>, params: &[Datum]) -> Result<Vec<Row>> {
    let mut keyed = Vec::with_capacity(rows.len());
    for row in rows {
        let mut keys = Row::new();
        for key in &lookup.order_by {
            keys.push(key.expr.eval(session, &row, params).await?);
        }
        keyed.push((keys, row));
    }
    keyed.sort_by(|(a, _), (b, _)| {
        let pairs = a.iter().zip(b).zip(&lookup.order_by);
        pairs.map(|((a, b), key)| order(a, b, key)).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    });
    Ok(keyed.into_iter().map(|(_, row)| row).collect())
}

fn order(a: &Datum, b: &Datum, key: &OrderKey) -> std::cmp::Ordering {
    use std::cmp::Ordering::{Equal, Greater, Less};
    match (a.is_null(), b.is_null()) {
        (true, true) => Equal,
        (true, false) => {
            if key.nulls_first {
                Less
            } else {
                Greater
            }
        }
        (false, true) => {
            if key.nulls_first {
                Greater
            } else {
                Less
            }
        }
        (false, false) => {
            let order = compare(a, b, key.ty);
            if key.descending { order.reverse() } else { order }
        }
    }
}

impl PointAccess {
    /// Keys of the rows that an UPDATE or DELETE may change; `None`: too many for this path.
    pub async fn keys(
        &self,
        session: &mut Session,
        table: &Arc<Table>,
        params: &Arc<[Datum]>,
    ) -> Result<Option<Vec<RowKey>>> {
        let context = session.eval_context();
        Ok(match self.find(session, table, params, &context, usize::MAX)? {
            Found::Key(key) => Some(vec![key]),
            Found::Rows(images) => Some(images.into_iter().map(|i| i.key).collect()),
            Found::Nothing => Some(Vec::new()),
            Found::TooMany => None,
        })
    }
}
