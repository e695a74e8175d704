//! Arithmetic, casts and layouts of numerics in Decimal128.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, Decimal128Array, Float64Array, PrimitiveArray};
use arrow::compute::kernels::arity::{try_binary, try_unary};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Decimal128Type, Int16Type, Int32Type, Int64Type};
use arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{ColumnarValue, cast as arrow_cast};

use super::{Lowered, RowOperation, row_call, to_layout};
use crate::error::Result;
use crate::functions::Function;
use crate::types::numeric::Numeric;
use crate::types::{PgType, TypeOid};

/// Most digits behind the point of a product that is kept in Decimal128 although its declared digits exceed 38.
const SCALE_MAX: i8 = 18;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Operation {
    Add,
    Sub,
    Mul,
}

fn operation(symbol: &str) -> Option<Operation> {
    match symbol {
        "numeric_add" => Some(Operation::Add),
        "numeric_sub" => Some(Operation::Sub),
        "numeric_mul" => Some(Operation::Mul),
        _ => None,
    }
}

/// Layout of a sum, difference or product of two decimals; `None`: encoded bytes.
fn result_layout(operation: Operation, (p, s): (u8, i8), (q, t): (u8, i8)) -> Option<DataType> {
    let (p16, s16, q16, t16) = (i16::from(p), i16::from(s), i16::from(q), i16::from(t));
    let (precision, scale) = match operation {
        Operation::Add | Operation::Sub => {
            let scale = s16.max(t16);
            ((p16 - s16).max(q16 - t16) + scale + 1, scale)
        }
        Operation::Mul => (p16 + q16, s16 + t16),
    };
    if precision <= 38 || scale <= i16::from(SCALE_MAX) {
        return Some(DataType::Decimal128(precision.min(38) as u8, scale as i8));
    }
    None
}

/// Digits before the point from which on a constant is large: what is multiplied by it may well have more than 38.
const LARGE: i16 = 15;

/// Sums, differences and products of two Decimal128.
pub(super) fn lower(function: &Arc<Function>, args: &[Lowered], ret: PgType) -> Result<Option<Lowered>> {
    let (Some(operation), [left, right]) = (operation(function.symbol), args) else { return Ok(None) };
    let (DataType::Decimal128(p, s), DataType::Decimal128(q, t)) = (&left.arrow, &right.arrow) else { return Ok(None) };
    let Some(arrow) = result_layout(operation, (*p, *s), (*q, *t)) else { return Ok(None) };
    let large = |arg: &Lowered, digits: i16| arg.literal().is_some() && digits > LARGE;
    let certain = i16::from(*p) + i16::from(*q) <= 38;
    if !certain && (large(left, i16::from(*p) - i16::from(*s)) || large(right, i16::from(*q) - i16::from(*t))) {
        return Ok(None);
    }
    let call = RowOperation::Call(Arc::clone(function));
    Ok(Some(row_call(call, args.to_vec(), ret, arrow)))
}

/// Casts between integers, decimals and float8 that Arrow does right.
pub(super) fn lower_cast(arg: &Lowered, to: PgType) -> Option<Lowered> {
    if to.oid != TypeOid::NUMERIC || !super::is_number(arg.ty.oid) {
        return None;
    }
    let precision = match arg.arrow {
        DataType::Int16 => 5,
        DataType::Int32 => 10,
        DataType::Int64 => 19,
        DataType::Decimal128(precision, scale) => {
            // A cast to plain numeric keeps the display scale: the layout can stay.
            if to.typmod < 0 {
                return Some(Lowered::new(arg.expr.clone(), to, arg.arrow.clone()));
            }
            let DataType::Decimal128(q, t) = to.arrow() else { return None };
            let widens = t >= scale && i16::from(q) - i16::from(t) >= i16::from(precision) - i16::from(scale);
            return widens.then(|| Lowered::plain(arrow_cast(arg.expr.clone(), to.arrow()), to));
        }
        _ => return None,
    };
    let target = if to.typmod < 0 { DataType::Decimal128(precision, 0) } else { to.arrow() };
    let DataType::Decimal128(q, t) = target else { return None };
    (i16::from(q) - i16::from(t) >= i16::from(precision))
        .then(|| Lowered::new(arrow_cast(arg.expr.clone(), target.clone()), to, target))
}

/// The layout that values of all these layouts go to.
pub(super) fn common(layouts: &[&DataType], exact: bool) -> DataType {
    let mut digits = 0;
    let mut scale = 0;
    let mut scales = Vec::new();
    for layout in layouts {
        let DataType::Decimal128(p, s) = layout else { return DataType::Binary };
        digits = digits.max(i16::from(*p) - i16::from(*s));
        scale = scale.max(i16::from(*s));
        scales.push(*s);
    }
    let alike = scales.windows(2).all(|w| w[0] == w[1]);
    if (exact && !alike) || digits + scale > 38 {
        return DataType::Binary;
    }
    DataType::Decimal128((digits + scale).max(1) as u8, scale as i8)
}

/// Both sides of a comparison in one layout; a constant goes to the column's where it can.
pub(super) fn for_comparison(left: Lowered, right: Lowered) -> Result<(Lowered, Lowered)> {
    let fits = |constant: &Lowered, target: &Lowered| {
        constant.literal().is_some()
            && match (&constant.arrow, &target.arrow) {
                (DataType::Decimal128(p, s), DataType::Decimal128(q, t)) => {
                    s <= t && i16::from(*p) - i16::from(*s) <= i16::from(*q) - i16::from(*t)
                }
                _ => false,
            }
    };
    if fits(&right, &left) {
        let target = left.arrow.clone();
        return Ok((left, to_layout(right, &target)?));
    }
    if fits(&left, &right) {
        let target = right.arrow.clone();
        return Ok((to_layout(left, &target)?, right));
    }
    let target = common(&[&left.arrow, &right.arrow], false);
    Ok((to_layout(left, &target)?, to_layout(right, &target)?))
}

fn overflow() -> ArrowError {
    ArrowError::ArithmeticOverflow(String::new())
}

/// One operand: a column or a constant.
enum Operand<'a> {
    Column(&'a Decimal128Array),
    Constant(i128),
}

fn operand(value: &ColumnarValue) -> Option<(Operand<'_>, i8)> {
    match value {
        ColumnarValue::Array(array) => match array.data_type() {
            DataType::Decimal128(_, scale) => {
                Some((Operand::Column(array.as_primitive_opt::<Decimal128Type>()?), *scale))
            }
            _ => None,
        },
        ColumnarValue::Scalar(ScalarValue::Decimal128(Some(v), _, scale)) => Some((Operand::Constant(*v), *scale)),
        ColumnarValue::Scalar(_) => None,
    }
}

/// + - * over columns; `None` for anything that does not fit i128 (the row function then says what to answer).
pub(super) fn kernel(symbol: &str, args: &[ColumnarValue], arrow: &DataType) -> Option<ArrayRef> {
    let operation = operation(symbol)?;
    let [left, right] = args else { return None };
    let DataType::Decimal128(precision, scale) = arrow else { return None };
    let ((left, s), (right, t)) = (operand(left)?, operand(right)?);
    let lift = |own: i8| -> Option<i128> {
        match operation {
            Operation::Mul => Some(1),
            _ => 10i128.checked_pow(u32::try_from(i16::from(*scale) - i16::from(own)).ok()?),
        }
    };
    let (lift_left, lift_right) = (lift(s)?, lift(t)?);
    let scaled = |v: i128, factor: i128| if factor == 1 { Ok(v) } else { v.checked_mul(factor).ok_or_else(overflow) };
    let combine = move |a: i128, b: i128| -> Result<i128, ArrowError> {
        match operation {
            Operation::Mul => multiply(a, b),
            Operation::Add => scaled(a, lift_left)?.checked_add(scaled(b, lift_right)?).ok_or_else(overflow),
            Operation::Sub => scaled(a, lift_left)?.checked_sub(scaled(b, lift_right)?).ok_or_else(overflow),
        }
    };
    let result: PrimitiveArray<Decimal128Type> = match (left, right) {
        (Operand::Column(a), Operand::Column(b)) => try_binary(a, b, combine).ok()?,
        (Operand::Column(a), Operand::Constant(b)) => try_unary(a, |a| combine(a, b)).ok()?,
        (Operand::Constant(a), Operand::Column(b)) => try_unary(b, |b| combine(a, b)).ok()?,
        (Operand::Constant(_), Operand::Constant(_)) => return None,
    };
    // 38 digits are below i128's range; only capped products can pass them.
    if *precision == 38 && result.iter().flatten().any(|v| v.unsigned_abs() >= 10u128.pow(38)) {
        return None;
    }
    result.with_precision_and_scale(*precision, *scale).ok().map(|a| Arc::new(a) as ArrayRef)
}

/// Product of two i128, by way of i64 where both fit.
fn multiply(a: i128, b: i128) -> Result<i128, ArrowError> {
    match (i64::try_from(a), i64::try_from(b)) {
        (Ok(a), Ok(b)) => Ok(i128::from(a) * i128::from(b)),
        _ => a.checked_mul(b).ok_or_else(overflow),
    }
}

fn column(value: &ColumnarValue) -> Option<&ArrayRef> {
    match value {
        ColumnarValue::Array(array) => Some(array),
        ColumnarValue::Scalar(_) => None,
    }
}

/// Decimal128 → encoded bytes, or another Decimal128 of at least its scale.
pub(super) fn layout_kernel(args: &[ColumnarValue], arrow: &DataType) -> Option<ArrayRef> {
    let array = column(args.first()?)?;
    let DataType::Decimal128(_, scale) = array.data_type() else { return None };
    let values = array.as_primitive_opt::<Decimal128Type>()?;
    match arrow {
        DataType::Binary => {
            let mut builder = BinaryBuilder::with_capacity(values.len(), values.len() * 12);
            let mut buffer = Vec::new();
            for value in values.iter() {
                match value {
                    Some(v) => {
                        buffer.clear();
                        Numeric::from_i128(v, *scale).encode_into(&mut buffer);
                        builder.append_value(&buffer);
                    }
                    None => builder.append_null(),
                }
            }
            Some(Arc::new(builder.finish()))
        }
        DataType::Decimal128(..) => rescale(values, *scale, arrow),
        _ => None,
    }
}

/// To another precision and scale, rounding half away from zero; `None` if a value does not fit.
pub(super) fn rescale(values: &Decimal128Array, scale: i8, arrow: &DataType) -> Option<ArrayRef> {
    let DataType::Decimal128(precision, target) = arrow else { return None };
    let limit = 10i128.checked_pow(u32::from(*precision))?;
    let shift = i16::from(*target) - i16::from(scale);
    let factor = 10i128.checked_pow(u32::from(shift.unsigned_abs()))?;
    let convert = |v: i128| -> Result<i128, ArrowError> {
        let moved = if shift >= 0 {
            v.checked_mul(factor).ok_or_else(overflow)?
        } else {
            let half = factor / 2;
            (if v >= 0 { v + half } else { v - half }) / factor
        };
        if moved.abs() < limit { Ok(moved) } else { Err(overflow()) }
    };
    let moved: Decimal128Array = try_unary(values, convert).ok()?;
    moved.with_precision_and_scale(*precision, *target).ok().map(|a| Arc::new(a) as ArrayRef)
}

/// Decimal128 → float8: exact while the mantissa has 53 bits.
pub(super) fn to_float8(values: &Decimal128Array, scale: i8) -> ArrayRef {
    let power = 10f64.powi(i32::from(scale));
    let exact = |v: i128| v.unsigned_abs() < 1 << 53 && scale <= 22;
    let floats: Float64Array =
        values.unary(|v| if exact(v) { v as f64 / power } else { Numeric::from_i128(v, scale).to_f64() });
    Arc::new(floats)
}

/// Integers as i128, for sums.
pub(super) fn widen_integers(array: &ArrayRef) -> Option<Decimal128Array> {
    fn widen<T: ArrowPrimitiveType>(array: &ArrayRef) -> Option<Decimal128Array>
    where
        T::Native: Into<i128>,
    {
        Some(array.as_primitive_opt::<T>()?.unary(Into::into))
    }
    match array.data_type() {
        DataType::Int16 => widen::<Int16Type>(array),
        DataType::Int32 => widen::<Int32Type>(array),
        DataType::Int64 => widen::<Int64Type>(array),
        DataType::Decimal128(..) => array.as_primitive_opt::<Decimal128Type>().cloned(),
        _ => None,
    }
}
