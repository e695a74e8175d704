//! Functions that are the same for many types: the greater and the lesser of two, comparison as a number, counting NULLs,
//! precision, and overlapping periods.

use std::cmp::Ordering;

use super::args::{self, row};
use super::casts::apply_modifier;
use super::comparison::compare_mixed;
use super::registry::{Implementations, registry};
use super::{Call, RowFunction};
use crate::error::{Error, Result};
use crate::types::{Datum, PgType, TypeOid};

fn order(call: &Call<'_>, args: &[Datum]) -> Result<Ordering> {
    match (args, call.types) {
        ([a, b, ..], [x, y, ..]) => Ok(compare_mixed(a, b, (*x, *y), call.context)),
        _ => Err(Error::internal("a comparison wants two values")),
    }
}

fn pick(call: &Call<'_>, args: &[Datum], unwanted: Ordering) -> Result<Datum> {
    let second = order(call, args)? == unwanted;
    Ok(args.get(usize::from(second)).cloned().unwrap_or(Datum::Null))
}

const LARGER: &str = "text_larger bpchar_larger date_larger time_larger timetz_larger timestamp_larger interval_larger \
     numeric_larger int2larger int4larger int8larger float4larger float8larger oidlarger xid8_larger network_larger cashlarger \
     pg_lsn_larger tidlarger";
const SMALLER: &str = "text_smaller bpchar_smaller date_smaller time_smaller timetz_smaller timestamp_smaller \
     interval_smaller numeric_smaller int2smaller int4smaller int8smaller float4smaller float8smaller oidsmaller \
     xid8_smaller network_smaller cashsmaller pg_lsn_smaller tidsmaller";
const COMPARE: &str = "bpcharcmp byteacmp date_cmp date_cmp_timestamp date_cmp_timestamptz interval_cmp numeric_cmp time_cmp \
     timetz_cmp timestamp_cmp timestamp_cmp_date timestamp_cmp_timestamptz timestamptz_cmp_date timestamptz_cmp_timestamp \
     uuid_cmp xid8cmp network_cmp macaddr_cmp macaddr8_cmp bitcmp cash_cmp pg_lsn_cmp bttidcmp btint4cmp btint2cmp btint8cmp bttextcmp \
     btboolcmp btcharcmp btnamecmp btfloat4cmp btfloat8cmp btoidcmp btarraycmp range_cmp multirange_cmp";

/// `OVERLAPS` of two periods by their ends, NULLs allowed (timestamp.c).
fn overlaps(call: &Call<'_>, ends: &[Datum]) -> Result<Datum> {
    let [mut start1, mut end1, mut start2, mut end2] = match ends {
        [a, b, c, d] => [a, b, c, d],
        _ => return Err(Error::internal("overlaps wants four values")),
    };
    let ty = call.types.first().copied().unwrap_or(TypeOid::TIMESTAMP.into());
    let greater = |a: &Datum, b: &Datum| compare_mixed(a, b, (ty, ty), call.context).is_gt();
    let less = |a: &Datum, b: &Datum| compare_mixed(a, b, (ty, ty), call.context).is_lt();
    for (start, end) in [(&mut start1, &mut end1), (&mut start2, &mut end2)] {
        if start.is_null() {
            if end.is_null() {
                return Ok(Datum::Null);
            }
            std::mem::swap(start, end);
        } else if !end.is_null() && greater(start, end) {
            std::mem::swap(start, end);
        }
    }
    // Now only the ends may be NULL.
    let within = |inner: &Datum, end: &Datum, other_end: &Datum| {
        if end.is_null() {
            return Datum::Null;
        }
        if less(inner, end) {
            return Datum::Bool(true);
        }
        if other_end.is_null() { Datum::Null } else { Datum::Bool(false) }
    };
    Ok(if greater(start1, start2) {
        within(start1, end2, end1)
    } else if less(start1, start2) {
        within(start2, end1, end2)
    } else if end1.is_null() || end2.is_null() {
        Datum::Null
    } else {
        Datum::Bool(true)
    })
}

/// The same with lengths in place of ends.
fn overlaps_lengths(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let moment = call.types.first().copied().unwrap_or(TypeOid::TIMESTAMP.into());
    let mut ends = args.to_vec();
    for at in [1, 3] {
        let (Some(start), Some(span)) = (args.get(at - 1), args.get(at)) else { continue };
        if !matches!(span, Datum::Interval(_)) {
            continue;
        }
        let plus = registry()
            .operator("+", Some(moment.oid), TypeOid::INTERVAL)
            .ok_or_else(|| Error::internal("no addition of an interval"))?;
        let types = [moment, TypeOid::INTERVAL.into()];
        let end = plus.function.call(call.context, &types, moment, &[start.clone(), span.clone()])?;
        if let Some(slot) = ends.get_mut(at) {
            *slot = end;
        }
    }
    let types = [moment; 4];
    overlaps(&Call { types: &types, ..*call }, &ends)
}

/// `num_nulls` and `num_nonnulls`.
fn count_nulls(args: &[Datum], nulls: bool) -> Result<Datum> {
    Ok(Datum::Int4(args.iter().filter(|v| v.is_null() == nulls).count() as i32))
}

/// `timestamp(value, precision)` and its kin: the casts to a type with a precision.
fn with_precision(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let precision = args::int4(args.get(1))?;
    apply_modifier(args::any(args.first())?.clone(), PgType::new(call.ret.oid, precision), true)
}

pub(super) fn register(implementations: &mut Implementations) {
    let tables: [(&'static str, RowFunction); 3] = [
        (LARGER, |call, args| pick(call, args, Ordering::Less)),
        (SMALLER, |call, args| pick(call, args, Ordering::Greater)),
        (COMPARE, |call, args| Ok(Datum::Int4(order(call, args)? as i32))),
    ];
    for (symbols, function) in tables {
        for symbol in symbols.split_ascii_whitespace() {
            implementations.scalar_unless_there(symbol, function);
        }
    }
    for symbol in ["overlaps_timestamp", "overlaps_time", "overlaps_timetz"] {
        implementations.scalar(symbol, overlaps);
    }
    let with_lengths = "#1305 #1306 #1307 #1309 #1310 #1311 #2042 #2043 #2044";
    for symbol in with_lengths.split_ascii_whitespace() {
        implementations.scalar(symbol, overlaps_lengths);
    }
    for symbol in ["interval_scale", "time_scale", "timetz_scale", "timestamp_scale", "timestamptz_scale"] {
        implementations.scalar_unless_there(symbol, with_precision);
    }
    implementations.scalars(&[
        ("pg_num_nulls", |_, args| count_nulls(args, true)),
        ("pg_num_nonnulls", |_, args| count_nulls(args, false)),
        (
            "oidvectortypes",
            row!(|types: array| {
                let names = types.iter().filter_map(|t| match t {
                    Datum::Oid(oid) => Some(crate::types::names::format_type(TypeOid(*oid), -1)),
                    _ => None,
                });
                Ok(Datum::from(names.collect::<Vec<_>>().join(", ")))
            }),
        ),
    ]);
}
