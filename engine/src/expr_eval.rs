//! Evaluation of bound expressions row by row: the point path, CHECK, DEFAULT, and constants of plans.

use crate::error::{Error, Result};
use crate::expr::{ColumnId, ScalarExpr};
use crate::functions::EvalContext;
use crate::types::Datum;

/// Where the columns of the row at hand are found.
pub trait ColumnSource {
    /// `None`: the expression names a column that this row does not have; our mistake.
    fn column(&self, id: ColumnId) -> Option<Datum>;
}

/// A row without columns.
pub struct NoColumns;

impl ColumnSource for NoColumns {
    fn column(&self, _: ColumnId) -> Option<Datum> {
        None
    }
}

/// The value of `expr` on `row`.
pub fn eval(_expr: &ScalarExpr, _row: &dyn ColumnSource, _params: &[Datum], _context: &EvalContext) -> Result<Datum> {
    Err(Error::unsupported("row evaluation"))
}
