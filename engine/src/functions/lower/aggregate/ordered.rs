//! Ordered-set and hypothetical-set aggregates over rows that are already sorted: direct arguments first, then the sort
//! keys (orderedsetaggs.c).

use std::cmp::Ordering;

use crate::error::{Error, Result, SqlState};
use crate::functions::datetime::{add_interval_values, scale_interval};
use crate::types::{Datum, PgType, TypeOid, compare};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum OrderedSet {
    Continuous,
    Discrete,
    Mode,
    Rank,
    DenseRank,
    PercentRank,
    CumulativeDistribution,
}

impl OrderedSet {
    pub fn of(name: &str) -> Option<OrderedSet> {
        Some(match name {
            "percentile_cont" => OrderedSet::Continuous,
            "percentile_disc" => OrderedSet::Discrete,
            "mode" => OrderedSet::Mode,
            "rank" => OrderedSet::Rank,
            "dense_rank" => OrderedSet::DenseRank,
            "percent_rank" => OrderedSet::PercentRank,
            "cume_dist" => OrderedSet::CumulativeDistribution,
            _ => return None,
        })
    }
}

/// What is known of the columns: how many direct arguments, the types of all columns, of each key its direction.
pub(super) struct Columns<'a> {
    pub direct: usize,
    pub types: &'a [PgType],
    pub order: &'a [(bool, bool)],
    pub ret: PgType,
}

pub(super) fn finish(set: OrderedSet, rows: &[Vec<Datum>], columns: &Columns<'_>) -> Result<Datum> {
    match set {
        OrderedSet::Continuous | OrderedSet::Discrete => percentiles(set, rows, columns),
        OrderedSet::Mode => Ok(mode(rows, columns)),
        _ => Ok(hypothetical(set, rows, columns)),
    }
}

/// The values that are not NULL, in order.
fn values<'a>(rows: &'a [Vec<Datum>], columns: &Columns<'_>) -> Vec<&'a Datum> {
    rows.iter().filter_map(|row| row.get(columns.direct)).filter(|v| !v.is_null()).collect()
}

fn percentiles(set: OrderedSet, rows: &[Vec<Datum>], columns: &Columns<'_>) -> Result<Datum> {
    let values = values(rows, columns);
    let Some(fraction) = rows.first().and_then(|row| row.first()) else { return Ok(Datum::Null) };
    let one = |fraction: &Datum| match fraction {
        Datum::Float8(p) if p.is_nan() || !(0.0..=1.0).contains(p) => Err(Error::new(
            SqlState::NumericValueOutOfRange,
            format!("percentile value {} is not between 0 and 1", shown(*p)),
        )),
        Datum::Float8(_) if values.is_empty() => Ok(Datum::Null),
        Datum::Float8(p) if set == OrderedSet::Discrete => {
            let at = (p * values.len() as f64).ceil().max(1.0) as usize - 1;
            Ok(values.get(at).copied().cloned().unwrap_or(Datum::Null))
        }
        Datum::Float8(p) => between(&values, *p),
        _ => Ok(Datum::Null),
    };
    match fraction {
        Datum::Array(_) if values.is_empty() => Ok(Datum::Null),
        Datum::Array(fractions) => fractions.map(one).map(Datum::from),
        fraction => one(fraction),
    }
}

/// C's %g of a fraction that is out of range.
fn shown(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// The value at a fraction of the way, interpolated.
fn between(values: &[&Datum], fraction: f64) -> Result<Datum> {
    let place = fraction * (values.len() - 1) as f64;
    let (low, high) = (place.floor(), place.ceil());
    let at = |place: f64| values.get(place as usize).copied().cloned().unwrap_or(Datum::Null);
    let share = place - low;
    match (at(low), at(high)) {
        (low_value, _) if low == high => Ok(low_value),
        (Datum::Float8(a), Datum::Float8(b)) => Ok(Datum::Float8(a + share * (b - a))),
        (Datum::Interval(a), Datum::Interval(b)) => {
            let difference = add_interval_values(&b, &crate::functions::datetime::negate(&a)?)?;
            let part = scale_interval(&difference, share)?;
            Ok(Datum::Interval(add_interval_values(&part, &a)?))
        }
        _ => Err(Error::internal("a percentile of values that have no middle")),
    }
}

/// The first of the most frequent values.
fn mode(rows: &[Vec<Datum>], columns: &Columns<'_>) -> Datum {
    let ty = columns.types.get(columns.direct).copied().unwrap_or(columns.ret);
    let mut best: (usize, Datum) = (0, Datum::Null);
    let mut run: (usize, Option<&Datum>) = (0, None);
    for value in values(rows, columns) {
        run = match run {
            (count, Some(current)) if compare::compare(current, value, ty).is_eq() => (count + 1, Some(current)),
            _ => (1, Some(value)),
        };
        if let (count, Some(current)) = run
            && count > best.0
        {
            best = (count, current.clone());
        }
    }
    best.1
}

/// Where the direct arguments would stand among the rows.
fn hypothetical(set: OrderedSet, rows: &[Vec<Datum>], columns: &Columns<'_>) -> Datum {
    let n = columns.direct;
    let order = |row: &[Datum]| -> Ordering {
        let compared = (0..n).map(|i| {
            let (Some(key), Some(argument)) = (row.get(n + i), row.get(i)) else { return Ordering::Equal };
            let (descending, nulls_first) = columns.order.get(i).copied().unwrap_or_default();
            let ty = columns.types.get(n + i).copied().unwrap_or(TypeOid::TEXT.into());
            sorted_order(key, argument, ty, descending, nulls_first)
        });
        compared.into_iter().find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
    };
    let before: Vec<&Vec<Datum>> = rows.iter().filter(|row| order(row).is_lt()).collect();
    let rank = before.len() as i64 + 1;
    match set {
        OrderedSet::DenseRank => {
            let same = |a: &[Datum], b: &[Datum]| {
                (n..n * 2).all(|i| match (a.get(i), b.get(i)) {
                    (Some(x), Some(y)) => {
                        compare::compare(x, y, columns.types.get(i).copied().unwrap_or(TypeOid::TEXT.into())).is_eq()
                    }
                    _ => true,
                })
            };
            let mut distinct: i64 = 0;
            for (i, row) in before.iter().enumerate() {
                let repeated = i.checked_sub(1).and_then(|p| before.get(p)).is_some_and(|previous| same(previous, row));
                distinct += i64::from(!repeated);
            }
            Datum::Int8(distinct + 1)
        }
        OrderedSet::PercentRank if rows.is_empty() => Datum::Float8(0.0),
        OrderedSet::PercentRank => Datum::Float8((rank - 1) as f64 / rows.len() as f64),
        OrderedSet::CumulativeDistribution => {
            let peers = rows.iter().filter(|row| order(row).is_eq()).count() as i64;
            Datum::Float8((rank + peers) as f64 / (rows.len() + 1) as f64)
        }
        _ => Datum::Int8(rank),
    }
}

/// The order of two sort keys.
pub(super) fn sorted_order(a: &Datum, b: &Datum, ty: PgType, descending: bool, nulls_first: bool) -> Ordering {
    match (a.is_null(), b.is_null()) {
        (true, true) => Ordering::Equal,
        (true, false) if nulls_first => Ordering::Less,
        (true, false) => Ordering::Greater,
        (false, true) if nulls_first => Ordering::Greater,
        (false, true) => Ordering::Less,
        _ if descending => compare::compare(b, a, ty),
        _ => compare::compare(a, b, ty),
    }
}
