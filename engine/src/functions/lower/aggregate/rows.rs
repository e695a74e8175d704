//! Aggregates that look at one row after the other: numerics of any scale, intervals, string_agg, array_agg, …
//!
//! A [`Fold`] says what is computed. Folds with a small state merge partial states; with DISTINCT or ORDER BY, and for
//! folds that need all values, the rows are collected, then sorted and deduplicated, then folded.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};

use super::AggregateCall;
use super::ordered::{self, OrderedSet};
use super::statistics::overflow;
use crate::error::{Error, Result, SqlState};
use crate::functions::lower::into_datafusion_error;
use crate::functions::range::{self, Gather};
use crate::functions::{Function, array_shape};
use crate::types::arrow::{ColumnReader, to_scalar};
use crate::types::numeric::Numeric;
use crate::types::{Datum, Interval, PgType, TypeOid, codec, compare, interval};

/// What is computed over the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Fold {
    Sum,
    Average,
    Minimum,
    Maximum,
    /// Sample or population, square root or not.
    Variance {
        sample: bool,
        root: bool,
    },
    StringAgg,
    ArrayAgg,
    /// json_agg and jsonb_agg, of values that are JSON already; `lines`: each on a line of its own.
    JsonAgg {
        binary: bool,
        lines: bool,
    },
    /// json_object_agg and jsonb_object_agg, of keys and values that are JSON already.
    JsonObjectAgg {
        binary: bool,
    },
    Ordered(OrderedSet),
    RegressionCount,
    /// range_agg and range_intersect_agg.
    Ranges(Gather),
}

impl Fold {
    pub(super) fn of(function: &Function, arg: Option<TypeOid>) -> Option<Fold> {
        use TypeOid as T;
        let exact = matches!(arg, Some(T::INT2 | T::INT4 | T::INT8 | T::NUMERIC));
        let summable = exact || matches!(arg, Some(T::INTERVAL | T::FLOAT4 | T::FLOAT8));
        Some(match function.name {
            "sum" if summable || arg == Some(T::MONEY) => Fold::Sum,
            "avg" if summable => Fold::Average,
            "min" => Fold::Minimum,
            "max" => Fold::Maximum,
            "var_samp" | "variance" if exact => Fold::Variance { sample: true, root: false },
            "var_pop" if exact => Fold::Variance { sample: false, root: false },
            "stddev_samp" | "stddev" if exact => Fold::Variance { sample: true, root: true },
            "stddev_pop" if exact => Fold::Variance { sample: false, root: true },
            "string_agg" => Fold::StringAgg,
            "array_agg" => Fold::ArrayAgg,
            "json_agg" => Fold::JsonAgg { binary: false, lines: false },
            "jsonb_agg" => Fold::JsonAgg { binary: true, lines: false },
            "json_object_agg" => Fold::JsonObjectAgg { binary: false },
            "jsonb_object_agg" => Fold::JsonObjectAgg { binary: true },
            name if OrderedSet::of(name).is_some() => Fold::Ordered(OrderedSet::of(name)?),
            "regr_count" => Fold::RegressionCount,
            "range_agg" => Fold::Ranges(Gather::Union),
            "range_intersect_agg" => Fold::Ranges(Gather::Intersection),
            _ => return None,
        })
    }

    /// Types of the columns that carry a partial state; `None`: the rows themselves are the state.
    fn state_types(self, arg: PgType) -> Option<Vec<PgType>> {
        let numeric = PgType::from(TypeOid::NUMERIC);
        let count = PgType::from(TypeOid::INT8);
        Some(match self {
            Fold::Sum | Fold::Average => vec![sum_type(arg), count],
            Fold::Minimum | Fold::Maximum => vec![arg],
            Fold::Variance { .. } => vec![numeric, numeric, count],
            Fold::RegressionCount => vec![count],
            Fold::StringAgg
            | Fold::ArrayAgg
            | Fold::JsonAgg { .. }
            | Fold::JsonObjectAgg { .. }
            | Fold::Ordered(_)
            | Fold::Ranges(_) => return None,
        })
    }
}

fn sum_type(arg: PgType) -> PgType {
    match arg.oid {
        TypeOid::INTERVAL | TypeOid::FLOAT8 => arg.oid.into(),
        TypeOid::FLOAT4 => TypeOid::FLOAT8.into(),
        _ => TypeOid::NUMERIC.into(),
    }
}

#[derive(Debug, Clone)]
pub(super) struct RowAggregate {
    fold: Fold,
    /// Arguments, then sort keys.
    types: Vec<PgType>,
    args: usize,
    /// Of each sort key: descending, NULLs first.
    order: Vec<(bool, bool)>,
    distinct: bool,
    ret: PgType,
    name: String,
    signature: Signature,
}

impl PartialEq for RowAggregate {
    fn eq(&self, other: &Self) -> bool {
        (self.fold, &self.types, self.args, &self.order, self.distinct, self.ret)
            == (other.fold, &other.types, other.args, &other.order, other.distinct, other.ret)
    }
}

impl Eq for RowAggregate {}

impl Hash for RowAggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.fold, &self.types, self.args, &self.order, self.distinct, self.ret).hash(state);
    }
}

impl RowAggregate {
    pub(super) fn new(fold: Fold, call: &AggregateCall) -> RowAggregate {
        let keys = call.order_by.iter().map(|k| k.arg.ty);
        let types: Vec<PgType> = call.args.iter().map(|a| a.ty).chain(keys).collect();
        let extreme = matches!(fold, Fold::Minimum | Fold::Maximum);
        RowAggregate {
            fold,
            args: call.args.len(),
            order: call.order_by.iter().map(|k| (k.descending, k.nulls_first)).collect(),
            distinct: call.distinct && !extreme,
            ret: call.ret,
            name: call.function.name.to_string(),
            signature: Signature::any(types.len(), Volatility::Immutable),
            types,
        }
    }

    fn arg(&self) -> PgType {
        self.types.first().copied().unwrap_or(self.ret)
    }

    /// Whether the rows must be kept until the end.
    fn collects(&self) -> bool {
        self.distinct || !self.order.is_empty() || self.fold.state_types(self.arg()).is_none()
    }

    /// Collected rows travel as bytes, value after value.
    fn state_types(&self) -> Vec<PgType> {
        match self.fold.state_types(self.arg()) {
            Some(types) if !self.collects() => types,
            _ => vec![TypeOid::BYTEA.into()],
        }
    }
}

impl AggregateUDFImpl for RowAggregate {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> DfResult<DataType> {
        Ok(self.ret.arrow())
    }

    fn accumulator(&self, _args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        Ok(Box::new(Rows { aggregate: self.clone(), state: State::default(), rows: Vec::new(), slides: false }))
    }

    fn create_sliding_accumulator(&self, _args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        Ok(Box::new(Rows { aggregate: self.clone(), state: State::default(), rows: Vec::new(), slides: true }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        let types = self.state_types();
        let field = |(i, ty): (usize, &PgType)| Arc::new(Field::new(format!("{}[{i}]", args.name), ty.arrow(), true));
        Ok(types.iter().enumerate().map(field).collect())
    }
}

/// Running state of the folds that have one.
#[derive(Debug, Default)]
struct State {
    count: i64,
    sum: Option<Datum>,
    squares: Option<Numeric>,
    extreme: Option<Datum>,
}

#[derive(Debug)]
struct Rows {
    aggregate: RowAggregate,
    state: State,
    rows: Vec<Vec<Datum>>,
    /// Over a window frame whose first rows leave: the rows of the frame are kept, and folded for each result. No
    /// subtraction brings back what NaN, an infinity or a greatest value hid.
    slides: bool,
}

fn as_numeric(value: &Datum) -> Numeric {
    match value {
        Datum::Int2(v) => Numeric::from(*v),
        Datum::Int4(v) => Numeric::from(*v),
        Datum::Int8(v) => Numeric::from(*v),
        Datum::Numeric(v) => (**v).clone(),
        _ => Numeric::NaN,
    }
}

/// Sum of two values of one of [`sum_type`]'s types, the second possibly still of the argument's type.
fn add(a: Option<Datum>, b: &Datum) -> Result<Datum> {
    let lifted = match b {
        Datum::Interval(v) => Datum::Interval(*v),
        Datum::Float4(v) => Datum::Float8(f64::from(*v)),
        Datum::Float8(v) => Datum::Float8(*v),
        other => Datum::from(as_numeric(other)),
    };
    Ok(match (a, lifted) {
        (None, b) => b,
        (Some(Datum::Interval(a)), Datum::Interval(b)) => Datum::Interval(add_intervals(&a, &b)?),
        (Some(Datum::Float8(a)), Datum::Float8(b)) => match a + b {
            sum if sum.is_infinite() && a.is_finite() && b.is_finite() => return Err(overflow()),
            sum => Datum::Float8(sum),
        },
        (Some(Datum::Numeric(a)), Datum::Numeric(b)) => Datum::from(a.add(&b)),
        _ => return Err(Error::internal("a sum over values of two types")),
    })
}

fn add_intervals(a: &Interval, b: &Interval) -> Result<Interval> {
    let sum = (a.months.checked_add(b.months), a.days.checked_add(b.days), a.micros.checked_add(b.micros));
    match sum {
        (Some(months), Some(days), Some(micros)) => Ok(Interval { months, days, micros }),
        _ => Err(interval::out_of_range()),
    }
}

impl State {
    fn update(&mut self, fold: Fold, ty: PgType, row: &[Datum]) -> Result<()> {
        let Some(value) = row.first().filter(|v| !v.is_null()) else { return Ok(()) };
        match fold {
            Fold::Sum | Fold::Average => {
                self.sum = Some(add(self.sum.take(), value)?);
                self.count += 1;
            }
            Fold::Variance { .. } => {
                let number = as_numeric(value);
                let square = number.mul(&number);
                self.sum = Some(add(self.sum.take(), value)?);
                self.squares = Some(self.squares.take().map_or(square.clone(), |s| s.add(&square)));
                self.count += 1;
            }
            Fold::Minimum | Fold::Maximum => {
                let better = match &self.extreme {
                    None => true,
                    Some(best) => match compare::compare(value, best, ty) {
                        std::cmp::Ordering::Less => fold == Fold::Minimum,
                        std::cmp::Ordering::Greater => fold == Fold::Maximum,
                        std::cmp::Ordering::Equal => false,
                    },
                };
                if better {
                    self.extreme = Some(value.clone());
                }
            }
            Fold::RegressionCount => self.count += i64::from(row.iter().all(|v| !v.is_null())),
            Fold::StringAgg
            | Fold::ArrayAgg
            | Fold::JsonAgg { .. }
            | Fold::JsonObjectAgg { .. }
            | Fold::Ordered(_)
            | Fold::Ranges(_) => {}
        }
        Ok(())
    }

    fn parts(&self, fold: Fold) -> Vec<Datum> {
        let sum = self.sum.clone().unwrap_or(Datum::Null);
        match fold {
            Fold::Minimum | Fold::Maximum => vec![self.extreme.clone().unwrap_or(Datum::Null)],
            Fold::Variance { .. } => {
                vec![sum, self.squares.clone().map_or(Datum::Null, Datum::from), Datum::Int8(self.count)]
            }
            Fold::RegressionCount => vec![Datum::Int8(self.count)],
            _ => vec![sum, Datum::Int8(self.count)],
        }
    }

    fn merge(&mut self, fold: Fold, ty: PgType, parts: &[Datum]) -> Result<()> {
        match (fold, parts) {
            (Fold::Minimum | Fold::Maximum, [value]) => self.update(fold, ty, std::slice::from_ref(value)),
            (Fold::RegressionCount, [Datum::Int8(count)]) => {
                self.count += count;
                Ok(())
            }
            (_, [Datum::Null, ..]) => Ok(()),
            (Fold::Variance { .. }, [sum, Datum::Numeric(squares), Datum::Int8(count)]) => {
                self.sum = Some(add(self.sum.take(), sum)?);
                self.squares = Some(self.squares.take().map_or((**squares).clone(), |s| s.add(squares)));
                self.count += count;
                Ok(())
            }
            (_, [sum, Datum::Int8(count)]) => {
                self.sum = Some(add(self.sum.take(), sum)?);
                self.count += count;
                Ok(())
            }
            _ => Err(Error::internal("an aggregate's partial state has another shape")),
        }
    }

    fn finish(&self, fold: Fold, ret: PgType) -> Result<Datum> {
        if fold == Fold::RegressionCount {
            return Ok(Datum::Int8(self.count));
        }
        if let Some(extreme) = &self.extreme {
            return Ok(extreme.clone());
        }
        let Some(sum) = &self.sum else { return Ok(Datum::Null) };
        match (fold, sum) {
            (Fold::Sum, Datum::Numeric(v)) if matches!(ret.oid, TypeOid::INT8 | TypeOid::MONEY) => {
                let name = if ret.oid == TypeOid::INT8 { "bigint" } else { "money" };
                v.to_i64().map(Datum::Int8).ok_or_else(|| crate::functions::arithmetic::overflow(name))
            }
            (Fold::Sum, Datum::Float8(v)) if ret.oid == TypeOid::FLOAT4 => match *v as f32 {
                narrow if narrow.is_infinite() && v.is_finite() => Err(overflow()),
                narrow => Ok(Datum::Float4(narrow)),
            },
            (Fold::Sum, Datum::Numeric(v)) => v.as_ref().clone().in_format().map(Datum::from),
            (Fold::Sum, sum) => Ok(sum.clone()),
            (Fold::Average, Datum::Numeric(v)) => v.div(&Numeric::from(self.count)).map(Datum::from),
            (Fold::Average, Datum::Float8(v)) => Ok(Datum::Float8(v / self.count as f64)),
            (Fold::Average, Datum::Interval(v)) => {
                crate::functions::datetime::divide_interval(v, self.count as f64).map(Datum::Interval)
            }
            (Fold::Variance { sample, root }, Datum::Numeric(v)) => self.variance(v, sample, root),
            _ => Ok(Datum::Null),
        }
    }

    /// (N Σx² - (Σx)²) / (N (N - 1)) or / N², as numeric.c has it.
    fn variance(&self, sum: &Numeric, sample: bool, root: bool) -> Result<Datum> {
        let Some(squares) = &self.squares else { return Ok(Datum::Null) };
        if sample && self.count < 2 {
            return Ok(Datum::Null);
        }
        let n = Numeric::from(self.count);
        let numerator = n.mul(squares).sub(&sum.mul(sum));
        if numerator.is_finite() && numerator.signum() <= 0 {
            return Ok(Datum::from(Numeric::zero()));
        }
        let divisor = n.mul(&Numeric::from(if sample { self.count - 1 } else { self.count }));
        let variance = numerator.div(&divisor)?;
        let result = if root { variance.sqrt_scaled(variance.scale())? } else { variance };
        Ok(Datum::from(result))
    }
}

impl Rows {
    fn each_row(
        &self,
        columns: &[ArrayRef],
        types: &[PgType],
        mut f: impl FnMut(Vec<Datum>) -> Result<()>,
    ) -> Result<()> {
        let readers: Result<Vec<ColumnReader<'_>>> =
            columns.iter().zip(types).map(|(c, t)| ColumnReader::new(c.as_ref(), *t)).collect();
        let readers = readers?;
        for row in 0..columns.first().map_or(0, |c| c.len()) {
            f(readers.iter().map(|r| r.get(row)).collect())?;
        }
        Ok(())
    }

    fn update(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let aggregate = self.aggregate.clone();
        let mut state = std::mem::take(&mut self.state);
        let mut rows = std::mem::take(&mut self.rows);
        let slides = self.slides;
        let result = self.each_row(columns, &aggregate.types, |row| {
            if slides || aggregate.collects() {
                rows.push(row);
                return Ok(());
            }
            state.update(aggregate.fold, aggregate.arg(), &row)
        });
        (self.state, self.rows) = (state, rows);
        result
    }

    fn merge(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let aggregate = self.aggregate.clone();
        let types = aggregate.state_types();
        let mut state = std::mem::take(&mut self.state);
        let mut rows = std::mem::take(&mut self.rows);
        let result = self.each_row(columns, &types, |parts| {
            if !aggregate.collects() {
                return state.merge(aggregate.fold, aggregate.arg(), &parts);
            }
            let Some(Datum::Bytea(bytes)) = parts.first() else { return Ok(()) };
            let mut rest: &[u8] = bytes;
            while !rest.is_empty() {
                let row: Option<Vec<Datum>> = aggregate.types.iter().map(|_| codec::read(&mut rest)).collect();
                rows.push(row.ok_or_else(|| Error::internal("an aggregate's rows have another shape"))?);
            }
            Ok(())
        });
        (self.state, self.rows) = (state, rows);
        result
    }

    fn parts(&self) -> Result<Vec<ScalarValue>> {
        let types = self.aggregate.state_types();
        let parts: Vec<Datum> = if self.aggregate.collects() {
            let mut bytes = Vec::new();
            self.rows.iter().flatten().for_each(|value| codec::put(&mut bytes, value));
            vec![Datum::from(bytes)]
        } else {
            self.state.parts(self.aggregate.fold)
        };
        parts.iter().zip(&types).map(|(value, ty)| to_scalar_or_null(value, *ty)).collect()
    }

    fn finish(&self) -> Result<Datum> {
        let aggregate = &self.aggregate;
        if !aggregate.collects() && !self.slides {
            return self.state.finish(aggregate.fold, aggregate.ret);
        }
        let rows = self.sorted();
        match aggregate.fold {
            Fold::StringAgg => Ok(string_agg(&rows)),
            Fold::ArrayAgg if rows.is_empty() => Ok(Datum::Null),
            Fold::ArrayAgg => array_agg(&rows, aggregate.arg()),
            Fold::JsonAgg { binary, lines } => json_agg(&rows, binary, lines),
            Fold::JsonObjectAgg { binary } => json_object_agg(&rows, binary),
            Fold::Ranges(gather) => range::gather(gather, &rows, aggregate.arg()),
            Fold::Ordered(set) => {
                let columns = ordered::Columns {
                    direct: aggregate.args,
                    types: &aggregate.types,
                    order: &aggregate.order,
                    ret: aggregate.ret,
                };
                ordered::finish(set, &rows, &columns)
            }
            fold => {
                let mut state = State::default();
                for row in &rows {
                    state.update(fold, aggregate.arg(), row)?;
                }
                state.finish(fold, aggregate.ret)
            }
        }
    }

    /// The collected rows in order, duplicates (of the arguments) dropped.
    fn sorted(&self) -> Vec<Vec<Datum>> {
        let aggregate = &self.aggregate;
        let mut rows = self.rows.clone();
        if aggregate.distinct {
            let mut seen = HashSet::new();
            rows.retain(|row| {
                let mut key = Vec::new();
                for (value, ty) in row.iter().zip(&aggregate.types).take(aggregate.args) {
                    compare::encode_key(value, *ty, &mut key);
                }
                seen.insert(key)
            });
        }
        let args: Vec<(usize, bool, bool)> = if aggregate.order.is_empty() && aggregate.distinct {
            // PostgreSQL finds duplicates by sorting.
            (0..aggregate.args).map(|i| (i, false, false)).collect()
        } else {
            aggregate.order.iter().enumerate().map(|(i, (d, n))| (aggregate.args + i, *d, *n)).collect()
        };
        rows.sort_by(|a, b| {
            args.iter()
                .map(|(i, descending, nulls_first)| {
                    let (Some(a), Some(b), Some(ty)) = (a.get(*i), b.get(*i), aggregate.types.get(*i)) else {
                        return std::cmp::Ordering::Equal;
                    };
                    ordered::sorted_order(a, b, *ty, *descending, *nulls_first)
                })
                .find(|o| o.is_ne())
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        rows
    }
}

fn to_scalar_or_null(value: &Datum, ty: PgType) -> Result<ScalarValue> {
    if value.is_null() {
        return ScalarValue::try_new_null(&ty.arrow()).map_err(|e| Error::internal(e.to_string()));
    }
    to_scalar(value, ty)
}

/// Values joined by the delimiters of their rows; NULLs skipped, NULL if there are none.
fn string_agg(rows: &[Vec<Datum>]) -> Datum {
    let mut text: Option<String> = None;
    let mut bytes: Option<Vec<u8>> = None;
    for row in rows {
        match (row.first(), row.get(1)) {
            (Some(Datum::Text(value)), delimiter) => match &mut text {
                Some(out) => {
                    if let Some(Datum::Text(delimiter)) = delimiter {
                        out.push_str(delimiter);
                    }
                    out.push_str(value);
                }
                None => text = Some(value.to_string()),
            },
            (Some(Datum::Bytea(value)), delimiter) => match &mut bytes {
                Some(out) => {
                    if let Some(Datum::Bytea(delimiter)) = delimiter {
                        out.extend_from_slice(delimiter);
                    }
                    out.extend_from_slice(value);
                }
                None => bytes = Some(value.to_vec()),
            },
            _ => {}
        }
    }
    text.map(Datum::from).or_else(|| bytes.map(Datum::from)).unwrap_or(Datum::Null)
}

/// The first values of the rows; arrays become the parts of one with a dimension more.
fn array_agg(rows: &[Vec<Datum>], ty: PgType) -> Result<Datum> {
    let values: Vec<Datum> = rows.iter().filter_map(|r| r.first().cloned()).collect();
    if ty.oid.element().is_none() {
        return Ok(Datum::from(values));
    }
    for value in &values {
        match value {
            Datum::Null => return Err(Error::new(SqlState::NullValueNotAllowed, "cannot accumulate null arrays")),
            Datum::Array(array) if array.is_empty() => {
                return Err(Error::new(SqlState::ArraySubscriptError, "cannot accumulate empty arrays"));
            }
            _ => {}
        }
    }
    let stacked = array_shape::stack(&values).map_err(|error| match error.state() {
        SqlState::ArraySubscriptError => {
            Error::new(SqlState::ArraySubscriptError, "cannot accumulate arrays of different dimensionality")
        }
        _ => error,
    });
    stacked.map(Datum::from)
}

/// `[v, v, …]` of JSON values.
fn json_agg(rows: &[Vec<Datum>], binary: bool, lines: bool) -> Result<Datum> {
    if rows.is_empty() {
        return Ok(Datum::Null);
    }
    let mut out = String::from("[");
    for (i, row) in rows.iter().enumerate() {
        if i > 0 {
            out.push_str(if lines && !binary { ", \n " } else { ", " });
        }
        out.push_str(json_text(row.first()));
    }
    out.push(']');
    Ok(if binary { Datum::from(crate::types::json::normalize(&out)?) } else { Datum::from(out) })
}

fn json_text(value: Option<&Datum>) -> &str {
    match value {
        Some(Datum::Text(text)) => text,
        _ => "null",
    }
}

/// `{ "k" : v, … }` of JSON keys and values; a key that is no string becomes one.
fn json_object_agg(rows: &[Vec<Datum>], binary: bool) -> Result<Datum> {
    if rows.is_empty() {
        return Ok(Datum::Null);
    }
    let invalid = |message: &str| Error::new(SqlState::InvalidParameterValue, message);
    let mut out = String::from("{ ");
    for (i, row) in rows.iter().enumerate() {
        let Some(Datum::Text(key)) = row.first() else {
            return Err(invalid("field name must not be null"));
        };
        if key.starts_with(['[', '{']) {
            return Err(invalid("key value must be scalar, not array, composite, or json"));
        }
        if i > 0 {
            out.push_str(", ");
        }
        if key.starts_with('"') {
            out.push_str(key);
        } else {
            out.extend(["\"", key, "\""]);
        }
        out.push_str(" : ");
        out.push_str(json_text(row.get(1)));
    }
    out.push_str(" }");
    Ok(if binary { Datum::from(crate::types::json::normalize(&out)?) } else { Datum::from(out) })
}

impl Accumulator for Rows {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.update(values).map_err(into_datafusion_error)
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let value = self.finish().map_err(into_datafusion_error)?;
        to_scalar_or_null(&value, self.aggregate.ret).map_err(into_datafusion_error)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.rows.iter().map(|r| r.capacity() * size_of::<Datum>() + 32).sum::<usize>()
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        self.parts().map_err(into_datafusion_error)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let left = values.first().map_or(0, |column| column.len());
        self.rows.drain(..left.min(self.rows.len()));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        self.slides
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        self.merge(states).map_err(into_datafusion_error)
    }
}
