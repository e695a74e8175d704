//! CREATE, ALTER and DROP COLLATION; which collation a column, a domain or an index has.
//!
//! Invariant: no unique index has a column whose collation holds different strings equal. Such an index would have to be kept by
//! sort keys, and those change with the data that is compiled in.

use std::sync::Arc;

use sqlparser::ast::ObjectName;
use sqlparser::tokenizer::Span;

use super::names::{self, Name};
use super::syntax::collation::{CollationChange, CollationStatement};
use super::{DdlContext, allocate, drop, expression, ownership, privilege, put};
use crate::catalog::{Catalog, Collation, CollationDef, Object, Oid, Order, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::sql::bind::collation::{not_collatable, of_type};
use crate::txn::Transaction;
use crate::types::PgType;
use crate::types::collation::{self, VERSION};

pub async fn run(statement: &CollationStatement, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    match statement {
        CollationStatement::Create { name, if_not_exists, options, from } => {
            create(name, *if_not_exists, options, from.as_ref(), tx, context)
        }
        CollationStatement::Alter { name, change } => alter(name, change, tx, context),
        CollationStatement::Drop { names, if_exists, cascade } => {
            drop_collations(names, *if_exists, *cascade, tx, context).await
        }
    }
}

/// What CREATE COLLATION's options say.
fn order(options: &[(String, String)]) -> Result<(Order, Option<String>)> {
    let redundant = |detail: Option<&str>| {
        let error = Error::new(SqlState::SyntaxError, "conflicting or redundant options");
        detail.map_or(error.clone(), |detail| error.detail(detail))
    };
    let invalid = |message: String| Error::new(SqlState::InvalidObjectDefinition, message);
    for (i, (name, _)) in options.iter().enumerate() {
        let known = ["locale", "lc_collate", "lc_ctype", "provider", "deterministic", "version", "from"];
        if !known.contains(&name.as_str()) {
            return Err(Error::new(SqlState::SyntaxError, format!("collation attribute \"{name}\" not recognized")));
        }
        if options.iter().skip(i + 1).any(|(other, _)| other == name) {
            return Err(redundant(None));
        }
    }
    let option = |name: &str| options.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let (locale, mut collate, mut ctype) = (option("locale"), option("lc_collate"), option("lc_ctype"));
    if locale.is_some() && (collate.is_some() || ctype.is_some()) {
        return Err(redundant(Some("LOCALE cannot be specified together with LC_COLLATE or LC_CTYPE.")));
    }
    let deterministic = match option("deterministic").map(str::to_ascii_lowercase).as_deref() {
        None | Some("true" | "on" | "1") => true,
        Some("false" | "off" | "0") => false,
        Some(_) => return Err(Error::new(SqlState::SyntaxError, "deterministic requires a Boolean value")),
    };
    let version = option("version").map(str::to_owned);
    match option("provider").map(str::to_ascii_lowercase).as_deref() {
        Some("icu") => {
            let locale = locale.ok_or_else(|| invalid("parameter \"locale\" must be specified".into()))?;
            collation::rules(locale)?;
            let order = Order::Language { locale: locale.to_owned(), deterministic };
            Ok((order, Some(version.unwrap_or_else(|| VERSION.to_owned()))))
        }
        None | Some("libc") => {
            collate = collate.or(locale);
            ctype = ctype.or(locale);
            let collate = collate.ok_or_else(|| invalid("parameter \"lc_collate\" must be specified".into()))?;
            let ctype = ctype.ok_or_else(|| invalid("parameter \"lc_ctype\" must be specified".into()))?;
            if !deterministic {
                return Err(Error::new(
                    SqlState::FeatureNotSupported,
                    "nondeterministic collations not supported with this provider",
                ));
            }
            let bytes = |name: &str| matches!(name, "C" | "POSIX" | "C.UTF-8" | "C.utf8");
            if let Some(other) = [collate, ctype].into_iter().find(|name| !bytes(name)) {
                return Err(Error::unsupported(format!("locale \"{other}\" of the C library"))
                    .hint("Use provider = icu for the order of a language."));
            }
            Ok((Order::Bytes { collate: collate.to_owned(), ctype: ctype.to_owned() }, version))
        }
        Some(_) => {
            let written = option("provider").unwrap_or_default();
            Err(invalid(format!("unrecognized collation provider: {written}")))
        }
    }
}

fn find(name: &Name, catalog: &Catalog, context: &DdlContext<'_>) -> Result<Collation> {
    catalog.find_collation(name.schema.as_deref(), &name.name, &context.path(catalog))
}

fn create(
    name: &ObjectName,
    if_not_exists: bool,
    options: &[(String, String)],
    from: Option<&ObjectName>,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let tag = "CREATE COLLATION".to_owned();
    let catalog = tx.catalog();
    let name = Name::new(name, &catalog)?;
    let schema = name.creation_schema(&catalog, &context.path(&catalog))?;
    privilege::check_create(&catalog, context.user, schema)?;
    if from.is_some() && options.len() > 1 {
        return Err(Error::new(SqlState::SyntaxError, "conflicting or redundant options")
            .detail("FROM cannot be specified together with any other options."));
    }
    let (order, version) = match from {
        None => order(options)?,
        Some(from) => match find(&Name::new(from, &catalog)?, &catalog, context)? {
            Collation::Own(source) => (source.order.clone(), source.version.clone()),
            Collation::Builtin(builtin) if builtin.oid == collation::DEFAULT => {
                return Err(Error::new(SqlState::InvalidObjectDefinition, "collation \"default\" cannot be copied"));
            }
            Collation::Builtin(builtin) => match builtin.locale {
                Some(locale) => {
                    let order = Order::Language { locale: locale.to_owned(), deterministic: true };
                    (order, Some(VERSION.to_owned()))
                }
                None => {
                    let name = if builtin.oid == collation::UCS_BASIC { "C" } else { builtin.name };
                    (Order::Bytes { collate: name.to_owned(), ctype: name.to_owned() }, None)
                }
            },
        },
    };
    if catalog.collation_in(schema, &name.name).is_some() {
        let message = format!("collation \"{}\" already exists", name.name);
        if !if_not_exists {
            return Err(Error::new(SqlState::DuplicateObject, message));
        }
        context.notice(SqlState::DuplicateObject, format!("{message}, skipping"));
        return Ok(tag);
    }
    let oid = allocate(tx)?;
    let def = CollationDef { oid, schema, name: name.name, owner: context.user, order, version, comment: None };
    put(tx, Object::Collation(Arc::new(def)))?;
    Ok(tag)
}

fn alter(
    name: &ObjectName,
    change: &CollationChange,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let tag = "ALTER COLLATION".to_owned();
    let catalog = tx.catalog();
    let found = find(&Name::new(name, &catalog)?, &catalog, context)?;
    let def = match &found {
        Collation::Own(def) => def,
        Collation::Builtin(builtin) => {
            return match change {
                _ if !context.is_superuser(&catalog) => Err(Error::new(
                    SqlState::InsufficientPrivilege,
                    format!("must be owner of collation {}", builtin.name),
                )),
                CollationChange::RefreshVersion if builtin.oid == collation::DEFAULT => {
                    Err(Error::new(SqlState::WrongObjectType, "cannot refresh version of default collation")
                        .hint("Use ALTER DATABASE ... REFRESH COLLATION VERSION instead."))
                }
                CollationChange::RefreshVersion => {
                    context.notice(SqlState::SuccessfulCompletion, "version has not changed");
                    Ok(tag)
                }
                _ => Err(Error::unsupported("changing a collation of the system")),
            };
        }
    };
    privilege::check_owner(&catalog, context.user, def.owner, "collation", &def.name)?;
    let mut def = (**def).clone();
    let taken = |schema: Oid, name: &str| match catalog.collation_in(schema, name) {
        Some(_) => Err(Error::new(
            SqlState::DuplicateObject,
            format!("collation \"{name}\" already exists in schema \"{}\"", catalog.schema_name(schema)),
        )),
        None => Ok(()),
    };
    match change {
        CollationChange::Rename(to) => {
            let to = names::ident(to);
            taken(def.schema, &to)?;
            def.name = to;
        }
        CollationChange::Owner(role) => {
            def.owner = ownership::new_owner(role, def.owner, def.schema, &catalog, context)?;
        }
        CollationChange::SetSchema(schema) => {
            let to = ownership::new_schema(schema, def.schema, &catalog, context)?;
            if to != def.schema {
                taken(to, &def.name)?;
            }
            def.schema = to;
        }
        CollationChange::RefreshVersion => {
            let new = matches!(def.order, Order::Language { .. }).then(|| VERSION.to_owned());
            if def.version == new {
                context.notice(SqlState::SuccessfulCompletion, "version has not changed");
                return Ok(tag);
            }
            let (old, now) = (def.version.unwrap_or_default(), new.clone().unwrap_or_default());
            context.notice(SqlState::SuccessfulCompletion, format!("changing version from {old} to {now}"));
            def.version = new;
        }
    }
    put(tx, Object::Collation(Arc::new(def)))?;
    Ok(tag)
}

async fn drop_collations(
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let mut targets: Vec<Arc<CollationDef>> = Vec::new();
    for name in names {
        let catalog = tx.catalog();
        let name = Name::new(name, &catalog)?;
        match find(&name, &catalog, context) {
            Ok(Collation::Own(def)) => {
                let of = (def.owner, def.schema);
                ownership::check_may_drop(&catalog, context.user, of, "collation", &def.name)?;
                if !targets.iter().any(|t| t.oid == def.oid) {
                    targets.push(def);
                }
            }
            Ok(Collation::Builtin(builtin)) => {
                let name = crate::system::deparse::quote_ident(builtin.name);
                return Err(Error::new(
                    SqlState::DependentObjectsStillExist,
                    format!("cannot drop collation {name} because it is required by the database system"),
                ));
            }
            Err(error) if if_exists => {
                let message = match error.state() {
                    SqlState::InvalidSchemaName => format!("{}, skipping", error.message()),
                    _ => format!("collation \"{name}\" does not exist, skipping"),
                };
                context.notice(SqlState::SuccessfulCompletion, message);
            }
            Err(error) => return Err(error),
        }
    }
    drop::drop_collations(targets, cascade, tx, context).await?;
    Ok("DROP COLLATION".to_owned())
}

/// COMMENT ON COLLATION.
pub fn comment(
    name: &ObjectName,
    comment: Option<String>,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let catalog = tx.catalog();
    match find(&Name::new(name, &catalog)?, &catalog, context)? {
        Collation::Builtin(_) => Err(Error::unsupported("COMMENT ON a collation of the system")),
        Collation::Own(def) => {
            privilege::check_owner(&catalog, context.user, def.owner, "collation", &def.name)?;
            put(tx, Object::Collation(Arc::new(CollationDef { comment, ..(*def).clone() })))
        }
    }
}

/// The collation that COLLATE gives to what has a type: `None` if it is the type's own anyway.
pub fn chosen(name: &ObjectName, ty: PgType, tx: &Transaction, context: &DdlContext<'_>) -> Result<Option<Oid>> {
    let binder = expression::binder(context.source.clone(), tx, context);
    let at = context.source.before(sqlparser::ast::Spanned::span(name), "collate");
    let locate = |error: Error| match at {
        Some(at) => context.source.locate(error, Span::new(at, at)),
        None => error,
    };
    let found = binder.find_collation(name).map_err(locate)?;
    let Some(own) = of_type(ty.oid) else { return Err(locate(not_collatable(ty))) };
    Ok(Some(found.oid()).filter(|oid| *oid != own))
}

/// The collation of a domain's values.
pub fn of_domain(domain: Option<Oid>, catalog: &Catalog) -> Option<Oid> {
    catalog.types.get(&domain?)?.domain()?.collation
}

/// Whether a collation holds different strings equal.
pub fn is_blurred(collation: Option<Oid>, catalog: &Catalog) -> bool {
    let collation = collation.and_then(|oid| catalog.collation(oid));
    collation.is_some_and(|c| c.language().is_some_and(|(_, deterministic)| !deterministic))
}

/// 0A000 for a unique index that the invariant forbids.
pub fn check_unique_indexes(table: &TableDef, catalog: &Catalog) -> Result<()> {
    if catalog.collations.is_empty() {
        return Ok(());
    }
    for index in table.indexes.iter().filter(|i| i.unique) {
        for column in &index.columns {
            if is_blurred(column.collation_in(table), catalog) {
                return Err(Error::unsupported("a unique index under a nondeterministic collation"));
            }
        }
    }
    Ok(())
}
