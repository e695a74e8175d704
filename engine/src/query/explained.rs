//! A plan as EXPLAIN shows it: a tree of operators under the names that PostgreSQL gives such operators, each with what
//! the engine's own operator says of itself.
//!
//! Cost counts rows: an operator costs the rows that it is estimated to yield, and what its inputs cost.

use std::time::Duration;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};

/// Bytes that PostgreSQL assumes for a value of a varying length.
const VARYING_WIDTH: usize = 32;

/// One operator.
#[derive(Debug, Clone, Default)]
pub struct PlanNode {
    pub name: String,
    /// `Relation Name`, where it scans or changes one.
    pub relation: Option<String>,
    /// Other properties, by PostgreSQL's names for them.
    pub properties: Vec<(&'static str, String)>,
    /// What the engine's operator says of itself.
    pub operator: Option<String>,
    /// Estimated rows; `None`: nobody knows.
    pub rows: Option<usize>,
    pub width: usize,
    pub actual: Option<Actual>,
    pub children: Vec<PlanNode>,
}

#[derive(Debug, Clone, Copy)]
pub struct Actual {
    pub rows: usize,
    pub time: Duration,
}

impl PlanNode {
    pub fn named(name: &str) -> PlanNode {
        PlanNode { name: name.to_string(), ..PlanNode::default() }
    }

    /// Costs up to the first and up to the last row.
    pub fn cost(&self) -> (f64, f64) {
        let costs: Vec<(f64, f64)> = self.children.iter().map(PlanNode::cost).collect();
        let inputs: f64 = costs.iter().map(|(_, all)| all).sum();
        let blocks = matches!(self.name.as_str(), "Sort" | "Aggregate" | "Hash Join");
        let first = match blocks {
            true => inputs,
            false => costs.first().map_or(0.0, |(first, _)| *first),
        };
        (first, inputs + self.rows.unwrap_or(0) as f64)
    }
}

/// PostgreSQL's name for an operator, and what it adds to its properties.
fn postgres_name(operator: &str, line: &str) -> (&'static str, Vec<(&'static str, String)>) {
    let has = |text: &str| line.contains(text);
    let plain = |name| (name, Vec::new());
    match operator {
        "ScanExec" => plain("Seq Scan"),
        "HashJoinExec" | "SortMergeJoinExec" | "NestedLoopJoinExec" | "CrossJoinExec" => {
            let name = match operator {
                "HashJoinExec" => "Hash Join",
                "SortMergeJoinExec" => "Merge Join",
                _ => "Nested Loop",
            };
            let kinds = [("Left", "Left"), ("Right", "Right"), ("Full", "Full"), ("Semi", "Semi"), ("Anti", "Anti")];
            let join = line.split("join_type=").nth(1).unwrap_or("Inner");
            let word: String = join.chars().take_while(|c| c.is_alphanumeric()).collect();
            // Semi and Anti come as LeftSemi and the like.
            let kind = kinds.iter().rev().find(|(k, _)| word.contains(k)).map_or("Inner", |(_, name)| *name);
            (name, vec![("Join Type", kind.to_string())])
        }
        "SortExec" | "PartialSortExec" => plain("Sort"),
        "SortPreservingMergeExec" => plain("Gather Merge"),
        "CoalescePartitionsExec" | "RepartitionExec" | super::in_order::NAME => plain("Gather"),
        "AggregateExec" => {
            let mode = match line {
                _ if has("mode=Partial") => "Partial",
                _ if has("mode=Final") => "Finalize",
                _ => "Simple",
            };
            let strategy = if has("gby=[]") { "Plain" } else { "Hashed" };
            ("Aggregate", vec![("Strategy", strategy.to_string()), ("Partial Mode", mode.to_string())])
        }
        "GlobalLimitExec" | "LocalLimitExec" => plain("Limit"),
        "UnionExec" | "InterleaveExec" => plain("Append"),
        "WindowAggExec" | "BoundedWindowAggExec" => plain("WindowAgg"),
        "RecursiveQueryExec" => plain("Recursive Union"),
        "WorkTableExec" => plain("WorkTable Scan"),
        "DataSourceExec" | "ValuesExec" => plain("Values Scan"),
        "SeriesExec" => plain("ProjectSet"),
        _ => plain("Result"),
    }
}

/// The tree of a physical plan; with figures once it has run.
pub fn tree(plan: &dyn ExecutionPlan, figures: bool) -> PlanNode {
    if plan.name() == "WatchedExec"
        && let [child] = plan.children().as_slice()
    {
        return tree(child.as_ref(), figures);
    }
    let line = DisplayableExecutionPlan::new(plan).one_line().to_string().trim().to_string();
    let (name, properties) = postgres_name(plan.name(), &line);
    let relation = line.strip_prefix("Scan on ").map(|rest| rest.split(',').next().unwrap_or(rest).to_string());
    let statistics = StatisticsContext::new().compute(plan, &StatisticsArgs::new()).ok();
    let rows = statistics.and_then(|s| s.num_rows.get_value().copied());
    let metrics = plan.metrics().filter(|_| figures);
    let actual = metrics.map(|m| Actual {
        rows: m.output_rows().unwrap_or(0),
        time: Duration::from_nanos(m.elapsed_compute().unwrap_or(0) as u64),
    });
    let width = plan.schema().fields().iter().map(|f| f.data_type().primitive_width().unwrap_or(VARYING_WIDTH)).sum();
    let mut children: Vec<PlanNode> = plan.children().into_iter().map(|c| tree(c.as_ref(), figures)).collect();
    // What no statistics tell is at least what comes in.
    let rows = rows.or_else(|| children.iter().filter_map(|c| c.rows).max());
    for child in &mut children {
        child.properties.retain(|(name, _)| *name != "Parent Relationship");
    }
    PlanNode { name: name.to_string(), relation, properties, operator: Some(line), rows, width, actual, children }
}
