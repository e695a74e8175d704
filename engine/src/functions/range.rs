//! Constructors, operators and functions of ranges and multiranges; what they are is in [`crate::types::range`].
//!
//! A range and a multirange mean the same here as soon as both are lists: of no range if it is empty, of one, of several.

use std::cmp::Ordering;

use super::args::{self, row};
use super::registry::Implementations;
use super::{Call, Rows};
use crate::error::{Error, Result, SqlState};
use crate::types::range::{self, Bound, Kind, Range};
use crate::types::{Datum, PgType, TypeOid, compare};

fn type_of(call: &Call<'_>, index: usize) -> TypeOid {
    call.types.get(index).map_or(TypeOid::UNKNOWN, |t| t.oid)
}

fn decode(value: Option<&Datum>, ty: TypeOid) -> Result<Vec<Range>> {
    let bytes = args::bytea(value)?;
    if ty.is_multirange() {
        return range::decode_multirange(bytes);
    }
    let range = range::decode(bytes)?;
    Ok(if range.is_empty() { Vec::new() } else { vec![range] })
}

/// The ranges of an argument, without an empty one.
fn list(call: &Call<'_>, args: &[Datum], index: usize) -> Result<Vec<Range>> {
    decode(args.get(index), type_of(call, index))
}

/// The bounds' type of lists of one range type; UNKNOWN if no bound has a value.
fn subtype(lists: &[&[Range]]) -> TypeOid {
    let mut all = lists.iter().copied().flatten().map(|r| r.subtype);
    all.find(|s| *s != TypeOid::UNKNOWN).unwrap_or(TypeOid::UNKNOWN)
}

fn ends(list: &[Range]) -> Option<(&Bound, &Bound)> {
    let lower = list.first()?.bounds.as_ref().map(|(lower, _)| lower)?;
    let upper = list.last()?.bounds.as_ref().map(|(_, upper)| upper)?;
    Some((lower, upper))
}

/// A question about two lists that are not empty, by their outermost bounds; of an empty one the answer is no.
fn by_ends(
    call: &Call<'_>,
    args: &[Datum],
    ask: impl Fn(Kind, (&Bound, &Bound), (&Bound, &Bound)) -> Result<bool>,
) -> Result<Datum> {
    let (a, b) = (list(call, args, 0)?, list(call, args, 1)?);
    let kind = Kind::new(type_of(call, 0), subtype(&[&a, &b]));
    match (ends(&a), ends(&b)) {
        (Some(a), Some(b)) => ask(kind, a, b).map(Datum::Bool),
        _ => Ok(Datum::Bool(false)),
    }
}

fn before(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    by_ends(call, args, |kind, a, b| Ok(a.1.compare(b.0, kind.subtype).is_lt()))
}

fn after(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    by_ends(call, args, |kind, a, b| Ok(b.1.compare(a.0, kind.subtype).is_lt()))
}

fn overleft(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    by_ends(call, args, |kind, a, b| Ok(a.1.compare(b.1, kind.subtype).is_le()))
}

fn overright(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    by_ends(call, args, |kind, a, b| Ok(a.0.compare(b.0, kind.subtype).is_ge()))
}

fn adjacent(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    by_ends(call, args, |kind, a, b| Ok(kind.adjacent(a.1, b.0)? || kind.adjacent(b.1, a.0)?))
}

/// The parts that two lists share, in their order.
fn shared(kind: Kind, a: &[Range], b: &[Range]) -> Result<Vec<Range>> {
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    while let (Some((al, au)), Some((bl, bu))) =
        (a.get(i).and_then(|r| r.bounds.as_ref()), b.get(j).and_then(|r| r.bounds.as_ref()))
    {
        let lower = if al.compare(bl, kind.subtype).is_ge() { al } else { bl };
        let ends = au.compare(bu, kind.subtype);
        let upper = if ends.is_le() { au } else { bu };
        if lower.compare(upper, kind.subtype).is_le() {
            out.push(kind.make(lower.clone(), upper.clone())?);
        }
        if ends.is_le() {
            i += 1;
        } else {
            j += 1;
        }
    }
    Ok(out)
}

fn overlaps(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let (a, b) = (list(call, args, 0)?, list(call, args, 1)?);
    let subtype = subtype(&[&a, &b]);
    let (mut i, mut j) = (0, 0);
    while let (Some((al, au)), Some((bl, bu))) =
        (a.get(i).and_then(|r| r.bounds.as_ref()), b.get(j).and_then(|r| r.bounds.as_ref()))
    {
        if al.compare(bu, subtype).is_le() && bl.compare(au, subtype).is_le() {
            return Ok(Datum::Bool(true));
        }
        if au.compare(bu, subtype).is_le() {
            i += 1;
        } else {
            j += 1;
        }
    }
    Ok(Datum::Bool(false))
}

/// Whether each range of `inner` lies in one of `outer`.
fn covers(outer: &[Range], inner: &[Range]) -> bool {
    let subtype = subtype(&[outer, inner]);
    let holds = |o: &Range, i: &Range| match (&o.bounds, &i.bounds) {
        (Some(o), Some(i)) => o.0.compare(&i.0, subtype).is_le() && o.1.compare(&i.1, subtype).is_ge(),
        _ => false,
    };
    let mut rest = outer;
    inner.iter().all(|i| {
        while let Some((first, behind)) = rest.split_first() {
            let passed = match (&first.bounds, &i.bounds) {
                (Some(o), Some(i)) => o.1.compare(&i.0, subtype).is_lt(),
                _ => true,
            };
            if !passed {
                return holds(first, i);
            }
            rest = behind;
        }
        false
    })
}

fn contains(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    Ok(Datum::Bool(covers(&list(call, args, 0)?, &list(call, args, 1)?)))
}

fn contained(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    Ok(Datum::Bool(covers(&list(call, args, 1)?, &list(call, args, 0)?)))
}

/// Whether a value lies in one of the ranges.
fn holds(ranges: &[Range], value: &Datum) -> bool {
    ranges.iter().any(|range| {
        let Some((lower, upper)) = &range.bounds else { return false };
        let order = |bound: &Bound| bound.value.as_ref().map(|b| compare::compare(value, b, range.subtype.into()));
        let above = match order(lower) {
            Some(Ordering::Equal) => lower.inclusive,
            order => order != Some(Ordering::Less),
        };
        let below = match order(upper) {
            Some(Ordering::Equal) => upper.inclusive,
            order => order != Some(Ordering::Greater),
        };
        above && below
    })
}

fn contains_element(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    Ok(Datum::Bool(holds(&list(call, args, 0)?, args::any(args.get(1))?)))
}

fn element_contained(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    Ok(Datum::Bool(holds(&list(call, args, 1)?, args::any(args.first())?)))
}

/// The value of the outermost bound on one side; NULL if it is infinite or there is none.
fn end(call: &Call<'_>, args: &[Datum], upper: bool) -> Result<Datum> {
    let list = list(call, args, 0)?;
    let bound = ends(&list).map(|(l, u)| if upper { u } else { l });
    Ok(bound.and_then(|b| b.value.clone()).unwrap_or(Datum::Null))
}

fn end_is(call: &Call<'_>, args: &[Datum], upper: bool, is: impl Fn(&Bound) -> bool) -> Result<Datum> {
    let list = list(call, args, 0)?;
    Ok(Datum::Bool(ends(&list).is_some_and(|(l, u)| is(if upper { u } else { l }))))
}

fn not_contiguous(what: &str) -> Error {
    Error::new(SqlState::DataException, format!("result of range {what} would not be contiguous"))
}

fn one(list: Vec<Range>) -> Datum {
    range::encode(list.first().unwrap_or(&Range::EMPTY))
}

/// From the lower of the lower bounds to the upper of the upper ones; of one that is empty the other.
fn spanned(kind: Kind, a: &[Range], b: &[Range]) -> Result<Vec<Range>> {
    let (Some((al, au)), Some((bl, bu))) = (ends(a), ends(b)) else {
        return Ok(if a.is_empty() { b.to_vec() } else { a.to_vec() });
    };
    let lower = if al.compare(bl, kind.subtype).is_lt() { al } else { bl };
    let upper = if au.compare(bu, kind.subtype).is_gt() { au } else { bu };
    Ok(vec![kind.make(lower.clone(), upper.clone())?])
}

/// Both ranges and their kind.
fn two(call: &Call<'_>, args: &[Datum]) -> Result<(Kind, Vec<Range>, Vec<Range>)> {
    let (a, b) = (list(call, args, 0)?, list(call, args, 1)?);
    Ok((Kind::new(type_of(call, 0), subtype(&[&a, &b])), a, b))
}

fn range_union(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let (kind, a, b) = two(call, args)?;
    if let (Some((al, au)), Some((bl, bu))) = (ends(&a), ends(&b)) {
        let apart = al.compare(bu, kind.subtype).is_gt() || bl.compare(au, kind.subtype).is_gt();
        if apart && !kind.adjacent(au, bl)? && !kind.adjacent(bu, al)? {
            return Err(not_contiguous("union"));
        }
    }
    spanned(kind, &a, &b).map(one)
}

/// What is left of one range without another: two parts if it is cut in the middle.
fn cut(kind: Kind, range: &Range, by: &Range) -> Result<Vec<Range>> {
    let (Some((al, au)), Some((bl, bu))) = (&range.bounds, &by.bounds) else { return Ok(vec![range.clone()]) };
    if al.compare(bu, kind.subtype).is_gt() || bl.compare(au, kind.subtype).is_gt() {
        return Ok(vec![range.clone()]);
    }
    let mut out = Vec::new();
    if al.compare(bl, kind.subtype).is_lt() {
        out.push(kind.make(al.clone(), bl.flipped())?);
    }
    if au.compare(bu, kind.subtype).is_gt() {
        out.push(kind.make(bu.flipped(), au.clone())?);
    }
    out.retain(|part| !part.is_empty());
    Ok(out)
}

fn range_minus(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let (kind, a, b) = two(call, args)?;
    if let (Some((al, au)), Some((bl, bu))) = (ends(&a), ends(&b))
        && al.compare(bl, kind.subtype).is_lt()
        && au.compare(bu, kind.subtype).is_gt()
    {
        return Err(not_contiguous("difference"));
    }
    if let (Some(a), Some(b)) = (a.first(), b.first()) {
        return cut(kind, a, b).map(one);
    }
    Ok(one(a))
}

fn multirange_union(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let (kind, mut a, b) = two(call, args)?;
    a.extend(b);
    kind.canonical(a).map(|ranges| range::encode_multirange(&ranges))
}

fn multirange_minus(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let (kind, a, b) = two(call, args)?;
    let mut out = Vec::new();
    let mut first = 0;
    for range in a {
        let Some((lower, upper)) = range.bounds.clone() else { continue };
        let passed = |by: &Range| by.bounds.as_ref().is_some_and(|(_, u)| u.compare(&lower, kind.subtype).is_lt());
        while b.get(first).is_some_and(passed) {
            first += 1;
        }
        let mut rest = vec![range];
        for by in b.iter().skip(first) {
            if by.bounds.as_ref().is_some_and(|(l, _)| l.compare(&upper, kind.subtype).is_gt()) {
                break;
            }
            let Some(last) = rest.pop() else { break };
            rest.extend(cut(kind, &last, by)?);
        }
        out.extend(rest);
    }
    kind.canonical(out).map(|ranges| range::encode_multirange(&ranges))
}

fn range_intersect(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let (kind, a, b) = two(call, args)?;
    shared(kind, &a, &b).map(one)
}

fn multirange_intersect(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let (kind, a, b) = two(call, args)?;
    let shared = shared(kind, &a, &b)?;
    kind.canonical(shared).map(|ranges| range::encode_multirange(&ranges))
}

fn range_merge(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let (kind, a, b) = two(call, args)?;
    spanned(kind, &a, &b).map(one)
}

fn merge_of_multirange(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let list = list(call, args, 0)?;
    let kind = Kind::new(type_of(call, 0), subtype(&[&list]));
    match ends(&list) {
        Some((lower, upper)) => Ok(range::encode(&kind.make(lower.clone(), upper.clone())?)),
        None => Ok(range::encode(&Range::EMPTY)),
    }
}

/// Lower and upper bound of `[)` and the like are inclusive.
fn inclusive(flags: &str) -> Result<(bool, bool)> {
    Ok(match flags {
        "[]" => (true, true),
        "[)" => (true, false),
        "(]" => (false, true),
        "()" => (false, false),
        _ => {
            return Err(Error::new(SqlState::SyntaxError, "invalid range bound flags")
                .hint("Valid values are \"[]\", \"[)\", \"(]\", and \"()\"."));
        }
    })
}

fn construct(call: &Call<'_>, args: &[Datum], flags: &str) -> Result<Datum> {
    let (lower_inclusive, upper_inclusive) = inclusive(flags)?;
    let value = |index: usize| args.get(index).filter(|v| !v.is_null()).cloned();
    let kind = Kind::new(call.ret.oid, type_of(call, 0));
    let range = kind.make(Bound::lower(value(0), lower_inclusive), Bound::upper(value(1), upper_inclusive))?;
    Ok(range::encode(&range))
}

fn construct_with_flags(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    match args.get(2) {
        Some(Datum::Text(flags)) => construct(call, args, flags),
        _ => Err(Error::new(SqlState::DataException, "range constructor flags argument must not be null")),
    }
}

fn multirange_of(call: &Call<'_>, ranges: Vec<Range>) -> Result<Datum> {
    let kind = Kind::new(call.ret.oid, subtype(&[&ranges]));
    kind.canonical(ranges).map(|ranges| range::encode_multirange(&ranges))
}

/// `int4multirange(VARIADIC int4range[])`.
fn multirange_of_array(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let array = args::array(args.first())?;
    if array.dims().len() > 1 {
        let message = "multiranges cannot be constructed from multidimensional arrays";
        return Err(Error::new(SqlState::CardinalityViolation, message));
    }
    let mut ranges = Vec::with_capacity(array.len());
    for value in array.iter() {
        if value.is_null() {
            return Err(Error::new(SqlState::NullValueNotAllowed, "multirange values cannot contain null members"));
        }
        ranges.push(range::decode(args::bytea(Some(value))?)?);
    }
    multirange_of(call, ranges)
}

fn unnest(call: &Call<'_>, args: &[Datum]) -> Result<Rows> {
    let list = list(call, args, 0)?;
    Ok(Box::new(list.into_iter().map(|range| Ok(vec![range::encode(&range)]))))
}

/// What an aggregate makes of the ranges or multiranges of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gather {
    Union,
    Intersection,
}

/// `range_agg` and `range_intersect_agg`; NULL if no row has a value.
pub fn gather(gather: Gather, rows: &[Vec<Datum>], ty: PgType) -> Result<Datum> {
    let values = rows.iter().filter_map(|row| row.first()).filter(|v| !v.is_null());
    let mut lists = Vec::new();
    for value in values {
        lists.push(decode(Some(value), ty.oid)?);
    }
    let slices: Vec<&[Range]> = lists.iter().map(Vec::as_slice).collect();
    let kind = Kind::new(ty.oid, subtype(&slices));
    let Some((first, rest)) = lists.split_first() else { return Ok(Datum::Null) };
    match gather {
        Gather::Union => kind.canonical(lists.concat()).map(|ranges| range::encode_multirange(&ranges)),
        Gather::Intersection => {
            let mut left = first.clone();
            for list in rest {
                left = kind.canonical(shared(kind, &left, list)?)?;
            }
            Ok(if ty.oid.is_multirange() { range::encode_multirange(&left) } else { one(left) })
        }
    }
}

fn difference(high: f64, low: f64) -> Result<Datum> {
    Ok(Datum::Float8(high - low))
}

/// Whether a function makes values of the range type that its result has: those of users' types share these.
pub fn is_constructor(function: &super::Function) -> bool {
    function.symbol.starts_with("range_constructor") || function.symbol.starts_with("multirange_constructor")
}

/// The constructor that is called with so many arguments. `collected`: they are an array.
pub fn constructor(ty: TypeOid, arguments: usize, collected: bool) -> Option<std::sync::Arc<super::Function>> {
    let oid = match (ty.is_multirange(), arguments) {
        (false, 2) => 3840,
        (false, 3) => 3841,
        (true, _) if collected => 4282,
        (true, 0) => 4280,
        (true, 1) => 4281,
        _ => return None,
    };
    super::registry().function(oid).cloned()
}

pub(super) fn register(implementations: &mut Implementations) {
    const MIXED: [(&str, super::RowFunction); 8] = [
        ("range_overlaps range_overlaps_multirange multirange_overlaps_range multirange_overlaps_multirange", overlaps),
        ("range_contains range_contains_multirange multirange_contains_range multirange_contains_multirange", contains),
        (
            "range_contained_by range_contained_by_multirange multirange_contained_by_range multirange_contained_by_multirange",
            contained,
        ),
        ("range_adjacent range_adjacent_multirange multirange_adjacent_range multirange_adjacent_multirange", adjacent),
        ("range_before range_before_multirange multirange_before_range multirange_before_multirange", before),
        ("range_after range_after_multirange multirange_after_range multirange_after_multirange", after),
        ("range_overleft range_overleft_multirange multirange_overleft_range multirange_overleft_multirange", overleft),
        (
            "range_overright range_overright_multirange multirange_overright_range multirange_overright_multirange",
            overright,
        ),
    ];
    for (symbols, function) in MIXED {
        symbols.split_ascii_whitespace().for_each(|symbol| implementations.scalar(symbol, function));
    }
    implementations.scalars(&[
        ("range_contains_elem", contains_element),
        ("multirange_contains_elem", contains_element),
        ("elem_contained_by_range", element_contained),
        ("elem_contained_by_multirange", element_contained),
        ("range_lower", |call, args| end(call, args, false)),
        ("range_upper", |call, args| end(call, args, true)),
        ("multirange_lower", |call, args| end(call, args, false)),
        ("multirange_upper", |call, args| end(call, args, true)),
        ("range_empty", |call, args| Ok(Datum::Bool(list(call, args, 0)?.is_empty()))),
        ("multirange_empty", |call, args| Ok(Datum::Bool(list(call, args, 0)?.is_empty()))),
        ("range_lower_inc", |call, args| end_is(call, args, false, |b| b.inclusive)),
        ("range_upper_inc", |call, args| end_is(call, args, true, |b| b.inclusive)),
        ("range_lower_inf", |call, args| end_is(call, args, false, |b| b.value.is_none())),
        ("range_upper_inf", |call, args| end_is(call, args, true, |b| b.value.is_none())),
        ("multirange_lower_inc", |call, args| end_is(call, args, false, |b| b.inclusive)),
        ("multirange_upper_inc", |call, args| end_is(call, args, true, |b| b.inclusive)),
        ("multirange_lower_inf", |call, args| end_is(call, args, false, |b| b.value.is_none())),
        ("multirange_upper_inf", |call, args| end_is(call, args, true, |b| b.value.is_none())),
        ("range_union", range_union),
        ("range_minus", range_minus),
        ("range_intersect", range_intersect),
        ("range_intersect_agg_transfn", range_intersect),
        ("multirange_union", multirange_union),
        ("multirange_minus", multirange_minus),
        ("multirange_intersect", multirange_intersect),
        ("multirange_intersect_agg_transfn", multirange_intersect),
        ("range_merge", range_merge),
        ("range_merge_from_multirange", merge_of_multirange),
        ("range_constructor2", |call, args| construct(call, args, "[)")),
        ("range_constructor3", construct_with_flags),
        ("multirange_constructor0", |call, _| multirange_of(call, Vec::new())),
        ("multirange_constructor1", |call, args| multirange_of(call, list(call, args, 0)?)),
        ("multirange_constructor2", multirange_of_array),
        ("int4range_canonical", |_, args| args::any(args.first()).cloned()),
        ("int8range_canonical", |_, args| args::any(args.first()).cloned()),
        ("daterange_canonical", |_, args| args::any(args.first()).cloned()),
        ("int4range_subdiff", row!(|a: int4, b: int4| difference(f64::from(a), f64::from(b)))),
        ("int8range_subdiff", row!(|a: int8, b: int8| difference(a as f64, b as f64))),
        ("daterange_subdiff", row!(|a: date, b: date| difference(f64::from(a), f64::from(b)))),
        ("tsrange_subdiff", row!(|a: timestamp, b: timestamp| Ok(Datum::Float8((a as f64 - b as f64) / 1e6)))),
        ("tstzrange_subdiff", row!(|a: timestamp, b: timestamp| Ok(Datum::Float8((a as f64 - b as f64) / 1e6)))),
        ("numrange_subdiff", row!(|a: numeric, b: numeric| Ok(Datum::Float8(a.sub(b).to_f64())))),
    ]);
    implementations.set("multirange_unnest", unnest);
}
