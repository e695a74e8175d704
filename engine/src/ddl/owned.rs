//! REASSIGN OWNED and DROP OWNED: all that a role has in this database, at once.

use std::sync::Arc;

use sqlparser::ast::Ident;

use super::grant::role_oid;
use super::{DdlContext, drop, put};
use crate::catalog::access::{Access, AclTarget, same_items};
use crate::catalog::acl::{Acl, Change, Rights, default_acl, update};
use crate::catalog::{Catalog, Object, Oid, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::txn::Transaction;

fn roles(names: &[Ident], verb: &str, catalog: &Catalog, context: &DdlContext<'_>) -> Result<Vec<Oid>> {
    let mut roles = Vec::with_capacity(names.len());
    for name in names {
        let role = role_oid(name, catalog, context)?;
        if !catalog.has_privileges_of(context.user, role) {
            return Err(Error::new(SqlState::InsufficientPrivilege, format!("permission denied to {verb} objects")));
        }
        if role == Oid::SUPERUSER {
            let name = catalog.roles.get(&role).map_or("", |r| &r.name);
            let verb = if verb == "drop" { "drop objects owned" } else { "reassign ownership of objects owned" };
            let message = format!("cannot {verb} by role {name} because they are required by the database system");
            return Err(Error::new(SqlState::DependentObjectsStillExist, message));
        }
        roles.push(role);
    }
    Ok(roles)
}

pub fn reassign(from: &[Ident], to: &Ident, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    let catalog = tx.catalog();
    let from = roles(from, "reassign", &catalog, context)?;
    let to = role_oid(to, &catalog, context)?;
    if !catalog.has_privileges_of(context.user, to) {
        return Err(Error::new(SqlState::InsufficientPrivilege, "permission denied to reassign objects"));
    }
    for object in catalog.objects() {
        let moved = match object {
            Object::Table(t) if from.contains(&t.owner) => {
                Object::Table(Arc::new(TableDef { owner: to, ..(*t).clone() }))
            }
            Object::View(v) if from.contains(&v.owner) => {
                let mut view = (*v).clone();
                view.owner = to;
                Object::View(Arc::new(view))
            }
            Object::Sequence(s) if from.contains(&s.owner) => {
                let mut sequence = (*s).clone();
                sequence.owner = to;
                Object::Sequence(Arc::new(sequence))
            }
            Object::Schema(s) if from.contains(&s.owner) => {
                let mut schema = (*s).clone();
                schema.owner = to;
                Object::Schema(Arc::new(schema))
            }
            Object::Database(d) if from.contains(&d.owner) => {
                let mut database = (*d).clone();
                database.owner = to;
                Object::Database(Arc::new(database))
            }
            Object::Collation(c) if from.contains(&c.owner) => {
                Object::Collation(Arc::new(crate::catalog::CollationDef { owner: to, ..(*c).clone() }))
            }
            Object::Statistics(s) if from.contains(&s.owner) => {
                Object::Statistics(Arc::new(crate::catalog::StatisticsDef { owner: to, ..(*s).clone() }))
            }
            Object::Routine(r) if from.contains(&r.owner) => {
                Object::Routine(Arc::new(crate::catalog::RoutineDef { owner: to, ..(*r).clone() }))
            }
            Object::Type(t) if from.contains(&t.owner) => {
                Object::Type(Arc::new(crate::catalog::TypeDef { owner: to, ..(*t).clone() }))
            }
            Object::Extension(e) if from.contains(&e.owner) => {
                Object::Extension(Arc::new(crate::catalog::ExtensionDef { owner: to, ..(*e).clone() }))
            }
            Object::Strategy(s) if from.contains(&s.owner) => {
                let mut strategy = (*s).clone();
                strategy.owner = to;
                Object::Strategy(Arc::new(strategy))
            }
            _ => continue,
        };
        put(tx, moved)?;
    }
    Ok("REASSIGN OWNED".to_owned())
}

pub async fn drop_owned(
    names: &[Ident],
    cascade: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let catalog = tx.catalog();
    let roles = roles(names, "drop", &catalog, context)?;
    drop::drop_owned(&roles, cascade, tx, context).await?;
    super::policy::forget_roles(&roles, tx)?;
    let catalog = tx.catalog();
    let mut changes = Vec::new();
    for (target, acl) in catalog.access.acls() {
        let Some(owner) = owner_of(&catalog, target) else { continue };
        let mut list = (**acl).clone();
        while let Some(item) = list.iter().find(|i| roles.contains(&i.grantee) && i.grantee != owner).copied() {
            let rights = Rights(item.rights.0 | item.grantable.0);
            let (grantee, grantor) = (item.grantee, item.grantor);
            update(
                &mut list,
                Change { grant: false, grantee, grantor, rights, grantable: rights, cascade: true },
                owner,
            )?;
        }
        if list != **acl {
            let column = target.column != 0;
            let list = if column && list.is_empty() { None } else { Some(list) };
            changes.push(Access::Acl { target: *target, acl: list });
        }
    }
    for (key, oid, acl) in catalog.access.defaults() {
        if roles.contains(&key.role) {
            changes.push(Access::Default { key: *key, oid, acl: None });
        } else if acl.iter().any(|i| roles.contains(&i.grantee)) {
            let kept: Acl = acl.iter().filter(|i| !roles.contains(&i.grantee)).copied().collect();
            // What is as it is without being said needs no row.
            let usual = if key.schema.0 == 0 { default_acl(key.kind, key.role) } else { Vec::new() };
            let kept = (!same_items(&kept, &usual)).then_some(kept);
            changes.push(Access::Default { key: *key, oid, acl: kept });
        }
    }
    for access in changes {
        put(tx, Object::Access(access))?;
    }
    Ok("DROP OWNED".to_owned())
}

fn owner_of(catalog: &Catalog, target: &AclTarget) -> Option<Oid> {
    use crate::catalog::acl::ObjectKind as K;
    match target.kind {
        K::Relation | K::Column => Some(crate::catalog::access::relation_kind(&catalog.relation(target.object)?).1),
        K::Schema => catalog.schemas.get(&target.object).map(|s| s.owner),
        K::Database => catalog.database_of(target.object).ok().map(|d| d.owner),
        _ => Some(Oid::SUPERUSER),
    }
}
