//! The figures in Prometheus' text format (0.0.4). Names end in their unit, as Prometheus wants them.
//!
//! The same figures as in the views, read at the moment of the question. Labels are names of the catalog, of nodes and
//! of kinds; no statement's text is among them.

use std::fmt::Write;
use std::time::Duration;

use super::{Distribution, Severity};
use crate::commit_log::ClusterStatus;
use crate::engine::Engine;
use crate::session::registry::ActivityState;

/// Statements that have series of their own: those that took longest.
const STATEMENTS: usize = 50;

impl Engine {
    /// Everything that this node knows, of itself and of the cluster.
    pub async fn metrics(&self) -> String {
        let status = match self.log() {
            Some(log) => log.status().await,
            None => ClusterStatus::default(),
        };
        let mut out = Exposition::default();
        self.node_metrics(&mut out);
        self.cluster_metrics(&status, &mut out);
        self.log_metrics(&mut out);
        self.session_metrics(&mut out);
        self.statement_metrics(&mut out);
        self.table_metrics(&mut out);
        out.text
    }

    fn node_metrics(&self, out: &mut Exposition) {
        let (node, version) = (self.config.node_name.as_str(), env!("CARGO_PKG_VERSION"));
        out.gauge("lockstep_info", "Version and name of the node", [(vec![("node", node), ("version", version)], 1.0)]);
        out.gauge(
            "lockstep_up",
            "Whether the node has its log and serves",
            one(f64::from(u8::from(self.log().is_some()))),
        );
        out.gauge("lockstep_primary", "Whether the node is the primary", one(f64::from(u8::from(!self.is_standby()))));
        out.gauge("lockstep_start_time_seconds", "When the node started", one(self.started() as f64 / 1e6));
        out.gauge("lockstep_memory_used_bytes", "Memory of rows, indexes and queries", one(self.memory_used() as f64));
        out.gauge("lockstep_memory_limit_bytes", "Most that it may be", one(self.config.memory_limit as f64));
    }

    fn cluster_metrics(&self, status: &ClusterStatus, out: &mut Exposition) {
        let problems = self.problems(status);
        let wrong = problems.iter().map(|(p, _)| {
            (vec![("problem", p.kind.as_str()), ("node", p.node.as_str()), ("severity", p.severity.text())], 1.0)
        });
        out.gauge("lockstep_problem", "What is wrong, as in lockstep_health", wrong);
        for severity in [Severity::Critical, Severity::Warning] {
            let count = problems.iter().filter(|(p, _)| p.severity == severity).count();
            let (name, help) = match severity {
                Severity::Critical => ("lockstep_problems_critical", "How many critical problems there are"),
                Severity::Warning => ("lockstep_problems_warning", "How many warnings there are"),
            };
            out.gauge(name, help, one(count as f64));
        }
        out.gauge("lockstep_term", "Term of the cluster's log", one(status.term as f64));
        let nodes = || status.nodes.iter();
        let state = nodes().map(|n| {
            let labels = vec![
                ("node", n.name.as_str()),
                ("role", n.role.as_str()),
                ("membership", n.membership.as_str()),
                ("state", n.state.as_str()),
            ];
            (labels, 1.0)
        });
        out.gauge("lockstep_node", "The nodes of the cluster and what they are", state);
        let standby = || nodes().filter(|n| Some(n.id) != status.primary);
        out.gauge(
            "lockstep_replication_lag_bytes",
            "Bytes of the log that a standby has not applied",
            standby().map(|n| (vec![("node", n.name.as_str())], n.lag_bytes as f64)),
        );
        out.gauge(
            "lockstep_replication_lag_seconds",
            "For how long the log has held what a standby has not applied",
            standby().filter_map(|n| Some((vec![("node", n.name.as_str())], n.lag?.as_secs_f64()))),
        );
    }

    fn log_metrics(&self, out: &mut Exposition) {
        let log = self.log_figures();
        out.gauge("lockstep_wal_segments", "Segments of the log", one(log.segments as f64));
        out.gauge("lockstep_wal_bytes", "Bytes that the log takes on disk", one(log.segment_bytes as f64));
        out.counter("lockstep_wal_written_bytes_total", "Bytes written to the log", one(log.written_bytes as f64));
        out.counter("lockstep_wal_writes_total", "Writes to the log, each synced", one(log.batches as f64));
        out.gauge("lockstep_wal_queued_bytes", "Bytes that wait to be written", one(log.queued_bytes as f64));
        out.gauge("lockstep_wal_appended_position", "Position of the log's end", one(log.appended.0 as f64));
        out.gauge("lockstep_wal_durable_position", "Position up to which the log is synced", one(log.durable.0 as f64));
        out.gauge("lockstep_wal_full", "Whether there is no space for the log", one(f64::from(u8::from(log.full))));
        let c = &log.checkpoint;
        out.gauge(
            "lockstep_checkpoint_running",
            "Whether a checkpoint is being written",
            one(f64::from(u8::from(c.running))),
        );
        out.counter("lockstep_checkpoints_written_total", "Checkpoints written", one(c.written as f64));
        out.counter("lockstep_checkpoints_failed_total", "Checkpoints that failed", one(c.failed as f64));
        out.gauge("lockstep_checkpoint_position", "Position of the newest checkpoint", one(c.position.0 as f64));
        out.gauge("lockstep_checkpoint_bytes", "Bytes of the newest checkpoint", one(c.bytes as f64));
        let finished = c.finished_at.map(|at| (Vec::new(), at as f64 / 1e6));
        out.gauge("lockstep_checkpoint_time_seconds", "When the newest checkpoint was finished", finished);
        let took = c.duration.map(|took| (Vec::new(), took.as_secs_f64()));
        out.gauge("lockstep_checkpoint_duration_seconds", "How long the last checkpoint took to write", took);
        out.gauge(
            "lockstep_checkpoint_due_bytes",
            "Bytes of log that bring about a checkpoint",
            one(c.log_bytes_due as f64),
        );
        out.gauge("lockstep_checkpoint_log_bytes", "Bytes of log since the last one", one(c.log_bytes_since as f64));
        if let Some(archive) = self.log().and_then(|log| log.archive_status()) {
            out.counter(
                "lockstep_archived_total",
                "Ranges of the log that were archived",
                one(archive.archived as f64),
            );
            out.counter("lockstep_archive_failed_total", "Attempts that failed", one(archive.failed as f64));
            let failing = f64::from(u8::from(archive.failing.is_some()));
            out.gauge("lockstep_archive_failing", "Whether the log cannot be archived", one(failing));
        }
        for (kind, latency) in self.latencies() {
            let name = format!("lockstep_{kind}_duration_seconds");
            out.histogram(&name, "How long each took", &latency);
        }
    }

    fn session_metrics(&self, out: &mut Exposition) {
        let sessions = self.sessions().list();
        let states = [
            ActivityState::Active,
            ActivityState::Idle,
            ActivityState::IdleInTransaction,
            ActivityState::IdleInTransactionAborted,
        ];
        let counts = states.map(|state| {
            let count = sessions.iter().filter(|s| s.activity.lock().state == state).count();
            (vec![("state", state.text())], count as f64)
        });
        out.gauge("lockstep_sessions", "Sessions of clients", counts);
        let waits = self.transactions().locks.waits().len();
        out.gauge("lockstep_lock_waits", "Sessions that wait for a lock", one(waits as f64));
        let locks = self.transactions().locks.list().len();
        out.gauge("lockstep_locks", "Locks held or waited for", one(locks as f64));
        let (committed, rolled_back) = self.sessions().ended_transactions();
        out.counter("lockstep_transactions_committed_total", "Transactions that committed", one(committed as f64));
        out.counter(
            "lockstep_transactions_rolled_back_total",
            "Transactions that rolled back",
            one(rolled_back as f64),
        );
        let deadlocks = self.transactions().locks.deadlocks();
        out.counter("lockstep_deadlocks_total", "Deadlocks that were broken", one(deadlocks as f64));
    }

    fn statement_metrics(&self, out: &mut Exposition) {
        let statements = self.monitor.statements.list();
        let known: Vec<_> = statements.iter().take(STATEMENTS).map(|s| (s.id.to_string(), s)).collect();
        fn label(id: &str) -> Vec<(&'static str, &str)> {
            vec![("queryid", id)]
        }
        let calls = known.iter().map(|(id, s)| (label(id), s.latency.count() as f64));
        out.counter("lockstep_statement_calls_total", "Executions of the statements that took longest", calls);
        let rows = known.iter().map(|(id, s)| (label(id), s.rows as f64));
        out.counter("lockstep_statement_rows_total", "Rows that they returned or changed", rows);
        let seconds = known.iter().map(|(id, s)| (label(id), s.latency.total().as_secs_f64()));
        out.counter("lockstep_statement_seconds_total", "Time that they took", seconds);
        let errors = known.iter().map(|(id, s)| (label(id), s.errors as f64));
        out.counter("lockstep_statement_errors_total", "Executions that ended in an error", errors);
    }

    fn table_metrics(&self, out: &mut Exposition) {
        let state = self.transactions().storage.state();
        let catalog = &state.catalog;
        let mut tables: Vec<_> = state.tables.values().collect();
        tables.sort_by_key(|table| table.def.oid);
        let figures: Vec<_> = tables
            .iter()
            .map(|table| (catalog.schema_name(table.def.schema), table.def.name.as_str(), table.figures()))
            .collect();
        fn labels<'a>(schema: &'a str, name: &'a str) -> Vec<(&'a str, &'a str)> {
            vec![("schema", schema), ("table", name)]
        }
        type Figure = fn(&crate::system::TableFigures) -> u64;
        let counters: [(&str, &str, Figure); 6] = [
            ("lockstep_table_inserted_rows_total", "Rows inserted", |f| f.inserted),
            ("lockstep_table_updated_rows_total", "Rows updated", |f| f.updated),
            ("lockstep_table_deleted_rows_total", "Rows deleted", |f| f.deleted),
            ("lockstep_table_sequential_scans_total", "Scans of a whole table", |f| f.sequential_scans),
            ("lockstep_table_sequential_rows_total", "Rows that they returned", |f| f.sequential_rows),
            ("lockstep_table_index_scans_total", "Look-ups in the table's indexes", |f| f.index_scans),
        ];
        for (name, help, of) in counters {
            out.counter(name, help, figures.iter().map(|(schema, table, f)| (labels(schema, table), of(f) as f64)));
        }
        let gauges: [(&str, &str, Figure); 3] = [
            ("lockstep_table_rows", "Live rows", |f| f.live_rows),
            ("lockstep_table_dead_rows", "Row versions that wait for collection", |f| f.dead_rows),
            ("lockstep_table_bytes", "Memory of the rows, without indexes", |f| f.bytes),
        ];
        for (name, help, of) in gauges {
            out.gauge(name, help, figures.iter().map(|(schema, table, f)| (labels(schema, table), of(f) as f64)));
        }
        let skew = tables.iter().zip(&figures).map(|(table, (schema, name, _))| {
            let rows: Vec<u64> = table.store.partition_figures().iter().map(|p| p.rows).collect();
            (labels(schema, name), skew(&rows))
        });
        out.gauge("lockstep_table_skew", "Rows of the fullest partition by those of the average one", skew);
    }
}

/// Rows of the fullest partition by those of the average one; 1 for an empty table.
pub fn skew(rows: &[u64]) -> f64 {
    let (sum, most) = (rows.iter().sum::<u64>(), rows.iter().max().copied().unwrap_or(0));
    if sum == 0 { 1.0 } else { most as f64 * rows.len() as f64 / sum as f64 }
}

fn one<'a>(value: f64) -> [(Vec<(&'a str, &'a str)>, f64); 1] {
    [(Vec::new(), value)]
}

/// The text that is being written.
#[derive(Debug, Default)]
struct Exposition {
    text: String,
}

impl Exposition {
    fn gauge<'a>(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, f64)>) {
        self.family(name, help, "gauge", rows);
    }

    fn counter<'a>(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, f64)>) {
        self.family(name, help, "counter", rows);
    }

    fn family<'a>(
        &mut self,
        name: &str,
        help: &str,
        kind: &str,
        rows: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, f64)>,
    ) {
        self.head(name, help, kind);
        for (labels, value) in rows {
            self.row(name, &labels, value);
        }
    }

    fn histogram(&mut self, name: &str, help: &str, latency: &Distribution) {
        self.head(name, help, "histogram");
        let bucket = format!("{name}_bucket");
        for (end, count) in latency.octaves() {
            let end = end.as_secs_f64().to_string();
            self.row(&bucket, &[("le", &end)], count as f64);
        }
        let count = latency.count() as f64;
        self.row(&bucket, &[("le", "+Inf")], count);
        self.row(&format!("{name}_sum"), &[], Duration::as_secs_f64(&latency.total()));
        self.row(&format!("{name}_count"), &[], count);
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a String does not fail.
        let _ = write!(self.text, "# HELP {name} {help}.\n# TYPE {name} {kind}\n");
    }

    fn row(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(name);
        for (i, (label, of)) in labels.iter().enumerate() {
            self.text.push(if i == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            of.chars().for_each(|c| match c {
                '\\' => self.text.push_str("\\\\"),
                '"' => self.text.push_str("\\\""),
                '\n' => self.text.push_str("\\n"),
                other => self.text.push(other),
            });
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_rows_are_whole() {
        let mut out = Exposition::default();
        out.gauge("a_bytes", "What", [(vec![("x", "q\"\\\n"), ("y", "ä")], 1.5), (Vec::new(), 3e9)]);
        let wanted =
            "# HELP a_bytes What.\n# TYPE a_bytes gauge\na_bytes{x=\"q\\\"\\\\\\n\",y=\"ä\"} 1.5\na_bytes 3000000000\n";
        assert_eq!(out.text, wanted);
    }

    #[test]
    fn histograms_are_cumulative_and_end_with_all() {
        let histogram = super::super::Histogram::default();
        [1, 10, 100].iter().for_each(|ms| histogram.record(Duration::from_millis(*ms)));
        let mut out = Exposition::default();
        out.histogram("t_seconds", "What", &histogram.read());
        let counts: Vec<u64> = out
            .text
            .lines()
            .filter(|line| line.starts_with("t_seconds_bucket"))
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        assert!(counts.is_sorted() && counts.first() == Some(&0) && counts.last() == Some(&3), "{counts:?}");
        assert!(out.text.ends_with("t_seconds_sum 0.111\nt_seconds_count 3\n"), "{}", out.text);
    }

    #[test]
    fn skew_is_one_when_all_are_even() {
        assert_eq!((skew(&[]), skew(&[0, 0]), skew(&[5, 5]), skew(&[9, 0, 0])), (1.0, 1.0, 1.0, 3.0));
    }
}
