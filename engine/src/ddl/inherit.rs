//! What a table gets from its parents: the columns and CHECK constraints of CREATE TABLE … INHERITS, merged with each other and
//! with those that are written, and the questions that all DDL on tables with children asks.
//!
//! Invariant: see [`crate::catalog::Inheritance`]: whatever is put here keeps a child in step with its parents.

use std::sync::Arc;

use sqlparser::ast::ObjectName;

use super::column::NewColumn;
use super::names::Name;
use super::{DdlContext, allocate, lock, privilege};
use crate::catalog::{
    Catalog, ColumnDef, Compression, ConstraintDef, ConstraintKind, Oid, Origin, Persistence, Relation, TableDef,
};
use crate::error::{Error, NoticeLevel, Result, SqlState};
use crate::system::deparse::type_name;
use crate::txn::{TableLock, Transaction};
use crate::types::TypeOid;

/// The columns of a table that is being made, as far as they are merged.
#[derive(Default)]
pub struct Merging {
    /// Columns that were written so far.
    written: i16,
    /// Inherited columns whose parents have different defaults; one that is written settles it.
    conflicts: Vec<i16>,
}

/// A column's type as messages show it.
pub fn type_shown(column: &ColumnDef, catalog: &Catalog) -> String {
    match column.domain.and_then(|domain| catalog.type_name(TypeOid(domain.0))) {
        Some((_, name)) => name,
        None => type_name(column.ty),
    }
}

pub fn same_type(a: &ColumnDef, b: &ColumnDef) -> bool {
    (a.ty, a.domain) == (b.ty, b.domain)
}

/// A column's collation as messages show it.
pub fn collation_shown(given: Option<Oid>, catalog: &Catalog) -> String {
    let given = given.and_then(|oid| catalog.collation(oid));
    given.map_or_else(|| "default".to_owned(), |collation| collation.name().to_owned())
}

/// 42804 or 42P21 where two definitions of a column cannot be one. `what`: `inherited column "a"`.
fn check_alike(what: &str, inherited: &ColumnDef, other: &ColumnDef, catalog: &Catalog) -> Result<()> {
    if !same_type(inherited, other) {
        let (one, two) = (type_shown(inherited, catalog), type_shown(other, catalog));
        return Err(Error::new(SqlState::DatatypeMismatch, format!("{what} has a type conflict"))
            .detail(format!("{one} versus {two}")));
    }
    if inherited.collation != other.collation {
        let (one, two) = (collation_shown(inherited.collation, catalog), collation_shown(other.collation, catalog));
        return Err(Error::new(SqlState::CollationMismatch, format!("{what} has a collation conflict"))
            .detail(format!("\"{one}\" versus \"{two}\"")));
    }
    Ok(())
}

/// 42804 where two definitions of a column have different methods.
fn merged_compression(known: &ColumnDef, other: &ColumnDef) -> Result<Option<Compression>> {
    match (known.compression, other.compression) {
        (Some(one), Some(two)) if one != two => {
            let message = format!("column \"{}\" has a compression method conflict", known.name);
            Err(Error::new(SqlState::DatatypeMismatch, message).detail(format!("{} versus {}", one.name(), two.name())))
        }
        (one, two) => Ok(one.or(two)),
    }
}

/// The table that INHERITS, or ALTER TABLE INHERIT, names; locked.
pub async fn open_parent(
    child: &TableDef,
    name: &ObjectName,
    mode: TableLock,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<Arc<TableDef>> {
    let catalog = tx.catalog();
    let relation = Name::new(name, &catalog)?.resolve(&catalog, &context.path(&catalog))?;
    let parent = match &relation {
        Relation::Table(table) if table.materialized.is_none() => table.clone(),
        other => {
            let message = format!("inherited relation \"{}\" is not a table or foreign table", other.name());
            return Err(Error::new(SqlState::WrongObjectType, message));
        }
    };
    if child.persistence != Persistence::Temporary && parent.persistence == Persistence::Temporary {
        let message = format!("cannot inherit from temporary relation \"{}\"", parent.name);
        return Err(Error::new(SqlState::WrongObjectType, message));
    }
    if child.persistence == Persistence::Temporary && parent.persistence != Persistence::Temporary {
        // Other sessions change the parent, and cannot see the child.
        return Err(Error::unsupported("a temporary table that inherits from a permanent one"));
    }
    privilege::check_owner(&catalog, context.user, parent.owner, "table", &parent.name)?;
    lock(tx, parent.oid, mode, context).await?;
    tx.catalog()
        .tables
        .get(&parent.oid)
        .cloned()
        .ok_or_else(|| Error::new(SqlState::UndefinedTable, format!("relation \"{}\" does not exist", parent.name)))
}

pub fn more_than_once(parent: &TableDef) -> Error {
    let message = format!("relation \"{}\" would be inherited from more than once", parent.name);
    Error::new(SqlState::DuplicateTable, message)
}

impl Merging {
    /// Gives a table without columns those of its parents, and their CHECK constraints.
    pub async fn begin(
        parents: &[ObjectName],
        table: &mut TableDef,
        tx: &mut Transaction,
        context: &mut DdlContext<'_>,
    ) -> Result<Merging> {
        let mut merging = Merging::default();
        for name in parents {
            let parent = open_parent(table, name, TableLock::ShareUpdateExclusive, tx, context).await?;
            if table.inheritance.parents.contains(&parent.oid) {
                return Err(more_than_once(&parent));
            }
            table.inheritance.parents.push(parent.oid);
            for column in parent.live_columns() {
                merging.inherit_column(table, column, &tx.catalog(), context)?;
            }
            for constraint in &parent.constraints {
                inherit_check(table, &parent, constraint, tx)?;
            }
        }
        Ok(merging)
    }

    fn inherit_column(
        &mut self,
        table: &mut TableDef,
        column: &ColumnDef,
        catalog: &Catalog,
        context: &mut DdlContext<'_>,
    ) -> Result<()> {
        let name = &column.name;
        let Some(at) = table.columns.iter().position(|c| c.name == *name) else {
            let attnum = super::table::next_attnum(table)?;
            table.inheritance.set_column(attnum, Origin::INHERITED);
            table.columns.push(inherited(column, attnum));
            return Ok(());
        };
        context.notice(
            SqlState::SuccessfulCompletion,
            format!("merging multiple inherited definitions of column \"{name}\""),
        );
        let known = &mut table.columns[at];
        check_alike(&format!("inherited column \"{name}\""), known, column, catalog)?;
        if known.generated != column.generated {
            let message = format!("inherited column \"{name}\" has a generation conflict");
            return Err(Error::new(SqlState::DatatypeMismatch, message));
        }
        known.compression = merged_compression(known, column)?;
        known.not_null |= column.not_null;
        if known.default.is_none() {
            known.default = column.default.clone();
        } else if column.default.is_some() && known.default != column.default && !self.conflicts.contains(&known.attnum)
        {
            self.conflicts.push(known.attnum);
        }
        let attnum = known.attnum;
        table.inheritance.set_column(attnum, table.column_origin(attnum).with_parent());
        Ok(())
    }

    /// A column that is written: a new one, or one that a parent has too. Answers its number.
    pub fn add(
        &mut self,
        table: &mut TableDef,
        new: &mut NewColumn,
        catalog: &Catalog,
        context: &mut DdlContext<'_>,
    ) -> Result<()> {
        self.written += 1;
        let name = new.column.name.clone();
        let Some(at) = table.columns.iter().position(|c| c.name == name) else {
            table.columns.push(new.column.clone());
            return Ok(());
        };
        let attnum = table.columns[at].attnum;
        let origin = table.column_origin(attnum);
        if origin.local {
            return Err(Error::new(SqlState::DuplicateColumn, format!("column \"{name}\" specified more than once")));
        }
        if attnum == self.written {
            let message = format!("merging column \"{name}\" with inherited definition");
            context.notice(SqlState::SuccessfulCompletion, message);
        } else {
            let message = format!("moving and merging column \"{name}\" with inherited definition");
            let report = Error::new(SqlState::SuccessfulCompletion, message)
                .detail("User-specified column moved to the position of the inherited column.");
            context.report(NoticeLevel::Notice, report);
        }
        let known = &mut table.columns[at];
        check_alike(&format!("column \"{name}\""), known, &new.column, catalog)?;
        if known.generated {
            let wrong = |message: String| Error::new(SqlState::InvalidColumnDefinition, message);
            if new.generation.is_some() || new.column.generated {
                return Err(wrong(format!("child column \"{name}\" specifies generation expression")).hint(
                    "Omit the generation expression in the definition of the child table column to inherit the \
                     generation expression from the parent table.",
                ));
            }
            if new.column.identity.is_some() {
                return Err(wrong(format!("column \"{name}\" inherits from generated column but specifies identity")));
            }
            if new.column.default.is_some() || new.sequence.is_some() {
                return Err(wrong(format!("column \"{name}\" inherits from generated column but specifies default")));
            }
        }
        known.compression = merged_compression(known, &new.column)?;
        known.not_null |= new.column.not_null;
        known.identity = new.column.identity;
        known.comment = new.column.comment.clone();
        if new.column.default.is_some() || new.generation.is_some() || new.sequence.is_some() {
            known.default = new.column.default.clone();
            known.generated = new.column.generated;
            self.conflicts.retain(|c| *c != attnum);
        }
        new.column.attnum = attnum;
        table.inheritance.set_column(attnum, Origin { local: true, ..origin });
        Ok(())
    }

    /// 42611 if parents disagree about what nobody wrote.
    pub fn finish(&self, table: &TableDef) -> Result<()> {
        let Some(column) = self.conflicts.first().and_then(|attnum| table.attribute(*attnum)) else { return Ok(()) };
        let name = &column.name;
        if column.generated {
            let message = format!("column \"{name}\" inherits conflicting generation expressions");
            return Err(Error::new(SqlState::InvalidColumnDefinition, message));
        }
        let message = format!("column \"{name}\" inherits conflicting default values");
        Err(Error::new(SqlState::InvalidColumnDefinition, message)
            .hint("To resolve the conflict, specify a default explicitly."))
    }
}

/// A parent's column as that of a child.
pub fn inherited(column: &ColumnDef, attnum: i16) -> ColumnDef {
    ColumnDef { attnum, identity: None, missing: None, missing_text: None, comment: None, ..column.clone() }
}

/// Numbers of a parent's columns in a child: they have the same names.
fn mapped(columns: &[i16], parent: &TableDef, child: &TableDef) -> Result<Vec<i16>> {
    let one = |attnum: &i16| Some(child.column(&parent.attribute(*attnum)?.name)?.attnum);
    let found: Option<Vec<i16>> = columns.iter().map(one).collect();
    found.ok_or_else(|| Error::internal("a child lacks a column of its parent"))
}

/// The condition of a constraint that children get.
pub fn inheritable<'a>(table: &TableDef, constraint: &'a ConstraintDef) -> Option<(&'a str, &'a [i16])> {
    match &constraint.kind {
        ConstraintKind::Check { expression, columns } if !table.keeps_constraint(constraint.oid) => {
            Some((expression, columns))
        }
        _ => None,
    }
}

fn inherit_check(child: &mut TableDef, parent: &TableDef, given: &ConstraintDef, tx: &mut Transaction) -> Result<()> {
    let Some((expression, columns)) = inheritable(parent, given) else { return Ok(()) };
    if let Some(known) = child.constraint(&given.name).cloned() {
        if !matches!(&known.kind, ConstraintKind::Check { expression: known, .. } if known == expression) {
            let message = format!(
                "check constraint name \"{}\" appears multiple times but with different expressions",
                given.name
            );
            return Err(Error::new(SqlState::DuplicateObject, message));
        }
        let origin = child.constraint_origin(known.oid).with_parent();
        child.inheritance.set_constraint(known.oid, origin);
        return Ok(());
    }
    let columns = mapped(columns, parent, child)?;
    copy_check(child, given, (expression.to_owned(), columns), tx)?;
    Ok(())
}

/// A parent's CHECK constraint, as one of the child that it did not have.
fn copy_check(
    child: &mut TableDef,
    given: &ConstraintDef,
    (expression, columns): (String, Vec<i16>),
    tx: &mut Transaction,
) -> Result<Arc<ConstraintDef>> {
    let oid = allocate(tx)?;
    let kind = ConstraintKind::Check { expression, columns };
    let constraint = Arc::new(ConstraintDef { oid, kind, comment: None, not_valid: false, ..given.clone() });
    child.constraints.push(constraint.clone());
    child.inheritance.set_constraint(oid, Origin::INHERITED);
    Ok(constraint)
}

/// What a CHECK constraint is that meets one of its name.
pub struct Meeting<'a> {
    pub expression: &'a str,
    /// It comes from a parent; else it is written for the table itself.
    pub from_parent: bool,
    pub no_inherit: bool,
    pub valid: bool,
}

/// Lets a CHECK constraint be one with that of its name, if there is one and they may be (42710, 42P17). `true`: it is done.
pub fn meets_check(table: &mut TableDef, name: &str, met: &Meeting<'_>, context: &mut DdlContext<'_>) -> Result<bool> {
    let Some(known) = table.constraint(name).cloned() else { return Ok(false) };
    let same = matches!(&known.kind, ConstraintKind::Check { expression, .. } if *expression == met.expression);
    let origin = table.constraint_origin(known.oid);
    if !same || (!met.from_parent && origin.local) {
        let message = format!("constraint \"{name}\" for relation \"{}\" already exists", table.name);
        return Err(Error::new(SqlState::DuplicateObject, message));
    }
    let conflict = |with: &str| {
        let message = format!("constraint \"{name}\" conflicts with {with} constraint on relation \"{}\"", table.name);
        Err(Error::new(SqlState::InvalidObjectDefinition, message))
    };
    if table.keeps_constraint(known.oid) {
        return conflict("non-inherited");
    }
    if origin.is_inherited() && met.no_inherit {
        return conflict("inherited");
    }
    if met.valid && known.not_valid {
        return conflict("NOT VALID");
    }
    let message = format!("merging constraint \"{name}\" with inherited definition");
    context.notice(SqlState::SuccessfulCompletion, message);
    let origin = if met.from_parent { origin.with_parent() } else { Origin { local: true, ..origin } };
    table.inheritance.set_constraint(known.oid, origin);
    Ok(true)
}

/// A constraint that a parent got, for one of its children. `None`: the child had it.
pub fn give_check(
    child: &mut TableDef,
    parent: &TableDef,
    given: &ConstraintDef,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<Option<Arc<ConstraintDef>>> {
    let Some((expression, columns)) = inheritable(parent, given) else { return Ok(None) };
    let met = Meeting { expression, from_parent: true, no_inherit: false, valid: !given.not_valid };
    if meets_check(child, &given.name, &met, context)? {
        return Ok(None);
    }
    let columns = mapped(columns, parent, child)?;
    copy_check(child, given, (expression.to_owned(), columns), tx).map(Some)
}

/// A table with all that inherit from it, directly or not, each with how many of its parents are among them; locked.
pub async fn family(table: Oid, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<Vec<(TableDef, u16)>> {
    let members: Vec<(Oid, u16)> =
        tx.catalog().family_counted(table).iter().map(|(t, count)| (t.oid, *count)).collect();
    let mut found = Vec::with_capacity(members.len());
    for (oid, count) in members {
        found.extend(open_heir(oid, tx, context).await?.map(|member| (member, count)));
    }
    Ok(found)
}

/// A table that inherits, as it is by now, locked for a change that goes on to it. `None`: it is gone.
pub async fn open_heir(oid: Oid, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<Option<TableDef>> {
    let catalog = tx.catalog();
    let Some(table) = catalog.tables.get(&oid) else { return Ok(None) };
    privilege::check_owner(&catalog, context.user, table.owner, "table", &table.name)?;
    lock(tx, oid, TableLock::AccessExclusive, context).await?;
    Ok(tx.catalog().tables.get(&oid).map(|table| (**table).clone()))
}

/// 42P16 unless a change goes on to the children or there are none.
pub fn check_reaches(table: &TableDef, only: bool, message: String, tx: &Transaction) -> Result<()> {
    match only && !tx.catalog().children(table.oid).is_empty() {
        true => Err(Error::new(SqlState::InvalidTableDefinition, message)),
        false => Ok(()),
    }
}

/// Forgets where constraints are from that are no more. Columns that were dropped keep what was known of them, as in PostgreSQL.
pub fn tidy(table: &mut TableDef) {
    let mut inheritance = std::mem::take(&mut table.inheritance);
    let has = |oid: &Oid| table.constraints.iter().any(|c| c.oid == *oid);
    inheritance.constraints.retain(|oid, _| has(oid));
    inheritance.kept.retain(has);
    table.inheritance = inheritance;
}
