//! Scans as DataFusion sees them: a table provider per scan of a query and its execution plan.
//!
//! The provider knows the table and its columns and holds no rows, so a logical plan can be kept; which rows a statement
//! sees comes with its [`QueryContext`], a configuration extension, when the physical plan is made.
//!
//! Invariants:
//! 1. Column `i` of the provider's schema is `c<id>` of the scan's column `i`; a row id is an Int64 like any other.
//! 2. Pushed filters only leave out chunks that hold no match; DataFusion evaluates them again.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, DataFusionError, Result, ScalarValue, Statistics};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use parking_lot::Mutex;

use super::estimate::selectivity;
use super::fault::to_datafusion;
use super::{ColumnBound, Comparison, QueryContext, ScanRequest, ScanStream, TableStatistics};
use crate::catalog::Oid;
use crate::types::{PgType, TypeOid, arrow as memory};

/// Rows of a table below which one stream is enough.
const ROWS_PER_PARTITION: usize = 8192;

/// The context of the running statement, as a configuration extension.
pub struct Running(pub QueryContext);

/// One column of a [`ScanTable`]. `attnum` 0 is the row id.
#[derive(Debug, Clone)]
pub struct ScannedColumn {
    pub attnum: i16,
    pub name: String,
    pub ty: PgType,
}

/// One scan of a query.
pub struct ScanTable {
    table: Oid,
    /// For EXPLAIN.
    name: String,
    /// pg_catalog and information_schema: rows are made, not stored.
    system: bool,
    columns: Vec<ScannedColumn>,
    schema: SchemaRef,
    statistics: Statistics,
}

impl fmt::Debug for ScanTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScanTable({})", self.name)
    }
}

impl ScanTable {
    /// `context` gives the statistics that planning starts from.
    pub fn new(
        table: Oid,
        name: String,
        system: bool,
        columns: Vec<ScannedColumn>,
        context: &QueryContext,
    ) -> ScanTable {
        let fields: Vec<Field> = columns.iter().map(|c| Field::new(&c.name, arrow_type(c), true)).collect();
        let statistics = match system {
            true => Statistics::new_unknown(&Schema::new(fields.clone())),
            false => {
                let attnums: Vec<i16> = columns.iter().map(|c| c.attnum).collect();
                to_statistics(&context.tables.statistics(table, &attnums), &columns)
            }
        };
        ScanTable { table, name, system, columns, schema: Arc::new(Schema::new(fields)), statistics }
    }

    /// Takes the least and greatest values off the statistics, and counts the rows that `filters` leave of their ranges.
    ///
    /// They are estimates, but where they meet a filter in one value DataFusion takes the column for a constant, which
    /// needs no sorting; so it must not see them, and cannot estimate from them.
    fn apply_ranges(&self, filters: &[Expr], statistics: &mut Statistics) {
        for column in &mut statistics.column_statistics {
            (column.min_value, column.max_value) = (Precision::Absent, Precision::Absent);
        }
        let is_range = |filter: &&Expr| {
            let bound = self.bound(filter).filter(|bound| bound.comparison != Comparison::Eq);
            let ty = bound.and_then(|bound| self.columns.iter().find(|c| c.attnum == bound.attnum)).map(arrow_type);
            ty.is_some_and(|ty| ty.is_integer() || matches!(ty, DataType::Date32 | DataType::Timestamp(..)))
        };
        let ranges = filters.iter().flat_map(split_conjunction).filter(is_range);
        let share = selectivity(&self.statistics, &self.schema, ranges);
        let reduced = |count: usize| (count as f64 * share) as usize;
        statistics.num_rows = statistics.num_rows.map(reduced);
        statistics.total_byte_size = statistics.total_byte_size.map(reduced);
    }

    fn bound(&self, filter: &Expr) -> Option<ColumnBound> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { return None };
        let (column, value, op) = match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), Expr::Literal(value, _)) => (column, value, *op),
            (Expr::Literal(value, _), Expr::Column(column)) => (column, value, op.swap()?),
            _ => return None,
        };
        let comparison = match op {
            Operator::Eq => Comparison::Eq,
            Operator::Lt => Comparison::Lt,
            Operator::LtEq => Comparison::LtEq,
            Operator::Gt => Comparison::Gt,
            Operator::GtEq => Comparison::GtEq,
            _ => return None,
        };
        let scanned = self.columns.iter().find(|c| c.name == column.name)?;
        if scanned.attnum == 0 || value.is_null() || value.data_type() != arrow_type(scanned) {
            return None;
        }
        let value = memory::from_scalar(value, scanned.ty).ok()?;
        Some(ColumnBound { attnum: scanned.attnum, comparison, value })
    }
}

fn arrow_type(column: &ScannedColumn) -> DataType {
    if column.attnum == 0 { DataType::Int64 } else { column.ty.arrow() }
}

fn to_statistics(known: &TableStatistics, columns: &[ScannedColumn]) -> Statistics {
    let inexact = |value: Option<usize>| value.map_or(Precision::Absent, Precision::Inexact);
    let column = |scanned: &ScannedColumn, known: Option<&super::ColumnStatistics>| {
        let Some(known) = known else { return ColumnStatistics::new_unknown() };
        let scalar = |value: &Option<crate::types::Datum>| {
            value
                .as_ref()
                .and_then(|value| memory::to_scalar(value, scanned.ty).ok())
                .map_or(Precision::<ScalarValue>::Absent, Precision::Inexact)
        };
        ColumnStatistics {
            null_count: inexact(known.nulls),
            min_value: scalar(&known.min),
            max_value: scalar(&known.max),
            distinct_count: inexact(known.distinct),
            ..ColumnStatistics::new_unknown()
        }
    };
    let column_statistics: Vec<ColumnStatistics> = columns
        .iter()
        .enumerate()
        .map(|(index, scanned)| match scanned.attnum {
            0 => ColumnStatistics { distinct_count: Precision::Inexact(known.rows), ..ColumnStatistics::new_unknown() },
            _ => column(scanned, known.columns.get(index)),
        })
        .collect();
    let width: usize = columns.iter().map(|c| arrow_type(c).primitive_width().unwrap_or(24)).sum();
    Statistics {
        // Inexact, or DataFusion would answer count(*) from it without looking at the transaction's own rows.
        num_rows: Precision::Inexact(known.rows),
        total_byte_size: Precision::Inexact(known.rows * width),
        column_statistics,
    }
}

#[async_trait]
impl TableProvider for ScanTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let running = state
            .config()
            .get_extension::<Running>()
            .ok_or_else(|| DataFusionError::Internal("a scan is planned outside a statement".into()))?;
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let projection = projection.unwrap_or(&all);
        let columns: Vec<ScannedColumn> = projection.iter().filter_map(|i| self.columns.get(*i).cloned()).collect();
        let schema = Arc::new(self.schema.project(projection)?);
        if self.system {
            let rows = running.0.tables.system_rows(self.table).map_err(to_datafusion)?;
            let indices: Vec<usize> = columns.iter().map(|c| (c.attnum - 1).max(0) as usize).collect();
            let projected = rows.project(&indices)?;
            let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
            let batch = RecordBatch::try_new_with_options(schema.clone(), projected.columns().to_vec(), &options)?;
            return Ok(Arc::new(ScanExec::system(self.name.clone(), schema, batch)));
        }
        let request = ScanRequest {
            table: self.table,
            attnums: columns.iter().map(|c| c.attnum).collect(),
            bounds: filters.iter().flat_map(split_conjunction).filter_map(|filter| self.bound(filter)).collect(),
            partitions: partitions(self.statistics.num_rows, state.config().target_partitions()),
            batch_size: state.config().batch_size(),
        };
        let known = running.0.tables.statistics(self.table, &request.attnums);
        let mut statistics = to_statistics(&known, &columns);
        self.apply_ranges(filters, &mut statistics);
        ScanExec::table(self.name.clone(), schema, request, running, statistics)
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|filter| match self.system || self.bound(filter).is_none() {
                true => TableProviderFilterPushDown::Unsupported,
                false => TableProviderFilterPushDown::Inexact,
            })
            .collect())
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(self.statistics.clone())
    }
}

fn partitions(rows: Precision<usize>, most: usize) -> usize {
    rows.get_value().map_or(most, |rows| (rows / ROWS_PER_PARTITION).clamp(1, most))
}

/// Where a scan's rows come from.
enum Source {
    System(RecordBatch),
    Table { request: ScanRequest, running: Arc<Running> },
}

/// Yields the rows of one scan.
struct ScanExec {
    name: String,
    schema: SchemaRef,
    source: Source,
    /// Streams that no partition has taken yet.
    streams: Mutex<Vec<Option<ScanStream>>>,
    statistics: Arc<Statistics>,
    properties: Arc<PlanProperties>,
}

impl ScanExec {
    fn system(name: String, schema: SchemaRef, batch: RecordBatch) -> ScanExec {
        let mut statistics = Statistics::new_unknown(&schema);
        statistics.num_rows = Precision::Exact(batch.num_rows());
        ScanExec {
            name,
            properties: properties(&schema, 1),
            schema,
            source: Source::System(batch),
            streams: Mutex::default(),
            statistics: Arc::new(statistics),
        }
    }

    fn table(
        name: String,
        schema: SchemaRef,
        request: ScanRequest,
        running: Arc<Running>,
        statistics: Statistics,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let streams = running.0.tables.scan(&request).map_err(to_datafusion)?;
        Ok(Arc::new(ScanExec {
            name,
            properties: properties(&schema, streams.len().max(1)),
            schema,
            source: Source::Table { request, running },
            streams: Mutex::new(streams.into_iter().map(Some).collect()),
            statistics: Arc::new(statistics),
        }))
    }

    /// The stream of a partition; a plan that runs again (a recursive query) scans again.
    fn stream(&self, partition: usize) -> Result<ScanStream> {
        let (request, running) = match &self.source {
            Source::System(batch) => return Ok(Box::new(std::iter::once(Ok(batch.clone())))),
            Source::Table { request, running } => (request, running),
        };
        let mut streams = self.streams.lock();
        if streams.is_empty() {
            return Ok(Box::new(std::iter::empty()));
        }
        if let Some(stream) = streams.get_mut(partition).and_then(Option::take) {
            return Ok(stream);
        }
        let mut again = running.0.tables.scan(request).map_err(to_datafusion)?;
        if again.len() != streams.len() || partition >= again.len() {
            return Err(DataFusionError::Internal("a scan changed its partitions between two runs".into()));
        }
        Ok(again.swap_remove(partition))
    }
}

fn properties(schema: &SchemaRef, partitions: usize) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema.clone()),
        Partitioning::UnknownPartitioning(partitions),
        EmissionType::Incremental,
        Boundedness::Bounded,
    ))
}

impl fmt::Debug for ScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScanExec({})", self.name)
    }
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scan on {}", self.name)?;
        if let Source::Table { request, .. } = &self.source {
            write!(f, ", partitions={}", self.properties.partitioning.partition_count())?;
            if !request.bounds.is_empty() {
                write!(f, ", bounds={}", request.bounds.len())?;
            }
        }
        Ok(())
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &str {
        "ScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let schema = self.schema.clone();
        let batches = self.stream(partition)?.map(move |batch| {
            let batch = batch.map_err(to_datafusion)?;
            // Storage names columns its own way; the types are the same.
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            Ok(RecordBatch::try_new_with_options(schema.clone(), batch.columns().to_vec(), &options)?)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), futures::stream::iter(batches))))
    }

    fn partition_statistics(&self, _partition: Option<usize>) -> Result<Arc<Statistics>> {
        Ok(self.statistics.clone())
    }
}

/// Type of the row-id column.
pub const ROW_ID: PgType = PgType::new(TypeOid::INT8, -1);
