//! CREATE, ALTER and DROP DATABASE.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlparser::ast::Ident;

use super::syntax::databases::DatabaseStatement;
use super::{DdlContext, allocate, grant, names, privilege, put};
use crate::catalog::{Catalog, CatalogChange, DatabaseDef, Object, Oid};
use crate::error::{Error, Result, SqlState};
use crate::session::settings::value::parse_bool;
use crate::txn::Transaction;

/// How long DROP DATABASE … WITH (FORCE) waits for the sessions that it ended.
const FORCE_WAIT: Duration = Duration::from_secs(5);
const FORCE_STEP: Duration = Duration::from_millis(5);

type Options = [(String, Option<String>)];

pub async fn run(statement: &DatabaseStatement, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    match statement {
        DatabaseStatement::Create { name, options } => create(name, options, tx, context),
        DatabaseStatement::Alter { name, options } => alter(name, options, tx, context),
        DatabaseStatement::Rename { name, to } => rename(name, to, tx, context),
        DatabaseStatement::Owner { name, owner } => change_owner(name, owner, tx, context),
        DatabaseStatement::Drop { name, if_exists, force } => drop(name, *if_exists, *force, tx, context).await,
    }
}

/// 55006 while other sessions are connected to the database.
fn check_unused(what: &str, name: &str, context: &DdlContext<'_>) -> Result<()> {
    let others = context.sessions.in_database(name, context.process).len();
    if others == 0 {
        return Ok(());
    }
    let detail = match others {
        1 => "There is 1 other session using the database.".to_owned(),
        n => format!("There are {n} other sessions using the database."),
    };
    Err(Error::new(SqlState::ObjectInUse, format!("{what} \"{name}\" is being accessed by other users")).detail(detail))
}

fn owned(name: &Ident, tx: &Transaction, context: &DdlContext<'_>) -> Result<DatabaseDef> {
    let catalog = tx.catalog();
    let database = catalog.database_of(catalog.find_database(&names::ident(name))?)?;
    catalog.check_owner(context.user, database.owner, "database", &database.name)?;
    Ok((**database).clone())
}

fn creates_databases(catalog: &Catalog, context: &DdlContext<'_>) -> bool {
    catalog.roles.get(&context.user).is_some_and(|r| r.superuser || r.create_database)
}

fn flag(value: Option<&String>, default: bool) -> Result<bool> {
    let Some(text) = value else { return Ok(default) };
    parse_bool(text).ok_or_else(|| Error::new(SqlState::SyntaxError, "option requires a Boolean value"))
}

fn limit(value: Option<&String>) -> Result<i32> {
    let Some(text) = value else { return Ok(-1) };
    let invalid = || Error::new(SqlState::InvalidParameterValue, format!("invalid connection limit: {text}"));
    text.parse().ok().filter(|n| *n >= -1).ok_or_else(invalid)
}

fn create(name: &Ident, options: &Options, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    let catalog = tx.catalog();
    let name = names::ident(name);
    let mut database = DatabaseDef::new(Oid(0), &name, context.user);
    let mut template = "template1".to_owned();
    for (i, (option, value)) in options.iter().enumerate() {
        if options.iter().take(i).any(|(before, _)| before == option) {
            return Err(Error::new(SqlState::SyntaxError, "conflicting or redundant options"));
        }
        let text = value.as_deref().unwrap_or_default();
        match option.as_str() {
            "owner" => {
                if value.is_some() {
                    database.owner = grant::role_oid(&Ident::new(text), &catalog, context)?;
                }
            }
            "template" => template = value.clone().unwrap_or(template),
            "encoding"
                if value.is_none() || text.eq_ignore_ascii_case("utf8") || text.eq_ignore_ascii_case("utf-8") => {}
            "encoding" if text == "6" || text == "-1" => {}
            "encoding" => return Err(Error::unsupported(format!("the encoding {text} of a database"))),
            "locale" | "lc_collate" | "lc_ctype" => {
                let known = ["C", "POSIX", "C.UTF-8", "C.utf8"];
                if value.is_some() && !known.contains(&text) {
                    return Err(Error::unsupported(format!("the locale {text} of a database")));
                }
            }
            "locale_provider" if value.is_none() || text.eq_ignore_ascii_case("libc") => {}
            "strategy" if value.is_none() || ["wal_log", "file_copy"].contains(&&*text.to_lowercase()) => {}
            "tablespace" if value.is_none() || text == "pg_default" => {}
            "allow_connections" => database.allows_connections = flag(value.as_ref(), true)?,
            "connection_limit" => database.connection_limit = limit(value.as_ref())?,
            "is_template" => database.is_template = flag(value.as_ref(), false)?,
            "locale_provider" | "icu_locale" | "strategy" | "tablespace" | "oid" | "collation_version" => {
                return Err(Error::unsupported(format!("CREATE DATABASE with {}", option.to_uppercase())));
            }
            other => {
                return Err(Error::new(SqlState::SyntaxError, format!("option \"{other}\" not recognized")));
            }
        }
    }
    if !creates_databases(&catalog, context) {
        return Err(Error::new(SqlState::InsufficientPrivilege, "permission denied to create database"));
    }
    privilege::check_new_owner(&catalog, context.user, database.owner, None)?;
    if catalog.find_database(&name).is_ok() {
        return Err(Error::new(SqlState::DuplicateDatabase, format!("database \"{name}\" already exists")));
    }
    let missing = || {
        let message = format!("template database \"{template}\" does not exist");
        Error::new(SqlState::InvalidCatalogName, message)
    };
    let source = catalog.find_database(&template).map_err(|_| missing())?;
    let source = catalog.database_of(source)?.clone();
    if !source.is_template && !catalog.has_privileges_of(context.user, source.owner) {
        let message = format!("permission denied to copy database \"{template}\"");
        return Err(Error::new(SqlState::InsufficientPrivilege, message));
    }
    check_unused("source database", &template, context)?;
    let contents = contents(&source, tx)?;
    database.oid = allocate(tx)?;
    let oid = database.oid;
    put(tx, Object::Database(Arc::new(database)))?;
    for object in contents {
        tx.change_catalog(CatalogChange::In(oid, Box::new(CatalogChange::Put(object))))?;
    }
    Ok("CREATE DATABASE".to_owned())
}

/// What a copy of a database begins with.
fn contents(source: &DatabaseDef, tx: &Transaction) -> Result<Vec<Object>> {
    let root = tx.root_catalog();
    let catalog = root.of_database(source.oid).ok_or_else(|| Error::internal("a database has no catalog"))?;
    let mut contents = Vec::new();
    for object in catalog.objects_to_copy() {
        match object {
            Object::Schema(_) | Object::Access(_) => contents.push(object),
            _ => {
                return Err(Error::unsupported("copying a database that has objects of users")
                    .hint("Use template0, and copy with pg_dump."));
            }
        }
    }
    Ok(contents)
}

fn alter(name: &Ident, options: &Options, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    let mut database = owned(name, tx, context)?;
    for (option, value) in options {
        match option.as_str() {
            "allow_connections" => {
                database.allows_connections = flag(value.as_ref(), true)?;
                if !database.allows_connections && database.oid == tx.catalog().database.oid {
                    return Err(Error::new(
                        SqlState::InvalidParameterValue,
                        "cannot disallow connections for current database",
                    ));
                }
            }
            "connection_limit" => database.connection_limit = limit(value.as_ref())?,
            "is_template" => database.is_template = flag(value.as_ref(), false)?,
            other => {
                return Err(Error::new(SqlState::SyntaxError, format!("option \"{other}\" not recognized")));
            }
        }
    }
    put(tx, Object::Database(Arc::new(database)))?;
    Ok("ALTER DATABASE".to_owned())
}

fn rename(name: &Ident, to: &Ident, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    let mut database = owned(name, tx, context)?;
    let catalog = tx.catalog();
    if !creates_databases(&catalog, context) {
        return Err(Error::new(SqlState::InsufficientPrivilege, "permission denied to rename database"));
    }
    let to = names::ident(to);
    if catalog.find_database(&to).is_ok() {
        return Err(Error::new(SqlState::DuplicateDatabase, format!("database \"{to}\" already exists")));
    }
    if database.oid == catalog.database.oid {
        return Err(Error::new(SqlState::FeatureNotSupported, "current database cannot be renamed"));
    }
    check_unused("database", &database.name, context)?;
    database.name = to;
    put(tx, Object::Database(Arc::new(database)))?;
    Ok("ALTER DATABASE".to_owned())
}

fn change_owner(name: &Ident, owner: &Ident, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    let mut database = owned(name, tx, context)?;
    let catalog = tx.catalog();
    let owner = grant::role_oid(owner, &catalog, context)?;
    if owner != database.owner {
        privilege::check_new_owner(&catalog, context.user, owner, None)?;
        if !creates_databases(&catalog, context) {
            return Err(Error::new(SqlState::InsufficientPrivilege, "permission denied to change owner of database"));
        }
    }
    database.owner = owner;
    put(tx, Object::Database(Arc::new(database)))?;
    Ok("ALTER DATABASE".to_owned())
}

async fn drop(
    name: &Ident,
    if_exists: bool,
    force: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let tag = "DROP DATABASE".to_owned();
    let shown = names::ident(name);
    if if_exists && tx.catalog().find_database(&shown).is_err() {
        context.notice(SqlState::SuccessfulCompletion, format!("database \"{shown}\" does not exist, skipping"));
        return Ok(tag);
    }
    let database = owned(name, tx, context)?;
    if database.is_template {
        return Err(Error::new(SqlState::WrongObjectType, "cannot drop a template database"));
    }
    if database.oid == tx.catalog().database.oid {
        return Err(Error::new(SqlState::ObjectInUse, "cannot drop the currently open database"));
    }
    if database.oid == Oid::DATABASE {
        return Err(Error::unsupported("dropping the cluster's first database"));
    }
    if force {
        for session in context.sessions.in_database(&database.name, context.process) {
            session.terminate();
        }
        let until = Instant::now() + FORCE_WAIT;
        while Instant::now() < until && !context.sessions.in_database(&database.name, context.process).is_empty() {
            tokio::time::sleep(FORCE_STEP).await;
        }
    }
    check_unused("database", &database.name, context)?;
    tx.change_catalog(CatalogChange::Drop(database.oid))?;
    Ok(tag)
}
