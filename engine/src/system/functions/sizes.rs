//! Sizes: bytes of memory that rows and indexes take.

use num_traits::ToPrimitive;

use super::{Implementation, invalid, oid_arg, relation_arg, text, text_arg};
use crate::catalog::{Catalog, Relation};
use crate::error::Result;
use crate::functions::Call;
use crate::system::SystemContext;
use crate::types::Datum;
use crate::types::numeric::Numeric;

pub const SCALARS: &[(&str, Implementation)] = &[
    ("pg_relation_size", relation_size),
    ("pg_table_size", |c, _, a| size(c, a, table_bytes)),
    ("pg_indexes_size", |c, _, a| size(c, a, index_bytes)),
    ("pg_total_relation_size", |c, _, a| size(c, a, |c, r| table_bytes(c, r) + index_bytes(c, r))),
    ("pg_database_size", database_size),
    ("pg_tablespace_size", |c, _, _| Ok(bytes(everything(c, &c.catalog)))),
    ("pg_size_pretty", size_pretty),
];

fn bytes(n: u64) -> Datum {
    Datum::Int8(i64::try_from(n).unwrap_or(i64::MAX))
}

fn table_bytes(context: &SystemContext, relation: &Relation) -> u64 {
    match relation {
        Relation::Table(t) => context.host.table_figures(t.oid).map_or(0, |f| f.bytes),
        Relation::Index(_, i) => context.host.index_bytes(i.oid).unwrap_or(0),
        _ => 0,
    }
}

fn index_bytes(context: &SystemContext, relation: &Relation) -> u64 {
    match relation {
        Relation::Table(t) => t.indexes.iter().filter_map(|i| context.host.index_bytes(i.oid)).sum(),
        _ => 0,
    }
}

fn size(context: &SystemContext, args: &[Datum], of: fn(&SystemContext, &Relation) -> u64) -> Result<Datum> {
    Ok(relation_arg(context, args, 0)?.map_or(Datum::Null, |r| bytes(of(context, &r))))
}

/// Only the main fork holds anything.
fn relation_size(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    match text_arg(args, 1) {
        None | Some("main") => size(context, args, table_bytes),
        Some("fsm" | "vm" | "init") => Ok(Datum::Int8(0)),
        Some(_) => Err(invalid("invalid fork name".to_owned())
            .hint("Valid fork names are \"main\", \"fsm\", \"vm\", and \"init\".")),
    }
}

fn everything(context: &SystemContext, catalog: &Catalog) -> u64 {
    let tables = catalog.tables.values().cloned().map(Relation::Table);
    tables.map(|t| table_bytes(context, &t) + index_bytes(context, &t)).sum()
}

fn database_size(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let catalog = &context.catalog;
    let database = match text_arg(args, 0) {
        Some(name) => Some(catalog.find_database(name)?),
        None => oid_arg(args, 0),
    };
    Ok(match database {
        Some(oid) if oid == catalog.database.oid => bytes(everything(context, catalog)),
        Some(oid) => catalog.of_database(oid).map_or(Datum::Null, |other| bytes(everything(context, &other))),
        None => Datum::Null,
    })
}

/// As PostgreSQL: units of 1024, switched at ten of the next one, rounded half away from zero.
fn size_pretty(_: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let size: i128 = match args.first() {
        Some(Datum::Int8(n)) => i128::from(*n),
        Some(Datum::Int4(n)) => i128::from(*n),
        Some(Datum::Numeric(n)) => match &**n {
            Numeric::Finite { mantissa, scale } => {
                let divisor = num_bigint::BigInt::from(10u8).pow(u32::from(*scale));
                (mantissa / divisor).to_i128().unwrap_or(i128::MAX)
            }
            _ => return Ok(text("NaN bytes")),
        },
        _ => return Ok(Datum::Null),
    };
    let half_rounded = |n: i128| if n < 0 { (n - 1) / 2 } else { (n + 1) / 2 };
    if size.abs() < 10 * 1024 {
        return Ok(text(format!("{size} bytes")));
    }
    // One bit more than the unit is kept for the rounding.
    let mut half_units = size / 512;
    let units = ["kB", "MB", "GB", "TB", "PB"];
    for (i, unit) in units.iter().enumerate() {
        if half_units.abs() < 20 * 1024 - 1 || i + 1 == units.len() {
            return Ok(text(format!("{} {unit}", half_rounded(half_units))));
        }
        half_units /= 1024;
    }
    Ok(Datum::Null)
}
