//! Set-returning functions: each input row becomes the rows of its calls, side by side; the shorter ones end in NULLs.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::{ArrayRef, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DFSchemaRef, Result as DfResult};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PhysicalExpr, PlanProperties,
};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use futures::{Stream, StreamExt};

use super::lower::{name, plan_error};
use crate::error::{Error, Result};
use crate::expr::ColumnId;
use crate::functions::lower::into_datafusion_error;
use crate::functions::{EvalContext, Function, Rows};
use crate::sql::rel::{Output, SetCall};
use crate::types::arrow::{ColumnBuilder, ColumnReader};
use crate::types::{Datum, PgType, TypeOid};

/// Name of the physical operator.
pub(super) const NAME: &str = "ProjectSet";

/// Rows of one output batch.
const BATCH: usize = 8192;

/// One call: what to call, the types of its arguments, what it yields.
#[derive(Debug, Clone)]
struct SeriesCall {
    function: Arc<Function>,
    types: Vec<PgType>,
    outputs: Vec<Output>,
}

impl SeriesCall {
    /// The type of the function's row: of its only column, or a record.
    fn ret(&self) -> PgType {
        match self.outputs.as_slice() {
            [only] => only.ty,
            _ => TypeOid::RECORD.into(),
        }
    }
}

/// The logical node.
#[derive(Debug, Clone)]
pub(super) struct SeriesNode {
    input: LogicalPlan,
    calls: Vec<SeriesCall>,
    /// Arguments of all calls, one after the other.
    args: Vec<Expr>,
    ordinality: Option<ColumnId>,
    context: Arc<EvalContext>,
    schema: DFSchemaRef,
}

impl SeriesNode {
    pub(super) fn try_new(
        input: LogicalPlan,
        series: Vec<(SetCall, Vec<(Expr, PgType)>)>,
        ordinality: Option<ColumnId>,
        context: Arc<EvalContext>,
    ) -> Result<SeriesNode> {
        let mut calls = Vec::new();
        let mut args = Vec::new();
        for (call, exprs) in series {
            let types = exprs.iter().map(|(_, ty)| *ty).collect();
            args.extend(exprs.into_iter().map(|(e, _)| e));
            calls.push(SeriesCall { function: call.function, types, outputs: call.outputs });
        }
        let mut fields: Vec<_> = input.schema().iter().map(|(q, f)| (q.cloned(), f.clone())).collect();
        for output in calls.iter().flat_map(|c| &c.outputs) {
            fields.push((None, Arc::new(Field::new(name(output.id), output.ty.arrow(), true))));
        }
        fields.extend(ordinality.map(|id| (None, Arc::new(Field::new(name(id), DataType::Int64, true)))));
        let schema = DFSchema::new_with_metadata(fields, Default::default()).map_err(plan_error)?;
        Ok(SeriesNode { input, calls, args, ordinality, context, schema: Arc::new(schema) })
    }

    fn identity(&self) -> Vec<ColumnId> {
        self.calls.iter().flat_map(|c| c.outputs.iter().map(|o| o.id)).collect()
    }
}

impl PartialEq for SeriesNode {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity() && self.args == other.args && self.input == other.input
    }
}

impl Eq for SeriesNode {}

impl Hash for SeriesNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
        self.args.hash(state);
        self.input.hash(state);
    }
}

impl PartialOrd for SeriesNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.identity().partial_cmp(&other.identity()) {
            Some(Ordering::Equal) if self != other => None,
            order => order,
        }
    }
}

impl UserDefinedLogicalNodeCore for SeriesNode {
    fn name(&self) -> &str {
        "ProjectSet"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.args.clone()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        if self.calls.is_empty() {
            // A barrier.
            return self.schema.fields().iter().map(|field| field.name().clone()).collect();
        }
        // Conditions on the input's own columns may go below.
        self.calls.iter().flat_map(|c| &c.outputs).map(|o| name(o.id)).chain(self.ordinality.map(name)).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.calls.iter().map(|c| c.function.name).collect();
        write!(f, "ProjectSet: {}", names.join(", "))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        let input = inputs.into_iter().next().unwrap_or_else(|| self.input.clone());
        let mut exprs = exprs.into_iter();
        let series = self
            .calls
            .iter()
            .map(|c| {
                let args = c.types.iter().filter_map(|ty| exprs.next().map(|e| (e, *ty))).collect();
                let call = SetCall { function: c.function.clone(), args: vec![], outputs: c.outputs.clone() };
                (call, args)
            })
            .collect();
        SeriesNode::try_new(input, series, self.ordinality, self.context.clone()).map_err(into_datafusion_error)
    }
}

/// Plans [`SeriesNode`].
#[derive(Debug)]
pub(super) struct SeriesPlanner;

#[async_trait]
impl ExtensionPlanner for SeriesPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<SeriesNode>() else {
            return Ok(None);
        };
        let (Some(logical), Some(input)) = (logical_inputs.first(), physical_inputs.first()) else {
            return Ok(None);
        };
        let args = node
            .args
            .iter()
            .map(|e| session.create_physical_expr(e.clone(), logical.schema()))
            .collect::<DfResult<Vec<_>>>()?;
        let schema: SchemaRef = Arc::new(node.schema.as_arrow().clone());
        Ok(Some(Arc::new(SeriesExec::new(node, args, input.clone(), schema))))
    }
}

#[derive(Debug)]
struct SeriesExec {
    calls: Vec<SeriesCall>,
    args: Vec<Arc<dyn PhysicalExpr>>,
    ordinality: bool,
    context: Arc<EvalContext>,
    input: Arc<dyn ExecutionPlan>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl SeriesExec {
    fn new(
        node: &SeriesNode,
        args: Vec<Arc<dyn PhysicalExpr>>,
        input: Arc<dyn ExecutionPlan>,
        schema: SchemaRef,
    ) -> SeriesExec {
        let properties = properties(&input, &schema);
        SeriesExec {
            calls: node.calls.clone(),
            args,
            ordinality: node.ordinality.is_some(),
            context: node.context.clone(),
            input,
            schema,
            properties,
        }
    }
}

fn properties(input: &Arc<dyn ExecutionPlan>, schema: &SchemaRef) -> Arc<PlanProperties> {
    let partitions = input.output_partitioning().partition_count();
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema.clone()),
        datafusion::physical_plan::Partitioning::UnknownPartitioning(partitions),
        EmissionType::Incremental,
        Boundedness::Bounded,
    ))
}

impl DisplayAs for SeriesExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.calls.iter().map(|c| c.function.name).collect();
        write!(f, "ProjectSet: {}", names.join(", "))
    }
}

impl ExecutionPlan for SeriesExec {
    fn name(&self) -> &str {
        NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        for arg in &self.args {
            if f(arg)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    #[allow(deprecated)] // The trait still requires it.
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next().unwrap_or_else(|| self.input.clone());
        Ok(Arc::new(SeriesExec {
            calls: self.calls.clone(),
            args: self.args.clone(),
            ordinality: self.ordinality,
            context: self.context.clone(),
            properties: properties(&input, &self.schema),
            input,
            schema: self.schema.clone(),
        }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        Ok(Box::pin(SeriesStream {
            input: self.input.execute(partition, context)?,
            calls: self.calls.clone(),
            args: self.args.clone(),
            ordinality: self.ordinality,
            context: self.context.clone(),
            schema: self.schema.clone(),
            current: None,
        }))
    }
}

struct SeriesStream {
    input: SendableRecordBatchStream,
    calls: Vec<SeriesCall>,
    args: Vec<Arc<dyn PhysicalExpr>>,
    ordinality: bool,
    context: Arc<EvalContext>,
    schema: SchemaRef,
    current: Option<Current>,
}

/// The input batch at hand and the row whose calls are running.
struct Current {
    batch: RecordBatch,
    args: Vec<ArrayRef>,
    row: usize,
    running: Option<Vec<Option<Rows>>>,
    number: i64,
}

impl SeriesStream {
    fn start(&self, batch: RecordBatch) -> DfResult<Current> {
        let args = self
            .args
            .iter()
            .map(|a| a.evaluate(&batch).and_then(|v| v.into_array(batch.num_rows())))
            .collect::<DfResult<Vec<_>>>()?;
        Ok(Current { batch, args, row: 0, running: None, number: 0 })
    }

    /// The next output batch from the input batch at hand; `None` when it is used up.
    fn fill(&self, current: &mut Current) -> Result<Option<RecordBatch>> {
        let outputs: Vec<PgType> = self.calls.iter().flat_map(|c| c.outputs.iter().map(|o| o.ty)).collect();
        let mut builders = outputs.iter().map(|ty| ColumnBuilder::new(*ty, BATCH)).collect::<Result<Vec<_>>>()?;
        let mut numbers = ColumnBuilder::new(TypeOid::INT8.into(), BATCH)?;
        let mut rows: Vec<u32> = Vec::new();
        let readers = self.readers(current)?;
        while rows.len() < BATCH && current.row < current.batch.num_rows() {
            let running = match current.running.as_mut() {
                Some(running) => running,
                None => {
                    current.number = 0;
                    current.running.insert(self.call_all(&readers, current.row)?)
                }
            };
            let mut any = false;
            let mut values = Vec::with_capacity(outputs.len());
            for (call, rows) in self.calls.iter().zip(running.iter_mut()) {
                match rows.as_mut().and_then(Iterator::next) {
                    Some(row) => {
                        any = true;
                        values.extend(row?);
                    }
                    None => {
                        *rows = None;
                        values.extend(call.outputs.iter().map(|_| Datum::Null));
                    }
                }
            }
            if !any {
                current.row += 1;
                current.running = None;
                continue;
            }
            if values.len() != builders.len() {
                return Err(Error::internal("a set-returning function yields rows of another width"));
            }
            for (builder, value) in builders.iter_mut().zip(&values) {
                builder.append(value)?;
            }
            current.number += 1;
            numbers.append(&Datum::Int8(current.number))?;
            rows.push(current.row as u32);
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let count = rows.len();
        let indices = UInt32Array::from(rows);
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for column in current.batch.columns() {
            columns.push(take(column.as_ref(), &indices, None).map_err(|e| Error::internal(e.to_string()))?);
        }
        columns.extend(builders.iter_mut().map(ColumnBuilder::finish));
        if self.ordinality {
            columns.push(numbers.finish());
        }
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map(Some)
            .map_err(|e| Error::internal(e.to_string()))
    }

    fn readers(&self, current: &Current) -> Result<Vec<Vec<Datum>>> {
        // Read whole: a row's iterator must not borrow from the batch.
        let types = self.calls.iter().flat_map(|c| c.types.iter());
        current
            .args
            .iter()
            .zip(types)
            .map(|(array, ty)| {
                let reader = ColumnReader::new(array.as_ref(), *ty)?;
                Ok((current.row..current.batch.num_rows()).map(|i| reader.get(i)).collect())
            })
            .map(|column: Result<Vec<Datum>>| {
                let mut padded = vec![Datum::Null; current.row];
                padded.extend(column?);
                Ok(padded)
            })
            .collect()
    }

    fn call_all(&self, args: &[Vec<Datum>], row: usize) -> Result<Vec<Option<Rows>>> {
        let mut at = 0;
        let mut out = Vec::with_capacity(self.calls.len());
        for call in &self.calls {
            let end = at + call.types.len();
            let values: Vec<Datum> =
                args.get(at..end).unwrap_or_default().iter().filter_map(|c| c.get(row).cloned()).collect();
            at = end;
            out.push(Some(call.function.rows(&self.context, &call.types, call.ret(), &values)?));
        }
        Ok(out)
    }
}

impl Stream for SeriesStream {
    type Item = DfResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(mut current) = self.current.take() {
                match self.fill(&mut current) {
                    Ok(Some(batch)) => {
                        self.current = Some(current);
                        return Poll::Ready(Some(Ok(batch)));
                    }
                    Ok(None) => continue,
                    Err(e) => return Poll::Ready(Some(Err(into_datafusion_error(e)))),
                }
            }
            match self.input.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(batch))) if self.calls.is_empty() => return Poll::Ready(Some(Ok(batch))),
                Poll::Ready(Some(Ok(batch))) => match self.start(batch) {
                    Ok(current) => self.current = Some(current),
                    Err(e) => return Poll::Ready(Some(Err(e))),
                },
                Poll::Ready(Some(Err(e))) => return Poll::Ready(Some(Err(e))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl RecordBatchStream for SeriesStream {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}
