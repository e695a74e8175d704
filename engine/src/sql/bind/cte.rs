//! WITH: named queries, bound once and copied for each reference, and recursive ones. Those whose copies could differ run once.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use sqlparser::ast::{self, SetExpr, Spanned};
use sqlparser::tokenizer::Span;

use super::query::{Bound, OutColumn};
use super::traversal::Traversing;
use super::{Binder, fold, resolve};
use crate::catalog::Oid;
use crate::error::{Error, Result, SqlState};
use crate::expr::ColumnId;
use crate::session::Column;
use crate::sql::rel::{Output, Rel};
use crate::sql::scope::ScopeColumn;
use crate::sql::traversal::{self, Traversal};
use crate::types::{PgType, TypeOid};

/// One name that WITH defines.
#[derive(Debug)]
pub(super) struct CteScope {
    name: String,
    columns: Vec<(String, PgType)>,
    body: Body,
    /// Number of enclosing queries when it was bound: its free columns belong to them.
    referenced: usize,
    /// Collations of columns that are not those of `body`'s tree.
    collations: Vec<(usize, Option<Oid>)>,
}

#[derive(Debug)]
enum Body {
    /// `ids` are the columns of the tree that the names stand for.
    Query { rel: Rel, ids: Vec<ColumnId> },
    /// Inside the recursive term, where the last columns are [`traversal`]'s.
    WorkTable { table: u32, hidden: usize },
    /// What a data-modifying query returned; `None`: it has no RETURNING.
    Changed(Option<Oid>),
}

impl Binder {
    pub(super) fn with(&mut self, with: &ast::With) -> Result<()> {
        self.check_with_names(with)?;
        with.cte_tables.iter().try_for_each(|cte| self.bind_cte(cte, with.recursive))
    }

    /// 42712 for a name that a WITH defines twice.
    pub fn check_with_names(&self, with: &ast::With) -> Result<()> {
        let mut seen = HashSet::new();
        for cte in &with.cte_tables {
            let name = fold(&cte.alias.name);
            if !seen.insert(name.clone()) {
                let error = Error::new(
                    SqlState::DuplicateAlias,
                    format!("WITH query name \"{name}\" specified more than once"),
                );
                return Err(self.source.locate(error, cte.alias.name.span));
            }
        }
        Ok(())
    }

    /// One query of WITH: its name is in reach from here on.
    pub fn bind_cte(&mut self, cte: &ast::Cte, recursive: bool) -> Result<()> {
        let name = fold(&cte.alias.name);
        if matches!(*cte.query.body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)) {
            return Err(self.source.locate(nested_change(), cte.alias.name.span));
        }
        let recursive = recursive && mentions(&cte.query, &name);
        let mut plain = Cow::Borrowed(cte);
        let traversal = match traversal::take(&mut plain) {
            Some(clauses) => Some(self.traversal(&plain, &clauses, recursive)?),
            None => None,
        };
        let cte = traversal.as_ref().map_or(&*plain, |traversal| &traversal.cte);
        let hidden = traversal.as_ref().map_or(0, |traversal| traversal.added);
        let mut bound = if recursive { self.recursive_cte(cte, &name, hidden)? } else { self.subquery(&cte.query)? };
        let mut columns = self.cte_columns(cte, &bound)?;
        let seen = columns.len() - traversal.as_ref().map_or(0, |traversal| traversal.unseen);
        columns.truncate(seen);
        bound.columns.truncate(seen);
        let bound = self.once(bound);
        let ids = bound.columns.iter().map(|c| c.id).collect();
        self.ctes.push(CteScope {
            name,
            columns,
            body: Body::Query { rel: bound.rel, ids },
            referenced: 0,
            collations: Vec::new(),
        });
        Ok(())
    }

    /// A data-modifying query of WITH, bound already: the relation in which its rows will be found.
    pub fn add_changed_cte(&mut self, cte: &ast::Cte, returned: Option<&[Column]>) -> Result<Oid> {
        let table = self.transient();
        let out = returned.unwrap_or_default().iter();
        let columns =
            out.map(|c| OutColumn { name: c.name.clone(), id: ColumnId(0), ty: c.ty, table: 0, attribute: 0 });
        let columns = self.cte_columns(cte, &Bound::new(Rel::Unit, columns.collect()))?;
        let body = Body::Changed(returned.map(|_| table));
        self.ctes.push(CteScope { name: fold(&cte.alias.name), columns, body, referenced: 0, collations: Vec::new() });
        Ok(table)
    }

    /// How often each query of WITH was named so far, in their order.
    pub fn cte_references(&self) -> Vec<usize> {
        self.ctes.iter().map(|c| c.referenced).collect()
    }

    /// Takes all but the first queries of WITH out of reach.
    pub fn forget_ctes(&mut self, kept: usize) {
        self.ctes.truncate(kept);
    }

    /// How many queries of WITH are in reach.
    pub fn cte_count(&self) -> usize {
        self.ctes.len()
    }

    pub(super) fn is_cte(&self, name: &str) -> bool {
        self.ctes.iter().any(|c| c.name == name)
    }

    fn cte_columns(&self, cte: &ast::Cte, bound: &Bound) -> Result<Vec<(String, PgType)>> {
        let names = &cte.alias.columns;
        if names.len() > bound.columns.len() {
            let error = Error::new(
                SqlState::InvalidColumnReference,
                format!(
                    "WITH query \"{}\" has {} columns available but {} columns specified",
                    fold(&cte.alias.name),
                    bound.columns.len(),
                    names.len()
                ),
            );
            return Err(self.source.locate(error, cte.alias.name.span));
        }
        Ok(bound
            .columns
            .iter()
            .enumerate()
            .map(|(i, c)| (names.get(i).map_or_else(|| c.name.clone(), |n| fold(&n.name)), c.ty))
            .collect())
    }

    /// A recursive query with SEARCH or CYCLE behind it.
    fn traversal(&mut self, cte: &ast::Cte, clauses: &Traversal, recursive: bool) -> Result<Traversing> {
        let names = match &*cte.query.body {
            SetExpr::SetOperation { left, .. } if recursive => {
                let base = self.subquery(&wrap(left, cte.query.with.clone()))?;
                self.cte_columns(cte, &base)?.into_iter().map(|(name, _)| name).collect()
            }
            _ => Vec::new(),
        };
        self.traversing(cte, clauses, &names, recursive)
    }

    /// `base UNION [ALL] step`, `step` naming the query itself.
    /// The last `hidden` columns have names of their own inside the step.
    fn recursive_cte(&mut self, cte: &ast::Cte, name: &str, hidden: usize) -> Result<Bound> {
        let shape = || {
            let form = "non-recursive-term UNION [ALL] recursive-term";
            let message = format!("recursive query \"{name}\" does not have the form {form}");
            Error::new(SqlState::InvalidRecursion, message)
        };
        let SetExpr::SetOperation { left, op: ast::SetOperator::Union, set_quantifier, right } = &*cte.query.body
        else {
            return Err(self.source.locate(shape(), cte.alias.name.span));
        };
        self.check_recursive_clauses(&cte.query)?;
        super::recursion::check(&self.source, name, cte.query.with.as_ref(), left, right)?;
        let all = matches!(set_quantifier, ast::SetQuantifier::All);
        let mut base = self.subquery(&wrap(left, cte.query.with.clone()))?;
        let table = self.next_table;
        self.next_table += 1;
        let columns = self.cte_columns(cte, &base)?;
        let noted = |(i, c): (usize, &OutColumn)| Some((i, self.noted_collation(c.id)?));
        let collations: Vec<_> = base.columns.iter().enumerate().filter_map(noted).collect();
        self.ctes.push(CteScope {
            name: name.to_string(),
            columns: columns.clone(),
            body: Body::WorkTable { table, hidden },
            referenced: 0,
            collations: collations.clone(),
        });
        let step = self.subquery(&wrap(right, cte.query.with.clone()));
        self.ctes.pop();
        let mut step = step?;
        if step.columns.len() != base.columns.len() {
            return Err(Error::new(SqlState::SyntaxError, "each UNION query must have the same number of columns"));
        }
        for i in 0..base.columns.len() {
            let (Some(b), Some(s)) = (base.columns.get(i).cloned(), step.columns.get(i).cloned()) else {
                continue;
            };
            let common = resolve::common_type(&[b.ty.oid, s.ty.oid]);
            // Only what both terms have.
            let modified = b.ty.typmod >= 0 && b.ty != s.ty;
            if common != Some(b.ty.oid) || modified {
                let error = Error::new(
                    SqlState::DatatypeMismatch,
                    format!(
                        "recursive query \"{name}\" column {} has type {} in non-recursive term but type {} overall",
                        i + 1,
                        resolve::type_name(b.ty),
                        resolve::type_name(common.unwrap_or(s.ty.oid).into())
                    ),
                )
                .hint("Cast the output of the non-recursive term to the correct type.");
                return Err(self.source.locate(error, left.span()));
            }
            self.convert_column(&mut step, i, PgType::from(b.ty.oid), right.span())?;
            if b.ty.oid == TypeOid::UNKNOWN {
                self.convert_column(&mut base, i, TypeOid::TEXT.into(), left.span())?;
            }
        }
        let places: Vec<Span> = match &**left {
            SetExpr::Select(select) => select.projection.iter().map(Spanned::span).collect(),
            other => vec![other.span()],
        };
        self.check_recursive_collations(name, &base, &step, &places)?;
        let outputs: Vec<Output> = base.columns.iter().map(|c| Output { id: self.fresh(), ty: c.ty }).collect();
        for (i, collation) in collations {
            if let Some(output) = outputs.get(i) {
                self.note_collation(output.id, collation);
            }
        }
        if !all && self.any_blurred(outputs.iter().map(|o| (o.id, o.ty)))? {
            return Err(Error::unsupported("a recursive UNION under a nondeterministic collation"));
        }
        let columns = base
            .columns
            .iter()
            .zip(&outputs)
            .map(|(c, o)| OutColumn { name: c.name.clone(), id: o.id, ty: o.ty, table: 0, attribute: 0 })
            .collect();
        let rel = Rel::Recursive {
            table,
            base_columns: base.columns.iter().map(|c| c.id).collect(),
            step_columns: step.columns.iter().map(|c| c.id).collect(),
            base: Box::new(base.rel),
            step: Box::new(step.rel),
            outputs,
            all,
        };
        Ok(Bound::new(rel, columns))
    }

    /// What may not stand behind a recursive query.
    fn check_recursive_clauses(&self, query: &ast::Query) -> Result<()> {
        let refused = |what: &str, span: Option<Span>| {
            let error =
                Error::new(SqlState::FeatureNotSupported, format!("{what} in a recursive query is not implemented"));
            Err(span.map_or_else(|| error.clone(), |span| self.source.locate(error.clone(), span)))
        };
        if let Some(order) = &query.order_by {
            let first = match &order.kind {
                ast::OrderByKind::Expressions(keys) => keys.first().map(|key| key.expr.span()),
                ast::OrderByKind::All(_) => None,
            };
            return refused("ORDER BY", first);
        }
        match &query.limit_clause {
            Some(ast::LimitClause::LimitOffset { offset: Some(offset), .. }) => {
                return refused("OFFSET", Some(offset.value.span()));
            }
            Some(ast::LimitClause::LimitOffset { limit: Some(limit), .. }) => {
                return refused("LIMIT", Some(limit.span()));
            }
            Some(_) => return refused("LIMIT", None),
            None => {}
        }
        if query.fetch.is_some() {
            return refused("LIMIT", None);
        }
        match query.locks.is_empty() {
            true => Ok(()),
            false => refused("FOR UPDATE/SHARE", None),
        }
    }

    /// The query that a name in FROM stands for, if WITH defined it: a copy with columns of its own.
    pub(super) fn cte_reference(&mut self, name: &str, span: Span) -> Result<Option<(Rel, Vec<ScopeColumn>)>> {
        let Some(at) = self.ctes.iter().rposition(|c| c.name == name) else {
            return Ok(None);
        };
        let next_column = &mut self.next_column;
        let mut fresh = || {
            let id = ColumnId(*next_column);
            *next_column += 1;
            id
        };
        let Some(cte) = self.ctes.get_mut(at) else {
            return Ok(None);
        };
        cte.referenced += 1;
        if let Body::Changed(None) = cte.body {
            let message = format!("WITH query \"{name}\" does not have a RETURNING clause");
            return Err(self.source.locate(Error::new(SqlState::FeatureNotSupported, message), span));
        }
        let mut renamed = HashMap::new();
        let mut seen = cte.columns.len();
        let (rel, ids): (Rel, Vec<ColumnId>) = match &cte.body {
            Body::WorkTable { table, hidden } => {
                seen -= hidden;
                let outputs: Vec<Output> = cte.columns.iter().map(|(_, ty)| Output { id: fresh(), ty: *ty }).collect();
                let ids = outputs.iter().map(|o| o.id).collect();
                (Rel::WorkTable { table: *table, outputs }, ids)
            }
            Body::Changed(table) => {
                let outputs: Vec<Output> = cte.columns.iter().map(|(_, ty)| Output { id: fresh(), ty: *ty }).collect();
                let ids = outputs.iter().map(|o| o.id).collect();
                let table = table.unwrap_or(Oid(0));
                (Rel::Scan(Self::transient_scan(table, name, outputs)), ids)
            }
            Body::Query { rel, ids } => {
                let mut defined = HashSet::new();
                rel.defined(&mut defined);
                let map: HashMap<ColumnId, ColumnId> = defined.into_iter().map(|id| (id, fresh())).collect();
                let mut rel = rel.clone();
                rel.rename(&map);
                renamed = map.clone();
                let ids: Vec<ColumnId> = ids.iter().map(|id| map.get(id).copied().unwrap_or(*id)).collect();
                (rel, ids)
            }
        };
        let collations = cte.collations.clone();
        let columns = cte
            .columns
            .iter()
            .zip(ids.iter().copied())
            .enumerate()
            .map(|(at, ((name, ty), id))| ScopeColumn {
                name: if at < seen { name.clone() } else { traversal::inner_name(at - seen) },
                id,
                ty: *ty,
                table: 0,
                attribute: 0,
                visible: at < seen,
            })
            .collect();
        self.note_copies(&renamed);
        for (i, collation) in collations {
            if let Some(id) = ids.get(i) {
                self.note_collation(*id, collation);
            }
        }
        Ok(Some((rel, columns)))
    }

    /// TABLE name.
    pub(super) fn table(&mut self, name: ast::ObjectName) -> Result<Bound> {
        let text = format!("SELECT * FROM {name}");
        let (query, _) = crate::sql::parse::parse_query(&text)?;
        self.query(&query)
    }
}

/// A data-modifying query in WITH that is not part of the statement itself.
pub(super) fn nested_change() -> Error {
    let message = "WITH clause containing a data-modifying statement must be at the top level";
    Error::new(SqlState::FeatureNotSupported, message)
}

fn wrap(body: &SetExpr, with: Option<ast::With>) -> ast::Query {
    ast::Query {
        with,
        body: Box::new(body.clone()),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: vec![],
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: vec![],
    }
}

/// Whether a query names a relation without a schema.
fn mentions(query: &ast::Query, name: &str) -> bool {
    let flow = ast::visit_relations(query, |relation| check(relation, name));
    flow.is_break()
}

fn check(relation: &ast::ObjectName, name: &str) -> std::ops::ControlFlow<()> {
    match relation.0.as_slice() {
        [part] if part.as_ident().is_some_and(|i| fold(i) == name) => std::ops::ControlFlow::Break(()),
        _ => std::ops::ControlFlow::Continue(()),
    }
}
