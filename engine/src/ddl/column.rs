//! Column definitions of CREATE TABLE and ADD COLUMN: types, SERIAL, IDENTITY, DEFAULT, NOT NULL, and the constraints
//! that were written beside the column.

use sqlparser::ast::{self, ColumnOption, DataType, GeneratedAs};

use super::constraint::Wanted;
use super::syntax::SequenceOptions;
use super::{DdlContext, expression, names, sequence};
use crate::catalog::{ColumnDef, Compression, Identity, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::sql::spellings::COMPRESSION_MARK;
use crate::txn::Transaction;
use crate::types::{PgType, TypeOid, names as type_names};

/// Columns that every table has in PostgreSQL and that no user column may be named after.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "cmax", "xmax", "cmin", "xmin", "ctid"];

/// A column with what else its definition asked for.
pub struct NewColumn {
    pub column: ColumnDef,
    pub constraints: Vec<Wanted>,
    /// A sequence to create and own: SERIAL (`false`) or IDENTITY (`true`).
    pub sequence: Option<(SequenceOptions, bool)>,
    /// `GENERATED ALWAYS AS (…) STORED`: bound when all columns of the table are known.
    pub generation: Option<ast::Expr>,
}

/// Reads one definition. `table` is what exists of the table so far, for messages and for CHECK.
pub fn define(
    def: &ast::ColumnDef,
    attnum: i16,
    table: &TableDef,
    tx: &Transaction,
    context: &mut DdlContext<'_>,
) -> Result<NewColumn> {
    let name = names::ident(&def.name);
    check_name(&name)?;
    let serial = serial_type(&def.data_type);
    let ty = match serial {
        Some(ty) => ty,
        None => expression::column_type(&def.data_type, &name, tx, context)?,
    };
    let mut new = NewColumn {
        column: blank(attnum, name, ty),
        constraints: Vec::new(),
        sequence: serial.map(|_| (SequenceOptions::default(), false)),
        generation: None,
    };
    if serial.is_none() {
        new.column.domain = expression::column_domain(&def.data_type, tx, context)?;
        new.column.collation = super::collation::of_domain(new.column.domain, &tx.catalog());
    }
    new.column.not_null = serial.is_some();
    let mut nullable = false;
    for option in &def.options {
        let given = option.name.as_ref().map(names::ident);
        apply(&option.option, given, &mut new, &mut nullable, table, tx, context)?;
    }
    if nullable && (new.column.not_null || new.constraints.iter().any(Wanted::is_primary_key)) {
        return Err(conflict("conflicting NULL/NOT NULL declarations", &new, table));
    }
    Ok(new)
}

pub fn blank(attnum: i16, name: String, ty: PgType) -> ColumnDef {
    ColumnDef {
        attnum,
        name,
        ty,
        domain: None,
        not_null: false,
        collation: None,
        default: None,
        identity: None,
        generated: false,
        dropped: false,
        missing: None,
        compression: None,
        missing_text: None,
        comment: None,
    }
}

pub fn is_system(name: &str) -> bool {
    SYSTEM_COLUMNS.contains(&name)
}

/// 42P16 for a type that no column can have.
pub fn check_type(name: &str, ty: PgType) -> Result<()> {
    if crate::types::names::row(ty.oid).is_some_and(|t| t.kind == b'p') {
        let message = format!("column \"{name}\" has pseudo-type {}", crate::system::deparse::type_name(ty));
        return Err(Error::new(SqlState::InvalidTableDefinition, message));
    }
    Ok(())
}

pub fn check_name(name: &str) -> Result<()> {
    if is_system(name) {
        return Err(Error::new(
            SqlState::DuplicateColumn,
            format!("column name \"{name}\" conflicts with a system column name"),
        ));
    }
    Ok(())
}

fn conflict(what: &str, new: &NewColumn, table: &TableDef) -> Error {
    let message = format!("{what} for column \"{}\" of table \"{}\"", new.column.name, table.name);
    Error::new(SqlState::SyntaxError, message)
}

fn apply(
    option: &ColumnOption,
    name: Option<String>,
    new: &mut NewColumn,
    nullable: &mut bool,
    table: &TableDef,
    tx: &Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let column = new.column.name.clone();
    match option {
        ColumnOption::Null => {
            if new.sequence.is_some() {
                return Err(conflict("conflicting NULL/NOT NULL declarations", new, table));
            }
            *nullable = true;
        }
        ColumnOption::NotNull => new.column.not_null = true,
        ColumnOption::Default(expr) => {
            if let Some((_, identity)) = &new.sequence {
                let what =
                    if *identity { "both default and identity specified" } else { "multiple default values specified" };
                return Err(conflict(what, new, table));
            }
            if new.column.default.is_some() {
                return Err(conflict("multiple default values specified", new, table));
            }
            if new.generation.is_some() {
                return Err(conflict("both default and generation expression specified", new, table));
            }
            new.column.default = expression::default(expr, &column, new.column.ty, tx, context)?;
        }
        ColumnOption::PrimaryKey(key) => {
            new.constraints.push(Wanted::key(name, true, vec![column], &key.characteristics)?)
        }
        ColumnOption::Unique(key) => {
            new.constraints.push(Wanted::unique(name, vec![column], key)?);
        }
        ColumnOption::Check(check) => new.constraints.push(Wanted::Check {
            name: name.or_else(|| check.name.as_ref().map(names::ident)),
            expr: check.expr.clone(),
            no_inherit: check.enforced.is_some(),
        }),
        ColumnOption::ForeignKey(key) => new.constraints.push(Wanted::foreign_key(name, key, Some(column))?),
        ColumnOption::Generated {
            generated_as: generated_as @ (GeneratedAs::Always | GeneratedAs::ByDefault),
            sequence_options,
            generation_expr: None,
            ..
        } => {
            if !matches!(new.column.ty.oid, TypeOid::INT2 | TypeOid::INT4 | TypeOid::INT8) {
                return Err(Error::new(
                    SqlState::InvalidParameterValue,
                    "identity column type must be smallint, integer, or bigint",
                ));
            }
            if new.sequence.is_some() || new.column.default.is_some() {
                return Err(conflict("both default and identity specified", new, table));
            }
            if new.generation.is_some() {
                return Err(conflict("both identity and generation expression specified", new, table));
            }
            let options = SequenceOptions::from_ast(sequence_options.as_deref().unwrap_or_default())?;
            new.sequence = Some((options, true));
            new.column.not_null = true;
            new.column.identity = Some(identity(generated_as));
        }
        ColumnOption::Generated {
            generation_expr: Some(expr),
            generation_expr_mode: Some(ast::GeneratedExpressionMode::Stored),
            generated_keyword: true,
            ..
        } => {
            if new.sequence.is_some() {
                return Err(conflict("both identity and generation expression specified", new, table));
            }
            if new.column.default.is_some() {
                return Err(conflict("both default and generation expression specified", new, table));
            }
            if new.generation.is_some() {
                return Err(conflict("multiple generation clauses specified", new, table));
            }
            new.generation = Some(expr.clone());
            new.column.generated = true;
        }
        ColumnOption::Generated { .. } => {
            return Err(Error::new(SqlState::SyntaxError, "a generated column must be GENERATED ALWAYS AS (…) STORED"));
        }
        ColumnOption::Collation(name) if compression_of(name).is_some() => {
            let method = compression_of(name).unwrap_or_default();
            new.column.compression = compression(method, &new.column, context)?;
        }
        ColumnOption::Collation(collation) => {
            new.column.collation = super::collation::chosen(collation, new.column.ty, tx, context)?;
        }
        other => return Err(Error::unsupported(format!("column option {other}"))),
    }
    Ok(())
}

/// The method that the mark of COMPRESSION holds.
fn compression_of(collation: &ast::ObjectName) -> Option<&str> {
    collation.0.first()?.as_ident()?.value.strip_prefix(COMPRESSION_MARK)
}

/// What COMPRESSION gives to a column (0A000, 22023); `None`: the default.
pub fn compression(method: &str, column: &ColumnDef, context: &mut DdlContext<'_>) -> Result<Option<Compression>> {
    if method == "default" {
        return Ok(None);
    }
    if type_names::layout(column.ty.oid).is_some_and(|layout| layout.storage == b'p') {
        let message =
            format!("column data type {} does not support compression", crate::system::deparse::type_name(column.ty));
        return Err(Error::new(SqlState::FeatureNotSupported, message));
    }
    let unknown = || Error::new(SqlState::InvalidParameterValue, format!("invalid compression method \"{method}\""));
    let found = Compression::from_name(method).ok_or_else(unknown)?;
    context.notice(SqlState::SuccessfulCompletion, no_consequence("COMPRESSION", &column.name));
    Ok(Some(found))
}

/// What is said of a property that is kept and does nothing.
pub fn no_consequence(what: &str, column: &str) -> String {
    format!("{what} of column \"{column}\" is of no consequence: rows lie in memory")
}

/// Gives a column of `table`, which has all its columns, its generation expression.
pub fn set_generation(
    table: &mut TableDef,
    attnum: i16,
    expr: &ast::Expr,
    tx: &Transaction,
    context: &DdlContext<'_>,
) -> Result<()> {
    let place = "column generation expressions";
    let at = table.columns.iter().position(|c| c.attnum == attnum);
    let Some(at) = at else { return Err(Error::internal("a generated column is missing")) };
    let (name, ty) = (table.columns[at].name.clone(), table.columns[at].ty);
    let mut binder = expression::binder(context.source.clone(), tx, context).without_parameters();
    let scope = binder.table_scope(table, None);
    binder.set_clause(place);
    let bound = binder.bind_assignment(expr, &scope, &name, ty)?;
    expression::refuse_queries(&bound, place)?;
    for read in crate::system::deparse::columns(&bound, &scope) {
        let generated = table.attribute(read).is_some_and(|c| c.generated || c.attnum == attnum);
        if let (true, Some(other)) = (generated, table.attribute(read)) {
            let message = format!("cannot use generated column \"{}\" in column generation expression", other.name);
            return Err(Error::new(SqlState::InvalidObjectDefinition, message)
                .detail("A generated column cannot reference another generated column."));
        }
    }
    if !expression::is_immutable(&bound) {
        return Err(Error::new(SqlState::InvalidObjectDefinition, "generation expression is not immutable"));
    }
    let text = crate::system::deparse::stored(&bound, &scope)?;
    table.columns[at].default = Some(text);
    Ok(())
}

pub fn identity(generated: &GeneratedAs) -> Identity {
    match generated {
        GeneratedAs::ByDefault => Identity::ByDefault,
        _ => Identity::Always,
    }
}

/// SERIAL and its sizes: an integer with a sequence.
fn serial_type(ty: &DataType) -> Option<PgType> {
    let DataType::Custom(name, modifiers) = ty else {
        return None;
    };
    if !modifiers.is_empty() || name.0.len() != 1 {
        return None;
    }
    let oid = match name.to_string().to_lowercase().as_str() {
        "serial" | "serial4" => TypeOid::INT4,
        "bigserial" | "serial8" => TypeOid::INT8,
        "smallserial" | "serial2" => TypeOid::INT2,
        _ => return None,
    };
    Some(oid.into())
}

/// Gives a column of `table` its sequence, and the default that calls it unless it is an identity column.
pub fn create_sequence(
    table: &TableDef,
    column: &mut ColumnDef,
    options: &SequenceOptions,
    tx: &mut Transaction,
) -> Result<()> {
    let sequence = sequence::create_owned(table, (column.attnum, &column.name), column.ty, options, tx)?;
    if column.identity.is_none() {
        column.default = Some(format!("nextval('{}'::regclass)", sequence.oid.0));
    }
    Ok(())
}
