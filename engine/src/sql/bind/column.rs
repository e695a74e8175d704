//! Column references: which column of which query a name means.

use sqlparser::ast;
use sqlparser::tokenizer::Span;

use super::{Binder, fold};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ExprKind, ScalarExpr};
use crate::sql::scope::{RowsOf, Scope, ScopeColumn, ScopeRelation};
use crate::types::{Datum, TypeOid};

/// Columns that every table has and no `*` shows.
const SYSTEM_COLUMNS: &[&str] = &["tableoid", "ctid", "xmin", "xmax", "cmin", "cmax", ROW_ID];

/// Where a row lies, as a number: what cursors know rows by. No client can write it.
pub const ROW_ID: &str = "\u{1}row";

impl Binder {
    pub(super) fn column_reference(&mut self, parts: &[ast::Ident]) -> Result<ScalarExpr> {
        let names: Vec<String> = parts.iter().map(fold).collect();
        let span = match (parts.first(), parts.last()) {
            (Some(a), Some(b)) => Span::new(a.span.start, b.span.end),
            _ => Span::empty(),
        };
        match names.as_slice() {
            [column] => self.unqualified(column, span),
            [table, column] => self.qualified(None, table, column, span),
            [schema, table, column] => self.qualified(Some(schema), table, column, span),
            [database, schema, table, column] => {
                if *database != self.environment.catalog.database.name {
                    let error = Error::new(
                        SqlState::FeatureNotSupported,
                        format!("cross-database references are not implemented: {}", names.join(".")),
                    );
                    return Err(self.source.locate(error, span));
                }
                self.qualified(Some(schema), table, column, span)
            }
            _ => {
                let error = Error::new(
                    SqlState::SyntaxError,
                    format!("improper qualified name (too many dotted names): {}", names.join(".")),
                );
                Err(self.source.locate(error, span))
            }
        }
    }

    fn unqualified(&mut self, name: &str, span: Span) -> Result<ScalarExpr> {
        for level in (0..self.scopes.len()).rev() {
            let depth = self.scopes.len() - 1 - level;
            let Some(scope) = self.scopes.get(level) else {
                continue;
            };
            match lookup(scope, name) {
                Lookup::One(column, relation) => {
                    let (column, relation) = (column.clone(), relation.map(|r| r.name.clone()));
                    return Ok(self.reference(&column, relation.as_deref(), depth, span));
                }
                Lookup::Many => {
                    let error =
                        Error::new(SqlState::AmbiguousColumn, format!("column reference \"{name}\" is ambiguous"));
                    return Err(self.source.locate(error, span));
                }
                Lookup::None => {}
            }
            let system = SYSTEM_COLUMNS.contains(&name);
            if let Some(relation) = scope.relations.iter().find(|r| r.table != 0)
                && system
            {
                let relation = relation.clone();
                return self.system_column(name, &relation, depth, span);
            }
            if let Some(relation) = scope.relations.iter().find(|r| r.name == name) {
                let relation = relation.clone();
                return self.whole_row(&relation, depth, span);
            }
        }
        if let Some(value) = self.frame_name(None, name) {
            return Ok(value);
        }
        let mut error = Error::new(SqlState::UndefinedColumn, format!("column \"{name}\" does not exist"));
        if let Some(hint) = self.similar_column(None, name) {
            error = error.hint(hint);
        }
        Err(self.source.locate(error, span))
    }

    fn qualified(&mut self, schema: Option<&str>, table: &str, name: &str, span: Span) -> Result<ScalarExpr> {
        for level in (0..self.scopes.len()).rev() {
            let depth = self.scopes.len() - 1 - level;
            let Some(relation) = self.scopes.get(level).and_then(|s| find_relation(s, schema, table)) else {
                continue;
            };
            let relation = relation.clone();
            if !relation.lateral_ok {
                let error = Error::new(
                    SqlState::UndefinedTable,
                    format!("invalid reference to FROM-clause entry for table \"{table}\""),
                )
                .hint(format!(
                    "There is an entry for table \"{table}\", but it cannot be referenced from this part of the query."
                ));
                return Err(self.source.locate(error, span));
            }
            let mut found = relation.columns.iter().filter(|c| c.name == name);
            if let Some(column) = found.next() {
                if found.next().is_some() {
                    let error =
                        Error::new(SqlState::AmbiguousColumn, format!("column reference \"{name}\" is ambiguous"));
                    return Err(self.source.locate(error, span));
                }
                return Ok(self.reference(column, Some(&relation.name), depth, span));
            }
            if relation.table != 0 && SYSTEM_COLUMNS.contains(&name) {
                return self.system_column(name, &relation, depth, span);
            }
            let mut error = Error::new(SqlState::UndefinedColumn, format!("column {table}.{name} does not exist"));
            if let Some(hint) = self.similar_column(Some(table), name) {
                error = error.hint(hint);
            }
            return Err(self.source.locate(error, span));
        }
        if let Some(value) = self.frame_name(Some(table), name) {
            return Ok(value);
        }
        let parameter = self.frame_name(None, table).filter(|value| schema.is_none() && value.ty.oid.is_row());
        if let Some(row) = parameter {
            return self.composite_field(row, name, span);
        }
        let mut error =
            Error::new(SqlState::UndefinedTable, format!("missing FROM-clause entry for table \"{table}\""));
        // A table that was given an alias goes by that alone.
        let aliased =
            self.scopes.last().and_then(|s| s.relations.iter().find(|r| r.real_name.as_deref() == Some(table)));
        if let Some(relation) = aliased {
            error = Error::new(
                SqlState::UndefinedTable,
                format!("invalid reference to FROM-clause entry for table \"{table}\""),
            )
            .hint(format!("Perhaps you meant to reference the table alias \"{}\".", relation.name));
        }
        Err(self.source.locate(error, span))
    }

    fn reference(&mut self, column: &ScopeColumn, relation: Option<&str>, depth: usize, span: Span) -> ScalarExpr {
        self.note_column(column.id);
        if let Some(expr) = self.computed.get(&column.id) {
            return at_depth(expr.clone(), depth);
        }
        if depth == 0 && !self.in_aggregate {
            let name = match relation {
                Some(relation) => format!("{relation}.{}", column.name),
                None => column.name.clone(),
            };
            self.uses.push((column.id, span, name));
        }
        ScalarExpr::new(ExprKind::Column { id: column.id, depth }, column.ty)
    }

    pub(super) fn whole_row(&mut self, relation: &ScopeRelation, depth: usize, span: Span) -> Result<ScalarExpr> {
        if relation.scalar
            && let Some(column) = relation.columns.first()
        {
            return Ok(self.reference(column, Some(&relation.name), depth, span));
        }
        let columns = || relation.columns.iter().chain(&relation.later);
        let items = columns().map(|c| self.reference(c, Some(&relation.name), depth, span)).collect();
        let names: Vec<String> = columns().map(|c| self.current_name(c)).collect();
        let ty = self.row_type_of(relation);
        let row = ScalarExpr::new(ExprKind::Row(items, Some(names.into())), ty);
        if !relation.nullable {
            return Ok(row);
        }
        Ok(self.unless_missing(row, relation, depth, span))
    }

    /// NULL where an outer join found no row of the relation: a column that cannot be NULL otherwise tells.
    fn unless_missing(&mut self, value: ScalarExpr, relation: &ScopeRelation, depth: usize, span: Span) -> ScalarExpr {
        let ty = value.ty;
        let table = self.environment.catalog.tables.get(&crate::catalog::Oid(relation.table)).cloned();
        let is_certain = |attnum: i16| table.as_ref().and_then(|t| t.attribute(attnum)).is_some_and(|c| c.not_null);
        // Without one, a row of nothing but NULLs counts as none.
        let certain = relation.columns.iter().find(|c| is_certain(c.attribute));
        let telling: Vec<&ScopeColumn> = certain.map_or_else(|| relation.columns.iter().collect(), |c| vec![c]);
        let tests = telling.into_iter().map(|column| {
            let arg = Box::new(self.reference(column, Some(&relation.name), depth, span));
            ScalarExpr::new(ExprKind::IsNull { arg, negated: false }, TypeOid::BOOL)
        });
        let tests: Vec<ScalarExpr> = tests.collect();
        let missing = ScalarExpr::and(tests).unwrap_or_else(|| ScalarExpr::constant(Datum::Bool(false), TypeOid::BOOL));
        let null = ScalarExpr::constant(Datum::Null, ty);
        let (whens, otherwise) = (vec![(missing, null)], Some(Box::new(value)));
        ScalarExpr::new(ExprKind::Case { whens, otherwise, simple: false }, ty)
    }

    /// The type of a relation's rows: its own if users made it, else a record.
    pub(super) fn row_type_of(&self, relation: &ScopeRelation) -> TypeOid {
        let found = self.environment.catalog.relation(crate::catalog::Oid(relation.table));
        let row_type = found.and_then(|r| r.row_type()).map(|oid| TypeOid(oid.0));
        row_type.filter(|ty| ty.is_row()).unwrap_or(TypeOid::RECORD)
    }

    fn system_column(&mut self, name: &str, relation: &ScopeRelation, depth: usize, span: Span) -> Result<ScalarExpr> {
        if !self.environment.catalog.tables.contains_key(&crate::catalog::Oid(relation.table)) && name != "tableoid" {
            let error = Error::new(SqlState::UndefinedColumn, format!("column \"{name}\" does not exist"));
            return Err(self.source.locate(error, span));
        }
        if let Some(shown) = self.described_system_column(name, relation, depth) {
            return Ok(shown);
        }
        match name {
            "tableoid" => {
                let of = match relation.rows_of {
                    RowsOf::Named => relation.table,
                    RowsOf::Member(member) => member.0,
                    RowsOf::Column(id) => return Ok(ScalarExpr::new(ExprKind::Column { id, depth }, TypeOid::OID)),
                };
                let of = ScalarExpr::constant(Datum::Oid(of), TypeOid::OID);
                Ok(if relation.nullable { self.unless_missing(of, relation, depth, span) } else { of })
            }
            "xmin" => {
                let columns = relation.columns.iter().filter(|c| c.attribute > 0);
                let args = columns.map(|c| self.reference(c, Some(&relation.name), depth, span)).collect();
                let function = crate::functions::row_version::row_version();
                Ok(ScalarExpr::new(ExprKind::Call { function, args }, TypeOid::XID))
            }
            "xmax" => {
                relation.columns.iter().for_each(|c| self.note_column(c.id));
                Ok(match relation.updated {
                    Some(id) => ScalarExpr::new(ExprKind::Column { id, depth }, TypeOid::XID),
                    None => ScalarExpr::constant(Datum::Oid(0), TypeOid::XID),
                })
            }
            "ctid" | ROW_ID => {
                let Some(id) = relation.row_id else {
                    return Err(self.source.locate(Error::unsupported(format!("the system column {name} here")), span));
                };
                // It asks for the same rights as all columns.
                for column in relation.columns.iter().filter(|c| c.attribute > 0) {
                    self.reference(column, Some(&relation.name), depth, span);
                }
                let row = ScalarExpr::new(ExprKind::Column { id, depth }, TypeOid::INT8);
                if name == ROW_ID {
                    return Ok(row);
                }
                let function = crate::functions::row_version::place();
                Ok(ScalarExpr::new(ExprKind::Call { function, args: vec![row] }, TypeOid::TID))
            }
            "cmin" | "cmax" => Ok(ScalarExpr::constant(Datum::Oid(0), TypeOid::CID)),
            _ => Err(self.source.locate(Error::unsupported(format!("the system column {name}")), span)),
        }
    }

    fn similar_column(&self, table: Option<&str>, name: &str) -> Option<String> {
        let scope = self.scopes.last()?;
        let mut best: Option<(usize, String)> = None;
        for relation in &scope.relations {
            if table.is_some_and(|t| t != relation.name) {
                continue;
            }
            for column in &relation.columns {
                let distance = edit_distance(&column.name, name);
                if best.as_ref().is_none_or(|(d, _)| distance < *d) {
                    best = Some((distance, format!("{}.{}", relation.name, column.name)));
                }
            }
        }
        // Without a qualifier PostgreSQL also points at a column of that name in a table that is out of reach.
        let (distance, shown) = best?;
        let limit = name.chars().count() / 2;
        (distance > 0 && distance <= limit.min(3))
            .then(|| format!("Perhaps you meant to reference the column \"{shown}\"."))
    }
}

/// An expression over the columns of a scope, as seen from `depth` queries further in.
fn at_depth(mut expr: ScalarExpr, depth: usize) -> ScalarExpr {
    fn walk(expr: &mut ScalarExpr, depth: usize) -> Result<()> {
        if let ExprKind::Column { depth: own, .. } = &mut expr.kind {
            *own += depth;
        }
        expr.children_mut(&mut |child| walk(child, depth))
    }
    // Walking changes numbers and cannot fail.
    let _ = walk(&mut expr, depth);
    expr
}

pub(super) enum Lookup<'a> {
    None,
    One(&'a ScopeColumn, Option<&'a ScopeRelation>),
    Many,
}

pub(super) fn lookup<'a>(scope: &'a Scope, name: &str) -> Lookup<'a> {
    let mut merged = scope.merged.iter().filter(|c| c.name == name);
    let mut own = scope
        .relations
        .iter()
        .filter(|r| r.lateral_ok)
        .flat_map(|r| r.columns.iter().map(move |c| (c, r)))
        .filter(|(c, _)| c.visible && c.name == name);
    match (merged.next(), own.next()) {
        (None, None) => Lookup::None,
        (Some(column), None) if merged.next().is_none() => Lookup::One(column, None),
        (None, Some((column, relation))) if own.next().is_none() => Lookup::One(column, Some(relation)),
        _ => Lookup::Many,
    }
}

/// The column that an unqualified name means in one scope: `Err(true)` when several do.
pub(super) fn lookup_column<'a>(scope: &'a Scope, name: &str) -> Result<&'a ScopeColumn, bool> {
    match lookup(scope, name) {
        Lookup::One(column, _) => Ok(column),
        Lookup::None => Err(false),
        Lookup::Many => Err(true),
    }
}

pub(super) fn find_relation<'a>(scope: &'a Scope, schema: Option<&str>, table: &str) -> Option<&'a ScopeRelation> {
    scope.relations.iter().find(|r| r.name == table && (schema.is_none() || r.schema.as_deref() == schema))
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut previous = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let replace = previous + usize::from(x != *y);
            previous = *cell;
            left = replace.min(*cell + 1).min(left + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(0)
}
