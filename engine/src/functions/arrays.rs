//! Functions on arrays. Arrays have one dimension and begin at 1 (int2vector and oidvector at 0).

use super::args::{self, row};
use super::casts::output;
use super::registry::Implementations;
use super::{Call, Rows};
use crate::error::{Error, Result, SqlState};
use crate::types::{Datum, PgType, TypeOid, compare};

/// Type of the elements of argument `index`.
fn element(call: &Call<'_>, index: usize) -> PgType {
    let array = call.types.get(index).copied().unwrap_or(call.ret);
    array.oid.element().unwrap_or(TypeOid::TEXT).into()
}

fn equal(a: &Datum, b: &Datum, ty: PgType) -> bool {
    compare::compare(a, b, ty).is_eq()
}

fn lower_bound(call: &Call<'_>) -> i32 {
    let vector = call.types.first().is_some_and(|t| matches!(t.oid, TypeOid::INT2VECTOR | TypeOid::OIDVECTOR));
    if vector { 0 } else { 1 }
}

/// A bound of the only dimension; NULL for an empty array and other dimensions.
fn bound(call: &Call<'_>, args: &[Datum], upper: bool) -> Result<Datum> {
    let items = args::array(args.first())?;
    if items.is_empty() || args::int4(args.get(1))? != 1 {
        return Ok(Datum::Null);
    }
    let low = lower_bound(call);
    Ok(Datum::Int4(if upper { low + items.len() as i32 - 1 } else { low }))
}

fn items_or_empty(value: Option<&Datum>) -> Vec<Datum> {
    match value {
        Some(Datum::Array(items)) => items.as_ref().clone(),
        _ => Vec::new(),
    }
}

fn append(_: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let mut items = items_or_empty(args.first());
    items.push(args::any(args.get(1))?.clone());
    Ok(Datum::from(items))
}

fn prepend(_: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let mut items = vec![args::any(args.first())?.clone()];
    items.extend(items_or_empty(args.get(1)));
    Ok(Datum::from(items))
}

fn concatenate(_: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    match args {
        [Datum::Null, other] | [other, Datum::Null] => Ok(other.clone()),
        [Datum::Array(a), Datum::Array(b)] => Ok(Datum::from(a.iter().chain(b.iter()).cloned().collect::<Vec<_>>())),
        _ => Err(Error::internal("array_cat wants two arrays")),
    }
}

/// Positions (from 1) of a value, NULL found like any other.
fn positions(call: &Call<'_>, args: &[Datum], start: i32) -> Option<Vec<i32>> {
    let Some(Datum::Array(items)) = args.first() else { return None };
    let (needle, ty) = (args.get(1)?, element(call, 0));
    let found = items.iter().enumerate().filter(|(_, item)| equal(item, needle, ty));
    Some(found.map(|(i, _)| i as i32 + 1).filter(|i| *i >= start).collect())
}

fn remove(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let Some(Datum::Array(items)) = args.first() else { return Ok(Datum::Null) };
    let (needle, ty) = (args::any(args.get(1))?, element(call, 0));
    Ok(Datum::from(items.iter().filter(|item| !equal(item, needle, ty)).cloned().collect::<Vec<_>>()))
}

fn replace(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let Some(Datum::Array(items)) = args.first() else { return Ok(Datum::Null) };
    let (needle, with, ty) = (args::any(args.get(1))?, args::any(args.get(2))?, element(call, 0));
    let swap = |item: &Datum| if equal(item, needle, ty) { with.clone() } else { item.clone() };
    Ok(Datum::from(items.iter().map(swap).collect::<Vec<_>>()))
}

/// Whether every element of `inner` (NULLs never) is in `outer`.
fn contains(outer: &[Datum], inner: &[Datum], ty: PgType) -> bool {
    inner.iter().all(|item| !item.is_null() && outer.iter().any(|other| !other.is_null() && equal(item, other, ty)))
}

fn to_text(call: &Call<'_>, args: &[Datum], null: Option<&str>) -> Result<Datum> {
    let (Some(Datum::Array(items)), Some(Datum::Text(delimiter))) = (args.first(), args.get(1)) else {
        return Ok(Datum::Null);
    };
    let ty = element(call, 0);
    let mut parts = Vec::with_capacity(items.len());
    for item in items.iter() {
        match (item, null) {
            (Datum::Null, None) => {}
            (Datum::Null, Some(shown)) => parts.push(shown.to_string()),
            (item, _) => parts.push(output(item, ty, call.context)?),
        }
    }
    Ok(Datum::from(parts.join(delimiter)))
}

/// `string_to_array`: an empty delimiter keeps the text whole, NULL splits into characters.
pub(super) fn from_text(args: &[Datum]) -> Option<Vec<Datum>> {
    let Some(Datum::Text(text)) = args.first() else { return None };
    let null = match args.get(2) {
        Some(Datum::Text(null)) => Some(null.as_ref()),
        _ => None,
    };
    if text.is_empty() {
        return Some(Vec::new());
    }
    let parts: Vec<String> = match args.get(1) {
        Some(Datum::Text(d)) if d.is_empty() => vec![text.to_string()],
        Some(Datum::Text(d)) => text.split(d.as_ref()).map(str::to_string).collect(),
        _ => text.chars().map(String::from).collect(),
    };
    let item = |part: String| if null == Some(part.as_str()) { Datum::Null } else { Datum::from(part) };
    Some(parts.into_iter().map(item).collect())
}

/// Most elements that an array of PostgreSQL has, and that `array_fill` makes here: a gigabyte in memory is too much.
const ELEMENTS_MAX: i64 = 134_217_727;
const FILLED_MAX: i64 = 1 << 24;

fn fill(args: &[Datum]) -> Result<Datum> {
    let null = |message: &str| Error::new(SqlState::NullValueNotAllowed, message);
    let Some(Datum::Array(dimensions)) = args.get(1) else {
        return Err(null("dimension array or low bound array cannot be null"));
    };
    let mut count = 1i64;
    for size in dimensions.iter() {
        let Datum::Int4(size) = size else { return Err(null("dimension values cannot be null")) };
        count = count.saturating_mul((*size).into());
        if *size < 0 || count > ELEMENTS_MAX {
            return Err(Error::new(
                SqlState::ProgramLimitExceeded,
                format!("array size exceeds the maximum allowed ({ELEMENTS_MAX})"),
            ));
        }
    }
    if count > FILLED_MAX {
        return Err(Error::unsupported(format!("an array of more than {FILLED_MAX} elements")));
    }
    match (dimensions.len(), args.get(2)) {
        (0, _) => Ok(Datum::from(Vec::<Datum>::new())),
        (1, None) => Ok(Datum::from(vec![args::any(args.first())?.clone(); count as usize])),
        (1, Some(Datum::Array(bounds))) if bounds.as_slice() == [Datum::Int4(1)] => {
            Ok(Datum::from(vec![args::any(args.first())?.clone(); count as usize]))
        }
        (1, Some(Datum::Null)) => Err(null("dimension array or low bound array cannot be null")),
        _ => Err(Error::unsupported("an array with several dimensions or a lower bound other than one")),
    }
}

/// The larger of two arrays, then the smaller one.
fn larger<'a>(call: &Call<'_>, args: &'a [Datum]) -> Result<(&'a Datum, &'a Datum)> {
    let (a, b) = (args::any(args.first())?, args::any(args.get(1))?);
    let ty = call.types.first().copied().unwrap_or(call.ret);
    Ok(if compare::compare(a, b, ty).is_lt() { (b, a) } else { (a, b) })
}

fn trim(args: &[Datum]) -> Result<Datum> {
    let (items, count) = (args::array(args.first())?, args::int4(args.get(1))?);
    if count < 0 || count as usize > items.len() {
        return Err(Error::new(
            SqlState::ArraySubscriptError,
            format!("number of elements to trim must be between 0 and {}", items.len()),
        ));
    }
    Ok(Datum::from(items.iter().take(items.len() - count as usize).cloned().collect::<Vec<_>>()))
}

fn subscripts(call: &Call<'_>, args: &[Datum]) -> Result<Rows> {
    let items = args::array(args.first())?;
    let reverse = matches!(args.get(2), Some(Datum::Bool(true)));
    if args::int4(args.get(1))? != 1 || items.is_empty() {
        return Ok(Box::new(std::iter::empty()));
    }
    let low = lower_bound(call);
    let range = low..low + items.len() as i32;
    let row = |i: i32| Ok(vec![Datum::Int4(i)]);
    Ok(if reverse { Box::new(range.rev().map(row)) } else { Box::new(range.map(row)) })
}

fn unnest(_: &Call<'_>, args: &[Datum]) -> Result<Rows> {
    let items = args::array(args.first())?.clone();
    Ok(Box::new((0..items.len()).map(move |i| Ok(vec![items.get(i).cloned().unwrap_or(Datum::Null)]))))
}

/// `information_schema._pg_expandarray`: the elements with their numbers, from 1 whatever the lower bound.
fn expand_array(_: &Call<'_>, args: &[Datum]) -> Result<Rows> {
    let items = args::array(args.first())?.clone();
    let count = items.len();
    let row = move |i: usize| Ok(vec![items.get(i).cloned().unwrap_or(Datum::Null), Datum::Int4(i as i32 + 1)]);
    Ok(Box::new((0..count).map(row)))
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        (
            "array_length",
            row!(|a: array, d: int4| {
                Ok(if a.is_empty() || d != 1 { Datum::Null } else { Datum::Int4(a.len() as i32) })
            }),
        ),
        ("array_upper", |call, args| bound(call, args, true)),
        ("array_lower", |call, args| bound(call, args, false)),
        ("array_ndims", row!(|a: array| Ok(if a.is_empty() { Datum::Null } else { Datum::Int4(1) }))),
        ("array_dims", |call, args| {
            let items = args::array(args.first())?;
            let low = lower_bound(call);
            Ok(if items.is_empty() {
                Datum::Null
            } else {
                Datum::from(format!("[{low}:{}]", low + items.len() as i32 - 1))
            })
        }),
        ("array_cardinality", row!(|a: array| Ok(Datum::Int4(a.len() as i32)))),
        ("array_append", append),
        ("array_prepend", prepend),
        ("array_cat", concatenate),
        ("array_position", |call, args| {
            Ok(positions(call, args, 1).and_then(|p| p.first().copied()).map_or(Datum::Null, Datum::Int4))
        }),
        ("array_position_start", |call, args| {
            if args.first().is_some_and(Datum::is_null) {
                return Ok(Datum::Null);
            }
            let Some(Datum::Int4(start)) = args.get(2).cloned() else {
                return Err(Error::new(SqlState::NullValueNotAllowed, "initial position must not be null"));
            };
            Ok(positions(call, args, start).and_then(|p| p.first().copied()).map_or(Datum::Null, Datum::Int4))
        }),
        ("array_positions", |call, args| {
            let found = positions(call, args, 1);
            Ok(found.map_or(Datum::Null, |p| Datum::from(p.into_iter().map(Datum::Int4).collect::<Vec<_>>())))
        }),
        ("array_remove", remove),
        ("array_replace", replace),
        ("array_fill", |_, args| fill(args)),
        ("array_fill_with_lower_bounds", |_, args| fill(args)),
        ("array_larger", |call, args| Ok(larger(call, args)?.0.clone())),
        ("array_smaller", |call, args| Ok(larger(call, args)?.1.clone())),
        ("trim_array", |_, args| trim(args)),
        ("array_to_text", |call, args| to_text(call, args, None)),
        ("array_to_text_null", |call, args| match args.get(2) {
            Some(Datum::Text(null)) => to_text(call, args, Some(null)),
            _ => to_text(call, args, None),
        }),
        ("text_to_array", |_, args| Ok(from_text(args).map_or(Datum::Null, Datum::from))),
        ("text_to_array_null", |_, args| Ok(from_text(args).map_or(Datum::Null, Datum::from))),
        ("arraycontains", |call, args| {
            Ok(Datum::Bool(contains(args::array(args.first())?, args::array(args.get(1))?, element(call, 0))))
        }),
        ("arraycontained", |call, args| {
            Ok(Datum::Bool(contains(args::array(args.get(1))?, args::array(args.first())?, element(call, 0))))
        }),
        ("arrayoverlap", |call, args| {
            let (a, b, ty) = (args::array(args.first())?, args::array(args.get(1))?, element(call, 0));
            Ok(Datum::Bool(a.iter().any(|x| contains(b, std::slice::from_ref(x), ty))))
        }),
    ]);
    implementations.set("array_unnest", unnest);
    implementations.set("#13208", expand_array);
    implementations.set("generate_subscripts", subscripts);
    implementations.set("generate_subscripts_nodir", subscripts);
    implementations
        .set("text_to_table", |_, args| Ok(super::patterns::single_column(from_text(args).unwrap_or_default())));
    implementations
        .set("text_to_table_null", |_, args| Ok(super::patterns::single_column(from_text(args).unwrap_or_default())));
}
