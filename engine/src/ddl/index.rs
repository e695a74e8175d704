//! CREATE INDEX, and what all indexes share: which columns they may have, names, the check for duplicates.

use std::sync::Arc;

use sqlparser::ast::{self, CreateIndex, Expr, IndexType};

use super::names::{self, Name, choose, joined};
use super::{DdlContext, allocate, name_is_free, open_table, put_table};
use crate::catalog::{IndexColumn, IndexDef, Oid, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::system::deparse::type_name;
use crate::txn::{TableLock, Transaction};
use crate::types::{Datum, PgType, TypeOid, text};

/// Most columns of an index, as in PostgreSQL.
const MOST_COLUMNS: usize = 32;

pub async fn create(create: &CreateIndex, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    let tag = "CREATE INDEX".to_owned();
    check_supported(create)?;
    let hash = uses_hash(create)?;
    let table_name = Name::new(&create.table_name, &tx.catalog())?;
    let table = open_table(&table_name, false, TableLock::Share, tx, context).await?;
    let Some(table) = table else {
        return Ok(tag);
    };
    let mut table = (*table).clone();
    let columns = columns(create, &table)?;
    let attnums: Vec<i16> = columns.iter().map(|c| c.attnum).collect();
    check_columns(&table, &attnums)?;
    if hash && columns.len() > 1 {
        return Err(Error::new(
            SqlState::FeatureNotSupported,
            "access method \"hash\" does not support multicolumn indexes",
        ));
    }
    if hash && create.unique {
        return Err(Error::new(
            SqlState::FeatureNotSupported,
            "access method \"hash\" does not support unique indexes",
        ));
    }
    let name = match &create.name {
        Some(name) => {
            let name = Name::new(name, &tx.catalog())?.name;
            if !name_is_free(tx, table.schema, &name, create.if_not_exists, context)? {
                return Ok(tag);
            }
            name
        }
        None => {
            let names = attnums.iter().filter_map(|a| table.attribute(*a)).map(|c| c.name.as_str());
            choose_name(&table, Some(&joined(names)), "idx", tx)
        }
    };
    let options = super::table::storage_options(&with_options(&create.with)?, super::table::OptionsOf::Index)?;
    let index = IndexDef {
        oid: allocate(tx)?,
        name,
        table: table.oid,
        columns,
        unique: create.unique,
        primary: false,
        hash,
        options,
        comment: None,
    };
    if create.unique {
        validate_unique(&table, &index, tx, context)?;
    }
    table.indexes.push(Arc::new(index));
    put_table(tx, table)?;
    Ok(tag)
}

fn check_supported(create: &CreateIndex) -> Result<()> {
    if create.predicate.is_some() {
        return Err(Error::unsupported("a partial index"));
    }
    if !create.include.is_empty() {
        return Err(Error::unsupported("CREATE INDEX with INCLUDE"));
    }
    if create.nulls_distinct == Some(false) {
        return Err(Error::unsupported("CREATE INDEX with NULLS NOT DISTINCT"));
    }
    if !create.index_options.is_empty() || !create.alter_options.is_empty() {
        return Err(Error::unsupported("CREATE INDEX with these options"));
    }
    Ok(())
}

fn uses_hash(create: &CreateIndex) -> Result<bool> {
    match &create.using {
        None | Some(IndexType::BTree) => Ok(false),
        Some(IndexType::Hash) => Ok(true),
        Some(other @ (IndexType::GIN | IndexType::GiST | IndexType::SPGiST | IndexType::BRIN)) => {
            Err(Error::unsupported(format!("index access method \"{}\"", other.to_string().to_lowercase())))
        }
        Some(other) => Err(Error::new(
            SqlState::UndefinedObject,
            format!("access method \"{}\" does not exist", other.to_string().to_lowercase()),
        )),
    }
}

fn columns(create: &CreateIndex, table: &TableDef) -> Result<Vec<IndexColumn>> {
    let mut columns = Vec::with_capacity(create.columns.len());
    for written in &create.columns {
        let name = match plain_column(&written.column.expr) {
            Ok(name) => name,
            Err(_) => return Err(Error::unsupported("an index on an expression")),
        };
        let column = table
            .column(&name)
            .ok_or_else(|| Error::new(SqlState::UndefinedColumn, format!("column \"{name}\" does not exist")))?;
        if let Some(class) = &written.operator_class {
            check_operator_class(&class.to_string(), column.ty)?;
        }
        let descending = written.column.options.asc == Some(false);
        columns.push(IndexColumn {
            attnum: column.attnum,
            descending,
            nulls_first: written.column.options.nulls_first.unwrap_or(descending),
        });
    }
    Ok(columns)
}

/// Strings are ordered by their bytes, so the pattern classes are the default ones.
fn check_operator_class(class: &str, ty: PgType) -> Result<()> {
    let class = class.to_lowercase();
    let class = class.strip_prefix("pg_catalog.").unwrap_or(&class);
    let string = matches!(ty.oid, TypeOid::TEXT | TypeOid::VARCHAR | TypeOid::BPCHAR);
    let base = crate::types::names::row(ty.oid).map_or("", |t| t.name);
    let default = class.strip_suffix("_ops").is_some_and(|c| c == base);
    let pattern = matches!(class, "text_pattern_ops" | "varchar_pattern_ops" | "bpchar_pattern_ops" | "text_ops");
    if default || (string && pattern) {
        return Ok(());
    }
    Err(Error::unsupported(format!("operator class \"{class}\"")))
}

/// The column that an expression is; an error for anything else.
pub fn plain_column(expr: &Expr) -> Result<String> {
    match expr {
        Expr::Identifier(name) => Ok(names::ident(name)),
        other => Err(Error::new(SqlState::SyntaxError, format!("a column name was expected, not {other}"))),
    }
}

/// Columns of an index: few enough, and of types that have an order.
pub fn check_columns(table: &TableDef, attnums: &[i16]) -> Result<()> {
    if attnums.len() > MOST_COLUMNS {
        return Err(Error::new(
            SqlState::TooManyColumns,
            format!("cannot use more than {MOST_COLUMNS} columns in an index"),
        ));
    }
    for column in attnums.iter().filter_map(|a| table.attribute(*a)) {
        if matches!(column.ty.oid, TypeOid::JSON | TypeOid::XML) {
            return Err(Error::new(
                SqlState::UndefinedObject,
                format!(
                    "data type {} has no default operator class for access method \"btree\"",
                    type_name(column.ty)
                ),
            )
            .hint("You must specify an operator class for the index or define a default operator class for the data type."));
        }
    }
    Ok(())
}

/// `table_columns_label`, numbered until it is free.
pub fn choose_name(table: &TableDef, columns: Option<&str>, label: &str, tx: &Transaction) -> String {
    let catalog = tx.catalog();
    choose(&table.name, columns, label, |name| {
        table.name == name
            || table.indexes.iter().any(|i| i.name == name)
            || names::is_taken(&catalog, table.schema, name)
    })
}

/// 23505 if rows of the stored table have equal keys.
pub fn validate_unique(
    table: &TableDef,
    index: &IndexDef,
    tx: &mut Transaction,
    context: &DdlContext<'_>,
) -> Result<()> {
    let attnums: Vec<i16> = index.attnums().collect();
    let Some(stored) = tx.table(table.oid) else {
        return Ok(());
    };
    let Some(row) = tx.find_duplicate(&stored, &attnums)? else {
        return Ok(());
    };
    let columns: Vec<_> = attnums.iter().filter_map(|a| table.attribute(*a)).collect();
    let value = |attnum: i16| usize::try_from(attnum - 1).ok().and_then(|i| row.get(i)).unwrap_or(&Datum::Null);
    let texts: Vec<String> =
        columns.iter().map(|c| text::to_string(value(c.attnum), c.ty, &context.eval.format)).collect();
    let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
    Err(Error::new(SqlState::UniqueViolation, format!("could not create unique index \"{}\"", index.name))
        .detail(format!("Key ({})=({}) is duplicated.", names.join(", "), texts.join(", ")))
        .table(tx.catalog().schema_name(table.schema), &table.name)
        .constraint(&index.name))
}

/// Takes an index out of its table; the OID of the table.
pub fn remove(index: Oid, tx: &mut Transaction) -> Result<()> {
    let catalog = tx.catalog();
    let Some(table) = catalog.index_table(index) else {
        return Ok(());
    };
    let mut table = (**table).clone();
    table.indexes.retain(|i| i.oid != index);
    put_table(tx, table)
}

fn with_options(with: &[Expr]) -> Result<Vec<(String, String)>> {
    let option = |expr: &Expr| match expr {
        Expr::BinaryOp { left, op: ast::BinaryOperator::Eq, right } => {
            Ok((left.to_string().to_lowercase(), right.to_string().trim_matches('\'').to_lowercase()))
        }
        Expr::Identifier(name) => Ok((names::ident(name), "true".to_owned())),
        other => Err(Error::new(SqlState::SyntaxError, format!("invalid index option {other}"))),
    };
    with.iter().map(option).collect()
}
