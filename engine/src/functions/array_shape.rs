//! Arrays by their shape: elements and slices by subscript, assignment to them, stacking and concatenating.

use std::sync::Arc;

use super::args;
use super::{Function, Kind, Volatility};
use crate::error::{Error, Result, SqlState};
use crate::types::array::{
    ArrayValue, DIMENSIONS_MAX, Dimension, ELEMENTS_MAX, too_many_dimensions, too_many_elements,
};
use crate::types::{Datum, TypeOid};

pub(super) fn subscript_error(message: &str) -> Error {
    Error::new(SqlState::ArraySubscriptError, message)
}

fn incompatible(detail: String) -> Error {
    subscript_error("cannot concatenate incompatible arrays").detail(detail)
}

/// `ARRAY[a, b]` of arrays: one dimension more (2202E if their shapes differ). NULLs and empty arrays count as empty.
pub fn stack(parts: &[Datum]) -> Result<ArrayValue> {
    let mismatch = || subscript_error("multidimensional arrays must have array expressions with matching dimensions");
    let shape = parts.iter().find_map(|part| match part {
        Datum::Array(array) if !array.is_empty() => Some(array.dims().to_vec()),
        _ => None,
    });
    let Some(shape) = shape else { return Ok(ArrayValue::default()) };
    if shape.len() == DIMENSIONS_MAX {
        return Err(too_many_dimensions(shape.len() + 1));
    }
    let mut items = Vec::new();
    for part in parts {
        match part {
            Datum::Array(array) if array.dims() == shape => items.extend(array.iter().cloned()),
            _ => return Err(mismatch()),
        }
    }
    let outer = Dimension { lower: 1, length: parts.len() as i32 };
    shaped(std::iter::once(outer).chain(shape), items)
}

fn shaped(dims: impl IntoIterator<Item = Dimension>, items: Vec<Datum>) -> Result<ArrayValue> {
    if items.len() as i64 > ELEMENTS_MAX {
        return Err(too_many_elements());
    }
    ArrayValue::shaped(dims, items).ok_or_else(|| Error::internal("an array's shape does not fit its elements"))
}

/// `a || b` of two arrays.
pub fn concatenate(a: &ArrayValue, b: &ArrayValue) -> Result<ArrayValue> {
    if b.is_empty() {
        return Ok(a.clone());
    }
    if a.is_empty() {
        return Ok(b.clone());
    }
    let (da, db) = (a.dims(), b.dims());
    let differing = |what: &str| {
        Err(incompatible(format!("Arrays with differing {what}dimensions are not compatible for concatenation.")))
    };
    let dims: Vec<Dimension> = if da.len() == db.len() {
        if da.get(1..) != db.get(1..) {
            return differing("element ");
        }
        let length = da.first().zip(db.first()).map_or(0, |(x, y)| x.length.saturating_add(y.length));
        grown(da, length)
    } else if da.len() + 1 == db.len() {
        if Some(da) != db.get(1..) {
            return differing("");
        }
        grown(db, db.first().map_or(0, |d| d.length) + 1)
    } else if db.len() + 1 == da.len() {
        if Some(db) != da.get(1..) {
            return differing("");
        }
        grown(da, da.first().map_or(0, |d| d.length) + 1)
    } else {
        return Err(incompatible(format!(
            "Arrays of {} and {} dimensions are not compatible for concatenation.",
            da.len(),
            db.len()
        )));
    };
    shaped(dims, a.iter().chain(b.iter()).cloned().collect())
}

fn grown(dims: &[Dimension], length: i32) -> Vec<Dimension> {
    let mut dims = dims.to_vec();
    if let Some(first) = dims.first_mut() {
        first.length = length;
    }
    dims
}

/// A bound of one dimension of a slice; `None`: that of the array.
pub type Bounds = (Option<i32>, Option<i32>);

/// `a[l:u, …]`: what lies inside the bounds, renumbered from 1.
pub fn slice(array: &ArrayValue, bounds: &[Bounds]) -> ArrayValue {
    let dims = array.dims();
    if bounds.len() > dims.len() || dims.is_empty() {
        return ArrayValue::default();
    }
    let mut ranges = Vec::with_capacity(dims.len());
    for (i, dimension) in dims.iter().enumerate() {
        let (lower, upper) = bounds.get(i).copied().unwrap_or_default();
        let lower = lower.unwrap_or(dimension.lower).max(dimension.lower);
        let upper = upper.unwrap_or(dimension.upper()).min(dimension.upper());
        if lower > upper {
            return ArrayValue::default();
        }
        ranges.push((lower, upper));
    }
    let mut items = Vec::new();
    each_subscript(&ranges, |at| items.extend(array.offset(at).and_then(|i| array.get(i)).cloned()));
    let dims = ranges.iter().map(|(l, u)| Dimension { lower: 1, length: u - l + 1 });
    ArrayValue::shaped(dims, items).unwrap_or_default()
}

/// All subscripts within ranges, the last running fastest.
fn each_subscript(ranges: &[(i32, i32)], mut visit: impl FnMut(&[i32])) {
    let mut at: Vec<i32> = ranges.iter().map(|r| r.0).collect();
    loop {
        visit(&at);
        let mut level = at.len();
        loop {
            let Some(next) = level.checked_sub(1) else { return };
            level = next;
            let (Some(value), Some((lower, upper))) = (at.get_mut(level), ranges.get(level)) else { return };
            if *value < *upper {
                *value += 1;
                break;
            }
            *value = *lower;
        }
    }
}

/// `a[i, …] = value`: the array grows to take it, NULLs in between (2202E outside a shape that cannot grow).
pub fn assign_element(array: &ArrayValue, at: &[i32], value: Datum) -> Result<ArrayValue> {
    if at.len() > DIMENSIONS_MAX {
        return Err(too_many_dimensions(at.len()));
    }
    if array.is_empty() {
        let dims = at.iter().map(|lower| Dimension { lower: *lower, length: 1 });
        return shaped(dims, vec![value]);
    }
    if at.len() != array.dims().len() {
        return Err(subscript_error("wrong number of array subscripts"));
    }
    if let ([subscript], [dimension]) = (at, array.dims()) {
        return extend(array, *dimension, *subscript, *subscript, vec![value]);
    }
    let place = array.offset(at).ok_or_else(|| subscript_error("array subscript out of range"))?;
    replace_items(array, [(place, value)])
}

fn replace_items(array: &ArrayValue, changes: impl IntoIterator<Item = (usize, Datum)>) -> Result<ArrayValue> {
    let mut items = array.to_vec();
    for (place, value) in changes {
        if let Some(slot) = items.get_mut(place) {
            *slot = value;
        }
    }
    shaped(array.dims().iter().copied(), items)
}

/// Values put at `lower..=upper` of an array of one dimension.
fn extend(array: &ArrayValue, dimension: Dimension, lower: i32, upper: i32, values: Vec<Datum>) -> Result<ArrayValue> {
    let first = i64::from(dimension.lower.min(lower));
    let last = i64::from(dimension.upper().max(upper));
    if last - first + 1 > ELEMENTS_MAX {
        return Err(too_many_elements());
    }
    let mut items = vec![Datum::Null; (last - first + 1) as usize];
    let mut place = |from: i32, values: &mut dyn Iterator<Item = Datum>| {
        let start = (i64::from(from) - first) as usize;
        for (slot, value) in items.iter_mut().skip(start).zip(values) {
            *slot = value;
        }
    };
    place(dimension.lower, &mut array.iter().cloned());
    let width = (i64::from(upper) - i64::from(lower) + 1) as usize;
    place(lower, &mut values.into_iter().take(width));
    Ok(ArrayValue::with_lower(items, first as i32))
}

/// `a[l:u, …] = source`.
pub fn assign_slice(array: &ArrayValue, bounds: &[Bounds], source: &ArrayValue) -> Result<ArrayValue> {
    if bounds.len() > DIMENSIONS_MAX {
        return Err(too_many_dimensions(bounds.len()));
    }
    let reversed = || subscript_error("upper bound cannot be less than lower bound");
    let short = || subscript_error("source array too small");
    if array.is_empty() {
        let mut dims = Vec::new();
        for (lower, upper) in bounds {
            let (Some(lower), Some(upper)) = (lower, upper) else {
                return Err(subscript_error("array slice subscript must provide both boundaries").detail(
                    "When assigning to a slice of an empty array value, slice boundaries must be fully specified.",
                ));
            };
            if upper < lower {
                return Err(reversed());
            }
            let length = i64::from(*upper) - i64::from(*lower) + 1;
            let length = i32::try_from(length).ok().filter(|l| i64::from(*l) <= ELEMENTS_MAX);
            dims.push(Dimension { lower: *lower, length: length.ok_or_else(too_many_elements)? });
        }
        let count: i64 = dims.iter().fold(1i64, |n, d| n.saturating_mul(d.length.into()));
        if count > source.len() as i64 {
            return Err(short());
        }
        return shaped(dims, source.iter().take(count as usize).cloned().collect());
    }
    let dims = array.dims();
    if bounds.len() > dims.len() {
        return Err(subscript_error("wrong number of array subscripts"));
    }
    let mut ranges = Vec::new();
    for (i, dimension) in dims.iter().enumerate() {
        let (lower, upper) = bounds.get(i).copied().unwrap_or_default();
        let (lower, upper) = (lower.unwrap_or(dimension.lower), upper.unwrap_or(dimension.upper()));
        if lower > upper {
            return Err(reversed());
        }
        if dims.len() > 1 && (lower < dimension.lower || upper > dimension.upper()) {
            return Err(subscript_error("array subscript out of range"));
        }
        ranges.push((lower, upper));
    }
    let count = ranges.iter().fold(1i64, |n, (l, u)| n.saturating_mul(i64::from(*u) - i64::from(*l) + 1));
    if count > source.len() as i64 {
        return Err(short());
    }
    if let ([(lower, upper)], [dimension]) = (ranges.as_slice(), dims) {
        return extend(array, *dimension, *lower, *upper, source.to_vec());
    }
    let mut changes = Vec::new();
    each_subscript(&ranges, |at| {
        let value = source.get(changes.len()).cloned().unwrap_or(Datum::Null);
        changes.push((array.offset(at).unwrap_or(usize::MAX), value));
    });
    replace_items(array, changes)
}

/// Symbols of the calls that stand for several subscripts, which are not in pg_proc.
pub const ELEMENT: &str = "lockstep_array_element";
pub const SLICE: &str = "lockstep_array_slice";

/// `a[i][j]`: arguments are the array and its subscripts.
pub fn element_function(array: TypeOid, element: TypeOid, subscripts: usize) -> Arc<Function> {
    let args = std::iter::once(array).chain(std::iter::repeat_n(TypeOid::INT4, subscripts)).collect();
    internal(ELEMENT, args, element, |_, args| {
        let array = args::array(args.first())?;
        let at = args.iter().skip(1).map(|a| args::int4(Some(a))).collect::<Result<Vec<i32>>>()?;
        Ok(array.offset(&at).and_then(|i| array.get(i)).cloned().unwrap_or(Datum::Null))
    })
}

/// `a[l:u][…]`: arguments are the array, which bounds are written (`l`, `u` or `-` for each), and all bounds.
pub fn slice_function(array: TypeOid, dimensions: usize) -> Arc<Function> {
    let bounds = std::iter::repeat_n(TypeOid::INT4, dimensions * 2);
    let args = [array, TypeOid::TEXT].into_iter().chain(bounds).collect();
    internal(SLICE, args, array, |call, args| {
        let mut array = args::array(args.first())?.clone();
        let (bounds, _) = written_bounds(args)?;
        if matches!(call.types.first().map(|t| t.oid), Some(TypeOid::INT2VECTOR | TypeOid::OIDVECTOR)) {
            array = Arc::new(array.rebased(0));
        }
        Ok(Datum::from(slice(&array, &bounds)))
    })
}

/// The bounds among the arguments of a slice, and what follows them.
pub(super) fn written_bounds(args: &[Datum]) -> Result<(Vec<Bounds>, &[Datum])> {
    let written = args::text(args.get(1))?;
    let mut rest = args.get(2..).unwrap_or_default();
    let mut bounds = Vec::new();
    for pair in written.as_bytes().chunks(2) {
        let [lower, upper, tail @ ..] = rest else { break };
        let bound = |mark: u8, value: &Datum| match (mark, value) {
            (b'-', _) => Ok(None),
            (_, value) => args::int4(Some(value)).map(Some),
        };
        match pair {
            [l, u] => bounds.push((bound(*l, lower)?, bound(*u, upper)?)),
            _ => break,
        }
        rest = tail;
    }
    Ok((bounds, rest))
}

fn internal(symbol: &'static str, args: Vec<TypeOid>, ret: TypeOid, scalar: super::RowFunction) -> Arc<Function> {
    Arc::new(Function {
        oid: 0,
        name: symbol,
        args,
        variadic: None,
        defaults: 0,
        ret,
        kind: Kind::Scalar,
        returns_set: false,
        strict: true,
        volatility: Volatility::Immutable,
        symbol,
        all_args: Vec::new(),
        arg_modes: Vec::new(),
        arg_names: Vec::new(),
        scalar: Some(scalar),
        set: None,
    })
}
