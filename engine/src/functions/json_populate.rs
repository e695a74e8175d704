//! json_populate_record and its kin: members of a JSON object as the fields of a row.
//!
//! A JSON string is read as its characters, anything else as it is written; arrays and rows are read part by part
//! (PostgreSQL's `populate_record_field`). Both json and jsonb are read as text: what is cut out of a jsonb is in normal form.

use std::sync::{Arc, LazyLock};

use super::json_text::{self, Parts};
use super::patterns::single_column;
use super::registry::Implementations;
use super::strings::invalid_parameter;
use super::{Call, EvalContext, Function, Kind, Rows, Volatility, args, casts};
use crate::error::{Error, Result, SqlState};
use crate::types::array::{ArrayValue, Dimension};
use crate::types::json::{self, Json};
use crate::types::record::{self, RowValue};
use crate::types::{Datum, PgType, TypeOid};

/// A member of a document as a value of a column: document, key, name of the function that was called. Its number is one that
/// no function of PostgreSQL has.
pub fn member() -> Arc<Function> {
    static FUNCTION: LazyLock<Arc<Function>> = LazyLock::new(|| {
        Arc::new(Function {
            oid: u32::MAX - 12,
            name: "lockstep_json_member",
            args: vec![TypeOid::TEXT, TypeOid::TEXT, TypeOid::TEXT],
            variadic: None,
            defaults: 0,
            ret: TypeOid::ANYELEMENT,
            kind: Kind::Scalar,
            returns_set: false,
            strict: true,
            volatility: Volatility::Stable,
            symbol: "lockstep_json_member",
            all_args: vec![],
            arg_modes: vec![],
            arg_names: vec![],
            scalar: Some(|call, args| {
                let (document, key, of) =
                    (args::text(args.first())?, args::text(args.get(1))?, args::text(args.get(2))?);
                let members = object(document, of)?;
                match last(&members, key) {
                    Some(written) => value(written, call.ret, key, call.context),
                    None => Ok(Datum::Null),
                }
            }),
            set: None,
        })
    });
    FUNCTION.clone()
}

type Members<'a> = Vec<(String, &'a str)>;

/// The members of a document that must be an object (22023).
fn object<'a>(document: &'a str, function: &str) -> Result<Members<'a>> {
    match json_text::parts(document)? {
        Parts::Object(members) => Ok(members),
        Parts::Array(_) if function.ends_with("recordset") => Err(of_objects(function)),
        Parts::Scalar if function.ends_with("recordset") => Err(of_objects(function)),
        Parts::Array(_) => Err(invalid_parameter(format!("cannot call {function} on an array"))),
        Parts::Scalar => Err(invalid_parameter(format!("cannot call {function} on a scalar"))),
    }
}

fn of_objects(function: &str) -> Error {
    invalid_parameter(format!("argument of {function} must be an array of objects"))
}

/// Of members with the same key the last counts.
fn last<'a>(members: &Members<'a>, key: &str) -> Option<&'a str> {
    members.iter().rev().find(|(name, _)| name == key).map(|(_, written)| *written)
}

fn characters(written: &str) -> Result<Option<String>> {
    match written.as_bytes().first() {
        Some(b'"') => match json::parse(written)? {
            Json::String(text) => Ok(Some(text)),
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

/// A part of a document as a value of a type; `key` names it in messages.
fn value(written: &str, ty: PgType, key: &str, context: &EvalContext) -> Result<Datum> {
    if written == "null" {
        return Ok(Datum::Null);
    }
    match ty.oid {
        TypeOid::JSON => return Ok(Datum::from(written)),
        TypeOid::JSONB => return json::normalize(written).map(Datum::from),
        _ => {}
    }
    let string = characters(written)?;
    let vector = matches!(ty.oid, TypeOid::INT2VECTOR | TypeOid::OIDVECTOR);
    match (ty.oid.element().filter(|_| !vector), &string) {
        (Some(element), None) => {
            let Parts::Array(items) = json_text::parts(written)? else { return Err(no_array(key)) };
            array(&items, PgType::new(element, ty.typmod), key, context)
        }
        (None, None) if ty.oid.is_row() => match json_text::parts(written)? {
            Parts::Object(members) => row(&members, None, ty.oid, context),
            Parts::Array(_) => Err(invalid_parameter("cannot call populate_composite on an array")),
            Parts::Scalar => Err(invalid_parameter("cannot call populate_composite on a scalar")),
        },
        _ => casts::input(string.as_deref().unwrap_or(written), ty, context),
    }
}

fn no_array(key: &str) -> Error {
    Error::new(SqlState::InvalidTextRepresentation, "expected JSON array")
        .hint(format!("See the value of key \"{key}\"."))
}

/// Nested lists are dimensions.
fn array(items: &[&str], element: PgType, key: &str, context: &EvalContext) -> Result<Datum> {
    let (mut lengths, mut values) = (Vec::new(), Vec::new());
    collect(items, 0, &mut lengths, &mut None, &mut |written| {
        values.push(value(written, element, key, context)?);
        Ok(())
    })?;
    if values.is_empty() {
        return Ok(Datum::from(ArrayValue::from_iter(std::iter::empty::<Datum>())));
    }
    let dims = lengths.iter().map(|length| Dimension { lower: 1, length: *length as i32 });
    ArrayValue::shaped(dims, values).map(Datum::from).ok_or_else(malformed)
}

fn malformed() -> Error {
    Error::new(SqlState::InvalidTextRepresentation, "malformed JSON array")
        .detail("Multidimensional arrays must have sub-arrays with matching dimensions.")
}

/// `leaves`: how deep the elements lie, once the first one was met.
fn collect(
    items: &[&str],
    depth: usize,
    lengths: &mut Vec<usize>,
    leaves: &mut Option<usize>,
    leaf: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<()> {
    match lengths.get(depth) {
        None => lengths.push(items.len()),
        Some(length) if *length != items.len() => return Err(malformed()),
        Some(_) => {}
    }
    for item in items {
        let nested = item.starts_with('[');
        match *leaves {
            Some(at) if nested != (depth < at) => return Err(malformed()),
            None if !nested => *leaves = Some(depth),
            _ => {}
        }
        match json_text::parts(item)? {
            Parts::Array(inner) if nested => collect(&inner, depth + 1, lengths, leaves, leaf)?,
            _ => leaf(item)?,
        }
    }
    Ok(())
}

/// The row that the members make; what they do not name is `base`'s.
fn row(members: &Members<'_>, base: Option<&RowValue>, ty: TypeOid, context: &EvalContext) -> Result<Datum> {
    let own = |base: &RowValue| base.fields.iter().map(|f| (f.name.clone(), f.ty)).collect::<Vec<_>>();
    let (attributes, names) = match (ty, base) {
        (TypeOid::RECORD, Some(base)) => {
            let numbered = own(base).into_iter().enumerate().map(|(i, (name, ty))| match name.is_empty() {
                true => (format!("f{}", i + 1), ty),
                false => (name, ty),
            });
            let attributes: Vec<(String, PgType)> = numbered.collect();
            let names = attributes.iter().map(|a| a.0.clone()).collect::<Vec<_>>();
            (attributes, Some(names))
        }
        _ => (context.format.types.attributes(ty)?, None),
    };
    let mut values = Vec::with_capacity(attributes.len());
    for (i, (name, ty)) in attributes.iter().enumerate() {
        let field = match last(members, name) {
            Some(written) => value(written, *ty, name, context)?,
            None => base.and_then(|b| b.fields.get(i)).map_or(Datum::Null, |f| f.value.clone()),
        };
        values.push((field, *ty));
    }
    Ok(record::encode(ty, names.as_deref(), &values))
}

fn check_row_type(call: &Call<'_>, base: Option<&RowValue>) -> Result<()> {
    let name = call.function.name;
    let mismatch = |message: String| Error::new(SqlState::DatatypeMismatch, message);
    match call.ret.oid {
        ty if !ty.is_row() => Err(mismatch(format!("first argument of {name} must be a row type"))),
        TypeOid::RECORD if base.is_none() => {
            Err(mismatch(format!("could not determine row type for result of {name}")).hint(
                "Provide a non-null record argument, or call the function in the FROM clause using a column \
                 definition list.",
            ))
        }
        _ => Ok(()),
    }
}

fn base_row(args: &[Datum]) -> Result<Option<RowValue>> {
    match args.first() {
        Some(Datum::Bytea(row)) => record::decode(row).map(Some),
        _ => Ok(None),
    }
}

fn populate_record(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let base = base_row(args)?;
    check_row_type(call, base.as_ref())?;
    let Some(Datum::Text(document)) = args.get(1) else {
        return Ok(args.first().cloned().unwrap_or(Datum::Null));
    };
    row(&object(document, call.function.name)?, base.as_ref(), call.ret.oid, call.context)
}

fn populate_recordset(call: &Call<'_>, args: &[Datum]) -> Result<Rows> {
    let base = base_row(args)?;
    check_row_type(call, base.as_ref())?;
    let Some(Datum::Text(document)) = args.get(1) else { return Ok(Box::new(std::iter::empty())) };
    let items = match json_text::parts(document)? {
        Parts::Array(items) => items,
        Parts::Object(_) => {
            return Err(invalid_parameter(format!("cannot call {} on an object", call.function.name)));
        }
        Parts::Scalar => return Err(invalid_parameter(format!("cannot call {} on a scalar", call.function.name))),
    };
    let rows =
        items.iter().map(|item| row(&object(item, call.function.name)?, base.as_ref(), call.ret.oid, call.context));
    Ok(single_column(rows.collect::<Result<_>>()?))
}

/// The documents of a list: what `json_to_recordset` takes apart. List, name of the function.
pub fn documents() -> Arc<Function> {
    static FUNCTION: LazyLock<Arc<Function>> = LazyLock::new(|| {
        Arc::new(Function {
            oid: u32::MAX - 13,
            name: "lockstep_json_documents",
            args: vec![TypeOid::TEXT, TypeOid::TEXT],
            returns_set: true,
            ret: TypeOid::TEXT,
            symbol: "lockstep_json_documents",
            scalar: None,
            set: Some(|_, args| {
                let (document, of) = (args::text(args.first())?, args::text(args.get(1))?);
                match json_text::parts(document)? {
                    Parts::Array(items) => Ok(single_column(items.into_iter().map(Datum::from).collect())),
                    Parts::Object(_) => Err(invalid_parameter(format!("cannot call {of} on an object"))),
                    Parts::Scalar => Err(invalid_parameter(format!("cannot call {of} on a scalar"))),
                }
            }),
            ..(*member()).clone()
        })
    });
    FUNCTION.clone()
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[("json_populate_record", populate_record), ("jsonb_populate_record", populate_record)]);
    implementations.set("json_populate_recordset", populate_recordset);
    implementations.set("jsonb_populate_recordset", populate_recordset);
}
