//! Who may do what while there are no grants: superusers everything, owners what they own, all roles the system relations.

use crate::catalog::{Catalog, Oid, Relation};
use crate::error::{Error, Result, SqlState};

/// 42501 unless the user is a superuser or the owner.
pub fn check_owner(catalog: &Catalog, user: Oid, owner: Oid, kind: &str, name: &str) -> Result<()> {
    if user == owner || is_superuser(catalog, user) {
        return Ok(());
    }
    Err(Error::new(SqlState::InsufficientPrivilege, format!("must be owner of {kind} {name}")))
}

/// 42501 unless the user may read and write the relation. Passwords are for superusers alone.
pub fn check_access(catalog: &Catalog, user: Oid, relation: &Relation) -> Result<()> {
    let allowed = match relation {
        Relation::Table(t) | Relation::Index(t, _) => t.owner == user,
        Relation::View(v) => v.owner == user,
        Relation::Sequence(s) => s.owner == user,
        Relation::System(s) => !matches!(s.name, "pg_authid" | "pg_shadow"),
    };
    if allowed || is_superuser(catalog, user) {
        return Ok(());
    }
    Err(Error::new(
        SqlState::InsufficientPrivilege,
        format!("permission denied for {} {}", relation.kind_name(), relation.name()),
    ))
}

/// 42501 unless the user may create objects in the schema.
pub fn check_create(catalog: &Catalog, user: Oid, schema: Oid) -> Result<()> {
    // A session's own schema is for everybody who has one.
    if schema.is_temporary() {
        return Ok(());
    }
    let owner = catalog.schemas.get(&schema).map(|s| s.owner);
    if owner == Some(user) || is_superuser(catalog, user) {
        return Ok(());
    }
    Err(Error::new(
        SqlState::InsufficientPrivilege,
        format!("permission denied for schema {}", catalog.schema_name(schema)),
    ))
}

pub fn is_superuser(catalog: &Catalog, user: Oid) -> bool {
    catalog.roles.get(&user).is_some_and(|r| r.superuser)
}
