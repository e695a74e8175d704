//! Users' functions and procedures as pg_proc and pg_get_function… show them.

use std::sync::Arc;

use super::deparse::{Display, quote_ident, type_name};
use super::rows::{Null, row};
use super::{RowSink, SystemContext};
use crate::catalog::acl::ObjectKind;
use crate::catalog::{ArgMode, Oid, RoutineArg, RoutineDef};
use crate::error::Result;
use crate::types::{Datum, PgType, TypeOid};

/// OIDs of languages in pg_language.
const INTERNAL: u32 = 12;
const SQL: u32 = 14;

pub(super) fn proc_row(r: &RoutineDef, sink: &mut RowSink) {
    let none_if_empty =
        |list: Vec<Datum>| if list.is_empty() { Datum::Null } else { Datum::Array(Arc::new(list.into())) };
    let plain = r.args.iter().all(|a| a.mode == ArgMode::In);
    let (mut all, mut modes) = (Vec::new(), Vec::new());
    if !plain {
        all = r.args.iter().map(|a| Datum::Oid(a.ty.oid.0)).collect();
        modes = r.args.iter().map(|a| Datum::from(mode(a.mode))).collect();
    }
    let mut names: Vec<Datum> = Vec::new();
    if r.args.iter().any(|a| a.name.is_some()) {
        names = r.args.iter().map(|a| Datum::from(a.name.as_deref().unwrap_or(""))).collect();
    }
    let inputs = r.input_types();
    let defaults: Vec<&str> = r.inputs().filter_map(|a| a.default.as_deref()).collect();
    let kind = match (r.procedure, &r.aggregate) {
        (true, _) => 'p',
        (false, Some(_)) => 'a',
        (false, None) => 'f',
    };
    let language = if r.aggregate.is_some() { INTERNAL } else { SQL };
    let shown_defaults = (!defaults.is_empty()).then(|| defaults.join(", "));
    let (source, standard) = match r.standard_body {
        true => ("", Some(r.body.as_str())),
        false => (r.body.as_str(), None),
    };
    row!(sink;
        r.oid, &r.name, r.schema, r.owner, language, r.cost, r.rows, r.variadic_element().unwrap_or(TypeOid(0)), 0u32, kind, r.security_definer, r.leakproof,
        r.strict, r.returns_set, r.volatility, r.parallel, inputs.len() as i16, defaults.len() as i16, r.ret.oid,
        inputs, none_if_empty(all), none_if_empty(modes), none_if_empty(names), shown_defaults, Null, source, Null,
        standard, Null, sink.acl(ObjectKind::Function, r.oid));
}

/// The rows of pg_aggregate.
pub(super) fn pg_aggregate(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    super::fixed::fixed(context, sink)?;
    let function = |oid: Option<Oid>| oid.map_or(0u32, |o| o.0);
    for r in context.catalog.routines.values() {
        let Some(a) = &r.aggregate else { continue };
        row!(sink;
            r.oid, 'n', 0i16, a.transition, function(a.finish), function(a.combine), 0u32, 0u32, 0u32, 0u32, 0u32,
            a.finish_extra, false, a.finish_modify, 'r', a.sort_operator, a.state.oid, a.state_space, 0u32, 0i32,
            a.initial.as_deref(), Null);
    }
    Ok(())
}

fn mode(mode: ArgMode) -> &'static str {
    match mode {
        ArgMode::In => "i",
        ArgMode::Out => "o",
        ArgMode::InOut => "b",
        ArgMode::Table => "t",
        ArgMode::Variadic => "v",
    }
}

fn argument(a: &RoutineArg, defaults: bool, context: &SystemContext) -> String {
    let mut out = match a.mode {
        ArgMode::Out => "OUT ".to_owned(),
        ArgMode::InOut => "INOUT ".to_owned(),
        ArgMode::Variadic => "VARIADIC ".to_owned(),
        ArgMode::In | ArgMode::Table => String::new(),
    };
    if let Some(name) = &a.name {
        out.push_str(&quote_ident(name));
        out.push(' ');
    }
    out.push_str(&shown_type(a.ty.oid, context));
    if let Some(default) = a.default.as_ref().filter(|_| defaults) {
        out.push_str(" DEFAULT ");
        out.push_str(&shown_default(default, a.ty.oid, context));
    }
    out
}

fn shown_type(ty: TypeOid, context: &SystemContext) -> String {
    let own = context.catalog.type_shown(ty, &context.path.schemas);
    own.unwrap_or_else(|| type_name(PgType::from(ty)))
}

/// A default as PostgreSQL shows it: a constant with its type.
pub(super) fn shown_default(text: &str, ty: TypeOid, context: &SystemContext) -> String {
    let string = text.starts_with('\'') && text.ends_with('\'') && !text.contains("::");
    match text.eq_ignore_ascii_case("null") {
        true => format!("NULL::{}", shown_type(ty, context)),
        false if string => format!("{text}::{}", shown_type(ty, context)),
        false => Display::plain(&context.catalog, &context.path).expression(text, None),
    }
}

/// pg_get_function_arguments, and without defaults pg_get_function_identity_arguments.
pub(crate) fn arguments(r: &RoutineDef, defaults: bool, context: &SystemContext) -> String {
    let procedure_in = |a: &RoutineArg, text: String| match (r.procedure, a.mode) {
        (true, ArgMode::In) => format!("IN {text}"),
        _ => text,
    };
    let shown = r.args.iter().filter(|a| a.mode != ArgMode::Table);
    shown.map(|a| procedure_in(a, argument(a, defaults, context))).collect::<Vec<_>>().join(", ")
}

/// pg_get_function_result; `None`: a procedure.
pub(crate) fn result(r: &RoutineDef, context: &SystemContext) -> Option<String> {
    if r.procedure {
        return None;
    }
    let table = r.args.iter().filter(|a| a.mode == ArgMode::Table);
    let table: Vec<String> = table.map(|a| argument(a, false, context)).collect();
    if !table.is_empty() {
        return Some(format!("TABLE({})", table.join(", ")));
    }
    let row_type = r.ret_relation.and_then(|oid| context.catalog.relation(oid)?.row_type());
    let ty = shown_type(row_type.map_or(r.ret.oid, |row| TypeOid(row.0)), context);
    Some(if r.returns_set { format!("SETOF {ty}") } else { ty })
}

/// pg_get_functiondef.
pub(crate) fn definition(r: &RoutineDef, context: &SystemContext) -> String {
    let catalog = &context.catalog;
    let kind = if r.procedure { "PROCEDURE" } else { "FUNCTION" };
    let mut out = format!(
        "CREATE OR REPLACE {kind} {}.{}({})\n",
        quote_ident(catalog.schema_name(r.schema)),
        quote_ident(&r.name),
        arguments(r, true, context)
    );
    if let Some(result) = result(r, context) {
        out.push_str(&format!(" RETURNS {result}\n"));
    }
    out.push_str(" LANGUAGE sql\n");
    let mut attributes = String::new();
    match r.volatility {
        'i' => attributes.push_str(" IMMUTABLE"),
        's' => attributes.push_str(" STABLE"),
        _ => {}
    }
    match r.parallel {
        's' => attributes.push_str(" PARALLEL SAFE"),
        'r' => attributes.push_str(" PARALLEL RESTRICTED"),
        _ => {}
    }
    if r.strict {
        attributes.push_str(" STRICT");
    }
    if r.security_definer {
        attributes.push_str(" SECURITY DEFINER");
    }
    if r.leakproof {
        attributes.push_str(" LEAKPROOF");
    }
    if r.cost != 100.0 {
        attributes.push_str(&format!(" COST {}", r.cost));
    }
    if r.returns_set && r.rows != 1000.0 {
        attributes.push_str(&format!(" ROWS {}", r.rows));
    }
    if !attributes.is_empty() {
        out.push_str(&attributes);
        out.push('\n');
    }
    if r.standard_body {
        out.push_str(&standard_body(r));
        out.push('\n');
        return out;
    }
    let mut tag = r.kind_name().to_owned();
    while r.body.contains(&format!("${tag}")) {
        tag.push('x');
    }
    out.push_str(&format!("AS ${tag}${}${tag}$\n", r.body));
    out
}

/// pg_get_function_sqlbody.
pub(crate) fn standard_body(r: &RoutineDef) -> String {
    match r.body.strip_prefix("SELECT ") {
        Some(expression) if !r.body.contains(';') && !r.returns_set => format!("RETURN {expression}"),
        _ => format!("BEGIN ATOMIC\n {}\nEND", r.body.trim().trim_end_matches(';').trim_end().to_owned() + ";"),
    }
}
