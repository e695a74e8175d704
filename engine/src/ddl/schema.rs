//! CREATE and ALTER SCHEMA.

use std::sync::Arc;

use sqlparser::ast::{AlterSchema, AlterSchemaOperation, ObjectName, Owner, SchemaName};

use super::{DdlContext, allocate, grant, names, privilege, put};
use crate::catalog::{Catalog, Object, Oid, SchemaDef};
use crate::error::{Error, Result, SqlState};
use crate::txn::Transaction;

pub fn create(
    name: &SchemaName,
    if_not_exists: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let tag = "CREATE SCHEMA".to_owned();
    let catalog = tx.catalog();
    privilege::check_create_schema(&catalog, context.user)?;
    let (name, owner) = match name {
        SchemaName::Simple(name) => (simple(name, &catalog)?, context.user),
        SchemaName::UnnamedAuthorization(role_name) => {
            let role = names::ident(role_name);
            let owner = grant::role_oid(role_name, &catalog, context)?;
            let role = catalog.roles.get(&owner).map_or(role, |r| r.name.clone());
            privilege::check_new_owner(&catalog, context.user, owner, None)?;
            (role, owner)
        }
        SchemaName::NamedAuthorization(name, role) => {
            let owner = grant::role_oid(role, &catalog, context)?;
            privilege::check_new_owner(&catalog, context.user, owner, None)?;
            (simple(name, &catalog)?, owner)
        }
    };
    check_name(&name)?;
    if catalog.schema(&name).is_some() {
        let message = format!("schema \"{name}\" already exists");
        if if_not_exists {
            context.notice(SqlState::DuplicateSchema, format!("{message}, skipping"));
            return Ok(tag);
        }
        return Err(Error::new(SqlState::DuplicateSchema, message));
    }
    let oid = allocate(tx)?;
    put(tx, Object::Schema(Arc::new(SchemaDef { oid, name, owner, comment: None })))?;
    Ok(tag)
}

/// The name that CREATE SCHEMA gives.
pub fn name_of(written: &SchemaName) -> String {
    match written {
        SchemaName::Simple(name) | SchemaName::NamedAuthorization(name, _) => {
            name.0.last().and_then(|part| part.as_ident()).map(names::ident).unwrap_or_default()
        }
        SchemaName::UnnamedAuthorization(role) => names::ident(role),
    }
}

pub fn alter(alter: &AlterSchema, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    for operation in &alter.operations {
        let catalog = tx.catalog();
        let mut schema = (**catalog.resolve_schema(&simple(&alter.name, &catalog)?)?).clone();
        privilege::check_owner(&catalog, context.user, schema.owner, "schema", &schema.name)?;
        match operation {
            AlterSchemaOperation::Rename { name } => {
                let name = simple(name, &catalog)?;
                check_name(&name)?;
                privilege::check_create_schema(&catalog, context.user)?;
                if catalog.schema(&name).is_some() {
                    return Err(Error::new(SqlState::DuplicateSchema, format!("schema \"{name}\" already exists")));
                }
                if schema.oid.0 < Oid::FIRST_NORMAL.0 && schema.oid != Oid::PUBLIC {
                    return Err(Error::new(
                        SqlState::InsufficientPrivilege,
                        format!("permission denied to rename schema \"{}\"", schema.name),
                    ));
                }
                super::view::schema_renamed(&schema, &name, tx)?;
                schema.name = name;
            }
            AlterSchemaOperation::OwnerTo { owner } => {
                let owner = owner_oid(owner, &catalog, context)?;
                if owner != schema.owner {
                    privilege::check_new_owner(&catalog, context.user, owner, None)?;
                    privilege::check_create_schema(&catalog, context.user)?;
                }
                schema.owner = owner;
            }
            other => return Err(Error::unsupported(format!("ALTER SCHEMA {other}"))),
        }
        put(tx, Object::Schema(Arc::new(schema)))?;
    }
    Ok("ALTER SCHEMA".to_owned())
}

/// The role that an OWNER TO clause names.
pub fn owner_oid(owner: &Owner, catalog: &Catalog, context: &DdlContext<'_>) -> Result<Oid> {
    match owner {
        Owner::Ident(name) => Ok(catalog.resolve_role(&names::ident(name))?.oid),
        Owner::SessionUser => Ok(context.session_user),
        Owner::CurrentRole | Owner::CurrentUser => Ok(context.user),
    }
}

pub fn simple(name: &ObjectName, catalog: &Catalog) -> Result<String> {
    let mut parts = names::parts(name)?;
    match (parts.pop(), parts.pop(), parts.is_empty()) {
        (Some(name), None, _) => Ok(name),
        (Some(name), Some(database), true) if database == catalog.database.name => Ok(name),
        _ => Err(Error::new(
            SqlState::FeatureNotSupported,
            format!("cross-database references are not implemented: \"{name}\""),
        )),
    }
}

fn check_name(name: &str) -> Result<()> {
    if name.starts_with("pg_") {
        return Err(Error::new(SqlState::ReservedName, format!("unacceptable schema name \"{name}\""))
            .detail("The prefix \"pg_\" is reserved for system schemas."));
    }
    Ok(())
}
