//! ADD, DROP, RENAME and VALIDATE CONSTRAINT, with what they do to the tables that inherit.

use std::sync::Arc;

use crate::catalog::{ColumnDef, ConstraintDef, ConstraintKind, Origin, TableDef};
use crate::ddl::constraint::{self, Wanted};
use crate::ddl::inherit::{self, inheritable};
use crate::ddl::{DdlContext, drop as dropping, names, put_table};
use crate::error::{Error, Result, SqlState};
use crate::txn::Transaction;

/// ADD CONSTRAINT: the rows that are there must satisfy it, unless it is NOT VALID.
pub async fn add(
    mut table: TableDef,
    wanted: &Wanted,
    valid: bool,
    only: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let kind = match wanted {
        Wanted::Key { primary: true, .. } | Wanted::UsingIndex { primary: true, .. } => Some("PRIMARY KEY"),
        Wanted::Key { .. } | Wanted::UsingIndex { .. } => Some("UNIQUE"),
        _ => None,
    };
    if let Some(kind) = kind.filter(|_| !valid) {
        return Err(Error::new(
            SqlState::FeatureNotSupported,
            format!("{kind} constraints cannot be marked NOT VALID"),
        ));
    }
    let before = table.constraints.len();
    let added = constraint::add(&mut table, wanted, tx, context).await?;
    if table.constraints.len() == before {
        // It was merged with one that the table has from a parent: the children have it too.
        return put_table(tx, table);
    }
    let added = admit(&mut table, added, valid, tx, context).await?;
    put_table(tx, table.clone())?;
    if wanted.is_primary_key() && !only {
        require_in_heirs(&table, tx, context).await?;
    }
    if inheritable(&table, &added).is_none() {
        return Ok(());
    }
    inherit::check_reaches(&table, only, "constraint must be added to child tables too".to_owned(), tx)?;
    give_to_children(&table, &added, tx, context).await
}

/// The columns of a primary key are NOT NULL in the tables that inherit them, too.
async fn require_in_heirs(table: &TableDef, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<()> {
    let key = table.primary_key().map(|key| key.attnums().collect::<Vec<i16>>()).unwrap_or_default();
    let names: Vec<&str> = key.iter().filter_map(|a| table.attribute(*a)).map(|c| c.name.as_str()).collect();
    for (mut heir, _) in inherit::family(table.oid, tx, context).await?.into_iter().skip(1) {
        let wanted = |c: &&ColumnDef| !c.not_null && !c.dropped && names.contains(&c.name.as_str());
        let nullable: Vec<i16> = heir.columns.iter().filter(wanted).map(|c| c.attnum).collect();
        if nullable.is_empty() {
            continue;
        }
        for attnum in &nullable {
            constraint::validate_not_null(&heir, *attnum, tx)?;
        }
        heir.columns.iter_mut().filter(|c| nullable.contains(&c.attnum)).for_each(|c| c.not_null = true);
        put_table(tx, heir)?;
    }
    Ok(())
}

/// Looks at the rows, or marks the constraint.
async fn admit(
    table: &mut TableDef,
    added: Arc<ConstraintDef>,
    valid: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<Arc<ConstraintDef>> {
    if valid {
        constraint::validate(table, &added, tx, context).await?;
        return Ok(added);
    }
    let marked = Arc::new(ConstraintDef { not_valid: true, ..(*added).clone() });
    for constraint in table.constraints.iter_mut().filter(|c| c.oid == added.oid) {
        *constraint = marked.clone();
    }
    Ok(marked)
}

async fn give_to_children(
    parent: &TableDef,
    given: &ConstraintDef,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    for oid in tx.catalog().children(parent.oid).to_vec() {
        let Some(mut child) = inherit::open_heir(oid, tx, context).await? else { continue };
        let added = inherit::give_check(&mut child, parent, given, tx, context)?;
        let goes_on = match added {
            Some(added) => Some(admit(&mut child, added, !given.not_valid, tx, context).await?),
            None => None,
        };
        put_table(tx, child.clone())?;
        if let Some(added) = goes_on {
            Box::pin(give_to_children(&child, &added, tx, context)).await?;
        }
    }
    Ok(())
}

pub async fn validate(
    table: TableDef,
    name: &str,
    only: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let constraint = find(&table, name)?.clone();
    if constraint.index().is_some() {
        return Err(Error::new(
            SqlState::WrongObjectType,
            format!("constraint \"{name}\" of relation \"{}\" is not a foreign key or check constraint", table.name),
        ));
    }
    if !constraint.not_valid {
        return Ok(());
    }
    if inheritable(&table, &constraint).is_none() {
        return validate_one(table, name, tx, context).await;
    }
    inherit::check_reaches(&table, only, "constraint must be validated on child tables too".to_owned(), tx)?;
    for (member, _) in inherit::family(table.oid, tx, context).await?.into_iter().rev() {
        validate_one(member, name, tx, context).await?;
    }
    Ok(())
}

async fn validate_one(
    mut table: TableDef,
    name: &str,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let Some(constraint) = table.constraint(name).filter(|c| c.not_valid).cloned() else { return Ok(()) };
    constraint::validate(&table, &constraint, tx, context).await?;
    for constraint in table.constraints.iter_mut().filter(|c| c.name == name) {
        *constraint = Arc::new(ConstraintDef { not_valid: false, ..(**constraint).clone() });
    }
    put_table(tx, table)
}

pub fn find<'a>(table: &'a TableDef, name: &str) -> Result<&'a Arc<ConstraintDef>> {
    table.constraint(name).ok_or_else(|| {
        Error::new(
            SqlState::UndefinedObject,
            format!("constraint \"{name}\" of relation \"{}\" does not exist", table.name),
        )
    })
}

pub async fn drop(
    table: &TableDef,
    name: &str,
    if_exists: bool,
    (cascade, only): (bool, bool),
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let constraint = match find(table, name) {
        Ok(constraint) => constraint.clone(),
        Err(error) if if_exists => {
            context.notice(SqlState::SuccessfulCompletion, format!("{}, skipping", error.message()));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    if table.constraint_origin(constraint.oid).is_inherited() {
        let message = format!("cannot drop inherited constraint \"{name}\" of relation \"{}\"", table.name);
        return Err(Error::new(SqlState::InvalidTableDefinition, message));
    }
    drop_found(table, &constraint, (cascade, only), tx, context).await
}

async fn drop_found(
    table: &TableDef,
    constraint: &ConstraintDef,
    (cascade, only): (bool, bool),
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    dropping::drop_constraint(table, constraint, cascade, tx, context)?;
    if inheritable(table, constraint).is_none() {
        return Ok(());
    }
    for oid in tx.catalog().children(table.oid).to_vec() {
        let Some(mut child) = inherit::open_heir(oid, tx, context).await? else { continue };
        let own = find(&child, &constraint.name)?.clone();
        let origin = child.constraint_origin(own.oid);
        if !only && origin == Origin::INHERITED {
            Box::pin(drop_found(&child, &own, (cascade, only), tx, context)).await?;
            continue;
        }
        let left = origin.without_parent();
        let left = Origin { local: left.local || only, ..left };
        child.inheritance.set_constraint(own.oid, left);
        put_table(tx, child)?;
    }
    Ok(())
}

pub async fn rename(
    table: &TableDef,
    from: &str,
    to: &str,
    only: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let missing = || {
        let message = format!("constraint \"{from}\" for table \"{}\" does not exist", table.name);
        Error::new(SqlState::UndefinedObject, message)
    };
    let constraint = table.constraint(from).cloned().ok_or_else(missing)?;
    if inheritable(table, &constraint).is_none() {
        return rename_one(table.clone(), &constraint, to, tx);
    }
    let message = format!("inherited constraint \"{from}\" must be renamed in child tables too");
    inherit::check_reaches(table, only, message, tx)?;
    for (member, parents) in inherit::family(table.oid, tx, context).await?.into_iter().rev() {
        let Some(own) = member.constraint(from).cloned() else { continue };
        if member.constraint_origin(own.oid).parents > parents {
            let message = format!("cannot rename inherited constraint \"{from}\"");
            return Err(Error::new(SqlState::InvalidTableDefinition, message));
        }
        rename_one(member, &own, to, tx)?;
    }
    Ok(())
}

fn rename_one(mut table: TableDef, constraint: &ConstraintDef, to: &str, tx: &mut Transaction) -> Result<()> {
    if table.constraint(to).is_some() {
        return Err(Error::new(
            SqlState::DuplicateObject,
            format!("constraint \"{to}\" for relation \"{}\" already exists", table.name),
        ));
    }
    let key = matches!(constraint.kind, ConstraintKind::PrimaryKey { .. } | ConstraintKind::Unique { .. });
    if key && names::is_taken(&tx.catalog(), table.schema, to) {
        return Err(Error::new(SqlState::DuplicateTable, format!("relation \"{to}\" already exists")));
    }
    super::rename_in_table(&mut table, &constraint.name, to);
    put_table(tx, table)
}
