//! Which rows a cursor stands on, for WHERE CURRENT OF: a cursor over tables reads where their rows lie as columns behind its own,
//! which nobody sees.
//!
//! Invariant: the hidden columns are the last ones of the cursor's query, one for each table in `tables`, in that order.

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use sqlparser::ast;

use super::cursor::no_cursor;
use super::plan::{identifier, object_name};
use super::portal::Portal;
use super::{Column, Row, Rows, Session};
use crate::catalog::{Oid, Relation, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::sql::Statement;
use crate::sql::bind::column::ROW_ID;
use crate::sql::rewrite::only;
use crate::storage::RowId;
use crate::types::Datum;

/// What is hidden behind a cursor's columns.
#[derive(Debug, Default)]
pub struct Hidden {
    pub tables: Vec<Oid>,
    /// Tables whose rows the cursor locks, each as often as it is named.
    pub locked: Vec<Oid>,
    /// Places of the rows that make the row it stands on; `None`: it stands on none.
    current: Option<Vec<Option<i64>>>,
}

impl Hidden {
    /// The columns that are seen.
    pub fn visible<'a>(&self, columns: &'a [Column]) -> &'a [Column] {
        columns.get(..columns.len().saturating_sub(self.tables.len())).unwrap_or_default()
    }

    /// Takes away what is not to be seen.
    pub fn strip(&self, rows: Rows) -> Result<Rows> {
        if self.tables.is_empty() {
            return Ok(rows);
        }
        Ok(match rows {
            Rows::Batch(batch) => {
                let columns: Vec<usize> = (0..batch.num_columns().saturating_sub(self.tables.len())).collect();
                Rows::Batch(batch.project(&columns).map_err(|e| Error::internal(e.to_string()))?)
            }
            Rows::Tuples(mut rows) => {
                rows.iter_mut().for_each(|row| row.truncate(row.len().saturating_sub(self.tables.len())));
                Rows::Tuples(rows)
            }
        })
    }

    /// The cursor stands on the last of these rows.
    pub fn stand_on_last(&mut self, rows: &Rows) {
        let count = self.tables.len();
        self.current = match rows {
            Rows::Batch(batch) => batch.num_rows().checked_sub(1).and_then(|last| {
                let ids = batch.columns().get(batch.num_columns().checked_sub(count)?..)?;
                Some(
                    ids.iter()
                        .map(|ids| {
                            ids.as_primitive_opt::<Int64Type>()
                                .filter(|ids| !ids.is_null(last))
                                .map(|ids| ids.value(last))
                        })
                        .collect(),
                )
            }),
            Rows::Tuples(rows) => rows.last().and_then(|row| self.places(row)),
        };
    }

    pub fn stand_on(&mut self, row: Option<&Row>) {
        self.current = row.and_then(|row| self.places(row));
    }

    fn places(&self, row: &Row) -> Option<Vec<Option<i64>>> {
        let ids = row.get(row.len().checked_sub(self.tables.len())?..)?;
        let place = |value: &Datum| match value {
            Datum::Int8(id) => Some(*id),
            _ => None,
        };
        Some(ids.iter().map(place).collect())
    }
}

impl Session {
    /// A cursor's query with the places of its tables' rows behind its columns. `None`: its rows are not those of tables.
    pub(super) fn with_row_ids(&self, query: &Statement) -> Option<(Statement, Vec<Oid>)> {
        let Statement::Sql(statement) = query else { return None };
        let ast::Statement::Query(query) = &**statement else { return None };
        let mut query = query.clone();
        let locks = !query.locks.is_empty();
        // PostgreSQL finds no row below a sort either, unless the rows are locked.
        if query.order_by.is_some() && !locks {
            return None;
        }
        let ast::SetExpr::Select(select) = &mut *query.body else { return None };
        let ungrouped = matches!(&select.group_by, ast::GroupByExpr::Expressions(by, _) if by.is_empty());
        if query.with.is_some() || select.distinct.is_some() || !ungrouped || select.having.is_some() {
            return None;
        }
        let factors: Vec<&ast::TableFactor> = select
            .from
            .iter()
            .flat_map(|item| std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation)))
            .collect();
        if factors.is_empty() || factors.len() > 1 && !locks {
            return None;
        }
        let catalog = self.catalog();
        let path = self.search_path(&catalog);
        let (mut tables, mut items) = (Vec::new(), Vec::new());
        for factor in factors {
            let ast::TableFactor::Table { name, alias, args: None, .. } = factor else { continue };
            let (name, only) = only::split(name);
            let (schema, table) = object_name(&name).ok()?;
            let Some(Relation::Table(def)) = catalog.find_relation(schema.as_deref(), &table, &path) else { continue };
            if !only && !catalog.children(def.oid).is_empty() {
                return None;
            }
            let known_as = alias.as_ref().map_or(table, |alias| identifier(&alias.name));
            items.push(ast::SelectItem::UnnamedExpr(ast::Expr::CompoundIdentifier(vec![
                ast::Ident::with_quote('"', known_as),
                ast::Ident::with_quote('"', ROW_ID),
            ])));
            tables.push(def.oid);
        }
        if tables.is_empty() {
            return None;
        }
        select.projection.extend(items);
        Some((Statement::Sql(Box::new(ast::Statement::Query(query))), tables))
    }

    /// The row of a table that a cursor stands on; `None`: the null-extended side of a join has none.
    pub(crate) fn current_row(&self, name: &str, table: &TableDef) -> Result<Option<RowId>> {
        let error = |state, problem: String| Err(Error::new(state, format!("cursor \"{name}\" {problem}")));
        let portal: &Portal = self.portals.get(name).ok_or_else(|| no_cursor(name))?;
        let Some(cursor) = &portal.cursor else {
            return error(SqlState::InvalidCursorState, "is not a SELECT query".to_owned());
        };
        if cursor.held {
            return error(SqlState::InvalidCursorState, "is held from a previous transaction".to_owned());
        }
        let hidden = &cursor.hidden;
        let shown = &table.name;
        let locked = hidden.locked.iter().filter(|oid| **oid == table.oid).count();
        match (hidden.locked.is_empty(), locked, hidden.tables.as_slice()) {
            (false, 0, _) => {
                let problem = format!("does not have a FOR UPDATE/SHARE reference to table \"{shown}\"");
                return error(SqlState::InvalidCursorState, problem);
            }
            (false, 2.., _) => {
                let problem = format!("has multiple FOR UPDATE/SHARE references to table \"{shown}\"");
                return error(SqlState::InvalidCursorState, problem);
            }
            (true, _, [only]) if *only == table.oid => {}
            (false, ..) => {}
            _ => {
                let problem = format!("is not a simply updatable scan of table \"{shown}\"");
                return error(SqlState::InvalidCursorState, problem);
            }
        }
        let Some(places) = &hidden.current else {
            return error(SqlState::InvalidCursorState, "is not positioned on a row".to_owned());
        };
        let at = hidden.tables.iter().position(|oid| *oid == table.oid);
        Ok(at.and_then(|at| places.get(at).copied().flatten()).map(|id| RowId(id as u64)))
    }
}
