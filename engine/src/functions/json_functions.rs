//! json and jsonb: access, construction, containment.
//!
//! json keeps its text, so what is cut out of it or put into it stays as it was written ([`super::json_text`]); jsonb is
//! kept in normal form and printed anew. Changes at a path are in [`super::json_edit`].

use super::args::{self, row};
use super::casts::output;
use super::json_text::{self, Parts};
use super::patterns::single_column;
use super::registry::Implementations;
use super::strings::invalid_parameter;
use super::{Call, Rows};
use crate::error::{Error, Result, SqlState};
use crate::types::array::Dimension;
use crate::types::json::{self, Json};
use crate::types::text::{self, DateStyle, FormatSettings};
use crate::types::{Datum, PgType, TypeOid, compare, names, record};

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

/// A part of a jsonb.
fn part(value: Option<&Json>, text: bool) -> Result<Datum> {
    match value {
        None => Ok(Datum::Null),
        Some(part) if text => as_text(part, true),
        Some(part) => shown(part, true),
    }
}

/// A part of a json.
fn slice(value: Option<&str>, text: bool) -> Result<Datum> {
    match value {
        None => Ok(Datum::Null),
        Some(part) if text => json_text::as_text(part),
        Some(part) => Ok(Datum::from(part)),
    }
}

fn get_field(call: &Call<'_>, args: &[Datum], text: bool) -> Result<Datum> {
    let (document, key) = (args::text(args.first())?, args::text(args.get(1))?);
    if is_jsonb(call) {
        return part(field(&json::parse(document)?, key), text);
    }
    slice(json_text::field(document, key)?, text)
}

fn get_element(call: &Call<'_>, args: &[Datum], text: bool) -> Result<Datum> {
    let (document, index) = (args::text(args.first())?, args::int4(args.get(1))?);
    if is_jsonb(call) {
        let document = json::parse(document)?;
        // A document that is a scalar counts as an array of one.
        let found = match &document {
            Json::Array(_) | Json::Object(_) => element(&document, index.into()),
            scalar => matches!(index, 0 | -1).then_some(scalar),
        };
        return part(found, text);
    }
    slice(json_text::element(document, index.into())?, text)
}

fn get_path(call: &Call<'_>, args: &[Datum], text: bool) -> Result<Datum> {
    let (document, steps) = (args::text(args.first())?, args::array(args.get(1))?);
    if is_jsonb(call) {
        return part(path(&json::parse(document)?, steps), text);
    }
    slice(json_text::path(document, steps)?, text)
}

/// Writes a value as JSON, as `to_json` and the builders turn it. A json stays as it was written.
fn write_json(value: &Datum, ty: PgType, call: &Call<'_>, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Datum::Null => out.extend_from_slice(b"null"),
        Datum::Bytea(row) if ty.oid.is_row() => write_row(row, b",", call, out)?,
        Datum::Int8(_) if ty.oid.is_enum() => json::write_string(&output(value, ty, call.context)?, out),
        Datum::Bool(v) => out.extend_from_slice(if *v { b"true" } else { b"false" }),
        Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_) | Datum::Numeric(_) | Datum::Float4(_) | Datum::Float8(_) => {
            let shown = output(value, ty, call.context)?;
            let digits = shown.strip_prefix('-').unwrap_or(&shown);
            if digits.starts_with(|c: char| c.is_ascii_digit()) && !shown.contains('/') {
                out.extend_from_slice(shown.as_bytes());
            } else {
                json::write_string(&shown, out);
            }
        }
        Datum::Text(document) if matches!(ty.oid, TypeOid::JSON | TypeOid::JSONB) => {
            out.extend_from_slice(document.as_bytes());
        }
        Datum::Date(_) | Datum::Timestamp(_) | Datum::Timestamptz(_) => {
            json::write_string(&iso_time(value, ty, call), out)
        }
        Datum::Array(array) => write_array(array.dims(), array, ty, b",", call, out)?,
        other => json::write_string(&output(other, ty, call.context)?, out),
    }
    Ok(())
}

/// A row as an object; its fields have the names that it carries, or those of its type, or numbers.
fn write_row(row: &[u8], comma: &[u8], call: &Call<'_>, out: &mut Vec<u8>) -> Result<()> {
    let row = record::decode(row)?;
    let named = row.fields.iter().any(|f| !f.name.is_empty());
    let names = if named { Vec::new() } else { call.context.format.types.attributes(row.ty).unwrap_or_default() };
    out.push(b'{');
    for (i, field) in row.fields.iter().enumerate() {
        if i > 0 {
            out.extend_from_slice(comma);
        }
        match names.get(i) {
            _ if named => json::write_string(&field.name, out),
            Some((name, _)) => json::write_string(name, out),
            None => json::write_string(&format!("f{}", i + 1), out),
        }
        out.push(b':');
        write_json(&field.value, field.ty, call, out)?;
    }
    for (i, (name, _)) in names.iter().enumerate().skip(row.fields.len()) {
        if i > 0 {
            out.extend_from_slice(comma);
        }
        json::write_string(name, out);
        out.extend_from_slice(b":null");
    }
    out.push(b'}');
    Ok(())
}

/// `row_to_json`; pretty: a field a line.
fn row_to_json(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let pretty = matches!(args.get(1), Some(Datum::Bool(true)));
    let mut out = Vec::new();
    write_row(args::bytea(args.first())?, if pretty { b",\n " } else { b"," }, call, &mut out)?;
    string(out).map(Datum::from)
}

/// Every dimension a list of its own; `comma` stands between the outermost.
fn write_array(
    dims: &[Dimension],
    items: &[Datum],
    ty: PgType,
    comma: &[u8],
    call: &Call<'_>,
    out: &mut Vec<u8>,
) -> Result<()> {
    let element = PgType::from(ty.oid.element().unwrap_or(TypeOid::TEXT));
    out.push(b'[');
    let inner = dims.get(1..).unwrap_or_default();
    let width = inner.iter().map(|d| d.length as usize).product::<usize>().max(1);
    for (i, part) in items.chunks(width).enumerate() {
        if i > 0 {
            out.extend_from_slice(comma);
        }
        match (inner, part) {
            ([], [item]) => write_json(item, element, call, out)?,
            _ => write_array(inner, part, ty, b",", call, out)?,
        }
    }
    out.push(b']');
    Ok(())
}

/// Dates and times in JSON are ISO 8601 whatever DateStyle says: a T between, minutes in every offset.
fn iso_time(value: &Datum, ty: PgType, call: &Call<'_>) -> String {
    let format = FormatSettings { date_style: DateStyle::Iso, ..call.context.format.clone() };
    let shown = text::to_string(value, ty, &format).replacen(' ', "T", 1);
    if !matches!(value, Datum::Timestamptz(v) if *v != i64::MIN && *v != i64::MAX) {
        return shown.replacen("TBC", " BC", 1);
    }
    let (time, era) = match shown.strip_suffix(" BC") {
        Some(time) => (time, " BC"),
        None => (shown.as_str(), ""),
    };
    let offset = time.rfind(['+', '-']).map_or(0, |at| time.len() - at);
    format!("{time}{}{era}", if offset == 3 { ":00" } else { "" })
}

/// What `to_json` answers, as text.
fn json_of(value: &Datum, ty: PgType, call: &Call<'_>) -> Result<String> {
    let mut out = Vec::new();
    write_json(value, ty, call, &mut out)?;
    string(out)
}

fn arg_type(call: &Call<'_>, index: usize) -> PgType {
    call.types.get(index).copied().unwrap_or(PgType::from(TypeOid::TEXT))
}

/// The text of a builder of json, or the jsonb of a builder of jsonb.
fn built(out: Vec<u8>, binary: bool) -> Result<Datum> {
    let text = string(out)?;
    Ok(Datum::from(if binary { json::normalize(&text)? } else { text }))
}

fn build_object(call: &Call<'_>, args: &[Datum], binary: bool) -> Result<Datum> {
    if args.len() % 2 == 1 {
        return Err(invalid_parameter("argument list must have even number of elements")
            .hint(format!("The arguments of {}() must consist of alternating keys and values.", call.function.name)));
    }
    let mut out = vec![b'{'];
    for (i, pair) in args.chunks_exact(2).enumerate() {
        let [key, value] = pair else { continue };
        if key.is_null() {
            let at = i * 2 + 1;
            return Err(invalid_parameter(if binary {
                format!("argument {at}: key must not be null")
            } else {
                format!("argument {at} cannot be null")
            }));
        }
        if i > 0 {
            out.extend_from_slice(b", ");
        }
        json::write_string(&output(key, arg_type(call, i * 2), call.context)?, &mut out);
        out.extend_from_slice(b" : ");
        write_json(value, arg_type(call, i * 2 + 1), call, &mut out)?;
    }
    out.push(b'}');
    built(out, binary)
}

fn build_array(call: &Call<'_>, args: &[Datum], binary: bool) -> Result<Datum> {
    let mut out = vec![b'['];
    for (i, value) in args.iter().enumerate() {
        if i > 0 {
            out.extend_from_slice(b", ");
        }
        write_json(value, arg_type(call, i), call, &mut out)?;
    }
    out.push(b']');
    built(out, binary)
}

/// `json_object`: keys and values in turn, or in two arrays.
fn object_of_text(args: &[Datum], binary: bool) -> Result<Datum> {
    let subscript = |message: &str| Error::new(SqlState::ArraySubscriptError, message);
    let first = args::array(args.first())?;
    let pairs: Vec<(&Datum, &Datum)> = match args.get(1) {
        None if first.len() % 2 == 1 => return Err(subscript("array must have even number of elements")),
        None => first.iter().step_by(2).zip(first.iter().skip(1).step_by(2)).collect(),
        second => {
            let values = args::array(second)?;
            if values.len() != first.len() {
                return Err(subscript("mismatched array dimensions"));
            }
            first.iter().zip(values.iter()).collect()
        }
    };
    let mut out = vec![b'{'];
    for (i, (key, value)) in pairs.into_iter().enumerate() {
        let Datum::Text(key) = key else {
            return Err(Error::new(SqlState::NullValueNotAllowed, "null value not allowed for object key"));
        };
        if i > 0 {
            out.extend_from_slice(b", ");
        }
        json::write_string(key, &mut out);
        out.extend_from_slice(b" : ");
        match value {
            Datum::Text(value) => json::write_string(value, &mut out),
            _ => out.extend_from_slice(b"null"),
        }
    }
    out.push(b'}');
    built(out, binary)
}

fn array_length(document: &str) -> Result<Datum> {
    match json::parse(document)? {
        Json::Array(items) => Ok(Datum::Int4(items.len() as i32)),
        Json::Object(_) => Err(invalid_parameter("cannot get array length of a non-array")),
        _ => Err(invalid_parameter("cannot get array length of a scalar")),
    }
}

/// jsonb's `@>`: a whole document that is an array contains a bare scalar.
fn contains(outer: &Json, inner: &Json) -> bool {
    match (outer, inner) {
        (Json::Array(items), scalar) if !matches!(scalar, Json::Object(_) | Json::Array(_)) => {
            items.iter().any(|item| item == scalar)
        }
        _ => contains_part(outer, inner),
    }
}

fn contains_part(outer: &Json, inner: &Json) -> bool {
    match (outer, inner) {
        (Json::Object(_), Json::Object(wanted)) => {
            wanted.iter().all(|(key, value)| field(outer, key).is_some_and(|found| contains_part(found, value)))
        }
        (Json::Array(items), Json::Array(wanted)) => wanted.iter().all(|w| items.iter().any(|i| contains_part(i, w))),
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
    let document = args::text(args.first())?;
    let name = call.function.name;
    if is_jsonb(call) {
        return match json::parse(document)? {
            Json::Array(items) => {
                let values: Result<Vec<Datum>> = items.iter().map(|item| part(Some(item), text)).collect();
                Ok(single_column(values?))
            }
            Json::Object(_) => Err(invalid_parameter("cannot extract elements from an object")),
            _ => Err(invalid_parameter("cannot extract elements from a scalar")),
        };
    }
    match json_text::parts(document)? {
        Parts::Array(items) => {
            let values: Result<Vec<Datum>> = items.into_iter().map(|item| slice(Some(item), text)).collect();
            Ok(single_column(values?))
        }
        Parts::Object(_) => Err(invalid_parameter(format!("cannot call {name} on a non-array"))),
        Parts::Scalar => Err(invalid_parameter(format!("cannot call {name} on a scalar"))),
    }
}

fn each(call: &Call<'_>, args: &[Datum], text: bool) -> Result<Rows> {
    let document = args::text(args.first())?;
    let rows: Result<Vec<Vec<Datum>>> = if is_jsonb(call) {
        let Json::Object(members) = json::parse(document)? else {
            return Err(invalid_parameter(format!("cannot call {} on a non-object", call.function.name)));
        };
        members.into_iter().map(|(key, value)| Ok(vec![Datum::from(key), part(Some(&value), text)?])).collect()
    } else {
        match json_text::parts(document)? {
            Parts::Object(members) => {
                members.into_iter().map(|(key, value)| Ok(vec![Datum::from(key), slice(Some(value), text)?])).collect()
            }
            Parts::Array(_) => return Err(invalid_parameter("cannot deconstruct an array as an object")),
            Parts::Scalar => return Err(invalid_parameter("cannot deconstruct a scalar")),
        }
    };
    Ok(Box::new(rows?.into_iter().map(Ok)))
}

fn keys(call: &Call<'_>, args: &[Datum]) -> Result<Rows> {
    match json_text::parts(args::text(args.first())?)? {
        Parts::Object(members) => Ok(single_column(members.into_iter().map(|(key, _)| Datum::from(key)).collect())),
        Parts::Array(_) => Err(invalid_parameter(format!("cannot call {} on an array", call.function.name))),
        Parts::Scalar => Err(invalid_parameter(format!("cannot call {} on a scalar", call.function.name))),
    }
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
        ("row_to_json", row_to_json),
        ("row_to_json_pretty", row_to_json),
        ("to_json", |call, args| Ok(Datum::from(json_of(args::any(args.first())?, arg_type(call, 0), call)?))),
        ("to_jsonb", |call, args| {
            Ok(Datum::from(json::normalize(&json_of(args::any(args.first())?, arg_type(call, 0), call)?)?))
        }),
        ("array_to_json", |call, args| Ok(Datum::from(json_of(args::any(args.first())?, arg_type(call, 0), call)?))),
        ("array_to_json_pretty", |call, args| {
            let comma: &[u8] = if args::boolean(args.get(1))? { b",\n " } else { b"," };
            let mut out = Vec::new();
            let array = args::array(args.first())?;
            write_array(array.dims(), array, arg_type(call, 0), comma, call, &mut out)?;
            string(out).map(Datum::from)
        }),
        ("json_object", |_, a| object_of_text(a, false)),
        ("json_object_two_arg", |_, a| object_of_text(a, false)),
        ("jsonb_object", |_, a| object_of_text(a, true)),
        ("jsonb_object_two_arg", |_, a| object_of_text(a, true)),
        ("jsonb_cmp", |_, args| {
            let (a, b) = (args::any(args.first())?, args::any(args.get(1))?);
            Ok(Datum::Int4(compare::compare(a, b, TypeOid::JSONB.into()) as i32))
        }),
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
        ("format_type", |call, a| match a.first() {
            Some(Datum::Oid(oid)) => {
                let oid = TypeOid(*oid);
                let known = names::row(oid).is_some() || oid.0 == 0;
                let own = if known { None } else { call.context.format.types.shown(oid) };
                Ok(Datum::from(own.unwrap_or_else(|| match a.get(1) {
                    Some(Datum::Int4(typmod)) => names::format_modified(PgType::new(oid, *typmod)),
                    _ => names::format_type(oid, -1),
                })))
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
