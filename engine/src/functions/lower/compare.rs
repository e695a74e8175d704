//! Comparisons: native where Arrow's order of the layouts is PostgreSQL's.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, Operator, cast as arrow_cast, lit};

use super::{Lowered, RowOperation, binary, decimal, row_call, unify};
use crate::error::Result;
use crate::functions::Function;
use crate::functions::comparison::Test;
use crate::types::interval::MICROS_PER_DAY;
use crate::types::text::pad;
use crate::types::{Datum, PgType, TypeOid};

fn operator(test: Test) -> Operator {
    match test {
        Test::Eq => Operator::Eq,
        Test::Ne => Operator::NotEq,
        Test::Lt => Operator::Lt,
        Test::Le => Operator::LtEq,
        Test::Gt => Operator::Gt,
        Test::Ge => Operator::GtEq,
    }
}

pub(super) fn lower(function: &Arc<Function>, test: Test, left: Lowered, right: Lowered) -> Result<Lowered> {
    let native = |left: Lowered, right: Lowered| Ok(Lowered::boolean(binary(left.expr, operator(test), right.expr)));
    let by_row = |left: Lowered, right: Lowered| {
        let args = vec![left, right];
        Ok(row_call(RowOperation::Call(Arc::clone(function)), args, TypeOid::BOOL.into(), DataType::Boolean))
    };
    if test == Test::Eq && computes_itself(&left.expr, &right.expr) {
        return by_row(left, right);
    }
    use DataType as D;
    match (&left.arrow, &right.arrow) {
        (D::Int16 | D::Int32 | D::Int64, D::Int16 | D::Int32 | D::Int64)
            if left.ty.oid != TypeOid::PG_LSN && left.ty.oid != TypeOid::XID8 =>
        {
            let (left, right) = same_width(left, right);
            native(left, right)
        }
        (D::Decimal128(..), D::Decimal128(..)) => {
            let (left, right) = decimal::for_comparison(left, right)?;
            match left.arrow == right.arrow && matches!(left.arrow, D::Decimal128(..)) {
                true => native(left, right),
                false => by_row(left, right),
            }
        }
        (D::Utf8, D::Utf8) => match (left.ty.oid, right.ty.oid) {
            (TypeOid::BPCHAR, TypeOid::BPCHAR) => match same_padding(&left, &right) {
                Some((left, right)) => native(left, right),
                None => by_row(left, right),
            },
            (TypeOid::JSONB | TypeOid::CITEXT, _) | (_, TypeOid::CITEXT) => by_row(left, right),
            _ => native(left, right),
        },
        (D::Date32, D::Timestamp(_, None)) => match date_bound(test, &left, &right) {
            Some(expr) => Ok(Lowered::boolean(expr)),
            None => by_row(left, right),
        },
        (D::Timestamp(_, None), D::Date32) => match date_bound(test.flipped(), &right, &left) {
            Some(expr) => Ok(Lowered::boolean(expr)),
            None => by_row(left, right),
        },
        (D::Boolean | D::UInt32 | D::Date32 | D::Time64(_) | D::FixedSizeBinary(_), _) if left.arrow == right.arrow => {
            native(left, right)
        }
        (D::Timestamp(..), D::Timestamp(..)) if left.arrow == right.arrow => native(left, right),
        (D::Binary, D::Binary)
            if matches!(
                left.ty.oid,
                TypeOid::BYTEA | TypeOid::INET | TypeOid::CIDR | TypeOid::MACADDR | TypeOid::MACADDR8 | TypeOid::TIMETZ
            ) =>
        {
            native(left, right)
        }
        (D::Decimal128(..), D::Binary) | (D::Binary, D::Decimal128(..)) => {
            let mut sides = unify(vec![left, right], TypeOid::NUMERIC.into(), true)?;
            match (sides.pop(), sides.pop()) {
                (Some(right), Some(left)) => by_row(left, right),
                _ => Err(crate::Error::internal("a comparison lost a side")),
            }
        }
        _ => by_row(left, right),
    }
}

/// `lower(x) = x`. From a filter with an equality that it knows DataFusion takes that one side may stand for the other,
/// and puts this one into itself without end.
fn computes_itself(left: &Expr, right: &Expr) -> bool {
    match (left, right) {
        (Expr::Column(_), Expr::Column(_)) => false,
        (Expr::Column(column), computed) | (computed, Expr::Column(column)) => computed.column_refs().contains(column),
        _ => false,
    }
}

/// Two integers in the wider type of both; a constant that fits takes the other side's type, so that the column stays
/// bare.
fn same_width(left: Lowered, right: Lowered) -> (Lowered, Lowered) {
    let width = |arrow: &DataType| match arrow {
        DataType::Int16 => 16,
        DataType::Int32 => 32,
        _ => 64,
    };
    let narrowed = |constant: &Lowered, target: &Lowered| -> Option<Lowered> {
        let value = match constant.literal()? {
            ScalarValue::Int16(v) => i64::from((*v)?),
            ScalarValue::Int32(v) => i64::from((*v)?),
            ScalarValue::Int64(v) => (*v)?,
            _ => return None,
        };
        let scalar = match target.arrow {
            DataType::Int16 => ScalarValue::Int16(Some(i16::try_from(value).ok()?)),
            DataType::Int32 => ScalarValue::Int32(Some(i32::try_from(value).ok()?)),
            _ => ScalarValue::Int64(Some(value)),
        };
        Some(Lowered::plain(lit(scalar), target.ty))
    };
    if left.arrow == right.arrow {
        return (left, right);
    }
    if let Some(right) = narrowed(&right, &left) {
        return (left, right);
    }
    if let Some(left) = narrowed(&left, &right) {
        return (left, right);
    }
    let widen = |side: Lowered, other: &DataType| {
        if width(&side.arrow) < width(other) {
            Lowered::new(arrow_cast(side.expr, other.clone()), side.ty, other.clone())
        } else {
            side
        }
    };
    let (left_arrow, right_arrow) = (left.arrow.clone(), right.arrow.clone());
    (widen(left, &right_arrow), widen(right, &left_arrow))
}

/// `arg IN (list)` over char(n): each constant padded to the operand's length. `None`: not by their bytes.
pub fn padded_list(arg: &Lowered, list: &[Lowered]) -> Option<Vec<Lowered>> {
    let padded = |item: &Lowered| match item.literal() {
        Some(ScalarValue::Utf8(None)) => Some(item.clone()),
        Some(_) if arg.ty.typmod >= 0 => same_padding(arg, item).map(|(_, item)| item),
        _ => None,
    };
    list.iter().map(padded).collect()
}

/// Two char(n) whose bytes decide: equal lengths, or a constant padded to the column's length.
fn same_padding(left: &Lowered, right: &Lowered) -> Option<(Lowered, Lowered)> {
    if left.ty.typmod >= 0 && left.ty.typmod == right.ty.typmod {
        return Some((left.clone(), right.clone()));
    }
    let padded = |constant: &Lowered, typmod: i32| -> Option<Lowered> {
        let ScalarValue::Utf8(Some(text)) = constant.literal()? else { return None };
        let bare = crate::types::compare::unpadded(text);
        let Datum::Text(padded) = pad(bare, typmod) else { return None };
        // A longer constant equals nothing of the column and is ordered right as it is.
        Some(Lowered::plain(lit(padded.to_string()), PgType::new(TypeOid::BPCHAR, typmod)))
    };
    if left.ty.typmod >= 0 {
        return padded(right, left.ty.typmod).map(|right| (left.clone(), right));
    }
    if right.ty.typmod >= 0 {
        return padded(left, right.ty.typmod).map(|left| (left, right.clone()));
    }
    None
}

/// `date test constant timestamp` as a comparison of dates.
fn date_bound(test: Test, date: &Lowered, timestamp: &Lowered) -> Option<Expr> {
    let ScalarValue::TimestampMicrosecond(Some(micros), None) = timestamp.literal()? else { return None };
    let micros = *micros;
    if micros == i64::MIN || micros == i64::MAX {
        return None;
    }
    let floor = i32::try_from(micros.div_euclid(MICROS_PER_DAY)).ok()?;
    let midnight = micros.rem_euclid(MICROS_PER_DAY) == 0;
    let bound =
        |operator: Operator, days: i32| Some(binary(date.expr.clone(), operator, lit(ScalarValue::Date32(Some(days)))));
    match test {
        Test::Eq if midnight => bound(Operator::Eq, floor),
        Test::Ne if midnight => bound(Operator::NotEq, floor),
        Test::Eq | Test::Ne => None,
        Test::Lt if midnight => bound(Operator::Lt, floor),
        Test::Lt | Test::Le => bound(Operator::LtEq, floor),
        Test::Ge if midnight => bound(Operator::GtEq, floor),
        Test::Gt | Test::Ge => bound(Operator::Gt, floor),
    }
}
