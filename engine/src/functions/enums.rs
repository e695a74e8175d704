//! Functions on enums: their values are positions ([`crate::types::user`]), so comparisons are those of numbers.

use super::Call;
use super::registry::Implementations;
use crate::error::{Error, Result, SqlState};
use crate::types::{Datum, TypeOid};

/// The enum that a call is about: its argument's type decides, whatever the value is.
fn enum_type(call: &Call<'_>) -> Result<TypeOid> {
    call.types
        .iter()
        .map(|t| t.oid)
        .find(|t| t.is_enum())
        .ok_or_else(|| Error::new(SqlState::FeatureNotSupported, "could not determine actual enum type"))
}

/// Positions of the enum's values from one to another, both included; `None`: no bound.
fn between(call: &Call<'_>, low: Option<i64>, high: Option<i64>) -> Result<Vec<i64>> {
    let all = call.context.format.types.positions(enum_type(call)?)?;
    Ok(all.into_iter().filter(|p| low.is_none_or(|l| *p >= l) && high.is_none_or(|h| *p <= h)).collect())
}

fn only(call: &Call<'_>, found: Option<&i64>) -> Result<Datum> {
    let name = || enum_type(call).ok().and_then(|ty| call.context.format.types.shown(ty)).unwrap_or_default();
    found.map(|p| Datum::Int8(*p)).ok_or_else(|| {
        Error::new(SqlState::ObjectNotInPrerequisiteState, format!("enum {} contains no values", name()))
    })
}

fn bound(arg: Option<&Datum>) -> Option<i64> {
    match arg {
        Some(Datum::Int8(position)) => Some(*position),
        _ => None,
    }
}

fn array(positions: Vec<i64>) -> Datum {
    Datum::from(positions.into_iter().map(Datum::Int8).collect::<Vec<_>>())
}

fn extreme(args: &[Datum], larger: bool) -> Datum {
    match (bound(args.first()), bound(args.get(1))) {
        (Some(a), Some(b)) => Datum::Int8(if larger { a.max(b) } else { a.min(b) }),
        _ => Datum::Null,
    }
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("enum_first", |call, _| only(call, between(call, None, None)?.first())),
        ("enum_last", |call, _| only(call, between(call, None, None)?.last())),
        ("enum_range_all", |call, _| Ok(array(between(call, None, None)?))),
        ("enum_range_bounds", |call, args| Ok(array(between(call, bound(args.first()), bound(args.get(1)))?))),
        ("enum_larger", |_, args| Ok(extreme(args, true))),
        ("enum_smaller", |_, args| Ok(extreme(args, false))),
        ("enum_cmp", |_, args| Ok(Datum::Int4(bound(args.first()).cmp(&bound(args.get(1))) as i32))),
    ]);
}
