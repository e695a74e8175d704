//! MERGE: what becomes of each row of a source that is joined with the target.
//!
//! Invariants:
//! 1. The first WHEN clause that fits a row decides, on the statement's snapshot; rows to be changed are all locked before
//!    the first is written, and one that changed since makes the statement start over.
//! 2. No row of the target is changed twice (21000).

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use sqlparser::ast;

use super::foreign_key::ForeignKeys;
use super::insert::{InsertPlan, Inserter, Source, is_default, may_be_given, overriding, target_columns};
use super::row_expr::{RowColumns, RowExpr};
use super::rules::TableRules;
use super::update::Assignments;
use crate::catalog::acl::Rights;
use crate::catalog::{Catalog, ColumnDef, Oid, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ExprKind, ScalarExpr};
use crate::session::cursor::batch_rows;
use crate::session::plan::object_name;
use crate::session::portal::Changed;
use crate::session::{Row, Session};
use crate::sql::bind::row_security::{CheckTime, TargetChange};
use crate::sql::rewrite::only;
use crate::sql::scope::RowsOf;
use crate::sql::{Binder, BoundQuery, Scope};
use crate::storage::{RowId, RowKey, Table};
use crate::txn::{Locked, Reads, RowLock, Wait};
use crate::types::{Datum, TypeOid};

/// The names that stand for DO NOTHING and DEFAULT VALUES in the tree: no client can write them.
pub const NOTHING_MARK: &str = "\u{1}nothing";
pub const DEFAULTS_MARK: &str = "\u{1}defaults";

const RESTARTS_MAX: usize = 1000;

enum Action {
    Nothing,
    Update(Assignments, RowLock),
    Delete,
    /// Columns and their values; `None`: DEFAULT.
    Insert(Vec<(usize, Option<RowExpr>)>),
}

struct Clause {
    matched: bool,
    condition: Option<RowExpr>,
    action: Action,
}

pub struct MergePlan {
    /// What an INSERT of it needs, the rules of the table first.
    pub insert: Arc<InsertPlan>,
    clauses: Vec<Clause>,
    /// Row id of the target, NULL without one, the OID of its table where there are `heirs`, then the columns of the source.
    query: BoundQuery,
    /// The tables that inherit from the target.
    heirs: Vec<Heir>,
}

/// A table whose rows are changed as those of the target.
struct Heir {
    rules: TableRules,
    keys: ForeignKeys,
    /// For each column of the target, dropped ones included, its place in the heir.
    places: Vec<Option<usize>>,
}

impl Heir {
    fn bind(session: &mut Session, def: &Arc<TableDef>, named: &TableRules, catalog: &Arc<Catalog>) -> Result<Heir> {
        let mut rules = TableRules::bind(session, def, catalog)?;
        rules.speak_as(named);
        let place = |c: &ColumnDef| def.column(&c.name).filter(|_| !c.dropped).map(|own| own.attnum as usize - 1);
        let places = named.def.columns.iter().map(place).collect();
        Ok(Heir { rules, keys: ForeignKeys::of(def, catalog), places })
    }

    /// A row as one of the target.
    fn as_target(&self, row: &Row) -> Row {
        let value = |place: &Option<usize>| place.and_then(|at| row.get(at).cloned()).unwrap_or(Datum::Null);
        self.places.iter().map(value).collect()
    }

    /// Takes the values of a row of the target.
    fn take(&self, row: &mut Row, target: Row) {
        for (place, value) in self.places.iter().zip(target) {
            if let Some(slot) = place.and_then(|at| row.get_mut(at)) {
                *slot = value;
            }
        }
    }
}

impl MergePlan {
    pub fn has_row_queries(&self) -> bool {
        self.insert.rules.has_row_queries()
            || self.clauses.iter().any(|clause| {
                let action = match &clause.action {
                    Action::Update(assignments, _) => assignments.is_query(),
                    Action::Insert(values) => values.iter().any(|(_, v)| v.as_ref().is_some_and(RowExpr::is_query)),
                    Action::Nothing | Action::Delete => false,
                };
                action || clause.condition.as_ref().is_some_and(RowExpr::is_query)
            })
    }

    /// The query of the joined rows.
    pub fn rows(&self) -> &BoundQuery {
        &self.query
    }
}

fn is_mark(name: &ast::ObjectName, mark: &str) -> bool {
    name.0.last().and_then(|p| p.as_ident()).is_some_and(|i| i.value == mark)
}

pub fn plan(
    session: &mut Session,
    merge: &ast::Merge,
    catalog: &Arc<Catalog>,
    binder: &mut Binder,
    parameters: usize,
) -> Result<MergePlan> {
    let ast::TableFactor::Table { name, alias, .. } = &merge.table else {
        return Err(Error::unsupported("MERGE into something that is not a table"));
    };
    if merge.output.is_some() {
        return Err(Error::new(SqlState::SyntaxError, "syntax error at or near \"RETURNING\""));
    }
    let (name, only) = only::split(name);
    let def = session.resolve_table(&name, catalog, "merge into")?;
    let only = only || catalog.children(def.oid).is_empty();
    let unmatched = merge.clauses.iter().any(|c| c.clause_kind != ast::MergeClauseKind::Matched);
    binder.begin_target(&def, Rights::NONE)?;
    binder.check_family(only)?;
    let (target, source) = binder.bind_merge((&def, only), alias.as_ref(), &merge.source, &merge.on, unmatched)?;
    let mut columns = RowColumns::default();
    let mut selected: Vec<ScalarExpr> = Vec::new();
    for (i, relation) in target.scope.relations.iter().enumerate() {
        if i == 0 {
            columns.add(relation.columns.iter(), 0);
            if let RowsOf::Column(id) = relation.rows_of {
                columns.put(id, def.columns.len());
                selected.push(ScalarExpr::column(id, TypeOid::OID));
            }
            continue;
        }
        for column in &relation.columns {
            columns.put(column.id, def.columns.len() + selected.len());
            selected.push(ScalarExpr::new(ExprKind::Column { id: column.id, depth: 0 }, column.ty));
        }
        if let RowsOf::Column(id) = relation.rows_of {
            columns.put(id, def.columns.len() + selected.len());
            selected.push(ScalarExpr::column(id, TypeOid::OID));
        }
    }
    let columns = Arc::new(columns);
    let mut rules = TableRules::bind(session, &def, catalog)?;
    let mut clauses: Vec<Clause> = Vec::with_capacity(merge.clauses.len());
    for clause in &merge.clauses {
        let matched = clause.clause_kind == ast::MergeClauseKind::Matched;
        if !matched && clause.clause_kind != ast::MergeClauseKind::NotMatched {
            return Err(Error::new(SqlState::SyntaxError, "syntax error at or near \"BY\""));
        }
        if clauses.iter().any(|c| c.matched == matched && c.condition.is_none()) {
            return Err(Error::new(
                SqlState::SyntaxError,
                "unreachable WHEN clause specified after unconditional WHEN clause",
            ));
        }
        let scope = if matched { &target.scope } else { &source };
        let condition = match &clause.predicate {
            None => None,
            Some(expr) => {
                let bound = binder.bind_condition(expr, scope, "MERGE WHEN AND")?;
                Some(RowExpr::with_queries(bound, scope, &columns, parameters, binder)?)
            }
        };
        let action = match &clause.action {
            ast::MergeAction::Delete { .. } => {
                binder.require(Rights::DELETE, std::iter::empty());
                Action::Delete
            }
            ast::MergeAction::Update(update)
                if matches!(update.assignments.as_slice(),
                [one] if matches!(&one.target, ast::AssignmentTarget::ColumnName(n) if is_mark(n, NOTHING_MARK))) =>
            {
                Action::Nothing
            }
            ast::MergeAction::Update(update) => {
                let bound = Assignments::bind(&update.assignments, &def, scope, &columns, binder, parameters)?;
                let in_key = |i: usize| {
                    def.indexes.iter().any(|index| index.unique && index.reads().any(|a| a as usize == i + 1))
                };
                let keys = (0..def.columns.len()).any(|i| bound.touches(i) && in_key(i));
                Action::Update(bound, if keys { RowLock::Update } else { RowLock::NoKeyUpdate })
            }
            ast::MergeAction::Insert(insert) => bind_insert(insert, &rules, scope, &columns, binder, parameters)?,
        };
        clauses.push(Clause { matched, condition, action });
    }
    let row_id = target.row_id;
    let mut query = binder.target_query(target, selected)?;
    binder.police_target(&mut query, row_id, TargetChange::Merge)?;
    rules.add_policies(binder, TargetChange::Merge, parameters)?;
    for clause in &clauses {
        match &clause.action {
            Action::Update(assignments, _) => rules.note_written(assignments.targets()),
            Action::Insert(values) => rules.note_written(values.iter().map(|(index, _)| *index)),
            Action::Nothing | Action::Delete => {}
        }
    }
    if !query.reads.contains(&def.oid) {
        query.reads.push(def.oid);
    }
    let heirs = match only {
        true => Vec::new(),
        false => catalog
            .family(def.oid)
            .iter()
            .skip(1)
            .map(|heir| Heir::bind(session, heir, &rules, catalog))
            .collect::<Result<_>>()?,
    };
    let keys = ForeignKeys::of(&def, catalog);
    let source = Source::Rows(Vec::new());
    let insert = InsertPlan { rules, keys, source, targets: Vec::new(), conflict: None, returning: None };
    Ok(MergePlan { insert: Arc::new(insert), clauses, query, heirs })
}

fn bind_insert(
    insert: &ast::MergeInsertExpr,
    rules: &TableRules,
    scope: &Scope,
    columns: &Arc<RowColumns>,
    binder: &mut Binder,
    parameters: usize,
) -> Result<Action> {
    let def = &rules.def;
    if insert.columns.iter().any(|c| is_mark(c, NOTHING_MARK)) {
        return Ok(Action::Nothing);
    }
    binder.require(Rights::INSERT, std::iter::empty());
    if insert.columns.iter().any(|c| is_mark(c, DEFAULTS_MARK)) {
        return Ok(Action::Insert(Vec::new()));
    }
    let ast::MergeInsertKind::Values(values) = &insert.kind else {
        return Err(Error::new(SqlState::SyntaxError, "syntax error at or near \"ROW\""));
    };
    let [row] = values.rows.as_slice() else {
        return Err(Error::new(SqlState::SyntaxError, "syntax error at or near \",\""));
    };
    let names: Vec<String> = insert.columns.iter().map(|c| object_name(c).map(|(_, n)| n)).collect::<Result<_>>()?;
    let (overriding, names) = overriding(names);
    let targets = target_columns(def, &names, Some(row.len()))?;
    binder.require(Rights::INSERT, targets.iter().map(|target| *target as i16 + 1));
    super::insert::check_width(row.len(), targets.len(), true)?;
    let mut out = Vec::with_capacity(targets.len());
    for (expr, index) in row.iter().zip(targets) {
        let Some(column) = def.columns.get(index) else { continue };
        if is_default(expr) {
            out.push((index, None));
            continue;
        }
        if !may_be_given(column, overriding)? {
            out.push((index, None));
            continue;
        }
        binder.set_clause("VALUES");
        let bound = binder.bind_assignment(expr, scope, &column.name, column.ty)?;
        out.push((index, Some(RowExpr::with_queries(bound, scope, columns, parameters, binder)?)));
    }
    Ok(Action::Insert(out))
}

/// A row of the target, or of one of its heirs.
struct Met<'a> {
    table: Arc<Table>,
    heir: Option<&'a Heir>,
    key: RowKey,
    row: Row,
}

/// A row of the source, the row of the target that it met, and the clause that decides.
struct Decided<'a> {
    clause: &'a Clause,
    target: Option<Met<'a>>,
    /// The target's columns, NULL without a row, then the source's.
    row: Row,
}

pub async fn execute(session: &mut Session, plan: &MergePlan, params: &Arc<[Datum]>) -> Result<Changed> {
    let table = session.table(plan.insert.rules.def.oid)?;
    for _ in 0..RESTARTS_MAX {
        session.begin_statement(Reads::Snapshot).await?;
        let mut decided = Box::pin(decide(session, plan, &table, params)).await?;
        if lock(session, &mut decided).await? {
            return perform(session, plan, &table, decided, params).await;
        }
        if session.has_parts() {
            return Err(session.restart_parts());
        }
    }
    Err(Error::new(SqlState::SerializationFailure, "could not lock rows because they kept changing"))
}

/// Finds for each row of the join the clause that fits it.
async fn decide<'a>(
    session: &mut Session,
    plan: &'a MergePlan,
    table: &Arc<Table>,
    params: &Arc<[Datum]>,
) -> Result<Vec<Decided<'a>>> {
    let width = plan.insert.rules.width();
    let mut stream = session.execute_bound(&plan.query, params).await?;
    let mut decided = Vec::new();
    while let Some(batch) = stream.next().await.transpose()? {
        tokio::task::yield_now().await;
        let values = batch_rows(&batch, &plan.query.columns)?;
        let ids = batch.columns().first().and_then(|c| c.as_primitive_opt::<Int64Type>());
        let ids = ids.ok_or_else(|| Error::internal("a row set lacks its row ids"))?;
        for (i, values) in values.into_iter().enumerate() {
            let target = match ids.is_null(i) {
                true => None,
                false => {
                    let heir = match values.get(1) {
                        Some(Datum::Oid(oid)) => plan.heirs.iter().find(|heir| heir.rules.def.oid.0 == *oid),
                        _ => None,
                    };
                    let table = match heir {
                        Some(heir) => session.table(heir.rules.def.oid)?,
                        None => table.clone(),
                    };
                    match session.transaction()?.fetch(&table, RowId(ids.value(i) as u64)) {
                        Some(image) => Some(Met { table, heir, key: image.key, row: image.row }),
                        // Another part of the statement changed it.
                        None => continue,
                    }
                }
            };
            let mut row: Row = match &target {
                Some(Met { heir: Some(heir), row, .. }) => heir.as_target(row),
                Some(met) => met.row.clone(),
                None => std::iter::repeat_n(Datum::Null, width).collect(),
            };
            row.extend(values.into_iter().skip(1));
            for clause in plan.clauses.iter().filter(|c| c.matched == target.is_some()) {
                let fits = match &clause.condition {
                    None => true,
                    Some(condition) => condition.eval(session, &row, params).await? == Datum::Bool(true),
                };
                if fits {
                    decided.push(Decided { clause, target, row });
                    break;
                }
            }
        }
    }
    Ok(decided)
}

/// Locks what will be changed. False: a row changed since the snapshot.
async fn lock(session: &mut Session, decided: &mut [Decided<'_>]) -> Result<bool> {
    let mut unchanged = true;
    for one in decided {
        let mode = match &one.clause.action {
            Action::Update(_, mode) => *mode,
            Action::Delete => RowLock::Update,
            Action::Nothing | Action::Insert(_) => continue,
        };
        let Some(Met { table, key, .. }) = &one.target else { continue };
        if session.has_written(table.def.oid, key) {
            continue;
        }
        let locked = session.transaction()?.lock_row(table, key, mode, Wait::Block).await?;
        unchanged &= matches!(locked, Locked::Held { latest: Some(_), changed: false });
    }
    Ok(unchanged)
}

async fn perform(
    session: &mut Session,
    plan: &MergePlan,
    table: &Arc<Table>,
    decided: Vec<Decided<'_>>,
    params: &Arc<[Datum]>,
) -> Result<Changed> {
    let mut inserter = Inserter::new(plan.insert.clone(), table.clone());
    let mut touched: HashSet<(Oid, RowKey)> = HashSet::new();
    let mut changed = Changed { count: 0, returned: Vec::new() };
    for (i, Decided { clause, target, row }) in decided.into_iter().enumerate() {
        if i % 1024 == 1023 {
            tokio::task::yield_now().await;
        }
        match (&clause.action, target) {
            (Action::Insert(values), _) => {
                inserter.insert_computed(session, values, &row, params).await?;
                changed.count += 1;
            }
            (Action::Update(..) | Action::Delete, Some(Met { table, heir, key, row: old })) => {
                let named = &plan.insert.rules;
                let (rules, keys) = heir.map_or((named, &plan.insert.keys), |heir| (&heir.rules, &heir.keys));
                let known = touched.contains(&(table.def.oid, key.clone()));
                if session.has_written(table.def.oid, &key) && !known {
                    continue;
                }
                if !touched.insert((table.def.oid, key.clone())) {
                    return Err(Error::new(
                        SqlState::CardinalityViolation,
                        "MERGE command cannot affect row a second time",
                    )
                    .hint("Ensure that not more than one source row matches any one target row."));
                }
                let time = match &clause.action {
                    Action::Update(..) => CheckTime::MergeUpdate,
                    _ => CheckTime::MergeDelete,
                };
                rules.check_policies(session, &old, time, params).await?;
                if let Action::Update(assignments, _) = &clause.action {
                    let mut new = old.clone();
                    match heir {
                        None => assignments.apply(session, &row, &mut new, params, named).await?,
                        Some(heir) => {
                            let mut target = heir.as_target(&old);
                            assignments.apply(session, &row, &mut target, params, named).await?;
                            heir.take(&mut new, target);
                        }
                    }
                    rules.settle(session, &mut new, CheckTime::Update, params).await?;
                    let context = session.eval_context();
                    inserter.pending.written(&rules.def, keys, Some(&old), &new)?;
                    if let Err(duplicate) = session.transaction()?.update(&table, &key, new.clone()).await? {
                        return Err(rules.unique_violation(&duplicate, Some(&new), &context));
                    }
                } else {
                    inserter.pending.gone(&rules.def, keys, &old, None);
                    session.transaction()?.delete(&table, &key).await?;
                }
                session.note_written(table.def.oid, &key);
                changed.count += 1;
            }
            _ => {}
        }
    }
    session.finish_change(inserter.pending).await?;
    Ok(changed)
}
