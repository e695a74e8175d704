//! SEARCH and CYCLE: the recursive query gets columns that say in which order its rows were found, or by which way, as
//! PostgreSQL's `rewriteSearchCycle.c` lays down.
//!
//! ```sql
//! SELECT l.*, ARRAY[ROW(a)] AS seq, 'N' AS mark, ARRAY[ROW(b)] AS path FROM (base) l (a, b)
//! UNION ALL
//! SELECT r.a, r.b, array_append(seq, ROW(a)), CASE WHEN ROW(b) = ANY (path) THEN 'Y' ELSE 'N' END, array_append(path, ROW(b))
//! FROM (step, with seq, mark and path of the row that it comes from) r WHERE mark <> 'Y'
//! ```
//!
//! Invariant: inside the step the columns have names that no client can write, and no `*` yields them.

use sqlparser::ast::{self, Ident, SetExpr, TableFactor};
use sqlparser::tokenizer::Span;

use super::{Binder, fold};
use crate::error::{Error, Result, SqlState};
use crate::sql::parse::parse_query_at;
use crate::sql::traversal::{Cycle, Search, Traversal, inner_name};

/// How far from the start a row was found, for SEARCH BREADTH FIRST.
const DEPTH: &str = "\u{1}depth";

/// A column that the clauses add: its name, what it is of the first rows, and of those of the step.
struct Added {
    name: String,
    first: String,
    next: String,
}

/// The recursive query with its clauses worked in.
pub(super) struct Traversing {
    pub cte: ast::Cte,
    /// How many columns the clauses added, and how many of those nobody sees.
    pub added: usize,
    pub unseen: usize,
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn row(columns: &[Ident], before: Option<&str>) -> String {
    let columns = columns.iter().map(|c| quoted(&fold(c)));
    let items: Vec<String> = before.map(str::to_owned).into_iter().chain(columns).collect();
    format!("ROW({})", items.join(", "))
}

impl Binder {
    /// `names` are the query's columns without the clauses.
    pub(super) fn traversing(
        &self,
        cte: &ast::Cte,
        clauses: &Traversal,
        names: &[String],
        recursive: bool,
    ) -> Result<Traversing> {
        let name = fold(&cte.alias.name);
        let span = clauses.search.as_ref().map(|s| s.span).or(clauses.cycle.as_ref().map(|c| c.span));
        let span = span.unwrap_or_else(Span::empty);
        let (SetExpr::SetOperation { op, set_quantifier, left, right }, true) = (&*cte.query.body, recursive) else {
            let error = Error::new(SqlState::SyntaxError, "WITH query is not recursive");
            return Err(self.source.locate(error, cte.alias.name.span));
        };
        self.check_traversal(clauses, names)?;
        if matches!(bare(left), SetExpr::SetOperation { .. }) {
            let message = "with a SEARCH or CYCLE clause, the left side of the UNION must be a SELECT";
            return Err(Error::new(SqlState::FeatureNotSupported, message));
        }
        let SetExpr::Select(step) = bare(right) else {
            let message = "with a SEARCH or CYCLE clause, the right side of the UNION must be a SELECT";
            return Err(Error::new(SqlState::SyntaxError, message));
        };
        let is_own = |factor: &TableFactor| {
            matches!(factor, TableFactor::Table { name: table, .. }
                if matches!(table.0.as_slice(), [part] if part.as_ident().is_some_and(|i| fold(i) == name)))
        };
        let mut factors = step
            .from
            .iter()
            .flat_map(|item| std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation)));
        if !factors.any(is_own) {
            let message = format!(
                "with a SEARCH or CYCLE clause, the recursive reference to WITH query \"{name}\" must be at the top \
                 level of its right-hand SELECT"
            );
            return Err(Error::new(SqlState::FeatureNotSupported, message));
        }

        let added = added(clauses);
        let unseen = added.iter().filter(|a| a.name == DEPTH).count();
        let list = |names: &mut dyn Iterator<Item = String>| names.map(|n| quoted(&n)).collect::<Vec<_>>().join(", ");
        let own = list(&mut names.iter().cloned());
        let inside = list(&mut names.iter().cloned().chain((0..added.len()).map(inner_name)));
        let shown = |expr: fn(&Added) -> &String| -> String {
            added.iter().map(|a| format!(", {} AS {}", expr(a), quoted(&a.name))).collect()
        };
        let base = format!("SELECT {own}{} FROM (SELECT 1) AS \"\u{1}base\" ({own})", shown(|a| &a.first));
        let mut next = format!("SELECT {own}{} FROM (SELECT 1) AS \"\u{1}step\" ({inside})", shown(|a| &a.next));
        if let Some(cycle) = &clauses.cycle {
            let mark = inner_name(usize::from(clauses.search.is_some()));
            next.push_str(&format!(" WHERE {} <> {}", quoted(&mark), cycle.value));
        }
        let mut step = step.clone();
        step.projection.extend((0..added.len()).map(|at| {
            let name = Ident::with_quote('"', inner_name(at));
            ast::SelectItem::UnnamedExpr(ast::Expr::Identifier(name))
        }));
        let mut cte = cte.clone();
        cte.query.body = Box::new(SetExpr::SetOperation {
            op: *op,
            set_quantifier: *set_quantifier,
            left: around(&base, (**left).clone(), span)?,
            right: around(&next, SetExpr::Select(step), span)?,
        });
        let all = names.iter().chain(added.iter().map(|a| &a.name));
        cte.alias.columns = all
            .map(|name| ast::TableAliasColumnDef { name: Ident::with_quote('"', name.clone()), data_type: None })
            .collect();
        Ok(Traversing { cte, added: added.len(), unseen })
    }

    /// 42601 and 42701 for names that the clauses cannot have.
    fn check_traversal(&self, clauses: &Traversal, names: &[String]) -> Result<()> {
        let wrong =
            |state: SqlState, message: String, span: Span| Err(self.source.locate(Error::new(state, message), span));
        let listed = |columns: &[Ident], kind: &str, span: Span| {
            for (at, column) in columns.iter().enumerate() {
                let name = fold(column);
                if !names.contains(&name) {
                    let message = format!("{kind} column \"{name}\" not in WITH query column list");
                    return wrong(SqlState::SyntaxError, message, span);
                }
                if columns.iter().take(at).any(|before| fold(before) == name) {
                    let message = format!("{kind} column \"{name}\" specified more than once");
                    return wrong(SqlState::DuplicateColumn, message, span);
                }
            }
            Ok(())
        };
        let unused = |name: &Ident, kind: &str, span: Span| match names.contains(&fold(name)) {
            true => {
                let message = format!("{kind} column name \"{}\" already used in WITH query column list", fold(name));
                wrong(SqlState::SyntaxError, message, span)
            }
            false => Ok(()),
        };
        let differ = |a: (&Ident, &str), b: (&Ident, &str), span: Span| match fold(a.0) == fold(b.0) {
            true => {
                wrong(SqlState::SyntaxError, format!("{} column name and {} column name are the same", a.1, b.1), span)
            }
            false => Ok(()),
        };
        if let Some(search) = &clauses.search {
            listed(&search.columns, "search", search.span)?;
            unused(&search.sequence, "search sequence", search.span)?;
        }
        if let Some(cycle) = &clauses.cycle {
            listed(&cycle.columns, "cycle", cycle.span)?;
            unused(&cycle.mark, "cycle mark", cycle.span)?;
            unused(&cycle.path, "cycle path", cycle.span)?;
            differ((&cycle.mark, "cycle mark"), (&cycle.path, "cycle path"), cycle.span)?;
        }
        if let (Some(search), Some(cycle)) = (&clauses.search, &clauses.cycle) {
            let sequence = (&search.sequence, "search sequence");
            differ(sequence, (&cycle.mark, "cycle mark"), search.span)?;
            differ(sequence, (&cycle.path, "cycle path"), search.span)?;
        }
        Ok(())
    }
}

/// A query without the parentheses around it.
fn bare(body: &SetExpr) -> &SetExpr {
    match body {
        SetExpr::Query(query) if query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none() => {
            bare(&query.body)
        }
        other => other,
    }
}

fn added(clauses: &Traversal) -> Vec<Added> {
    let mut out = Vec::new();
    if let Some(Search { breadth, columns, sequence, .. }) = &clauses.search {
        let name = fold(sequence);
        // The depth stands last, behind the columns of CYCLE.
        let depth = quoted(&inner_name(if clauses.cycle.is_some() { 3 } else { 1 }));
        out.push(match breadth {
            true => Added {
                name,
                first: row(columns, Some("0::bigint")),
                next: row(columns, Some(&format!("{depth} + 1"))),
            },
            false => way(name, columns, 0),
        });
    }
    if let Some(Cycle { columns, mark, value, default, path, .. }) = &clauses.cycle {
        let at = out.len();
        let marked = |condition: String| format!("CASE WHEN {condition} THEN {value} ELSE {default} END");
        let found = format!("{} = ANY ({})", row(columns, None), quoted(&inner_name(at + 1)));
        out.push(Added { name: fold(mark), first: marked("false".to_owned()), next: marked(found) });
        out.push(way(fold(path), columns, at + 1));
    }
    if clauses.search.as_ref().is_some_and(|search| search.breadth) {
        let next = format!("{} + 1", quoted(&inner_name(out.len())));
        out.push(Added { name: DEPTH.to_owned(), first: "0::bigint".to_owned(), next });
    }
    out
}

/// An array of the rows on the way to a row.
fn way(name: String, columns: &[Ident], at: usize) -> Added {
    let row = row(columns, None);
    let next = format!("pg_catalog.array_append({}, {row})", quoted(&inner_name(at)));
    Added { name, first: format!("ARRAY[{row}]"), next }
}

/// A query of ours over `body` in place of its only subquery.
fn around(text: &str, body: SetExpr, span: Span) -> Result<Box<SetExpr>> {
    let mut query = parse_query_at(text, span)?;
    let SetExpr::Select(select) = &mut *query.body else {
        return Err(Error::internal("not a SELECT"));
    };
    let Some(TableFactor::Derived { subquery, .. }) = select.from.first_mut().map(|item| &mut item.relation) else {
        return Err(Error::internal("no subquery"));
    };
    *subquery.body = body;
    Ok(query.body)
}
