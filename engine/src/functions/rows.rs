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
            return Err(Error::new(
                SqlState::DatatypeMismatch,
                format!(
                    "cannot compare dissimilar column types {} and {} at record column {}",
                    format_type(x.ty.oid, -1),
                    format_type(y.ty.oid, -1),
                    i + 1
                ),
            ));
        }
        let order = compare::compare(&x.value, &y.value, x.ty);
        if order.is_ne() {
            return Ok(order);
        }
    }
    if a.fields.len() != b.fields.len() {
        return Err(Error::new(
            SqlState::DatatypeMismatch,
            "cannot compare record types with different numbers of columns",
        ));
    }
    Ok(Ordering::Equal)
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
        ("btrecordcmp", row!(|a: bytea, b: bytea| Ok(Datum::Int4(order(a, b)? as i32)))),
    ]);
}
