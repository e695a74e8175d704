//! Functions on rows: comparisons, fields, and tests for NULL. The last two are not PostgreSQL's functions but its syntax.

use std::cmp::Ordering;
use std::sync::{Arc, LazyLock};

use super::args::{self, row};
use super::comparison::Test;
use super::registry::Implementations;
use super::{Call, Function, Kind, RowFunction, Volatility};
use crate::error::{Error, Result, SqlState};
use crate::types::names::format_type;
use crate::types::record::{self, RowValue};
use crate::types::{Datum, TypeOid, compare};

/// Order of two rows; rows of different shapes have none (42804).
fn order(a: &[u8], b: &[u8]) -> Result<Ordering> {
    let (a, b) = (record::decode(a)?, record::decode(b)?);
    for (i, (x, y)) in a.fields.iter().zip(&b.fields).enumerate() {
        if x.ty.oid != y.ty.oid {
            return Err(dissimilar(x.ty.oid, y.ty.oid, i));
        }
        let order = compare::compare(&x.value, &y.value, x.ty);
        if order.is_ne() {
            return Ok(order);
        }
    }
    if a.fields.len() != b.fields.len() {
        return Err(different_lengths());
    }
    Ok(Ordering::Equal)
}

/// Order of two rows by how their values are kept: `*<` and its like. Values that are kept in a machine word compare as one without
/// sign, as in PostgreSQL; of others the bytes are this server's own. NULL is the greatest.
fn image_order(a: &[u8], b: &[u8]) -> Result<Ordering> {
    let (a, b) = (record::decode(a)?, record::decode(b)?);
    for (i, (x, y)) in a.fields.iter().zip(&b.fields).enumerate() {
        if x.ty.oid != y.ty.oid {
            return Err(dissimilar(x.ty.oid, y.ty.oid, i));
        }
        let order = match (x.value.is_null(), y.value.is_null()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => match (word(&x.value), word(&y.value)) {
                (Some(x), Some(y)) => x.cmp(&y),
                _ => image(&x.value).cmp(&image(&y.value)),
            },
        };
        if order.is_ne() {
            return Ok(order);
        }
    }
    match a.fields.len() == b.fields.len() {
        true => Ok(Ordering::Equal),
        false => Err(different_lengths()),
    }
}

/// A value that is kept in a machine word.
fn word(value: &Datum) -> Option<u64> {
    Some(match value {
        Datum::Bool(v) => u64::from(*v),
        Datum::Int2(v) => i64::from(*v) as u64,
        Datum::Int4(v) | Datum::Date(v) => i64::from(*v) as u64,
        Datum::Int8(v) | Datum::Time(v) | Datum::Timestamp(v) | Datum::Timestamptz(v) => *v as u64,
        Datum::Oid(v) => u64::from(*v),
        Datum::Float4(v) => i64::from(v.to_bits() as i32) as u64,
        Datum::Float8(v) => v.to_bits(),
        _ => return None,
    })
}

fn image(value: &Datum) -> Vec<u8> {
    match value {
        Datum::Text(text) => text.as_bytes().to_vec(),
        Datum::Bytea(bytes) => bytes.to_vec(),
        other => {
            let mut out = Vec::new();
            crate::types::codec::put(&mut out, other);
            out
        }
    }
}

fn image_test(args: &[Datum], test: Test) -> Result<Datum> {
    Ok(Datum::Bool(test.holds(image_order(args::bytea(args.first())?, args::bytea(args.get(1))?)?)))
}

fn dissimilar(a: TypeOid, b: TypeOid, index: usize) -> Error {
    let (a, b) = (format_type(a, -1), format_type(b, -1));
    let message = format!("cannot compare dissimilar column types {a} and {b} at record column {}", index + 1);
    Error::new(SqlState::DatatypeMismatch, message)
}

fn different_lengths() -> Error {
    Error::new(SqlState::DatatypeMismatch, "cannot compare record types with different numbers of columns")
}

fn test(args: &[Datum], test: Test) -> Result<Datum> {
    Ok(Datum::Bool(test.holds(order(args::bytea(args.first())?, args::bytea(args.get(1))?)?)))
}

/// Field `index` (from 0) of a row; one that it is too short for is NULL.
fn field(_: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let RowValue { fields, .. } = record::decode(args::bytea(args.first())?)?;
    let index = usize::try_from(args::int4(args.get(1))?).unwrap_or(usize::MAX);
    Ok(fields.into_iter().nth(index).map_or(Datum::Null, |f| f.value))
}

/// `row IS NULL` (or, with true, `IS NOT NULL`): whether all its fields are.
fn null_test(_: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let negated = args::boolean(args.get(1))?;
    let Some(Datum::Bytea(row)) = args.first() else {
        return Ok(Datum::Bool(!negated));
    };
    let fields = record::decode(row)?.fields;
    Ok(Datum::Bool(fields.iter().all(|f| f.value.is_null() != negated)))
}

fn syntax(
    oid: u32,
    name: &'static str,
    strict: bool,
    args: Vec<TypeOid>,
    ret: TypeOid,
    call: RowFunction,
) -> Arc<Function> {
    Arc::new(Function {
        oid,
        name,
        args,
        variadic: None,
        defaults: 0,
        ret,
        kind: Kind::Scalar,
        returns_set: false,
        strict,
        volatility: Volatility::Immutable,
        symbol: name,
        all_args: Vec::new(),
        arg_modes: Vec::new(),
        arg_names: Vec::new(),
        scalar: Some(call),
        set: None,
    })
}

/// `(row).name`: the row, the field's index and its name.
pub static FIELD: LazyLock<Arc<Function>> = LazyLock::new(|| {
    let args = vec![TypeOid::RECORD, TypeOid::INT4, TypeOid::TEXT];
    syntax(u32::MAX - 1, "row_field", true, args, TypeOid::ANY, field)
});

/// `row IS [NOT] NULL`: the row, and whether the test is negated.
pub static NULL_TEST: LazyLock<Arc<Function>> = LazyLock::new(|| {
    let args = vec![TypeOid::RECORD, TypeOid::BOOL];
    syntax(u32::MAX - 2, "row_is_null", false, args, TypeOid::BOOL, null_test)
});

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("record_eq", |_, args| test(args, Test::Eq)),
        ("record_ne", |_, args| test(args, Test::Ne)),
        ("record_lt", |_, args| test(args, Test::Lt)),
        ("record_le", |_, args| test(args, Test::Le)),
        ("record_gt", |_, args| test(args, Test::Gt)),
        ("record_ge", |_, args| test(args, Test::Ge)),
        ("record_image_eq", |_, args| image_test(args, Test::Eq)),
        ("record_image_ne", |_, args| image_test(args, Test::Ne)),
        ("record_image_lt", |_, args| image_test(args, Test::Lt)),
        ("record_image_le", |_, args| image_test(args, Test::Le)),
        ("record_image_gt", |_, args| image_test(args, Test::Gt)),
        ("record_image_ge", |_, args| image_test(args, Test::Ge)),
        ("btrecordimagecmp", row!(|a: bytea, b: bytea| Ok(Datum::Int4(image_order(a, b)? as i32)))),
        ("btrecordcmp", row!(|a: bytea, b: bytea| Ok(Datum::Int4(order(a, b)? as i32)))),
    ]);
}
