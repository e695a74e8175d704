//! EXPLAIN: its options, the tree of a statement, and the four formats that clients read.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Session;
use super::plan::{Plan, Prepared};
use super::portal::{Portal, PortalState, RowSource, Tag};
use super::settings::value::parse_bool;
use crate::error::{Error, NoticeLevel, Result, SqlState};
use crate::query::explained::{Actual, PlanNode};
use crate::sql::utility::{Options, Utility};
use crate::sql::{BoundQuery, Parsed, Statement};
use crate::txn::Reads;
use crate::types::{Datum, TypeOid};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    Json,
    Yaml,
    Xml,
}

/// What EXPLAIN's options say.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExplainOptions {
    analyze: bool,
    verbose: bool,
    costs: bool,
    timing: bool,
    summary: bool,
    format: Format,
    /// Asked for, and nothing that Lockstep has.
    buffers: bool,
    wal: bool,
    settings: bool,
}

impl ExplainOptions {
    pub fn parse(options: &Options) -> Result<ExplainOptions> {
        let mut out = ExplainOptions {
            analyze: false,
            verbose: false,
            costs: true,
            timing: true,
            summary: false,
            format: Format::Text,
            buffers: false,
            wal: false,
            settings: false,
        };
        let (mut timing, mut summary) = (None, None);
        for (name, value) in options {
            if name == "format" {
                let word = value.first().map(|v| v.to_lowercase()).unwrap_or_default();
                out.format = match word.as_str() {
                    "text" => Format::Text,
                    "json" => Format::Json,
                    "yaml" => Format::Yaml,
                    "xml" => Format::Xml,
                    other => {
                        let message = format!("unrecognized value for EXPLAIN option \"format\": \"{other}\"");
                        return Err(Error::new(SqlState::InvalidParameterValue, message));
                    }
                };
                continue;
            }
            let on = match value.first() {
                None => true,
                Some(word) => parse_bool(word)
                    .ok_or_else(|| Error::new(SqlState::SyntaxError, format!("{name} requires a Boolean value")))?,
            };
            match name.as_str() {
                "analyze" => out.analyze = on,
                "verbose" => out.verbose = on,
                "costs" => out.costs = on,
                "buffers" => out.buffers = on,
                "wal" => out.wal = on,
                "settings" => out.settings = on,
                "timing" => timing = Some(on),
                "summary" => summary = Some(on),
                _ => {
                    let message = format!("unrecognized EXPLAIN option \"{name}\"");
                    return Err(Error::new(SqlState::SyntaxError, message));
                }
            }
        }
        for (asked, name) in [(out.wal, "WAL"), (timing == Some(true), "TIMING")] {
            if asked && !out.analyze {
                let message = format!("EXPLAIN option {name} requires ANALYZE");
                return Err(Error::new(SqlState::InvalidParameterValue, message));
            }
        }
        out.timing = timing.unwrap_or(true);
        out.summary = summary.unwrap_or(out.analyze);
        Ok(out)
    }

    /// Of the only column.
    pub fn column_type(&self) -> TypeOid {
        match self.format {
            Format::Json => TypeOid::JSON,
            Format::Xml => TypeOid::XML,
            Format::Text | Format::Yaml => TypeOid::TEXT,
        }
    }
}

/// A value in a format that has a structure.
enum Value {
    Text(String),
    /// A number or a truth value, as it is written.
    Plain(String),
    List(Vec<Value>),
    Map(Vec<(&'static str, Value)>),
}

fn text(value: impl Into<String>) -> Value {
    Value::Text(value.into())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Session {
    pub(super) async fn explain(
        &mut self,
        options: &Options,
        statement: Statement,
        outer: &Portal,
    ) -> Result<PortalState> {
        let options = ExplainOptions::parse(options)?;
        for (asked, name, what) in [
            (options.buffers, "BUFFERS", "tables are in memory and have no buffers"),
            (options.wal, "WAL", "the log is not counted by statement"),
            (options.settings, "SETTINGS", "no setting changes plans"),
        ] {
            if asked {
                let message = format!("EXPLAIN option {name} has no effect: {what}");
                self.notice(NoticeLevel::Notice, Error::new(SqlState::SuccessfulCompletion, message));
            }
        }
        self.transaction()?;
        let began = Instant::now();
        let outer_parsed = &outer.prepared.parsed;
        let executed = match &statement {
            Statement::Utility(utility) => match &**utility {
                Utility::Execute { name, args } => Some((name.clone(), args.clone())),
                _ => None,
            },
            _ => None,
        };
        let (prepared, params) = match executed {
            Some((name, args)) => self.prepared_with(&name, &args, &outer.prepared.parsed.source, &outer.params)?,
            None => {
                let statement = match statement {
                    Statement::Utility(utility) => match *utility {
                        Utility::Declare { query, .. } => *query,
                        utility => Statement::Utility(Box::new(utility)),
                    },
                    statement => statement,
                };
                let inner = Parsed {
                    statement,
                    source: outer_parsed.source.clone(),
                    text: outer_parsed.text.clone(),
                    parameters: outer_parsed.parameters,
                };
                (self.plan(Arc::new(inner), outer.prepared.parameters.to_vec())?, outer.params.clone())
            }
        };
        let shared = self.shared.clone();
        let work = pin!(self.explained(&prepared, &params, options.analyze));
        let Some((root, run)) = shared.interruptible(outer.deadline, work).await? else {
            let line = std::iter::once(Datum::from("Utility Statement")).collect();
            return Ok(PortalState::Rows { source: RowSource::tuples(vec![line]), tag: Tag::Fixed("EXPLAIN") });
        };
        let planning = began.elapsed().saturating_sub(run.unwrap_or_default());
        let lines = match options.format {
            Format::Text => text_lines(&root, &options, planning, run),
            _ => vec![structured(&root, &options, planning, run)],
        };
        let rows = lines.iter().map(|l| std::iter::once(Datum::from(l.as_str())).collect()).collect();
        Ok(PortalState::Rows { source: RowSource::tuples(rows), tag: Tag::Fixed("EXPLAIN") })
    }

    /// The tree of a statement and, if it ran, for how long. `None`: it is nothing that is planned.
    async fn explained(
        &mut self,
        prepared: &Arc<Prepared>,
        params: &Arc<[Datum]>,
        analyze: bool,
    ) -> Result<Option<(PlanNode, Option<Duration>)>> {
        match &prepared.plan {
            Plan::Query(plan) => match &plan.point {
                Some(point) => {
                    let mut root = PlanNode::named(point.explain().first().map_or("Result", String::as_str));
                    let ran = if analyze { Some(self.run_explained(prepared, params, &mut root).await?) } else { None };
                    Ok(Some((root, ran)))
                }
                None => {
                    self.begin_statement(Reads::Snapshot).await?;
                    let (root, ran) = self.explained_query(&plan.bound, params, analyze).await?;
                    Ok(Some((root, ran)))
                }
            },
            plan @ (Plan::Insert(_) | Plan::Update(_) | Plan::Delete(_) | Plan::Merge(_) | Plan::Parts(_)) => {
                self.begin_statement(Reads::Snapshot).await?;
                let mut root = Box::pin(self.explained_change(plan, params)).await?;
                let ran = if analyze { Some(self.run_explained(prepared, params, &mut root).await?) } else { None };
                Ok(Some((root, ran)))
            }
            Plan::Ddl | Plan::Utility | Plan::Empty => Ok(None),
        }
    }

    async fn explained_query(
        &mut self,
        bound: &BoundQuery,
        params: &Arc<[Datum]>,
        analyze: bool,
    ) -> Result<(PlanNode, Option<Duration>)> {
        let context = match analyze {
            true => self.query_context(bound, params).await?,
            false => self.query_context_unlocked(bound, params).await?,
        };
        let engine = self.engine.clone();
        engine.query().explain(bound, context, analyze).await
    }

    /// The tree of a statement that changes rows, without running it.
    async fn explained_change(&mut self, plan: &Plan, params: &Arc<[Datum]>) -> Result<PlanNode> {
        let modify = |operation: &str, relation: &str| PlanNode {
            name: "ModifyTable".into(),
            relation: Some(relation.to_string()),
            properties: vec![("Operation", operation.to_string())],
            ..PlanNode::default()
        };
        let (mut root, query) = match plan {
            Plan::Insert(plan) => {
                let mut root = modify("Insert", &plan.rules.def.name);
                let query = match &plan.source {
                    crate::dml::insert::Source::Query(query) => Some(&**query),
                    crate::dml::insert::Source::Rows(rows) => {
                        let values = PlanNode { rows: Some(rows.len()), ..PlanNode::named("Result") };
                        root.children.push(values);
                        None
                    }
                };
                (root, query)
            }
            Plan::Update(plan) => (modify("Update", &plan.rules.def.name), plan.target.row_query()),
            Plan::Delete(plan) => (modify("Delete", &plan.def.name), plan.target.row_query()),
            Plan::Merge(plan) => (modify("Merge", &plan.insert.rules.def.name), Some(plan.rows())),
            Plan::Parts(plan) => {
                let mut root = match &plan.main {
                    // Its rows come from parts that have not run.
                    Plan::Query(_) => PlanNode::named("CTE Scan"),
                    main => Box::pin(self.explained_change(main, params)).await?,
                };
                for part in &plan.parts {
                    let mut child = Box::pin(self.explained_change(&part.plan, params)).await?;
                    child.properties.push(("Parent Relationship", "InitPlan".to_string()));
                    root.children.push(child);
                }
                return Ok(root);
            }
            _ => return Ok(PlanNode::named("Result")),
        };
        match (plan, query) {
            (Plan::Update(plan), None) => root.children.push(point_node(plan.target.explain())),
            (Plan::Delete(plan), None) => root.children.push(point_node(plan.target.explain())),
            // What reads the rows of other parts is not planned before they ran.
            (_, Some(query)) if !query.scans_transients() => {
                root.children.push(self.explained_query(query, params, false).await?.0);
            }
            _ => {}
        }
        let heirs: Vec<&BoundQuery> = match plan {
            Plan::Update(plan) => plan.members().skip(1).filter_map(|heir| heir.target.row_query()).collect(),
            Plan::Delete(plan) => plan.members().skip(1).filter_map(|heir| heir.target.row_query()).collect(),
            _ => Vec::new(),
        };
        for query in heirs.into_iter().filter(|query| !query.scans_transients()) {
            root.children.push(self.explained_query(query, params, false).await?.0);
        }
        Ok(root)
    }

    /// Runs a statement for EXPLAIN ANALYZE and drops its rows.
    async fn run_explained(
        &mut self,
        prepared: &Arc<Prepared>,
        params: &Arc<[Datum]>,
        root: &mut PlanNode,
    ) -> Result<Duration> {
        let began = Instant::now();
        let state = self.run_locked(prepared, params).await?;
        let mut rows = 0;
        if let PortalState::Rows { mut source, .. } = state {
            while let Some(part) = source.next(usize::MAX).await? {
                rows += super::portal::row_count(&part);
            }
        }
        let time = began.elapsed();
        root.actual = Some(Actual { rows, time });
        Ok(time)
    }
}

fn point_node(lines: Vec<String>) -> PlanNode {
    PlanNode::named(lines.first().map_or("Result", String::as_str))
}

/// `Seq Scan on t`, `Update on t`.
fn title(node: &PlanNode) -> String {
    let operation = node.properties.iter().find(|(name, _)| *name == "Operation").map(|(_, value)| value);
    let name = operation.unwrap_or(&node.name);
    match &node.relation {
        Some(relation) => format!("{name} on {relation}"),
        None => name.clone(),
    }
}

fn text_lines(
    root: &PlanNode,
    options: &ExplainOptions,
    planning: Duration,
    execution: Option<Duration>,
) -> Vec<String> {
    fn node_lines(node: &PlanNode, depth: usize, options: &ExplainOptions, out: &mut Vec<String>) {
        let mut line = title(node);
        if options.costs {
            let (first, last) = node.cost();
            let rows = node.rows.unwrap_or(0);
            line += &format!("  (cost={first:.2}..{last:.2} rows={rows} width={})", node.width);
        }
        if let Some(actual) = node.actual.filter(|_| options.analyze) {
            let time = milliseconds(actual.time);
            line += &match options.timing {
                true => format!(" (actual time={time:.3}..{time:.3} rows={} loops=1)", actual.rows),
                false => format!(" (actual rows={} loops=1)", actual.rows),
            };
        }
        let indent = match depth {
            0 => String::new(),
            _ => format!("{}->  ", " ".repeat(6 * depth - 4)),
        };
        out.push(indent + &line);
        if let Some(operator) = node.operator.as_ref().filter(|o| !o.starts_with("Scan on ") || options.verbose) {
            out.push(format!("{}Operator: {operator}", " ".repeat(6 * depth + 2)));
        }
        node.children.iter().for_each(|child| node_lines(child, depth + 1, options, out));
    }
    let mut lines = Vec::new();
    node_lines(root, 0, options, &mut lines);
    if options.summary {
        lines.push(format!("Planning Time: {:.3} ms", milliseconds(planning)));
        lines.extend(execution.map(|time| format!("Execution Time: {:.3} ms", milliseconds(time))));
    }
    lines
}

fn node_value(node: &PlanNode, options: &ExplainOptions, relationship: Option<&'static str>) -> Value {
    let mut map: Vec<(&'static str, Value)> = vec![("Node Type", text(&node.name))];
    let own = node.properties.iter().any(|(name, _)| *name == "Parent Relationship");
    if let Some(relationship) = relationship.filter(|_| !own) {
        map.push(("Parent Relationship", text(relationship)));
    }
    map.extend(node.properties.iter().map(|(name, value)| (*name, text(value))));
    map.push(("Parallel Aware", Value::Plain("false".into())));
    map.push(("Async Capable", Value::Plain("false".into())));
    if let Some(relation) = &node.relation {
        map.push(("Relation Name", text(relation)));
        map.push(("Alias", text(relation)));
    }
    if options.costs {
        let (first, last) = node.cost();
        map.push(("Startup Cost", Value::Plain(format!("{first:.2}"))));
        map.push(("Total Cost", Value::Plain(format!("{last:.2}"))));
        map.push(("Plan Rows", Value::Plain(node.rows.unwrap_or(0).to_string())));
        map.push(("Plan Width", Value::Plain(node.width.to_string())));
    }
    if let Some(actual) = node.actual.filter(|_| options.analyze) {
        let time = format!("{:.3}", milliseconds(actual.time));
        if options.timing {
            map.push(("Actual Startup Time", Value::Plain(time.clone())));
            map.push(("Actual Total Time", Value::Plain(time)));
        }
        map.push(("Actual Rows", Value::Plain(actual.rows.to_string())));
        map.push(("Actual Loops", Value::Plain("1".into())));
    }
    if let Some(operator) = &node.operator {
        map.push(("Operator", text(operator)));
    }
    if !node.children.is_empty() {
        let relationship = |i: usize| if i == 0 { "Outer" } else { "Inner" };
        let children =
            node.children.iter().enumerate().map(|(i, c)| node_value(c, options, Some(relationship(i)))).collect();
        map.push(("Plans", Value::List(children)));
    }
    Value::Map(map)
}

fn structured(root: &PlanNode, options: &ExplainOptions, planning: Duration, execution: Option<Duration>) -> String {
    let mut query: Vec<(&'static str, Value)> = vec![("Plan", node_value(root, options, None))];
    if options.summary {
        query.push(("Planning Time", Value::Plain(format!("{:.3}", milliseconds(planning)))));
    }
    if options.analyze {
        query.push(("Triggers", Value::List(Vec::new())));
    }
    if let Some(time) = execution.filter(|_| options.summary) {
        query.push(("Execution Time", Value::Plain(format!("{:.3}", milliseconds(time)))));
    }
    let mut out = String::new();
    match options.format {
        Format::Json => json(&Value::List(vec![Value::Map(query)]), 0, &mut out),
        Format::Yaml => yaml(&Value::List(vec![Value::Map(query)]), 0, &mut out),
        _ => {
            out.push_str("<explain xmlns=\"http://www.postgresql.org/2009/explain\">\n  <Query>\n");
            query.iter().for_each(|(name, value)| xml(name, value, 4, &mut out));
            out.push_str("  </Query>\n</explain>");
        }
    }
    out
}

/// A string as JSON and YAML write it.
fn quoted(value: &str) -> String {
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn json(value: &Value, indent: usize, out: &mut String) {
    let inner = " ".repeat(indent + 2);
    match value {
        Value::Text(value) => out.push_str(&quoted(value)),
        Value::Plain(value) => out.push_str(value),
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i == 0 { "\n" } else { ",\n" });
                out.push_str(&inner);
                json(item, indent + 2, out);
            }
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            out.push(']');
        }
        Value::Map(entries) => {
            out.push('{');
            for (i, (name, item)) in entries.iter().enumerate() {
                out.push_str(if i == 0 { "\n" } else { ",\n" });
                out.push_str(&inner);
                out.push_str(&quoted(name));
                out.push_str(": ");
                json(item, indent + 2, out);
            }
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            out.push('}');
        }
    }
}

fn yaml(value: &Value, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    match value {
        Value::Text(value) => out.push_str(&quoted(value)),
        Value::Plain(value) => out.push_str(value),
        Value::List(items) => {
            for (i, item) in items.iter().enumerate() {
                if i > 0 || indent > 0 {
                    out.push('\n');
                    out.push_str(&pad);
                }
                out.push_str("- ");
                yaml(item, indent + 2, out);
            }
        }
        Value::Map(entries) => {
            for (i, (name, item)) in entries.iter().enumerate() {
                if i > 0 {
                    out.push('\n');
                    out.push_str(&pad);
                }
                out.push_str(name);
                out.push_str(": ");
                if matches!(item, Value::Map(_)) {
                    out.push('\n');
                    out.push_str(&" ".repeat(indent + 2));
                }
                yaml(item, indent + 2, out);
            }
        }
    }
}

fn xml(name: &str, value: &Value, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    let tag = name.replace(' ', "-");
    match value {
        Value::Text(value) | Value::Plain(value) => {
            let value = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            out.push_str(&format!("{pad}<{tag}>{value}</{tag}>\n"));
        }
        Value::List(items) => {
            out.push_str(&format!("{pad}<{tag}>\n"));
            // `Plans` holds elements named `Plan`.
            let each = tag.strip_suffix('s').unwrap_or(&tag);
            items.iter().for_each(|item| xml(each, item, indent + 2, out));
            out.push_str(&format!("{pad}</{tag}>\n"));
        }
        Value::Map(entries) => {
            out.push_str(&format!("{pad}<{tag}>\n"));
            entries.iter().for_each(|(name, item)| xml(name, item, indent + 2, out));
            out.push_str(&format!("{pad}</{tag}>\n"));
        }
    }
}
