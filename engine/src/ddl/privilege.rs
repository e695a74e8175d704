//! Who may run which DDL, and what becomes of the lists of privileges when objects come, change their owner or lose columns.

use std::sync::Arc;

use crate::catalog::access::{Access, AclTarget};
use crate::catalog::acl::{self, Acl, ObjectKind, Rights};
use crate::catalog::{Catalog, Object, Oid, Relation, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::types::{TypeOid, names};

/// 42501 unless the user has the privileges of the owner.
pub fn check_owner(catalog: &Catalog, user: Oid, owner: Oid, kind: &str, name: &str) -> Result<()> {
    catalog.check_owner(user, owner, kind, name)
}

/// 42501 unless the user has this privilege on the whole table.
pub fn check_table(catalog: &Catalog, user: Oid, table: &Arc<TableDef>, right: Rights) -> Result<()> {
    let relation = Relation::Table(table.clone());
    match catalog.relation_rights(user, &relation).has(right) {
        true => Ok(()),
        false => Err(crate::sql::permission_denied(&relation)),
    }
}

/// 42501 unless the user may reference these columns in a foreign key.
pub fn check_references(catalog: &Catalog, user: Oid, table: &Arc<TableDef>, columns: &[i16]) -> Result<()> {
    let relation = Relation::Table(table.clone());
    let right = Rights::REFERENCES;
    let has = |attnum: &i16| catalog.column_rights(user, &relation, *attnum).has(right);
    match catalog.relation_rights(user, &relation).has(right) || columns.iter().all(has) {
        true => Ok(()),
        false => Err(crate::sql::permission_denied(&relation)),
    }
}

/// 42501 unless the user may use a type, of whose arrays its own privileges count.
pub fn check_type(catalog: &Catalog, user: Oid, ty: TypeOid) -> Result<()> {
    let ty = names::element_of(ty).unwrap_or(ty);
    let own = catalog.types.get(&Oid(ty.0));
    let (owner, kind) = (own.map_or(Oid::SUPERUSER, |def| def.owner), ObjectKind::Type);
    if catalog.rights(user, AclTarget::new(kind, Oid(ty.0)), kind, owner).0.has(Rights::USAGE) {
        return Ok(());
    }
    let name = own.map_or_else(|| names::format_type(ty, -1), |def| def.name.clone());
    Err(Error::new(SqlState::InsufficientPrivilege, format!("permission denied for type {name}")))
}

/// 42501 unless the user may create objects in the schema.
pub fn check_create(catalog: &Catalog, user: Oid, schema: Oid) -> Result<()> {
    // A session's own schema is for everybody who may have one.
    if schema.is_temporary() {
        if catalog.database_rights(user).has(Rights::TEMPORARY) {
            return Ok(());
        }
        let message = format!("permission denied to create temporary tables in database \"{}\"", catalog.database.name);
        return Err(Error::new(SqlState::InsufficientPrivilege, message));
    }
    if catalog.schema_rights(user, schema).has(Rights::CREATE) {
        return Ok(());
    }
    Err(Error::new(
        SqlState::InsufficientPrivilege,
        format!("permission denied for schema {}", catalog.schema_name(schema)),
    ))
}

/// 42501 unless the user may create schemas in the database.
pub fn check_create_schema(catalog: &Catalog, user: Oid) -> Result<()> {
    if catalog.database_rights(user).has(Rights::CREATE) {
        return Ok(());
    }
    let message = format!("permission denied for database {}", catalog.database.name);
    Err(Error::new(SqlState::InsufficientPrivilege, message))
}

/// 42501 unless the user may give an object to that role.
pub fn check_new_owner(catalog: &Catalog, user: Oid, owner: Oid, schema: Option<Oid>) -> Result<()> {
    if catalog.is_superuser(user) {
        return Ok(());
    }
    if !catalog.is_member(user, owner) {
        let name = catalog.roles.get(&owner).map_or("", |r| &r.name);
        return Err(Error::new(SqlState::InsufficientPrivilege, format!("must be member of role \"{name}\"")));
    }
    schema.map_or(Ok(()), |schema| check_create(catalog, owner, schema))
}

/// What has a list of privileges, its owner now and before (`None`: it is new) and its schema.
struct Owned {
    target: AclTarget,
    kind: ObjectKind,
    owner: Oid,
    before: Option<Oid>,
    schema: Oid,
}

fn owned(catalog: &Catalog, object: &Object) -> Option<Owned> {
    let (kind, oid, owner, before, schema) = match object {
        Object::Table(t) => {
            (ObjectKind::Relation, t.oid, t.owner, catalog.tables.get(&t.oid).map(|t| t.owner), t.schema)
        }
        Object::View(v) => (ObjectKind::Relation, v.oid, v.owner, catalog.views.get(&v.oid).map(|v| v.owner), v.schema),
        Object::Sequence(s) => {
            (ObjectKind::Sequence, s.oid, s.owner, catalog.sequences.get(&s.oid).map(|s| s.owner), s.schema)
        }
        Object::Schema(s) => (ObjectKind::Schema, s.oid, s.owner, catalog.schemas.get(&s.oid).map(|s| s.owner), Oid(0)),
        Object::Database(d) => {
            let before = catalog.databases.get(&d.oid).map(|before| before.owner);
            (ObjectKind::Database, d.oid, d.owner, before, Oid(0))
        }
        Object::Routine(r) => {
            let before = catalog.routines.get(&r.oid).map(|before| before.owner);
            (ObjectKind::Function, r.oid, r.owner, before, r.schema)
        }
        Object::Type(t) => {
            let before = catalog.types.get(&t.oid).map(|before| before.owner);
            (ObjectKind::Type, t.oid, t.owner, before, t.schema)
        }
        _ => return None,
    };
    Some(Owned { target: AclTarget::new(kind, oid), kind, owner, before, schema })
}

/// The lists that change with an object.
pub fn follow(catalog: &Catalog, object: &Object) -> Vec<Access> {
    let Some(owned) = owned(catalog, object).filter(|owned| !owned.target.object.is_temporary()) else {
        return Vec::new();
    };
    let set = |target, acl: Option<Acl>| Access::Acl { target, acl };
    let Some(before) = owned.before else {
        let acl = catalog.initial_acl(owned.kind, owned.owner, owned.schema);
        return acl.map(|acl| set(owned.target, Some(acl))).into_iter().collect();
    };
    let mut changes = Vec::new();
    let dropped = |attnum: i16| match object {
        Object::Table(table) => table.attribute(attnum).is_none_or(|c| c.dropped),
        _ => false,
    };
    for (attnum, _) in catalog.access.column_acls(owned.target.object).filter(|(attnum, _)| dropped(*attnum)) {
        changes.push(set(AclTarget::column(owned.target.object, attnum), None));
    }
    if before != owned.owner {
        let moved = |list: &Acl| Some(acl::change_owner(list, before, owned.owner));
        if let Some(list) = catalog.access.own_acl(owned.target) {
            changes.push(set(owned.target, moved(list)));
        }
        if owned.kind == ObjectKind::Relation {
            let columns = catalog.access.column_acls(owned.target.object).filter(|(attnum, _)| !dropped(*attnum));
            changes
                .extend(columns.map(|(attnum, list)| set(AclTarget::column(owned.target.object, attnum), moved(list))));
        }
    }
    changes
}
