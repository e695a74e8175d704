//! Aggregates as DataFusion runs them.
//!
//! DataFusion's own where they agree with PostgreSQL (count, min, max, booleans, bits); [`ExactSum`] for sums and
//! averages of integers and Decimal128; [`FloatSum`] and [`statistics`] for those of floats; [`rows`] for the rest.
//! DISTINCT and ORDER BY of the latter are done by collecting the rows, so that it does not matter how partial results
//! meet.

mod exact;
mod float_sum;
mod ordered;
mod rows;
mod statistics;

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::functions_aggregate as df;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{AggregateUDF, Expr, cast as arrow_cast, lit};

use super::Lowered;
use crate::error::Result;
use crate::functions::Function;
use crate::types::{PgType, TypeOid};

use exact::ExactSum;
use float_sum::FloatSum;
use rows::{Fold, RowAggregate};
use statistics::FloatStatistics;

/// One key of an aggregate's ORDER BY.
#[derive(Debug, Clone)]
pub struct OrderKey {
    pub arg: Lowered,
    pub descending: bool,
    pub nulls_first: bool,
}

/// A call of an aggregate: `args` have the declared types (none for `count(*)`).
#[derive(Debug, Clone)]
pub struct AggregateCall {
    pub function: Arc<Function>,
    pub args: Vec<Lowered>,
    pub distinct: bool,
    pub filter: Option<Expr>,
    pub order_by: Vec<OrderKey>,
    pub ret: PgType,
}

/// The aggregate expression and the layout of its result.
pub fn aggregate(call: AggregateCall) -> Result<Lowered> {
    if let Some(native) = native(&call)? {
        return Ok(native);
    }
    let lines = call.args.first().is_some_and(|a| a.ty.oid.is_row() || a.ty.oid.element().is_some());
    let call = as_json(call)?;
    let function = &call.function;
    let first = call.args.first();
    let plain = !call.distinct && call.order_by.is_empty();
    if let (Some(arg), "sum" | "avg", true) = (first, function.name, plain)
        && let Some(sum) = ExactSum::new(function.name == "avg", &arg.arrow, call.ret)
    {
        let arrow = sum.result();
        return Ok(expression(&call, AggregateUDF::new_from_impl(sum), vec![arg.expr.clone()], arrow));
    }
    let fold = Fold::of(function, first.map(|a| a.ty.oid)).ok_or_else(|| function.unsupported())?;
    let fold = match fold {
        Fold::JsonAgg { binary, .. } => Fold::JsonAgg { binary, lines },
        fold => fold,
    };
    let udaf = RowAggregate::new(fold, &call);
    let args = call.args.iter().chain(call.order_by.iter().map(|k| &k.arg)).map(|a| a.expr.clone()).collect();
    let arrow = call.ret.arrow();
    Ok(expression(&call, AggregateUDF::new_from_impl(udaf), args, arrow))
}

/// The arguments of aggregates that build JSON, turned into JSON before they are collected.
fn as_json(mut call: AggregateCall) -> Result<AggregateCall> {
    if !matches!(call.function.name, "json_agg" | "jsonb_agg" | "json_object_agg" | "jsonb_object_agg") {
        return Ok(call);
    }
    let to_json = super::super::registry().lookup("to_json").first().cloned();
    let to_json = to_json.ok_or_else(|| crate::Error::internal("to_json is not in the registry"))?;
    if call.distinct && call.order_by.is_empty() {
        // Duplicates are found by sorting the values, not what is written of them.
        let key = |arg: &Lowered| OrderKey { arg: arg.clone(), descending: false, nulls_first: false };
        call.order_by = call.args.iter().map(key).collect();
    }
    for arg in &mut call.args {
        if !matches!(arg.ty.oid, TypeOid::JSON | TypeOid::JSONB) {
            *arg = super::call(&to_json, vec![arg.clone()], TypeOid::JSON.into())?;
        }
    }
    Ok(call)
}

fn expression(call: &AggregateCall, udaf: impl Into<Arc<AggregateUDF>>, args: Vec<Expr>, arrow: DataType) -> Lowered {
    // Own aggregates do DISTINCT and ORDER BY themselves.
    with_distinct(call, udaf, args, false, arrow)
}

fn with_distinct(
    call: &AggregateCall,
    udaf: impl Into<Arc<AggregateUDF>>,
    args: Vec<Expr>,
    distinct: bool,
    arrow: DataType,
) -> Lowered {
    let filter = call.filter.clone().map(Box::new);
    let expr = AggregateFunction::new_udf(udaf.into(), args, distinct, filter, Vec::new(), None);
    Lowered::new(Expr::AggregateFunction(expr), call.ret, arrow)
}

fn as_float8(arg: &Lowered) -> Expr {
    match arg.arrow {
        DataType::Float64 => arg.expr.clone(),
        _ => arrow_cast(arg.expr.clone(), DataType::Float64),
    }
}

/// Aggregates that DataFusion computes as PostgreSQL does.
fn native(call: &AggregateCall) -> Result<Option<Lowered>> {
    let float = |oid: TypeOid| matches!(oid, TypeOid::FLOAT4 | TypeOid::FLOAT8);
    let declared = call.function.args.first().copied();
    let plain = |udaf: Arc<AggregateUDF>, arrow: DataType| {
        let args = call.args.iter().map(|a| a.expr.clone()).collect();
        Ok(Some(with_distinct(call, udaf, args, false, arrow)))
    };
    let floats = |udaf: AggregateUDF, arrow: DataType| {
        let args = call.args.iter().map(as_float8).collect();
        Ok(Some(with_distinct(call, udaf, args, false, arrow)))
    };
    let Some(arg) = call.args.first() else {
        let ones = vec![lit(1i64)];
        return Ok((call.function.name == "count")
            .then(|| with_distinct(call, df::count::count_udaf(), ones, false, DataType::Int64)));
    };
    match (call.function.name, declared) {
        ("count", _) => {
            let counted = if call.distinct { super::key(arg).unwrap_or_else(|| arg.clone()) } else { arg.clone() };
            Ok(Some(with_distinct(call, df::count::count_udaf(), vec![counted.expr], call.distinct, DataType::Int64)))
        }
        // DataFusion's start from the greatest and least finite number, and pass over NaN.
        ("min" | "max", _) if arg.arrow.is_floating() => Ok(None),
        ("min", _) if ordered_by_arrow(arg) => plain(df::min_max::min_udaf(), arg.arrow.clone()),
        ("max", _) if ordered_by_arrow(arg) => plain(df::min_max::max_udaf(), arg.arrow.clone()),
        ("bool_and" | "every", _) => plain(df::bool_and_or::bool_and_udaf(), DataType::Boolean),
        ("bool_or", _) => plain(df::bool_and_or::bool_or_udaf(), DataType::Boolean),
        ("bit_and", _) if integer(&arg.arrow) => plain(df::bit_and_or_xor::bit_and_udaf(), arg.arrow.clone()),
        ("bit_or", _) if integer(&arg.arrow) => plain(df::bit_and_or_xor::bit_or_udaf(), arg.arrow.clone()),
        ("bit_xor", _) if integer(&arg.arrow) && !call.distinct => {
            plain(df::bit_and_or_xor::bit_xor_udaf(), arg.arrow.clone())
        }
        // Their rounding shows the order of the values.
        ("sum" | "avg", Some(oid)) if float(oid) && !call.order_by.is_empty() => Ok(None),
        (name @ ("sum" | "avg"), Some(oid)) if float(oid) && !call.distinct => {
            let sum = FloatSum::new(name == "avg", oid);
            let arrow = sum.result();
            floats(AggregateUDF::new_from_impl(sum), arrow)
        }
        (name, Some(oid)) if float(oid) && !call.distinct => match FloatStatistics::new(name) {
            Some(statistics) => floats(AggregateUDF::new_from_impl(statistics), DataType::Float64),
            None => Ok(None),
        },
        _ => Ok(None),
    }
}

fn integer(arrow: &DataType) -> bool {
    matches!(arrow, DataType::Int16 | DataType::Int32 | DataType::Int64)
}

/// Types whose extremes Arrow finds as PostgreSQL does.
fn ordered_by_arrow(arg: &Lowered) -> bool {
    use DataType as D;
    let unsigned = matches!(arg.ty.oid, TypeOid::PG_LSN | TypeOid::XID8);
    match arg.arrow {
        _ if arg.ty.oid.element().is_some() => false,
        D::Int16 | D::Int32 | D::Int64 => !unsigned,
        D::Utf8 if arg.ty.oid == TypeOid::CITEXT => false,
        D::Utf8 => arg.ty.oid != TypeOid::BPCHAR || arg.ty.typmod >= 0,
        D::UInt32
        | D::Float32
        | D::Float64
        | D::Decimal128(..)
        | D::Date32
        | D::Time64(_)
        | D::Timestamp(..)
        | D::Binary => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
