//! One SELECT: from its clauses to a tree, in the order in which PostgreSQL evaluates them.

use std::collections::HashSet;

use sqlparser::ast::{self, Expr, SelectItem, Spanned};

use super::function::holds_set_or_window;
use super::group::Grouping;
use super::inherited::Place;
use super::limits::Limits;
use super::postponed::postpone;
use super::pushed_locks::PushedLocks;
use super::query::{Bound, OutColumn, lock_strength, ordinal};
use super::resolve::Kind;
use super::row::{Fields, row_of};
use super::{Binder, Expects, LockRequest, SimpleSelect, fold, names};
use crate::catalog::Oid;
use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::sql::rel::{QueryExpr, Rel, SetCall, WindowCall};
use crate::sql::scope::{Scope, ScopeColumn};
use crate::types::{PgType, TypeOid};

/// One column of the select list.
pub(super) struct Item {
    pub name: String,
    pub expr: ScalarExpr,
    table: u32,
    attribute: i16,
    /// The domain that its type is, if that is known.
    domain: Option<Oid>,
    /// Names of the fields, when `expr` is a row.
    fields: Vec<String>,
}

/// What a sort or DISTINCT ON key is: a column of the select list or an expression of its own.
pub(super) enum Key {
    Output(usize),
    Expr(ScalarExpr),
}

struct OrderKey {
    key: Key,
    options: ast::OrderByOptions,
    span: sqlparser::tokenizer::Span,
}

/// Columns of a result, as in PostgreSQL.
const TARGETS_MAX: usize = 1664;

impl Binder {
    pub(super) fn select(
        &mut self,
        select: &ast::Select,
        order_by: &[ast::OrderByExpr],
        query: Option<&ast::Query>,
    ) -> Result<Bound> {
        refuse_foreign_clauses(select)?;
        let rewritten = self.with_set_in_from(select);
        let select = rewritten.as_ref().unwrap_or(select);
        let clauses = self.pushed_locks.take(query.map_or(&[], |query| &query.locks));
        let around = std::mem::replace(&mut self.pushed_locks, PushedLocks::of(&clauses));
        let from = self.from(&select.from);
        let below = std::mem::replace(&mut self.pushed_locks, around);
        let (mut rel, mut scope) = from?;
        let mut locks = self.locks(&mut rel, &scope, select, &clauses)?;
        locks.extend(self.locks_below(below, &scope)?);
        if asks_for_row_ids(select, self.source.text()) {
            self.give_row_ids(&mut rel, &mut scope);
        }
        self.scopes.push(scope);
        let windows = std::mem::replace(&mut self.windows, select.named_window.clone());
        let fields = std::mem::take(&mut self.series_fields);
        let uses = std::mem::take(&mut self.uses);
        let (expects, unsure) = (self.expects, self.unsure);
        let limits = query.map_or_else(|| Ok(Limits::default()), |query| self.limits(query));
        let out = limits.and_then(|limits| self.select_in_scope(rel, select, order_by, limits, locks));
        (self.expects, self.unsure) = (expects, unsure);
        self.windows = windows;
        self.series_fields = fields;
        self.uses = uses;
        self.scopes.pop();
        out
    }

    fn select_in_scope(
        &mut self,
        rel: Rel,
        select: &ast::Select,
        order_by: &[ast::OrderByExpr],
        limits: Limits,
        locks: Vec<(LockRequest, Place)>,
    ) -> Result<Bound> {
        let scan = match &rel {
            Rel::Scan(scan) if !scan.system => Some(scan.clone()),
            _ => None,
        };
        let no_from = matches!(rel, Rel::Unit);
        self.expects = Expects::Where;
        let filter = select.selection.as_ref().map(|e| self.boolean(e, "WHERE")).transpose()?;
        self.uses.clear();
        self.expects = Expects::SelectList;
        self.unsure |= filter.is_some() || select.having.is_some() || limits.may_be_none();
        let mut items = self.select_list(&select.projection)?;
        self.expects = Expects::GroupBy;
        let mut group_by = self.group_by(&select.group_by, &items_view(&items))?;
        self.expects = Expects::Having;
        let mut having = select.having.as_ref().map(|e| self.boolean(e, "HAVING")).transpose()?;
        self.expects = Expects::OrderBy;
        let mut order = Vec::new();
        for key in order_by {
            let bound = self.key(&key.expr, &mut items, "ORDER BY")?;
            order.push(OrderKey { key: bound, options: key.options, span: key.expr.span() });
        }
        let mut distinct_on = Vec::new();
        let distinct = match &select.distinct {
            None | Some(ast::Distinct::All) => false,
            Some(ast::Distinct::Distinct) => true,
            Some(ast::Distinct::On(exprs)) => {
                for expr in exprs {
                    distinct_on.push(self.key(expr, &mut items, "DISTINCT ON")?);
                }
                false
            }
        };
        if distinct {
            for item in &mut items {
                let expr =
                    std::mem::replace(&mut item.expr, ScalarExpr::constant(crate::types::Datum::Null, TypeOid::TEXT));
                item.expr = self.resolve_unknown(expr)?;
            }
        }
        let outer_aggregates = self.take_outer_aggregates();
        let grouped = !group_by.is_empty()
            || having.is_some()
            || !outer_aggregates.is_empty()
            || items.iter().any(|i| has_aggregate(&i.expr))
            || order.iter().any(|o| matches!(&o.key, Key::Expr(e) if has_aggregate(e)));
        if let (true, Some((lock, _))) = (grouped, locks.first()) {
            let word = lock.strength.clause();
            let message = format!("{word} is not allowed with aggregate functions");
            return Err(Error::new(SqlState::FeatureNotSupported, message));
        }
        let plain = |e: &ScalarExpr| !e.any(&|e| matches!(e.kind, ExprKind::Query(_)));
        let ordinary = !grouped
            && !distinct
            && distinct_on.is_empty()
            && self.series_fields.is_empty()
            && !limits.with_ties
            && items.iter().all(|i| plain(&i.expr))
            && filter.iter().all(plain)
            && order.iter().all(|o| match &o.key {
                Key::Expr(e) => plain(e),
                Key::Output(_) => true,
            });
        let constant = (ordinary && no_from && filter.is_none() && order.is_empty() && limits.is_none())
            .then(|| items.iter().map(|i| i.expr.clone()).collect());
        let simple = match scan {
            Some(scan) if ordinary => Some(self.simple(scan, filter.clone(), &items, &order, &limits)?),
            _ => None,
        };

        let mut rel = rel.filter(filter);
        if grouped {
            let keyed = group_by.take_series(&mut self.series_fields)?;
            if !keyed.is_empty() {
                let others = items.iter_mut().map(|i| &mut i.expr).chain(&mut having);
                others.chain(expressions(&mut order, &mut distinct_on)).try_for_each(|e| use_series(e, &keyed))?;
                rel = nest_series(rel, keyed);
            }
            let mut grouping = Grouping::new(self, &rel, group_by, outer_aggregates);
            for item in &mut items {
                self.regroup(&mut grouping, &mut item.expr)?;
            }
            if let Some(having) = &mut having {
                self.regroup(&mut grouping, having)?;
            }
            for key in order.iter_mut().map(|o| &mut o.key).chain(&mut distinct_on) {
                if let Key::Expr(expr) = key {
                    self.regroup(&mut grouping, expr)?;
                }
            }
            rel = grouping.finish(self, rel)?.filter(having);
        }
        let mut calls = Vec::new();
        let mut series = std::mem::take(&mut self.series_fields);
        for expr in items.iter_mut().map(|i| &mut i.expr).chain(expressions(&mut order, &mut distinct_on)) {
            self.extract_windows(expr, &mut calls)?;
        }
        for expr in items.iter_mut().map(|i| &mut i.expr).chain(expressions(&mut order, &mut distinct_on)) {
            extract_series(expr, &mut series)?;
        }
        let refused = match (calls.is_empty(), series.is_empty()) {
            (false, _) => Some("window functions"),
            (true, false) => Some("set-returning functions in the target list"),
            (true, true) => None,
        };
        if let (Some(what), Some((lock, _))) = (refused, locks.first()) {
            let message = format!("{} is not allowed with {what}", lock.strength.clause());
            return Err(Error::new(SqlState::FeatureNotSupported, message));
        }
        if !calls.is_empty() {
            rel = Rel::Window { input: Box::new(rel), calls };
        }
        rel = nest_series(rel, series);
        self.arrange(rel, items, order, distinct, distinct_on, limits, locks, simple, constant)
    }

    /// Projection, DISTINCT, ORDER BY, LIMIT.
    #[allow(clippy::too_many_arguments)]
    fn arrange(
        &mut self,
        rel: Rel,
        items: Vec<Item>,
        order: Vec<OrderKey>,
        distinct: bool,
        distinct_on: Vec<Key>,
        limits: Limits,
        locks: Vec<(LockRequest, Place)>,
        simple: Option<SimpleSelect>,
        constant: Option<Vec<ScalarExpr>>,
    ) -> Result<Bound> {
        let mut columns: Vec<(ColumnId, ScalarExpr)> = items.iter().map(|i| (self.fresh(), i.expr.clone())).collect();
        for ((id, expr), item) in columns.iter().zip(&items) {
            self.note_expression(*id, expr)?;
            self.domains.extend(item.domain.map(|domain| (*id, domain)));
        }
        let visible = columns.len();
        for (_, place) in &locks {
            columns.push((place.row_id, ScalarExpr::column(place.row_id, TypeOid::INT8)));
            columns.extend(place.table.map(|id| (id, ScalarExpr::column(id, TypeOid::OID))));
        }
        for (i, item) in items.iter().enumerate() {
            self.carry_fields(item, i, &mut columns)?;
        }
        let kept = columns.len();
        let mut keys = Vec::new();
        for order in order {
            let expr = self.place(order.key, &mut columns, distinct, order.span)?;
            keys.push(self.make_sort_key(expr, &order.options, order.span)?);
        }
        let mut on = Vec::new();
        for key in distinct_on {
            on.push(self.place(key, &mut columns, false, sqlparser::tokenizer::Span::empty())?);
        }
        if !on.is_empty() {
            let leading = keys.iter().take(on.len());
            if leading.into_iter().any(|k| !on.iter().any(|o| o.same(unkeyed(&k.expr)))) {
                return Err(Error::new(
                    SqlState::InvalidColumnReference,
                    "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
                ));
            }
        }
        let out: Vec<OutColumn> = items
            .into_iter()
            .zip(&columns)
            .map(|(item, (id, expr))| OutColumn {
                name: item.name,
                id: *id,
                ty: expr.ty,
                table: item.table,
                attribute: item.attribute,
            })
            .collect();
        if kept > TARGETS_MAX {
            let message = format!("target lists can have at most {TARGETS_MAX} entries");
            return Err(Error::new(SqlState::TooManyColumns, message));
        }
        let mut restrict: Vec<_> =
            columns.iter().take(kept).map(|(id, e)| (*id, ScalarExpr::column(*id, e.ty))).collect();
        let postpones = !keys.is_empty() && !distinct && on.is_empty() && locks.is_empty();
        let postponed = postpones && postpone(&rel, &mut columns, &mut restrict[..visible], &keys);
        let hidden = columns.len() > kept || postponed;
        let blurred = distinct && self.any_blurred(columns.iter().map(|(id, e)| (*id, e.ty)))?;
        let mut rel = if blurred { self.blurred_distinct(rel, columns)? } else { rel.project(columns) };
        if distinct {
            for column in &out {
                self.check_distinct(column.ty, sqlparser::tokenizer::Span::empty())?;
            }
        }
        if distinct && !blurred {
            rel = Rel::Distinct { input: Box::new(rel) };
        }
        if !on.is_empty() {
            let on = on.into_iter().map(|key| self.distinguished(key)).collect::<Result<Vec<_>>>()?;
            rel = Rel::DistinctOn { input: Box::new(rel), keys: on, order: keys.clone() };
        }
        if !keys.is_empty() {
            rel = Rel::Sort { input: Box::new(rel), keys };
        }
        rel = limits.apply(rel);
        if hidden {
            rel = rel.project(restrict);
        }
        Ok(Bound { rel, columns: out, simple, constant, locks })
    }

    /// Selects the fields of item `i`, a row, beside it.
    fn carry_fields(&mut self, item: &Item, i: usize, columns: &mut Vec<(ColumnId, ScalarExpr)>) -> Result<()> {
        let (ExprKind::Row(values, _), Some(row)) = (&item.expr.kind, columns.get(i).map(|c| c.0)) else {
            return Ok(());
        };
        let mut fields = Vec::new();
        for (name, value) in item.fields.iter().zip(values) {
            let id = self.fresh();
            self.note_expression(id, value)?;
            fields.push((name.clone(), id, value.ty));
            columns.push((id, value.clone()));
        }
        if !fields.is_empty() {
            self.row_columns.insert(row, fields);
        }
        Ok(())
    }

    /// 42883 for a type whose values cannot be told apart.
    pub(super) fn check_distinct(&self, ty: PgType, span: sqlparser::tokenizer::Span) -> Result<()> {
        if crate::types::names::is_unordered(ty.oid) {
            let error = Error::new(
                SqlState::UndefinedFunction,
                format!("could not identify an equality operator for type {}", super::resolve::type_name(ty)),
            );
            return Err(self.source.locate(error, span));
        }
        Ok(())
    }

    /// The column that a key is computed in, added to `columns` if the select list does not have it.
    fn place(
        &mut self,
        key: Key,
        columns: &mut Vec<(ColumnId, ScalarExpr)>,
        distinct: bool,
        span: sqlparser::tokenizer::Span,
    ) -> Result<ScalarExpr> {
        let expr = match key {
            Key::Output(i) => match columns.get(i) {
                Some((id, expr)) => return Ok(ScalarExpr::column(*id, expr.ty)),
                None => return Err(Error::internal("sort key outside the select list")),
            },
            Key::Expr(expr) => expr,
        };
        if let Some((id, expr)) = columns.iter().find(|(_, e)| e.same(&expr)) {
            return Ok(ScalarExpr::column(*id, expr.ty));
        }
        if distinct {
            let error = Error::new(
                SqlState::InvalidColumnReference,
                "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
            );
            return Err(self.source.locate(error, span));
        }
        let (id, ty) = (self.fresh(), expr.ty);
        self.note_expression(id, &expr)?;
        columns.push((id, expr));
        Ok(ScalarExpr::column(id, ty))
    }

    fn simple(
        &mut self,
        scan: crate::sql::rel::Scan,
        filter: Option<ScalarExpr>,
        items: &[Item],
        order: &[OrderKey],
        limits: &Limits,
    ) -> Result<SimpleSelect> {
        let mut order_by = Vec::new();
        for key in order {
            let expr = match &key.key {
                Key::Expr(expr) => expr.clone(),
                Key::Output(i) => match items.get(*i) {
                    Some(item) => item.expr.clone(),
                    None => return Err(Error::internal("sort key outside the select list")),
                },
            };
            order_by.push(self.make_sort_key(expr, &key.options, key.span)?);
        }
        Ok(SimpleSelect {
            scan,
            filter,
            projection: items.iter().map(|i| i.expr.clone()).collect(),
            order_by,
            limit: limits.count.clone(),
            offset: limits.offset.clone(),
        })
    }

    pub(super) fn select_list(&mut self, projection: &[SelectItem]) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        for item in projection {
            match item {
                SelectItem::UnnamedExpr(expr) if let Some(row) = row_star(expr) => {
                    for (name, value) in self.all_fields(&row)? {
                        items.push(self.item(name, value));
                    }
                }
                SelectItem::UnnamedExpr(expr) => items.push(self.select_item(names::output_name(expr), expr)?),
                SelectItem::ExprWithAlias { expr, alias } => items.push(self.select_item(fold(alias), expr)?),
                SelectItem::Wildcard(options) => {
                    plain_wildcard(options)?;
                    let star = self.scopes.last().map(|s| s.star.clone()).unwrap_or_default();
                    if self.scopes.last().is_some_and(|s| s.relations.is_empty()) {
                        let error = Error::new(SqlState::SyntaxError, "SELECT * with no tables specified is not valid");
                        return Err(self.source.locate(error, options.wildcard_token.0.span));
                    }
                    for column in star {
                        self.note_column(column.id);
                        items.push(self.star_item(&column));
                    }
                }
                SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::Expr(row), options) => {
                    plain_wildcard(options)?;
                    for (name, value) in self.all_fields(row)? {
                        items.push(self.item(name, value));
                    }
                }
                SelectItem::QualifiedWildcard(kind, options) => {
                    plain_wildcard(options)?;
                    for column in self.qualified_star(kind)? {
                        self.note_column(column.id);
                        items.push(self.star_item(&column));
                    }
                }
                SelectItem::ExprWithAliases { .. } => return Err(Error::unsupported("several aliases of one column")),
            }
        }
        Ok(items)
    }

    /// A select list over a scope, as RETURNING has it: `*`, `t.*`, expressions with aliases.
    pub fn bind_returning(
        &mut self,
        items: &[SelectItem],
        scope: &Scope,
    ) -> Result<Vec<(crate::session::Column, ScalarExpr)>> {
        // Where a row lies is not among what it returns.
        let mut scope = scope.clone();
        scope.relations.iter_mut().for_each(|relation| relation.row_id = None);
        let items = self.in_scope(&scope, Expects::Other("RETURNING"), |b| b.select_list(items))?;
        let mut out = Vec::new();
        for item in items {
            let expr = self.resolve_unknown(item.expr)?;
            let column =
                crate::session::Column { name: item.name, ty: expr.ty, table: item.table, attribute: item.attribute };
            out.push((column, expr));
        }
        Ok(out)
    }

    fn qualified_star(&mut self, kind: &ast::SelectItemQualifiedWildcardKind) -> Result<Vec<ScopeColumn>> {
        let ast::SelectItemQualifiedWildcardKind::ObjectName(name) = kind else {
            return Err(Error::unsupported("expansion of a row with .*"));
        };
        Ok(self.starred(name)?.0.columns)
    }

    fn select_item(&mut self, name: String, expr: &Expr) -> Result<Item> {
        if let Some(fields) = self.certain_row_fields(expr)? {
            let mut item = row_item(name, fields);
            item.expr.ty = self.named_row_type(expr).into();
            return Ok(item);
        }
        let bound = self.expr(expr)?;
        let domain = self.domain_written(expr, &bound);
        Ok(Item { domain, ..self.item(name, bound) })
    }

    fn star_item(&mut self, column: &ScopeColumn) -> Item {
        if let Some(fields) = self.column_fields(column.id, 0) {
            return row_item(column.name.clone(), fields);
        }
        if let Some(expr) = self.computed.get(&column.id) {
            let (name, expr) = (column.name.clone(), expr.clone());
            return Item { name, expr, table: 0, attribute: 0, domain: None, fields: Vec::new() };
        }
        self.uses.push((column.id, sqlparser::tokenizer::Span::empty(), column.name.clone()));
        Item {
            name: column.name.clone(),
            expr: ScalarExpr::column(column.id, column.ty),
            table: column.table,
            attribute: column.attribute,
            domain: self.domains.get(&column.id).copied(),
            fields: Vec::new(),
        }
    }

    fn item(&self, name: String, expr: ScalarExpr) -> Item {
        let origin = match expr.kind {
            ExprKind::Column { id, .. } => self
                .scopes
                .last()
                .and_then(|s| s.relations.iter().flat_map(|r| &r.columns).chain(&s.merged).find(|c| c.id == id)),
            _ => None,
        };
        let (table, attribute) = origin.map_or((0, 0), |c| (c.table, c.attribute));
        Item { name, expr, table, attribute, domain: None, fields: Vec::new() }
    }

    /// A key of ORDER BY or DISTINCT ON: an output name, a position, or an expression over the input.
    pub(super) fn key(&mut self, expr: &Expr, items: &mut [Item], clause: &str) -> Result<Key> {
        let at = match (expr, ordinal(expr)) {
            (_, Some(n)) => {
                let found = usize::try_from(n).ok().and_then(|n| n.checked_sub(1)).filter(|i| *i < items.len());
                Some(found.ok_or_else(|| {
                    let error = Error::new(
                        SqlState::InvalidColumnReference,
                        format!("{clause} position {n} is not in select list"),
                    );
                    self.source.locate(error, expr.span())
                })?)
            }
            (Expr::Identifier(ident), None) => {
                let name = fold(ident);
                let mut found = items.iter().enumerate().filter(|(_, i)| i.name == name);
                let first = found.next();
                if let Some((_, a)) = first
                    && found.any(|(_, b)| !b.expr.same(&a.expr))
                {
                    let error = Error::new(SqlState::AmbiguousColumn, format!("{clause} \"{name}\" is ambiguous"));
                    return Err(self.source.locate(error, expr.span()));
                }
                first.map(|(i, _)| i)
            }
            _ => None,
        };
        if let Some(i) = at {
            if let Some(item) = items.get_mut(i) {
                let taken =
                    std::mem::replace(&mut item.expr, ScalarExpr::constant(crate::types::Datum::Null, TypeOid::TEXT));
                item.expr = self.resolve_unknown(taken)?;
            }
            return Ok(Key::Output(i));
        }
        if let Expr::Value(value) = expr
            && !matches!(value.value, ast::Value::Placeholder(_))
        {
            let error = Error::new(SqlState::SyntaxError, format!("non-integer constant in {clause}"));
            return Err(self.source.locate(error, expr.span()));
        }
        let bound = self.known(expr)?;
        let same = items.iter().position(|i| i.expr.same(&bound));
        Ok(same.map_or(Key::Expr(bound), Key::Output))
    }

    /// Replaces window calls by columns.
    fn extract_windows(&mut self, expr: &mut ScalarExpr, calls: &mut Vec<(ColumnId, WindowCall)>) -> Result<()> {
        if let ExprKind::Query(query) = &expr.kind
            && let QueryExpr::Window(call) = &**query
        {
            // Those of GROUP BY are columns by now.
            let mut keys = call.partition_by.iter().chain(call.order_by.iter().map(|key| &key.expr));
            if keys.any(|key| holds_set_or_window(key) == Some(Kind::Set)) {
                return Err(Error::unsupported("a set-returning function in a window definition"));
            }
            let (id, ty) = (self.fresh(), expr.ty);
            self.note_expression(id, expr)?;
            calls.push((id, call.clone()));
            *expr = ScalarExpr::column(id, ty);
            return Ok(());
        }
        expr.children_mut(&mut |e| self.extract_windows(e, calls))
    }

    /// FOR UPDATE: gives the scans row ids.
    fn locks(
        &mut self,
        rel: &mut Rel,
        scope: &Scope,
        select: &ast::Select,
        clauses: &[ast::LockClause],
    ) -> Result<Vec<(LockRequest, Place)>> {
        let mut out: Vec<(LockRequest, Place)> = Vec::new();
        for clause in clauses {
            let word = lock_strength(clause).clause();
            let grouped = match &select.group_by {
                ast::GroupByExpr::Expressions(exprs, _) => !exprs.is_empty(),
                ast::GroupByExpr::All(_) => true,
            };
            let problem = if select.distinct.is_some() {
                Some("DISTINCT clause")
            } else if grouped {
                Some("GROUP BY clause")
            } else if select.having.is_some() {
                Some("HAVING clause")
            } else {
                None
            };
            if let Some(problem) = problem {
                return Err(Error::new(SqlState::FeatureNotSupported, format!("{word} is not allowed with {problem}")));
            }
            let missing = self.lockable(scope, clause.of.as_ref())?.into_iter().any(|r| r.nullable && r.table != 0);
            if missing {
                let message = format!("{word} cannot be applied to the nullable side of an outer join");
                return Err(Error::new(SqlState::FeatureNotSupported, message));
            }
            let tables: Vec<(u32, ColumnId)> = self
                .lockable(scope, clause.of.as_ref())?
                .into_iter()
                .filter_map(|r| Some((r.table, r.columns.first()?.id)))
                .collect();
            for (table, column) in tables {
                self.note_lock(column);
                let Some(place) = self.give_row_id(rel, column) else {
                    continue;
                };
                self.police_locks(rel, Oid(table), column)?;
                if let Some((lock, _)) = out.iter_mut().find(|(_, known)| *known == place) {
                    lock.strength = lock.strength.max(lock_strength(clause));
                    continue;
                }
                let lock = LockRequest {
                    table: Oid(table),
                    strength: lock_strength(clause),
                    nowait: matches!(clause.nonblock, Some(ast::NonBlock::Nowait)),
                    skip_locked: matches!(clause.nonblock, Some(ast::NonBlock::SkipLocked)),
                    row_id: 0,
                    row_table: None,
                };
                out.push((lock, place));
            }
        }
        Ok(out)
    }

    /// Lets the tables of a scope say where their rows lie.
    pub(super) fn give_row_ids(&mut self, rel: &mut Rel, scope: &mut Scope) {
        for relation in scope.relations.iter_mut().filter(|r| r.table != 0) {
            relation.row_id = relation.columns.first().and_then(|c| self.give_row_id(rel, c.id)).map(|p| p.row_id);
        }
    }

    /// Where the rows lie of the real table's scan that defines `column`, or of the scans of its family.
    fn give_row_id(&mut self, rel: &mut Rel, column: ColumnId) -> Option<Place> {
        match rel {
            Rel::Scan(scan) if !scan.system && scan.columns.iter().any(|c| c.output.id == column) => {
                let row_id = *scan.row_id.get_or_insert_with(|| {
                    let id = ColumnId(self.next_column);
                    self.next_column += 1;
                    id
                });
                Some(Place { row_id, table: None })
            }
            Rel::SetOperation { outputs, .. } if outputs.iter().any(|o| o.id == column) => self.family_place(rel),
            Rel::Join { left, right, .. } => self.give_row_id(left, column).or_else(|| self.give_row_id(right, column)),
            // A table below its policies. A view's query ends in a list of its own.
            Rel::Series { input, calls, ordinality: None } if calls.is_empty() => match &mut **input {
                Rel::Filter { input, .. } => self.give_row_id(input, column),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Whether a query may name where rows lie.
fn asks_for_row_ids(select: &ast::Select, text: &str) -> bool {
    let last = select.projection.last();
    matches!(last, Some(ast::SelectItem::UnnamedExpr(ast::Expr::CompoundIdentifier(parts)))
        if parts.last().is_some_and(|p| p.value == super::column::ROW_ID))
        || names_row_ids(text)
}

pub(super) fn names_row_ids(text: &str) -> bool {
    text.as_bytes().windows(4).any(|w| w.eq_ignore_ascii_case(b"ctid"))
}

fn row_item(name: String, fields: Fields) -> Item {
    let expr = row_of(&fields);
    let fields = fields.into_iter().map(|(name, _)| name).collect();
    Item { name, expr, table: 0, attribute: 0, domain: None, fields }
}

fn items_view(items: &[Item]) -> Vec<(String, ScalarExpr)> {
    items.iter().map(|i| (i.name.clone(), i.expr.clone())).collect()
}

fn expressions<'a>(order: &'a mut [OrderKey], on: &'a mut [Key]) -> impl Iterator<Item = &'a mut ScalarExpr> {
    order.iter_mut().map(|o| &mut o.key).chain(on.iter_mut()).filter_map(|key| match key {
        Key::Expr(expr) => Some(expr),
        Key::Output(_) => None,
    })
}

fn has_aggregate(expr: &ScalarExpr) -> bool {
    expr.any(&|e| match &e.kind {
        ExprKind::Query(query) => matches!(**query, QueryExpr::Aggregate(_) | QueryExpr::Grouping(_)),
        _ => false,
    })
}

/// Replaces set-returning calls by the columns of their rows.
pub(super) fn extract_series(expr: &mut ScalarExpr, calls: &mut Vec<SetCall>) -> Result<()> {
    expr.children_mut(&mut |e| extract_series(e, calls))?;
    if let ExprKind::Query(query) = &expr.kind
        && let QueryExpr::Series(call) = &**query
        && let Some(output) = call.outputs.first().copied()
    {
        calls.push(call.clone());
        *expr = ScalarExpr::column(output.id, output.ty);
    }
    Ok(())
}

/// Replaces those of the calls that are in an expression too by the columns of their rows.
fn use_series(expr: &mut ScalarExpr, calls: &[SetCall]) -> Result<()> {
    expr.children_mut(&mut |e| use_series(e, calls))?;
    if let ExprKind::Query(query) = &expr.kind
        && let QueryExpr::Series(call) = &**query
        && let Some(output) = calls.iter().find(|known| known.same(call)).and_then(|known| known.outputs.first())
    {
        *expr = ScalarExpr::column(output.id, output.ty);
    }
    Ok(())
}

/// Calls that use the rows of other calls go above them.
fn nest_series(mut rel: Rel, mut calls: Vec<SetCall>) -> Rel {
    while !calls.is_empty() {
        let pending: HashSet<ColumnId> = calls.iter().flat_map(|c| c.outputs.iter().map(|o| o.id)).collect();
        let (ready, waiting): (Vec<_>, Vec<_>) = calls.into_iter().partition(|c| {
            let mut free = HashSet::new();
            c.args.iter().for_each(|a| a.free_columns(&mut free));
            free.is_disjoint(&pending)
        });
        if ready.is_empty() {
            return rel;
        }
        rel = Rel::Series { input: Box::new(rel), calls: ready, ordinality: None };
        calls = waiting;
    }
    rel
}

fn plain_wildcard(options: &ast::WildcardAdditionalOptions) -> Result<()> {
    let plain = options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
        && options.opt_alias.is_none();
    if plain { Ok(()) } else { Err(Error::new(SqlState::SyntaxError, "syntax error after \"*\"")) }
}

/// sqlparser accepts clauses of other systems.
fn refuse_foreign_clauses(select: &ast::Select) -> Result<()> {
    if select.into.is_some() {
        return Err(Error::new(SqlState::SyntaxError, "SELECT ... INTO is not allowed here"));
    }
    let foreign = select.top.is_some()
        || !select.lateral_views.is_empty()
        || select.prewhere.is_some()
        || !select.connect_by.is_empty()
        || !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty()
        || select.qualify.is_some()
        || select.value_table_mode.is_some()
        || select.exclude.is_some()
        || select.flavor != ast::SelectFlavor::Standard;
    if foreign {
        return Err(Error::new(SqlState::SyntaxError, "syntax error: this clause of SELECT is not PostgreSQL's"));
    }
    Ok(())
}

/// What a sort key sorts by, without the collation's key.
pub(super) fn unkeyed(expr: &ScalarExpr) -> &ScalarExpr {
    match &expr.kind {
        ExprKind::Call { function, args } => match crate::functions::collation::shown(function, args) {
            Some(crate::functions::collation::Shown::Expr(arg)) => arg,
            _ => expr,
        },
        _ => expr,
    }
}

/// The row of `(row).*`.
fn row_star(expr: &Expr) -> Option<Expr> {
    let Expr::CompoundFieldAccess { root, access_chain } = expr else { return None };
    let (last, before) = access_chain.split_last()?;
    match last {
        ast::AccessExpr::Dot(Expr::Identifier(field)) if field.value == crate::sql::rewrite::ALL_MARK => {}
        _ => return None,
    }
    Some(match before {
        [] => (**root).clone(),
        before => Expr::CompoundFieldAccess { root: root.clone(), access_chain: before.to_vec() },
    })
}
