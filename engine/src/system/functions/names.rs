//! Names and OIDs: the text forms of the reg types, `to_reg…`, visibility.

use std::sync::Arc;

use super::{Implementation, oid_arg, text, text_arg};
use crate::catalog::{Oid, TypeDef};
use crate::error::{Error, Result, SqlState};
use crate::functions::{Call, Function, Operator, registry, resolve};
use crate::system::SystemContext;
use crate::system::deparse::{quote_ident, relation_name};
use crate::types::{Datum, PgType, TypeOid, names as types};

pub const SCALARS: &[(&str, Implementation)] = &[
    ("regclassin", |c, _, a| find_relation(c, a).map(Datum::Oid)),
    ("regclass", |c, _, a| find_relation(c, a).map(Datum::Oid)),
    ("regclassout", |c, _, a| Ok(out(a, |oid| relation_name(oid, &c.catalog, &c.path)))),
    ("to_regclass", |c, _, a| by_name(c, a, find_relation)),
    ("regtypein", |c, _, a| find_type(c, a).map(Datum::Oid)),
    ("regtypeout", |c, _, a| Ok(out(a, |oid| type_shown(c, oid, -1)))),
    ("to_regtype", |c, _, a| by_name(c, a, find_type)),
    ("regprocin", |c, _, a| find_function(c, a).map(Datum::Oid)),
    ("regprocout", |c, _, a| Ok(out(a, |oid| routine_name(c, oid).or_else(|| function_name(oid))))),
    ("to_regproc", |c, _, a| by_name(c, a, find_function)),
    ("regprocedurein", |c, _, a| find_procedure(c, a).map(Datum::Oid)),
    ("regprocedureout", |c, _, a| Ok(out(a, |oid| routine_signature(c, oid)))),
    ("to_regprocedure", |c, _, a| by_name(c, a, find_procedure)),
    ("regoperin", |c, _, a| find_operator(c, a).map(Datum::Oid)),
    ("regoperout", |_, _, a| Ok(numbered(a, operator_name))),
    ("to_regoper", |c, _, a| by_name(c, a, find_operator)),
    ("regoperatorin", |c, _, a| find_operator_of(c, a).map(Datum::Oid)),
    ("to_regoperator", |c, _, a| match input(a)?.contains('(') {
        true => by_name(c, a, find_operator_of),
        false => Err(no_parenthesis()),
    }),
    ("regoperatorout", |_, _, a| Ok(numbered(a, operator_signature))),
    ("regnamespacein", |c, _, a| find_schema(c, a).map(Datum::Oid)),
    ("regnamespaceout", |c, _, a| Ok(out(a, |oid| c.catalog.schemas.get(&oid).map(|s| quote_ident(&s.name))))),
    ("to_regnamespace", |c, _, a| by_name(c, a, find_schema)),
    ("regrolein", |c, _, a| find_role(c, a).map(Datum::Oid)),
    ("regroleout", |c, _, a| Ok(out(a, |oid| c.catalog.roles.get(&oid).map(|r| quote_ident(&r.name))))),
    ("to_regrole", |c, _, a| by_name(c, a, find_role)),
    ("regcollationin", |c, _, a| find_collation(c, a).map(Datum::Oid)),
    ("to_regcollation", |c, _, a| by_name(c, a, find_collation)),
    ("regcollationout", |c, _, a| Ok(out(a, |oid| collation_name(c, oid)))),
    ("format_type", format_type),
    ("pg_table_is_visible", |c, _, a| Ok(visible(oid_arg(a, 0).and_then(|oid| relation_is_visible(c, oid))))),
    ("pg_type_is_visible", |c, _, a| Ok(visible(oid_arg(a, 0).and_then(|oid| type_is_visible(c, oid))))),
    ("pg_function_is_visible", |c, _, a| {
        let own = |oid: Oid| c.catalog.routines.get(&oid).map(|r| c.path.schemas.contains(&r.schema));
        Ok(visible(oid_arg(a, 0).and_then(|oid| own(oid).or_else(|| function_exists(oid)))))
    }),
    ("pg_operator_is_visible", |_, _, a| {
        Ok(visible(oid_arg(a, 0).and_then(|oid| registry().operator_by_oid(oid.0).map(|_| true))))
    }),
    // Everything of these kinds lies in pg_catalog, which every search path holds.
    ("pg_opclass_is_visible", |_, _, _| Ok(Datum::Bool(true))),
    ("pg_opfamily_is_visible", |_, _, _| Ok(Datum::Bool(true))),
    ("pg_collation_is_visible", |c, _, a| {
        let found = oid_arg(a, 0).and_then(|oid| c.catalog.collation(oid));
        Ok(visible(found.map(|found| c.catalog.collation_is_visible(&found, &c.path))))
    }),
    ("pg_collation_actual_version", |c, _, a| {
        let Some(found) = oid_arg(a, 0).map(|oid| (oid, c.catalog.collation(oid))) else { return Ok(Datum::Null) };
        let (oid, found) = found;
        let missing = || Error::new(SqlState::UndefinedObject, format!("collation with OID {} does not exist", oid.0));
        let language = found.ok_or_else(missing)?.language().is_some();
        Ok(if language { text(crate::types::collation::VERSION) } else { Datum::Null })
    }),
    // There are none of these.
    ("pg_conversion_is_visible", |_, _, _| Ok(Datum::Null)),
    ("pg_statistics_obj_is_visible", |c, _, a| {
        let found = oid_arg(a, 0).and_then(|oid| c.catalog.statistics.get(&oid));
        Ok(visible(found.map(|found| c.catalog.statistics_are_visible(found, &c.path))))
    }),
    ("pg_ts_config_is_visible", |_, _, _| Ok(Datum::Null)),
    ("pg_ts_dict_is_visible", |_, _, _| Ok(Datum::Null)),
    ("pg_ts_parser_is_visible", |_, _, _| Ok(Datum::Null)),
    ("pg_ts_template_is_visible", |_, _, _| Ok(Datum::Null)),
];

/// Handlers of access methods have names that pg_dump writes, and nobody can call them.
fn function_name(oid: Oid) -> Option<String> {
    let handler = match oid.0 {
        3 => Some("heap_tableam_handler"),
        330 => Some("bthandler"),
        331 => Some("hashhandler"),
        332 => Some("gisthandler"),
        333 => Some("ginhandler"),
        334 => Some("spghandler"),
        335 => Some("brinhandler"),
        _ => None,
    };
    handler.map(str::to_owned).or_else(|| registry().function(oid.0).map(|f| quote_ident(f.name)))
}

/// The name that the output function of a reg type writes.
pub fn reg_name(context: &SystemContext, ty: TypeOid, oid: u32) -> Option<String> {
    let catalog = &context.catalog;
    let oid = Oid(oid);
    match ty {
        TypeOid::REGCLASS => relation_name(oid, catalog, &context.path),
        TypeOid::REGTYPE => type_shown(context, oid, -1),
        TypeOid::REGPROC => routine_name(context, oid).or_else(|| function_name(oid)),
        TypeOid::REGPROCEDURE => routine_signature(context, oid),
        TypeOid::REGOPER => operator_name(oid),
        TypeOid::REGOPERATOR => operator_signature(oid),
        TypeOid::REGNAMESPACE => catalog.schemas.get(&oid).map(|s| quote_ident(&s.name)),
        TypeOid::REGROLE => catalog.roles.get(&oid).map(|r| quote_ident(&r.name)),
        TypeOid::REGCOLLATION => collation_name(context, oid),
        _ => None,
    }
}

fn visible(value: Option<bool>) -> Datum {
    value.map_or(Datum::Null, Datum::Bool)
}

/// Composite types are in pg_class too, under a number of their own.
fn relation_is_visible(context: &SystemContext, oid: Oid) -> Option<bool> {
    let catalog = &context.catalog;
    catalog.is_visible(oid, &context.path).or_else(|| {
        let composite = |t: &&Arc<TypeDef>| t.attributes().is_some() && TypeOid(t.oid.0).user_number() == oid;
        let own = catalog.types.values().find(composite)?;
        let shadowed = catalog.find_relation(None, &own.name, &context.path).is_some();
        Some(!shadowed && type_is_visible(context, own.oid) == Some(true))
    })
}

fn function_exists(oid: Oid) -> Option<bool> {
    registry().function(oid.0).map(|_| true)
}

/// The parts of a possibly qualified name: folded unless quoted (42602 if it is none).
pub fn split(name: &str) -> Result<Vec<String>> {
    let bad = || Error::new(SqlState::InvalidName, "invalid name syntax");
    let mut parts = Vec::new();
    let mut rest = name.trim();
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let mut out = String::new();
                let mut at = quoted;
                loop {
                    let end = at.find('"').ok_or_else(bad)?;
                    out.push_str(at.get(..end).unwrap_or_default());
                    at = at.get(end + 1..).unwrap_or_default();
                    match at.strip_prefix('"') {
                        Some(more) => {
                            out.push('"');
                            at = more;
                        }
                        None => break,
                    }
                }
                (out, at)
            }
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                let part = rest.get(..end).unwrap_or_default().trim();
                (part.to_lowercase(), rest.get(end..).unwrap_or_default())
            }
        };
        if part.is_empty() {
            return Err(bad());
        }
        parts.push(part);
        match after.trim_start().strip_prefix('.') {
            Some(more) => rest = more.trim_start(),
            None if after.trim().is_empty() => return Ok(parts),
            None => return Err(bad()),
        }
    }
}

/// Schema and name.
pub fn qualified(name: &str) -> Result<(Option<String>, String)> {
    let mut parts = split(name)?;
    let last = parts.pop().unwrap_or_default();
    Ok((parts.pop(), last))
}

/// The OID that the text is, for `-` and digits.
fn literal(shown: &str) -> Option<u32> {
    if shown == "-" { Some(0) } else { shown.parse().ok() }
}

fn input(args: &[Datum]) -> Result<&str> {
    text_arg(args, 0).ok_or_else(|| Error::internal("a name was expected"))
}

/// What a name stands for; NULL for one that stands for nothing, and for the number of an OID.
fn by_name(
    context: &SystemContext,
    args: &[Datum],
    find: fn(&SystemContext, &[Datum]) -> Result<u32>,
) -> Result<Datum> {
    Ok(match literal(input(args)?) {
        Some(_) => Datum::Null,
        None => find(context, args).map_or(Datum::Null, Datum::Oid),
    })
}

/// The text of a reg type: `-` for 0, the number for what does not exist.
fn out(args: &[Datum], name: impl FnOnce(Oid) -> Option<String>) -> Datum {
    match oid_arg(args, 0) {
        None => Datum::Null,
        Some(Oid(0)) => text("-"),
        Some(oid) => text(name(oid).unwrap_or_else(|| oid.0.to_string())),
    }
}

fn find_relation(context: &SystemContext, args: &[Datum]) -> Result<u32> {
    let shown = input(args)?;
    if let Some(oid) = literal(shown) {
        return Ok(oid);
    }
    let (schema, name) = qualified(shown)?;
    Ok(context.catalog.resolve_relation(schema.as_deref(), &name, &context.path)?.oid().0)
}

pub(super) fn find_type(context: &SystemContext, args: &[Datum]) -> Result<u32> {
    let shown = input(args)?;
    if let Some(oid) = literal(shown) {
        return Ok(oid);
    }
    if let Some(ty) = types::lookup_text(shown) {
        return Ok(ty.oid.0);
    }
    let unknown = || Error::new(SqlState::UndefinedObject, format!("type \"{shown}\" does not exist"));
    // The brackets are no part of the name.
    let (shown_element, array) = match shown.trim_end().strip_suffix(']').and_then(|s| s.trim_end().strip_suffix('[')) {
        Some(element) => (element, true),
        None => (shown, false),
    };
    let (schema, name) = qualified(shown_element).map_err(|_| unknown())?;
    let found = context.catalog.find_type(schema.as_deref(), &name, &context.path);
    let found = if array { found.and_then(TypeOid::array) } else { found };
    found.map(|t| t.0).ok_or_else(unknown)
}

/// A function of users by its OID, qualified unless the search path finds it.
fn routine_name(context: &SystemContext, oid: Oid) -> Option<String> {
    let routine = context.catalog.routines.get(&oid)?;
    Some(match context.path.schemas.contains(&routine.schema) {
        true => quote_ident(&routine.name),
        false => format!("{}.{}", quote_ident(context.catalog.schema_name(routine.schema)), quote_ident(&routine.name)),
    })
}

/// A function's name, with its schema unless the search path finds it, and the types of its arguments.
pub(super) fn routine_signature(context: &SystemContext, oid: Oid) -> Option<String> {
    let Some(routine) = context.catalog.routines.get(&oid) else {
        return registry().function(oid.0).map(|f| signature(f));
    };
    let types: Option<Vec<String>> =
        routine.input_types().into_iter().map(|ty| type_shown(context, Oid(ty.0), -1)).collect();
    let types = types?;
    Some(format!("{}({})", routine_name(context, oid)?, types.join(",")))
}

fn find_function(context: &SystemContext, args: &[Datum]) -> Result<u32> {
    let shown = input(args)?;
    if let Some(oid) = literal(shown) {
        return Ok(oid);
    }
    let (schema, name) = qualified(shown)?;
    let found = match schema.as_deref() {
        None | Some("pg_catalog") => registry().lookup(&name),
        _ => &[],
    };
    let own = context.catalog.routines_named(schema.as_deref(), &name, &context.path);
    match (found, own.as_slice()) {
        ([], [only]) => return Ok(only.oid.0),
        ([], [_, _, ..]) => {
            return Err(Error::new(SqlState::AmbiguousFunction, format!("more than one function named \"{shown}\"")));
        }
        _ => {}
    }
    match found {
        [] => Err(Error::new(SqlState::UndefinedFunction, format!("function \"{shown}\" does not exist"))),
        [only] => Ok(only.oid),
        _ => Err(Error::new(SqlState::AmbiguousFunction, format!("more than one function named \"{shown}\""))),
    }
}

pub(super) fn find_procedure(context: &SystemContext, args: &[Datum]) -> Result<u32> {
    let shown = input(args)?;
    if let Some(oid) = literal(shown) {
        return Ok(oid);
    }
    let unknown = || Error::new(SqlState::UndefinedFunction, format!("function \"{shown}\" does not exist"));
    let expected =
        |what: &str| Error::new(SqlState::InvalidTextRepresentation, format!("expected a {what} parenthesis"));
    let (name, rest) = shown.split_once('(').ok_or_else(|| expected("left"))?;
    let rest = rest.trim_end().strip_suffix(')').ok_or_else(|| expected("right"))?;
    let wanted: Option<Vec<TypeOid>> = match rest.trim() {
        "" => Some(Vec::new()),
        list => {
            let ty = |name: &str| find_type(context, &[Datum::from(name.trim())]).ok().map(TypeOid);
            list.split(',').map(ty).collect()
        }
    };
    let (schema, name) = qualified(name)?;
    let wanted = wanted.ok_or_else(unknown)?;
    let own = context.catalog.routines_named(schema.as_deref(), &name, &context.path);
    if let Some(routine) = own.iter().find(|r| r.input_types() == wanted) {
        return Ok(routine.oid.0);
    }
    if schema.is_some_and(|schema| context.catalog.schema(&schema).is_none()) {
        return Err(unknown());
    }
    let found = registry().lookup(&name).iter().find(|f| f.args == wanted);
    found.map(|f| f.oid).ok_or_else(unknown)
}

/// `+(integer,integer)`; a prefix operator has no left side.
/// As [`out`], for operators: `-` is the name of one, so there is 0 for none.
fn numbered(args: &[Datum], name: impl FnOnce(Oid) -> Option<String>) -> Datum {
    match oid_arg(args, 0) {
        Some(Oid(0)) => text("0"),
        _ => out(args, name),
    }
}

/// The schema's operators of a name, as it is written: `+` or `pg_catalog.+`.
fn operators_named(shown: &str) -> &'static [Arc<Operator>] {
    let name = match shown.rsplit_once('.') {
        Some(("pg_catalog", name)) => name,
        Some((schema, _)) if schema.starts_with(|c: char| c == '"' || c == '_' || c.is_alphabetic()) => return &[],
        _ => shown,
    };
    registry().operators_named(name.trim())
}

fn no_operator(shown: &str) -> Error {
    Error::new(SqlState::UndefinedFunction, format!("operator does not exist: {shown}"))
}

fn no_parenthesis() -> Error {
    Error::new(SqlState::InvalidTextRepresentation, "expected a left parenthesis")
}

fn find_operator(_: &SystemContext, args: &[Datum]) -> Result<u32> {
    let shown = input(args)?;
    if let Ok(oid) = shown.parse() {
        return Ok(oid);
    }
    match operators_named(shown) {
        [only] => Ok(only.oid),
        [] => Err(no_operator(shown)),
        _ => Err(Error::new(SqlState::AmbiguousFunction, format!("more than one operator named {shown}"))),
    }
}

/// An operator with the types of its operands, NONE for one that is not there: `-(NONE,integer)`.
fn find_operator_of(_: &SystemContext, args: &[Datum]) -> Result<u32> {
    let shown = input(args)?;
    if let Ok(oid) = shown.parse() {
        return Ok(oid);
    }
    let (name, rest) = shown.split_once('(').ok_or_else(no_parenthesis)?;
    let list = rest
        .trim_end()
        .strip_suffix(')')
        .ok_or_else(|| Error::new(SqlState::InvalidTextRepresentation, "expected a right parenthesis"))?;
    let operand = |text: &str| match text.trim() {
        none if none.eq_ignore_ascii_case("none") => Ok(None),
        text => types::lookup_text(text)
            .map(|ty| Some(ty.oid))
            .ok_or_else(|| Error::new(SqlState::UndefinedObject, format!("type \"{text}\" does not exist"))),
    };
    let operands = list.split(',').map(operand).collect::<Result<Vec<_>>>()?;
    let (left, right) = match operands.as_slice() {
        [left, right] => (*left, *right),
        [_, _, _, ..] => {
            return Err(Error::new(SqlState::TooManyArguments, "too many arguments")
                .hint("Provide two argument types for operator."));
        }
        _ => {
            return Err(Error::new(SqlState::UndefinedParameter, "missing argument")
                .hint("Use NONE to denote the missing argument of a unary operator."));
        }
    };
    let found = operators_named(name).iter().find(|o| o.left == left && Some(o.right) == right);
    found.map(|operator| operator.oid).ok_or_else(|| no_operator(shown))
}

/// Its name, with the schema where the name alone would not do.
fn operator_name(oid: Oid) -> Option<String> {
    let operator = registry().operator_by_oid(oid.0)?;
    Some(match registry().operators_named(operator.name) {
        [_] => operator.name.to_owned(),
        _ => format!("pg_catalog.{}", operator.name),
    })
}

fn operator_signature(oid: Oid) -> Option<String> {
    let operator = registry().operator_by_oid(oid.0)?;
    let left = operator.left.map_or_else(|| "NONE".to_owned(), |ty| types::format_type(ty, -1));
    Some(format!("{}({left},{})", operator.name, types::format_type(operator.right, -1)))
}

fn signature(function: &Function) -> String {
    resolve::signature(function.name, &function.args).replace(", ", ",")
}

fn find_schema(context: &SystemContext, args: &[Datum]) -> Result<u32> {
    let shown = input(args)?;
    if let Some(oid) = literal(shown) {
        return Ok(oid);
    }
    let (_, name) = qualified(shown)?;
    Ok(context.catalog.resolve_schema(&name)?.oid.0)
}

fn find_role(context: &SystemContext, args: &[Datum]) -> Result<u32> {
    let shown = input(args)?;
    if let Some(oid) = literal(shown) {
        return Ok(oid);
    }
    let (_, name) = qualified(shown)?;
    Ok(context.catalog.resolve_role(&name)?.oid.0)
}

fn collation_name(context: &SystemContext, oid: Oid) -> Option<String> {
    let found = context.catalog.collation(oid)?;
    Some(context.catalog.collation_shown(&found, &context.path))
}

fn find_collation(context: &SystemContext, args: &[Datum]) -> Result<u32> {
    let shown = input(args)?;
    if let Some(oid) = literal(shown) {
        return Ok(oid);
    }
    let (schema, name) = qualified(shown)?;
    Ok(context.catalog.find_collation(schema.as_deref(), &name, &context.path)?.oid().0)
}

fn type_is_visible(context: &SystemContext, oid: Oid) -> Option<bool> {
    if types::row(TypeOid(oid.0)).is_some() {
        return Some(true);
    }
    context.catalog.type_is_visible(TypeOid(oid.0), &context.path.schemas)
}

/// A type's name with its modifier, row types included.
pub fn type_shown(context: &SystemContext, oid: Oid, typmod: i32) -> Option<String> {
    if types::row(TypeOid(oid.0)).is_some() {
        return Some(types::format_type(TypeOid(oid.0), typmod));
    }
    context.catalog.type_shown(TypeOid(oid.0), &context.path.schemas)
}

fn format_type(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let Some(oid) = oid_arg(args, 0) else {
        return Ok(Datum::Null);
    };
    let typmod = match args.get(1) {
        Some(Datum::Int4(n)) => Some(*n),
        _ => None,
    };
    if oid.0 == 0 {
        return Ok(text("-"));
    }
    let given = typmod.filter(|_| types::row(TypeOid(oid.0)).is_some());
    let shown = match given {
        Some(typmod) => Some(types::format_modified(PgType::new(TypeOid(oid.0), typmod))),
        None => type_shown(context, oid, typmod.unwrap_or(-1)),
    };
    Ok(text(shown.unwrap_or_else(|| "???".to_owned())))
}
