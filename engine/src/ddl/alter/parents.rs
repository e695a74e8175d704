//! ALTER TABLE INHERIT and NO INHERIT: a table that has all that another one has becomes its child, or is none any more.

use std::sync::Arc;

use sqlparser::ast::ObjectName;

use crate::catalog::{ConstraintDef, ConstraintKind, Origin, TableDef};
use crate::ddl::inherit::{self, inheritable};
use crate::ddl::names::Name;
use crate::ddl::{DdlContext, open_table, put_table};
use crate::error::{Error, Result, SqlState};
use crate::txn::{TableLock, Transaction};

pub async fn set_parent(
    name: &ObjectName,
    if_exists: bool,
    parent: &ObjectName,
    inherit: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let tag = "ALTER TABLE".to_owned();
    let name = Name::new(name, &tx.catalog())?;
    let Some(table) = open_table(&name, if_exists, TableLock::AccessExclusive, tx, context).await? else {
        return Ok(tag);
    };
    let mut table = (*table).clone();
    match inherit {
        true => {
            let parent = inherit::open_parent(&table, parent, TableLock::ShareUpdateExclusive, tx, context).await?;
            add(&mut table, &parent, tx)?;
        }
        false => {
            let catalog = tx.catalog();
            let found = Name::new(parent, &catalog)?.resolve(&catalog, &context.path(&catalog))?;
            let Some(parent) = catalog.tables.get(&found.oid()).filter(|p| table.inheritance.parents.contains(&p.oid))
            else {
                let message = format!("relation \"{}\" is not a parent of relation \"{}\"", found.name(), table.name);
                return Err(Error::new(SqlState::UndefinedTable, message));
            };
            remove(&mut table, parent);
        }
    }
    put_table(tx, table)?;
    Ok(tag)
}

fn add(table: &mut TableDef, parent: &TableDef, tx: &Transaction) -> Result<()> {
    let catalog = tx.catalog();
    if table.inheritance.parents.contains(&parent.oid) {
        return Err(inherit::more_than_once(parent));
    }
    if catalog.family(table.oid).iter().any(|member| member.oid == parent.oid) {
        return Err(Error::new(SqlState::DuplicateTable, "circular inheritance not allowed")
            .detail(format!("\"{}\" is already a child of \"{}\".", parent.name, table.name)));
    }
    let mismatch = |message: String| Error::new(SqlState::DatatypeMismatch, message);
    for theirs in parent.live_columns() {
        let name = &theirs.name;
        let Some(own) = table.column(name) else {
            return Err(mismatch(format!("child table is missing column \"{name}\"")));
        };
        if !inherit::same_type(own, theirs) {
            let message = format!("child table \"{}\" has different type for column \"{name}\"", table.name);
            return Err(mismatch(message));
        }
        if own.collation != theirs.collation {
            let message = format!("child table \"{}\" has different collation for column \"{name}\"", table.name);
            return Err(Error::new(SqlState::CollationMismatch, message));
        }
        if theirs.not_null && !own.not_null {
            return Err(mismatch(format!("column \"{name}\" in child table must be marked NOT NULL")));
        }
        if theirs.generated && !own.generated {
            return Err(mismatch(format!("column \"{name}\" in child table must be a generated column")));
        }
        if theirs.generated && theirs.default != own.default {
            let message = format!("column \"{name}\" in child table has a conflicting generation expression");
            return Err(mismatch(message));
        }
        let attnum = own.attnum;
        let origin = table.column_origin(attnum).with_parent();
        table.inheritance.set_column(attnum, origin);
    }
    for theirs in &parent.constraints {
        let Some((expression, _)) = inheritable(parent, theirs) else { continue };
        let own = matching(table, theirs)?;
        if !matches!(&own.kind, ConstraintKind::Check { expression: own, .. } if own == expression) {
            return Err(mismatch(format!(
                "child table \"{}\" has different definition for check constraint \"{}\"",
                table.name, own.name
            )));
        }
        let conflict = |with: &str| {
            let message = format!(
                "constraint \"{}\" conflicts with {with} constraint on child table \"{}\"",
                own.name, table.name
            );
            Err(Error::new(SqlState::InvalidObjectDefinition, message))
        };
        if table.keeps_constraint(own.oid) {
            return conflict("non-inherited");
        }
        if own.not_valid && !theirs.not_valid {
            return conflict("NOT VALID");
        }
        let origin = table.constraint_origin(own.oid).with_parent();
        table.inheritance.set_constraint(own.oid, origin);
    }
    table.inheritance.parents.push(parent.oid);
    Ok(())
}

/// The child's CHECK constraint of the name of its parent's.
fn matching(table: &TableDef, theirs: &ConstraintDef) -> Result<Arc<ConstraintDef>> {
    let found = table.constraint(&theirs.name).filter(|c| matches!(c.kind, ConstraintKind::Check { .. }));
    found.cloned().ok_or_else(|| {
        let message = format!("child table is missing constraint \"{}\"", theirs.name);
        Error::new(SqlState::DatatypeMismatch, message)
    })
}

fn remove(table: &mut TableDef, parent: &TableDef) {
    table.inheritance.parents.retain(|oid| *oid != parent.oid);
    let columns: Vec<i16> = parent.live_columns().filter_map(|c| table.column(&c.name)).map(|c| c.attnum).collect();
    for attnum in columns {
        let origin = table.column_origin(attnum);
        table.inheritance.set_column(attnum, origin.without_parent());
    }
    for theirs in parent.constraints.iter().filter(|c| inheritable(parent, c).is_some()) {
        if let Ok(own) = matching(table, theirs) {
            let origin: Origin = table.constraint_origin(own.oid);
            table.inheritance.set_constraint(own.oid, origin.without_parent());
        }
    }
}
