//! What stands behind the system columns `xmin`, `xmax`, `cmin` and `cmax`. Row versions have no transaction numbers that
//! clients could see: `xmin` is a fingerprint of the row instead, so that it does what clients use it for, which is to tell
//! whether a row is still the one that they read.
//!
//! TABLESAMPLE chooses rows by the same fingerprint, with a seed.
//!
//! Invariant: the fingerprint depends on the row's values alone: not on the session's settings, the node, or where the row
//! lies.

use std::sync::{Arc, LazyLock};

use super::{Call, Function, Kind, Volatility};
use crate::error::{Error, Result, SqlState};
use crate::types::text::{self, FormatSettings};
use crate::types::{Datum, PgType, TypeOid};

/// Numbers below it have a meaning of their own (PostgreSQL's FirstNormalTransactionId).
const FIRST_NORMAL: u32 = 3;

/// `xmin` over all columns of the row; not in pg_proc.
pub fn row_version() -> Arc<Function> {
    static FUNCTION: LazyLock<Arc<Function>> =
        LazyLock::new(|| of_row(u32::MAX - 2, "lockstep_row_version", TypeOid::XID, fingerprint));
    FUNCTION.clone()
}

/// Whether TABLESAMPLE takes a row: percentage, seed, all columns of the row; not in pg_proc.
pub fn sample() -> Arc<Function> {
    static FUNCTION: LazyLock<Arc<Function>> =
        LazyLock::new(|| of_row(u32::MAX - 3, "lockstep_sample", TypeOid::BOOL, is_sampled));
    FUNCTION.clone()
}

/// `ctid` of a row's number; not in pg_proc.
pub fn place() -> Arc<Function> {
    static FUNCTION: LazyLock<Arc<Function>> =
        LazyLock::new(|| of_row(u32::MAX - 14, "lockstep_place", TypeOid::TID, place_of));
    FUNCTION.clone()
}

/// Rows of what `ctid` calls a block.
const BLOCK_ROWS: u64 = 65_535;

/// Partition and place in it, as block and place in that, counted from 1.
fn place_of(_: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let Some(Datum::Int8(row)) = args.first() else { return Ok(Datum::Null) };
    let (partition, handle) = ((*row as u64 >> 32) & 0x7fff, *row as u64 & 0xffff_ffff);
    let block = (partition << 17) | (handle / BLOCK_ROWS);
    Ok(Datum::Int8((block << 16 | (handle % BLOCK_ROWS + 1)) as i64))
}

/// A function over a whole row. Its number is one that no function of PostgreSQL has.
fn of_row(oid: u32, name: &'static str, ret: TypeOid, scalar: super::RowFunction) -> Arc<Function> {
    Arc::new(Function {
        oid,
        name,
        args: vec![TypeOid::ANY],
        variadic: Some(TypeOid::ANY),
        defaults: 0,
        ret,
        kind: Kind::Scalar,
        returns_set: false,
        strict: false,
        volatility: Volatility::Immutable,
        symbol: name,
        all_args: vec![],
        arg_modes: vec![],
        arg_names: vec![],
        scalar: Some(scalar),
        set: None,
    })
}

/// The same rows for the same seed, as long as they are the same.
fn is_sampled(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let invalid = |state, message: &str| Err(Error::new(state, message));
    let (share, seed, row) = match args {
        [Datum::Float8(share), Datum::Float8(seed), row @ ..] => (*share, *seed, row),
        [Datum::Null, ..] => {
            return invalid(SqlState::InvalidTablesampleArgument, "TABLESAMPLE parameter cannot be null");
        }
        _ => {
            return invalid(SqlState::InvalidTablesampleRepeat, "TABLESAMPLE REPEATABLE parameter cannot be null");
        }
    };
    if !(0.0..=100.0).contains(&share) {
        return invalid(SqlState::InvalidTablesampleArgument, "sample percentage must be between 0 and 100");
    }
    let types = call.types.get(2..).unwrap_or_default();
    let hash = hash_row(crc32c::crc32c(&seed.to_le_bytes()), row, types);
    // A checksum spreads neighbours unevenly; a multiplication mends that.
    let spread = (u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32;
    Ok(Datum::Bool(f64::from(spread) < share / 100.0 * 4_294_967_296.0))
}

fn fingerprint(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    Ok(Datum::Oid(hash_row(0, args, call.types).max(FIRST_NORMAL)))
}

fn hash_row(seed: u32, args: &[Datum], types: &[PgType]) -> u32 {
    let format = FormatSettings::default();
    let mut crc = seed;
    let mut bytes = Vec::new();
    for (value, ty) in args.iter().zip(types) {
        bytes.clear();
        if !value.is_null() {
            text::write(value, *ty, &format, &mut bytes);
        }
        // A NULL is not an empty string, and values do not run into each other.
        let length = if value.is_null() { u64::MAX } else { bytes.len() as u64 };
        crc = crc32c::crc32c_append(crc, &length.to_le_bytes());
        crc = crc32c::crc32c_append(crc, &bytes);
    }
    crc
}
