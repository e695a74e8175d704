//! Window calls whose frames leave out rows near the current one, for which DataFusion has no form, sums of floats over frames
//! that begin ever later, from which it would subtract what has left, and numbers of rows that are no constants. A UDF is handed each partition
//! whole, in its order, and finds the rows of each frame itself.
//!
//! Price: an aggregate is computed anew over each frame, so that a large partition takes long: between two rows it looks whether its
//! query was given up.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering as Memory};

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema};
use datafusion::common::{DataFusionError, Result as DfResult, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{AggregateUDF, PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;

use crate::error::{Error, Result, SqlState};
use crate::functions::lower::into_datafusion_error;
use crate::query::runtime::Stop;
use crate::sql::rel::{Exclusion, FrameUnits};
use crate::types::arrow::ColumnReader;
use crate::types::{Datum, PgType, compare};

/// What is computed over the rows of a frame.
#[derive(Debug, Clone)]
pub(super) enum What {
    Aggregate(Arc<AggregateUDF>),
    FirstValue,
    LastValue,
    /// The second argument says which.
    NthValue,
    /// Of a row that lies as far behind the current one as the second argument says; the third is for where there is none.
    Lead,
    Lag,
    /// Which of as many parts of the partition as the argument says.
    Ntile,
}

impl What {
    pub fn of(function: &str) -> Option<What> {
        Some(match function {
            "first_value" => What::FirstValue,
            "last_value" => What::LastValue,
            "nth_value" => What::NthValue,
            "lead" => What::Lead,
            "lag" => What::Lag,
            "ntile" => What::Ntile,
            _ => return None,
        })
    }
}

/// Where a frame begins or ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Edge {
    Unbounded,
    Current,
    /// Rows or groups before (negative) or behind the current one.
    Offset(i64),
    /// The value that an argument has.
    Value,
}

/// A call, and how its arguments lie: those of the function, the filter, the keys of the order, the key of RANGE with its values.
#[derive(Debug, Clone)]
pub(super) struct Framed {
    pub what: What,
    pub units: FrameUnits,
    pub start: Edge,
    pub end: Edge,
    pub exclude: Exclusion,
    pub args: usize,
    pub filtered: bool,
    pub keys: Vec<PgType>,
    pub range: Option<PgType>,
    pub descending: bool,
    pub ret: DataType,
    pub stop: Stop,
}

#[derive(Debug)]
struct FramedUdf {
    /// Two calls are the same only if they are one, and their names tell so: DataFusion knows windows by them.
    id: u64,
    name: String,
    call: Framed,
    signature: Signature,
}

impl PartialEq for FramedUdf {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for FramedUdf {}

impl Hash for FramedUdf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

pub(super) fn udf(call: Framed, arguments: usize) -> WindowUDF {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let signature = match arguments {
        0 => Signature::nullary(Volatility::Immutable),
        n => Signature::any(n, Volatility::Immutable),
    };
    let id = NEXT.fetch_add(1, Memory::Relaxed);
    WindowUDF::from(FramedUdf { id, name: format!("framed_{id}"), call, signature })
}

impl WindowUDFImpl for FramedUdf {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, _: PartitionEvaluatorArgs<'_>) -> DfResult<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Evaluator(self.call.clone())))
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> DfResult<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), self.call.ret.clone(), true)))
    }
}

#[derive(Debug)]
struct Evaluator(Framed);

impl PartitionEvaluator for Evaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> DfResult<ArrayRef> {
        let call = &self.0;
        let frames = Frames::new(call, values, rows).map_err(into_datafusion_error)?;
        let filter = match call.filtered {
            true => values.get(call.args).and_then(|f| f.as_boolean_opt()),
            false => None,
        };
        let passes = |row: usize| filter.is_none_or(|f| f.is_valid(row) && f.value(row));
        let args = values.get(..call.args).unwrap_or_default();
        let mut aggregate = match &call.what {
            What::Aggregate(function) => Some(Aggregation::new(function, args, &call.ret)),
            _ => None,
        };
        let mut parts = Parts::default();
        let mut out = Vec::with_capacity(rows);
        for row in 0..rows {
            call.stop.check().map_err(into_datafusion_error)?;
            let mut inside = frames.rows(row).filter(|row| passes(*row));
            out.push(match (&call.what, &mut aggregate) {
                (_, Some(aggregate)) => aggregate.over(args, inside)?,
                (What::LastValue, _) => picked(args, frames.rows(row).last(), &call.ret)?,
                (What::NthValue, _) => match number(args, 1, row) {
                    Some(n) if n > 0 => picked(args, inside.nth(n as usize - 1), &call.ret)?,
                    Some(_) => return Err(not_positive("nth_value", SqlState::InvalidArgumentForNthValue)),
                    None => ScalarValue::try_new_null(&call.ret)?,
                },
                (What::Lead | What::Lag, _) => {
                    let distance = if args.len() > 1 { number(args, 1, row) } else { Some(1) };
                    let from = |n: i64| match call.what {
                        What::Lag => (row as i64).checked_sub(n),
                        _ => (row as i64).checked_add(n),
                    };
                    match distance.map(|n| from(n).and_then(|at| usize::try_from(at).ok()).filter(|at| *at < rows)) {
                        None => ScalarValue::try_new_null(&call.ret)?,
                        Some(Some(at)) => picked(args, Some(at), &call.ret)?,
                        Some(None) => picked(args.get(2..).unwrap_or_default(), Some(row), &call.ret)?,
                    }
                }
                (What::Ntile, _) => parts.next(number(args, 0, row), rows)?,
                _ => picked(args, inside.next(), &call.ret)?,
            });
        }
        match out.is_empty() {
            true => Ok(arrow::array::new_empty_array(&call.ret)),
            false => ScalarValue::iter_to_array(out),
        }
    }
}

fn not_positive(function: &str, state: SqlState) -> DataFusionError {
    into_datafusion_error(Error::new(state, format!("argument of {function} must be greater than zero")))
}

/// An argument that is a number, at a row.
fn number(args: &[ArrayRef], at: usize, row: usize) -> Option<i64> {
    let numbers = args.get(at)?.as_primitive_opt::<Int64Type>()?;
    numbers.is_valid(row).then(|| numbers.value(row))
}

/// Parts of a partition that differ by one row at most. How many there are says the first row whose argument is not NULL.
#[derive(Default)]
struct Parts {
    /// The part at hand; 0: none yet.
    part: i64,
    /// Rows that it has, and that it is to have.
    inside: i64,
    size: i64,
    /// How many of the first parts have one row more.
    longer: i64,
}

impl Parts {
    fn next(&mut self, count: Option<i64>, rows: usize) -> DfResult<ScalarValue> {
        if self.part == 0 {
            let Some(count) = count else { return Ok(ScalarValue::Int32(None)) };
            if count <= 0 {
                return Err(not_positive("ntile", SqlState::InvalidArgumentForNtile));
            }
            let rows = rows as i64;
            self.part = 1;
            (self.size, self.longer) = if rows < count { (1, 0) } else { (rows / count, rows % count) };
            self.size += i64::from(self.longer > 0);
        }
        self.inside += 1;
        if self.inside > self.size {
            self.part += 1;
            self.inside = 1;
            self.size -= i64::from(self.longer > 0 && self.part == self.longer + 1);
        }
        Ok(ScalarValue::Int32(i32::try_from(self.part).ok()))
    }
}

fn picked(args: &[ArrayRef], row: Option<usize>, ret: &DataType) -> DfResult<ScalarValue> {
    match (args.first(), row) {
        (Some(values), Some(row)) => ScalarValue::try_from_array(values, row),
        _ => ScalarValue::try_new_null(ret),
    }
}

/// An aggregate over rows of its arguments.
struct Aggregation<'a> {
    function: &'a AggregateUDF,
    schema: Schema,
    fields: Vec<FieldRef>,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    ret: FieldRef,
}

impl<'a> Aggregation<'a> {
    fn new(function: &'a AggregateUDF, args: &[ArrayRef], ret: &DataType) -> Aggregation<'a> {
        let fields: Vec<FieldRef> = args
            .iter()
            .enumerate()
            .map(|(i, array)| Arc::new(Field::new(i.to_string(), array.data_type().clone(), true)))
            .collect();
        let exprs = fields.iter().enumerate().map(|(i, f)| Arc::new(Column::new(f.name(), i)) as _).collect();
        let schema = Schema::new(fields.clone());
        Aggregation { function, schema, fields, exprs, ret: Arc::new(Field::new("value", ret.clone(), true)) }
    }

    fn over(&mut self, args: &[ArrayRef], rows: impl Iterator<Item = usize>) -> DfResult<ScalarValue> {
        let mut accumulator = self.function.accumulator(AccumulatorArgs {
            return_field: self.ret.clone(),
            schema: &self.schema,
            ignore_nulls: false,
            order_bys: &[],
            is_reversed: false,
            name: "framed",
            is_distinct: false,
            exprs: &self.exprs,
            expr_fields: &self.fields,
        })?;
        let rows = UInt32Array::from_iter_values(rows.map(|row| row as u32));
        if !rows.is_empty() {
            let taken = args.iter().map(|array| take(array, &rows, None)).collect::<Result<Vec<_>, _>>()?;
            accumulator.update_batch(&taken)?;
        }
        accumulator.evaluate()
    }
}

/// The frames of a partition's rows.
struct Frames<'a> {
    call: &'a Framed,
    rows: usize,
    /// Of each row, its group of peers; and the groups.
    group_of: Vec<usize>,
    groups: Vec<Range<usize>>,
    /// RANGE with offsets: keys, and the first and last one of each row's frame.
    key: Vec<Datum>,
    first: Vec<Datum>,
    last: Vec<Datum>,
}

impl<'a> Frames<'a> {
    fn new(call: &'a Framed, values: &[ArrayRef], rows: usize) -> Result<Frames<'a>> {
        let mut at = call.args + usize::from(call.filtered);
        let mut column = |ty: PgType| -> Result<Vec<Datum>> {
            let array = values.get(at);
            at += 1;
            let array = array.ok_or_else(|| Error::internal("a window call lacks an argument"))?;
            let reader = ColumnReader::new(array.as_ref(), ty)?;
            Ok((0..rows).map(|row| reader.get(row)).collect())
        };
        let keys = call.keys.iter().map(|ty| Ok((column(*ty)?, *ty))).collect::<Result<Vec<_>>>()?;
        let peers = |a: usize, b: usize| {
            keys.iter()
                .all(|(key, ty)| key.get(a).zip(key.get(b)).is_some_and(|(a, b)| order(a, b, *ty) == Ordering::Equal))
        };
        let (mut group_of, mut groups) = (Vec::with_capacity(rows), Vec::<Range<usize>>::new());
        for row in 0..rows {
            match groups.last_mut() {
                Some(group) if peers(row - 1, row) => group.end = row + 1,
                _ => groups.push(row..row + 1),
            }
            group_of.push(groups.len() - 1);
        }
        let (mut key, mut first, mut last) = (Vec::new(), Vec::new(), Vec::new());
        if let Some(ty) = call.range {
            key = column(ty)?;
            if matches!(call.start, Edge::Value) {
                first = column(ty)?;
            }
            if matches!(call.end, Edge::Value) {
                last = column(ty)?;
            }
        }
        Ok(Frames { call, rows, group_of, groups, key, first, last })
    }

    fn group(&self, row: usize) -> Range<usize> {
        self.group_of.get(row).and_then(|g| self.groups.get(*g)).cloned().unwrap_or(row..row + 1)
    }

    /// The rows of a row's frame in their order.
    fn rows(&self, row: usize) -> impl DoubleEndedIterator<Item = usize> + use<'_> {
        let group = self.group(row);
        let (start, end) = (self.start(row), self.end(row));
        let excluded = move |other: usize| match self.call.exclude {
            Exclusion::NoOthers => false,
            Exclusion::CurrentRow => other == row,
            Exclusion::Group => group.contains(&other),
            Exclusion::Ties => other != row && group.contains(&other),
        };
        (start..end.max(start)).filter(move |other| !excluded(*other))
    }

    fn start(&self, row: usize) -> usize {
        match (self.call.start, self.call.units) {
            (Edge::Unbounded, _) => 0,
            (Edge::Current, FrameUnits::Rows) => row,
            (Edge::Current, _) => self.group(row).start,
            (Edge::Offset(n), FrameUnits::Groups) => match self.group_at(row, n) {
                Some(group) => group.start,
                None if n < 0 => 0,
                None => self.rows,
            },
            (Edge::Offset(n), _) => (row as i64).saturating_add(n).clamp(0, self.rows as i64) as usize,
            (Edge::Value, _) => match self.bound(row, &self.first) {
                None => self.group(row).start,
                Some((ty, bound)) => {
                    let before =
                        |row: usize| self.key.get(row).is_some_and(|key| self.along(key, bound, ty) == Ordering::Less);
                    self.values().find(|row| !before(*row)).unwrap_or(self.rows)
                }
            },
        }
    }

    /// Behind the last row of the frame.
    fn end(&self, row: usize) -> usize {
        match (self.call.end, self.call.units) {
            (Edge::Unbounded, _) => self.rows,
            (Edge::Current, FrameUnits::Rows) => row + 1,
            (Edge::Current, _) => self.group(row).end,
            (Edge::Offset(n), FrameUnits::Groups) => match self.group_at(row, n) {
                Some(group) => group.end,
                None if n < 0 => 0,
                None => self.rows,
            },
            (Edge::Offset(n), _) => {
                (row as i64).saturating_add(n).saturating_add(1).clamp(0, self.rows as i64) as usize
            }
            (Edge::Value, _) => match self.bound(row, &self.last) {
                None => self.group(row).end,
                Some((ty, bound)) => {
                    let behind = |row: usize| {
                        self.key.get(row).is_some_and(|key| self.along(key, bound, ty) == Ordering::Greater)
                    };
                    self.values().rev().find(|row| !behind(*row)).map_or(0, |row| row + 1)
                }
            },
        }
    }

    /// The group that lies `n` from a row's own.
    fn group_at(&self, row: usize, n: i64) -> Option<Range<usize>> {
        let at = (*self.group_of.get(row)? as i64).checked_add(n)?;
        self.groups.get(usize::try_from(at).ok()?).cloned()
    }

    /// Rows whose key is not NULL: NULLs are near to NULLs alone.
    fn values(&self) -> impl DoubleEndedIterator<Item = usize> + use<'_> {
        (0..self.rows).filter(|row| self.key.get(*row).is_some_and(|key| !key.is_null()))
    }

    /// `None`: the row's key is NULL.
    fn bound<'b>(&self, row: usize, bounds: &'b [Datum]) -> Option<(PgType, &'b Datum)> {
        let bound = bounds.get(row).filter(|bound| !bound.is_null())?;
        Some((self.call.range?, bound))
    }

    /// The order of two keys in the direction of the window's.
    fn along(&self, a: &Datum, b: &Datum, ty: PgType) -> Ordering {
        let order = order(a, b, ty);
        if self.call.descending { order.reverse() } else { order }
    }
}

fn order(a: &Datum, b: &Datum, ty: PgType) -> Ordering {
    match (a.is_null(), b.is_null()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => compare::compare(a, b, ty),
    }
}
