//! Kernels over whole columns for the functions of hot queries. `None` means: let the row function decide.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Datum as ArrowDatum, Float64Array, Scalar,
    StringBuilder,
};
use arrow::compute::kernels::numeric as kernels;
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;

use super::{Lowered, decimal};
use crate::functions::Function;
use crate::functions::comparison::{Test, test_of};
use crate::types::calendar::civil_from_days;
use crate::types::interval::MICROS_PER_DAY;
use crate::types::numeric::Numeric;
use crate::types::{PgType, TypeOid, compare};

/// Layout of a call's result where it is not the type's own: fields of dates are whole numbers.
pub(super) fn layout(function: &Function, args: &[Lowered]) -> Option<DataType> {
    match function.symbol {
        "extract_date" | "extract_timestamp" => {
            let ScalarValue::Utf8(Some(field)) = args.first()?.literal()? else { return None };
            whole_field(field).then_some(DataType::Decimal128(19, 0))
        }
        _ => None,
    }
}

/// Fields that `extract` gives as whole numbers or NULL. Those of years are none: an infinite date has an infinite year.
fn whole_field(field: &str) -> bool {
    matches!(field, "month" | "day" | "quarter" | "hour" | "minute" | "dow" | "doy" | "week" | "isodow")
}

pub(super) fn kernel(
    function: &Function,
    args: &[ColumnarValue],
    types: &[PgType],
    arrow: &DataType,
    rows: usize,
) -> Option<ArrayRef> {
    if let Some(test) = test_of(function.symbol) {
        return compare_kernel(test, args, types, rows);
    }
    match function.symbol {
        "numeric_add" | "numeric_sub" | "numeric_mul" => decimal::kernel(function.symbol, args, arrow),
        "int2pl" | "int4pl" | "int8pl" | "int24pl" | "int42pl" | "int28pl" | "int82pl" | "int48pl" | "int84pl" => {
            integers(args, arrow, |a, b| kernels::add(a, b))
        }
        "int2mi" | "int4mi" | "int8mi" | "int24mi" | "int42mi" | "int28mi" | "int82mi" | "int48mi" | "int84mi" => {
            integers(args, arrow, |a, b| kernels::sub(a, b))
        }
        "int2mul" | "int4mul" | "int8mul" | "int24mul" | "int42mul" | "int28mul" | "int82mul" | "int48mul"
        | "int84mul" => integers(args, arrow, |a, b| kernels::mul(a, b)),
        "int2div" | "int4div" | "int8div" | "int24div" | "int42div" | "int28div" | "int82div" | "int48div"
        | "int84div" => integers(args, arrow, |a, b| kernels::div(a, b)),
        "int2mod" | "int4mod" | "int8mod" => integers(args, arrow, |a, b| kernels::rem(a, b)),
        "float8pl" => floats(args, |a, b| a + b, true),
        "float8mi" => floats(args, |a, b| a - b, true),
        "float8mul" => floats(args, |a, b| a * b, false),
        "float8div" => floats(args, |a, b| a / b, false),
        "extract_date" | "extract_timestamp" => extract(args),
        "text_substr" | "text_substr_no_len" => substring(args),
        _ => None,
    }
}

fn owned(value: &ColumnarValue, target: &DataType) -> Option<Box<dyn ArrowDatum>> {
    match value {
        ColumnarValue::Array(array) if array.data_type() == target => Some(Box::new(Arc::clone(array))),
        ColumnarValue::Array(array) => Some(Box::new(arrow::compute::cast(array, target).ok()?)),
        ColumnarValue::Scalar(scalar) => {
            let array = scalar.cast_to(target).ok()?.to_array().ok()?;
            Some(Box::new(Scalar::new(array)))
        }
    }
}

type Arithmetic = fn(&dyn ArrowDatum, &dyn ArrowDatum) -> Result<ArrayRef, ArrowError>;

/// Arrow's checked arithmetic in the result's width; overflow and division by zero are the row function's to report.
fn integers(args: &[ColumnarValue], arrow: &DataType, operation: Arithmetic) -> Option<ArrayRef> {
    let [a, b] = args else { return None };
    operation(owned(a, arrow)?.as_ref(), owned(b, arrow)?.as_ref()).ok()
}

enum Floats<'a> {
    Column(&'a Float64Array),
    Constant(f64),
}

fn float_side(value: &ColumnarValue) -> Option<Floats<'_>> {
    match value {
        ColumnarValue::Array(array) => Some(Floats::Column(array.as_primitive_opt::<Float64Type>()?)),
        ColumnarValue::Scalar(ScalarValue::Float64(Some(v))) => Some(Floats::Constant(*v)),
        ColumnarValue::Scalar(_) => None,
    }
}

fn floats(args: &[ColumnarValue], operation: fn(f64, f64) -> f64, zero_allowed: bool) -> Option<ArrayRef> {
    let [a, b] = args else { return None };
    let result: Float64Array = match (float_side(a)?, float_side(b)?) {
        (Floats::Column(a), Floats::Column(b)) => arrow::compute::binary(a, b, operation).ok()?,
        (Floats::Column(a), Floats::Constant(b)) => a.unary(|a| operation(a, b)),
        (Floats::Constant(a), Floats::Column(b)) => b.unary(|b| operation(a, b)),
        _ => return None,
    };
    // Infinite, NaN or vanished results need a look at the operands.
    let plain = result.iter().flatten().all(|v| v.is_finite() && (zero_allowed || v != 0.0));
    plain.then(|| Arc::new(result) as ArrayRef)
}

/// Comparisons of layouts that Arrow orders otherwise than PostgreSQL: floats and encoded numerics.
fn compare_kernel(test: Test, args: &[ColumnarValue], types: &[PgType], rows: usize) -> Option<ArrayRef> {
    let [a, b] = args else { return None };
    match types.first()?.oid {
        TypeOid::FLOAT8 if types.get(1)?.oid == TypeOid::FLOAT8 => {
            let (a, b) = (float_side(a)?, float_side(b)?);
            let decide = |i: usize| -> Option<bool> {
                let at = |side: &Floats<'_>| match side {
                    Floats::Column(values) => values.is_valid(i).then(|| values.value(i)),
                    Floats::Constant(v) => Some(*v),
                };
                Some(test.holds(compare::compare_floats(at(&a)?, at(&b)?)))
            };
            Some(Arc::new((0..rows).map(decide).collect::<BooleanArray>()))
        }
        TypeOid::NUMERIC => {
            let (a, b) = (bytes_side(a)?, bytes_side(b)?);
            let decide = |i: usize| -> Option<bool> {
                let (a, b) = (a.at(i)?, b.at(i)?);
                // Without the display scale.
                let (a, b) = (a.get(..a.len().checked_sub(2)?)?, b.get(..b.len().checked_sub(2)?)?);
                Some(test.holds(a.cmp(b)))
            };
            Some(Arc::new((0..rows).map(decide).collect::<BooleanArray>()))
        }
        _ => None,
    }
}

enum Bytes<'a> {
    Column(&'a BinaryArray),
    Constant(&'a [u8]),
}

impl Bytes<'_> {
    fn at(&self, row: usize) -> Option<&[u8]> {
        match self {
            Bytes::Column(values) => values.is_valid(row).then(|| values.value(row)),
            Bytes::Constant(bytes) => Some(bytes),
        }
    }
}

fn bytes_side(value: &ColumnarValue) -> Option<Bytes<'_>> {
    match value {
        ColumnarValue::Array(array) => Some(Bytes::Column(array.as_binary_opt::<i32>()?)),
        ColumnarValue::Scalar(ScalarValue::Binary(Some(bytes))) => Some(Bytes::Constant(bytes)),
        ColumnarValue::Scalar(_) => None,
    }
}

/// `extract(month | day | quarter from column)`.
fn extract(args: &[ColumnarValue]) -> Option<ArrayRef> {
    let [ColumnarValue::Scalar(ScalarValue::Utf8(Some(field))), ColumnarValue::Array(array)] = args else {
        return None;
    };
    let part: fn((i64, i64, i64)) -> i64 = match field.as_str() {
        "year" => return years(array),
        "month" => |(_, month, _)| month,
        "day" => |(_, _, day)| day,
        "quarter" => |(_, month, _)| (month + 2) / 3,
        _ => return None,
    };
    let parts: arrow::array::Decimal128Array = match array.data_type() {
        DataType::Date32 => {
            let values = array.as_primitive_opt::<Date32Type>()?;
            if values.iter().flatten().any(|d| d == i32::MIN || d == i32::MAX) {
                return None;
            }
            values.unary::<_, Decimal128Type>(|d| i128::from(part(civil_from_days(i64::from(d)))))
        }
        DataType::Timestamp(_, None) => {
            let values = array.as_primitive_opt::<TimestampMicrosecondType>()?;
            if values.iter().flatten().any(|t| t == i64::MIN || t == i64::MAX) {
                return None;
            }
            values.unary::<_, Decimal128Type>(|t| i128::from(part(civil_from_days(t.div_euclid(MICROS_PER_DAY)))))
        }
        _ => return None,
    };
    parts.with_precision_and_scale(19, 0).ok().map(|a| Arc::new(a) as ArrayRef)
}

/// `extract(year from column)`. Neighbours often share their year: its encoding is written once.
fn years(array: &ArrayRef) -> Option<ArrayRef> {
    let mut builder = BinaryBuilder::with_capacity(array.len(), array.len() * 6);
    let (mut known, mut encoded) = (None, Vec::new());
    let mut push = |day: Option<i64>| {
        let Some(day) = day else { return builder.append_null() };
        let (year, _, _) = civil_from_days(day);
        if known != Some(year) {
            known = Some(year);
            encoded.clear();
            Numeric::from(if year > 0 { year } else { year - 1 }).encode_into(&mut encoded);
        }
        builder.append_value(&encoded);
    };
    match array.data_type() {
        DataType::Date32 => {
            let values = array.as_primitive_opt::<Date32Type>()?;
            if values.iter().flatten().any(|d| d == i32::MIN || d == i32::MAX) {
                return None;
            }
            values.iter().for_each(|d| push(d.map(i64::from)));
        }
        DataType::Timestamp(_, None) => {
            let values = array.as_primitive_opt::<TimestampMicrosecondType>()?;
            if values.iter().flatten().any(|t| t == i64::MIN || t == i64::MAX) {
                return None;
            }
            values.iter().for_each(|t| push(t.map(|t| t.div_euclid(MICROS_PER_DAY))));
        }
        _ => return None,
    }
    Some(Arc::new(builder.finish()))
}

/// `substr(column, constant[, constant])`.
fn substring(args: &[ColumnarValue]) -> Option<ArrayRef> {
    let ColumnarValue::Array(array) = args.first()? else { return None };
    let constant = |i: usize| match args.get(i) {
        Some(ColumnarValue::Scalar(ScalarValue::Int32(Some(v)))) => Some(i64::from(*v)),
        _ => None,
    };
    let start = constant(1)?;
    let end = match args.len() {
        2 => i64::MAX,
        _ => start.checked_add(constant(2).filter(|n| *n >= 0)?)?,
    };
    let values = array.as_string_opt::<i32>()?;
    let (skip, stop) = ((start - 1).max(0) as usize, (end - 1).max(0) as usize);
    let mut builder = StringBuilder::with_capacity(values.len(), values.len() * 8);
    for value in values.iter() {
        match value {
            None => builder.append_null(),
            Some(text) if text.is_ascii() => {
                let (from, to) = (skip.min(text.len()), stop.min(text.len()));
                builder.append_value(text.get(from..to.max(from))?);
            }
            Some(text) => {
                builder.append_value(text.chars().skip(skip).take(stop.saturating_sub(skip)).collect::<String>())
            }
        }
    }
    Some(Arc::new(builder.finish()))
}

/// Casts over columns: decimals, and dates to timestamps.
pub(super) fn cast_kernel(args: &[ColumnarValue], from: PgType, to: PgType, arrow: &DataType) -> Option<ArrayRef> {
    let Some(ColumnarValue::Array(array)) = args.first() else { return None };
    match (from.oid, to.oid, array.data_type()) {
        (TypeOid::NUMERIC, TypeOid::FLOAT8, DataType::Decimal128(_, scale)) => {
            Some(decimal::to_float8(array.as_primitive_opt::<Decimal128Type>()?, *scale))
        }
        (TypeOid::NUMERIC, TypeOid::NUMERIC, DataType::Decimal128(_, scale)) => {
            decimal::rescale(array.as_primitive_opt::<Decimal128Type>()?, *scale, arrow)
        }
        (TypeOid::DATE, TypeOid::TIMESTAMP, DataType::Date32) if to.typmod < 0 => {
            let values = array.as_primitive_opt::<Date32Type>()?;
            if values.iter().flatten().any(|d| d.unsigned_abs() > 100_000_000) {
                return None;
            }
            Some(Arc::new(values.unary::<_, TimestampMicrosecondType>(|d| i64::from(d) * MICROS_PER_DAY)))
        }
        _ => None,
    }
}

/// Keys of encoded numerics: their bytes without the display scale, in the form of `encode_key`.
pub(super) fn key_kernel(args: &[ColumnarValue], types: &[PgType]) -> Option<ArrayRef> {
    let (Some(ColumnarValue::Array(array)), TypeOid::NUMERIC) = (args.first(), types.first()?.oid) else { return None };
    let values = array.as_binary_opt::<i32>()?;
    let keys = values.iter().map(|v| {
        v.map(|bytes| {
            let mut key = Vec::with_capacity(bytes.len());
            key.push(1);
            key.extend_from_slice(bytes.get(..bytes.len().saturating_sub(2)).unwrap_or(bytes));
            key
        })
    });
    Some(Arc::new(keys.collect::<BinaryArray>()))
}
