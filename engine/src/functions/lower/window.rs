//! Window functions: DataFusion's own, which agree with PostgreSQL on these.

use arrow::datatypes::DataType;
use datafusion::functions_window as df;
use datafusion::logical_expr::WindowFunctionDefinition;

use crate::error::Result;
use crate::functions::Function;

/// The window function and the layout of its result where that is not the SQL type's own: the caller casts it
/// (row_number, rank, dense_rank and ntile count in UInt64).
pub fn window(function: &Function) -> Result<(WindowFunctionDefinition, Option<DataType>)> {
    let counts = Some(DataType::UInt64);
    let (udwf, layout) = match function.symbol {
        "window_row_number" => (df::row_number::row_number_udwf(), counts),
        "window_rank" => (df::rank::rank_udwf(), counts),
        "window_dense_rank" => (df::rank::dense_rank_udwf(), counts),
        "window_percent_rank" => (df::rank::percent_rank_udwf(), None),
        "window_cume_dist" => (df::cume_dist::cume_dist_udwf(), None),
        "window_ntile" => (df::ntile::ntile_udwf(), counts),
        "window_lag" | "window_lag_with_offset" | "window_lag_with_offset_and_default" => {
            (df::lead_lag::lag_udwf(), None)
        }
        "window_lead" | "window_lead_with_offset" | "window_lead_with_offset_and_default" => {
            (df::lead_lag::lead_udwf(), None)
        }
        "window_first_value" => (df::nth_value::first_value_udwf(), None),
        "window_last_value" => (df::nth_value::last_value_udwf(), None),
        "window_nth_value" => (df::nth_value::nth_value_udwf(), None),
        _ => return Err(function.unsupported()),
    };
    Ok((WindowFunctionDefinition::WindowUDF(udwf), layout))
}
