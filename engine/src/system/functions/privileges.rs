//! `has_…_privilege`, `pg_has_role` and the functions over aclitem, by the rules of [`crate::catalog::access`].

use std::sync::Arc;

use super::{Implementation, SetImplementation, invalid, oid_arg, relation_arg, text, text_arg};
use crate::catalog::access::{AclTarget, relation_kind};
use crate::catalog::acl::{AclItem, ObjectKind, PUBLIC, Rights, default_acl, item_text, parse_item};
use crate::catalog::{Catalog, Oid, Relation};
use crate::error::{Error, Result, SqlState};
use crate::functions::{Call, registry};
use crate::sql::live_columns;
use crate::system::SystemContext;
use crate::types::{Datum, TypeOid, names as types};

pub const SCALARS: &[(&str, Implementation)] = &[
    ("has_table_privilege", |c, _, a| on_relation(c, a, ObjectKind::Relation)),
    ("has_sequence_privilege", |c, _, a| on_relation(c, a, ObjectKind::Sequence)),
    ("has_any_column_privilege", on_any_column),
    ("has_column_privilege", on_column),
    ("has_schema_privilege", on_schema),
    ("has_database_privilege", on_database),
    ("has_function_privilege", |c, _, a| by_oid(c, a, ObjectKind::Function)),
    ("has_type_privilege", |c, _, a| by_oid(c, a, ObjectKind::Type)),
    ("has_language_privilege", |c, _, a| by_oid(c, a, ObjectKind::Language)),
    ("has_tablespace_privilege", |c, _, a| by_oid(c, a, ObjectKind::Tablespace)),
    ("has_foreign_data_wrapper_privilege", |c, _, a| by_oid(c, a, ObjectKind::ForeignDataWrapper)),
    ("has_server_privilege", |c, _, a| by_oid(c, a, ObjectKind::ForeignServer)),
    ("has_parameter_privilege", |c, _, a| by_oid(c, a, ObjectKind::Parameter)),
    ("row_security_active", |c, _, a| {
        let relation = relation_arg(c, a, 0)?;
        Ok(Datum::Bool(matches!(relation, Some(Relation::Table(t)) if c.catalog.is_under_row_security(c.user, &t))))
    }),
    ("pg_has_role", has_role),
    ("acldefault", acl_default),
    ("makeaclitem", make_item),
    ("aclcontains", contains),
];

pub const SETS: &[(&str, SetImplementation)] = &[("aclexplode", explode)];

/// The role that comes first if there are more arguments than `short`, and the others.
fn split<'a>(context: &SystemContext, args: &'a [Datum], short: usize) -> Result<(Oid, &'a [Datum])> {
    if args.len() <= short {
        return Ok((context.user, args));
    }
    let rest = args.get(1..).unwrap_or_default();
    Ok((role(context, args)?, rest))
}

fn role(context: &SystemContext, args: &[Datum]) -> Result<Oid> {
    match args.first() {
        // Names given as text are taken as they are, not folded.
        Some(Datum::Text(name)) if &**name == "public" => Ok(PUBLIC),
        Some(Datum::Text(name)) => Ok(context.catalog.resolve_role(name)?.oid),
        _ => oid_arg(args, 0).ok_or_else(|| Error::internal("a role was expected")),
    }
}

/// The privileges of the last argument, `SELECT, INSERT WITH GRANT OPTION`: any of them is enough. 22023 for an unknown one.
fn wanted(args: &[Datum], kind: ObjectKind) -> Result<Vec<(Rights, bool)>> {
    let Some(Datum::Text(list)) = args.last() else {
        return Err(Error::internal("a privilege was expected"));
    };
    let privilege = |item: &str| {
        let item = item.trim();
        let upper = item.to_uppercase();
        let plain = upper.strip_suffix(" WITH GRANT OPTION");
        // RULE is a privilege of old that nobody holds.
        if kind == ObjectKind::Relation && plain.unwrap_or(&upper) == "RULE" {
            return Ok((Rights::NONE, false));
        }
        match Rights::named(plain.unwrap_or(&upper)).filter(|right| kind.all().has(*right)) {
            Some(right) => Ok((right, plain.is_some())),
            None => Err(invalid(format!("unrecognized privilege type: \"{item}\""))),
        }
    };
    list.split(',').map(privilege).collect()
}

fn any(wanted: &[(Rights, bool)], (rights, grantable): (Rights, Rights)) -> bool {
    wanted.iter().any(|(right, option)| {
        let held = if *option { grantable } else { rights };
        !right.is_none() && held.has(*right)
    })
}

/// Rights and grant options on a whole relation.
fn on_whole(context: &SystemContext, role: Oid, relation: &Relation) -> (Rights, Rights) {
    let catalog = &context.catalog;
    let (kind, owner) = relation_kind(relation);
    let rights = catalog.relation_rights(role, relation);
    let grantable = match relation {
        Relation::System(_) if !catalog.is_superuser(role) => Rights::NONE,
        _ => catalog.rights(role, AclTarget::new(kind, relation.oid()), kind, owner).1,
    };
    (rights, grantable)
}

fn on_relation(context: &SystemContext, args: &[Datum], kind: ObjectKind) -> Result<Datum> {
    let (role, rest) = split(context, args, 2)?;
    // Of a sequence the privilege is looked at first, of everything else the name.
    if kind == ObjectKind::Sequence {
        wanted(rest, kind)?;
    }
    let relation = relation_arg(context, rest, 0)?;
    let wanted = wanted(rest, kind)?;
    let Some(relation) = relation else {
        return Ok(Datum::Null);
    };
    if kind == ObjectKind::Sequence && !matches!(relation, Relation::Sequence(_)) {
        let message = format!("\"{}\" is not a sequence", relation.name());
        return Err(Error::new(SqlState::WrongObjectType, message));
    }
    Ok(Datum::Bool(any(&wanted, on_whole(context, role, &relation))))
}

fn column_options(context: &SystemContext, role: Oid, relation: &Relation, attnum: i16) -> (Rights, Rights) {
    let (rights, grantable) = on_whole(context, role, relation);
    let catalog = &context.catalog;
    let own = catalog.column_rights(role, relation, attnum);
    let (_, owner) = relation_kind(relation);
    let list = catalog.access.own_acl(AclTarget::column(relation.oid(), attnum));
    let options = list.map_or(Rights::NONE, |acl| catalog.rights_in(role, acl, ObjectKind::Column, owner).1);
    (rights.with(own), grantable.with(options))
}

fn on_any_column(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let (role, rest) = split(context, args, 2)?;
    let relation = relation_arg(context, rest, 0)?;
    let wanted = wanted(rest, ObjectKind::Column)?;
    let Some(relation) = relation else {
        return Ok(Datum::Null);
    };
    let has = |attnum: i16| any(&wanted, column_options(context, role, &relation, attnum));
    Ok(Datum::Bool(any(&wanted, on_whole(context, role, &relation)) || live_columns(&relation).into_iter().any(has)))
}

fn on_column(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let (role, rest) = split(context, args, 3)?;
    let Some(relation) = relation_arg(context, rest, 0)? else {
        wanted(rest, ObjectKind::Column)?;
        return Ok(Datum::Null);
    };
    let attnum = match rest.get(1) {
        Some(Datum::Text(name)) => {
            let found = match &relation {
                Relation::Table(table) => table.column(name).map(|c| c.attnum),
                Relation::View(view) => view.columns.iter().position(|c| c.0 == **name).map(|at| at as i16 + 1),
                Relation::System(system) => system.column(name).map(|(at, _)| at as i16 + 1),
                _ => None,
            };
            found.ok_or_else(|| {
                let message = format!("column \"{name}\" of relation \"{}\" does not exist", relation.name());
                Error::new(SqlState::UndefinedColumn, message)
            })?
        }
        Some(Datum::Int2(attnum)) if live_columns(&relation).contains(attnum) => *attnum,
        _ => {
            wanted(rest, ObjectKind::Column)?;
            return Ok(Datum::Null);
        }
    };
    let wanted = wanted(rest, ObjectKind::Column)?;
    Ok(Datum::Bool(any(&wanted, column_options(context, role, &relation, attnum))))
}

fn on_schema(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let (role, rest) = split(context, args, 2)?;
    let catalog = &context.catalog;
    let schema = match rest.first() {
        Some(Datum::Text(name)) => Some(catalog.resolve_schema(name)?),
        _ => oid_arg(rest, 0).and_then(|oid| catalog.schemas.get(&oid)),
    };
    let wanted = wanted(rest, ObjectKind::Schema)?;
    let Some(schema) = schema else {
        return Ok(Datum::Null);
    };
    let target = AclTarget::new(ObjectKind::Schema, schema.oid);
    let grantable = catalog.rights(role, target, ObjectKind::Schema, schema.owner).1;
    Ok(Datum::Bool(any(&wanted, (catalog.schema_rights(role, schema.oid), grantable))))
}

fn on_database(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let (role, rest) = split(context, args, 2)?;
    let catalog = &context.catalog;
    let oid = match rest.first() {
        Some(Datum::Text(name)) => catalog.find_database(name)?,
        _ => oid_arg(rest, 0).unwrap_or(Oid(0)),
    };
    let wanted = wanted(rest, ObjectKind::Database)?;
    let Ok(database) = catalog.database_of(oid) else {
        return Ok(Datum::Null);
    };
    let target = AclTarget::new(ObjectKind::Database, database.oid);
    Ok(Datum::Bool(any(&wanted, catalog.rights(role, target, ObjectKind::Database, database.owner))))
}

/// Objects that are no relations, by name or OID; NULL for an OID that none has.
fn by_oid(context: &SystemContext, args: &[Datum], kind: ObjectKind) -> Result<Datum> {
    let (role, rest) = split(context, args, 2)?;
    let catalog = &context.catalog;
    let found = match (rest.first(), kind) {
        // A setting has no OID, and any name may be one.
        (Some(Datum::Text(_)), ObjectKind::Parameter) => Some(Oid(0)),
        (Some(Datum::Text(name)), _) => Some(named(context, name, kind)?),
        _ => oid_arg(rest, 0).filter(|oid| exists(catalog, *oid, kind)),
    };
    let wanted = wanted(rest, kind)?;
    let Some(oid) = found else {
        return Ok(Datum::Null);
    };
    let oid = match kind {
        ObjectKind::Type => types::element_of(TypeOid(oid.0)).map_or(oid, |element| Oid(element.0)),
        _ => oid,
    };
    let owner = match kind {
        ObjectKind::Function => catalog.routines.get(&oid).map(|r| r.owner),
        ObjectKind::Type => catalog.types.get(&oid).map(|t| t.owner),
        _ => None,
    };
    let rights = catalog.rights(role, AclTarget::new(kind, oid), kind, owner.unwrap_or(Oid::SUPERUSER));
    Ok(Datum::Bool(any(&wanted, rights)))
}

const LANGUAGES: [(u32, &str); 3] = [(12, "internal"), (13, "c"), (14, "sql")];
const TABLESPACES: [(u32, &str); 2] = [(1663, "pg_default"), (1664, "pg_global")];

fn named(context: &SystemContext, name: &Arc<str>, kind: ObjectKind) -> Result<Oid> {
    let argument = [Datum::Text(name.clone())];
    let known: &[(u32, &str)] = match kind {
        ObjectKind::Function => return super::names::find_procedure(context, &argument).map(Oid),
        ObjectKind::Type => return super::names::find_type(context, &argument).map(Oid),
        ObjectKind::Language => &LANGUAGES,
        ObjectKind::Tablespace => &TABLESPACES,
        _ => &[],
    };
    let found = known.iter().find(|(_, known)| **known == **name).map(|(oid, _)| Oid(*oid));
    let word = if kind == ObjectKind::ForeignServer { "server" } else { kind.word() };
    found.ok_or_else(|| Error::new(SqlState::UndefinedObject, format!("{word} \"{name}\" does not exist")))
}

fn exists(catalog: &Catalog, oid: Oid, kind: ObjectKind) -> bool {
    match kind {
        ObjectKind::Function => catalog.routines.contains_key(&oid) || registry().function(oid.0).is_some(),
        ObjectKind::Type => catalog.type_name(TypeOid(oid.0)).is_some() || types::row(TypeOid(oid.0)).is_some(),
        ObjectKind::Language => LANGUAGES.iter().any(|known| known.0 == oid.0),
        ObjectKind::Tablespace => TABLESPACES.iter().any(|known| known.0 == oid.0),
        _ => false,
    }
}

fn has_role(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let (user, rest) = split(context, args, 2)?;
    let of = role(context, rest)?;
    let catalog = &context.catalog;
    let Some(Datum::Text(list)) = rest.last() else {
        return Err(Error::internal("a privilege was expected"));
    };
    let mut allowed = false;
    for item in list.split(',') {
        let item = item.trim();
        let upper = item.to_uppercase();
        let option = [" WITH GRANT OPTION", " WITH ADMIN OPTION"].iter().find_map(|o| upper.strip_suffix(o));
        allowed |= match (option.unwrap_or(&upper), option.is_some()) {
            ("USAGE" | "MEMBER", true) => catalog.is_admin_of(user, of),
            ("USAGE", false) => catalog.has_privileges_of(user, of),
            ("MEMBER", false) => catalog.is_member(user, of),
            _ => return Err(invalid(format!("unrecognized privilege type: \"{item}\""))),
        };
    }
    Ok(Datum::Bool(allowed))
}

/// The privileges that an object of a kind has before any GRANT: its owner's, and those of all roles.
fn acl_default(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let (Some(letter), Some(owner)) = (text_arg(args, 0), oid_arg(args, 1)) else {
        return Ok(Datum::Null);
    };
    let kind = ObjectKind::of_letter(letter)
        .ok_or_else(|| invalid(format!("unrecognized object type abbreviation: {letter}")))?;
    let items: Vec<Datum> =
        default_acl(kind, owner).iter().map(|item| text(item_text(item, &context.catalog))).collect();
    Ok(Datum::from(items))
}

fn make_item(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let (Some(grantee), Some(grantor), Some(list)) = (oid_arg(args, 0), oid_arg(args, 1), text_arg(args, 2)) else {
        return Ok(Datum::Null);
    };
    let mut rights = Rights::NONE;
    for name in list.split(',') {
        let name = name.trim();
        let right = Rights::named(name);
        rights = rights.with(right.ok_or_else(|| invalid(format!("unrecognized privilege type: \"{name}\"")))?);
    }
    let grantable = if super::bool_arg(args, 3) { rights } else { Rights::NONE };
    Ok(text(item_text(&AclItem { grantee, grantor, rights, grantable }, &context.catalog)))
}

fn items<'a>(context: &'a SystemContext, args: &'a [Datum]) -> impl Iterator<Item = AclItem> + 'a {
    let list = match args.first() {
        Some(Datum::Array(list)) => Some(list),
        _ => None,
    };
    list.into_iter().flat_map(|list| list.iter()).filter_map(|item| match item {
        Datum::Text(text) => parse_item(text, &context.catalog),
        _ => None,
    })
}

fn contains(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let Some(wanted) = text_arg(args, 1).and_then(|text| parse_item(text, &context.catalog)) else {
        return Ok(Datum::Null);
    };
    let has = |item: AclItem| {
        item.grantee == wanted.grantee
            && item.grantor == wanted.grantor
            && item.rights.has(wanted.rights)
            && item.grantable.has(wanted.grantable)
    };
    Ok(Datum::Bool(items(context, args).any(has)))
}

/// `aclexplode(aclitem[])`: grantor, grantee, privilege_type, is_grantable.
fn explode(context: &SystemContext, args: &[Datum]) -> Result<Vec<Vec<Datum>>> {
    let mut rows = Vec::new();
    for item in items(context, args) {
        for (right, _, name) in Rights::NAMES.iter().filter(|known| item.rights.has(known.0)) {
            let grantable = Datum::Bool(item.grantable.has(*right));
            rows.push(vec![Datum::Oid(item.grantor.0), Datum::Oid(item.grantee.0), Datum::from(*name), grantable]);
        }
    }
    Ok(rows)
}
