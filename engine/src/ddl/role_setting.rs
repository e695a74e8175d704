//! ALTER ROLE … SET and ALTER DATABASE … SET: settings that later sessions begin with.

use sqlparser::ast::Ident;

use super::grant::role_oid;
use super::syntax::access::SettingChange;
use super::{DdlContext, names, put};
use crate::catalog::access::Access;
use crate::catalog::{Object, Oid};
use crate::error::{Error, Result, SqlState};
use crate::session::settings::Settings;
use crate::txn::Transaction;

/// `None` for the role and the database: all of them.
pub fn alter(
    role: Option<&Ident>,
    database: Option<&Ident>,
    change: &SettingChange,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let catalog = tx.catalog();
    let tag = if role.is_none() && database.is_some() { "ALTER DATABASE" } else { "ALTER ROLE" };
    let superuser = catalog.is_superuser(context.user);
    let role_oid = match role {
        Some(role) => role_oid(role, &catalog, context)?,
        None => Oid(0),
    };
    let database = match database {
        Some(name) => catalog.find_database(&names::ident(name))?,
        None => Oid(0),
    };
    if role_oid != Oid(0) {
        if catalog.is_superuser(role_oid) && !superuser {
            return Err(Error::new(SqlState::InsufficientPrivilege, "must be superuser to alter superusers"));
        }
        let creates = catalog.roles.get(&context.user).is_some_and(|r| r.create_role);
        if !superuser && !creates && role_oid != context.user {
            return Err(Error::new(SqlState::InsufficientPrivilege, "permission denied"));
        }
    } else if tag == "ALTER DATABASE" {
        let database = catalog.database_of(database)?;
        catalog.check_owner(context.user, database.owner, "database", &database.name)?;
    } else if !superuser {
        return Err(Error::new(SqlState::InsufficientPrivilege, "must be superuser to alter settings globally"));
    }
    let mut settings = catalog.access.settings_of(database, role_oid).to_vec();
    match change {
        SettingChange::ResetAll => settings.clear(),
        SettingChange::Reset(name) => {
            Settings::check_name(name)?;
            settings.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        }
        SettingChange::Set { name, values } => {
            let text = match name.as_str() {
                "search_path" => {
                    values.iter().map(|v| crate::session::quote_identifier(v)).collect::<Vec<_>>().join(", ")
                }
                _ => values.join(", "),
            };
            store(&mut settings, name, &text)?;
        }
        SettingChange::FromCurrent(name) => {
            let text = context.current_settings.show(name)?;
            store(&mut settings, name, &text)?;
        }
    }
    put(tx, Object::Access(Access::Settings { database, role: role_oid, settings }))?;
    Ok(tag.to_owned())
}

fn store(settings: &mut Vec<(String, String)>, name: &str, text: &str) -> Result<()> {
    let (name, text) = Settings::check_stored(name, text)?;
    match settings.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(&name)) {
        Some(known) => known.1 = text,
        None => settings.push((name, text)),
    }
    Ok(())
}
