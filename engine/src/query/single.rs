//! The value of a scalar subquery: its only row, NULL without one, 21000 with more.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result as DfResult, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};

use super::unnest::more_than_one_row;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct SingleValue {
    arrow: DataType,
    signature: Signature,
}

impl SingleValue {
    pub(super) fn new(arrow: DataType) -> SingleValue {
        SingleValue { arrow, signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for SingleValue {
    fn name(&self) -> &str {
        "single_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> DfResult<DataType> {
        Ok(self.arrow.clone())
    }

    fn accumulator(&self, _args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        Ok(Box::new(Single { value: ScalarValue::try_new_null(&self.arrow)?, seen: false }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        Ok(vec![
            Field::new(format!("{}_value", args.name), self.arrow.clone(), true).into(),
            Field::new(format!("{}_seen", args.name), DataType::Boolean, false).into(),
        ])
    }
}

#[derive(Debug)]
struct Single {
    value: ScalarValue,
    seen: bool,
}

impl Single {
    fn take(&mut self, values: &ArrayRef, row: usize) -> DfResult<()> {
        if self.seen {
            return Err(DataFusionError::External(Box::new(more_than_one_row())));
        }
        self.seen = true;
        self.value = ScalarValue::try_from_array(values, row)?;
        Ok(())
    }
}

impl Accumulator for Single {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        if let Some(values) = values.first() {
            // A second row is an error: no more than two are looked at.
            for row in 0..values.len().min(2) {
                self.take(values, row)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.value.size()
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), ScalarValue::Boolean(Some(self.seen))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let [values, seen] = states else {
            return Ok(());
        };
        for row in 0..values.len() {
            if ScalarValue::try_from_array(seen, row)? == ScalarValue::Boolean(Some(true)) {
                self.take(values, row)?;
            }
        }
        Ok(())
    }
}
