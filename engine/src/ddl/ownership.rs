//! What ALTER … OWNER TO and ALTER … SET SCHEMA ask of every object that has a name in a schema.

use sqlparser::ast::Ident;

use super::{DdlContext, grant, names, privilege};
use crate::catalog::{Catalog, Oid};
use crate::error::{Error, Result, SqlState};

/// Whose an object in a schema, `owner`'s so far, becomes (42704, 42501).
pub fn new_owner(role: &Ident, owner: Oid, schema: Oid, catalog: &Catalog, context: &DdlContext<'_>) -> Result<Oid> {
    let new = grant::role_oid(role, catalog, context)?;
    if new != owner {
        privilege::check_new_owner(catalog, context.user, new, Some(schema))?;
    }
    Ok(new)
}

/// The schema that an object in `from` moves to (3F000, 42501, 0A000); that its name is free there is for the caller to see.
pub fn new_schema(schema: &Ident, from: Oid, catalog: &Catalog, context: &DdlContext<'_>) -> Result<Oid> {
    let name = names::ident(schema);
    // A session has its schema of temporary objects from the first of them on.
    if name == "pg_temp" && !from.is_temporary() {
        return Err(into_or_out_of_temporary());
    }
    let to = catalog.resolve_schema(&name)?.oid;
    if to.is_temporary() != from.is_temporary() {
        return Err(into_or_out_of_temporary());
    }
    privilege::check_create(catalog, context.user, to)?;
    if to == Oid::PG_CATALOG || to == Oid::INFORMATION_SCHEMA {
        return Err(Error::new(SqlState::InsufficientPrivilege, "cannot move objects into system schemas"));
    }
    Ok(to)
}

pub fn into_or_out_of_temporary() -> Error {
    Error::new(SqlState::FeatureNotSupported, "cannot move objects into or out of temporary schemas")
}

/// 42501 unless the user owns the object or the schema that it is in, whose owner may drop what others made there.
pub fn check_may_drop(catalog: &Catalog, user: Oid, (owner, schema): (Oid, Oid), kind: &str, name: &str) -> Result<()> {
    let owns_schema = catalog.schemas.get(&schema).is_some_and(|schema| catalog.has_privileges_of(user, schema.owner));
    match owns_schema {
        true => Ok(()),
        false => privilege::check_owner(catalog, user, owner, kind, name),
    }
}
