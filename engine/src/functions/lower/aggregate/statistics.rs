//! Variances, covariances and regressions of float8, by the recurrences of Youngs and Cramer that PostgreSQL uses: large offsets
//! lose no digits, and an infinite or NaN value makes NaN of what is computed from squares.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};

use crate::error::{Error, Result, SqlState};
use crate::functions::lower::into_datafusion_error;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Figure {
    VarPop,
    VarSamp,
    StddevPop,
    StddevSamp,
    CovarPop,
    CovarSamp,
    Corr,
    Slope,
    Intercept,
    R2,
    AvgX,
    AvgY,
    Sxx,
    Syy,
    Sxy,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct FloatStatistics {
    name: &'static str,
    figure: Figure,
    signature: Signature,
}

impl FloatStatistics {
    /// `None`: it is none of these.
    pub(super) fn new(name: &str) -> Option<FloatStatistics> {
        use Figure as F;
        let (name, figure) = match name {
            "var_pop" => ("var_pop", F::VarPop),
            "var_samp" | "variance" => ("var_samp", F::VarSamp),
            "stddev_pop" => ("stddev_pop", F::StddevPop),
            "stddev_samp" | "stddev" => ("stddev_samp", F::StddevSamp),
            "covar_pop" => ("covar_pop", F::CovarPop),
            "covar_samp" => ("covar_samp", F::CovarSamp),
            "corr" => ("corr", F::Corr),
            "regr_slope" => ("regr_slope", F::Slope),
            "regr_intercept" => ("regr_intercept", F::Intercept),
            "regr_r2" => ("regr_r2", F::R2),
            "regr_avgx" => ("regr_avgx", F::AvgX),
            "regr_avgy" => ("regr_avgy", F::AvgY),
            "regr_sxx" => ("regr_sxx", F::Sxx),
            "regr_syy" => ("regr_syy", F::Syy),
            "regr_sxy" => ("regr_sxy", F::Sxy),
            _ => return None,
        };
        let arguments = if matches!(figure, F::VarPop | F::VarSamp | F::StddevPop | F::StddevSamp) { 1 } else { 2 };
        Some(FloatStatistics { name, figure, signature: Signature::any(arguments, Volatility::Immutable) })
    }
}

impl AggregateUDFImpl for FloatStatistics {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, _args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        Ok(Box::new(Moments { figure: self.figure, n: 0.0, x: 0.0, xx: 0.0, y: 0.0, yy: 0.0, xy: 0.0 }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        let field = |part: &&str| Field::new(format!("{}[{part}]", args.name), DataType::Float64, false).into();
        Ok(["n", "x", "xx", "y", "yy", "xy"].iter().map(field).collect())
    }
}

/// The number of pairs, their sums, and the sums of squares and products of what they differ from their means by.
#[derive(Debug)]
struct Moments {
    figure: Figure,
    n: f64,
    x: f64,
    xx: f64,
    y: f64,
    yy: f64,
    xy: f64,
}

pub(super) fn overflow() -> Error {
    Error::new(SqlState::NumericValueOutOfRange, "value out of range: overflow")
}

/// An infinite result of finite operands is an error, of others it is no number.
pub(super) fn settled(value: f64, finite: bool) -> Result<f64> {
    match value.is_infinite() {
        true if finite => Err(overflow()),
        true => Ok(f64::NAN),
        false => Ok(value),
    }
}

impl Moments {
    fn add(&mut self, y: f64, x: f64) -> Result<()> {
        let finite = (self.x.is_finite() && x.is_finite(), self.y.is_finite() && y.is_finite());
        let before = self.n;
        self.n += 1.0;
        self.x += x;
        self.y += y;
        if before == 0.0 {
            let spread = |value: f64| if value.is_finite() { 0.0 } else { f64::NAN };
            (self.xx, self.yy, self.xy) = (spread(x), spread(y), spread(x) + spread(y));
            return Ok(());
        }
        let (dx, dy) = (x * self.n - self.x, y * self.n - self.y);
        let scale = 1.0 / (self.n * before);
        if (self.x.is_infinite() && finite.0) || (self.y.is_infinite() && finite.1) {
            return Err(overflow());
        }
        self.xx = settled(self.xx + dx * dx * scale, finite.0)?;
        self.yy = settled(self.yy + dy * dy * scale, finite.1)?;
        self.xy = settled(self.xy + dx * dy * scale, finite.0 && finite.1)?;
        Ok(())
    }

    fn absorb(&mut self, other: [f64; 6]) -> Result<()> {
        let [n, x, xx, y, yy, xy] = other;
        if n == 0.0 {
            return Ok(());
        }
        if self.n == 0.0 {
            (self.n, self.x, self.xx, self.y, self.yy, self.xy) = (n, x, xx, y, yy, xy);
            return Ok(());
        }
        let finite = (self.x.is_finite() && x.is_finite(), self.y.is_finite() && y.is_finite());
        let (dx, dy) = (self.x / self.n - x / n, self.y / self.n - y / n);
        let scale = self.n * n / (self.n + n);
        self.n += n;
        self.x += x;
        self.y += y;
        if (self.x.is_infinite() && finite.0) || (self.y.is_infinite() && finite.1) {
            return Err(overflow());
        }
        self.xx = settled(self.xx + xx + scale * dx * dx, finite.0)?;
        self.yy = settled(self.yy + yy + scale * dy * dy, finite.1)?;
        self.xy = settled(self.xy + xy + scale * dx * dy, finite.0 && finite.1)?;
        Ok(())
    }

    fn value(&self) -> Option<f64> {
        use Figure as F;
        let Moments { n, x, xx, y, yy, xy, .. } = *self;
        let samples = matches!(self.figure, F::VarSamp | F::StddevSamp | F::CovarSamp);
        if n < if samples { 2.0 } else { 1.0 } {
            return None;
        }
        Some(match self.figure {
            F::VarPop => xx / n,
            F::VarSamp => xx / (n - 1.0),
            F::StddevPop => (xx / n).sqrt(),
            F::StddevSamp => (xx / (n - 1.0)).sqrt(),
            F::CovarPop => xy / n,
            F::CovarSamp => xy / (n - 1.0),
            F::Corr if xx == 0.0 || yy == 0.0 => return None,
            F::Corr => xy / (xx * yy).sqrt(),
            F::Slope | F::Intercept | F::R2 if xx == 0.0 => return None,
            F::Slope => xy / xx,
            F::Intercept => (y - x * xy / xx) / n,
            F::R2 if yy == 0.0 => 1.0,
            F::R2 => (xy * xy) / (xx * yy),
            F::AvgX => x / n,
            F::AvgY => y / n,
            F::Sxx => xx,
            F::Syy => yy,
            F::Sxy => xy,
        })
    }
}

pub(super) fn floats(values: &ArrayRef) -> DfResult<Float64Array> {
    match values.as_primitive_opt::<Float64Type>() {
        Some(values) => Ok(values.clone()),
        None if values.data_type() == &DataType::Null => Ok(Float64Array::new_null(values.len())),
        None => Err(into_datafusion_error(Error::internal(format!("statistics of {}", values.data_type())))),
    }
}

impl Accumulator for Moments {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let [first, rest @ ..] = values else { return Ok(()) };
        let first = floats(first)?;
        let Some(second) = rest.first() else {
            return first.iter().flatten().try_for_each(|x| self.add(0.0, x)).map_err(into_datafusion_error);
        };
        let second = floats(second)?;
        let pairs = first.iter().zip(second.iter()).filter_map(|(y, x)| Some((y?, x?)));
        pairs.into_iter().try_for_each(|(y, x)| self.add(y, x)).map_err(into_datafusion_error)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let columns = states.iter().map(floats).collect::<DfResult<Vec<_>>>()?;
        let [n, x, xx, y, yy, xy] = columns.as_slice() else {
            return Err(into_datafusion_error(Error::internal("statistics with another state")));
        };
        for row in 0..n.len() {
            let state = [n, x, xx, y, yy, xy].map(|column| column.value(row));
            self.absorb(state).map_err(into_datafusion_error)?;
        }
        Ok(())
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        let parts = [self.n, self.x, self.xx, self.y, self.yy, self.xy];
        Ok(parts.into_iter().map(|part| ScalarValue::Float64(Some(part))).collect())
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        Ok(ScalarValue::Float64(self.value()))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
