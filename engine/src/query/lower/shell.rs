//! An expression that DataFusion has no form for, evaluated row by row: its parts are lowered and become the arguments of a
//! scalar UDF that holds the rest.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::DataType;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::{Error, Result};
use crate::expr::{ColumnId, ScalarExpr};
use crate::expr_eval::{ColumnSource, eval};
use crate::functions::EvalContext;
use crate::functions::lower::{Lowered, StatementContext, into_datafusion_error};
use crate::types::arrow::{ColumnBuilder, ColumnReader};
use crate::types::{Datum, PgType};

/// Column `i` of the expression is argument `i`.
#[derive(Debug)]
struct Shell {
    /// Two shells are the same function only if they are one.
    id: u64,
    expr: ScalarExpr,
    types: Vec<PgType>,
    arrow: DataType,
    signature: Signature,
}

pub(super) fn call(expr: ScalarExpr, args: Vec<Lowered>) -> Lowered {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let (ty, arrow) = (expr.ty, expr.ty.arrow());
    let types: Vec<PgType> = args.iter().map(|a| a.ty).collect();
    let volatility = Volatility::Stable;
    let signature =
        if types.is_empty() { Signature::nullary(volatility) } else { Signature::any(types.len(), volatility) };
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let shell = Shell { id, expr, types, arrow: arrow.clone(), signature };
    let exprs: Vec<Expr> = args.into_iter().map(|a| a.expr).collect();
    Lowered::new(ScalarUDF::new_from_impl(shell).call(exprs), ty, arrow)
}

struct Row(Vec<Datum>);

impl ColumnSource for Row {
    fn column(&self, id: ColumnId) -> Option<Datum> {
        self.0.get(id.0 as usize).cloned()
    }
}

impl Shell {
    fn evaluate(&self, args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
        let fallback = EvalContext::default();
        let extension = args.config_options.extensions.get::<StatementContext>();
        let context = extension.map_or(&fallback, |e| e.0.as_ref());
        let arrays = args
            .args
            .iter()
            .map(|a| a.to_array(args.number_rows))
            .collect::<datafusion::common::Result<Vec<_>>>()
            .map_err(|e| Error::internal(e.to_string()))?;
        let readers = arrays
            .iter()
            .zip(&self.types)
            .map(|(a, ty)| ColumnReader::new(a.as_ref(), *ty))
            .collect::<Result<Vec<_>>>()?;
        let mut builder = ColumnBuilder::new(self.expr.ty, args.number_rows)?;
        let mut row = Row(vec![Datum::Null; readers.len()]);
        for i in 0..args.number_rows {
            for (value, reader) in row.0.iter_mut().zip(&readers) {
                *value = reader.get(i);
            }
            builder.append(&eval(&self.expr, &row, &[], context)?)?;
        }
        Ok(ColumnarValue::Array(builder.finish()))
    }
}

impl PartialEq for Shell {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Shell {}

impl Hash for Shell {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl ScalarUDFImpl for Shell {
    fn name(&self) -> &str {
        "row_expression"
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
