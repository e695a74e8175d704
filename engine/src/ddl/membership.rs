//! Membership of roles: GRANT role TO role, REVOKE, and the members that CREATE ROLE and ALTER GROUP name.

use sqlparser::ast::Ident;

use super::grant::{check_granted_by, role_oid};
use super::syntax::access::GrantRoles;
use super::{DdlContext, put};
use crate::catalog::access::{Access, DATABASE_OWNER, Membership};
use crate::catalog::{Catalog, Object, Oid};
use crate::error::{Error, NoticeLevel, Result, SqlState};
use crate::txn::Transaction;

fn name(catalog: &Catalog, role: Oid) -> String {
    catalog.roles.get(&role).map_or_else(String::new, |r| r.name.clone())
}

pub fn grant(grant: &GrantRoles, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    let catalog = tx.catalog();
    check_granted_by(grant.granted_by.as_ref(), &catalog, context)?;
    let members: Vec<Oid> =
        grant.grantees.iter().map(|name| role_oid(name, &catalog, context)).collect::<Result<_>>()?;
    for role in &grant.roles {
        let role = role_oid(role, &catalog, context)?;
        match grant.grant {
            true => add(role, &members, grant.option, tx, context)?,
            false => remove(role, &members, grant.option, tx, context)?,
        }
    }
    Ok(if grant.grant { "GRANT ROLE" } else { "REVOKE ROLE" }.to_owned())
}

/// ALTER GROUP … ADD or DROP USER.
pub fn alter_group(
    group: &Ident,
    adds: bool,
    members: &[Ident],
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let catalog = tx.catalog();
    let role = role_oid(group, &catalog, context)?;
    let members: Vec<Oid> = members.iter().map(|name| role_oid(name, &catalog, context)).collect::<Result<_>>()?;
    match adds {
        true => add(role, &members, false, tx, context)?,
        false => remove(role, &members, false, tx, context)?,
    }
    Ok("ALTER ROLE".to_owned())
}

fn check_may_change(catalog: &Catalog, role: Oid, context: &DdlContext<'_>) -> Result<()> {
    if catalog.is_superuser(role) {
        if catalog.is_superuser(context.user) {
            return Ok(());
        }
        return Err(Error::new(SqlState::InsufficientPrivilege, "must be superuser to alter superusers"));
    }
    let creates = catalog.roles.get(&context.user).is_some_and(|r| r.create_role);
    if creates || catalog.is_admin_of(context.user, role) {
        return Ok(());
    }
    let message = format!("must have admin option on role \"{}\"", name(catalog, role));
    Err(Error::new(SqlState::InsufficientPrivilege, message))
}

pub fn add(role: Oid, members: &[Oid], admin: bool, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<()> {
    if members.is_empty() {
        return Ok(());
    }
    check_may_change(&tx.catalog(), role, context)?;
    for member in members.iter().copied() {
        let catalog = tx.catalog();
        let (role_name, member_name) = (name(&catalog, role), name(&catalog, member));
        if role == DATABASE_OWNER {
            let message = format!("role \"{role_name}\" cannot have explicit members");
            return Err(Error::new(SqlState::InvalidGrantOperation, message));
        }
        if member == DATABASE_OWNER {
            let message = format!("role \"{member_name}\" cannot be a member of any role");
            return Err(Error::new(SqlState::InvalidGrantOperation, message));
        }
        if catalog.is_real_member(role, member) {
            let message = format!("role \"{role_name}\" is a member of role \"{member_name}\"");
            return Err(Error::new(SqlState::InvalidGrantOperation, message));
        }
        let known = catalog.access.membership(role, member).copied();
        if known.is_some_and(|known| known.admin || !admin) {
            let message = format!("role \"{member_name}\" is already a member of role \"{role_name}\"");
            context.notice(SqlState::SuccessfulCompletion, message);
            continue;
        }
        let membership = Membership { role, member, grantor: context.user, admin };
        put(tx, Object::Access(Access::Member(membership)))?;
    }
    Ok(())
}

fn remove(
    role: Oid,
    members: &[Oid],
    only_admin: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    check_may_change(&tx.catalog(), role, context)?;
    for member in members.iter().copied() {
        let catalog = tx.catalog();
        let Some(known) = catalog.access.membership(role, member).copied() else {
            let message =
                format!("role \"{}\" is not a member of role \"{}\"", name(&catalog, member), name(&catalog, role));
            context.report(NoticeLevel::Warning, Error::new(SqlState::Warning, message));
            continue;
        };
        let access = match only_admin {
            true => Access::Member(Membership { admin: false, ..known }),
            false => Access::NotMember { role, member },
        };
        put(tx, Object::Access(access))?;
    }
    Ok(())
}
