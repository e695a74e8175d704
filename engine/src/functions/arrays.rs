//! Functions on arrays; what concerns their shape is in [`super::array_shape`].

use std::sync::Arc;

use super::args::{self, row};
use super::casts::output;
use super::registry::Implementations;
use super::{Call, Rows, array_shape};
use crate::error::{Error, Result, SqlState};
use crate::types::array::{
    ArrayValue, DIMENSIONS_MAX, Dimension, ELEMENTS_MAX, too_many_dimensions, too_many_elements,
};
use crate::types::{Datum, PgType, TypeOid, compare};

/// Type of the elements of argument `index`.
fn element(call: &Call<'_>, index: usize) -> PgType {
    let array = call.types.get(index).copied().unwrap_or(call.ret);
    array.oid.element().unwrap_or(TypeOid::TEXT).into()
}

fn equal(a: &Datum, b: &Datum, ty: PgType) -> bool {
    compare::compare(a, b, ty).is_eq()
}

/// The dimensions; int2vector and oidvector begin at 0.
fn dimensions(call: &Call<'_>, array: &ArrayValue) -> Vec<Dimension> {
    let mut dims = array.dims().to_vec();
    if let (Some(first), Some(ty)) = (dims.first_mut(), call.types.first()) {
        first.lower = array.first_lower(ty.oid);
    }
    dims
}

/// A dimension by its number from 1.
fn dimension(call: &Call<'_>, args: &[Datum]) -> Result<Option<Dimension>> {
    let (array, number) = (args::array(args.first())?, args::int4(args.get(1))?);
    let at = usize::try_from(number).ok().and_then(|n| n.checked_sub(1));
    Ok(at.and_then(|at| dimensions(call, array).get(at).copied()))
}

fn array_or_empty(value: Option<&Datum>) -> ArrayValue {
    match value {
        Some(Datum::Array(array)) => array.as_ref().clone(),
        _ => ArrayValue::default(),
    }
}

/// An array with a value at its end or its beginning.
fn grow(array: ArrayValue, value: &Datum, at_end: bool) -> Result<Datum> {
    if array.dims().len() > 1 {
        return Err(Error::new(SqlState::DataException, "argument must be empty or one-dimensional array"));
    }
    let lower = array.dims().first().map_or(1, |d| d.lower);
    let mut items = array.into_items();
    match at_end {
        true => items.push(value.clone()),
        false => items.insert(0, value.clone()),
    }
    Ok(Datum::from(ArrayValue::with_lower(items, lower)))
}

fn concatenate(_: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    match args {
        [Datum::Null, other] | [other, Datum::Null] => Ok(other.clone()),
        [Datum::Array(a), Datum::Array(b)] => array_shape::concatenate(a, b).map(Datum::from),
        _ => Err(Error::internal("array_cat wants two arrays")),
    }
}

fn only_dimension(array: &ArrayValue, what: &str) -> Result<i32> {
    match array.dims() {
        [] => Ok(1),
        [only] => Ok(only.lower),
        _ => Err(Error::new(SqlState::FeatureNotSupported, format!("{what} multidimensional arrays is not supported"))),
    }
}

/// Subscripts of a value, NULL found like any other.
fn positions(call: &Call<'_>, args: &[Datum], start: i32) -> Result<Option<Vec<i32>>> {
    let Some(Datum::Array(items)) = args.first() else { return Ok(None) };
    let lower = only_dimension(items, "searching for elements in")?;
    let (needle, ty) = (args::any(args.get(1))?, element(call, 0));
    let found = items.iter().enumerate().filter(|(_, item)| equal(item, needle, ty));
    Ok(Some(found.map(|(i, _)| lower.saturating_add(i as i32)).filter(|i| *i >= start).collect()))
}

fn first_position(call: &Call<'_>, args: &[Datum], start: i32) -> Result<Datum> {
    Ok(positions(call, args, start)?.and_then(|p| p.first().copied()).map_or(Datum::Null, Datum::Int4))
}

fn remove(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let Some(Datum::Array(items)) = args.first() else { return Ok(Datum::Null) };
    let lower = only_dimension(items, "removing elements from")?;
    let (needle, ty) = (args::any(args.get(1))?, element(call, 0));
    let kept = items.iter().filter(|item| !equal(item, needle, ty)).cloned().collect::<Vec<_>>();
    Ok(Datum::from(ArrayValue::with_lower(kept, lower)))
}

fn replace(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let Some(Datum::Array(items)) = args.first() else { return Ok(Datum::Null) };
    let (needle, with, ty) = (args::any(args.get(1))?, args::any(args.get(2))?, element(call, 0));
    let swap = |item: &Datum| Ok(if equal(item, needle, ty) { with.clone() } else { item.clone() });
    items.map(swap).map(Datum::from)
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

/// What `array_fill` makes at most: a gigabyte in memory is too much.
const FILLED_MAX: i64 = 1 << 24;

fn fill(args: &[Datum]) -> Result<Datum> {
    let null = |message: &str| Error::new(SqlState::NullValueNotAllowed, message);
    let Some(Datum::Array(sizes)) = args.get(1) else {
        return Err(null("dimension array or low bound array cannot be null"));
    };
    let bounds = match args.get(2) {
        None => None,
        Some(Datum::Array(bounds)) => Some(bounds),
        Some(_) => return Err(null("dimension array or low bound array cannot be null")),
    };
    if sizes.dims().len() > 1 || bounds.is_some_and(|b| b.dims().len() > 1) {
        return Err(array_shape::subscript_error("wrong number of array subscripts")
            .detail("Dimension array must be one dimensional."));
    }
    if sizes.len() > DIMENSIONS_MAX {
        return Err(too_many_dimensions(sizes.len()));
    }
    if bounds.is_some_and(|b| b.len() != sizes.len()) {
        return Err(array_shape::subscript_error("wrong number of array subscripts")
            .detail("Low bound array has different size than dimensions array."));
    }
    let mut count = i64::from(!sizes.is_empty());
    let mut dims = Vec::new();
    for (i, size) in sizes.iter().enumerate() {
        let lower = bounds.and_then(|b| b.get(i));
        let lower = match lower {
            None => 1,
            Some(Datum::Int4(lower)) => *lower,
            Some(_) => return Err(null("dimension values cannot be null")),
        };
        let Datum::Int4(length) = size else { return Err(null("dimension values cannot be null")) };
        count = count.saturating_mul((*length).into());
        if *length < 0 || count > ELEMENTS_MAX {
            return Err(too_many_elements());
        }
        if lower.checked_add(*length).is_none() {
            return Err(Error::new(SqlState::ProgramLimitExceeded, format!("array lower bound is too large: {lower}")));
        }
        dims.push(Dimension { lower, length: *length });
    }
    if count > FILLED_MAX {
        return Err(Error::unsupported(format!("an array of more than {FILLED_MAX} elements")));
    }
    let items = vec![args::any(args.first())?.clone(); count as usize];
    let filled = ArrayValue::shaped(dims, items).ok_or_else(|| Error::internal("array_fill lost its shape"))?;
    Ok(Datum::from(filled))
}

/// The larger of two arrays, then the smaller one.
fn larger<'a>(call: &Call<'_>, args: &'a [Datum]) -> Result<(&'a Datum, &'a Datum)> {
    let (a, b) = (args::any(args.first())?, args::any(args.get(1))?);
    let ty = call.types.first().copied().unwrap_or(call.ret);
    Ok(if compare::compare(a, b, ty).is_lt() { (b, a) } else { (a, b) })
}

fn trim(args: &[Datum]) -> Result<Datum> {
    let (array, count) = (args::array(args.first())?, args::int4(args.get(1))?);
    let first = array.dims().first().copied().unwrap_or(Dimension { lower: 1, length: 0 });
    if !(0..=first.length).contains(&count) {
        return Err(Error::new(
            SqlState::ArraySubscriptError,
            format!("number of elements to trim must be between 0 and {}", first.length),
        ));
    }
    let upper = i64::from(first.upper()) - i64::from(count);
    match i32::try_from(upper) {
        Ok(upper) if !array.is_empty() => Ok(Datum::from(array_shape::slice(array, &[(None, Some(upper))]))),
        _ => Ok(Datum::Array(Arc::default())),
    }
}

fn subscripts(call: &Call<'_>, args: &[Datum]) -> Result<Rows> {
    let reverse = matches!(args.get(2), Some(Datum::Bool(true)));
    let Some(dimension) = dimension(call, args)? else { return Ok(Box::new(std::iter::empty())) };
    let range = dimension.lower..=dimension.upper();
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
        ("array_length", |call, args| Ok(dimension(call, args)?.map_or(Datum::Null, |d| Datum::Int4(d.length)))),
        ("array_upper", |call, args| Ok(dimension(call, args)?.map_or(Datum::Null, |d| Datum::Int4(d.upper())))),
        ("array_lower", |call, args| Ok(dimension(call, args)?.map_or(Datum::Null, |d| Datum::Int4(d.lower)))),
        (
            "array_ndims",
            row!(|a: array| Ok(if a.is_empty() { Datum::Null } else { Datum::Int4(a.dims().len() as i32) })),
        ),
        ("array_dims", |call, args| {
            let dims = dimensions(call, args::array(args.first())?);
            let shown: String = dims.iter().map(|d| format!("[{}:{}]", d.lower, d.upper())).collect();
            Ok(if shown.is_empty() { Datum::Null } else { Datum::from(shown) })
        }),
        ("array_cardinality", row!(|a: array| Ok(Datum::Int4(a.len() as i32)))),
        ("array_append", |_, args| grow(array_or_empty(args.first()), args::any(args.get(1))?, true)),
        ("array_prepend", |_, args| grow(array_or_empty(args.get(1)), args::any(args.first())?, false)),
        ("array_cat", concatenate),
        ("array_position", |call, args| first_position(call, args, i32::MIN)),
        ("array_position_start", |call, args| {
            if args.first().is_some_and(Datum::is_null) {
                return Ok(Datum::Null);
            }
            let Some(Datum::Int4(start)) = args.get(2).cloned() else {
                return Err(Error::new(SqlState::NullValueNotAllowed, "initial position must not be null"));
            };
            first_position(call, args, start)
        }),
        ("array_positions", |call, args| {
            let found = positions(call, args, i32::MIN)?;
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
