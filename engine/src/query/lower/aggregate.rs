//! Aggregation and windows.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::expr::{AggregateFunction, GroupingSet, WindowFunctionParams};
use datafusion::logical_expr::{
    Aggregate as AggregateNode, AggregateUDF, Expr, LogicalPlan, LogicalPlanBuilder, WindowFrame, WindowFrameBound,
    WindowFrameUnits, WindowFunctionDefinition, cast, lit,
};

use super::framed;
use super::{Lowering, RanFirst, alias, find_column, name, plan_error, project};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ScalarExpr};
use crate::expr_eval::eval;
use crate::functions::lower::aggregate::{AggregateCall, OrderKey, aggregate};
use crate::functions::lower::{self, Lowered};
use crate::query::runtime::Stop;
use crate::query::single::SingleValue;
use crate::query::unnest::SINGLE_VALUE;
use crate::sql::rel::{Aggregate, FrameBound, FrameUnits, SortKey, WindowCall};
use crate::types::compare::compare;
use crate::types::{Datum, Interval, PgType, TypeOid};

impl Lowering<'_> {
    pub(super) fn aggregate(
        &mut self,
        input: LogicalPlan,
        groups: &[(ColumnId, ScalarExpr)],
        sets: Option<&[Vec<usize>]>,
        grouping: Option<ColumnId>,
        aggregates: &[(ColumnId, Aggregate)],
    ) -> Result<LogicalPlan> {
        // Group keys are computed below the aggregation. Where equal values may look different (1.0 and 1.00), the key
        // stands for the group and the first of its values is shown.
        let mut below: Vec<Expr> =
            input.schema().iter().map(|(r, f)| Expr::Column(Column::new(r.cloned(), f.name()))).collect();
        let mut keys = Vec::new();
        let mut shown: Vec<(ColumnId, Option<(Expr, DataType)>)> = Vec::new();
        for (i, (id, expr)) in groups.iter().enumerate() {
            let lowered = self.expr(expr, &[input.schema()])?;
            let collated = match crate::functions::collation::group_key(expr) {
                Some(key) => Some(self.expr(&key, &[input.schema()])?),
                None => None,
            };
            match collated.or_else(|| lower::key(&lowered)) {
                Some(key) => {
                    let key_name = format!("k{}_{i}", id.0);
                    let value_name = format!("v{}_{i}", id.0);
                    below.push(key.expr.alias(&key_name));
                    below.push(lowered.expr.alias(&value_name));
                    keys.push(Expr::Column(Column::from_name(key_name)));
                    shown.push((*id, Some((Expr::Column(Column::from_name(value_name)), lowered.arrow))));
                }
                None => {
                    let key_name = format!("k{}_{i}", id.0);
                    below.push(lowered.expr.alias(&key_name));
                    keys.push(Expr::Column(Column::from_name(key_name)));
                    shown.push((*id, None));
                }
            }
        }
        let input = if groups.is_empty() { input } else { project(input, below)? };
        let mut calls = Vec::new();
        for (id, call) in aggregates {
            calls.push(self.aggregate_call(call, &input)?.expr.alias(name(*id)));
        }
        for (id, value) in &shown {
            if let Some((value, _)) = value {
                let first = datafusion::functions_aggregate::first_last::first_value(value.clone(), vec![]);
                calls.push(first.alias(name(*id)));
            }
        }
        if keys.is_empty() && calls.is_empty() {
            // HAVING without aggregates over one group: a row all the same.
            let count = aggregate(AggregateCall {
                function: crate::functions::registry()
                    .lookup("count")
                    .first()
                    .cloned()
                    .ok_or_else(|| Error::internal("count is not in the registry"))?,
                args: vec![],
                distinct: false,
                filter: None,
                order_by: vec![],
                ret: TypeOid::INT8.into(),
            })?;
            calls.push(count.expr.alias("c0"));
        }
        let group_exprs = match sets {
            None => keys.clone(),
            Some(sets) => {
                let lists = sets.iter().map(|set| set.iter().filter_map(|i| keys.get(*i).cloned()).collect()).collect();
                vec![Expr::GroupingSet(GroupingSet::GroupingSets(lists))]
            }
        };
        let node = AggregateNode::try_new(Arc::new(input), group_exprs, calls).map_err(plan_error)?;
        let plan = LogicalPlan::Aggregate(node);
        let mut out = Vec::new();
        for ((id, value), key) in shown.iter().zip(&keys) {
            let expr = match value {
                // In a set without the key the column is NULL, not the first of its values.
                Some((_, arrow)) if sets.is_some() => {
                    let null = ScalarValue::try_new_null(arrow).map_err(plan_error)?;
                    let (first, _) = find_column(&[plan.schema()], *id)?;
                    datafusion::logical_expr::when(Expr::IsNull(Box::new(key.clone())), lit(null))
                        .otherwise(first)
                        .map_err(plan_error)?
                }
                Some(_) => find_column(&[plan.schema()], *id)?.0,
                None => key.clone(),
            };
            out.push(alias(expr, *id));
        }
        if let Some(id) = grouping {
            // The lowest bits tell which keys are missing; above them DataFusion numbers sets that occur twice.
            let column = Expr::Column(Column::from_name(AggregateNode::INTERNAL_GROUPING_ID));
            out.push(alias(cast(column, DataType::Int64), id));
        }
        for (id, _) in aggregates {
            out.push(find_column(&[plan.schema()], *id)?.0);
        }
        if out.is_empty() {
            return Ok(plan);
        }
        project(plan, out)
    }

    fn aggregate_call(&mut self, call: &Aggregate, input: &LogicalPlan) -> Result<Lowered> {
        let args = self.exprs(&call.args, &[input.schema()])?;
        let filter = call.filter.as_ref().map(|f| self.expr(f, &[input.schema()])).transpose()?.map(|l| l.expr);
        if call.function.name == SINGLE_VALUE {
            let arg = args.into_iter().next().ok_or_else(|| Error::internal("a value of nothing"))?;
            let arrow = arg.arrow.clone();
            let udaf = Arc::new(AggregateUDF::new_from_impl(SingleValue::new(arrow.clone())));
            let expr = AggregateFunction::new_udf(udaf, vec![arg.expr], false, None, vec![], None);
            return Ok(Lowered::new(Expr::AggregateFunction(expr), call.ty, arrow));
        }
        let mut order_by = Vec::new();
        for key in &call.order_by {
            order_by.push(OrderKey {
                arg: self.expr(&key.expr, &[input.schema()])?,
                descending: key.descending,
                nulls_first: key.nulls_first,
            });
        }
        aggregate(AggregateCall {
            function: call.function.clone(),
            args,
            distinct: call.distinct,
            filter,
            order_by,
            ret: call.ty,
        })
    }

    pub(super) fn windows(&mut self, input: LogicalPlan, calls: &[(ColumnId, WindowCall)]) -> Result<LogicalPlan> {
        let mut columns: Vec<Expr> =
            input.schema().iter().map(|(r, f)| Expr::Column(Column::new(r.cloned(), f.name()))).collect();
        let mut exprs: Vec<Expr> = Vec::new();
        for (id, call) in calls {
            let (window, layout) = self.window_call(call, &input)?;
            let column = Expr::Column(Column::from_name(window.schema_name().to_string()));
            let column = match layout {
                // DataFusion counts in UInt64.
                Some(_) => cast(column, call.ty.arrow()),
                None => column,
            };
            columns.push(alias(column, *id));
            if !exprs.contains(&window) {
                exprs.push(window);
            }
        }
        let plan = LogicalPlanBuilder::window_plan(input, exprs).map_err(plan_error)?;
        project(plan, columns)
    }

    /// A call whose frames are looked at one by one. `None`: the function does not look at its frame.
    fn framed_call(&mut self, call: &WindowCall, input: &LogicalPlan) -> Result<Option<Expr>> {
        let schemas: [&datafusion::common::DFSchema; 1] = [input.schema()];
        let mut lowered = self.exprs(&call.args, &schemas)?;
        let range = lowered.split_off(own_arguments(call));
        let what = match (call.aggregate, call.function.name) {
            (true, _) => {
                let lowered = aggregate(AggregateCall {
                    function: call.function.clone(),
                    args: lowered,
                    distinct: false,
                    filter: None,
                    order_by: vec![],
                    ret: call.ty,
                })?;
                let Expr::AggregateFunction(f) = lowered.expr else { return Err(call.function.unsupported()) };
                (framed::What::Aggregate(f.func), f.params.args)
            }
            (_, name) => {
                let Some(what) = framed::What::of(name) else { return Ok(None) };
                let number = if name == "ntile" { 0 } else { 1 };
                let args = lowered.into_iter().enumerate().map(|(at, arg)| match at == number {
                    true => Ok(cast(arg.expr, DataType::Int64)),
                    // A value, or what stands for it.
                    false => Ok(lower::to_layout(arg, &call.ty.arrow())?.expr),
                });
                (what, args.collect::<Result<Vec<Expr>>>()?)
            }
        };
        let (what, mut args) = what;
        let own = args.len();
        if let Some(filter) = &call.filter {
            args.push(self.expr(filter, &schemas)?.expr);
        }
        let mut keys = Vec::new();
        for key in &call.order_by {
            let key = self.expr(&key.expr, &schemas)?;
            keys.push(key.ty);
            args.push(key.expr);
        }
        let range_type = range.first().map(|key| key.ty);
        args.extend(range.into_iter().map(|a| a.expr));
        let units = call.frame.units;
        let edge = |bound: &FrameBound, starts: bool| {
            Ok::<_, Error>(match bound {
                FrameBound::UnboundedPreceding | FrameBound::UnboundedFollowing => framed::Edge::Unbounded,
                FrameBound::CurrentRow => framed::Edge::Current,
                FrameBound::Preceding(offset) | FrameBound::Following(offset) => {
                    let word = if starts { "starting" } else { "ending" };
                    if units == FrameUnits::Range {
                        self.offset_value(offset, WindowFrameUnits::Range, word)?;
                        return Ok(framed::Edge::Value);
                    }
                    let rows = match self.offset(offset, WindowFrameUnits::Rows, None, word)? {
                        ScalarValue::UInt64(Some(n)) => i64::try_from(n).unwrap_or(i64::MAX),
                        _ => return Err(Error::internal("a frame's offset is no number")),
                    };
                    framed::Edge::Offset(if matches!(bound, FrameBound::Preceding(_)) { -rows } else { rows })
                }
            })
        };
        let (start, end) = (edge(&call.frame.start, true)?, edge(&call.frame.end, false)?);
        let framed = framed::Framed {
            what,
            units,
            start,
            end,
            exclude: call.frame.exclude,
            args: own,
            filtered: call.filter.is_some(),
            keys,
            range: range_type,
            descending: call.order_by.first().is_some_and(|key| key.descending),
            ret: call.ty.arrow(),
            stop: Stop::of(self.context),
        };
        let fun = WindowFunctionDefinition::WindowUDF(Arc::new(framed::udf(framed, args.len())));
        let partition_by = self.partition_keys(call, input)?;
        let order_by = self.sort_keys(&call.order_by, input)?;
        let window_frame = WindowFrame::new(None);
        let params = WindowFunctionParams {
            args,
            partition_by,
            order_by,
            window_frame,
            filter: None,
            null_treatment: None,
            distinct: false,
        };
        Ok(Some(Expr::WindowFunction(Box::new(WindowFunction { fun, params }))))
    }

    fn partition_keys(&mut self, call: &WindowCall, input: &LogicalPlan) -> Result<Vec<Expr>> {
        call.partition_by
            .iter()
            .map(|e| {
                let lowered = self.expr(e, &[input.schema()])?;
                Ok(lower::key(&lowered).unwrap_or(lowered).expr)
            })
            .collect()
    }

    fn window_call(&mut self, call: &WindowCall, input: &LogicalPlan) -> Result<(Expr, Option<DataType>)> {
        if call.is_framed()
            && let Some(framed) = self.framed_call(call, input)?
        {
            return Ok((framed, None));
        }
        let own = call.args.get(..own_arguments(call)).unwrap_or_default();
        let mut args = self.exprs(own, &[input.schema()])?;
        let filter = call.filter.as_ref().map(|f| self.expr(f, &[input.schema()])).transpose()?.map(|l| l.expr);
        let (fun, args, layout) = if call.aggregate {
            let lowered = aggregate(AggregateCall {
                function: call.function.clone(),
                args,
                distinct: false,
                filter: None,
                order_by: vec![],
                ret: call.ty,
            })?;
            match lowered.expr {
                Expr::AggregateFunction(f) => (WindowFunctionDefinition::AggregateUDF(f.func), f.params.args, None),
                _ => return Err(call.function.unsupported()),
            }
        } else {
            let (fun, layout) = lower::window::window(&call.function)?;
            // The default of lag and lead lies as their values do.
            if let ("lag" | "lead", [value, _, default]) = (call.function.name, args.as_slice())
                && value.arrow != default.arrow
            {
                for place in [0, 2] {
                    args[place] = lower::to_layout(args[place].clone(), &call.ty.arrow())?;
                }
            }
            // Offsets of lag and lead and the number of ntile are int4 in PostgreSQL and int8 in DataFusion.
            for arg in args.iter_mut().skip(usize::from(call.function.name != "ntile")).take(1) {
                if arg.arrow == DataType::Int32 {
                    *arg = Lowered::new(int8_literal(&arg.expr), TypeOid::INT8.into(), DataType::Int64);
                }
            }
            (fun, args.into_iter().map(|a| a.expr).collect(), layout)
        };
        let partition_by = self.partition_keys(call, input)?;
        let range = call.frame.units == FrameUnits::Range
            && [&call.frame.start, &call.frame.end]
                .iter()
                .any(|b| matches!(b, FrameBound::Preceding(_) | FrameBound::Following(_)));
        let order_by = if range {
            // Offsets are added to the key itself.
            self.plain_keys(&call.order_by, input)?
        } else {
            self.sort_keys(&call.order_by, input)?
        };
        let window_frame = self.frame(call, input)?;
        let params = WindowFunctionParams {
            args,
            partition_by,
            order_by,
            window_frame,
            filter: filter.map(Box::new),
            null_treatment: None,
            distinct: false,
        };
        Ok((Expr::WindowFunction(Box::new(WindowFunction { fun, params })), layout))
    }

    fn plain_keys(&mut self, keys: &[SortKey], input: &LogicalPlan) -> Result<Vec<datafusion::logical_expr::SortExpr>> {
        keys.iter()
            .map(|key| {
                let lowered = self.expr(&key.expr, &[input.schema()])?;
                Ok(datafusion::logical_expr::SortExpr::new(lowered.expr, !key.descending, key.nulls_first))
            })
            .collect()
    }

    fn frame(&mut self, call: &WindowCall, input: &LogicalPlan) -> Result<WindowFrame> {
        let units = match call.frame.units {
            FrameUnits::Rows => WindowFrameUnits::Rows,
            FrameUnits::Range => WindowFrameUnits::Range,
            FrameUnits::Groups => WindowFrameUnits::Groups,
        };
        // Without an order all rows are peers.
        let (units, everything) = match (units, call.order_by.is_empty()) {
            (WindowFrameUnits::Range, true) => (WindowFrameUnits::Rows, true),
            (units, _) => (units, false),
        };
        let key = match call.order_by.as_slice() {
            [key] => Some(self.expr(&key.expr, &[input.schema()])?.arrow),
            _ => None,
        };
        let start = self.bound(&call.frame.start, units, key.as_ref(), everything, true)?;
        let end = self.bound(&call.frame.end, units, key.as_ref(), everything, false)?;
        Ok(WindowFrame::new_bounds(units, start, end))
    }

    fn bound(
        &self,
        bound: &FrameBound,
        units: WindowFrameUnits,
        key: Option<&DataType>,
        everything: bool,
        start: bool,
    ) -> Result<WindowFrameBound> {
        Ok(match bound {
            FrameBound::UnboundedPreceding => WindowFrameBound::Preceding(unbounded_of(units, key)),
            FrameBound::UnboundedFollowing => WindowFrameBound::Following(unbounded_of(units, key)),
            FrameBound::CurrentRow if everything && start => WindowFrameBound::Preceding(unbounded_of(units, key)),
            FrameBound::CurrentRow if everything => WindowFrameBound::Following(unbounded_of(units, key)),
            FrameBound::CurrentRow => WindowFrameBound::CurrentRow,
            FrameBound::Preceding(offset) | FrameBound::Following(offset)
                if self.context.only_planned && offset.has_subquery() =>
            {
                WindowFrameBound::CurrentRow
            }
            FrameBound::Preceding(offset) => WindowFrameBound::Preceding(self.offset(offset, units, key, "starting")?),
            FrameBound::Following(offset) => WindowFrameBound::Following(self.offset(offset, units, key, "ending")?),
        })
    }

    fn offset_value(&self, offset: &ScalarExpr, units: WindowFrameUnits, which: &str) -> Result<Datum> {
        let ran = RanFirst(|table| self.context.tables.system_rows(table));
        let value = eval(offset, &ran, &self.context.params, &self.context.eval)?;
        if value.is_null() {
            return Err(Error::new(SqlState::NullValueNotAllowed, format!("frame {which} offset must not be null")));
        }
        if units == WindowFrameUnits::Range && !is_distance(&value, offset.ty) {
            let message = "invalid preceding or following size in window function";
            return Err(Error::new(SqlState::InvalidPrecedingOrFollowingSize, message));
        }
        Ok(value)
    }

    fn offset(
        &self,
        offset: &ScalarExpr,
        units: WindowFrameUnits,
        key: Option<&DataType>,
        which: &str,
    ) -> Result<ScalarValue> {
        let negative = || {
            Error::new(SqlState::InvalidPrecedingOrFollowingSize, format!("frame {which} offset must not be negative"))
        };
        match (units, self.offset_value(offset, units, which)?) {
            (WindowFrameUnits::Range, value) => match (&value, key) {
                (Datum::Numeric(_), Some(DataType::Binary)) => {
                    Err(Error::unsupported("a RANGE offset over unconstrained numeric"))
                }
                _ => {
                    let scalar = lower::literal(&value, offset.ty)?;
                    match scalar.expr {
                        Expr::Literal(scalar, _) => Ok(scalar),
                        _ => Err(Error::internal("an offset that is no constant")),
                    }
                }
            },
            (_, Datum::Int8(n)) => u64::try_from(n).map(|n| ScalarValue::UInt64(Some(n))).map_err(|_| negative()),
            _ => Err(Error::internal("a frame offset of another type")),
        }
    }
}

/// Whether RANGE can go so far: not backwards, and NaN is no distance.
fn is_distance(value: &Datum, ty: PgType) -> bool {
    match value {
        Datum::Int2(n) => *n >= 0,
        Datum::Int4(n) => *n >= 0,
        Datum::Int8(n) => *n >= 0,
        Datum::Float4(n) => *n >= 0.0,
        Datum::Float8(n) => *n >= 0.0,
        Datum::Numeric(n) => n.signum() >= 0 && !n.is_nan(),
        Datum::Interval(_) => compare(value, &Datum::Interval(Interval::new(0, 0, 0)), ty).is_ge(),
        _ => true,
    }
}

/// Arguments of the function; what RANGE is computed from lies behind them.
fn own_arguments(call: &WindowCall) -> usize {
    let extra = call.frame.computed.map_or(0, |(start, end)| 1 + usize::from(start) + usize::from(end));
    call.args.len().saturating_sub(extra)
}

fn unbounded_of(units: WindowFrameUnits, key: Option<&DataType>) -> ScalarValue {
    match (units, key) {
        (WindowFrameUnits::Range, Some(key)) => ScalarValue::try_new_null(key).unwrap_or(ScalarValue::Null),
        (WindowFrameUnits::Range, None) => ScalarValue::Null,
        _ => ScalarValue::UInt64(None),
    }
}

fn int8_literal(expr: &Expr) -> Expr {
    match expr {
        Expr::Literal(ScalarValue::Int32(value), _) => lit(ScalarValue::Int64(value.map(i64::from))),
        other => cast(other.clone(), DataType::Int64),
    }
}
