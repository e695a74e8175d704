//! Rows as values: what `(row).field` may name, and how a query carries the fields of a row that it selects.
//!
//! Invariant: a column in [`Binder::row_columns`] stands beside the columns of its fields: whatever yields the one yields the
//! others. A column that is not there (a set operation's, a CTE's) is a row without known fields.

use std::borrow::Cow;

use sqlparser::ast::{self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Spanned};
use sqlparser::tokenizer::Span;

use super::column::{Lookup, find_relation, lookup};
use super::expr::written_items;
use super::function::{called_name, is_value_function};
use super::resolve::{self, Kind, Resolved};
use super::{Binder, fold};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::functions::rows;
use crate::sql::rel::{QueryExpr, Rel};
use crate::sql::scope::ScopeRelation;
use crate::types::{Datum, PgType, TypeOid};

/// Names and values of a row's fields.
pub(super) type Fields = Vec<(String, ScalarExpr)>;

/// The row itself.
pub(super) fn row_of(fields: &[(String, ScalarExpr)]) -> ScalarExpr {
    let names: Vec<String> = fields.iter().map(|(name, _)| name.clone()).collect();
    let items = fields.iter().map(|(_, e)| e.clone()).collect();
    ScalarExpr::new(ExprKind::Row(items, Some(names.into())), TypeOid::RECORD)
}

impl Binder {
    /// The fields of an expression that is a row: a call of a function that returns rows, a relation of FROM, `ROW(…)`, or a
    /// subquery's column that is one of these. `None`: it is no row, or not one with known fields.
    pub(super) fn row_fields(&mut self, expr: &Expr) -> Result<Option<Fields>> {
        match expr {
            Expr::Nested(inner) => self.row_fields(inner),
            Expr::Tuple(items) => self.numbered_fields(items.iter()).map(Some),
            Expr::Function(call) => self.call_fields(call, expr.span()),
            Expr::Identifier(ident) if ident.quote_style.is_none() && is_value_function(&fold(ident)) => Ok(None),
            Expr::Identifier(ident) => Ok(self.named_row(&fold(ident))),
            Expr::QualifiedWildcard(name, _) => {
                let (relation, depth) = self.starred(name)?;
                Ok((!relation.scalar).then(|| self.read_fields(&relation, depth)))
            }
            Expr::CompoundIdentifier(parts) => match self.column_reference(parts)?.kind {
                ExprKind::Column { id, depth } => Ok(self.column_fields(id, depth)),
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// [`Self::row_fields`] of a row that is there whenever its fields are: not one that an outer join may leave out.
    pub(super) fn certain_row_fields(&mut self, expr: &Expr) -> Result<Option<Fields>> {
        let relation = match expr {
            Expr::Identifier(ident) => {
                let name = fold(ident);
                self.scopes.iter().rev().find_map(|s| s.relations.iter().find(|r| r.name == name)).cloned()
            }
            Expr::QualifiedWildcard(name, _) => Some(self.starred(name)?.0),
            _ => None,
        };
        match relation {
            Some(relation) if relation.nullable => Ok(None),
            _ => self.row_fields(expr),
        }
    }

    /// The field that `(root).field` names; `None` when the root is no row.
    pub(super) fn row_field(&mut self, root: &Expr, field: &str) -> Result<Option<ScalarExpr>> {
        let Some(fields) = self.row_fields(root)? else {
            return Ok(None);
        };
        match fields.into_iter().find(|(name, _)| name == field) {
            Some((_, value)) => Ok(Some(value)),
            None => {
                let error =
                    Error::new(SqlState::UndefinedColumn, format!("column \"{field}\" not found in data type record"));
                Err(self.source.locate(error, root.span()))
            }
        }
    }

    /// The fields of a bound row: of one that was written out, or of a named type.
    pub(super) fn composite_fields(&self, value: &ScalarExpr) -> Option<Fields> {
        if let ExprKind::Row(items, names) = &value.kind {
            let of_type = self.environment.catalog.attributes_of(value.ty.oid).unwrap_or_default();
            let name = |i: usize| {
                let own = names.as_ref().and_then(|n| n.get(i).cloned());
                own.or_else(|| of_type.get(i).map(|a| a.0.clone())).unwrap_or_else(|| format!("f{}", i + 1))
            };
            return Some(items.iter().enumerate().map(|(i, item)| (name(i), item.clone())).collect());
        }
        let attributes = match value.ty.oid {
            TypeOid::RECORD => result_fields(value)?,
            oid => self.environment.catalog.attributes_of(oid)?,
        };
        let field = |(i, (name, ty)): (usize, (String, PgType))| {
            let args = vec![
                value.clone(),
                ScalarExpr::constant(Datum::Int4(i as i32), TypeOid::INT4),
                ScalarExpr::constant(Datum::from(name.as_str()), TypeOid::TEXT),
            ];
            (name, ScalarExpr::new(ExprKind::Call { function: rows::FIELD.clone(), args }, ty))
        };
        Some(attributes.into_iter().enumerate().map(field).collect())
    }

    /// `(value).field`
    pub(super) fn composite_field(&self, value: ScalarExpr, field: &str, span: Span) -> Result<ScalarExpr> {
        let found = self.composite_fields(&value).and_then(|f| f.into_iter().find(|(name, _)| name == field));
        found.map(|(_, value)| value).ok_or_else(|| {
            let message = match value.ty.oid {
                TypeOid::RECORD => format!("could not identify column \"{field}\" in record data type"),
                _ => format!("column \"{field}\" not found in data type {}", resolve::type_name(value.ty)),
            };
            self.source.locate(Error::new(SqlState::UndefinedColumn, message), span)
        })
    }

    /// What `(row).*` stands for.
    pub(super) fn all_fields(&mut self, row: &Expr) -> Result<Fields> {
        if let Some(fields) = self.row_fields(row)? {
            return Ok(fields);
        }
        let value = self.known(row)?;
        self.composite_fields(&value).ok_or_else(|| {
            let error = match value.ty.oid {
                TypeOid::RECORD => Error::new(SqlState::SyntaxError, "record type has not been registered"),
                _ => Error::new(
                    SqlState::WrongObjectType,
                    format!("type {} is not composite", resolve::type_name(value.ty)),
                ),
            };
            self.source.locate(error, row.span())
        })
    }

    /// The type of a row that a name stands for: a relation's own, or a record.
    pub(super) fn named_row_type(&self, expr: &Expr) -> TypeOid {
        let ident = match expr {
            Expr::Identifier(ident) => ident,
            Expr::QualifiedWildcard(name, _) => {
                return self.starred(name).map_or(TypeOid::RECORD, |(relation, _)| self.row_type_of(&relation));
            }
            _ => return TypeOid::RECORD,
        };
        let name = fold(ident);
        for scope in self.scopes.iter().rev() {
            if !matches!(lookup(scope, &name), Lookup::None) {
                return TypeOid::RECORD;
            }
            if let Some(relation) = scope.relations.iter().find(|r| r.name == name) {
                return self.row_type_of(relation);
            }
        }
        TypeOid::RECORD
    }

    fn numbered_fields<'a>(&mut self, items: impl Iterator<Item = &'a Expr>) -> Result<Fields> {
        let mut fields = Fields::new();
        for item in items {
            for item in self.spread(std::slice::from_ref(item))?.iter() {
                fields.push((format!("f{}", fields.len() + 1), self.known(item)?));
            }
        }
        Ok(fields)
    }

    fn call_fields(&mut self, call: &ast::Function, span: Span) -> Result<Option<Fields>> {
        let FunctionArguments::List(list) = &call.args else {
            return Ok(None);
        };
        let mut exprs = Vec::with_capacity(list.args.len());
        for arg in &list.args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => exprs.push(expr),
                _ => return Ok(None),
            }
        }
        let parts: Vec<String> = call.name.0.iter().filter_map(|p| p.as_ident()).map(fold).collect();
        let Some(name) = called_name(&parts) else {
            return Ok(None);
        };
        if parts.len() == 1 && name == "row" {
            return self.numbered_fields(exprs.into_iter()).map(Some);
        }
        let rows = resolve::kind(name) == Some(Kind::Set) && resolve::returns_record(name);
        if !rows || call.over.is_some() {
            return Ok(None);
        }
        self.check_set_place(span)?;
        let args = exprs.into_iter().map(|e| self.expr(e)).collect::<Result<Vec<_>>>()?;
        let types: Vec<TypeOid> = args.iter().map(|a| a.ty.oid).collect();
        let resolved = self.set_function(name, &types, span)?;
        let args = self.coerce_call_args(&resolved, args, span)?;
        Ok(Some(self.series_row(resolved, args)))
    }

    /// The columns of one call of a set-returning function. The same call written twice in one select list is one set.
    pub(super) fn series_row(&mut self, resolved: Resolved, args: Vec<ScalarExpr>) -> Fields {
        let names = resolve::set_columns(&resolved);
        let known = self.series_fields.iter().find(|c| {
            std::sync::Arc::ptr_eq(&c.function, &resolved.function)
                && c.args.len() == args.len()
                && c.args.iter().zip(&args).all(|(a, b)| a.same(b))
        });
        let call = match known {
            Some(call) => call.clone(),
            None => {
                let call = self.set_call(resolved, args);
                self.series_fields.push(call.clone());
                call
            }
        };
        names.into_iter().zip(&call.outputs).map(|((name, _), o)| (name, ScalarExpr::column(o.id, o.ty))).collect()
    }

    /// A column that is a row, or a whole relation of FROM.
    fn named_row(&mut self, name: &str) -> Option<Fields> {
        let mut found = None;
        for (depth, scope) in self.scopes.iter().rev().enumerate() {
            match lookup(scope, name) {
                Lookup::One(column, _) => return self.column_fields(column.id, depth),
                Lookup::Many => return None,
                Lookup::None => {}
            }
            if let Some(relation) = scope.relations.iter().find(|r| r.name == name) {
                if relation.scalar {
                    return None;
                }
                found = Some((relation.clone(), depth));
                break;
            }
        }
        let (relation, depth) = found?;
        Some(self.read_fields(&relation, depth))
    }

    /// The columns of a relation. A name of a row reads all of it, whichever field is wanted: so do privileges and policies see it.
    fn read_fields(&mut self, relation: &ScopeRelation, depth: usize) -> Fields {
        relation.columns.iter().for_each(|c| self.note_column(c.id));
        relation.columns.iter().map(|c| (c.name.clone(), column_at(c.id, c.ty, depth))).collect()
    }

    /// The relation whose `name.*` is written, and how many scopes out it stands.
    pub(super) fn starred(&self, name: &ast::ObjectName) -> Result<(ScopeRelation, usize)> {
        let parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(fold).collect();
        let (schema, table) = match parts.as_slice() {
            [table] => (None, table),
            [schema, table] => (Some(schema.as_str()), table),
            _ => return Err(Error::new(SqlState::SyntaxError, "improper qualified name")),
        };
        let found = |(depth, scope)| Some((find_relation(scope, schema, table)?.clone(), depth));
        self.scopes.iter().rev().enumerate().find_map(found).ok_or_else(|| {
            let message = format!("missing FROM-clause entry for table \"{table}\"");
            self.source.locate(Error::new(SqlState::UndefinedTable, message), name.span())
        })
    }

    /// The items of `(a, b)` or `ROW(a, b)`.
    pub(super) fn row_items<'e>(&self, expr: &'e Expr) -> Result<Option<Cow<'e, [Expr]>>> {
        match written_items(expr) {
            Some(Cow::Borrowed(items)) => self.spread(items).map(Some),
            Some(Cow::Owned(items)) => Ok(Some(Cow::Owned(self.spread(&items)?.into_owned()))),
            None => Ok(None),
        }
    }

    /// The items of a list in which `t.*` stands for the columns of `t`.
    pub(super) fn spread<'e>(&self, items: &'e [Expr]) -> Result<Cow<'e, [Expr]>> {
        if !items.iter().any(|item| matches!(item, Expr::QualifiedWildcard(..))) {
            return Ok(Cow::Borrowed(items));
        }
        let mut out = Vec::with_capacity(items.len());
        for item in items {
            let Expr::QualifiedWildcard(name, _) = item else {
                out.push(item.clone());
                continue;
            };
            let relation: Vec<ast::Ident> = name.0.iter().filter_map(|p| p.as_ident()).cloned().collect();
            for column in &self.starred(name)?.0.columns {
                let column = ast::Ident { span: name.span(), ..ast::Ident::with_quote('"', &column.name) };
                out.push(Expr::CompoundIdentifier(relation.iter().cloned().chain([column]).collect()));
            }
        }
        Ok(Cow::Owned(out))
    }

    /// The fields of a subquery's column.
    pub(super) fn column_fields(&self, id: ColumnId, depth: usize) -> Option<Fields> {
        let fields = self.row_columns.get(&id)?;
        Some(fields.iter().map(|(name, id, ty)| (name.clone(), column_at(*id, *ty, depth))).collect())
    }
}

fn column_at(id: ColumnId, ty: PgType, depth: usize) -> ScalarExpr {
    ScalarExpr::new(ExprKind::Column { id, depth }, ty)
}

/// Names and types of the fields of a row that a SQL function makes.
fn result_fields(value: &ScalarExpr) -> Option<Vec<(String, PgType)>> {
    let query = match &value.kind {
        ExprKind::Query(query) => query,
        ExprKind::Case { otherwise: Some(value), .. } => return result_fields(value),
        _ => return None,
    };
    let QueryExpr::Scalar { rel, column } = &**query else { return None };
    let mut rel: &Rel = rel;
    while let Rel::Limit { input, .. } = rel {
        rel = input;
    }
    let Rel::Project { columns, .. } = rel else { return None };
    let row = columns.iter().find(|(id, _)| id == column).map(|(_, row)| &row.kind)?;
    let ExprKind::Row(items, Some(names)) = row else { return None };
    Some(names.iter().cloned().zip(items.iter().map(|item| item.ty)).collect())
}
