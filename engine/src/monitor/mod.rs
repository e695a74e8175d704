//! What a node measures of itself and says of its state: figures for the views and for Prometheus, from one source.
//!
//! Counting is part of every statement's way, so it takes no lock there and no more than a few relaxed additions
//! ([`histogram`], [`statements`]). [`health`] decides what is wrong; [`prometheus`] writes the figures as text.

mod fingerprint;
pub mod health;
mod histogram;
pub mod prometheus;
pub mod statements;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

pub use health::{Problem, Severity, troubles};
pub use histogram::{Counter, Distribution, Histogram, SharedHistogram};
use statements::Statements;

use crate::commit_log::{ClusterStatus, LogFigures};
use crate::engine::Engine;
use crate::session::registry::now_micros;
use health::{Facts, NodeMemory};

/// How often the state of the cluster is looked at for problems that begin and end.
const ROUND: Duration = Duration::from_secs(1);

/// What an engine measures, other than what its parts keep themselves.
#[derive(Debug, Default)]
pub struct Monitor {
    pub statements: Statements,
    /// Problems that the watch has seen begin, and when (microseconds since 1970).
    problems: Mutex<BTreeMap<(String, String), Known>>,
}

#[derive(Debug, Clone)]
struct Known {
    problem: Problem,
    since: i64,
    /// The log says that it began: what is over by the next look is not told.
    told: bool,
}

/// What a load balancer asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// No log yet: the node recovers or joins.
    Starting,
    Primary,
    Standby,
    /// It votes, and serves nobody.
    Witness,
    /// Neither reads nor writes can be served as they should.
    Unready(String),
}

impl Engine {
    /// What this node is now. A standby counts as one while it knows a primary.
    pub async fn standing(&self) -> Standing {
        let Some(log) = self.log() else { return Standing::Starting };
        if !self.is_standby() {
            return Standing::Primary;
        }
        let status = log.status().await;
        let own = status.nodes.iter().find(|node| node.id == status.this_node);
        match (status.primary, own.map(|node| node.state.as_str())) {
            (None, _) => Standing::Unready("no primary is known".into()),
            _ if self.config.witness => Standing::Witness,
            (Some(primary), _) if primary == status.this_node => Standing::Unready("becoming the primary".into()),
            (_, Some("diverged")) => Standing::Unready("out of service: its state is not that of the others".into()),
            (_, Some("snapshot")) => Standing::Unready("receiving a checkpoint".into()),
            (_, Some("no quorum")) => Standing::Unready("no quorum".into()),
            _ => Standing::Standby,
        }
    }

    /// What is wrong as of this status of the cluster, with the time since when each is known. The worst comes first.
    pub fn problems(&self, status: &ClusterStatus) -> Vec<(Problem, i64)> {
        let memory = &self.transactions().storage.memory;
        let figures = self.log().and_then(|log| log.figures()).unwrap_or_default();
        let facts = Facts {
            status,
            figures: &figures,
            memory: NodeMemory { used: memory.used(), limit: self.config.memory_limit },
        };
        let (known, now) = (self.monitor.problems.lock(), now_micros());
        let since = |p: &Problem| known.get(&p.key()).map_or(now, |known| known.since);
        health::problems(&facts).into_iter().map(|problem| (since(&problem), problem)).map(|(t, p)| (p, t)).collect()
    }

    /// Remembers the problems, and says in the log which ones begin and end.
    fn note_problems(&self, present: Vec<Problem>) {
        let mut known = self.monitor.problems.lock();
        let mut present: BTreeMap<_, _> = present.into_iter().map(|problem| (problem.key(), problem)).collect();
        known.retain(|key, before| {
            let goes_on = present.contains_key(key);
            if !goes_on && before.told {
                let Problem { kind, node, detail, .. } = &before.problem;
                tracing::info!(problem = kind, node, "no longer: {detail}");
            }
            goes_on
        });
        while let Some((key, problem)) = present.pop_first() {
            let now = now_micros();
            let Some(before) = known.get_mut(&key) else {
                known.insert(key, Known { problem, since: now, told: false });
                continue;
            };
            before.problem = problem;
            if std::mem::replace(&mut before.told, true) {
                continue;
            }
            let Problem { kind, node, detail, severity } = &before.problem;
            match severity {
                Severity::Critical => tracing::error!(problem = kind, node, "{detail}"),
                Severity::Warning => tracing::warn!(problem = kind, node, "{detail}"),
            }
        }
    }

    /// The figures of the log; all zero before it runs.
    pub fn log_figures(&self) -> LogFigures {
        self.log().and_then(|log| log.figures()).unwrap_or_default()
    }

    /// Latencies by what took them: statements, commits of transactions that wrote, syncs of the log.
    pub fn latencies(&self) -> [(&'static str, Distribution); 3] {
        [
            ("statement", self.monitor.statements.latency()),
            ("commit", self.transactions().commit_latency.read()),
            ("wal_sync", self.log_figures().sync_latency),
        ]
    }
}

/// Looks at the cluster again and again and says what begins and ends to be wrong, until it is dropped.
pub async fn watch(engine: Arc<Engine>) {
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        if let Some(log) = engine.log() {
            let status = log.status().await;
            let present = engine.problems(&status).into_iter().map(|(problem, _)| problem).collect();
            engine.note_problems(present);
        }
    }
}
