//! CREATE TABLE, with LIKE and AS, and storage parameters.

use std::sync::Arc;

use sqlparser::ast::{self, CreateTable, CreateTableLikeKind, CreateTableOptions, SqlOption};

use super::column::{self, NewColumn};
use super::constraint::{self, Wanted};
use super::inherit::Merging;
use super::like::{self, Including};
use super::names::{self, Name};
use super::temporary::creation_schema;
use super::{DdlContext, allocate_many, name_is_free, privilege, put_table, strategy};
use crate::catalog::{IndexMethod, Inheritance, Oid, Persistence, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::session::Column;
use crate::sql::rewrite::LIKE_MARK;
use crate::txn::{OnCommit, Transaction};
use crate::types::user::row_type;

/// Most columns of a table, as in PostgreSQL.
const MOST_COLUMNS: usize = 1600;

pub async fn create(create: &CreateTable, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    let tag = "CREATE TABLE".to_owned();
    check_supported(create)?;
    if create.query.is_some() {
        return Err(Error::internal("CREATE TABLE AS is run by the session"));
    }
    let Some(mut table) = blank(create, tx, context).await? else {
        return Ok(tag);
    };
    let mut constraints = Vec::new();
    let mut sequences = Vec::new();
    let mut generations = Vec::new();
    let mut likes = Vec::new();
    let names = create.columns.iter().map(|c| names::ident(&c.name));
    let written: Vec<String> = names.filter(|name| !name.starts_with(LIKE_MARK)).collect();
    if let Some(at) = (1..written.len()).find(|at| written[..*at].contains(&written[*at])) {
        let message = format!("column \"{}\" specified more than once", written[at]);
        return Err(Error::new(SqlState::DuplicateColumn, message));
    }
    let parents = create.inherits.as_deref().unwrap_or_default();
    let mut merging = Merging::begin(parents, &mut table, tx, context).await?;
    if let Some(CreateTableLikeKind::Parenthesized(like) | CreateTableLikeKind::Plain(like)) = &create.like {
        let including = like.defaults.as_ref().map_or("", |d| match d {
            ast::CreateTableLikeDefaults::Including => "including defaults",
            ast::CreateTableLikeDefaults::Excluding => "",
        });
        let (name, including) = (Name::new(&like.name, &tx.catalog())?, Including::parse(including)?);
        let (c, s) = (&mut constraints, &mut sequences);
        likes.extend(like::copy_columns(&mut table, &mut merging, &name, including, c, s, tx, context)?);
    }
    for def in &create.columns {
        if let Some(like) = def.name.value.strip_prefix(LIKE_MARK) {
            let (name, including) = like.split_once(LIKE_MARK).unwrap_or((like, ""));
            let (name, including) = (like_name(name, tx)?, Including::parse(including)?);
            let (c, s) = (&mut constraints, &mut sequences);
            likes.extend(like::copy_columns(&mut table, &mut merging, &name, including, c, s, tx, context)?);
            continue;
        }
        let attnum = next_attnum(&table)?;
        let mut new = column::define(def, attnum, &table, tx, context)?;
        merging.add(&mut table, &mut new, &tx.catalog(), context)?;
        take_rest(new, &mut constraints, &mut sequences, &mut generations);
    }
    merging.finish(&table)?;
    for (attnum, expr) in &generations {
        column::set_generation(&mut table, *attnum, expr, tx, context)?;
    }
    for written in &create.constraints {
        constraints.push(Wanted::from_ast(written)?);
    }
    for (attnum, options) in &sequences {
        let shape = table.clone();
        let column = table.columns.iter_mut().find(|c| c.attnum == *attnum);
        let column = column.ok_or_else(|| Error::internal("a column is missing"))?;
        column::create_sequence(&shape, column, options, tx)?;
    }
    // Foreign keys last: they may reference the keys of their own table.
    let (foreign, own): (Vec<Wanted>, Vec<Wanted>) = constraints.into_iter().partition(Wanted::is_foreign_key);
    let (keys, checks): (Vec<Wanted>, Vec<Wanted>) =
        own.into_iter().partition(|w| matches!(w, Wanted::Key { .. } | Wanted::UsingIndex { .. }));
    for wanted in checks.iter().chain(&keys).chain(&foreign) {
        constraint::add(&mut table, wanted, tx, context).await?;
    }
    for like in &likes {
        like.finish(&mut table, tx)?;
    }
    let oid = table.oid;
    put_table(tx, table)?;
    on_commit(oid, create, tx)?;
    Ok(tag)
}

/// The relation that LIKE names.
fn like_name(text: &str, tx: &Transaction) -> Result<Name> {
    let sqlparser::ast::Expr::Identifier(one) = crate::sql::parse::parse_expression(text)?.0 else {
        let sqlparser::ast::Expr::CompoundIdentifier(parts) = crate::sql::parse::parse_expression(text)?.0 else {
            return Err(Error::new(SqlState::SyntaxError, format!("invalid name: {text}")));
        };
        return Name::new(&ast::ObjectName::from(parts), &tx.catalog());
    };
    Name::new(&ast::ObjectName::from(vec![one]), &tx.catalog())
}

/// What a temporary table does at the end of each transaction.
fn on_commit(table: Oid, create: &CreateTable, tx: &mut Transaction) -> Result<()> {
    let action = match create.on_commit {
        None | Some(ast::OnCommit::PreserveRows) => return Ok(()),
        Some(ast::OnCommit::DeleteRows) => OnCommit::DeleteRows,
        Some(ast::OnCommit::Drop) => OnCommit::Drop,
    };
    tx.on_commit(table, Some(action))
}

/// CREATE TABLE AS: makes the empty table for the columns that the query returns, which the caller then fills.
/// `None`: it exists and IF NOT EXISTS was said.
pub async fn create_table_as(
    create: &CreateTable,
    columns: &[Column],
    collations: &[(usize, Option<Oid>)],
    domains: &[(usize, Oid)],
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<Option<Oid>> {
    tx.make_temporary(false);
    if !super::temporary::makes_temporary(&sqlparser::ast::Statement::CreateTable(create.clone())) {
        tx.begin_ddl().await?;
    }
    check_supported(create)?;
    let Some(mut table) = blank(create, tx, context).await? else {
        return Ok(None);
    };
    if create.columns.len() > columns.len() {
        return Err(Error::new(SqlState::SyntaxError, "too many column names were specified"));
    }
    for (i, source) in columns.iter().enumerate() {
        let given = create.columns.get(i).map(|c| names::ident(&c.name));
        let name = given.unwrap_or_else(|| source.name.clone());
        column::check_name(&name)?;
        let mut ty = source.ty;
        if ty.oid == crate::types::TypeOid::UNKNOWN {
            ty = crate::types::TypeOid::TEXT.into();
        }
        column::check_type(&name, ty)?;
        let mut column = column::blank(next_attnum(&table)?, name, ty);
        column.domain = domains.iter().find(|(at, _)| *at == i).map(|(_, domain)| *domain);
        if let Some((_, derived)) = collations.iter().find(|(at, _)| *at == i) {
            let underived = || {
                let shown = crate::system::deparse::type_name(ty);
                let message =
                    format!("no collation was derived for column \"{}\" with collatable type {shown}", column.name);
                Error::new(SqlState::IndeterminateCollation, message)
                    .hint("Use the COLLATE clause to set the collation explicitly.")
            };
            column.collation = Some(derived.ok_or_else(underived)?);
        }
        if table.column(&column.name).is_some() {
            let message = format!("column \"{}\" specified more than once", column.name);
            return Err(Error::new(SqlState::DuplicateColumn, message));
        }
        table.columns.push(column);
    }
    let oid = table.oid;
    put_table(tx, table)?;
    on_commit(oid, create, tx)?;
    Ok(Some(oid))
}

/// The table without columns. `None`: the name is taken and IF NOT EXISTS was said.
async fn blank(create: &CreateTable, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<Option<TableDef>> {
    let mut name = Name::new(&create.name, &tx.catalog())?;
    let schema = creation_schema(&mut name, create.temporary, tx, context)?;
    let catalog = tx.catalog();
    let temporary = schema.is_temporary();
    if create.global == Some(true) {
        let warning = Error::new(SqlState::Warning, "GLOBAL is deprecated in temporary table creation");
        context.report(crate::error::NoticeLevel::Warning, warning);
    }
    if create.on_commit.is_some() && !temporary {
        return Err(Error::new(SqlState::InvalidTableDefinition, "ON COMMIT can only be used on temporary tables"));
    }
    privilege::check_create(&catalog, context.user, schema)?;
    if !name_is_free(tx, schema, &name.name, create.if_not_exists, context)? {
        strategy::place_existing(&create.name, &create.table_options, tx, context).await?;
        return Ok(None);
    }
    let options = storage_options(&table_options(&create.table_options)?, OptionsOf::Table)?;
    let oid = allocate_many(tx, 3)?;
    if !temporary {
        strategy::place_new(oid, &create.table_options, tx, context)?;
    }
    Ok(Some(TableDef {
        oid,
        schema,
        name: name.name,
        owner: context.user,
        storage: oid,
        columns: Vec::new(),
        indexes: Vec::new(),
        constraints: Vec::new(),
        row_type: row_type(oid),
        materialized: None,
        persistence: match (temporary, create.transient) {
            (true, _) => Persistence::Temporary,
            // See `sql::rewrite`: sqlparser knows no UNLOGGED.
            (false, true) => Persistence::Unlogged,
            (false, false) => Persistence::Permanent,
        },
        options,
        comment: None,
        inheritance: Inheritance::default(),
    }))
}

fn check_supported(create: &CreateTable) -> Result<()> {
    let c = create;
    let refused = [
        (c.or_replace, "CREATE OR REPLACE TABLE"),
        (c.external, "CREATE EXTERNAL TABLE"),
        (c.partition_by.is_some() || c.partition_of.is_some() || c.for_values.is_some(), "declarative partitioning"),
        (c.clone.is_some() || c.version.is_some() || c.comment.is_some(), "this form of CREATE TABLE"),
        (c.order_by.is_some() || c.cluster_by.is_some() || c.clustered_by.is_some(), "this form of CREATE TABLE"),
        (c.volatile || c.iceberg || c.dynamic || c.snapshot, "this form of CREATE TABLE"),
        (c.strict || c.without_rowid || c.file_format.is_some() || c.location.is_some(), "this form of CREATE TABLE"),
    ];
    match refused.iter().find(|(asked, _)| *asked) {
        Some((_, what)) => Err(Error::unsupported(what)),
        None => Ok(()),
    }
}

pub fn next_attnum(table: &TableDef) -> Result<i16> {
    if table.columns.len() >= MOST_COLUMNS {
        return Err(Error::new(SqlState::TooManyColumns, format!("tables can have at most {MOST_COLUMNS} columns")));
    }
    Ok(table.columns.len() as i16 + 1)
}

/// What else the definition of a column asks for, when the table has the column.
pub fn take_rest(
    new: NewColumn,
    constraints: &mut Vec<Wanted>,
    sequences: &mut Vec<(i16, super::syntax::SequenceOptions)>,
    generations: &mut Vec<(i16, ast::Expr)>,
) {
    sequences.extend(new.sequence.map(|(options, _)| (new.column.attnum, options)));
    constraints.extend(new.constraints);
    generations.extend(new.generation.map(|expr| (new.column.attnum, expr)));
}

/// Options as lower-case name and value; TABLESPACE is checked here.
pub fn table_options(options: &CreateTableOptions) -> Result<Vec<(String, String)>> {
    match options {
        CreateTableOptions::None => Ok(Vec::new()),
        CreateTableOptions::With(options) | CreateTableOptions::Plain(options) => {
            plain_options(&strategy::without_mark(options))
        }
        other => Err(Error::unsupported(format!("table option {other}"))),
    }
}

pub fn plain_options(options: &[SqlOption]) -> Result<Vec<(String, String)>> {
    let mut out = Vec::new();
    for option in options {
        match option {
            SqlOption::KeyValue { key, value } => {
                out.push((names::ident(key), value.to_string().trim_matches('\'').to_lowercase()));
            }
            SqlOption::Ident(key) => out.push((names::ident(key), "true".to_owned())),
            SqlOption::TableSpace(space) if matches!(space.name.as_str(), "pg_default") => {}
            SqlOption::TableSpace(space) => {
                return Err(Error::new(
                    SqlState::UndefinedObject,
                    format!("tablespace \"{}\" does not exist", space.name),
                ));
            }
            other => return Err(Error::unsupported(format!("table option {other}"))),
        }
    }
    Ok(out)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionsOf {
    Table,
    Index(IndexMethod),
}

/// Storage parameters, checked against those that PostgreSQL knows. They are kept and shown (`\d+`); rows lie in memory, so
/// that how full a page is and when it is vacuumed means nothing here.
pub fn storage_options(options: &[(String, String)], of: OptionsOf) -> Result<Vec<(String, String)>> {
    let mut kept: Vec<(String, String)> = Vec::new();
    for (name, value) in options {
        let known = match of {
            OptionsOf::Table => {
                matches!(name.as_str(), "fillfactor" | "parallel_workers" | "toast_tuple_target" | "user_catalog_table")
                    || name.starts_with("autovacuum_")
                    || name.starts_with("toast.autovacuum_")
                    || name.starts_with("vacuum_")
            }
            OptionsOf::Index(IndexMethod::Btree) => matches!(name.as_str(), "fillfactor" | "deduplicate_items"),
            OptionsOf::Index(IndexMethod::Gist) => matches!(name.as_str(), "fillfactor" | "buffering"),
            OptionsOf::Index(IndexMethod::Hash | IndexMethod::SpGist) => name == "fillfactor",
            OptionsOf::Index(IndexMethod::Gin) => matches!(name.as_str(), "fastupdate" | "gin_pending_list_limit"),
            OptionsOf::Index(IndexMethod::Brin) => matches!(name.as_str(), "pages_per_range" | "autosummarize"),
        };
        match (name.as_str(), value.as_str()) {
            ("oids", "false") if of == OptionsOf::Table => continue,
            ("oids", _) if of == OptionsOf::Table => {
                return Err(Error::new(SqlState::FeatureNotSupported, "tables declared WITH OIDS are not supported"));
            }
            _ if !known => {
                return Err(Error::new(SqlState::InvalidParameterValue, format!("unrecognized parameter \"{name}\"")));
            }
            ("fillfactor", value) => check_fillfactor(value)?,
            _ => {}
        }
        if kept.iter().any(|(n, _)| n == name) {
            return Err(Error::new(
                SqlState::InvalidParameterValue,
                format!("parameter \"{name}\" specified more than once"),
            ));
        }
        kept.push((name.clone(), value.clone()));
    }
    Ok(kept)
}

fn check_fillfactor(value: &str) -> Result<()> {
    match value.parse::<i64>() {
        Ok(10..=100) => Ok(()),
        Ok(_) => Err(Error::new(
            SqlState::InvalidParameterValue,
            format!("value {value} out of bounds for option \"fillfactor\""),
        )
        .detail("Valid values are between \"10\" and \"100\".")),
        Err(_) => Err(Error::new(
            SqlState::InvalidParameterValue,
            format!("invalid value for integer option \"fillfactor\": {value}"),
        )),
    }
}

/// The definition behind an `Arc`, to change.
pub fn editable(table: &Arc<TableDef>) -> TableDef {
    (**table).clone()
}
