//! What a column becomes when a part of it is assigned: elements and slices of arrays (arrayfuncs.c), places in jsonb
//! (jsonbsubs.c, which fills gaps in arrays with nulls and makes the containers that are missing).

use std::sync::Arc;

use super::args;
use super::array_shape::{assign_element, assign_slice};
use super::{Call, Function, Kind, Volatility};
use crate::error::{Error, Result, SqlState};
use crate::types::array::ArrayValue;
use crate::types::json::{self, Json};
use crate::types::{Datum, TypeOid};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Element,
    Slice,
    Json,
}

/// The function of an assignment, which is not in pg_proc. Arguments: the whole, the part's new value, then for arrays which
/// bounds are written and all bounds, for jsonb the path.
pub fn assignment(part: Part, whole: TypeOid) -> Arc<Function> {
    let (symbol, scalar): (&'static str, super::RowFunction) = match part {
        Part::Element => ("lockstep_assign_element", element),
        Part::Slice => ("lockstep_assign_slice", slice),
        Part::Json => ("lockstep_assign_json", in_json),
    };
    Arc::new(Function {
        oid: 0,
        name: symbol,
        args: vec![whole],
        variadic: None,
        defaults: 0,
        ret: whole,
        kind: Kind::Scalar,
        returns_set: false,
        strict: false,
        volatility: Volatility::Immutable,
        symbol,
        all_args: Vec::new(),
        arg_modes: Vec::new(),
        arg_names: Vec::new(),
        scalar: Some(scalar),
        set: None,
    })
}

fn whole(value: Option<&Datum>) -> Arc<ArrayValue> {
    match value {
        Some(Datum::Array(array)) => array.clone(),
        _ => Arc::default(),
    }
}

fn bound(value: &Datum) -> Result<i32> {
    match value {
        Datum::Int4(at) => Ok(*at),
        _ => Err(Error::new(SqlState::NullValueNotAllowed, "array subscript in assignment must not be null")),
    }
}

fn element(_: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let at = args.get(3..).unwrap_or_default().iter().map(bound).collect::<Result<Vec<_>>>()?;
    assign_element(&whole(args.first()), &at, args::any(args.get(1))?.clone()).map(Datum::from)
}

fn slice(_: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let marks = args::text(args.get(2))?;
    let mut bounds = Vec::new();
    for (pair, values) in marks.as_bytes().chunks(2).zip(args.get(3..).unwrap_or_default().chunks(2)) {
        let end = |i: usize| match (pair.get(i), values.get(i)) {
            (Some(b'-'), _) | (_, None) => Ok(None),
            (_, Some(value)) => bound(value).map(Some),
        };
        bounds.push((end(0)?, end(1)?));
    }
    let array = whole(args.first());
    match args.get(1) {
        Some(Datum::Array(source)) => assign_slice(&array, &bounds, source).map(Datum::from),
        // A NULL array assigns nothing.
        _ => Ok(args.first().cloned().unwrap_or(Datum::Null)),
    }
}

fn in_json(_: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let path: Vec<&str> = args::array(args.get(2))?
        .iter()
        .map(|step| match step {
            Datum::Text(step) => Ok(&**step),
            _ => Err(Error::new(SqlState::NullValueNotAllowed, "jsonb subscript in assignment must not be null")),
        })
        .collect::<Result<_>>()?;
    let value = match args.get(1) {
        Some(Datum::Text(value)) => json::parse(value)?,
        _ => Json::Null,
    };
    let document = match args.first() {
        Some(Datum::Text(document)) => Some(json::parse(document)?),
        _ => None,
    };
    let mut out = Vec::new();
    set(document, &path, 1, value)?.sorted().write_spaced(&mut out);
    String::from_utf8(out).map(Datum::from).map_err(|e| Error::internal(e.to_string()))
}

/// `place`: `None` where nothing is yet.
fn set(place: Option<Json>, path: &[&str], level: usize, value: Json) -> Result<Json> {
    let Some((step, rest)) = path.split_first() else { return Ok(value) };
    let index = step.trim().parse::<i64>().ok();
    match place {
        None if index.is_some() => set(Some(Json::Array(Vec::new())), path, level, value),
        None => set(Some(Json::Object(Vec::new())), path, level, value),
        Some(Json::Object(mut members)) => {
            let at = members.iter().position(|(key, _)| key == step);
            let old = at.and_then(|i| members.get_mut(i)).map(|(_, old)| std::mem::replace(old, Json::Null));
            let new = set(old, rest, level + 1, value)?;
            match at.and_then(|i| members.get_mut(i)) {
                Some((_, slot)) => *slot = new,
                None => members.push((step.to_string(), new)),
            }
            Ok(Json::Object(members))
        }
        Some(Json::Array(mut items)) => {
            let index = index.ok_or_else(|| {
                Error::new(
                    SqlState::InvalidTextRepresentation,
                    format!("path element at position {level} is not an integer: \"{step}\""),
                )
            })?;
            let at = if index < 0 { index + items.len() as i64 } else { index };
            let at = usize::try_from(at).ok().filter(|at| *at < (1 << 24)).ok_or_else(|| {
                Error::new(
                    SqlState::InvalidParameterValue,
                    format!("path element at position {level} is out of range: {index}"),
                )
            })?;
            let old = items.get_mut(at).map(|old| std::mem::replace(old, Json::Null));
            while items.len() <= at {
                items.push(Json::Null);
            }
            let new = set(old, rest, level + 1, value)?;
            if let Some(slot) = items.get_mut(at) {
                *slot = new;
            }
            Ok(Json::Array(items))
        }
        Some(_) => Err(Error::new(SqlState::InvalidParameterValue, "cannot replace existing key")
            .detail("The path assumes key is a composite object, but it is a scalar value.")),
    }
}
