//! Queries: WITH, set operations, VALUES, ORDER BY, LIMIT and row locks around the SELECTs.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use sqlparser::ast::{self, Expr, SetExpr, Spanned, VisitMut};

use super::inherited::Place;
use super::limits::Limits;
use super::natural::Spelled;
use super::{Binder, BoundQuery, Expects, LockRequest, LockStrength, LockedSubquery, SimpleSelect, fold, resolve};
use crate::catalog::Oid;
use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::session::Column;
use crate::sql::rel::{Output, QueryExpr, Rel, SetOperation, SortKey};
use crate::sql::rewrite::KEY_MARK;
use crate::types::{PgType, TypeOid};

/// An output column of a bound query.
#[derive(Debug, Clone)]
pub(super) struct OutColumn {
    pub name: String,
    pub id: ColumnId,
    pub ty: PgType,
    pub table: u32,
    pub attribute: i16,
}

/// A bound query or part of one; `rel` yields at least `columns`.
#[derive(Debug)]
pub(super) struct Bound {
    pub rel: Rel,
    pub columns: Vec<OutColumn>,
    pub simple: Option<SimpleSelect>,
    pub constant: Option<Vec<ScalarExpr>>,
    pub locks: Vec<(LockRequest, Place)>,
}

impl Bound {
    pub(super) fn new(rel: Rel, columns: Vec<OutColumn>) -> Bound {
        Bound { rel, columns, simple: None, constant: None, locks: Vec::new() }
    }
}

impl Binder {
    /// SELECT, VALUES, TABLE, with everything around it.
    pub fn bind_query(&mut self, query: &ast::Query) -> Result<BoundQuery> {
        let mut bound = self.query(query)?;
        self.settle_outputs(&mut bound)?;
        Ok(self.finish_query(bound))
    }

    /// Binds a query that is kept as a text, and says in it what its NATURAL joins merge: columns that are added later are not
    /// merged with it.
    pub fn bind_kept(&mut self, query: &mut ast::Query) -> Result<BoundQuery> {
        self.naturals = Some(HashMap::new());
        let bound = self.bind_query(query);
        let naturals = self.naturals.take().unwrap_or_default();
        let _ = query.visit(&mut Spelled(&naturals));
        bound
    }

    /// Like [`Self::bind_query`] with its columns coerced by assignment to `targets` (INSERT … SELECT): unknown
    /// literals and parameters of the query take the target's type. A query may have fewer columns than targets.
    pub fn bind_query_as(&mut self, query: &ast::Query, targets: &[(String, PgType)]) -> Result<BoundQuery> {
        let mut bound = self.query(query)?;
        if bound.columns.len() > targets.len() {
            let error = Error::new(SqlState::SyntaxError, "INSERT has more expressions than target columns");
            let items = match &*query.body {
                ast::SetExpr::Select(select) => select.projection.as_slice(),
                _ => &[],
            };
            return Err(match items.get(targets.len()) {
                Some(item) => self.source.locate(error, item.span()),
                None => error,
            });
        }
        bound.simple = None;
        bound.constant = None;
        for i in 0..bound.columns.len() {
            let (Some(column), Some((name, to))) = (bound.columns.get(i).cloned(), targets.get(i)) else {
                continue;
            };
            let mut convert = |b: &mut Binder, e: ScalarExpr| b.coerce_assign(e, name, *to);
            if self.coerce_output(&mut bound.rel, column.id, *to, &mut convert)? {
                if let Some(column) = bound.columns.get_mut(i) {
                    column.ty = *to;
                }
            } else if column.ty != *to {
                self.project_cast(&mut bound, i, |b, e| b.coerce_assign(e, name, *to))?;
            }
        }
        self.settle_outputs(&mut bound)?;
        if !bound.locks.is_empty() {
            bound = self.locked_subquery(bound)?;
        }
        Ok(self.finish_query(bound))
    }

    /// Replaces output `i` by a conversion of it, above everything else.
    pub(super) fn project_cast(
        &mut self,
        bound: &mut Bound,
        i: usize,
        convert: impl FnOnce(&mut Binder, ScalarExpr) -> Result<ScalarExpr>,
    ) -> Result<()> {
        let Some(column) = bound.columns.get(i).cloned() else {
            return Ok(());
        };
        let converted = convert(self, ScalarExpr::column(column.id, column.ty))?;
        let (id, ty) = (self.fresh(), converted.ty);
        self.note_expression(id, &converted)?;
        let mut columns: Vec<_> =
            bound.rel.outputs().into_iter().map(|o| (o.id, ScalarExpr::column(o.id, o.ty))).collect();
        columns.push((id, converted));
        let input = std::mem::replace(&mut bound.rel, Rel::Unit);
        bound.rel = input.project(columns);
        if let Some(column) = bound.columns.get_mut(i) {
            column.id = id;
            column.ty = ty;
            column.table = 0;
            column.attribute = 0;
        }
        Ok(())
    }

    /// Gives output columns of unknown type the type text.
    pub(super) fn settle_outputs(&mut self, bound: &mut Bound) -> Result<()> {
        for i in 0..bound.columns.len() {
            let Some(column) = bound.columns.get(i).cloned() else {
                continue;
            };
            if column.ty.oid != TypeOid::UNKNOWN {
                continue;
            }
            let text = PgType::from(TypeOid::TEXT);
            let mut convert = |b: &mut Binder, e: ScalarExpr| b.resolve_unknown(e);
            if self.coerce_output(&mut bound.rel, column.id, text, &mut convert)? {
                if let Some(column) = bound.columns.get_mut(i) {
                    column.ty = text;
                }
            } else {
                self.project_cast(bound, i, |b, e| b.resolve_unknown(e))?;
            }
        }
        for exprs in bound.simple.iter_mut().map(|s| &mut s.projection).chain(bound.constant.iter_mut()) {
            for expr in exprs.iter_mut() {
                let taken = std::mem::replace(expr, ScalarExpr::constant(crate::types::Datum::Null, TypeOid::TEXT));
                *expr = self.resolve_unknown(taken)?;
            }
        }
        Ok(())
    }

    /// Takes in what was put into a query after it was bound.
    pub(super) fn complete(&self, query: &mut BoundQuery) {
        let mut scanned = HashSet::new();
        scans(&query.rel, &mut scanned);
        query.locked = self.run_first(&mut scanned);
        query.runs = self.runs.iter().filter(|r| scanned.contains(&r.table)).cloned().collect();
        query.reads.extend(self.reads.iter().filter(|oid| !query.reads.contains(oid)).copied().collect::<Vec<_>>());
    }

    /// The subqueries behind what is scanned, with those behind the queries of WITH among them, which run as part of the same list.
    fn run_first(&self, scanned: &mut HashSet<Oid>) -> Vec<Arc<LockedSubquery>> {
        let mut found = Vec::new();
        for subquery in self.locked.iter().rev() {
            if !scanned.contains(&subquery.table) {
                continue;
            }
            scans(&subquery.query.rel, scanned);
            subquery.limit.iter().chain(&subquery.offset).for_each(|limit| scans_of(limit, scanned));
            found.push(subquery.clone());
        }
        found.reverse();
        found
    }

    /// A query of WITH that calls volatile functions runs once, however often it is named: a scan of what it will have returned.
    pub(super) fn once(&mut self, bound: Bound) -> Bound {
        match is_volatile(&bound.rel) && self.can_be_first(&bound.rel) {
            true => self.first(bound, "rows of WITH"),
            false => bound,
        }
    }

    /// A number of rows whose subqueries are run before the query around it. One that names columns of queries around is left
    /// to be counted for each of their rows.
    pub(super) fn before(&mut self, expr: ScalarExpr, clause: &'static str) -> Result<ScalarExpr> {
        let mut free = HashSet::new();
        expr.free_columns(&mut free);
        if !expr.has_subquery() || !free.is_empty() {
            return Ok(expr);
        }
        let (id, ty) = (self.fresh(), expr.ty);
        let column = OutColumn { name: String::new(), id, ty, table: 0, attribute: 0 };
        let bound = Bound::new(Rel::Unit.project(vec![(id, expr)]), vec![column]);
        if !self.can_be_first(&bound.rel) {
            return Err(Error::unsupported(format!("this subquery in {clause}")));
        }
        let rel = Arc::new(self.first(bound, clause).rel);
        Ok(super::expr::query(QueryExpr::Scalar { rel, column: id }, ty))
    }

    /// Whether a query can run before the one around it. Functions that change rows run once by themselves, and behind those that
    /// are run first.
    fn can_be_first(&self, rel: &Rel) -> bool {
        let mut scanned = HashSet::new();
        scans(rel, &mut scanned);
        !rel.is_correlated()
            && !names_outer_work_table(rel)
            && !self.runs.iter().any(|run| scanned.contains(&run.table))
    }

    /// Has a query run before the one around it: a scan of what it will have returned.
    fn first(&mut self, bound: Bound, name: &str) -> Bound {
        let columns = bound.columns.clone();
        let query = self.finish_query(bound);
        self.run_before(query, Limits::default(), name, columns)
    }

    fn run_before(&mut self, query: BoundQuery, limits: Limits, name: &str, columns: Vec<OutColumn>) -> Bound {
        let table = self.transient();
        self.locked.push(Arc::new(LockedSubquery { table, query, limit: limits.count, offset: limits.offset }));
        let outputs = columns.iter().map(|c| Output { id: c.id, ty: c.ty });
        Bound::new(Rel::Scan(Self::transient_scan(table, name, outputs)), columns)
    }

    pub(super) fn finish_query(&mut self, bound: Bound) -> BoundQuery {
        let columns = bound
            .columns
            .iter()
            .map(|c| Column { name: c.name.clone(), ty: c.ty, table: c.table, attribute: c.attribute })
            .collect();
        let mut outputs: Vec<Output> = bound.columns.iter().map(|c| Output { id: c.id, ty: c.ty }).collect();
        let mut locks = Vec::new();
        for (mut lock, place) in bound.locks {
            lock.row_id = outputs.len();
            outputs.push(Output { id: place.row_id, ty: TypeOid::INT8.into() });
            if let Some(id) = place.table {
                lock.row_table = Some(outputs.len());
                outputs.push(Output { id, ty: TypeOid::OID.into() });
            }
            locks.push(lock);
        }
        let noted = |(i, c): (usize, &OutColumn)| Some((i, self.noted_collation(c.id)?));
        let collations = match self.collations.noticed {
            true => bound.columns.iter().enumerate().filter_map(noted).collect(),
            false => Vec::new(),
        };
        let domains = bound.columns.iter().enumerate();
        let domains = domains.filter_map(|(i, c)| Some((i, *self.domains.get(&c.id)?))).collect();
        let mut scanned = HashSet::new();
        scans(&bound.rel, &mut scanned);
        BoundQuery {
            columns,
            locked: self.run_first(&mut scanned),
            runs: self.runs.iter().filter(|r| scanned.contains(&r.table)).cloned().collect(),
            rel: bound.rel,
            outputs,
            simple: bound.simple,
            constant: bound.constant,
            reads: self.reads.clone(),
            locks,
            collations,
            domains,
            cache: OnceLock::new(),
        }
    }

    pub(super) fn query(&mut self, query: &ast::Query) -> Result<Bound> {
        self.depth += 1;
        if self.depth > super::MAX_DEPTH {
            return Err(super::too_deep());
        }
        let out = super::grow_stack(|| self.query_inner(query));
        self.depth -= 1;
        out
    }

    fn query_inner(&mut self, query: &ast::Query) -> Result<Bound> {
        if !query.pipe_operators.is_empty() || query.for_clause.is_some() || query.settings.is_some() {
            return Err(Error::unsupported("this clause of a query"));
        }
        let ctes = self.ctes.len();
        let pushed = self.pushed_locks.take_next();
        if let Some(with) = &query.with {
            self.with(with)?;
        }
        self.pushed_locks.set_next(pushed);
        let bound = self.query_body(query);
        self.pushed_locks.take_next();
        self.ctes.truncate(ctes);
        bound
    }

    fn query_body(&mut self, query: &ast::Query) -> Result<Bound> {
        let order_by: &[ast::OrderByExpr] = match query.order_by.as_ref().map(|o| &o.kind) {
            None => &[],
            Some(ast::OrderByKind::Expressions(keys)) => keys,
            Some(ast::OrderByKind::All(_)) => return Err(Error::unsupported("ORDER BY ALL")),
        };
        let mut bound = match &*query.body {
            SetExpr::Select(select) => {
                return self.select(select, order_by, Some(query));
            }
            body @ SetExpr::Query(_) => self.set_expr(body)?,
            body => {
                let pushed = self.pushed_locks.take_next();
                if let (SetExpr::SetOperation { .. }, Some(clause)) = (body, pushed.first()) {
                    let word = lock_strength(clause).clause();
                    let message = format!("{word} is not allowed with UNION/INTERSECT/EXCEPT");
                    return Err(Error::new(SqlState::FeatureNotSupported, message));
                }
                self.set_expr(body)?
            }
        };
        if !query.locks.is_empty() {
            let clause = if matches!(*query.body, SetExpr::Values(_)) { "VALUES" } else { "UNION/INTERSECT/EXCEPT" };
            return Err(Error::new(
                SqlState::FeatureNotSupported,
                format!("FOR UPDATE cannot be applied to {clause}").replace(
                    "cannot be applied to UNION/INTERSECT/EXCEPT",
                    "is not allowed with UNION/INTERSECT/EXCEPT",
                ),
            ));
        }
        if !order_by.is_empty() {
            self.settle_outputs(&mut bound)?;
            let mut keys = Vec::new();
            for key in order_by {
                keys.push(self.output_sort_key(key, &bound.columns)?);
            }
            bound.rel = Rel::Sort { input: Box::new(bound.rel), keys };
            bound.simple = None;
            bound.constant = None;
        }
        // No names are in reach there but those of the queries around.
        self.scopes.push(super::Scope::default());
        let limits = self.limits(query);
        self.scopes.pop();
        let limits = limits?;
        if !limits.is_none() {
            bound.rel = limits.apply(bound.rel);
            bound.simple = None;
            bound.constant = None;
        }
        Ok(bound)
    }

    /// ORDER BY over a set operation: names and positions of its columns only.
    fn output_sort_key(&mut self, key: &ast::OrderByExpr, columns: &[OutColumn]) -> Result<SortKey> {
        let span = key.expr.span();
        let column = match &key.expr {
            Expr::Identifier(ident) => {
                let name = fold(ident);
                columns.iter().find(|c| c.name == name).ok_or_else(|| {
                    let error = Error::new(SqlState::UndefinedColumn, format!("column \"{name}\" does not exist"));
                    self.source.locate(error, span)
                })?
            }
            expr => match ordinal(expr) {
                Some(n) => self.position(n, columns, "ORDER BY", span)?,
                None => {
                    let error =
                        Error::new(SqlState::FeatureNotSupported, "invalid UNION/INTERSECT/EXCEPT ORDER BY clause")
                            .detail("Only result column names can be used, not expressions or functions.")
                            .hint("Add the expression/function to every SELECT, or move the UNION into a FROM clause.");
                    return Err(self.source.locate(error, span));
                }
            },
        };
        let expr = ScalarExpr::column(column.id, column.ty);
        self.make_sort_key(expr, &key.options, span)
    }

    pub(super) fn position<'a>(
        &self,
        n: i64,
        columns: &'a [OutColumn],
        clause: &str,
        span: sqlparser::tokenizer::Span,
    ) -> Result<&'a OutColumn> {
        usize::try_from(n).ok().and_then(|n| columns.get(n.checked_sub(1)?)).ok_or_else(|| {
            let error =
                Error::new(SqlState::InvalidColumnReference, format!("{clause} position {n} is not in select list"));
            self.source.locate(error, span)
        })
    }

    fn set_expr(&mut self, body: &SetExpr) -> Result<Bound> {
        match body {
            SetExpr::Select(select) => self.select(select, &[], None),
            SetExpr::Query(query) => self.query(query),
            SetExpr::Values(values) => self.values(values),
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                self.set_operation(left, op, set_quantifier, right, body)
            }
            SetExpr::Table(table) => {
                let mut name = Vec::new();
                name.extend(table.schema_name.iter().map(|s| ast::Ident::new(s.clone())));
                name.extend(table.table_name.iter().map(|s| ast::Ident::new(s.clone())));
                self.table(ast::ObjectName::from(name))
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Err(self.source.locate(super::cte::nested_change(), body.span()))
            }
        }
    }

    fn set_operation(
        &mut self,
        left: &SetExpr,
        op: &ast::SetOperator,
        quantifier: &ast::SetQuantifier,
        right: &SetExpr,
        whole: &SetExpr,
    ) -> Result<Bound> {
        let (operation, word) = match op {
            ast::SetOperator::Union => (SetOperation::Union, "UNION"),
            ast::SetOperator::Intersect => (SetOperation::Intersect, "INTERSECT"),
            ast::SetOperator::Except => (SetOperation::Except, "EXCEPT"),
            ast::SetOperator::Minus => {
                return Err(Error::new(SqlState::SyntaxError, "syntax error at or near \"minus\""));
            }
        };
        let all = match quantifier {
            ast::SetQuantifier::All => true,
            ast::SetQuantifier::None | ast::SetQuantifier::Distinct => false,
            _ => return Err(Error::unsupported("BY NAME")),
        };
        let mut l = super::grow_stack(|| self.set_expr(left))?;
        let mut r = super::grow_stack(|| self.set_expr(right))?;
        if l.columns.len() != r.columns.len() {
            let error =
                Error::new(SqlState::SyntaxError, format!("each {word} query must have the same number of columns"));
            let at = match right {
                SetExpr::Select(select) => select.projection.first().map_or_else(|| right.span(), Spanned::span),
                _ => right.span(),
            };
            return Err(self.source.locate(error, at));
        }
        self.match_columns(&mut l, &mut r, word, whole.span())?;
        if !all {
            l.columns.iter().try_for_each(|column| self.check_distinct(column.ty, left.span()))?;
        }
        let outputs: Vec<Output> = l.columns.iter().map(|c| Output { id: self.fresh(), ty: c.ty }).collect();
        for ((a, b), output) in l.columns.iter().zip(&r.columns).zip(&outputs) {
            self.note_common_domain(output.id, a.id, b.id);
        }
        let mut blurred = false;
        if self.collations.noticed {
            let certain = !(all && operation == SetOperation::Union);
            for (i, output) in outputs.iter().enumerate() {
                if let (Some(a), Some(b)) = (l.columns.get(i), r.columns.get(i)) {
                    let at = match right {
                        SetExpr::Select(select) => select.projection.get(i).map_or_else(|| right.span(), Spanned::span),
                        _ => right.span(),
                    };
                    self.common_collation(output.id, [(a.id, a.ty), (b.id, b.ty)], certain, at)?;
                }
            }
            blurred = certain && self.any_blurred(outputs.iter().map(|o| (o.id, o.ty)))?;
        }
        let columns = l
            .columns
            .iter()
            .zip(&outputs)
            .map(|(c, o)| OutColumn { name: c.name.clone(), id: o.id, ty: o.ty, table: 0, attribute: 0 })
            .collect();
        if blurred {
            let rel = self.blurred_operation(operation, all, l, r, outputs)?;
            return Ok(Bound::new(rel, columns));
        }
        let rel = Rel::SetOperation {
            operation,
            all,
            left_columns: l.columns.iter().map(|c| c.id).collect(),
            right_columns: r.columns.iter().map(|c| c.id).collect(),
            left: Box::new(l.rel),
            right: Box::new(r.rel),
            outputs,
        };
        Ok(Bound::new(rel, columns))
    }

    /// Brings the columns of both sides to common types (manual, section 10.5).
    pub(super) fn match_columns(
        &mut self,
        left: &mut Bound,
        right: &mut Bound,
        word: &str,
        span: sqlparser::tokenizer::Span,
    ) -> Result<()> {
        for i in 0..left.columns.len() {
            let (Some(l), Some(r)) = (left.columns.get(i).cloned(), right.columns.get(i).cloned()) else {
                continue;
            };
            if l.ty == r.ty && l.ty.oid != TypeOid::UNKNOWN {
                continue;
            }
            let Some(common) = resolve::common_type(&[l.ty.oid, r.ty.oid]) else {
                let error = Error::new(
                    SqlState::DatatypeMismatch,
                    format!(
                        "{word} types {} and {} cannot be matched",
                        resolve::type_name(PgType::from(l.ty.oid)),
                        resolve::type_name(PgType::from(r.ty.oid))
                    ),
                );
                return Err(self.source.locate(error, span));
            };
            for bound in [&mut *left, &mut *right] {
                self.convert_column(bound, i, common.into(), span)?;
            }
        }
        Ok(())
    }

    pub(super) fn convert_column(
        &mut self,
        bound: &mut Bound,
        i: usize,
        to: PgType,
        span: sqlparser::tokenizer::Span,
    ) -> Result<()> {
        let Some(column) = bound.columns.get(i).cloned() else {
            return Ok(());
        };
        if column.ty.oid == to.oid {
            if let Some(column) = bound.columns.get_mut(i) {
                column.ty = to;
            }
            return Ok(());
        }
        let done = column.ty.oid == TypeOid::UNKNOWN && {
            let mut convert = |b: &mut Binder, e: ScalarExpr| b.coerce_implicit(e, to, span);
            self.coerce_output(&mut bound.rel, column.id, to, &mut convert)?
        };
        if done {
            if let Some(column) = bound.columns.get_mut(i) {
                column.ty = to;
            }
            return Ok(());
        }
        self.project_cast(bound, i, |b, e| b.coerce_implicit(e, to, span))
    }

    pub(super) fn values(&mut self, values: &ast::Values) -> Result<Bound> {
        let mut rows: Vec<Vec<(ScalarExpr, sqlparser::tokenizer::Span)>> = Vec::new();
        let outer = std::mem::replace(&mut self.expects, Expects::Values);
        // A query of its own: an aggregate of the columns around belongs to the query around.
        self.scopes.push(super::Scope::default());
        let bound: Result<()> = (|| {
            for row in &values.rows {
                let mut out = Vec::new();
                for expr in self.spread(&row.content)?.iter() {
                    out.push((self.expr(expr)?, expr.span()));
                }
                if rows.first().is_some_and(|first| first.len() != out.len()) {
                    let error = Error::new(SqlState::SyntaxError, "VALUES lists must all be the same length");
                    return Err(match row.content.first() {
                        Some(expr) => self.source.locate(error, expr.span()),
                        None => error,
                    });
                }
                rows.push(out);
            }
            Ok(())
        })();
        self.scopes.pop();
        self.expects = outer;
        bound?;
        let width = rows.first().map_or(0, Vec::len);
        let mut columns: Vec<Vec<(ScalarExpr, sqlparser::tokenizer::Span)>> = (0..width).map(|_| Vec::new()).collect();
        let height = rows.len();
        for row in rows {
            for (column, value) in columns.iter_mut().zip(row) {
                column.push(value);
            }
        }
        let mut outputs = Vec::new();
        let mut unified = Vec::new();
        for column in columns {
            // All unknown: left to whoever uses the column.
            let (items, ty): (Vec<ScalarExpr>, PgType) = if column.iter().all(|(e, _)| e.ty.oid == TypeOid::UNKNOWN) {
                (column.into_iter().map(|(e, _)| e).collect(), TypeOid::UNKNOWN.into())
            } else {
                let span = column.first().map_or_else(sqlparser::tokenizer::Span::empty, |(_, s)| *s);
                self.unify(column, "VALUES", span)?
            };
            outputs.push(Output { id: self.fresh(), ty });
            if let Some(output) = outputs.last() {
                self.note_values(output.id, &items, ty)?;
            }
            unified.push(items.into_iter());
        }
        let rows = (0..height)
            .map(|_| {
                unified.iter_mut().filter_map(|column: &mut std::vec::IntoIter<ScalarExpr>| column.next()).collect()
            })
            .collect();
        let columns = outputs
            .iter()
            .enumerate()
            .map(|(i, o)| OutColumn { name: format!("column{}", i + 1), id: o.id, ty: o.ty, table: 0, attribute: 0 })
            .collect();
        Ok(Bound::new(Rel::Values { outputs, rows }, columns))
    }

    /// A query inside another one: its own clause state, its names above those around.
    pub(super) fn subquery(&mut self, query: &ast::Query) -> Result<Bound> {
        let windows = std::mem::take(&mut self.windows);
        let fields = std::mem::take(&mut self.series_fields);
        let uses = std::mem::take(&mut self.uses);
        let pushed = self.pushed_locks.is_pushing();
        let bound = self.inside(|b| b.query(query));
        self.windows = windows;
        self.series_fields = fields;
        self.uses = uses;
        let mut bound = bound?;
        self.settle_outputs(&mut bound)?;
        match bound.locks.is_empty() || pushed {
            true => Ok(bound),
            false => self.locked_subquery(bound),
        }
    }

    /// A subquery with row locks, as a scan of what it will have returned.
    fn locked_subquery(&mut self, mut bound: Bound) -> Result<Bound> {
        if bound.rel.is_correlated() {
            return Err(Error::unsupported("FOR UPDATE in a subquery that depends on the query around it"));
        }
        let mut limits = Limits::default();
        bound.rel = match bound.rel {
            Rel::Limit { input, offset, count, with_ties: false } => {
                limits = Limits { count, offset, with_ties: false };
                *input
            }
            other => other,
        };
        let columns = bound.columns.clone();
        let query = self.finish_query(bound);
        if !query.runs.is_empty() {
            return Err(Error::unsupported(crate::session::query::CHANGES_AND_LOCKS));
        }
        Ok(self.run_before(query, limits, "locked rows", columns))
    }

    /// The queries that run before one whose rows are counted by these.
    pub(crate) fn run_for_limits(&self, limits: [Option<&ScalarExpr>; 2]) -> Vec<Arc<LockedSubquery>> {
        let mut scanned = HashSet::new();
        limits.into_iter().flatten().for_each(|limit| scans_of(limit, &mut scanned));
        self.run_first(&mut scanned)
    }
}

/// Whether a query calls a function that may answer otherwise the next time, or that does something.
fn is_volatile(rel: &Rel) -> bool {
    use crate::functions::Volatility::Volatile;
    let called = match rel {
        Rel::Series { calls, .. } => calls.iter().any(|c| c.function.volatility == Volatile),
        _ => false,
    };
    called || rel.expressions().into_iter().any(calls_volatile) || rel.inputs().into_iter().any(is_volatile)
}

/// [`is_volatile`] of an expression.
pub(super) fn calls_volatile(expr: &ScalarExpr) -> bool {
    let mut found = false;
    expr.walk(&mut |e| found |= calls_itself(e) || e.subquery().is_some_and(|rel| is_volatile(rel)));
    found
}

/// Whether an expression, its subqueries apart, calls a volatile function.
pub(super) fn calls_volatile_itself(expr: &ScalarExpr) -> bool {
    let mut found = false;
    expr.walk(&mut |e| found |= calls_itself(e));
    found
}

fn calls_itself(expr: &ScalarExpr) -> bool {
    use crate::functions::Volatility::Volatile;
    matches!(&expr.kind, ExprKind::Call { function, .. } if function.volatility == Volatile)
}

/// Whether a query reads the rows of a recursion that it stands in.
fn names_outer_work_table(rel: &Rel) -> bool {
    fn collect(rel: &Rel, named: &mut HashSet<u32>, own: &mut HashSet<u32>) {
        match rel {
            Rel::WorkTable { table, .. } => drop(named.insert(*table)),
            Rel::Recursive { table, .. } => drop(own.insert(*table)),
            _ => {}
        }
        for expr in rel.expressions() {
            expr.walk(&mut |e| {
                if let Some(rel) = e.subquery() {
                    collect(rel, named, own);
                }
            });
        }
        rel.inputs().into_iter().for_each(|input| collect(input, named, own));
    }
    let (mut named, mut own) = (HashSet::new(), HashSet::new());
    collect(rel, &mut named, &mut own);
    !named.is_subset(&own)
}

/// The relations that a query scans, those of its subqueries included.
pub(super) fn scans(rel: &Rel, out: &mut HashSet<Oid>) {
    if let Rel::Scan(scan) = rel {
        out.insert(scan.table);
    }
    rel.expressions().into_iter().for_each(|expr| scans_of(expr, out));
    rel.inputs().into_iter().for_each(|input| scans(input, out));
}

/// [`scans`] of an expression's subqueries.
fn scans_of(expr: &ScalarExpr, out: &mut HashSet<Oid>) {
    expr.walk(&mut |e| {
        if let Some(rel) = e.subquery() {
            scans(rel, out);
        }
    });
}

/// A bare integer: a position in the select list.
pub(super) fn ordinal(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Value(value) => match &value.value {
            ast::Value::Number(text, _) => text.parse().ok(),
            _ => None,
        },
        Expr::Nested(inner) => ordinal(inner),
        Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => ordinal(expr).map(|n| -n),
        _ => None,
    }
}

pub(super) fn lock_strength(lock: &ast::LockClause) -> LockStrength {
    let first = lock.of.as_ref().and_then(|of| of.0.first()).and_then(|part| part.as_ident());
    match (lock.lock_type, first.is_some_and(|name| name.value == KEY_MARK)) {
        (ast::LockType::Share, false) => LockStrength::Share,
        (ast::LockType::Share, true) => LockStrength::KeyShare,
        (ast::LockType::Update, false) => LockStrength::Update,
        (ast::LockType::Update, true) => LockStrength::NoKeyUpdate,
    }
}
