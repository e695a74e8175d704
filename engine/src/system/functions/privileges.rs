//! `has_…_privilege` and `pg_has_role`, by the rules of [`crate::ddl::check_access`].

use super::{Implementation, invalid, oid_arg, relation_arg};
use crate::catalog::{Oid, Relation};
use crate::error::{Error, Result, SqlState};
use crate::functions::Call;
use crate::system::SystemContext;
use crate::types::Datum;

pub const SCALARS: &[(&str, Implementation)] = &[
    ("has_table_privilege", |c, _, a| on_relation(c, a, 2)),
    ("has_any_column_privilege", |c, _, a| on_relation(c, a, 2)),
    ("has_sequence_privilege", |c, _, a| on_relation(c, a, 2)),
    ("has_column_privilege", |c, _, a| on_relation(c, a, 3)),
    ("has_schema_privilege", on_schema),
    ("has_database_privilege", on_database),
    ("has_function_privilege", |c, _, a| always(c, a)),
    ("has_type_privilege", |c, _, a| always(c, a)),
    ("has_language_privilege", |c, _, a| always(c, a)),
    ("has_tablespace_privilege", |c, _, a| always(c, a)),
    ("has_foreign_data_wrapper_privilege", |c, _, a| always(c, a)),
    ("has_server_privilege", |c, _, a| always(c, a)),
    ("has_parameter_privilege", |c, _, a| always(c, a)),
    ("pg_has_role", has_role),
    ("acldefault", acl_default),
];

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
        Some(Datum::Text(name)) if &**name == "public" => Ok(Oid(0)),
        Some(Datum::Text(name)) => Ok(context.catalog.resolve_role(name)?.oid),
        _ => oid_arg(args, 0).ok_or_else(|| Error::internal("a role was expected")),
    }
}

fn is_superuser(context: &SystemContext, role: Oid) -> bool {
    context.catalog.roles.get(&role).is_some_and(|r| r.superuser)
}

/// The privileges of the last argument, `SELECT, INSERT WITH GRANT OPTION`, in capitals (22023 for an unknown one).
fn wanted(args: &[Datum]) -> Result<Vec<String>> {
    const KNOWN: [&str; 17] = [
        "SELECT",
        "INSERT",
        "UPDATE",
        "DELETE",
        "TRUNCATE",
        "REFERENCES",
        "TRIGGER",
        "RULE",
        "USAGE",
        "CREATE",
        "CONNECT",
        "TEMPORARY",
        "TEMP",
        "EXECUTE",
        "SET",
        "ALTER SYSTEM",
        "MEMBER",
    ];
    let Some(Datum::Text(list)) = args.last() else {
        return Err(Error::internal("a privilege was expected"));
    };
    let privilege = |item: &str| {
        let item = item.trim().to_uppercase();
        let plain = item.strip_suffix(" WITH GRANT OPTION").unwrap_or(&item).to_owned();
        if KNOWN.contains(&plain.as_str()) {
            return Ok(plain);
        }
        Err(invalid(format!("unrecognized privilege type: \"{}\"", item.to_lowercase())))
    };
    list.split(',').map(privilege).collect()
}

fn on_relation(context: &SystemContext, args: &[Datum], short: usize) -> Result<Datum> {
    let (role, rest) = split(context, args, short)?;
    let wanted = wanted(rest)?;
    let Some(relation) = relation_arg(context, rest, 0)? else {
        return Ok(Datum::Null);
    };
    if let (3, Relation::Table(table)) = (short, &relation)
        && let Some(Datum::Text(column)) = rest.get(1)
        && table.column(column).is_none()
    {
        return Err(Error::new(
            SqlState::UndefinedColumn,
            format!("column \"{column}\" of relation \"{}\" does not exist", table.name),
        ));
    }
    let reads_only = wanted.iter().all(|w| w == "SELECT");
    let system = matches!(relation, Relation::System(_));
    let allowed = crate::ddl::check_access(&context.catalog, role, &relation).is_ok();
    Ok(Datum::Bool(allowed && (!system || reads_only || is_superuser(context, role))))
}

fn on_schema(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let (role, rest) = split(context, args, 2)?;
    let wanted = wanted(rest)?;
    let schema = match rest.first() {
        Some(Datum::Text(name)) => Some(context.catalog.resolve_schema(name)?),
        _ => oid_arg(rest, 0).and_then(|oid| context.catalog.schemas.get(&oid)),
    };
    let Some(schema) = schema else {
        return Ok(Datum::Null);
    };
    let open = schema.oid.0 < Oid::FIRST_NORMAL.0 && wanted.iter().all(|w| w == "USAGE");
    Ok(Datum::Bool(open || schema.owner == role || is_superuser(context, role)))
}

fn on_database(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let (role, rest) = split(context, args, 2)?;
    let wanted = wanted(rest)?;
    match rest.first() {
        Some(Datum::Text(name)) => context.catalog.check_database(name)?,
        _ if oid_arg(rest, 0) != Some(context.catalog.database.oid) => return Ok(Datum::Null),
        _ => {}
    }
    let open = wanted.iter().all(|w| w != "CREATE");
    Ok(Datum::Bool(open || context.catalog.database.owner == role || is_superuser(context, role)))
}

/// Functions, types and languages are open to all.
fn always(context: &SystemContext, args: &[Datum]) -> Result<Datum> {
    split(context, args, 2)?;
    wanted(args)?;
    Ok(Datum::Bool(true))
}

/// No role is a member of another: a role has its own privileges, a superuser those of all.
fn has_role(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let (user, rest) = split(context, args, 2)?;
    wanted(rest)?;
    let of = role(context, rest)?;
    Ok(Datum::Bool(user == of || is_superuser(context, user)))
}

/// The privileges that an object of a kind has before any GRANT: its owner's, and those of all roles.
fn acl_default(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let (Some(Datum::Text(kind)), Some(owner)) = (args.first(), oid_arg(args, 1)) else {
        return Ok(Datum::Null);
    };
    let (public, own) = match &**kind {
        "c" => ("", ""),
        "r" => ("", "arwdDxt"),
        "s" => ("", "rwU"),
        "d" => ("Tc", "CTc"),
        "f" => ("X", "X"),
        "l" => ("U", "U"),
        "L" => ("", "rw"),
        "n" => ("", "UC"),
        "p" => ("", "sA"),
        "t" => ("", "C"),
        "F" | "S" => ("", "U"),
        "T" => ("U", "U"),
        other => return Err(invalid(format!("unrecognized object type abbreviation: {other}"))),
    };
    let name = context.catalog.roles.get(&owner).map_or_else(|| owner.0.to_string(), |r| r.name.clone());
    let item = |grantee: &str, privileges: &str| {
        (!privileges.is_empty()).then(|| Datum::from(format!("{grantee}={privileges}/{name}").as_str()))
    };
    let items: Vec<Datum> = [item("", public), item(&name, own)].into_iter().flatten().collect();
    Ok(Datum::from(items))
}
