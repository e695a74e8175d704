//! Roles: CREATE, ALTER and DROP ROLE and USER. Passwords are kept as SCRAM-SHA-256 verifiers, never as text.

use std::num::NonZeroU32;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SecureRandom;
use ring::{digest, hmac, pbkdf2};
use sqlparser::ast::Ident;

use super::grant::role_oid;
use super::syntax::RoleOptions;
use super::{DdlContext, allocate, membership, names, put};
use crate::catalog::{Catalog, CatalogChange, Object, Oid, RoleDef};
use crate::error::{Error, Result, SqlState};
use crate::txn::Transaction;
use crate::types::{Datum, PgType, TypeOid, text};

const ITERATIONS: NonZeroU32 = match NonZeroU32::new(4096) {
    Some(n) => n,
    None => NonZeroU32::MIN,
};

pub fn create(
    name: &Ident,
    options: &RoleOptions,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let catalog = tx.catalog();
    if !context.is_superuser(&catalog) {
        let privileged = [
            (options.superuser, "superusers"),
            (options.replication, "replication users"),
            (options.bypass_row_security, "bypassrls users"),
        ];
        if let Some((_, what)) = privileged.iter().find(|(wanted, _)| *wanted == Some(true)) {
            return Err(denied(&format!("must be superuser to create {what}")));
        }
        check_creates(&catalog, context, "permission denied to create role")?;
    }
    let name = names::ident(name);
    check_name(&name)?;
    if catalog.role(&name).is_some() {
        return Err(Error::new(SqlState::DuplicateObject, format!("role \"{name}\" already exists")));
    }
    let oids = |names: &[Ident], context: &DdlContext<'_>| -> Result<Vec<Oid>> {
        names.iter().map(|name| role_oid(name, &catalog, context)).collect()
    };
    let in_roles = oids(&options.in_roles, context)?;
    let (members, admins) = (oids(&options.members, context)?, oids(&options.admins, context)?);
    let mut role = RoleDef::new(allocate(tx)?, &name);
    let oid = role.oid;
    apply(&mut role, options, context)?;
    put(tx, Object::Role(Arc::new(role)))?;
    for of in in_roles {
        membership::add(of, &[oid], false, tx, context)?;
    }
    membership::add(oid, &admins, true, tx, context)?;
    membership::add(oid, &members, false, tx, context)?;
    Ok("CREATE ROLE".to_owned())
}

pub fn alter(
    name: &Ident,
    options: &RoleOptions,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let catalog = tx.catalog();
    let oid = role_oid(name, &catalog, context)?;
    let mut role = catalog.roles.get(&oid).map(|r| (**r).clone()).ok_or_else(|| Error::internal("no role"))?;
    check_reserved(&role.name)?;
    if !context.is_superuser(&catalog) {
        if role.superuser || options.superuser.is_some() {
            return Err(denied("must be superuser to alter superuser roles or change superuser attribute"));
        }
        if role.replication || options.replication.is_some() {
            return Err(denied("must be superuser to alter replication roles or change replication attribute"));
        }
        if options.bypass_row_security.is_some() {
            return Err(denied("must be superuser to change bypassrls attribute"));
        }
        // A role may change its own password.
        let only_password = RoleOptions { password: None, ..options.clone() };
        let own = role.oid == context.user && format!("{only_password:?}") == format!("{:?}", RoleOptions::default());
        if !own {
            check_creates(&catalog, context, "permission denied")?;
        }
    }
    apply(&mut role, options, context)?;
    put(tx, Object::Role(Arc::new(role)))?;
    let oids: Vec<Oid> = options.members.iter().map(|name| role_oid(name, &catalog, context)).collect::<Result<_>>()?;
    membership::add(oid, &oids, false, tx, context)?;
    Ok("ALTER ROLE".to_owned())
}

pub fn rename(name: &Ident, to: &Ident, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    let catalog = tx.catalog();
    let mut role = (**catalog.resolve_role(&names::ident(name))?).clone();
    let to = names::ident(to);
    if role.oid == context.session_user {
        return Err(Error::new(SqlState::FeatureNotSupported, "session user cannot be renamed"));
    }
    if role.oid == context.user {
        return Err(Error::new(SqlState::FeatureNotSupported, "current user cannot be renamed"));
    }
    check_reserved(&role.name)?;
    check_name(&to)?;
    if catalog.role(&to).is_some() {
        return Err(Error::new(SqlState::DuplicateObject, format!("role \"{to}\" already exists")));
    }
    if role.superuser && !context.is_superuser(&catalog) {
        return Err(denied("must be superuser to rename superusers"));
    }
    check_creates(&catalog, context, "permission denied to rename role")?;
    role.name = to;
    put(tx, Object::Role(Arc::new(role)))?;
    Ok("ALTER ROLE".to_owned())
}

pub fn drop_roles(
    roles: &[Ident],
    if_exists: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    check_creates(&tx.catalog(), context, "permission denied to drop role")?;
    let mut doomed = Vec::new();
    for name in roles {
        let catalog = tx.catalog();
        let special = ["current_user", "current_role", "session_user", "public"];
        if name.quote_style.is_none() && special.iter().any(|word| name.value.eq_ignore_ascii_case(word)) {
            return Err(Error::new(SqlState::InvalidParameterValue, "cannot use special role specifier in DROP ROLE"));
        }
        let name = names::ident(name);
        let Some(role) = catalog.role(&name) else {
            let message = format!("role \"{name}\" does not exist");
            if !if_exists {
                return Err(Error::new(SqlState::UndefinedObject, message));
            }
            context.notice(SqlState::SuccessfulCompletion, format!("{message}, skipping"));
            continue;
        };
        if role.oid == context.user {
            return Err(Error::new(SqlState::ObjectInUse, "current user cannot be dropped"));
        }
        if role.oid == context.session_user {
            return Err(Error::new(SqlState::ObjectInUse, "session user cannot be dropped"));
        }
        if role.superuser && !context.is_superuser(&catalog) {
            return Err(denied("must be superuser to drop superusers"));
        }
        if role.oid.0 < Oid::FIRST_NORMAL.0 {
            return Err(Error::new(
                SqlState::DependentObjectsStillExist,
                format!("cannot drop role {name} because it is required by the database system"),
            ));
        }
        doomed.push(role.clone());
    }
    // Memberships go first: roles of one statement may be members of each other.
    for role in &doomed {
        let catalog = tx.catalog();
        let mut lines = catalog.granted_to(role.oid);
        let owned = catalog.owned_by_role(role.oid);
        lines.extend(owned.into_iter().map(|(oid, shown)| (oid, format!("owner of {shown}"))));
        lines.sort_by_key(|(oid, _)| *oid);
        let mut lines: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
        lines.extend(elsewhere(role.oid, tx));
        if !lines.is_empty() {
            return Err(Error::new(
                SqlState::DependentObjectsStillExist,
                format!("role \"{}\" cannot be dropped because some objects depend on it", role.name),
            )
            .detail(lines.join("\n")));
        }
        tx.change_catalog(CatalogChange::Drop(role.oid))?;
    }
    Ok("DROP ROLE".to_owned())
}

/// What other databases have of a role.
fn elsewhere(role: Oid, tx: &Transaction) -> Vec<String> {
    let (root, here) = (tx.root_catalog(), tx.catalog().database.oid);
    let mut lines = Vec::new();
    for database in root.databases.values().filter(|database| database.oid != here) {
        let Some(other) = root.of_database(database.oid) else { continue };
        let owned = other.owned_by_role(role).into_iter().filter(|(oid, _)| !other.is_shared(*oid)).count();
        let granted = other.granted_to(role).into_iter().filter(|(oid, _)| !other.is_shared(*oid)).count();
        match owned + granted {
            0 => {}
            1 => lines.push(format!("1 object in database {}", database.name)),
            n => lines.push(format!("{n} objects in database {}", database.name)),
        }
    }
    lines
}

fn denied(message: &str) -> Error {
    Error::new(SqlState::InsufficientPrivilege, message)
}

fn check_creates(catalog: &Catalog, context: &DdlContext<'_>, message: &str) -> Result<()> {
    let user = catalog.roles.get(&context.user);
    match user.is_some_and(|r| r.superuser || r.create_role) {
        true => Ok(()),
        false => Err(denied(message)),
    }
}

fn check_reserved(name: &str) -> Result<()> {
    if name.starts_with("pg_") {
        return Err(Error::new(SqlState::ReservedName, format!("role name \"{name}\" is reserved"))
            .detail("Cannot alter reserved roles."));
    }
    Ok(())
}

fn check_name(name: &str) -> Result<()> {
    if name.starts_with("pg_") {
        return Err(Error::new(SqlState::ReservedName, format!("role name \"{name}\" is reserved"))
            .detail("Role names starting with \"pg_\" are reserved."));
    }
    if name == "public" || name == "none" {
        return Err(Error::new(SqlState::ReservedName, format!("role name \"{name}\" is reserved")));
    }
    Ok(())
}

fn apply(role: &mut RoleDef, options: &RoleOptions, context: &mut DdlContext<'_>) -> Result<()> {
    let set = |field: &mut bool, value: Option<bool>| *field = value.unwrap_or(*field);
    set(&mut role.superuser, options.superuser);
    set(&mut role.login, options.login);
    set(&mut role.create_database, options.create_database);
    set(&mut role.create_role, options.create_role);
    set(&mut role.inherit, options.inherit);
    set(&mut role.replication, options.replication);
    set(&mut role.bypass_row_security, options.bypass_row_security);
    if let Some(limit) = options.connection_limit {
        if limit < -1 {
            return Err(Error::new(SqlState::InvalidParameterValue, format!("invalid connection limit: {limit}")));
        }
        role.connection_limit = limit;
    }
    if let Some(until) = &options.valid_until {
        let ty: PgType = TypeOid::TIMESTAMPTZ.into();
        match text::parse(until, ty, &context.eval.format)? {
            Datum::Timestamptz(i64::MAX) => role.valid_until = None,
            Datum::Timestamptz(until) => role.valid_until = Some(until),
            _ => return Err(Error::internal("a timestamp was expected")),
        }
    }
    match &options.password {
        None => {}
        Some(None) => role.password = None,
        Some(Some(password)) if password.is_empty() => {
            context.notice(SqlState::SuccessfulCompletion, "empty string is not a valid password, clearing password");
            role.password = None;
        }
        Some(Some(password)) if password.starts_with("md5") && password.len() == 35 => {
            return Err(Error::unsupported("a password in MD5 form"));
        }
        Some(Some(password)) if is_verifier(password) => role.password = Some(password.clone()),
        Some(Some(password)) => role.password = Some(verifier(password)?),
    }
    Ok(())
}

fn is_verifier(text: &str) -> bool {
    let Some((iterations, rest)) = text.strip_prefix("SCRAM-SHA-256$").and_then(|t| t.split_once(':')) else {
        return false;
    };
    let Some((salt, keys)) = rest.split_once('$') else {
        return false;
    };
    let key = |k: &str| STANDARD.decode(k).is_ok_and(|k| k.len() == 32);
    iterations.parse::<u32>().is_ok_and(|n| n > 0)
        && STANDARD.decode(salt).is_ok_and(|s| !s.is_empty())
        && keys.split_once(':').is_some_and(|(stored, server)| key(stored) && key(server))
}

/// `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>` (RFC 5802, RFC 7677).
pub fn verifier(password: &str) -> Result<String> {
    let mut salt = [0u8; 16];
    ring::rand::SystemRandom::new()
        .fill(&mut salt)
        .map_err(|_| Error::internal("the system's random number generator failed"))?;
    Ok(verifier_with_salt(password, &salt))
}

fn verifier_with_salt(password: &str, salt: &[u8]) -> String {
    let mut salted = [0u8; 32];
    // Clients do the same; what SASLprep refuses counts as it is.
    let prepared = stringprep::saslprep(password).unwrap_or(password.into());
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, salt, prepared.as_bytes(), &mut salted);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let client = hmac::sign(&key, b"Client Key");
    let stored = digest::digest(&digest::SHA256, client.as_ref());
    let server = hmac::sign(&key, b"Server Key");
    format!(
        "SCRAM-SHA-256${ITERATIONS}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored),
        STANDARD.encode(server)
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Made by PostgreSQL 15: `CREATE ROLE r PASSWORD 'pencil'`.
    #[test]
    fn verifiers_are_postgresqls() {
        let stored = include_str!("testdata/scram_verifier.txt").trim();
        let salt = stored.split([':', '$']).nth(2).unwrap();
        assert_eq!(verifier_with_salt("pencil", &STANDARD.decode(salt).unwrap()), stored);
        assert!(is_verifier(stored));
        assert_eq!(verifier_with_salt("cafe\u{301}", b"salt"), verifier_with_salt("caf\u{e9}", b"salt"));
        assert!(!is_verifier("SCRAM-SHA-256$4096:abc"));
    }
}
