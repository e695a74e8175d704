//! Queries as text, as `get_query_def` of PostgreSQL's `ruleutils.c` lays them out: what pg_get_viewdef shows. Each expression is
//! bound, so that conversions, operators and types show as PostgreSQL sees them, and written with the names in reach.
//!
//! What has no text here (recursion) is refused with 0A000; the caller falls back to the text that was given.

use std::collections::HashMap;
use std::sync::Arc;

use sqlparser::ast::{self, Expr, JoinConstraint, JoinOperator, SetExpr, Spanned, TableFactor, TableWithJoins};

use super::select::{Item, Key};
use super::{Binder, Expects, fold};
use crate::error::{Error, Result};
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::sql::rel::Rel;
use crate::sql::rewrite::{ROWS_FROM, only};
use crate::sql::scope::{Scope, ScopeRelation};
use crate::sql::spellings::USING_MARK;
use crate::system::deparse::{quote_ident, relation_name};
use crate::system::expression::{self, Layout, Names, Style};
use crate::types::TypeOid;
use crate::types::text::FormatSettings;

/// Texts of the subqueries that were bound while a query is described.
#[derive(Debug)]
pub(super) struct Described {
    layout: Layout,
    subqueries: HashMap<usize, String>,
    /// Names of the relations of the queries around: one inside has another name.
    taken: Vec<String>,
    /// Texts of aggregates that another query computes.
    aggregates: HashMap<ColumnId, String>,
    system: HashMap<ColumnId, SystemColumn>,
    /// Names of relations that had to change, by their columns.
    renamed: HashMap<ColumnId, String>,
    /// The columns of the outermost relation go without its name, unless a subquery names them.
    bare: bool,
}

/// A system column of a relation, which is told by the first of its own columns.
#[derive(Debug)]
struct SystemColumn {
    first: ColumnId,
    relation: String,
    name: String,
}

/// The relations of one FROM clause by their names in the text, in order.
struct Leaves {
    names: Vec<String>,
    /// The next one.
    at: usize,
}

impl Leaves {
    fn next(&mut self) -> Result<(usize, String)> {
        let at = self.at;
        self.at += 1;
        let name = self.names.get(at).cloned();
        name.map(|name| (at, name)).ok_or_else(|| Error::internal("a relation without a name"))
    }
}

/// Columns that a query's expressions and nested queries are indented by.
const INDENT: usize = 8;

/// What the columns of a query are called.
#[derive(Clone, Copy)]
enum Titles<'a> {
    /// As the view calls them.
    View(&'a [String]),
    /// As the query itself does; all are shown.
    Own,
    /// Those of a subquery in an expression: shown where the query names them.
    Hidden,
}

impl Names for Binder {
    fn column(&self, id: ColumnId) -> Option<String> {
        if let Some(text) = self.described.as_ref().and_then(|d| d.aggregates.get(&id)) {
            return Some(text.clone());
        }
        if let Some(described) = &self.described
            && let Some(system) = described.system.get(&id)
        {
            let relation = described.renamed.get(&system.first).unwrap_or(&system.relation);
            let bare = described.bare && self.scopes.len() == 1;
            return Some(if bare { system.name.clone() } else { format!("{}.{}", quote_ident(relation), system.name) });
        }
        self.scopes.iter().rev().find_map(|scope| {
            let mut columns = scope.relations.iter().flat_map(|r| r.columns.iter().map(move |c| (r, c)));
            let own = columns.find(|(_, c)| c.id == id);
            let renamed = self.described.as_ref().and_then(|d| d.renamed.get(&id));
            if self.scopes.len() == 1 && self.described.as_ref().is_some_and(|d| d.bare) {
                return own.map(|(_, c)| quote_ident(&self.current_name(c)));
            }
            own.map(|(r, c)| {
                format!("{}.{}", quote_ident(renamed.unwrap_or(&r.name)), quote_ident(&self.current_name(c)))
            })
            .or_else(|| scope.merged.iter().find(|c| c.id == id).map(|c| quote_ident(&c.name)))
        })
    }

    fn whole_row(&self, items: &[ScalarExpr]) -> Option<String> {
        let is = |(item, column): (&ScalarExpr, &crate::sql::ScopeColumn)| matches!(item.kind, ExprKind::Column { id, .. } if id == column.id);
        let mut relations = self.scopes.iter().rev().flat_map(|scope| &scope.relations);
        let of = |r: &&ScopeRelation| {
            r.columns.len() + r.later.len() == items.len() && items.iter().zip(r.columns.iter().chain(&r.later)).all(is)
        };
        let found = relations.find(of)?;
        let renamed = found.columns.first().and_then(|c| self.described.as_ref()?.renamed.get(&c.id));
        Some(format!("{}.*", quote_ident(renamed.unwrap_or(&found.name))))
    }

    fn subquery(&self, rel: &Arc<Rel>) -> Option<&str> {
        self.described.as_ref()?.subqueries.get(&(Arc::as_ptr(rel) as usize)).map(String::as_str)
    }
}

impl Binder {
    /// The text of a view's query; `names` are the view's columns.
    pub fn describe(&mut self, query: &ast::Query, names: &[String], pretty: bool) -> Result<String> {
        self.begin_description(pretty, None);
        let text = self.query_text(query, Titles::View(names), 0);
        self.end_description();
        text
    }

    /// `outer`: the table over which an expression alone is described.
    pub(super) fn begin_description(&mut self, pretty: bool, outer: Option<&str>) {
        let layout = if pretty { Layout::Pretty } else { Layout::Full };
        let taken = outer.map(str::to_owned).into_iter().collect();
        let (subqueries, renamed) = (HashMap::new(), HashMap::new());
        self.described = Some(Described {
            layout,
            subqueries,
            taken,
            aggregates: HashMap::new(),
            system: HashMap::new(),
            renamed,
            bare: outer.is_some(),
        });
    }

    pub(super) fn end_description(&mut self) {
        self.described = None;
    }

    /// The text of an expression, bound since the description began.
    pub(super) fn description_of(&self, expr: &ScalarExpr) -> Result<String> {
        let format = self.described_format();
        let style = Style { indent: 0, ..self.style(&format, 0) };
        expression::write(expr, self, style, false)
    }

    /// Remembers the text of a subquery in an expression, if one is wanted.
    pub(super) fn note_subquery(&mut self, query: &ast::Query, rel: &Arc<Rel>) -> Result<()> {
        if self.described.is_none() {
            return Ok(());
        }
        let text = self.nested_text(query, Titles::Hidden, 0)?;
        if let Some(described) = &mut self.described {
            described.subqueries.insert(Arc::as_ptr(rel) as usize, text);
        }
        Ok(())
    }

    /// Remembers the text of an aggregate that another query computes, if one is wanted.
    pub(super) fn note_outer_aggregate(&mut self, id: ColumnId, call: &ScalarExpr) -> Result<()> {
        if self.described.is_none() {
            return Ok(());
        }
        let text = self.text(call, 0, false)?;
        if let Some(described) = &mut self.described {
            described.aggregates.insert(id, text);
        }
        Ok(())
    }

    /// A query inside another one: see [`Binder::subquery`].
    fn nested_text(&mut self, query: &ast::Query, titles: Titles<'_>, base: usize) -> Result<String> {
        self.inside(|b| b.query_text(query, titles, base))
    }

    fn query_text(&mut self, query: &ast::Query, titles: Titles<'_>, base: usize) -> Result<String> {
        let ctes = self.ctes.len();
        let names = match &*query.body {
            SetExpr::Select(select) => self.take_names(&select.from),
            _ => Vec::new(),
        };
        let text = self.query_text_with(query, titles, base, &names);
        self.leave_names(names.len());
        self.ctes.truncate(ctes);
        text
    }

    /// Names for the relations of a FROM clause, none of which a query around has.
    fn take_names(&mut self, from: &[TableWithJoins]) -> Vec<String> {
        let mut own = Vec::new();
        from.iter().for_each(|item| leaf_names(item, &mut own));
        let Some(described) = &mut self.described else {
            return own;
        };
        let mut out: Vec<String> = Vec::new();
        for name in own {
            let free = |n: &String| !described.taken.contains(n) && !out.contains(n);
            let numbered = (1..).map(|i| format!("{name}_{i}"));
            let chosen = std::iter::once(name.clone()).chain(numbered).find(free);
            out.extend(chosen);
        }
        described.taken.extend(out.iter().cloned());
        out
    }

    fn leave_names(&mut self, count: usize) {
        if let Some(described) = &mut self.described {
            described.taken.truncate(described.taken.len().saturating_sub(count));
        }
    }

    fn query_text_with(
        &mut self,
        query: &ast::Query,
        titles: Titles<'_>,
        base: usize,
        names: &[String],
    ) -> Result<String> {
        if !query.locks.is_empty() || query.fetch.is_some() {
            return Err(Error::unsupported("the text of this query"));
        }
        let mut out = String::new();
        if let Some(with) = &query.with {
            out.push_str(&self.with_text(with, base)?);
        }
        let order: &[ast::OrderByExpr] = match query.order_by.as_ref().map(|o| &o.kind) {
            None => &[],
            Some(ast::OrderByKind::Expressions(keys)) => keys,
            Some(ast::OrderByKind::All(_)) => return Err(Error::unsupported("ORDER BY ALL")),
        };
        match &*query.body {
            SetExpr::Select(select) => out.push_str(&self.select_text(select, order, titles, base, names)?),
            body => {
                out.push_str(&self.set_text(body, titles, base)?);
                out.push_str(&self.output_order(order, base)?);
            }
        }
        if let Some(ast::LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause {
            let pad = " ".repeat(base);
            if let Some(offset) = offset {
                out.push_str(&format!("\n{pad} OFFSET {}", offset.value));
            }
            if let Some(limit) = limit {
                out.push_str(&format!("\n{pad} LIMIT {limit}"));
            }
        }
        Ok(out)
    }

    fn with_text(&mut self, with: &ast::With, base: usize) -> Result<String> {
        if with.recursive {
            return Err(Error::unsupported("the text of WITH RECURSIVE"));
        }
        let pad = " ".repeat(base + INDENT);
        let mut parts = Vec::new();
        for cte in &with.cte_tables {
            let columns = column_list(cte.alias.columns.iter().map(|c| fold(&c.name)));
            let text = self.nested_text(&cte.query, Titles::Own, base + INDENT)?;
            parts.push(format!("{}{columns} AS (\n{pad}{text}\n{pad})", quote_ident(&fold(&cte.alias.name))));
            self.with(&ast::With { cte_tables: vec![cte.clone()], ..with.clone() })?;
        }
        Ok(format!(" WITH {}\n{}", parts.join(", "), " ".repeat(base)))
    }

    fn set_text(&mut self, body: &SetExpr, titles: Titles<'_>, base: usize) -> Result<String> {
        match body {
            SetExpr::Select(select) => {
                let names = self.take_names(&select.from);
                let text = self.select_text(select, &[], titles, base, &names);
                self.leave_names(names.len());
                text
            }
            SetExpr::Query(query)
                if query.order_by.is_none() && query.limit_clause.is_none() && query.with.is_none() =>
            {
                self.set_text(&query.body, titles, base)
            }
            SetExpr::SetOperation { op, set_quantifier, left, right } => {
                let pad = " ".repeat(base);
                let same = |arm: &SetExpr| matches!(arm, SetExpr::SetOperation { .. });
                // PostgreSQL sets an operation in parentheses on the right, and on the left if it is another one.
                if same(right) || matches!(&**left, SetExpr::Query(_)) || matches!(&**right, SetExpr::Query(_)) {
                    return Err(Error::unsupported("the text of nested set operations"));
                }
                if let SetExpr::SetOperation { op: inner, set_quantifier: of_inner, .. } = &**left
                    && (inner, of_inner) != (op, set_quantifier)
                {
                    return Err(Error::unsupported("the text of mixed set operations"));
                }
                let left = self.set_text(left, titles, base)?;
                let right = self.set_text(right, titles, base)?;
                let all = if matches!(set_quantifier, ast::SetQuantifier::All) { " ALL" } else { "" };
                Ok(format!("{left}\n{pad}{op}{all}\n{pad}{right}"))
            }
            SetExpr::Values(values) => self.values_text(values, base),
            _ => Err(Error::unsupported("the text of this query")),
        }
    }

    fn values_text(&mut self, values: &ast::Values, base: usize) -> Result<String> {
        let Rel::Values { rows, .. } = self.values(values)?.rel else {
            return Err(Error::internal("VALUES is bound as something else"));
        };
        let mut texts = Vec::new();
        for row in rows {
            let values = row.into_iter().map(|value| {
                let value = self.resolve_unknown(value)?;
                self.text(&value, base, false)
            });
            texts.push(format!("({})", values.collect::<Result<Vec<_>>>()?.join(",")));
        }
        Ok(format!(" VALUES {}", texts.join(", ")))
    }

    /// ORDER BY of a set operation, by the numbers of its columns.
    fn output_order(&self, order: &[ast::OrderByExpr], base: usize) -> Result<String> {
        let mut keys = Vec::new();
        for key in order {
            let number =
                super::query::ordinal(&key.expr).ok_or_else(|| Error::unsupported("the text of this ORDER BY"))?;
            keys.push(format!("{number}{}", sort_words(&key.options)));
        }
        Ok(if keys.is_empty() {
            String::new()
        } else {
            format!("\n{}  ORDER BY {}", " ".repeat(base), keys.join(", "))
        })
    }

    fn select_text(
        &mut self,
        select: &ast::Select,
        order: &[ast::OrderByExpr],
        titles: Titles<'_>,
        base: usize,
        names: &[String],
    ) -> Result<String> {
        let (_, scope) = self.from(&select.from)?;
        if let Some(described) = &mut self.described {
            for (relation, name) in scope.relations.iter().zip(names).filter(|(r, name)| r.name != **name) {
                described.renamed.extend(relation.columns.iter().map(|c| (c.id, name.clone())));
            }
        }
        self.scopes.push(scope);
        let windows = std::mem::replace(&mut self.windows, select.named_window.clone());
        let fields = std::mem::take(&mut self.series_fields);
        let uses = std::mem::take(&mut self.uses);
        let expects = self.expects;
        let leaves = Leaves { names: names.to_vec(), at: 0 };
        let text = self.select_parts(select, order, titles, base, leaves);
        self.expects = expects;
        self.windows = windows;
        self.series_fields = fields;
        self.uses = uses;
        self.scopes.pop();
        text
    }

    fn select_parts(
        &mut self,
        select: &ast::Select,
        order: &[ast::OrderByExpr],
        titles: Titles<'_>,
        base: usize,
        mut leaves: Leaves,
    ) -> Result<String> {
        let pad = " ".repeat(base);
        self.expects = Expects::SelectList;
        let mut items = self.select_list(&select.projection)?;
        if !self.series_fields.is_empty() {
            return Err(Error::unsupported("the text of a row of a set"));
        }
        self.settle(&mut items)?;
        let mut out = String::from(" SELECT ");
        match &select.distinct {
            None | Some(ast::Distinct::All) => {}
            Some(ast::Distinct::Distinct) => out.push_str("DISTINCT "),
            Some(ast::Distinct::On(keys)) => {
                let keys = keys.iter().map(|k| self.key_expr(k, &mut items)).collect::<Result<Vec<_>>>()?;
                out.push_str(&format!("DISTINCT ON ({}) ", self.keys_text(&keys, base)?));
            }
        }
        for (i, item) in items.iter().enumerate() {
            let text = self.item_text(item, i, titles, base)?;
            out.push_str(if i > 0 { ", " } else { "" });
            if text.starts_with('\n') || i > 0 {
                out.truncate(out.trim_end_matches(' ').len());
            }
            if i > 0 && !text.starts_with('\n') {
                out.push_str(&format!("\n{pad}    "));
            }
            out.push_str(&text);
        }
        for (i, item) in select.from.iter().enumerate() {
            let text = self.text_of_from(item, base, &mut leaves)?;
            out.push_str(&if i > 0 { format!(",\n{pad}    {text}") } else { format!("\n{pad}   FROM {text}") });
        }
        if let Some(condition) = &select.selection {
            self.expects = Expects::Where;
            let condition = self.boolean(condition, "WHERE")?;
            out.push_str(&format!("\n{pad}  WHERE {}", self.text(&condition, base, false)?));
        }
        self.expects = Expects::GroupBy;
        let view: Vec<(String, ScalarExpr)> = items.iter().map(|i| (i.name.clone(), i.expr.clone())).collect();
        let groups = self.group_by(&select.group_by, &view)?;
        if !groups.is_empty() {
            let text = match (groups.plain(), &select.group_by) {
                (Some(groups), _) => self.keys_text(groups, base)?,
                (None, ast::GroupByExpr::Expressions(written, _)) => {
                    let items = written.iter().map(|item| self.grouping_text(item, true, &view, base));
                    items.collect::<Result<Vec<_>>>()?.join(", ")
                }
                (None, ast::GroupByExpr::All(_)) => return Err(Error::unsupported("the text of GROUP BY ALL")),
            };
            out.push_str(&format!("\n{pad}  GROUP BY {text}"));
            out = out.replace("GROUP BY \n", "GROUP BY\n");
        }
        if let Some(having) = &select.having {
            self.expects = Expects::Having;
            let having = self.boolean(having, "HAVING")?;
            out.push_str(&format!("\n{pad} HAVING {}", self.text(&having, base, false)?));
        }
        if !select.named_window.is_empty() {
            return Err(Error::unsupported("the text of named windows"));
        }
        self.expects = Expects::OrderBy;
        let mut keys = Vec::new();
        for key in order {
            let expr = self.key_expr(&key.expr, &mut items)?;
            keys.push(format!("{}{}", self.keys_text(&[expr], base)?, sort_words(&key.options)));
        }
        if !keys.is_empty() {
            out.push_str(&format!("\n{pad}  ORDER BY {}", keys.join(", ")));
        }
        Ok(out)
    }

    /// An item of GROUP BY among which there are grouping sets. `alone`: one expression needs no parentheses.
    fn grouping_text(
        &mut self,
        item: &Expr,
        alone: bool,
        view: &[(String, ScalarExpr)],
        base: usize,
    ) -> Result<String> {
        let (word, sets, bare) = match item {
            Expr::Rollup(sets) => ("ROLLUP(", sets, true),
            Expr::Cube(sets) => ("CUBE(", sets, true),
            Expr::GroupingSets(sets) => ("GROUPING SETS (", sets, false),
            plain => return self.grouping_set_text(std::slice::from_ref(plain), alone, view, base),
        };
        let mut texts = Vec::with_capacity(sets.len());
        for set in sets {
            texts.push(match set.as_slice() {
                [Expr::GroupingSets(_)] => return Err(Error::unsupported("the text of nested grouping sets")),
                [nested @ (Expr::Rollup(_) | Expr::Cube(_))] => self.grouping_text(nested, bare, view, base)?,
                plain => self.grouping_set_text(plain, bare, view, base)?,
            });
        }
        Ok(format!("{word}{})", texts.join(", ")))
    }

    fn grouping_set_text(
        &mut self,
        set: &[Expr],
        alone: bool,
        view: &[(String, ScalarExpr)],
        base: usize,
    ) -> Result<String> {
        let groups = self.group_by(&ast::GroupByExpr::Expressions(set.to_vec(), Vec::new()), view)?;
        let groups = groups.plain().ok_or_else(|| Error::unsupported("the text of nested grouping sets"))?;
        let text = self.keys_text(groups, base)?;
        Ok(if alone && groups.len() == 1 { text } else { format!("({text})") })
    }

    /// A system column where a text is made, which says no more of it than its name. `None`: there is no text to be made.
    pub(super) fn described_system_column(
        &mut self,
        name: &str,
        relation: &ScopeRelation,
        depth: usize,
    ) -> Option<ScalarExpr> {
        let first = relation.columns.first()?.id;
        let ty = match name {
            "tableoid" => TypeOid::OID,
            "xmin" | "xmax" => TypeOid::XID,
            "cmin" | "cmax" => TypeOid::CID,
            "ctid" => TypeOid::TID,
            _ => return None,
        };
        let known = self.described.as_ref()?.system.iter().find(|(_, s)| s.first == first && s.name == name);
        let id = match known.map(|(id, _)| *id) {
            Some(id) => id,
            None => {
                let id = self.fresh();
                let system = SystemColumn { first, relation: relation.name.clone(), name: name.to_owned() };
                self.described.as_mut()?.system.insert(id, system);
                id
            }
        };
        Some(ScalarExpr::new(ExprKind::Column { id, depth }, ty))
    }

    fn settle(&mut self, items: &mut [Item]) -> Result<()> {
        for item in items {
            item.expr = self.resolve_unknown(item.expr.clone())?;
        }
        Ok(())
    }

    fn key_expr(&mut self, key: &Expr, items: &mut [Item]) -> Result<ScalarExpr> {
        Ok(match self.key(key, items, "ORDER BY")? {
            Key::Output(i) => match items.get(i) {
                Some(item) => item.expr.clone(),
                None => return Err(Error::internal("sort key outside the select list")),
            },
            Key::Expr(expr) => expr,
        })
    }

    /// A select item with its name, unless it is a column of that name.
    fn item_text(&self, item: &Item, i: usize, titles: Titles<'_>, base: usize) -> Result<String> {
        let mut text = self.text(&item.expr, base, true)?;
        // Alone it would stand for the columns.
        if matches!(item.expr.kind, ExprKind::Row(..) | ExprKind::Case { .. }) && text.ends_with(".*") {
            text.push_str(&format!("::{}", crate::system::deparse::type_name(item.expr.ty)));
        }
        let own = match item.expr.kind {
            ExprKind::Column { id, .. } => self.column_name(id),
            _ => None,
        };
        let title = match titles {
            Titles::View(names) => names.get(i).unwrap_or(&item.name),
            Titles::Own | Titles::Hidden => &item.name,
        };
        let usual = own.as_deref().or(matches!(titles, Titles::Hidden).then_some("?column?"));
        if usual != Some(title.as_str()) {
            text.push_str(&format!(" AS {}", quote_ident(title)));
        }
        Ok(text)
    }

    fn column_name(&self, id: ColumnId) -> Option<String> {
        if let Some(system) = self.described.as_ref().and_then(|d| d.system.get(&id)) {
            return Some(system.name.clone());
        }
        let mut scopes = self.scopes.iter().rev();
        scopes.find_map(|s| {
            let mut columns = s.relations.iter().flat_map(|r| &r.columns).chain(&s.merged);
            columns.find(|c| c.id == id).map(|c| self.current_name(c))
        })
    }

    /// What a column is called now, whatever the text at hand calls it.
    pub(super) fn current_name(&self, column: &crate::sql::ScopeColumn) -> String {
        if self.known_as.is_empty() || column.table == 0 {
            return column.name.clone();
        }
        let oid = crate::catalog::Oid(column.table);
        let catalog = &self.environment.catalog;
        let of_table = catalog.tables.get(&oid).and_then(|t| t.attribute(column.attribute)).map(|c| c.name.clone());
        let of_view = || {
            let view = catalog.views.get(&oid)?;
            view.columns.get(usize::try_from(column.attribute - 1).ok()?).map(|c| c.0.clone())
        };
        of_table.or_else(of_view).unwrap_or_else(|| column.name.clone())
    }

    /// Constants are shown by the standard settings, whatever the session's are.
    fn described_format(&self) -> FormatSettings {
        FormatSettings { types: self.environment.eval.format.types.clone(), ..FormatSettings::default() }
    }

    fn style<'a>(&self, format: &'a FormatSettings, base: usize) -> Style<'a> {
        let layout = self.described.as_ref().map_or(Layout::Full, |d| d.layout);
        Style { layout, format, indent: base + INDENT }
    }

    fn text(&self, expr: &ScalarExpr, base: usize, implicit: bool) -> Result<String> {
        let format = self.described_format();
        expression::write(expr, self, self.style(&format, base), implicit)
    }

    fn keys_text(&self, keys: &[ScalarExpr], base: usize) -> Result<String> {
        let format = self.described_format();
        let mut out = String::new();
        for (i, key) in keys.iter().enumerate() {
            let text = expression::key_text(key, self, self.style(&format, base))?;
            out.push_str(match (i, text.starts_with('\n')) {
                (0, _) => "",
                (_, true) => ",",
                (_, false) => ", ",
            });
            out.push_str(&text);
        }
        Ok(out)
    }

    fn is_pretty(&self) -> bool {
        self.described.as_ref().is_some_and(|d| d.layout == Layout::Pretty)
    }

    fn text_of_from(&mut self, item: &TableWithJoins, base: usize, leaves: &mut Leaves) -> Result<String> {
        let first = leaves.at;
        let mut out = self.factor_text(&item.relation, base, leaves)?;
        for join in &item.joins {
            let known = words_of(&join.join_operator);
            let (word, constraint) = known.ok_or_else(|| Error::unsupported("the text of this join"))?;
            let at = leaves.at;
            let mut right = self.factor_text(&join.relation, base, leaves)?;
            if self.is_pretty() && matches!(&join.relation, TableFactor::NestedJoin { alias: None, .. }) {
                right = format!("({right})");
            }
            let mut condition = match constraint {
                JoinConstraint::Natural => self.natural_text(first, at, leaves.at)?,
                constraint => self.constraint_text(constraint, base)?,
            };
            if using_alias(constraint).is_some() {
                condition.push_str(&format!(" AS {}", quote_ident(&leaves.next()?.1)));
            }
            out = format!("{out}\n{}     {word} {right}{condition}", " ".repeat(base));
            if !self.is_pretty() {
                out = format!("({out})");
            }
        }
        Ok(out)
    }

    /// NATURAL, as USING of the columns that the relation at `at` has in common with those before it from `first` on.
    fn natural_text(&self, first: usize, at: usize, end: usize) -> Result<String> {
        let relations = self.scopes.last().map_or(&[][..], |s| s.relations.as_slice());
        let (Some(left), Some(right), true) = (relations.get(first..at), relations.get(at), end == at + 1) else {
            return Err(Error::unsupported("the text of this join"));
        };
        let mut names: Vec<String> = Vec::new();
        for column in left.iter().flat_map(|r| &r.columns) {
            if right.columns.iter().any(|c| c.name == column.name) && !names.contains(&column.name) {
                names.push(column.name.clone());
            }
        }
        Ok(format!(" USING {}", column_list(names.into_iter())))
    }

    fn constraint_text(&mut self, constraint: &JoinConstraint, base: usize) -> Result<String> {
        match constraint {
            JoinConstraint::None | JoinConstraint::Natural => Ok(String::new()),
            JoinConstraint::Using(names) => {
                let listed = names.len() - usize::from(using_alias(constraint).is_some());
                let names = names.iter().take(listed).filter_map(|n| n.0.last().and_then(|p| p.as_ident())).map(fold);
                Ok(format!(" USING {}", column_list(names)))
            }
            JoinConstraint::On(condition) => {
                let expects = std::mem::replace(&mut self.expects, Expects::On);
                let bound = self.boolean(condition, "JOIN/ON");
                self.expects = expects;
                let text = self.text(&bound?, base, false)?;
                Ok(if self.is_pretty() { format!(" ON {text}") } else { format!(" ON ({text})") })
            }
        }
    }

    fn factor_text(&mut self, factor: &TableFactor, base: usize, leaves: &mut Leaves) -> Result<String> {
        match factor {
            TableFactor::Table { name, args: Some(args), with_ordinality, .. } => {
                self.function_text(name, &args.args, *with_ordinality, base, leaves)
            }
            TableFactor::Function { name, args, with_ordinality, lateral, .. } => {
                let text = self.function_text(name, args, *with_ordinality, base, leaves)?;
                Ok(if *lateral { format!("LATERAL {text}") } else { text })
            }
            TableFactor::UNNEST { array_exprs, with_ordinality, .. } => {
                let name = ast::ObjectName::from(vec![ast::Ident::new("unnest")]);
                let expr = |e: &Expr| ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e.clone()));
                let args: Vec<_> = array_exprs.iter().map(expr).collect();
                self.function_text(&name, &args, *with_ordinality, base, leaves)
            }
            TableFactor::Table { name, alias, args: None, .. } => {
                let (_, shown) = leaves.next()?;
                let own = name.0.last().and_then(|p| p.as_ident()).map(fold).unwrap_or_default();
                let text = self.table_name(name)?;
                let named = alias.is_some() || shown != own;
                Ok(if named { format!("{text}{}", alias_text(&shown, alias.as_ref())) } else { text })
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                let (_, shown) = leaves.next()?;
                // Without LATERAL the names beside it are out of reach.
                let own = if *lateral { None } else { self.scopes.pop() };
                let text = self.nested_text(subquery, Titles::Own, base + INDENT);
                self.scopes.extend(own);
                let word = if *lateral { "LATERAL " } else { "" };
                Ok(format!("{word}({}){}", text?, alias_text(&shown, alias.as_ref())))
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                self.text_of_from(table_with_joins, base, leaves)
            }
            _ => Err(Error::unsupported("the text of this form of table")),
        }
    }

    fn table_name(&self, name: &ast::ObjectName) -> Result<String> {
        let (name, only) = only::split(name);
        let parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(fold).collect();
        let (schema, table) = match parts.as_slice() {
            [table] if self.is_cte(table) => return Ok(quote_ident(table)),
            [table] => (None, table),
            [.., schema, table] => (Some(schema.as_str()), table),
            [] => return Err(Error::internal("a relation without a name")),
        };
        let (catalog, path) = (&self.environment.catalog, &self.environment.search_path);
        let oid = catalog.resolve_relation(schema, table, path)?.oid();
        let shown = relation_name(oid, catalog, path).unwrap_or_else(|| quote_ident(table));
        Ok(if only { format!("ONLY {shown}") } else { shown })
    }

    fn function_text(
        &mut self,
        name: &ast::ObjectName,
        args: &[ast::FunctionArg],
        ordinality: bool,
        base: usize,
        leaves: &mut Leaves,
    ) -> Result<String> {
        let (at, shown) = leaves.next()?;
        let expects = std::mem::replace(&mut self.expects, Expects::From);
        let text = self.calls_text(name, args, base);
        self.expects = expects;
        let scope: Option<&Scope> = self.scopes.last();
        let relation = scope.and_then(|s| s.relations.get(at));
        let columns = column_list(relation.into_iter().flat_map(|r| &r.columns).map(|c| c.name.clone()));
        let ordinality = if ordinality { " WITH ORDINALITY" } else { "" };
        Ok(format!("{}{ordinality} {}{columns}", text?, quote_ident(&shown)))
    }

    /// A call in FROM, or the calls of ROWS FROM; arrays side by side are UNNEST.
    fn calls_text(&mut self, name: &ast::ObjectName, args: &[ast::FunctionArg], base: usize) -> Result<String> {
        let function = name.0.last().and_then(|p| p.as_ident()).map(fold).unwrap_or_default();
        if function != ROWS_FROM {
            let texts = self.arguments_text(args, base)?;
            let written =
                if function == "unnest" && texts.len() > 1 { "UNNEST".into() } else { quote_ident(&function) };
            return Ok(format!("{written}({})", texts.join(", ")));
        }
        let (mut calls, mut arrays) = (Vec::new(), Vec::new());
        for arg in args {
            let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(Expr::Function(call))) = arg else {
                return Err(Error::unsupported("the text of ROWS FROM"));
            };
            let ast::FunctionArguments::List(list) = &call.args else {
                return Err(Error::unsupported("the text of ROWS FROM"));
            };
            let function = call.name.0.last().and_then(|p| p.as_ident()).map(fold).unwrap_or_default();
            let texts = self.arguments_text(&list.args, base)?;
            match function.as_str() {
                "unnest" => {
                    calls.extend(texts.iter().map(|text| format!("unnest({text})")));
                    arrays.extend(texts);
                }
                function => calls.push(format!("{}({})", quote_ident(function), texts.join(", "))),
            }
        }
        Ok(match calls.as_slice() {
            [only] => only.clone(),
            calls if calls.len() == arrays.len() => format!("UNNEST({})", arrays.join(", ")),
            calls => format!("ROWS FROM({})", calls.join(", ")),
        })
    }

    fn arguments_text(&mut self, args: &[ast::FunctionArg], base: usize) -> Result<Vec<String>> {
        args.iter()
            .map(|arg| match arg {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => {
                    let bound = self.known(expr)?;
                    self.text(&bound, base, true)
                }
                _ => Err(self.source.locate(Error::unsupported("the text of this argument"), arg.span())),
            })
            .collect()
    }
}

fn alias_text(shown: &str, alias: Option<&ast::TableAlias>) -> String {
    let columns = alias.into_iter().flat_map(|a| &a.columns).map(|c| fold(&c.name));
    format!(" {}{}", quote_ident(shown), column_list(columns))
}

/// The alias of a join itself: `USING (…) AS alias`.
fn using_alias(constraint: &JoinConstraint) -> Option<&str> {
    let JoinConstraint::Using(names) = constraint else { return None };
    names.last()?.0.last()?.as_ident()?.value.strip_prefix(USING_MARK)
}

/// A join's words and its condition.
fn words_of(operator: &JoinOperator) -> Option<(&'static str, &JoinConstraint)> {
    Some(match operator {
        JoinOperator::Join(c) | JoinOperator::Inner(c) => ("JOIN", c),
        JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => ("LEFT JOIN", c),
        JoinOperator::Right(c) | JoinOperator::RightOuter(c) => ("RIGHT JOIN", c),
        JoinOperator::FullOuter(c) => ("FULL JOIN", c),
        JoinOperator::CrossJoin(c) => ("CROSS JOIN", c),
        _ => return None,
    })
}

/// Names of the relations of an item of FROM, in the order of its scope.
fn leaf_names(item: &TableWithJoins, out: &mut Vec<String>) {
    names_of_factor(&item.relation, out);
    for join in &item.joins {
        names_of_factor(&join.relation, out);
        out.extend(words_of(&join.join_operator).and_then(|(_, c)| using_alias(c)).map(str::to_owned));
    }
}

fn names_of_factor(factor: &TableFactor, out: &mut Vec<String>) {
    let (name, alias) = match factor {
        TableFactor::Table { name, alias, .. } | TableFactor::Function { name, alias, .. } => (Some(name), alias),
        TableFactor::Derived { alias, .. } | TableFactor::UNNEST { alias, .. } => (None, alias),
        TableFactor::NestedJoin { table_with_joins, alias: None } => return leaf_names(table_with_joins, out),
        _ => return,
    };
    let own = name.and_then(|n| n.0.last()).and_then(|p| p.as_ident()).map(fold);
    out.push(alias.as_ref().map(|a| fold(&a.name)).or(own).unwrap_or_else(|| "unnest".to_owned()));
}

/// `(a, b)`, or nothing.
fn column_list(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.map(|n| quote_ident(&n)).collect();
    if names.is_empty() { String::new() } else { format!("({})", names.join(", ")) }
}

fn sort_words(options: &ast::OrderByOptions) -> &'static str {
    let descending = options.asc == Some(false);
    expression::direction(descending, options.nulls_first.unwrap_or(descending))
}
