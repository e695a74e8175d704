//! A row function as a scalar UDF of DataFusion, with an optional kernel for whole columns in front of it.
//!
//! Invariant: the kernel answers only what the row function would answer; where it can't, it returns `None`.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};

use crate::configuration::in_configuration;
use crate::error::{Error, Result};
use crate::functions::casts::{self, CastPath};
use crate::functions::{EvalContext, Function, Volatility};
use crate::types::arrow::{ColumnBuilder, ColumnReader, from_scalar};
use crate::types::{Datum, PgType, TypeOid, compare};

/// The statement's [`EvalContext`] in DataFusion's session configuration:
/// `config.options_mut().extensions.insert(StatementContext(context))`.
#[derive(Debug, Clone, Default)]
pub struct StatementContext(pub Arc<EvalContext>);

in_configuration!(StatementContext, "lockstep_statement");

/// Our error inside DataFusion's; taken out again where results leave it.
pub fn into_datafusion_error(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// What is done with each row.
#[derive(Debug, Clone)]
pub(super) enum RowOperation {
    Call(Arc<Function>),
    Cast {
        path: CastPath,
        from: PgType,
        to: PgType,
        explicit: bool,
    },
    /// The value in another layout.
    Layout,
    /// Memcomparable bytes; NULL stays NULL.
    Key,
}

#[derive(Debug)]
pub(super) struct RowUdf {
    operation: RowOperation,
    types: Vec<PgType>,
    ret: PgType,
    arrow: DataType,
    signature: Signature,
    name: String,
}

impl RowUdf {
    pub(super) fn call(
        operation: RowOperation,
        types: Vec<PgType>,
        ret: PgType,
        arrow: DataType,
        mut args: Vec<Expr>,
    ) -> Expr {
        use datafusion::logical_expr::Volatility as V;
        let (volatility, name) = match &operation {
            RowOperation::Call(function) => (
                match function.volatility {
                    Volatility::Immutable => V::Immutable,
                    Volatility::Stable => V::Stable,
                    Volatility::Volatile => V::Volatile,
                },
                function.name.to_string(),
            ),
            RowOperation::Cast { to, .. } => (V::Stable, format!("cast_{}_{}", to.oid.0, to.typmod)),
            RowOperation::Layout => (V::Immutable, "layout".to_string()),
            RowOperation::Key => (V::Immutable, "key".to_string()),
        };
        if volatility == V::Volatile && !args.is_empty() {
            args.push(ScalarUDF::new_from_impl(Anew::new()).call(Vec::new()));
        }
        let signature =
            if args.is_empty() { Signature::nullary(volatility) } else { Signature::any(args.len(), volatility) };
        let udf = RowUdf { operation, types, ret, arrow, signature, name };
        ScalarUDF::new_from_impl(udf).call(args)
    }

    fn identity(&self) -> (u32, u8, bool) {
        match &self.operation {
            RowOperation::Call(function) => (function.oid, 0, false),
            RowOperation::Cast { explicit, .. } => (0, 1, *explicit),
            RowOperation::Layout => (0, 2, false),
            RowOperation::Key => (0, 3, false),
        }
    }

    fn row(&self, context: &EvalContext, args: &[Datum]) -> Result<Datum> {
        match (&self.operation, args) {
            (RowOperation::Call(function), _) => function.call(context, &self.types, self.ret, args),
            (RowOperation::Cast { path, from, to, explicit }, [value]) => {
                casts::follow(path, value, *from, *to, *explicit, context)
            }
            (RowOperation::Layout, [value]) => Ok(value.clone()),
            (RowOperation::Key, [value]) if value.is_null() => Ok(Datum::Null),
            (RowOperation::Key, [value]) => {
                let mut key = Vec::new();
                compare::encode_key(value, self.types.first().copied().unwrap_or(self.ret), &mut key);
                Ok(Datum::from(key))
            }
            _ => Err(Error::internal("a row operation with the wrong number of arguments")),
        }
    }

    fn rows(&self, context: &EvalContext, args: &[ColumnarValue], rows: usize) -> Result<ArrayRef> {
        let mut builder = ColumnBuilder::new(layout_type(self.ret, &self.arrow), rows)?;
        let readers: Result<Vec<Source<'_>>> = args.iter().zip(&self.types).map(|(a, t)| Source::new(a, *t)).collect();
        let readers = readers?;
        let mut values = vec![Datum::Null; readers.len()];
        for row in 0..rows {
            for (value, reader) in values.iter_mut().zip(&readers) {
                *value = match reader {
                    Source::Column(reader) => reader.get(row),
                    Source::Constant(constant) => constant.clone(),
                };
            }
            builder.append(&self.row(context, &values)?)?;
        }
        Ok(builder.finish())
    }

    fn evaluate(&self, args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
        let fallback = EvalContext::default();
        let extension = args.config_options.extensions.get::<StatementContext>();
        let context = extension.map_or(&fallback, |e| e.0.as_ref());
        // What stands behind them says only that there are others with each row.
        let given = args.args.get(..self.types.len()).unwrap_or_default();
        let constant = given.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let volatile = matches!(&self.operation, RowOperation::Call(f) if f.volatility == Volatility::Volatile);
        if constant && !volatile {
            let array = self.rows(context, given, 1)?;
            let scalar = ScalarValue::try_from_array(&array, 0).map_err(|e| Error::internal(e.to_string()))?;
            return Ok(ColumnarValue::Scalar(scalar));
        }
        let kernel = match &self.operation {
            RowOperation::Call(function) => {
                super::vector::kernel(function, given, &self.types, &self.arrow, args.number_rows)
            }
            RowOperation::Cast { from, to, .. } => super::vector::cast_kernel(given, *from, *to, &self.arrow),
            RowOperation::Layout => super::decimal::layout_kernel(given, &self.arrow),
            RowOperation::Key => super::vector::key_kernel(given, &self.types),
        };
        match kernel.filter(|a| a.data_type() == &self.arrow && a.len() == args.number_rows) {
            Some(array) => Ok(ColumnarValue::Array(array)),
            None => self.rows(context, given, args.number_rows).map(ColumnarValue::Array),
        }
    }
}

/// The last argument of a volatile function: DataFusion takes for constant what has nothing but constant arguments, and sorts
/// by nothing that is constant.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Anew(Signature);

impl Anew {
    fn new() -> Anew {
        Anew(Signature::nullary(datafusion::logical_expr::Volatility::Volatile))
    }
}

impl ScalarUDFImpl for Anew {
    fn name(&self) -> &str {
        "anew"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> datafusion::common::Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> datafusion::common::Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None)))
    }
}

/// The type whose builder makes this layout: a numeric expression may lie in any Decimal128.
pub(super) fn layout_type(ty: PgType, arrow: &DataType) -> PgType {
    match (ty.oid, arrow) {
        (TypeOid::NUMERIC, DataType::Decimal128(precision, scale)) => {
            PgType::new(ty.oid, PgType::numeric_typmod(u16::from(*precision), i16::from(*scale)))
        }
        (TypeOid::NUMERIC, _) => PgType::new(ty.oid, -1),
        _ => ty,
    }
}

enum Source<'a> {
    Column(ColumnReader<'a>),
    Constant(Datum),
}

impl<'a> Source<'a> {
    fn new(value: &'a ColumnarValue, ty: PgType) -> Result<Source<'a>> {
        match value {
            ColumnarValue::Array(array) => ColumnReader::new(array.as_ref(), ty).map(Source::Column),
            ColumnarValue::Scalar(scalar) => from_scalar(scalar, ty).map(Source::Constant),
        }
    }
}

impl PartialEq for RowUdf {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
            && self.types == other.types
            && self.ret == other.ret
            && self.arrow == other.arrow
    }
}

impl Eq for RowUdf {}

impl Hash for RowUdf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
        self.types.hash(state);
        self.ret.hash(state);
    }
}

impl ScalarUDFImpl for RowUdf {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> datafusion::common::Result<DataType> {
        Ok(self.arrow.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> datafusion::common::Result<ColumnarValue> {
        self.evaluate(&args).map_err(into_datafusion_error)
    }
}
