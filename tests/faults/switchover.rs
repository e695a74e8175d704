//! Planned switchovers under load: clients that keep a connection to every node write one row after the other, each a
//! statement that commits by itself, and go on at the next node when one says that it is not the primary (any more).
//!
//! What is measured is the write gap: the longest time between two acknowledgements, of whichever client, around a
//! switchover.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::{Client, Statement};

use super::cluster::{Cluster, Door, NODES};
use super::run::{all_vote, find_primary};

const PATIENCE: Duration = Duration::from_secs(60);
const INSERT: &str = "INSERT INTO written VALUES ($1)";
/// Acknowledgements between two switchovers, at least.
const BETWEEN: usize = 200;

/// What the writers saw.
#[derive(Default)]
struct Seen {
    acknowledged: Vec<(Instant, i64)>,
    unknown: BTreeSet<i64>,
    /// Answers other than success, by SQLSTATE.
    refused: BTreeMap<String, usize>,
    violations: Vec<String>,
}

struct Shared {
    doors: Vec<Door>,
    stopped: AtomicBool,
    next: AtomicI64,
    seen: Mutex<Seen>,
}

/// Writers at work.
pub struct Writers {
    shared: Arc<Shared>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// What came of some switchovers.
pub struct Report {
    /// Sorted.
    pub gaps: Vec<Duration>,
    pub acknowledged: usize,
    pub unknown: usize,
    pub refused: BTreeMap<String, usize>,
    pub violations: Vec<String>,
}

impl Report {
    pub fn gap(&self, share: f64) -> Duration {
        let at = (self.gaps.len() as f64 * share).ceil() as usize;
        self.gaps.get(at.saturating_sub(1).min(self.gaps.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    pub fn print(&self, what: &str) {
        let ms = |share| self.gap(share).as_secs_f64() * 1e3;
        println!(
            "{what}: {} times, write gap median {:.1} ms, p99 {:.1} ms, longest {:.1} ms; {} acknowledged, {} unknown, refused {:?}",
            self.gaps.len(),
            ms(0.5),
            ms(0.99),
            ms(1.0),
            self.acknowledged,
            self.unknown,
            self.refused
        );
    }
}

impl Writers {
    pub async fn start(cluster: &Cluster, writers: usize) -> Self {
        let primary = all_vote(cluster).await.expect("three voters");
        let client = cluster.door(primary).open(TargetSessionAttrs::Any, PATIENCE).await.expect("connect");
        client.batch_execute("CREATE TABLE IF NOT EXISTS written (id bigint PRIMARY KEY)").await.expect("table");
        let shared = Arc::new(Shared {
            doors: cluster.doors(),
            stopped: AtomicBool::new(false),
            next: AtomicI64::new(0),
            seen: Mutex::default(),
        });
        let tasks = (0..writers)
            .map(|writer| tokio::spawn(write(shared.clone(), writer, (primary + writer) % NODES)))
            .collect();
        Self { shared, tasks }
    }

    /// Waits until so many more writes have been acknowledged.
    pub async fn acknowledge(&self, more: usize) {
        let count = || self.shared.seen.lock().expect("seen").acknowledged.len();
        let (wanted, deadline) = (count() + more, Instant::now() + PATIENCE);
        while count() < wanted {
            assert!(Instant::now() < deadline, "{} of {wanted} writes, {:?}", count(), self.refused());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn refused(&self) -> BTreeMap<String, usize> {
        self.shared.seen.lock().expect("seen").refused.clone()
    }

    /// Ends the writers and compares what they were told with what is there, on each of the nodes.
    pub async fn finish(self, cluster: &Cluster, nodes: &[usize], moments: &[Instant]) -> Report {
        self.shared.stopped.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("writer");
        }
        let seen = std::mem::take(&mut *self.shared.seen.lock().expect("seen"));
        let mut violations = seen.violations;
        for node in nodes {
            let client = cluster.door(*node).open(TargetSessionAttrs::Any, PATIENCE).await.expect("connect");
            let rows = client.query("SELECT id FROM written", &[]).await.expect("read");
            let there: BTreeSet<i64> = rows.iter().map(|row| row.get(0)).collect();
            let promised: BTreeSet<i64> = seen.acknowledged.iter().map(|(_, id)| *id).collect();
            let (lost, more) = (promised.difference(&there).count(), there.difference(&promised));
            let unpromised = more.filter(|id| !seen.unknown.contains(id)).count();
            if lost + unpromised > 0 {
                violations.push(format!("node {node} lacks {lost} rows and has {unpromised} that were refused"));
            }
        }
        let mut times: Vec<Instant> = seen.acknowledged.iter().map(|(at, _)| *at).collect();
        times.sort();
        let mut gaps: Vec<Duration> = moments.iter().map(|at| gap(&times, *at)).collect();
        gaps.sort();
        let (acknowledged, unknown) = (seen.acknowledged.len(), seen.unknown.len());
        Report { gaps, acknowledged, unknown, refused: seen.refused, violations }
    }
}

/// The longest time without an acknowledgement around a moment.
fn gap(times: &[Instant], at: Instant) -> Duration {
    let around = times.windows(2).filter(|pair| pair[1] >= at && pair[0] <= at + Duration::from_secs(2));
    around.map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

async fn open(door: &Door) -> Option<(Client, Statement)> {
    let client = door.open(TargetSessionAttrs::Any, Duration::from_secs(1)).await.ok()?;
    let insert = client.prepare(INSERT).await.ok()?;
    Some((client, insert))
}

/// Every other writer uses the simple protocol.
async fn write(shared: Arc<Shared>, writer: usize, mut node: usize) {
    let mut sessions: Vec<Option<(Client, Statement)>> = Vec::new();
    for door in &shared.doors {
        sessions.push(open(door).await);
    }
    let mut id = shared.next.fetch_add(1, Ordering::Relaxed);
    // Nodes that were asked in vain since the last success.
    let mut misses = 0;
    while !shared.stopped.load(Ordering::Relaxed) {
        if misses > 0 && misses % NODES == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if sessions[node].is_none() {
            sessions[node] = open(&shared.doors[node]).await;
        }
        let answer = match &sessions[node] {
            Some((client, insert)) if writer.is_multiple_of(2) => client.execute(insert, &[&id]).await.map(drop),
            Some((client, _)) => client.batch_execute(&format!("INSERT INTO written VALUES ({id})")).await,
            None => {
                (node, misses) = ((node + 1) % NODES, misses + 1);
                continue;
            }
        };
        let mut seen = shared.seen.lock().expect("seen");
        match answer {
            Ok(_) => {
                seen.acknowledged.push((Instant::now(), id));
                (id, misses) = (shared.next.fetch_add(1, Ordering::Relaxed), 0);
            }
            Err(error) => {
                let code = error.code().map_or("none", |code| code.code()).to_owned();
                *seen.refused.entry(code.clone()).or_default() += 1;
                match code.as_str() {
                    // Certainly not written: the same row once more, elsewhere.
                    "25006" | "40001" | "57P03" => {}
                    "08007" | "57P01" | "none" => {
                        seen.unknown.insert(id);
                        id = shared.next.fetch_add(1, Ordering::Relaxed);
                    }
                    _ => seen.violations.push(format!("row {id}: {error:?}")),
                }
                if error.is_closed() || code == "57P01" {
                    sessions[node] = None;
                }
                (node, misses) = ((node + 1) % NODES, misses + 1);
            }
        }
    }
}

/// Switches over so many times under load, asking now the primary and now a standby, for a named node and for any.
pub async fn measure(cluster: &Cluster, times: usize, writers: usize) -> Report {
    let running = Writers::start(cluster, writers).await;
    let mut moments = Vec::new();
    let mut violations = Vec::new();
    for round in 0..times {
        running.acknowledge(BETWEEN).await;
        let primary = find_primary(cluster, PATIENCE).await.expect("primary");
        let asked = if round % 2 == 0 { primary } else { (primary + 1) % NODES };
        let target = cluster.door((primary + 1 + round / 2 % 2) % NODES).name;
        let sql = match round % 3 {
            0 => "SELECT lockstep_switchover()".to_owned(),
            _ => format!("SELECT lockstep_switchover('{target}')"),
        };
        let client = cluster.door(asked).open(TargetSessionAttrs::Any, PATIENCE).await.expect("connect");
        moments.push(Instant::now());
        match client.query_one(&sql, &[]).await {
            Ok(row) => {
                let name: String = row.get(0);
                if name == cluster.door(primary).name || (round % 3 > 0 && name != target) {
                    violations.push(format!("{sql} made {name} the primary"));
                }
            }
            Err(error) => violations.push(format!("{sql}: {error:?}")),
        }
    }
    running.acknowledge(BETWEEN).await;
    let nodes: Vec<usize> = (0..NODES).collect();
    let mut report = running.finish(cluster, &nodes, &moments).await;
    report.violations.extend(violations);
    report
}
