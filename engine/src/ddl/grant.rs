//! GRANT and REVOKE of privileges, and ALTER DEFAULT PRIVILEGES.
//!
//! Invariant: a list changes as PostgreSQL's would: the grantor is the owner for superusers and members of the owner, else
//! the role with the most grant options among those that the user has.

use std::sync::Arc;

use sqlparser::ast::{Ident, ObjectName};

use super::names::{self, Name};
use super::routine_syntax::{RoutineKind, RoutineName};
use super::syntax::access::{GrantPrivileges, Objects};
use super::{DdlContext, allocate, put, routine, user_type};
use crate::catalog::access::{Access, AclTarget, DefaultKey, item_order, plural, relation_kind, same_items};
use crate::catalog::acl::{Acl, Change, ObjectKind, PUBLIC, Rights, default_acl, update};
use crate::catalog::{Catalog, NamedType, Object, Oid, Relation, RoutineDef, TypeBody};
use crate::error::{Error, NoticeLevel, Result, SqlState};
use crate::functions::registry;
use crate::txn::Transaction;
use crate::types::{TypeOid, names as types};

/// Something whose list changes.
struct Target {
    key: AclTarget,
    kind: ObjectKind,
    owner: Oid,
    name: String,
    relation: Option<Relation>,
}

/// `CURRENT_USER` and the like, or a role's name (42704). `PUBLIC` only where it makes sense.
pub fn role_oid(name: &Ident, catalog: &Catalog, context: &DdlContext<'_>) -> Result<Oid> {
    let folded = names::ident(name);
    match folded.as_str() {
        "current_user" | "current_role" if name.quote_style.is_none() => Ok(context.user),
        "session_user" if name.quote_style.is_none() => Ok(context.session_user),
        "public" if name.quote_style.is_none() => {
            Err(Error::new(SqlState::UndefinedObject, "role \"public\" does not exist"))
        }
        _ => Ok(catalog.resolve_role(&folded)?.oid),
    }
}

pub fn grantee_oid(name: &Ident, catalog: &Catalog, context: &DdlContext<'_>) -> Result<Oid> {
    match name.quote_style.is_none() && name.value.eq_ignore_ascii_case("public") {
        true => Ok(PUBLIC),
        false => role_oid(name, catalog, context),
    }
}

pub fn check_granted_by(by: Option<&Ident>, catalog: &Catalog, context: &DdlContext<'_>) -> Result<()> {
    match by {
        Some(by) if role_oid(by, catalog, context)? != context.user => {
            Err(Error::new(SqlState::FeatureNotSupported, "grantor must be current user"))
        }
        _ => Ok(()),
    }
}

pub fn privileges(grant: &GrantPrivileges, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    let catalog = tx.catalog();
    check_granted_by(grant.granted_by.as_ref(), &catalog, context)?;
    let grantees: Vec<Oid> =
        grant.grantees.iter().map(|name| grantee_oid(name, &catalog, context)).collect::<Result<_>>()?;
    let (allowed, kind) = allowed(&grant.objects)?;
    let mut whole = Rights::NONE;
    let mut columns: Vec<(Rights, &[Ident])> = Vec::new();
    for (name, of) in &grant.privileges {
        let right = match name.as_str() {
            "all" => ObjectKind::Column.all(),
            name => Rights::named(name)
                .ok_or_else(|| Error::new(SqlState::SyntaxError, format!("unrecognized privilege type \"{name}\"")))?,
        };
        let invalid = |kind: &str| {
            let message = format!("invalid privilege type {} for {kind}", name.to_uppercase());
            Error::new(SqlState::InvalidGrantOperation, message)
        };
        if of.is_empty() {
            if !allowed.has(right) {
                return Err(invalid(kind));
            }
            whole = whole.with(right);
        } else {
            if !matches!(grant.objects, Objects::Tables(_)) {
                return Err(Error::new(
                    SqlState::InvalidGrantOperation,
                    "column privileges are only valid for relations",
                ));
            }
            if !ObjectKind::Column.all().has(right) {
                return Err(invalid("column"));
            }
            columns.push((right, of));
        }
    }
    let all = grant.privileges.is_empty();
    for target in targets(&grant.objects, tx, context)? {
        if all || !whole.is_none() {
            grant_on(&target, grant, all, whole, &grantees, tx, context)?;
        }
        for (rights, of) in &columns {
            grant_on_columns(&target, grant, *rights, of, &grantees, tx, context)?;
        }
    }
    Ok(if grant.grant { "GRANT" } else { "REVOKE" }.to_owned())
}

/// What may be granted on objects of a kind, and how messages name it.
fn allowed(objects: &Objects) -> Result<(Rights, &'static str)> {
    Ok(match objects {
        Objects::Tables(_) => (ObjectKind::Relation.all().with(ObjectKind::Sequence.all()), "relation"),
        Objects::AllIn("tables", _) | Objects::New("tables") => (ObjectKind::Relation.all(), "relation"),
        Objects::Sequences(_) | Objects::AllIn("sequences", _) | Objects::New("sequences") => {
            (ObjectKind::Sequence.all(), "sequence")
        }
        Objects::Functions(RoutineKind::Procedure, _) | Objects::AllIn("procedures", _) => {
            (Rights::EXECUTE, "procedure")
        }
        Objects::Functions(RoutineKind::Routine, _) | Objects::AllIn("routines", _) => (Rights::EXECUTE, "routine"),
        Objects::Functions(..) | Objects::AllIn(..) | Objects::New("functions") => (Rights::EXECUTE, "function"),
        Objects::Databases(_) => (ObjectKind::Database.all(), "database"),
        Objects::Schemas(_) | Objects::New("schemas") => (ObjectKind::Schema.all(), "schema"),
        Objects::Domains(_) => (Rights::USAGE, "domain"),
        Objects::Types(_) | Objects::New(_) => (Rights::USAGE, "type"),
        Objects::Languages(_) => (Rights::USAGE, "language"),
        Objects::Tablespaces(_) => (Rights::CREATE, "tablespace"),
        Objects::Other(what) => return Err(Error::unsupported(*what)),
    })
}

fn relation_target(relation: Relation) -> Target {
    let (kind, owner) = relation_kind(&relation);
    let key = AclTarget::new(kind, relation.oid());
    Target { key, kind, owner, name: relation.name().to_owned(), relation: Some(relation) }
}

fn targets(objects: &Objects, tx: &Transaction, context: &mut DdlContext<'_>) -> Result<Vec<Target>> {
    let catalog = &tx.catalog();
    let path = context.path(catalog);
    let mut targets = Vec::new();
    match objects {
        Objects::Tables(list) | Objects::Sequences(list) => {
            for name in list {
                let relation = Name::new(name, catalog)?.resolve(catalog, &path)?;
                let name = relation.name();
                match (&relation, objects) {
                    (Relation::Index(..), _) => {
                        return Err(Error::new(SqlState::WrongObjectType, format!("\"{name}\" is an index")));
                    }
                    (Relation::Sequence(_), _) => {}
                    (_, Objects::Sequences(_)) => {
                        return Err(Error::new(SqlState::WrongObjectType, format!("\"{name}\" is not a sequence")));
                    }
                    (Relation::System(_), _) => return Err(Error::unsupported("GRANT on a system relation")),
                    _ => {}
                }
                targets.push(relation_target(relation));
            }
        }
        Objects::Databases(list) => {
            for name in list {
                let name = names::ident(name);
                let database = catalog.database_of(catalog.find_database(&name)?)?;
                targets.push(target(ObjectKind::Database, database.oid, database.owner, &database.name));
            }
        }
        Objects::Schemas(list) => {
            for name in list {
                let schema = catalog.resolve_schema(&names::ident(name))?;
                targets.push(target(ObjectKind::Schema, schema.oid, schema.owner, &schema.name));
            }
        }
        Objects::AllIn(kind, list) => {
            for schema in list {
                let schema = catalog.resolve_schema(&names::ident(schema))?.oid;
                targets.extend(all_in(kind, schema, catalog));
            }
        }
        Objects::Types(list) | Objects::Domains(list) => {
            let domain = matches!(objects, Objects::Domains(_));
            for name in list {
                targets.push(type_target(name, domain, catalog, context)?);
            }
        }
        Objects::Functions(kind, list) => {
            for name in list {
                targets.push(routine_target(*kind, name, tx, context)?);
            }
        }
        Objects::Languages(list) => {
            for name in list {
                let name = names::ident(name);
                let oid = match name.as_str() {
                    "sql" => Oid(14),
                    "c" | "internal" => {
                        let message = format!("language \"{name}\" is not trusted");
                        let detail = "GRANT and REVOKE are not allowed on untrusted languages, because only superusers \
                                      can use untrusted languages.";
                        return Err(Error::new(SqlState::WrongObjectType, message).detail(detail));
                    }
                    _ => {
                        let message = format!("language \"{name}\" does not exist");
                        return Err(Error::new(SqlState::UndefinedObject, message));
                    }
                };
                targets.push(target(ObjectKind::Language, oid, Oid::SUPERUSER, &name));
            }
        }
        Objects::Tablespaces(list) => {
            for name in list {
                let name = names::ident(name);
                let oid = match name.as_str() {
                    "pg_default" => Oid(1663),
                    "pg_global" => Oid(1664),
                    _ => {
                        let message = format!("tablespace \"{name}\" does not exist");
                        return Err(Error::new(SqlState::UndefinedObject, message));
                    }
                };
                targets.push(target(ObjectKind::Tablespace, oid, Oid::SUPERUSER, &name));
            }
        }
        Objects::New(_) | Objects::Other(_) => {}
    }
    Ok(targets)
}

fn target(kind: ObjectKind, oid: Oid, owner: Oid, name: &str) -> Target {
    Target { key: AclTarget::new(kind, oid), kind, owner, name: name.to_owned(), relation: None }
}

fn all_in(kind: &str, schema: Oid, catalog: &Catalog) -> Vec<Target> {
    match kind {
        "tables" => {
            let tables = catalog.tables.values().filter(|t| t.schema == schema).cloned().map(Relation::Table);
            let views = catalog.views.values().filter(|v| v.schema == schema).cloned().map(Relation::View);
            tables.chain(views).map(relation_target).collect()
        }
        "sequences" => {
            let sequences = catalog.sequences.values().filter(|s| s.schema == schema);
            sequences.cloned().map(Relation::Sequence).map(relation_target).collect()
        }
        _ => {
            let meant = |r: &&Arc<RoutineDef>| match kind {
                "functions" => !r.procedure,
                "procedures" => r.procedure,
                _ => true,
            };
            let routines = catalog.routines.values().filter(|r| r.schema == schema).filter(meant);
            routines.map(|r| target(ObjectKind::Function, r.oid, r.owner, &r.name)).collect()
        }
    }
}

fn type_target(name: &ObjectName, domain: bool, catalog: &Catalog, context: &DdlContext<'_>) -> Result<Target> {
    let name = Name::new(name, catalog)?;
    let path = context.path(catalog);
    let not_array = |ty: TypeOid| match types::element_of(ty) {
        Some(_) => Err(Error::new(SqlState::InvalidGrantOperation, "cannot set privileges of array types")
            .hint("Set the privileges of the element type instead.")),
        None => Ok(ty),
    };
    let built_in = || types::lookup_sql(&name.name).or_else(|| types::lookup(&name.name));
    match user_type::find(&name, catalog, context)? {
        Some(NamedType::Own(def)) if domain && !matches!(def.body, TypeBody::Domain(_)) => {
            Err(Error::new(SqlState::WrongObjectType, format!("\"{name}\" is not a domain")))
        }
        Some(NamedType::Own(def)) => Ok(target(ObjectKind::Type, def.oid, def.owner, &def.name)),
        Some(NamedType::Row(_)) if !domain => Err(Error::unsupported("GRANT on the row type of a relation")),
        Some(NamedType::Row(_)) => Err(Error::new(SqlState::WrongObjectType, format!("\"{name}\" is not a domain"))),
        None => {
            let ty = catalog.find_type(name.schema.as_deref(), &name.name, &path).or_else(built_in);
            let ty = not_array(ty.ok_or_else(|| user_type::undefined(&name))?)?;
            if domain {
                return Err(Error::new(SqlState::WrongObjectType, format!("\"{name}\" is not a domain")));
            }
            Ok(target(ObjectKind::Type, Oid(ty.0), Oid::SUPERUSER, &name.name))
        }
    }
}

fn routine_target(
    kind: RoutineKind,
    name: &RoutineName,
    tx: &Transaction,
    context: &mut DdlContext<'_>,
) -> Result<Target> {
    let catalog = tx.catalog();
    let written = Name::new(&name.name, &catalog)?;
    let may_be_built_in = written.schema.as_deref().is_none_or(|schema| schema == "pg_catalog");
    if may_be_built_in && kind != RoutineKind::Procedure {
        let types = name.args.as_ref().map(|args| routine::types_of(args, tx, context)).transpose()?;
        let fits = |f: &&Arc<crate::functions::Function>| types.as_ref().is_none_or(|types| *types == f.args);
        let known = registry().lookup(&written.name);
        let path = context.path(&catalog);
        let own = catalog.routines_named(written.schema.as_deref(), &written.name, &path);
        // A name alone has to mean one of all of them.
        if let [one] = known.iter().filter(fits).collect::<Vec<_>>()[..]
            && (types.is_some() || own.is_empty())
        {
            return Ok(target(ObjectKind::Function, Oid(one.oid), Oid::SUPERUSER, &written.name));
        }
        if types.is_none() && known.len() + own.len() > 1 {
            let what = kind.word();
            let message = format!("{what} name \"{written}\" is not unique");
            return Err(Error::new(SqlState::AmbiguousFunction, message)
                .hint(format!("Specify the argument list to select the {what} unambiguously.")));
        }
    }
    let found = routine::find_named(kind, name, false, false, tx, context)?;
    let routine = found.ok_or_else(|| Error::internal("a routine that is missing"))?;
    Ok(target(ObjectKind::Function, routine.oid, routine.owner, &routine.name))
}

/// Who grants, and with which options.
fn best_grantor(
    catalog: &Catalog,
    user: Oid,
    wanted: Rights,
    acl: &Acl,
    kind: ObjectKind,
    owner: Oid,
) -> (Oid, Rights) {
    if catalog.has_privileges_of(user, owner) {
        return (owner, kind.all());
    }
    let mut best = (user, Rights::NONE);
    let mut best_count = 0;
    for role in catalog.roles.keys().filter(|role| catalog.has_privileges_of(user, **role)) {
        let options = acl.iter().filter(|i| i.grantee == *role).fold(Rights::NONE, |sum, i| sum.with(i.grantable));
        let options = options.both(wanted);
        if options == wanted {
            return (*role, options);
        }
        if options.0.count_ones() > best_count {
            best_count = options.0.count_ones();
            best = (*role, options);
        }
    }
    best
}

/// What of the wanted privileges the grantor can give: 42501 if it has nothing to do with the object, warnings for the rest.
#[allow(clippy::too_many_arguments)]
fn restrict(
    grant: bool,
    all: bool,
    wanted: Rights,
    options: Rights,
    holds_any: bool,
    name: &str,
    denied: impl FnOnce() -> Error,
    context: &mut DdlContext<'_>,
) -> Result<Rights> {
    if options.is_none() && !holds_any {
        return Err(denied());
    }
    let given = wanted.both(options);
    let (state, none, some) = match grant {
        true => (SqlState::PrivilegeNotGranted, "no privileges were granted", "not all privileges were granted"),
        false => {
            (SqlState::PrivilegeNotRevoked, "no privileges could be revoked", "not all privileges could be revoked")
        }
    };
    if given.is_none() {
        context.report(NoticeLevel::Warning, Error::new(state, format!("{none} for {name}")));
    } else if !all && given != wanted {
        context.report(NoticeLevel::Warning, Error::new(state, format!("{some} for {name}")));
    }
    Ok(given)
}

/// Applies the change for each grantee.
fn merge(acl: &mut Acl, grant: &GrantPrivileges, grantees: &[Oid], rights: Rights, by: Oid, owner: Oid) -> Result<()> {
    for grantee in grantees {
        if grant.grant && grant.option && *grantee == PUBLIC {
            return Err(Error::new(SqlState::InvalidGrantOperation, "grant options can only be granted to roles"));
        }
        let change = Change {
            grant: grant.grant,
            grantee: *grantee,
            grantor: by,
            rights: if grant.grant || !grant.option { rights } else { Rights::NONE },
            grantable: if !grant.grant || grant.option { rights } else { Rights::NONE },
            cascade: grant.cascade,
        };
        update(acl, change, owner)?;
    }
    Ok(())
}

fn grant_on(
    target: &Target,
    grant: &GrantPrivileges,
    all: bool,
    wanted: Rights,
    grantees: &[Oid],
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    if target.key.object.is_temporary() {
        return Err(Error::unsupported("GRANT on a temporary relation"));
    }
    let catalog = tx.catalog();
    let mut wanted = if all { target.kind.all() } else { wanted };
    if !wanted.without(target.kind.all()).is_none() {
        if target.kind == ObjectKind::Sequence {
            let message = format!("sequence \"{}\" only supports USAGE, SELECT, and UPDATE privileges", target.name);
            context.report(NoticeLevel::Warning, Error::new(SqlState::InvalidGrantOperation, message));
            wanted = wanted.both(target.kind.all());
        } else {
            let message = format!("invalid privilege type USAGE for {}", target.kind.word());
            return Err(Error::new(SqlState::InvalidGrantOperation, message));
        }
    }
    let mut acl = catalog.acl(target.key, target.kind, target.owner);
    let (by, options) = best_grantor(&catalog, context.user, wanted, &acl, target.kind, target.owner);
    let (held, grantable) = catalog.rights_in(by, &acl, target.kind, target.owner);
    let holds_any = !held.is_none() || !grantable.is_none();
    let denied = || match &target.relation {
        Some(relation) => crate::sql::permission_denied(relation),
        None => Error::new(
            SqlState::InsufficientPrivilege,
            format!("permission denied for {} {}", target.kind.word(), target.name),
        ),
    };
    let shown = format!("\"{}\"", target.name);
    let given = restrict(grant.grant, all, wanted, options, holds_any, &shown, denied, context)?;
    merge(&mut acl, grant, grantees, given, by, target.owner)?;
    put(tx, Object::Access(Access::Acl { target: target.key, acl: Some(acl) }))?;
    // What is revoked from all columns is revoked from each.
    let of_columns = given.both(ObjectKind::Column.all());
    if !grant.grant && target.relation.is_some() && !of_columns.is_none() {
        let columns: Vec<i16> = catalog.access.column_acls(target.key.object).map(|(attnum, _)| attnum).collect();
        for attnum in columns {
            change_column(target, attnum, grant, of_columns, grantees, by, tx)?;
        }
    }
    Ok(())
}

fn change_column(
    target: &Target,
    attnum: i16,
    grant: &GrantPrivileges,
    rights: Rights,
    grantees: &[Oid],
    by: Oid,
    tx: &mut Transaction,
) -> Result<()> {
    let key = AclTarget::column(target.key.object, attnum);
    let mut acl = tx.catalog().access.own_acl(key).map_or_else(Vec::new, |acl| (**acl).clone());
    merge(&mut acl, grant, grantees, rights, by, target.owner)?;
    let acl = (!acl.is_empty()).then_some(acl);
    put(tx, Object::Access(Access::Acl { target: key, acl }))
}

fn grant_on_columns(
    target: &Target,
    grant: &GrantPrivileges,
    rights: Rights,
    columns: &[Ident],
    grantees: &[Oid],
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    for column in columns {
        let catalog = tx.catalog();
        let name = names::ident(column);
        let missing = || {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", target.name);
            Error::new(SqlState::UndefinedColumn, message)
        };
        let attnum = match &target.relation {
            Some(Relation::Table(table)) => table.column(&name).map(|c| c.attnum),
            Some(Relation::View(view)) => view.columns.iter().position(|c| c.0 == name).map(|at| at as i16 + 1),
            _ => None,
        };
        let attnum = attnum.ok_or_else(missing)?;
        let mut rights = rights;
        if target.kind == ObjectKind::Sequence && !rights.without(Rights::SELECT).is_none() {
            let message = format!("sequence \"{}\" only supports SELECT column privileges", target.name);
            context.report(NoticeLevel::Warning, Error::new(SqlState::InvalidGrantOperation, message));
            rights = rights.both(Rights::SELECT);
        }
        let mut both = catalog.acl(target.key, target.kind, target.owner);
        both.extend(catalog.access.own_acl(AclTarget::column(target.key.object, attnum)).iter().flat_map(|a| a.iter()));
        let (by, options) = best_grantor(&catalog, context.user, rights, &both, ObjectKind::Column, target.owner);
        let (held, grantable) = catalog.rights_in(by, &both, target.kind, target.owner);
        let holds_any = !held.is_none() || !grantable.is_none();
        let denied = || {
            let message = format!("permission denied for column \"{name}\" of relation \"{}\"", target.name);
            Error::new(SqlState::InsufficientPrivilege, message)
        };
        let shown = format!("column \"{name}\" of relation \"{}\"", target.name);
        let given = restrict(grant.grant, false, rights, options, holds_any, &shown, denied, context)?;
        change_column(target, attnum, grant, given, grantees, by, tx)?;
    }
    Ok(())
}

/// ALTER DEFAULT PRIVILEGES.
pub fn defaults(
    roles: &[Ident],
    schemas: &[Ident],
    change: &GrantPrivileges,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let catalog = tx.catalog();
    let grantees: Vec<Oid> =
        change.grantees.iter().map(|name| grantee_oid(name, &catalog, context)).collect::<Result<_>>()?;
    let kind = match &change.objects {
        Objects::New("tables") => ObjectKind::Relation,
        Objects::New("sequences") => ObjectKind::Sequence,
        Objects::New("functions") => ObjectKind::Function,
        Objects::New("types") => ObjectKind::Type,
        _ => ObjectKind::Schema,
    };
    let mut rights = if change.privileges.is_empty() { kind.all() } else { Rights::NONE };
    for (name, columns) in &change.privileges {
        if !columns.is_empty() {
            return Err(Error::new(SqlState::InvalidGrantOperation, "default privileges cannot be set for columns"));
        }
        let right = Rights::named(name)
            .ok_or_else(|| Error::new(SqlState::SyntaxError, format!("unrecognized privilege type \"{name}\"")))?;
        if !kind.all().has(right) {
            let word = plural(kind).trim_end_matches('s');
            let message = format!("invalid privilege type {} for {word}", name.to_uppercase());
            return Err(Error::new(SqlState::InvalidGrantOperation, message));
        }
        rights = rights.with(right);
    }
    if kind == ObjectKind::Schema && !schemas.is_empty() {
        return Err(Error::new(
            SqlState::InvalidGrantOperation,
            "cannot use IN SCHEMA clause when using GRANT/REVOKE ON SCHEMAS",
        ));
    }
    let mut owners = Vec::new();
    for role in roles {
        let oid = role_oid(role, &catalog, context)?;
        if !catalog.is_member(context.user, oid) {
            let name = catalog.roles.get(&oid).map_or("", |r| &r.name);
            let message = format!("must be member of role \"{name}\"");
            return Err(Error::new(SqlState::InsufficientPrivilege, message));
        }
        owners.push(oid);
    }
    if roles.is_empty() {
        owners.push(context.user);
    }
    let mut places = Vec::new();
    for schema in schemas {
        places.push(catalog.resolve_schema(&names::ident(schema))?.oid);
    }
    if schemas.is_empty() {
        places.push(Oid(0));
    }
    for role in owners {
        for schema in &places {
            let key = DefaultKey { role, schema: *schema, kind };
            let known = tx.catalog().access.default_of(key).map(|(oid, acl)| (oid, (**acl).clone()));
            let usual = if schema.0 == 0 { default_acl(kind, role) } else { Vec::new() };
            let (oid, mut acl) = match known {
                Some((oid, acl)) => (oid, acl),
                None => (allocate(tx)?, usual.clone()),
            };
            merge(&mut acl, change, &grantees, rights, role, role)?;
            acl.sort_unstable_by_key(item_order);
            let acl = (!same_items(&acl, &usual)).then_some(acl);
            put(tx, Object::Access(Access::Default { key, oid, acl }))?;
        }
    }
    Ok("ALTER DEFAULT PRIVILEGES".to_owned())
}
