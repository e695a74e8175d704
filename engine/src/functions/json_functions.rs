//! json and jsonb: access, construction, containment.
//!
//! json keeps its text, jsonb is kept in normal form, so what is cut out of jsonb is printed anew and what is cut out
//! of json is printed in the form of the json functions.

use super::args::{self, row};
use super::casts::output;
use super::patterns::single_column;
use super::registry::Implementations;
use super::strings::invalid_parameter;
use super::{Call, Rows};
use crate::error::{Error, Result, SqlState};
use crate::types::json::{self, Json};
use crate::types::numeric::Numeric;
use crate::types::{Datum, PgType, TypeOid, names};

fn string(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|e| Error::internal(e.to_string()))
}

/// Json as the result type prints it.
fn shown(value: &Json, binary: bool) -> Result<Datum> {
    let mut out = Vec::new();
    if binary {
        value.clone().sorted().write_spaced(&mut out);
    } else {
        value.write_compact(&mut out);
    }
    string(out).map(Datum::from)
}

/// What `->>` gives: strings bare, null as NULL.
fn as_text(value: &Json, binary: bool) -> Result<Datum> {
    match value {
        Json::Null => Ok(Datum::Null),
        Json::String(text) => Ok(Datum::from(text.as_str())),
        other => shown(other, binary),
    }
}

fn field<'a>(value: &'a Json, key: &str) -> Option<&'a Json> {
    match value {
        // Of duplicate keys the last counts.
        Json::Object(members) => members.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v),
        _ => None,
    }
}

fn element(value: &Json, index: i64) -> Option<&Json> {
    match value {
        Json::Array(items) => {
            let at = if index < 0 { items.len() as i64 + index } else { index };
            usize::try_from(at).ok().and_then(|at| items.get(at))
        }
        _ => None,
    }
}

fn path<'a>(value: &'a Json, steps: &[Datum]) -> Option<&'a Json> {
    steps.iter().try_fold(value, |value, step| {
        let Datum::Text(step) = step else { return None };
        match value {
            Json::Array(_) => element(value, step.trim().parse().ok()?),
            _ => field(value, step),
        }
    })
}

fn is_jsonb(call: &Call<'_>) -> bool {
    call.types.first().is_some_and(|t| t.oid == TypeOid::JSONB)
}

/// Cuts a part out of the first argument.
fn get(call: &Call<'_>, args: &[Datum], text: bool, find: impl Fn(&Json) -> Option<&Json>) -> Result<Datum> {
    let document = json::parse(args::text(args.first())?)?;
    let binary = is_jsonb(call);
    match find(&document) {
        None => Ok(Datum::Null),
        Some(part) if text => as_text(part, binary),
        Some(part) => shown(part, binary),
    }
}

fn get_field(call: &Call<'_>, args: &[Datum], text: bool) -> Result<Datum> {
    let key = args::text(args.get(1))?;
    get(call, args, text, |document| field(document, key))
}

fn get_element(call: &Call<'_>, args: &[Datum], text: bool) -> Result<Datum> {
    let index = args::int4(args.get(1))?;
    get(call, args, text, |document| element(document, index.into()))
}

fn get_path(call: &Call<'_>, args: &[Datum], text: bool) -> Result<Datum> {
    let steps = args::array(args.get(1))?;
    get(call, args, text, |document| path(document, steps))
}

/// A value as JSON, as `to_json` and the builders turn it.
pub(super) fn to_json(value: &Datum, ty: PgType, call: &Call<'_>) -> Result<Json> {
    let text = |value: &Datum| output(value, ty, call.context);
    Ok(match value {
        Datum::Null => Json::Null,
        Datum::Bool(v) => Json::Bool(*v),
        Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_) | Datum::Numeric(_) | Datum::Float4(_) | Datum::Float8(_) => {
            let shown = text(value)?;
            match Numeric::parse(&shown) {
                Ok(number) if number.is_finite() => Json::Number(number),
                _ => Json::String(shown),
            }
        }
        Datum::Text(document) if matches!(ty.oid, TypeOid::JSON | TypeOid::JSONB) => json::parse(document)?,
        Datum::Timestamp(_) | Datum::Timestamptz(_) => Json::String(text(value)?.replacen(' ', "T", 1)),
        Datum::Array(items) => {
            let element = PgType::from(ty.oid.element().unwrap_or(TypeOid::TEXT));
            Json::Array(items.iter().map(|i| to_json(i, element, call)).collect::<Result<_>>()?)
        }
        other => Json::String(text(other)?),
    })
}

fn arg_type(call: &Call<'_>, index: usize) -> PgType {
    call.types.get(index).copied().unwrap_or(PgType::from(TypeOid::TEXT))
}

/// Builders of json separate with blanks.
fn built(value: Json, binary: bool) -> Result<Datum> {
    if binary {
        return shown(&value, true);
    }
    let mut out = Vec::new();
    match &value {
        Json::Object(members) => {
            out.push(b'{');
            for (i, (key, member)) in members.iter().enumerate() {
                if i > 0 {
                    out.extend_from_slice(b", ");
                }
                json::write_string(key, &mut out);
                out.extend_from_slice(b" : ");
                member.write_compact(&mut out);
            }
            out.push(b'}');
        }
        Json::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.extend_from_slice(b", ");
                }
                item.write_compact(&mut out);
            }
            out.push(b']');
        }
        other => other.write_compact(&mut out),
    }
    string(out).map(Datum::from)
}

fn build_object(call: &Call<'_>, args: &[Datum], binary: bool) -> Result<Datum> {
    if args.len() % 2 == 1 {
        return Err(invalid_parameter("argument list must have even number of elements")
            .hint(format!("The arguments of {}() must consist of alternating keys and values.", call.function.name)));
    }
    let mut members = Vec::with_capacity(args.len() / 2);
    for (i, pair) in args.chunks_exact(2).enumerate() {
        let [key, value] = pair else { continue };
        if key.is_null() {
            return Err(invalid_parameter(
                if binary { "argument 1: key must not be null" } else { "argument 1 cannot be null" }
                    .replace('1', &(i * 2 + 1).to_string()),
            ));
        }
        let name = output(key, arg_type(call, i * 2), call.context)?;
        members.push((name, to_json(value, arg_type(call, i * 2 + 1), call)?));
    }
    built(Json::Object(members), binary)
}

fn build_array(call: &Call<'_>, args: &[Datum], binary: bool) -> Result<Datum> {
    let items: Result<Vec<Json>> = args.iter().enumerate().map(|(i, v)| to_json(v, arg_type(call, i), call)).collect();
    built(Json::Array(items?), binary)
}

fn array_length(document: &str) -> Result<Datum> {
    match json::parse(document)? {
        Json::Array(items) => Ok(Datum::Int4(items.len() as i32)),
        Json::Object(_) => Err(invalid_parameter("cannot get array length of a non-array")),
        _ => Err(invalid_parameter("cannot get array length of a scalar")),
    }
}

/// jsonb's `@>`.
fn contains(outer: &Json, inner: &Json) -> bool {
    match (outer, inner) {
        (Json::Object(_), Json::Object(wanted)) => {
            wanted.iter().all(|(key, value)| field(outer, key).is_some_and(|found| contains(found, value)))
        }
        (Json::Array(items), Json::Array(wanted)) => wanted.iter().all(|w| items.iter().any(|i| contains(i, w))),
        // An array contains a bare scalar.
        (Json::Array(items), scalar) if !matches!(scalar, Json::Object(_)) => items.iter().any(|i| i == scalar),
        (a, b) => a == b,
    }
}

fn exists(document: &Json, key: &str) -> bool {
    match document {
        Json::Object(_) => field(document, key).is_some(),
        Json::Array(items) => items.iter().any(|i| matches!(i, Json::String(s) if s == key)),
        Json::String(text) => text == key,
        _ => false,
    }
}

fn exists_each(args: &[Datum], all: bool) -> Result<Datum> {
    let document = json::parse(args::text(args.first())?)?;
    let mut keys = args::array(args.get(1))?.iter().filter_map(|k| match k {
        Datum::Text(key) => Some(key.as_ref()),
        _ => None,
    });
    let found = |key: &str| exists(&document, key);
    Ok(Datum::Bool(if all { keys.all(found) } else { keys.any(found) }))
}

fn concatenate(a: Json, b: Json) -> Json {
    match (a, b) {
        (Json::Object(mut a), Json::Object(b)) => {
            a.extend(b);
            Json::Object(a)
        }
        (Json::Array(mut a), Json::Array(b)) => {
            a.extend(b);
            Json::Array(a)
        }
        (Json::Array(mut a), b) => {
            a.push(b);
            Json::Array(a)
        }
        (a, Json::Array(mut b)) => {
            b.insert(0, a);
            Json::Array(b)
        }
        (a, b) => Json::Array(vec![a, b]),
    }
}

fn delete_key(document: Json, key: &str) -> Result<Json> {
    match document {
        Json::Object(members) => Ok(Json::Object(members.into_iter().filter(|(k, _)| k != key).collect())),
        Json::Array(items) => {
            Ok(Json::Array(items.into_iter().filter(|i| !matches!(i, Json::String(s) if s == key)).collect()))
        }
        _ => Err(invalid_parameter("cannot delete from scalar")),
    }
}

fn delete_index(document: Json, index: i64) -> Result<Json> {
    match document {
        Json::Array(mut items) => {
            let at = if index < 0 { items.len() as i64 + index } else { index };
            if let Some(at) = usize::try_from(at).ok().filter(|at| *at < items.len()) {
                items.remove(at);
            }
            Ok(Json::Array(items))
        }
        Json::Object(_) => Err(invalid_parameter("cannot delete from object using integer index")),
        _ => Err(invalid_parameter("cannot delete from scalar")),
    }
}

/// jsonb_set: replaces (or with `create` adds) the value at a path.
fn set(document: Json, steps: &[Datum], value: &Json, create: bool) -> Result<Json> {
    let Some((Datum::Text(step), rest)) = steps.split_first() else { return Ok(document) };
    match document {
        Json::Object(mut members) => {
            match members.iter().position(|(k, _)| k == step.as_ref()) {
                Some(at) => {
                    if let Some((_, slot)) = members.get_mut(at) {
                        let old = std::mem::replace(slot, Json::Null);
                        *slot = if rest.is_empty() { value.clone() } else { set(old, rest, value, create)? };
                    }
                }
                None if rest.is_empty() && create => members.push((step.to_string(), value.clone())),
                None => {}
            }
            Ok(Json::Object(members))
        }
        Json::Array(mut items) => {
            let index: i64 = step.parse().map_err(|_| {
                Error::new(
                    SqlState::InvalidTextRepresentation,
                    format!("path element at position 1 is not an integer: \"{step}\""),
                )
            })?;
            let at = if index < 0 { items.len() as i64 + index } else { index };
            match usize::try_from(at).ok().filter(|at| *at < items.len()) {
                Some(at) => {
                    if let Some(slot) = items.get_mut(at) {
                        let old = std::mem::replace(slot, Json::Null);
                        *slot = if rest.is_empty() { value.clone() } else { set(old, rest, value, create)? };
                    }
                }
                None if rest.is_empty() && create && at < 0 => items.insert(0, value.clone()),
                None if rest.is_empty() && create => items.push(value.clone()),
                None => {}
            }
            Ok(Json::Array(items))
        }
        scalar => Ok(scalar),
    }
}

fn strip_nulls(value: Json) -> Json {
    match value {
        Json::Object(members) => {
            let kept = members.into_iter().filter(|(_, v)| *v != Json::Null);
            Json::Object(kept.map(|(k, v)| (k, strip_nulls(v))).collect())
        }
        Json::Array(items) => Json::Array(items.into_iter().map(strip_nulls).collect()),
        other => other,
    }
}

fn pretty(value: &Json, indent: usize, out: &mut Vec<u8>) {
    let line = |depth: usize, out: &mut Vec<u8>| {
        out.push(b'\n');
        out.resize(out.len() + depth * 4, b' ');
    };
    match value {
        Json::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                line(indent + 1, out);
                pretty(item, indent + 1, out);
            }
            line(indent, out);
            out.push(b']');
        }
        Json::Object(members) => {
            out.push(b'{');
            for (i, (key, member)) in members.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                line(indent + 1, out);
                json::write_string(key, out);
                out.extend_from_slice(b": ");
                pretty(member, indent + 1, out);
            }
            line(indent, out);
            out.push(b'}');
        }
        scalar => scalar.write_spaced(out),
    }
}

fn elements(call: &Call<'_>, args: &[Datum], text: bool) -> Result<Rows> {
    let binary = is_jsonb(call);
    match json::parse(args::text(args.first())?)? {
        Json::Array(items) => {
            let values: Result<Vec<Datum>> =
                items.iter().map(|i| if text { as_text(i, binary) } else { shown(i, binary) }).collect();
            Ok(single_column(values?))
        }
        Json::Object(_) if binary => Err(invalid_parameter("cannot extract elements from an object")),
        Json::Object(_) => Err(invalid_parameter(format!("cannot call {} on a non-array", call.function.name))),
        _ if binary => Err(invalid_parameter("cannot extract elements from a scalar")),
        _ => Err(invalid_parameter(format!("cannot call {} on a scalar", call.function.name))),
    }
}

fn members(call: &Call<'_>, args: &[Datum]) -> Result<Vec<(String, Json)>> {
    match json::parse(args::text(args.first())?)? {
        Json::Object(members) => Ok(members),
        Json::Array(_) => Err(invalid_parameter(format!("cannot call {} on an array", call.function.name))),
        _ => Err(invalid_parameter(format!("cannot call {} on a scalar", call.function.name))),
    }
}

fn each(call: &Call<'_>, args: &[Datum], text: bool) -> Result<Rows> {
    let binary = is_jsonb(call);
    let row = |(key, value): (String, Json)| -> Result<Vec<Datum>> {
        let value = if text { as_text(&value, binary) } else { shown(&value, binary) };
        Ok(vec![Datum::from(key), value?])
    };
    let rows: Vec<Result<Vec<Datum>>> = members(call, args)?.into_iter().map(row).collect();
    Ok(Box::new(rows.into_iter()))
}

fn keys(call: &Call<'_>, args: &[Datum]) -> Result<Rows> {
    Ok(single_column(members(call, args)?.into_iter().map(|(key, _)| Datum::from(key)).collect()))
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("json_object_field", |c, a| get_field(c, a, false)),
        ("jsonb_object_field", |c, a| get_field(c, a, false)),
        ("json_object_field_text", |c, a| get_field(c, a, true)),
        ("jsonb_object_field_text", |c, a| get_field(c, a, true)),
        ("json_array_element", |c, a| get_element(c, a, false)),
        ("jsonb_array_element", |c, a| get_element(c, a, false)),
        ("json_array_element_text", |c, a| get_element(c, a, true)),
        ("jsonb_array_element_text", |c, a| get_element(c, a, true)),
        ("json_extract_path", |c, a| get_path(c, a, false)),
        ("jsonb_extract_path", |c, a| get_path(c, a, false)),
        ("json_extract_path_text", |c, a| get_path(c, a, true)),
        ("jsonb_extract_path_text", |c, a| get_path(c, a, true)),
        ("json_typeof", row!(|d: text| Ok(Datum::from(json::parse(d)?.type_name())))),
        ("jsonb_typeof", row!(|d: text| Ok(Datum::from(json::parse(d)?.type_name())))),
        ("json_array_length", row!(|d: text| array_length(d))),
        ("jsonb_array_length", row!(|d: text| array_length(d))),
        ("to_json", |call, args| match args.first() {
            // A json stays as it was written.
            Some(Datum::Text(document)) if arg_type(call, 0).oid == TypeOid::JSON => Ok(Datum::Text(document.clone())),
            Some(Datum::Text(document)) if arg_type(call, 0).oid == TypeOid::JSONB => Ok(Datum::Text(document.clone())),
            value => shown(&to_json(args::any(value)?, arg_type(call, 0), call)?, false),
        }),
        ("to_jsonb", |call, args| shown(&to_json(args::any(args.first())?, arg_type(call, 0), call)?, true)),
        ("array_to_json", |call, args| shown(&to_json(args::any(args.first())?, arg_type(call, 0), call)?, false)),
        ("json_build_object", |c, a| build_object(c, a, false)),
        ("jsonb_build_object", |c, a| build_object(c, a, true)),
        ("json_build_object_noargs", |_, _| Ok(Datum::from("{}"))),
        ("jsonb_build_object_noargs", |_, _| Ok(Datum::from("{}"))),
        ("json_build_array", |c, a| build_array(c, a, false)),
        ("jsonb_build_array", |c, a| build_array(c, a, true)),
        ("json_build_array_noargs", |_, _| Ok(Datum::from("[]"))),
        ("jsonb_build_array_noargs", |_, _| Ok(Datum::from("[]"))),
        ("jsonb_contains", row!(|a: text, b: text| Ok(Datum::Bool(contains(&json::parse(a)?, &json::parse(b)?))))),
        ("jsonb_contained", row!(|a: text, b: text| Ok(Datum::Bool(contains(&json::parse(b)?, &json::parse(a)?))))),
        ("jsonb_exists", row!(|d: text, k: text| Ok(Datum::Bool(exists(&json::parse(d)?, k))))),
        ("jsonb_exists_any", |_, a| exists_each(a, false)),
        ("jsonb_exists_all", |_, a| exists_each(a, true)),
        ("jsonb_concat", row!(|a: text, b: text| shown(&concatenate(json::parse(a)?, json::parse(b)?), true))),
        ("jsonb_delete", row!(|d: text, k: text| shown(&delete_key(json::parse(d)?, k)?, true))),
        ("jsonb_delete_idx", row!(|d: text, i: int4| shown(&delete_index(json::parse(d)?, i.into())?, true))),
        (
            "jsonb_set",
            row!(|d: text, p: array, v: text, c: boolean| {
                shown(&set(json::parse(d)?, p, &json::parse(v)?, c)?, true)
            }),
        ),
        ("json_strip_nulls", row!(|d: text| shown(&strip_nulls(json::parse(d)?), false))),
        ("jsonb_strip_nulls", row!(|d: text| shown(&strip_nulls(json::parse(d)?), true))),
        (
            "jsonb_pretty",
            row!(|d: text| {
                let mut out = Vec::new();
                pretty(&json::parse(d)?, 0, &mut out);
                string(out).map(Datum::from)
            }),
        ),
        ("pg_typeof", |call, _| Ok(Datum::Oid(arg_type(call, 0).oid.0))),
        ("format_type", |_, a| match a.first() {
            Some(Datum::Oid(oid)) => {
                let typmod = match a.get(1) {
                    Some(Datum::Int4(typmod)) => *typmod,
                    _ => -1,
                };
                Ok(Datum::from(names::format_type(TypeOid(*oid), typmod)))
            }
            _ => Ok(Datum::Null),
        }),
    ]);
    implementations.set("json_array_elements", |c, a| elements(c, a, false));
    implementations.set("jsonb_array_elements", |c, a| elements(c, a, false));
    implementations.set("json_array_elements_text", |c, a| elements(c, a, true));
    implementations.set("jsonb_array_elements_text", |c, a| elements(c, a, true));
    implementations.set("json_each", |c, a| each(c, a, false));
    implementations.set("jsonb_each", |c, a| each(c, a, false));
    implementations.set("json_each_text", |c, a| each(c, a, true));
    implementations.set("jsonb_each_text", |c, a| each(c, a, true));
    implementations.set("json_object_keys", keys);
    implementations.set("jsonb_object_keys", keys);
}
