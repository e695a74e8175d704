//! Sums and averages of floats as PostgreSQL makes them: an infinite result of finite values is an error (22003), and
//! float4 is added as float4. An average brings its sum of squares along, which overflows before the sum does.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility};

use super::statistics::{floats, overflow, settled};
use crate::error::{Error, Result};
use crate::functions::lower::into_datafusion_error;
use crate::types::TypeOid;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Output {
    Float4,
    Float8,
    Average,
}

/// `sum` and `avg` of float4 and float8. The argument is a Float64 in any case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct FloatSum {
    output: Output,
    signature: Signature,
}

impl FloatSum {
    pub(super) fn new(average: bool, arg: TypeOid) -> FloatSum {
        let output = match (average, arg) {
            (true, _) => Output::Average,
            (false, TypeOid::FLOAT4) => Output::Float4,
            (false, _) => Output::Float8,
        };
        FloatSum { output, signature: Signature::any(1, Volatility::Immutable) }
    }

    pub(super) fn result(&self) -> DataType {
        match self.output {
            Output::Float4 => DataType::Float32,
            Output::Float8 | Output::Average => DataType::Float64,
        }
    }

    fn sums(&self) -> Sums {
        Sums { output: self.output, groups: Vec::new() }
    }
}

impl AggregateUDFImpl for FloatSum {
    fn name(&self) -> &str {
        match self.output {
            Output::Average => "avg",
            Output::Float8 => "sum",
            // DataFusion may sum what a "sum" yields with the same function, and this one takes a Float64.
            Output::Float4 => "float4_sum",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> DfResult<DataType> {
        Ok(self.result())
    }

    fn accumulator(&self, _args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        Ok(Box::new(self.sums()))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        let field = |part: &str, ty: DataType| Arc::new(Field::new(format!("{}[{part}]", args.name), ty, true));
        Ok(vec![field("count", DataType::Int64), field("sum", DataType::Float64), field("squares", DataType::Float64)])
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _args: AccumulatorArgs<'_>) -> DfResult<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(self.sums()))
    }
}

/// The values of one group: how many, their sum, and the sum of squares of what they differ from their mean by, which
/// only an average has.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    count: i64,
    sum: f64,
    squares: f64,
}

/// An infinite sum of finite values is an error.
fn added(a: f64, b: f64, output: Output) -> Result<f64> {
    let sum = match output {
        Output::Float4 => f64::from(a as f32 + b as f32),
        Output::Float8 | Output::Average => a + b,
    };
    if sum.is_infinite() && a.is_finite() && b.is_finite() { Err(overflow()) } else { Ok(sum) }
}

impl Sum {
    fn add(&mut self, value: f64, output: Output) -> Result<()> {
        let before = *self;
        self.count += 1;
        if before.count == 0 {
            // A sum begins with its first value: that of one -0 is -0.
            self.sum = if output == Output::Average { 0.0 + value } else { value };
            self.squares = if value.is_finite() { 0.0 } else { f64::NAN };
            return Ok(());
        }
        self.sum = added(before.sum, value, output)?;
        if output == Output::Average {
            let (n, previous) = (self.count as f64, before.count as f64);
            let deviation = value * n - self.sum;
            let squares = before.squares + deviation * deviation / (n * previous);
            self.squares = settled(squares, before.sum.is_finite() && value.is_finite())?;
        }
        Ok(())
    }

    fn absorb(&mut self, other: Sum, output: Output) -> Result<()> {
        if self.count == 0 || other.count == 0 {
            if self.count == 0 {
                *self = other;
            }
            return Ok(());
        }
        let before = *self;
        self.count += other.count;
        self.sum = added(before.sum, other.sum, output)?;
        if output == Output::Average {
            let (m, n) = (before.count as f64, other.count as f64);
            let apart = before.sum / m - other.sum / n;
            let squares = before.squares + other.squares + m * n * apart * apart / (m + n);
            self.squares = settled(squares, before.sum.is_finite() && other.sum.is_finite())?;
        }
        Ok(())
    }
}

/// One sum per group (group 0 alone without GROUP BY).
#[derive(Debug)]
struct Sums {
    output: Output,
    groups: Vec<Sum>,
}

impl Sums {
    fn grow(&mut self, groups: usize) {
        self.groups.resize(groups, Sum::default());
    }

    fn change(&mut self, group: usize, change: impl FnOnce(&mut Sum, Output) -> Result<()>) -> DfResult<()> {
        let output = self.output;
        let missing = || Error::internal("a sum for a group that is not there");
        let sum = self.groups.get_mut(group).ok_or_else(missing);
        sum.and_then(|sum| change(sum, output)).map_err(into_datafusion_error)
    }

    fn values(&self, sums: &[Sum]) -> ArrayRef {
        let values = sums.iter().map(|sum| match self.output {
            _ if sum.count == 0 => None,
            Output::Average => Some(sum.sum / sum.count as f64),
            Output::Float4 | Output::Float8 => Some(sum.sum),
        });
        match self.output {
            Output::Float4 => Arc::new(values.map(|v| v.map(|v| v as f32)).collect::<Float32Array>()),
            Output::Float8 | Output::Average => Arc::new(values.collect::<Float64Array>()),
        }
    }
}

fn states(sums: &[Sum]) -> Vec<ArrayRef> {
    vec![
        Arc::new(Int64Array::from_iter_values(sums.iter().map(|sum| sum.count))),
        Arc::new(Float64Array::from_iter_values(sums.iter().map(|sum| sum.sum))),
        Arc::new(Float64Array::from_iter_values(sums.iter().map(|sum| sum.squares))),
    ]
}

impl Accumulator for Sums {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.grow(1);
        let Some(values) = values.first() else { return Ok(()) };
        floats(values)?.iter().flatten().try_for_each(|value| self.change(0, |sum, output| sum.add(value, output)))
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        self.grow(1);
        ScalarValue::try_from_array(&self.values(&self.groups), 0)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        self.grow(1);
        states(&self.groups).iter().map(|part| ScalarValue::try_from_array(part, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let groups = vec![0; states.first().map_or(0, |s| s.len())];
        GroupsAccumulator::merge_batch(self, states, &groups, 1)
    }
}

impl GroupsAccumulator for Sums {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> DfResult<()> {
        self.grow(total);
        let Some(values) = values.first() else { return Ok(()) };
        let values = floats(values)?;
        for (row, group) in groups.iter().enumerate() {
            if values.is_valid(row) && filter.is_none_or(|f| f.is_valid(row) && f.value(row)) {
                self.change(*group, |sum, output| sum.add(values.value(row), output))?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> DfResult<ArrayRef> {
        let sums = emit.take_needed(&mut self.groups);
        Ok(self.values(&sums))
    }

    fn state(&mut self, emit: EmitTo) -> DfResult<Vec<ArrayRef>> {
        Ok(states(&emit.take_needed(&mut self.groups)))
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> DfResult<()> {
        self.grow(total);
        let [counts, sums, squares] = states else {
            return Err(into_datafusion_error(Error::internal("the state of a sum of floats has three columns")));
        };
        let (counts, sums) = (counts.as_primitive::<Int64Type>(), sums.as_primitive::<Float64Type>());
        let squares = squares.as_primitive::<Float64Type>();
        for (row, group) in groups.iter().enumerate() {
            let other = Sum { count: counts.value(row), sum: sums.value(row), squares: squares.value(row) };
            self.change(*group, |sum, output| sum.absorb(other, output))?;
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> DfResult<Vec<ArrayRef>> {
        let mut each = Sums { output: self.output, groups: Vec::new() };
        let rows = values.first().map_or(0, |v| v.len());
        let groups: Vec<usize> = (0..rows).collect();
        GroupsAccumulator::update_batch(&mut each, values, &groups, filter, rows)?;
        Ok(states(&each.groups))
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<Sum>()
    }
}
