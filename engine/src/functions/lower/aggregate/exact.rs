//! Sums and averages of integers and Decimal128 in i128: they don't wrap (22003), and averages are the numeric quotient
//! of sum and count.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Decimal128Array, Int64Array, Int64Builder};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Int64Type};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility};

use crate::error::{Error, Result, SqlState};
use crate::functions::lower::decimal::widen_integers;
use crate::functions::lower::into_datafusion_error;
use crate::types::numeric::Numeric;
use crate::types::{PgType, TypeOid};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Output {
    /// sum(int2), sum(int4)
    Int8,
    /// sum(int8), sum(numeric)
    Decimal,
    /// avg: encoded numeric
    Average,
}

/// `sum` and `avg` of integers and Decimal128.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ExactSum {
    output: Output,
    scale: i8,
    signature: Signature,
}

impl ExactSum {
    /// `None` if the argument's layout is another.
    pub(super) fn new(average: bool, arg: &DataType, ret: PgType) -> Option<ExactSum> {
        let scale = match arg {
            DataType::Int16 | DataType::Int32 | DataType::Int64 => 0,
            DataType::Decimal128(_, scale) => *scale,
            _ => return None,
        };
        let output = match (average, ret.oid) {
            (true, TypeOid::NUMERIC) => Output::Average,
            (false, TypeOid::INT8) => Output::Int8,
            (false, TypeOid::NUMERIC) => Output::Decimal,
            _ => return None,
        };
        Some(ExactSum { output, scale, signature: Signature::any(1, Volatility::Immutable) })
    }

    pub(super) fn result(&self) -> DataType {
        match self.output {
            Output::Int8 => DataType::Int64,
            Output::Decimal => DataType::Decimal128(38, self.scale),
            Output::Average => DataType::Binary,
        }
    }

    fn sums(&self) -> Sums {
        Sums { function: self.clone(), sums: Vec::new(), counts: Vec::new() }
    }

    fn finish(&self, sums: &[i128], counts: &[i64]) -> Result<ArrayRef> {
        let too_large = |what: &str| Error::new(SqlState::NumericValueOutOfRange, what);
        let pairs = sums.iter().zip(counts);
        Ok(match self.output {
            Output::Int8 => {
                let mut out = Int64Builder::with_capacity(sums.len());
                for (sum, count) in pairs {
                    match count {
                        0 => out.append_null(),
                        _ => out.append_value(i64::try_from(*sum).map_err(|_| too_large("bigint out of range"))?),
                    }
                }
                Arc::new(out.finish())
            }
            Output::Decimal => {
                let fits = |v: i128| v.unsigned_abs() < 10u128.pow(38);
                let sums: Result<Vec<Option<i128>>> = pairs
                    .map(|(sum, count)| match count {
                        0 => Ok(None),
                        _ if fits(*sum) => Ok(Some(*sum)),
                        _ => Err(too_large("sum of numeric has more than 38 digits")),
                    })
                    .collect();
                let array = Decimal128Array::from(sums?).with_precision_and_scale(38, self.scale);
                Arc::new(array.map_err(|e| Error::internal(e.to_string()))?)
            }
            Output::Average => {
                let mut out = BinaryBuilder::with_capacity(sums.len(), sums.len() * 16);
                for (sum, count) in pairs {
                    match count {
                        0 => out.append_null(),
                        _ => {
                            out.append_value(Numeric::from_i128(*sum, self.scale).div(&Numeric::from(*count))?.encode())
                        }
                    }
                }
                Arc::new(out.finish())
            }
        })
    }
}

impl AggregateUDFImpl for ExactSum {
    fn name(&self) -> &str {
        if self.output == Output::Average { "avg" } else { "sum" }
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
        Ok(vec![
            Arc::new(Field::new(format!("{}[sum]", args.name), DataType::Decimal128(38, self.scale), true)),
            Arc::new(Field::new(format!("{}[count]", args.name), DataType::Int64, true)),
        ])
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _args: AccumulatorArgs<'_>) -> DfResult<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(self.sums()))
    }
}

/// Running sums and counts, one per group (group 0 alone without GROUP BY).
#[derive(Debug)]
struct Sums {
    function: ExactSum,
    sums: Vec<i128>,
    counts: Vec<i64>,
}

impl Sums {
    fn grow(&mut self, groups: usize) {
        self.sums.resize(groups, 0);
        self.counts.resize(groups, 0);
    }

    fn add(&mut self, group: usize, value: i128, count: i64) -> DfResult<()> {
        let (Some(sum), Some(total)) = (self.sums.get_mut(group), self.counts.get_mut(group)) else {
            return Err(into_datafusion_error(Error::internal("a sum for a group that is not there")));
        };
        *sum = sum.checked_add(value).ok_or_else(|| {
            into_datafusion_error(Error::new(
                SqlState::NumericValueOutOfRange,
                "sum of numeric has more than 38 digits",
            ))
        })?;
        *total += count;
        Ok(())
    }

    /// Adds (or with `sign` -1 takes away) the values of a column, all in group 0.
    fn add_all(&mut self, values: &ArrayRef, sign: i128) -> DfResult<()> {
        self.grow(1);
        if values.data_type() == &DataType::Null {
            return Ok(());
        }
        let values = widened(values)?;
        let mut sum: i128 = 0;
        for value in values.iter().flatten() {
            sum = sum.checked_add(value).ok_or_else(|| {
                into_datafusion_error(Error::new(
                    SqlState::NumericValueOutOfRange,
                    "sum of numeric has more than 38 digits",
                ))
            })?;
        }
        let count = (values.len() - values.null_count()) as i64;
        self.add(0, sum * sign, count * sign as i64)
    }

    fn state_arrays(&self, sums: Vec<i128>, counts: Vec<i64>) -> DfResult<Vec<ArrayRef>> {
        let sums = Decimal128Array::from(sums).with_precision_and_scale(38, self.function.scale)?;
        Ok(vec![Arc::new(sums), Arc::new(Int64Array::from(counts))])
    }

    fn take(&mut self, emit: EmitTo) -> (Vec<i128>, Vec<i64>) {
        (emit.take_needed(&mut self.sums), emit.take_needed(&mut self.counts))
    }
}

fn widened(values: &ArrayRef) -> DfResult<Decimal128Array> {
    widen_integers(values)
        .ok_or_else(|| into_datafusion_error(Error::internal(format!("a sum over {}", values.data_type()))))
}

impl Accumulator for Sums {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        values.first().map_or(Ok(()), |v| self.add_all(v, 1))
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        values.first().map_or(Ok(()), |v| self.add_all(v, -1))
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        self.grow(1);
        let array = self.function.finish(&self.sums, &self.counts).map_err(into_datafusion_error)?;
        ScalarValue::try_from_array(&array, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        self.grow(1);
        let arrays = self.state_arrays(self.sums.clone(), self.counts.clone())?;
        arrays.iter().map(|a| ScalarValue::try_from_array(a, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        self.grow(1);
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
        if values.data_type() == &DataType::Null {
            return Ok(());
        }
        let values = widened(values)?;
        let kept = |row: usize| filter.is_none_or(|f| f.is_valid(row) && f.value(row));
        if values.null_count() == 0 && filter.is_none() {
            for (value, group) in values.values().iter().zip(groups) {
                self.add(*group, *value, 1)?;
            }
            return Ok(());
        }
        for (row, group) in groups.iter().enumerate() {
            if values.is_valid(row) && kept(row) {
                self.add(*group, values.value(row), 1)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> DfResult<ArrayRef> {
        let (sums, counts) = self.take(emit);
        self.function.finish(&sums, &counts).map_err(into_datafusion_error)
    }

    fn state(&mut self, emit: EmitTo) -> DfResult<Vec<ArrayRef>> {
        let (sums, counts) = self.take(emit);
        self.state_arrays(sums, counts)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> DfResult<()> {
        self.grow(total);
        let [sums, counts] = states else {
            return Err(into_datafusion_error(Error::internal("a sum's state has two columns")));
        };
        let (sums, counts) = (sums.as_primitive::<Decimal128Type>(), counts.as_primitive::<Int64Type>());
        for (row, group) in groups.iter().enumerate() {
            self.add(*group, sums.value(row), counts.value(row))?;
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> DfResult<Vec<ArrayRef>> {
        let Some(values) = values.first() else { return Ok(Vec::new()) };
        let values = widened(values)?;
        let counted = |row: usize| values.is_valid(row) && filter.is_none_or(|f| f.is_valid(row) && f.value(row));
        let sums = (0..values.len()).map(|row| if counted(row) { values.value(row) } else { 0 }).collect();
        let counts = (0..values.len()).map(|row| i64::from(counted(row))).collect();
        self.state_arrays(sums, counts)
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i128>() + self.counts.capacity() * size_of::<i64>()
    }
}
