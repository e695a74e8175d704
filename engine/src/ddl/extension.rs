//! CREATE and DROP EXTENSION: those that Lockstep has are compiled in ([`crate::functions::extension`]); creating one makes its type
//! and lets its functions be called.

use std::sync::Arc;

use sqlparser::ast::Ident;

use super::{DdlContext, allocate_many, drop, names, privilege, put};
use crate::catalog::{ExtensionDef, Object, Oid, TypeBody, TypeDef};
use crate::error::{Error, Result, SqlState};
use crate::functions::extension;
use crate::txn::Transaction;

pub fn create(
    name: &Ident,
    if_not_exists: bool,
    schema: Option<&Ident>,
    version: Option<&str>,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let tag = "CREATE EXTENSION".to_owned();
    let name = names::ident(name);
    let catalog = tx.catalog();
    if catalog.extension(&name).is_some() {
        let message = format!("extension \"{name}\" already exists");
        if if_not_exists {
            context.notice(SqlState::DuplicateObject, format!("{message}, skipping"));
            return Ok(tag);
        }
        return Err(Error::new(SqlState::DuplicateObject, message));
    }
    let Some(known) = extension::by_name(&name) else {
        return Err(Error::new(SqlState::FeatureNotSupported, format!("extension \"{name}\" is not available"))
            .detail("Lockstep has the extensions that pg_available_extensions lists."));
    };
    if let Some(version) = version.filter(|v| *v != known.version) {
        return Err(Error::new(
            SqlState::InvalidParameterValue,
            format!("extension \"{name}\" has no installation script nor update path for version \"{version}\""),
        ));
    }
    let path = context.path(&catalog);
    let schema = match schema {
        Some(schema) => catalog.resolve_schema(&names::ident(schema))?.oid,
        None => path
            .creation()
            .ok_or_else(|| Error::new(SqlState::InvalidSchemaName, "no schema has been selected to create in"))?,
    };
    privilege::check_create(&catalog, context.user, schema)?;
    if known.type_oid.is_some() {
        catalog.check_type_name_is_free(schema, &name)?;
    }
    let oid = allocate_many(tx, 1)?;
    let owner = context.user;
    let comment = Some(known.comment.to_owned());
    let version = known.version.to_owned();
    put(tx, Object::Extension(Arc::new(ExtensionDef { oid, name: name.clone(), owner, schema, version, comment })))?;
    let Some(type_oid) = known.type_oid else { return Ok(tag) };
    let ty = TypeDef {
        oid: Oid(type_oid.0),
        schema,
        name,
        owner,
        body: TypeBody::Base,
        extension: Some(oid),
        comment: None,
    };
    put(tx, Object::Type(Arc::new(ty)))?;
    Ok(tag)
}

pub async fn drop_extensions(
    names: &[Ident],
    if_exists: bool,
    cascade: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let catalog = tx.catalog();
    let mut found = Vec::new();
    for name in names {
        let name = names::ident(name);
        match catalog.extension(&name) {
            Some(extension) => {
                privilege::check_owner(&catalog, context.user, extension.owner, "extension", &name)?;
                found.push(extension.clone());
            }
            None => {
                let message = format!("extension \"{name}\" does not exist");
                if !if_exists {
                    return Err(Error::new(SqlState::UndefinedObject, message));
                }
                context.notice(SqlState::SuccessfulCompletion, format!("{message}, skipping"));
            }
        }
    }
    drop::drop_extensions(found, cascade, tx, context).await?;
    Ok("DROP EXTENSION".to_owned())
}
