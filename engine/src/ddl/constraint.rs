//! PRIMARY KEY, UNIQUE, CHECK and FOREIGN KEY: from what was written to definitions, with PostgreSQL's names, and the
//! check of rows that are already there.

use std::borrow::Cow;
use std::sync::Arc;

use sqlparser::ast::{
    ConstraintCharacteristics, ConstraintReferenceMatchKind, Expr, ForeignKeyConstraint, Ident,
    IndexColumn as KeyColumn, NullsDistinctOption, ObjectName, ReferentialAction as Action, TableConstraint,
    UniqueConstraint,
};

use super::inherit::{self, Meeting};
use super::names::{self, Name, choose, joined};
use super::{DdlContext, allocate, expression, index, lock, privilege};
use crate::catalog::{
    Catalog, ConstraintDef, ConstraintKind, ForeignKey, IndexColumn, IndexDef, IndexMethod, Oid, Persistence,
    ReferentialAction, Relation, TableDef,
};
use crate::error::{Error, Result, SqlState};
use crate::sql::key_details::{self, KeyDetails};
use crate::storage::IndexRange;
use crate::system::deparse::type_name;
use crate::txn::{TableLock, Transaction};
use crate::types::equal::{comparable, equal_values};
use crate::types::{Datum, PgType, TypeOid, text};

/// A constraint that a statement asks for.
pub enum Wanted {
    Key {
        name: Option<String>,
        primary: bool,
        columns: Vec<String>,
        nulls_not_distinct: bool,
        timing: Timing,
        details: KeyDetails,
    },
    /// A constraint from an index that is there.
    UsingIndex {
        name: Option<String>,
        primary: bool,
        index: String,
        timing: Timing,
    },
    Check {
        name: Option<String>,
        expr: Box<Expr>,
        /// No child gets it: see `sql::spellings`.
        no_inherit: bool,
    },
    ForeignKey(WantedForeignKey),
}

/// When a constraint is checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timing {
    deferrable: bool,
    deferred: bool,
}

pub struct WantedForeignKey {
    name: Option<String>,
    columns: Vec<String>,
    table: ObjectName,
    referenced: Vec<String>,
    on_delete: ReferentialAction,
    on_update: ReferentialAction,
    match_full: bool,
    timing: Timing,
    set_columns: Vec<String>,
}

impl Wanted {
    pub fn is_primary_key(&self) -> bool {
        matches!(self, Wanted::Key { primary: true, .. } | Wanted::UsingIndex { primary: true, .. })
    }

    pub fn is_foreign_key(&self) -> bool {
        matches!(self, Wanted::ForeignKey(_))
    }

    pub fn key(
        name: Option<String>,
        primary: bool,
        columns: Vec<String>,
        characteristics: &Option<ConstraintCharacteristics>,
    ) -> Result<Wanted> {
        let timing = timing(characteristics)?;
        let details = KeyDetails::default();
        Ok(Wanted::Key { name, primary, columns, nulls_not_distinct: false, timing, details })
    }

    /// UNIQUE.
    pub fn unique(name: Option<String>, columns: Vec<String>, key: &UniqueConstraint) -> Result<Wanted> {
        let nulls_not_distinct = key.nulls_distinct == NullsDistinctOption::NotDistinct;
        let timing = timing(&key.characteristics)?;
        let details = details(key.index_name.as_ref())?;
        Ok(Wanted::Key { name, primary: false, columns, nulls_not_distinct, timing, details })
    }

    /// `column`: the column that the constraint was written beside.
    pub fn foreign_key(name: Option<String>, key: &ForeignKeyConstraint, column: Option<String>) -> Result<Wanted> {
        let timing = timing(&key.characteristics)?;
        let match_full = match key.match_kind {
            None | Some(ConstraintReferenceMatchKind::Simple) => false,
            Some(ConstraintReferenceMatchKind::Full) => true,
            Some(ConstraintReferenceMatchKind::Partial) => return Err(Error::unsupported("MATCH PARTIAL")),
        };
        Ok(Wanted::ForeignKey(WantedForeignKey {
            name: name.or_else(|| key.name.as_ref().map(names::ident)),
            columns: column.map_or_else(|| idents(&key.columns), |c| vec![c]),
            table: key.foreign_table.clone(),
            referenced: idents(&key.referred_columns),
            on_delete: action(key.on_delete.as_ref()),
            on_update: action(key.on_update.as_ref()),
            match_full,
            timing,
            set_columns: details(key.index_name.as_ref())?.set_columns,
        }))
    }

    /// A constraint of the table's own list, or of ADD CONSTRAINT.
    pub fn from_ast(constraint: &TableConstraint) -> Result<Wanted> {
        match constraint {
            TableConstraint::PrimaryKey(key) => {
                let (name, columns) = (key.name.as_ref().map(names::ident), key_columns(&key.columns)?);
                let (timing, details) = (timing(&key.characteristics)?, details(key.index_name.as_ref())?);
                Ok(Wanted::Key { name, primary: true, columns, nulls_not_distinct: false, timing, details })
            }
            TableConstraint::Unique(key) => {
                Wanted::unique(key.name.as_ref().map(names::ident), key_columns(&key.columns)?, key)
            }
            TableConstraint::PrimaryKeyUsingIndex(key) | TableConstraint::UniqueUsingIndex(key) => {
                Ok(Wanted::UsingIndex {
                    name: key.name.as_ref().map(names::ident),
                    primary: matches!(constraint, TableConstraint::PrimaryKeyUsingIndex(_)),
                    index: names::ident(&key.index_name),
                    timing: timing(&key.characteristics)?,
                })
            }
            TableConstraint::Check(check) => {
                let (name, expr) = (check.name.as_ref().map(names::ident), check.expr.clone());
                Ok(Wanted::Check { name, expr, no_inherit: check.enforced.is_some() })
            }
            TableConstraint::ForeignKey(key) => Wanted::foreign_key(None, key, None),
            other => Err(Error::unsupported(format!("constraint {other}"))),
        }
    }
}

/// INCLUDE and the like, which the parser hands on as an index's name.
fn details(name: Option<&Ident>) -> Result<KeyDetails> {
    key_details::read(name)
        .map_err(|name| Error::new(SqlState::SyntaxError, format!("syntax error at or near \"{}\"", name.value)))
}

fn idents(columns: &[Ident]) -> Vec<String> {
    columns.iter().map(names::ident).collect()
}

fn key_columns(columns: &[KeyColumn]) -> Result<Vec<String>> {
    columns.iter().map(|c| index::plain_column(&c.column.expr)).collect()
}

fn action(action: Option<&Action>) -> ReferentialAction {
    match action {
        None | Some(Action::NoAction) => ReferentialAction::NoAction,
        Some(Action::Restrict) => ReferentialAction::Restrict,
        Some(Action::Cascade) => ReferentialAction::Cascade,
        Some(Action::SetNull) => ReferentialAction::SetNull,
        Some(Action::SetDefault) => ReferentialAction::SetDefault,
    }
}

fn timing(characteristics: &Option<ConstraintCharacteristics>) -> Result<Timing> {
    let Some(c) = characteristics else {
        return Ok(Timing::default());
    };
    let deferred = c.initially == Some(sqlparser::ast::DeferrableInitial::Deferred);
    if deferred && c.deferrable == Some(false) {
        return Err(Error::new(SqlState::SyntaxError, "constraint declared INITIALLY DEFERRED must be DEFERRABLE"));
    }
    if c.enforced == Some(false) {
        return Err(Error::unsupported("NOT ENFORCED constraints"));
    }
    Ok(Timing { deferrable: deferred || c.deferrable == Some(true), deferred })
}

/// Adds a constraint to a definition. The rows are not looked at: see [`validate`].
pub async fn add(
    table: &mut TableDef,
    wanted: &Wanted,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<Arc<ConstraintDef>> {
    let constraint = match wanted {
        Wanted::Key { name, primary, columns, nulls_not_distinct, timing, details } => {
            let key = (*primary, *nulls_not_distinct, *timing);
            add_key(table, name.as_deref(), key, columns, details, tx)?
        }
        Wanted::UsingIndex { name, primary, index, timing } => {
            use_index(table, name.as_deref(), *primary, index, *timing, tx, context)?
        }
        Wanted::Check { name, expr, no_inherit } => {
            let (expression, columns) = expression::check(expr, table, tx, context)?;
            let met = Meeting { expression: &expression, from_parent: false, no_inherit: *no_inherit, valid: true };
            if let Some(name) = name
                && inherit::meets_check(table, name, &met, context)?
                && let Some(known) = table.constraint(name)
            {
                return Ok(known.clone());
            }
            // Named after the column that it reads, wherever it was written.
            let column = match columns.as_slice() {
                [only] => table.attribute(*only).map(|c| c.name.clone()),
                _ => None,
            };
            let name = constraint_name(table, name.as_deref(), column.as_deref(), "check", tx)?;
            let oid = allocate(tx)?;
            if *no_inherit {
                table.inheritance.kept.push(oid);
            }
            definition(oid, name, ConstraintKind::Check { expression, columns }, Timing::default())
        }
        Wanted::ForeignKey(wanted) => add_foreign_key(table, wanted, tx, context).await?,
    };
    let constraint = Arc::new(constraint);
    table.constraints.push(constraint.clone());
    Ok(constraint)
}

fn definition(oid: Oid, name: String, kind: ConstraintKind, timing: Timing) -> ConstraintDef {
    ConstraintDef {
        oid,
        name,
        kind,
        deferrable: timing.deferrable,
        initially_deferred: timing.deferred,
        not_valid: false,
        comment: None,
    }
}

/// The given name if it is free (42710), or the one that PostgreSQL would choose.
fn constraint_name(
    table: &TableDef,
    given: Option<&str>,
    column: Option<&str>,
    label: &str,
    tx: &Transaction,
) -> Result<String> {
    if let Some(name) = given {
        return match table.constraint(name) {
            None => Ok(name.to_owned()),
            Some(_) => Err(Error::new(
                SqlState::DuplicateObject,
                format!("constraint \"{name}\" for relation \"{}\" already exists", table.name),
            )),
        };
    }
    let catalog = tx.catalog();
    Ok(choose(&table.name, column, label, |name| {
        table.constraint(name).is_some() || names::constraint_is_taken(&catalog, table.schema, name)
    }))
}

fn add_key(
    table: &mut TableDef,
    given: Option<&str>,
    (primary, nulls_not_distinct, timing): (bool, bool, Timing),
    columns: &[String],
    details: &KeyDetails,
    tx: &mut Transaction,
) -> Result<ConstraintDef> {
    if primary && table.primary_key().is_some() {
        return Err(Error::new(
            SqlState::InvalidTableDefinition,
            format!("multiple primary keys for table \"{}\" are not allowed", table.name),
        ));
    }
    let find = |name: &str| {
        let missing = || format!("column \"{name}\" named in key does not exist");
        table.column(name).ok_or_else(|| Error::new(SqlState::UndefinedColumn, missing()))
    };
    let include = details.include.iter().map(|name| find(name).map(|c| c.attnum)).collect::<Result<Vec<i16>>>()?;
    let mut attnums: Vec<i16> = Vec::with_capacity(columns.len());
    for name in columns {
        let column = find(name)?;
        if attnums.contains(&column.attnum) {
            let kind = if primary { "primary key" } else { "unique" };
            return Err(Error::new(
                SqlState::DuplicateColumn,
                format!("column \"{name}\" appears twice in {kind} constraint"),
            ));
        }
        attnums.push(column.attnum);
    }
    index::check_columns(table, &attnums, include.len())?;
    let options = super::table::storage_options(&details.options, super::table::OptionsOf::Index(IndexMethod::Btree))?;
    let name = match given {
        Some(name) => {
            let catalog = tx.catalog();
            let own = table.indexes.iter().any(|i| i.name == name) || table.name == name;
            if own || names::is_taken(&catalog, table.schema, name) {
                return Err(Error::new(SqlState::DuplicateTable, format!("relation \"{name}\" already exists")));
            }
            constraint_name(table, Some(name), None, "key", tx)?
        }
        None if primary => index::choose_name(table, None, "pkey", tx),
        None => {
            let parts = columns.iter().chain(&details.include).map(String::as_str);
            index::choose_name(table, Some(&joined(parts)), "key", tx)
        }
    };
    if primary {
        for column in table.columns.iter_mut().filter(|c| attnums.contains(&c.attnum)) {
            column.not_null = true;
        }
    }
    let oid = allocate(tx)?;
    let columns = attnums.into_iter().map(IndexColumn::plain).collect();
    let deferrable = timing.deferrable;
    let index = IndexDef {
        unique: true,
        primary,
        nulls_not_distinct,
        deferrable,
        include,
        options,
        ..IndexDef::new(oid, name.as_str(), table.oid, columns)
    };
    table.indexes.push(Arc::new(index));
    let kind = if primary { ConstraintKind::PrimaryKey { index: oid } } else { ConstraintKind::Unique { index: oid } };
    Ok(definition(allocate(tx)?, name, kind, timing))
}

/// ADD CONSTRAINT … USING INDEX: the index becomes the constraint's, and is renamed after it.
fn use_index(
    table: &mut TableDef,
    given: Option<&str>,
    primary: bool,
    index: &str,
    timing: Timing,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<ConstraintDef> {
    let position = table.indexes.iter().position(|i| i.name == index);
    let Some(at) = position else {
        return Err(Error::new(SqlState::UndefinedObject, format!("index \"{index}\" does not exist")));
    };
    let mut def = (*table.indexes[at]).clone();
    let wrong = |message: String| Err(Error::new(SqlState::WrongObjectType, message));
    if table.index_constraint(def.oid).is_some() {
        let message = format!("index \"{index}\" is already associated with a constraint");
        return Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message));
    }
    if !def.unique {
        return wrong(format!("\"{index}\" is not a unique index"));
    }
    let hint = "Cannot create a primary key or unique constraint using such an index.";
    if def.columns.iter().any(|c| c.expression.is_some()) {
        return Err(
            Error::new(SqlState::WrongObjectType, format!("index \"{index}\" contains expressions")).detail(hint)
        );
    }
    if def.predicate.is_some() {
        return Err(Error::new(SqlState::WrongObjectType, format!("\"{index}\" is a partial index")).detail(hint));
    }
    if primary && table.primary_key().is_some() {
        return Err(Error::new(
            SqlState::InvalidTableDefinition,
            format!("multiple primary keys for table \"{}\" are not allowed", table.name),
        ));
    }
    let name = given.unwrap_or(index).to_owned();
    if name != index {
        let message = format!("ALTER TABLE / ADD CONSTRAINT USING INDEX will rename index \"{index}\" to \"{name}\"");
        context.notice(SqlState::SuccessfulCompletion, message);
    }
    constraint_name(table, Some(&name), None, "key", tx)?;
    def.name = name.clone();
    def.primary = primary;
    def.deferrable = timing.deferrable;
    if primary {
        let attnums: Vec<i16> = def.attnums().collect();
        for column in table.columns.iter_mut().filter(|c| attnums.contains(&c.attnum)) {
            column.not_null = true;
        }
    }
    let oid = def.oid;
    table.indexes[at] = Arc::new(def);
    let kind = if primary { ConstraintKind::PrimaryKey { index: oid } } else { ConstraintKind::Unique { index: oid } };
    Ok(definition(allocate(tx)?, name, kind, timing))
}

async fn add_foreign_key(
    table: &TableDef,
    wanted: &WantedForeignKey,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<ConstraintDef> {
    let referenced = referenced_table(table, &wanted.table, tx, context).await?;
    if table.persistence != referenced.persistence {
        let may = match table.persistence {
            Persistence::Permanent => "permanent tables may reference only permanent tables",
            Persistence::Unlogged if referenced.persistence == Persistence::Permanent => "",
            Persistence::Unlogged => "unlogged tables may reference only permanent or unlogged tables",
            Persistence::Temporary => "temporary tables may reference only temporary tables",
        };
        if !may.is_empty() {
            return Err(Error::new(SqlState::InvalidTableDefinition, format!("constraints on {may}")));
        }
    }
    let columns = foreign_key_columns(table, &wanted.columns, true)?;
    let set_columns = set_columns(table, wanted, &columns)?;
    let referenced_columns = if wanted.referenced.is_empty() {
        let key = referenced.primary_key().ok_or_else(|| {
            Error::new(
                SqlState::UndefinedObject,
                format!("there is no primary key for referenced table \"{}\"", referenced.name),
            )
        })?;
        key.attnums().collect()
    } else {
        foreign_key_columns(&referenced, &wanted.referenced, false)?
    };
    if columns.len() != referenced_columns.len() {
        return Err(Error::new(
            SqlState::InvalidForeignKey,
            "number of referencing and referenced columns for foreign key disagree",
        ));
    }
    privilege::check_references(&tx.catalog(), context.user, &referenced, &referenced_columns)?;
    let same_set = |i: &&Arc<IndexDef>| {
        i.unique
            && i.is_plain()
            && i.columns.len() == referenced_columns.len()
            && i.attnums().all(|a| referenced_columns.contains(&a))
    };
    if !referenced.indexes.iter().any(|i| same_set(&i) && !i.deferrable)
        && referenced.indexes.iter().any(|i| same_set(&i))
    {
        let kind = if wanted.referenced.is_empty() { "primary key" } else { "unique constraint" };
        return Err(Error::new(
            SqlState::ObjectNotInPrerequisiteState,
            format!("cannot use a deferrable {kind} for referenced table \"{}\"", referenced.name),
        ));
    }
    let candidates = || referenced.indexes.iter().filter(|i| same_set(i) && !i.deferrable);
    let referenced_index = candidates().next().map(|i| i.oid).ok_or_else(|| {
        Error::new(
            SqlState::InvalidForeignKey,
            format!("there is no unique constraint matching given keys for referenced table \"{}\"", referenced.name),
        )
    })?;
    let name = constraint_name(
        table,
        wanted.name.as_deref(),
        Some(&joined(wanted.columns.iter().map(String::as_str))),
        "fkey",
        tx,
    )?;
    for (a, b) in columns.iter().zip(&referenced_columns) {
        check_types(table, *a, &referenced, *b, &name)?;
    }
    Ok(definition(
        allocate(tx)?,
        name,
        ConstraintKind::ForeignKey(ForeignKey {
            columns,
            references: referenced.oid,
            referenced_columns,
            referenced_index,
            on_delete: wanted.on_delete,
            on_update: wanted.on_update,
            match_full: wanted.match_full,
            set_columns,
        }),
        wanted.timing,
    ))
}

/// The columns of ON DELETE SET NULL or SET DEFAULT (…): some of the key's.
fn set_columns(table: &TableDef, wanted: &WantedForeignKey, key: &[i16]) -> Result<Vec<i16>> {
    let columns = foreign_key_columns(table, &wanted.set_columns, true)?;
    match columns.iter().position(|c| !key.contains(c)) {
        None => Ok(columns),
        Some(at) => {
            let name = wanted.set_columns.get(at).map_or("", String::as_str);
            Err(Error::new(
                SqlState::InvalidColumnReference,
                format!("column \"{name}\" referenced in ON DELETE SET action must be part of foreign key"),
            ))
        }
    }
}

async fn referenced_table(
    table: &TableDef,
    name: &ObjectName,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<Arc<TableDef>> {
    let catalog = tx.catalog();
    let path = context.path(&catalog);
    let name = Name::new(name, &catalog)?;
    let own_schema = match &name.schema {
        Some(schema) => catalog.schema(schema).map(|s| s.oid) == Some(table.schema),
        None => path.schemas.contains(&table.schema),
    };
    if own_schema && name.name == table.name {
        return Ok(Arc::new(table.clone()));
    }
    match name.resolve(&catalog, &path)? {
        Relation::Table(referenced) => {
            lock(tx, referenced.oid, TableLock::ShareRowExclusive, context).await?;
            Ok(referenced)
        }
        relation @ Relation::System(_) => Err(super::system_relation(&relation)),
        relation => Err(Error::new(
            SqlState::WrongObjectType,
            format!("referenced relation \"{}\" is not a table", relation.name()),
        )),
    }
}

/// `repeats`: a column of the referencing table may stand for several of the referenced one.
fn foreign_key_columns(table: &TableDef, names: &[String], repeats: bool) -> Result<Vec<i16>> {
    let mut attnums = Vec::with_capacity(names.len());
    for name in names {
        let column = table.column(name).ok_or_else(|| {
            Error::new(
                SqlState::UndefinedColumn,
                format!("column \"{name}\" referenced in foreign key constraint does not exist"),
            )
        })?;
        if !repeats && attnums.contains(&column.attnum) {
            return Err(Error::new(
                SqlState::InvalidForeignKey,
                "foreign key referenced-columns list must not contain duplicates",
            ));
        }
        attnums.push(column.attnum);
    }
    Ok(attnums)
}

/// What PostgreSQL compares with each other, and we only where [`crate::types::equal`] does.
fn has_equality(from: TypeOid, to: TypeOid) -> bool {
    use TypeOid as T;
    let number = |ty| matches!(ty, T::INT2 | T::INT4 | T::INT8 | T::NUMERIC);
    match to {
        T::FLOAT4 | T::FLOAT8 => number(from) || matches!(from, T::FLOAT4 | T::FLOAT8),
        T::OID => matches!(from, T::INT2 | T::INT4 | T::INT8),
        T::DATE | T::TIMESTAMP | T::TIMESTAMPTZ => matches!(from, T::DATE | T::TIMESTAMP | T::TIMESTAMPTZ),
        T::TEXT | T::VARCHAR | T::NAME => from == T::BPCHAR,
        T::BPCHAR => matches!(from, T::TEXT | T::VARCHAR),
        _ => false,
    }
}

/// The foreign keys that a column of `table` is part of, on either side, with the tables that they reference from.
pub fn foreign_keys_with(table: &TableDef, attnum: i16, catalog: &Catalog) -> Vec<(Arc<TableDef>, Arc<ConstraintDef>)> {
    let of_others = catalog.foreign_keys_to(table.oid).filter(|(_, _, key)| key.referenced_columns.contains(&attnum));
    let mut found: Vec<_> = of_others.map(|(child, constraint, _)| (child.clone(), constraint.clone())).collect();
    for (constraint, key) in table.foreign_keys() {
        if key.columns.contains(&attnum)
            && !found.iter().any(|(_, other)| other.oid == constraint.oid)
            && let Some(table) = catalog.tables.get(&table.oid)
        {
            found.push((table.clone(), constraint.clone()));
        }
    }
    found
}

/// The rows of a foreign key whose columns got another type, and the types themselves.
pub async fn revalidate(
    table: &TableDef,
    constraint: &ConstraintDef,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let ConstraintKind::ForeignKey(key) = &constraint.kind else { return Ok(()) };
    let Some(referenced) = tx.catalog().tables.get(&key.references).cloned() else {
        return Err(Error::internal("the referenced table is missing"));
    };
    for (a, b) in key.columns.iter().zip(&key.referenced_columns) {
        check_types(table, *a, &referenced, *b, &constraint.name)?;
    }
    match constraint.not_valid {
        true => Ok(()),
        false => validate(table, constraint, tx, context).await,
    }
}

fn check_types(table: &TableDef, a: i16, referenced: &TableDef, b: i16, constraint: &str) -> Result<()> {
    let (Some(a), Some(b)) = (table.attribute(a), referenced.attribute(b)) else {
        return Err(Error::internal("a key column is missing"));
    };
    if comparable(a.ty.oid, b.ty.oid) {
        return Ok(());
    }
    if has_equality(a.ty.oid, b.ty.oid) {
        return Err(Error::unsupported(format!("a foreign key from {} to {}", type_name(a.ty), type_name(b.ty))));
    }
    Err(Error::new(
        SqlState::DatatypeMismatch,
        format!("foreign key constraint \"{constraint}\" cannot be implemented"),
    )
    .detail(format!(
        "Key columns \"{}\" and \"{}\" are of incompatible types: {} and {}.",
        a.name,
        b.name,
        type_name(PgType::from(a.ty.oid)),
        type_name(PgType::from(b.ty.oid))
    )))
}

/// Checks the rows of a table that is in storage against a constraint that is new. `table` is the new definition.
pub async fn validate(
    table: &TableDef,
    constraint: &ConstraintDef,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    match &constraint.kind {
        ConstraintKind::PrimaryKey { index } | ConstraintKind::Unique { index } => {
            let Some(index) = table.index(*index) else {
                return Err(Error::internal("a key without its index"));
            };
            index::validate(table, index, tx, context)?;
            if index.primary {
                for attnum in index.attnums() {
                    validate_not_null(table, attnum, tx)?;
                }
            }
            Ok(())
        }
        ConstraintKind::Check { expression, .. } => {
            let check = expression::RowCheck::condition(expression, table, tx, context)?;
            let eval = context.eval.clone();
            for_each_row(table, tx, |row| {
                if check.passes(row, &eval)? {
                    return Ok(());
                }
                let message = format!(
                    "check constraint \"{}\" of relation \"{}\" is violated by some row",
                    constraint.name, table.name
                );
                Err(Error::new(SqlState::CheckViolation, message))
            })
            .map_err(|e| located(e, table, Some(&constraint.name), tx))
        }
        ConstraintKind::ForeignKey(key) => validate_foreign_key(table, constraint, key, tx, context),
    }
}

/// `error` with the schema, table and constraint fields that drivers show.
fn located(error: Error, table: &TableDef, constraint: Option<&str>, tx: &Transaction) -> Error {
    let error = error.table(tx.catalog().schema_name(table.schema), &table.name);
    match constraint {
        Some(constraint) => error.constraint(constraint),
        None => error,
    }
}

/// 23502 if a column of a stored table holds a NULL.
pub fn validate_not_null(table: &TableDef, attnum: i16, tx: &mut Transaction) -> Result<()> {
    let column = table.attribute(attnum).map(|c| c.name.clone()).unwrap_or_default();
    let mut error = None;
    for_each_row(table, tx, |row| {
        let value = usize::try_from(attnum - 1).ok().and_then(|i| row.get(i));
        if error.is_none() && value.is_some_and(Datum::is_null) {
            let message = format!("column \"{column}\" of relation \"{}\" contains null values", table.name);
            error = Some(Error::new(SqlState::NotNullViolation, message).column(&column));
        }
        Ok(())
    })?;
    match error {
        Some(error) => Err(located(error, table, None, tx)),
        None => Ok(()),
    }
}

fn validate_foreign_key(
    table: &TableDef,
    constraint: &ConstraintDef,
    key: &ForeignKey,
    tx: &mut Transaction,
    context: &DdlContext<'_>,
) -> Result<()> {
    let catalog = tx.catalog();
    let (Some(referenced), Some(def)) = (tx.table(key.references), catalog.tables.get(&key.references)) else {
        return Err(Error::internal("the referenced table has no store"));
    };
    let Some(index) = def.index(key.referenced_index) else {
        return Err(Error::internal("the referenced index is missing"));
    };
    // The referencing columns in the order of the index, with their types and those that they reference.
    let (mut order, mut own, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for attnum in index.attnums() {
        let at = key.referenced_columns.iter().position(|a| *a == attnum);
        let (Some(from), Some(to)) = (at.and_then(|i| key.columns.get(i)), def.attribute(attnum)) else {
            return Err(Error::internal("a referenced column is missing"));
        };
        order.push(usize::try_from(*from - 1).unwrap_or_default());
        own.push(table.attribute(*from).map_or(to.ty, |column| column.ty));
        others.push(to.ty);
    }
    let mut rows: Vec<Vec<Datum>> = Vec::new();
    for_each_row(table, tx, |row| {
        rows.push(order.iter().map(|i| row.get(*i).cloned().unwrap_or(Datum::Null)).collect());
        Ok(())
    })?;
    rows.retain(|values| !values.iter().any(Datum::is_null) || key.match_full);
    for values in rows {
        let nulls = values.iter().filter(|v| v.is_null()).count();
        if nulls == values.len() {
            continue;
        }
        let mixed = nulls > 0;
        let named = equal_values(&values, &others).filter(|_| !mixed).map(Cow::into_owned);
        if let Some(named) = named
            && !tx.lookup(&referenced, index.oid, &IndexRange::equal(named), 1)?.is_empty()
        {
            continue;
        }
        let message = format!(
            "insert or update on table \"{}\" violates foreign key constraint \"{}\"",
            table.name, constraint.name
        );
        let detail = if mixed {
            "MATCH FULL does not allow mixing of null and nonnull key values.".to_owned()
        } else {
            let names: Vec<&str> =
                order.iter().filter_map(|i| table.columns.get(*i)).map(|c| c.name.as_str()).collect();
            let texts: Vec<String> =
                values.iter().zip(&own).map(|(v, ty)| text::to_string(v, *ty, &context.eval.format)).collect();
            format!("Key ({})=({}) is not present in table \"{}\".", names.join(", "), texts.join(", "), def.name)
        };
        let error = Error::new(SqlState::ForeignKeyViolation, message).detail(detail);
        return Err(located(error, table, Some(&constraint.name), tx));
    }
    Ok(())
}

/// Calls `check` with every row that the transaction sees in a stored table; values by attnum - 1, NULL in columns that
/// storage does not have yet.
pub fn for_each_row(
    table: &TableDef,
    tx: &mut Transaction,
    mut check: impl FnMut(&[Datum]) -> Result<()>,
) -> Result<()> {
    let Some(stored) = tx.table(table.oid) else {
        return Ok(());
    };
    let columns: Vec<(i16, PgType)> = stored.def.live_columns().map(|c| (c.attnum, c.ty)).collect();
    let attnums: Vec<i16> = columns.iter().map(|c| c.0).collect();
    let source = tx.scan(&stored)?;
    let mut row = vec![Datum::Null; table.columns.len()];
    for batch in source.scan(0..source.partitions(), &attnums, false, None) {
        let batch = batch?;
        for i in 0..batch.num_rows() {
            for ((attnum, ty), array) in columns.iter().zip(batch.columns()) {
                let slot = usize::try_from(attnum - 1).ok().and_then(|a| row.get_mut(a));
                if let Some(slot) = slot {
                    *slot = crate::types::arrow::datum_at(array, i, *ty)?;
                }
            }
            check(&row)?;
        }
    }
    Ok(())
}
