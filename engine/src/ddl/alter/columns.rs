//! ADD, DROP, RENAME and ALTER COLUMN.

use std::sync::Arc;

use sqlparser::ast::{self, AlterColumnOperation, DataType, Expr};

use super::rewrite;
use crate::catalog::{ColumnDef, ConstraintDef, ConstraintKind, Identity, Origin, TableDef};
use crate::ddl::constraint;
use crate::ddl::names::Name;
use crate::ddl::syntax::SequenceOptions;
use crate::ddl::{
    DdlContext, column, drop as dropping, expression, index, inherit, lock, put_table, statistics, table as tables,
    view,
};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ExprKind, ScalarExpr};
use crate::system::deparse::type_name;
use crate::txn::{TableLock, Transaction};
use crate::types::{Datum, TypeOid, text};

pub async fn add(
    mut table: TableDef,
    def: &ast::ColumnDef,
    if_not_exists: bool,
    only: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let name = crate::ddl::names::ident(&def.name);
    if table.column(&name).is_some() {
        let message = format!("column \"{name}\" of relation \"{}\" already exists", table.name);
        if if_not_exists {
            context.notice(SqlState::DuplicateColumn, format!("{message}, skipping"));
            return Ok(());
        }
        return Err(Error::new(SqlState::DuplicateColumn, message));
    }
    let mut new = column::define(def, tables::next_attnum(&table)?, &table, tx, context)?;
    let constraints = std::mem::take(&mut new.constraints);
    inherit::check_reaches(&table, only, "column must be added to child tables too".to_owned(), tx)?;
    let message = "cannot recursively add identity column to table that has child tables";
    inherit::check_reaches(&table, new.column.identity.is_some(), message.to_owned(), tx)?;
    let row_type = crate::types::TypeOid(table.row_type.0);
    if tx.catalog().row_holds(new.column.ty.oid, row_type) {
        return Err(crate::ddl::user_type::itself(&table.name));
    }
    if let Some((options, _)) = &new.sequence {
        column::create_sequence(&table, &mut new.column, options, tx)?;
    }
    let attnum = new.column.attnum;
    if let Some(expr) = &new.generation {
        table.columns.push(new.column);
        column::set_generation(&mut table, attnum, expr, tx, context)?;
        rewrite::with_generation(&table, attnum, tx, context).await?;
    } else {
        let filler = filler(&new.column, tx, context)?;
        put_new(&mut table, new.column, &filler, tx, context).await?;
        if let Filler::PerRow(_) = filler {
            table = super::current(&table, tx)?;
        }
    }
    view::column_added(table.oid, attnum, tx)?;
    if !tx.catalog().children(table.oid).is_empty() {
        let column = table.attribute(attnum).cloned().ok_or_else(|| Error::internal("a new column is missing"))?;
        give_to_children(&table, &column, tx, context).await?;
    }
    for wanted in &constraints {
        let table = super::current(&table, tx)?;
        super::add_constraint(table, wanted, true, only, tx, context).await?;
    }
    Ok(())
}

/// A column that a parent got, for its children; those that have it already have it from one more parent.
async fn give_to_children(
    parent: &TableDef,
    given: &ColumnDef,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    for oid in tx.catalog().children(parent.oid).to_vec() {
        let Some(mut child) = inherit::open_heir(oid, tx, context).await? else { continue };
        if let Some(own) = child.column(&given.name) {
            let differs = |what: &str| {
                let message =
                    format!("child table \"{}\" has different {what} for column \"{}\"", child.name, own.name);
                Err(Error::new(SqlState::DatatypeMismatch, message))
            };
            if !inherit::same_type(own, given) {
                return differs("type");
            }
            if own.collation != given.collation {
                return differs("collation");
            }
            let message = format!("merging definition of column \"{}\" for child \"{}\"", own.name, child.name);
            context.notice(SqlState::SuccessfulCompletion, message);
            let attnum = own.attnum;
            child.inheritance.set_column(attnum, child.column_origin(attnum).with_parent());
            put_table(tx, child)?;
            continue;
        }
        let attnum = tables::next_attnum(&child)?;
        let column = inherit::inherited(given, attnum);
        child.inheritance.set_column(attnum, Origin::INHERITED);
        if column.generated {
            child.columns.push(column);
            rewrite::with_generation(&child, attnum, tx, context).await?;
        } else {
            let filler = filler(&column, tx, context)?;
            put_new(&mut child, column, &filler, tx, context).await?;
        }
        view::column_added(child.oid, attnum, tx)?;
        Box::pin(give_to_children(&child, given, tx, context)).await?;
    }
    Ok(())
}

/// Puts a table with one column more, and what its rows hold there.
async fn put_new(
    table: &mut TableDef,
    mut column: ColumnDef,
    filler: &Filler,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let (attnum, not_null, name) = (column.attnum, column.not_null, column.name.clone());
    if let Some(domain) = column.domain
        && !is_empty(table, tx)?
    {
        let rule = expression::domain_rule(domain, tx, context)?;
        match filler {
            Filler::Constant(value) => rule.check(value, &context.eval)?,
            Filler::PerRow(_) if rule.is_free() => {}
            Filler::PerRow(_) => return Err(Error::unsupported("ADD COLUMN of a domain with a default that varies")),
        }
    }
    if let Filler::Constant(value) = filler
        && !value.is_null()
    {
        column.missing_text = Some(text::to_string(value, column.ty, &Default::default()));
        column.missing = Some(value.clone());
    }
    table.columns.push(column);
    match filler {
        Filler::Constant(_) => {
            // Storage reads the rows with the new column from here on, so NOT NULL is decided by the constant alone.
            let hollow = table.attribute(attnum).is_some_and(|c| c.missing.is_none());
            if not_null && hollow && !is_empty(table, tx)? {
                let message = format!("column \"{name}\" of relation \"{}\" contains null values", table.name);
                return Err(Error::new(SqlState::NotNullViolation, message).column(&name));
            }
            put_table(tx, table.clone())
        }
        Filler::PerRow(default) => rewrite::with_default(table, attnum, default, tx, context).await,
    }
}

/// What existing rows hold in a new column.
enum Filler {
    Constant(Datum),
    /// Another value in each row: a default that calls a volatile function, or a sequence.
    PerRow(ScalarExpr),
}

fn filler(column: &ColumnDef, tx: &Transaction, context: &DdlContext<'_>) -> Result<Filler> {
    let of_domain = column.domain.and_then(|domain| tx.catalog().domain_default(domain).cloned());
    let default = match (&column.default.clone().or(of_domain), column.identity) {
        (Some(default), _) => default.clone(),
        (None, Some(_)) => {
            let catalog = tx.catalog();
            let sequence = catalog.sequences.values().rev().find(|s| s.owned_by.is_some_and(|o| o.1 == column.attnum));
            let sequence = sequence.ok_or_else(|| Error::internal("an identity column without a sequence"))?;
            format!("nextval('{}'::regclass)", sequence.oid.0)
        }
        (None, None) => return Ok(Filler::Constant(Datum::Null)),
    };
    let bound = expression::bind_default(&default, &column.name, column.ty, tx, context)?;
    // A row has no form without its type, as the value of rows that lack the column must have.
    let row = bound.ty.oid.element().unwrap_or(bound.ty.oid).is_row();
    if row || is_volatile(&bound) {
        return Ok(Filler::PerRow(bound));
    }
    Ok(Filler::Constant(expression::evaluate(&bound, &context.eval)?))
}

/// Whether two evaluations may differ within a statement.
fn is_volatile(expr: &ScalarExpr) -> bool {
    const VOLATILE: [&str; 9] = [
        "nextval",
        "setval",
        "random",
        "gen_random_uuid",
        "clock_timestamp",
        "timeofday",
        "setseed",
        "pg_sleep",
        "currval",
    ];
    match &expr.kind {
        ExprKind::Call { function, args } => VOLATILE.contains(&function.name) || args.iter().any(is_volatile),
        ExprKind::Cast(cast) => is_volatile(&cast.arg),
        ExprKind::Domain { arg, .. } => is_volatile(arg),
        ExprKind::Const(_) => false,
        ExprKind::And(args)
        | ExprKind::Or(args)
        | ExprKind::Coalesce(args)
        | ExprKind::Greatest(args)
        | ExprKind::Least(args)
        | ExprKind::Array(args)
        | ExprKind::Row(args, _) => args.iter().any(is_volatile),
        // Anything else is rare in a DEFAULT: evaluating it for each row is right in any case.
        _ => true,
    }
}

fn is_empty(table: &TableDef, tx: &mut Transaction) -> Result<bool> {
    let Some(stored) = tx.table(table.oid) else {
        return Ok(true);
    };
    let source = tx.scan(&stored)?;
    for batch in source.scan(0..source.partitions(), &[], false, None) {
        if batch?.num_rows() > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// 0A000 while a column of some table holds rows of this one's type: they keep the fields that they have.
fn check_rows_are_not_stored(table: &TableDef, tx: &Transaction) -> Result<()> {
    let catalog = tx.catalog();
    match catalog.column_of_type(crate::types::TypeOid(table.row_type.0)) {
        Some((other, column)) => Err(Error::new(
            SqlState::FeatureNotSupported,
            format!("cannot alter table \"{}\" because column \"{other}.{column}\" uses its row type", table.name),
        )),
        None => Ok(()),
    }
}

pub async fn drop(
    table: TableDef,
    name: &str,
    if_exists: bool,
    how: (bool, bool),
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let attnum = match table.resolve_column(name) {
        Ok(column) => column.attnum,
        Err(error) if if_exists => {
            context.notice(SqlState::SuccessfulCompletion, format!("{}, skipping", error.message()));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    if table.column_origin(attnum).is_inherited() {
        let message = format!("cannot drop inherited column \"{name}\"");
        return Err(Error::new(SqlState::InvalidTableDefinition, message));
    }
    drop_found(table, attnum, how, tx, context).await
}

/// `how`: CASCADE, and whether children keep the column as their own.
async fn drop_found(
    mut table: TableDef,
    attnum: i16,
    (cascade, only): (bool, bool),
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    check_rows_are_not_stored(&table, tx)?;
    let name = table.attribute(attnum).map(|c| c.name.clone()).unwrap_or_default();
    for oid in tx.catalog().children(table.oid).to_vec() {
        let Some(mut child) = inherit::open_heir(oid, tx, context).await? else { continue };
        let own = child.resolve_column(&name)?.attnum;
        let origin = child.column_origin(own);
        if !only && origin == Origin::INHERITED {
            Box::pin(drop_found(child, own, (cascade, only), tx, context)).await?;
            continue;
        }
        let left = origin.without_parent();
        child.inheritance.set_column(own, Origin { local: left.local || only, ..left });
        put_table(tx, child)?;
    }
    dropping::before_column(&table, attnum, cascade, tx, context)?;
    table = super::current(&table, tx)?;
    remove(table, attnum, tx)
}

/// Takes a column off a table, nothing else depending on it.
pub fn remove(mut table: TableDef, attnum: i16, tx: &mut Transaction) -> Result<()> {
    for sequence in tx.catalog().owned_sequences(table.oid, Some(attnum)) {
        tx.change_catalog(crate::catalog::CatalogChange::Drop(sequence.oid))?;
    }
    statistics::column_dropped(table.oid, attnum, tx)?;
    forget(&mut table, attnum);
    put_table(tx, table)
}

/// Takes a column out of a definition, with its indexes and constraints.
pub fn forget(table: &mut TableDef, attnum: i16) {
    let indexes: Vec<_> = table.indexes.iter().filter(|i| i.reads().any(|a| a == attnum)).map(|i| i.oid).collect();
    table.indexes.retain(|i| !indexes.contains(&i.oid));
    table.constraints.retain(|c| match &c.kind {
        ConstraintKind::ForeignKey(key) => !key.columns.contains(&attnum),
        ConstraintKind::Check { columns, .. } => !columns.contains(&attnum),
        ConstraintKind::PrimaryKey { index } | ConstraintKind::Unique { index } => !indexes.contains(index),
    });
    for c in table.columns.iter_mut().filter(|c| c.attnum == attnum) {
        let name = format!("........pg.dropped.{attnum}........");
        *c = ColumnDef { dropped: true, ..column::blank(attnum, name, c.ty) };
    }
}

/// RENAME COLUMN, in all that inherit it too.
pub async fn rename_all(
    table: &TableDef,
    from: &str,
    to: &str,
    only: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    if tx.catalog().children(table.oid).is_empty() {
        check_not_inherited(table, from, "rename")?;
        return rename(table.clone(), from, to, tx);
    }
    let message = format!("inherited column \"{from}\" must be renamed in child tables too");
    inherit::check_reaches(table, only && table.column(from).is_some(), message, tx)?;
    for (member, parents) in inherit::family(table.oid, tx, context).await?.into_iter().rev() {
        if member.column(from).is_some_and(|c| member.column_origin(c.attnum).parents > parents) {
            let message = format!("cannot rename inherited column \"{from}\"");
            return Err(Error::new(SqlState::InvalidTableDefinition, message));
        }
        rename(member, from, to, tx)?;
    }
    Ok(())
}

/// 42P16 for a column that is a parent's too.
fn check_not_inherited(table: &TableDef, name: &str, verb: &str) -> Result<()> {
    match table.column(name).is_some_and(|c| table.column_origin(c.attnum).is_inherited()) {
        true => {
            let message = format!("cannot {verb} inherited column \"{name}\"");
            Err(Error::new(SqlState::InvalidTableDefinition, message))
        }
        false => Ok(()),
    }
}

fn rename(mut table: TableDef, from: &str, to: &str, tx: &mut Transaction) -> Result<()> {
    let missing = || Error::new(SqlState::UndefinedColumn, format!("column \"{from}\" does not exist"));
    let attnum = table.column(from).ok_or_else(missing)?.attnum;
    column::check_name(to)?;
    if table.column(to).is_some() {
        return Err(Error::new(
            SqlState::DuplicateColumn,
            format!("column \"{to}\" of relation \"{}\" already exists", table.name),
        ));
    }
    view::column_renamed(table.oid, attnum, from, tx)?;
    statistics::column_renamed(table.oid, attnum, from, to, tx)?;
    for c in table.columns.iter_mut().filter(|c| c.attnum == attnum) {
        c.name = to.to_owned();
    }
    for constraint in &mut table.constraints {
        if !super::check_reads(constraint, attnum) {
            continue;
        }
        let mut changed = (**constraint).clone();
        if let ConstraintKind::Check { expression, .. } = &mut changed.kind {
            *expression = crate::system::deparse::rename_column(expression, from, to)?;
        }
        *constraint = Arc::new(changed);
    }
    for index in &mut table.indexes {
        if index.is_plain() || !index.reads().any(|a| a == attnum) {
            continue;
        }
        let mut changed = (**index).clone();
        let expressions = changed.columns.iter_mut().filter_map(|c| c.expression.as_mut()).map(|e| &mut e.text);
        for text in expressions.chain(changed.predicate.as_mut().map(|p| &mut p.0)) {
            *text = crate::system::deparse::rename_column(text, from, to)?;
        }
        *index = Arc::new(changed);
    }
    for column in table.columns.iter_mut().filter(|c| c.generated && !c.dropped) {
        column.default = match &column.default {
            Some(text) => Some(crate::system::deparse::rename_column(text, from, to)?),
            None => None,
        };
    }
    put_table(tx, table)
}

pub fn alter(
    mut table: TableDef,
    name: &str,
    operation: &AlterColumnOperation,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let old = table.resolve_column(name)?.clone();
    let mut new = old.clone();
    let default = matches!(operation, AlterColumnOperation::SetDefault { .. } | AlterColumnOperation::DropDefault);
    if old.generated && default {
        let message = format!("column \"{name}\" of relation \"{}\" is a generated column", table.name);
        let error = Error::new(SqlState::SyntaxError, message);
        return Err(match operation {
            AlterColumnOperation::DropDefault => {
                error.hint("Use ALTER TABLE ... ALTER COLUMN ... DROP EXPRESSION instead.")
            }
            _ => error,
        });
    }
    match operation {
        AlterColumnOperation::SetNotNull => {
            if !old.not_null {
                constraint::validate_not_null(&table, old.attnum, tx)?;
            }
            new.not_null = true;
        }
        AlterColumnOperation::DropNotNull => {
            let in_key = table.primary_key().is_some_and(|k| k.attnums().any(|a| a == old.attnum));
            if in_key {
                return Err(Error::new(
                    SqlState::InvalidTableDefinition,
                    format!("column \"{name}\" is in a primary key"),
                ));
            }
            if old.identity.is_some() {
                return Err(is_identity(&old, &table));
            }
            new.not_null = false;
        }
        AlterColumnOperation::SetDefault { value } => {
            if old.identity.is_some() {
                return Err(is_identity(&old, &table));
            }
            new.default = expression::default(value, name, old.ty, tx, context)?;
        }
        AlterColumnOperation::DropDefault => {
            if old.identity.is_some() {
                return Err(
                    is_identity(&old, &table).hint("Use ALTER TABLE ... ALTER COLUMN ... DROP IDENTITY instead.")
                );
            }
            new.default = None;
        }
        other => return Err(Error::unsupported(format!("ALTER COLUMN {other}"))),
    }
    for c in table.columns.iter_mut().filter(|c| c.attnum == old.attnum) {
        *c = new.clone();
    }
    put_table(tx, table)
}

fn is_identity(column: &ColumnDef, table: &TableDef) -> Error {
    Error::new(
        SqlState::SyntaxError,
        format!("column \"{}\" of relation \"{}\" is an identity column", column.name, table.name),
    )
}

/// ADD GENERATED … AS IDENTITY.
pub fn add_identity(
    table: &TableDef,
    column: &mut ColumnDef,
    always: bool,
    options: &SequenceOptions,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    check_identity_type(column.ty.oid)?;
    let prerequisite = |what: &str| {
        let message = format!("column \"{}\" of relation \"{}\" {what}", column.name, table.name);
        Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message))
    };
    if !column.not_null {
        return prerequisite("must be declared NOT NULL before identity can be added");
    }
    if column.identity.is_some() {
        return prerequisite("is already an identity column");
    }
    if column.default.is_some() {
        return prerequisite("already has a default value");
    }
    column.identity = Some(if always { Identity::Always } else { Identity::ByDefault });
    if let Some(name) = &options.name {
        let catalog = tx.catalog();
        let schema = Name::new(name, &catalog)?.creation_schema(&catalog, &context.path(&catalog))?;
        crate::ddl::privilege::check_create(&catalog, context.user, schema)?;
    }
    column::create_sequence(table, column, options, tx)
}

/// A generated column that reads a column.
pub fn reads_generated(table: &TableDef, attnum: i16) -> Result<Option<String>> {
    for column in table.live_columns().filter(|c| c.generated && c.attnum != attnum) {
        let text = column.default.as_deref().unwrap_or_default();
        if expression::names_read(text, table)?.contains(&attnum) {
            return Ok(Some(column.name.clone()));
        }
    }
    Ok(None)
}

/// ALTER COLUMN TYPE, in all that inherit it too.
pub async fn set_type_of_all(
    table: &TableDef,
    name: &str,
    (data_type, using): (&DataType, Option<&Expr>),
    only: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    check_not_inherited(table, name, "alter")?;
    if table.column(name).is_some() {
        let message = format!("type of inherited column \"{name}\" must be changed in child tables too");
        inherit::check_reaches(table, only, message, tx)?;
    }
    let family = inherit::family(table.oid, tx, context).await?;
    for (member, parents) in &family {
        if member.column(name).is_some_and(|c| member.column_origin(c.attnum).parents > *parents) {
            let message = format!("cannot alter inherited column \"{name}\" of relation \"{}\"", member.name);
            return Err(Error::new(SqlState::InvalidTableDefinition, message));
        }
    }
    for (member, _) in family {
        set_type(member, name, data_type, using, tx, context).await?;
    }
    Ok(())
}

/// Every row of one table is written anew.
async fn set_type(
    mut table: TableDef,
    name: &str,
    data_type: &DataType,
    using: Option<&Expr>,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let old = table.resolve_column(name)?.clone();
    let ty = expression::column_type(data_type, name, tx, context)?;
    if let Some(view) = tx.catalog().views_on(table.oid).find(|v| v.columns_read.contains(&(table.oid, old.attnum))) {
        return Err(Error::new(SqlState::FeatureNotSupported, "cannot alter type of a column used by a view or rule")
            .detail(format!("rule _RETURN on view {} depends on column \"{name}\"", view.name)));
    }
    if let Some(policy) = tx.catalog().policies.values().find(|p| p.reads_column(table.oid, old.attnum)) {
        let on = tx.catalog().tables.get(&policy.table).map_or_else(String::new, |t| t.name.clone());
        return Err(Error::new(
            SqlState::FeatureNotSupported,
            "cannot alter type of a column used in a policy definition",
        )
        .detail(format!("policy {} on table {on} depends on column \"{name}\"", policy.name)));
    }
    if let Some(generated) = reads_generated(&table, old.attnum)? {
        return Err(Error::new(
            SqlState::FeatureNotSupported,
            "cannot alter type of a column used by a generated column",
        )
        .detail(format!("Column \"{name}\" is used by generated column \"{generated}\".")));
    }
    // The other tables may not change until the keys were looked at.
    let keys = constraint::foreign_keys_with(&table, old.attnum, &tx.catalog());
    for (child, key) in &keys {
        let ConstraintKind::ForeignKey(foreign) = &key.kind else { continue };
        let other = if child.oid == table.oid { foreign.references } else { child.oid };
        if other != table.oid {
            lock(tx, other, TableLock::ShareRowExclusive, context).await?;
        }
    }
    check_rows_are_not_stored(&table, tx)?;
    if tx.catalog().row_holds(ty.oid, crate::types::TypeOid(table.row_type.0)) {
        return Err(crate::ddl::user_type::itself(&table.name));
    }
    let domain = expression::column_domain(data_type, tx, context)?;
    let rule = domain.map(|domain| expression::domain_rule(domain, tx, context)).transpose()?;
    let conversion = rewrite::Conversion::bind(&table, &old, ty, using, tx, context)?.into_domain(rule);
    for c in table.columns.iter_mut().filter(|c| c.attnum == old.attnum) {
        c.ty = ty;
        c.domain = domain;
        c.collation = crate::ddl::collation::of_domain(domain, &tx.catalog());
        c.missing = None;
        c.missing_text = None;
        c.compression = None;
    }
    if let Some(default) = old.default.as_ref().filter(|_| !old.generated) {
        expression::bind_default(default, name, ty, tx, context).map_err(|_| {
            let message =
                format!("default for column \"{name}\" cannot be cast automatically to type {}", type_name(ty));
            Error::new(SqlState::DatatypeMismatch, message)
        })?;
    }
    index::column_retyped(&mut table, old.attnum, tx, context)?;
    rewrite::with_conversion(&table, old.attnum, &conversion, tx, context).await?;
    statistics::column_retyped(&table, old.attnum, tx, context)?;
    let checks: Vec<Arc<ConstraintDef>> =
        table.constraints.iter().filter(|c| super::check_reads(c, old.attnum)).cloned().collect();
    for check in checks {
        constraint::validate(&table, &check, tx, context).await?;
    }
    for (child, key) in keys {
        let child = tx.catalog().tables.get(&child.oid).cloned().unwrap_or(child);
        constraint::revalidate(&child, &key, tx, context).await?;
    }
    if old.identity.is_some() && ty.oid != old.ty.oid {
        check_identity_type(ty.oid)?;
        let sequences: Vec<_> = tx.catalog().owned_sequences(table.oid, Some(old.attnum)).cloned().collect();
        for sequence in sequences {
            crate::ddl::sequence::set_type(&sequence, &type_name(ty), tx).await?;
        }
    }
    Ok(())
}

/// 22023 for a type that no sequence counts in.
fn check_identity_type(ty: TypeOid) -> Result<()> {
    match ty {
        TypeOid::INT2 | TypeOid::INT4 | TypeOid::INT8 => Ok(()),
        _ => Err(Error::new(
            SqlState::InvalidParameterValue,
            "identity column type must be smallint, integer, or bigint",
        )),
    }
}
