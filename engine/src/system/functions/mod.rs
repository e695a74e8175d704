//! Functions over the catalog (PostgreSQL manual, 9.26): definitions as text, visibility, privileges, sizes, comments, and the
//! text forms of the reg types. The session's function host asks here for what is [`provides`]d.
//!
//! One entry a name: overloads differ in whether a relation is given by name or by OID and whether a role comes first, and
//! the values say which.

mod definitions;
mod names;
mod objects;
mod privileges;
mod server;
mod sizes;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::SystemContext;
use crate::catalog::{Oid, Relation};
use crate::error::{Error, Result, SqlState};
use crate::functions::{Call, Function, Rows};
use crate::types::Datum;

pub use names::reg_name;

type Implementation = fn(&SystemContext, &Call<'_>, &[Datum]) -> Result<Datum>;
type SetImplementation = fn(&SystemContext, &[Datum]) -> Result<Vec<Vec<Datum>>>;

static SCALARS: LazyLock<HashMap<&'static str, Implementation>> = LazyLock::new(|| {
    let families =
        [definitions::SCALARS, names::SCALARS, objects::SCALARS, privileges::SCALARS, server::SCALARS, sizes::SCALARS];
    families.into_iter().flatten().copied().collect()
});

static SETS: LazyLock<HashMap<&'static str, SetImplementation>> =
    LazyLock::new(|| server::SETS.iter().chain(privileges::SETS).copied().collect());

/// Whether [`call`] or [`rows`] computes this function.
pub fn provides(function: &Function) -> bool {
    if function.returns_set { SETS.contains_key(function.name) } else { SCALARS.contains_key(function.name) }
}

/// The value of a call.
pub fn call(context: &SystemContext, call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    match SCALARS.get(call.function.name) {
        Some(function) => function(context, call, args),
        None => Err(call.function.unsupported()),
    }
}

/// The rows of a call.
pub fn rows(context: &SystemContext, call: &Call<'_>, args: &[Datum]) -> Result<Rows> {
    match SETS.get(call.function.name) {
        Some(function) => Ok(Box::new(function(context, args)?.into_iter().map(Ok))),
        None => Err(call.function.unsupported()),
    }
}

fn text(value: impl AsRef<str>) -> Datum {
    Datum::Text(Arc::from(value.as_ref()))
}

fn optional(value: Option<impl AsRef<str>>) -> Datum {
    value.map_or(Datum::Null, text)
}

fn oid_arg(args: &[Datum], at: usize) -> Option<Oid> {
    match args.get(at)? {
        Datum::Oid(oid) => Some(Oid(*oid)),
        Datum::Int4(n) => Some(Oid(*n as u32)),
        Datum::Int8(n) => u32::try_from(*n).ok().map(Oid),
        _ => None,
    }
}

fn text_arg(args: &[Datum], at: usize) -> Option<&str> {
    match args.get(at)? {
        Datum::Text(text) => Some(text),
        _ => None,
    }
}

fn int_arg(args: &[Datum], at: usize) -> Option<i64> {
    match args.get(at)? {
        Datum::Int2(n) => Some(i64::from(*n)),
        Datum::Int4(n) => Some(i64::from(*n)),
        Datum::Int8(n) => Some(*n),
        _ => None,
    }
}

fn bool_arg(args: &[Datum], at: usize) -> bool {
    matches!(args.get(at), Some(Datum::Bool(true)))
}

/// The relation that an argument names (42P01) or whose OID it is (`None` if there is none).
fn relation_arg(context: &SystemContext, args: &[Datum], at: usize) -> Result<Option<Relation>> {
    match args.get(at) {
        Some(Datum::Text(name)) => {
            let (schema, name) = names::qualified(name)?;
            context.catalog.resolve_relation(schema.as_deref(), &name, &context.path).map(Some)
        }
        _ => Ok(oid_arg(args, at).and_then(|oid| context.catalog.relation(oid))),
    }
}

fn invalid(message: String) -> Error {
    Error::new(SqlState::InvalidParameterValue, message)
}

#[cfg(test)]
mod tests;
