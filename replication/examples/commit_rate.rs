//! Commits per second, on a real disk: `commit_rate [DIRECTORY] [SECONDS] [NODES]`. Several nodes share this process
//! and this disk.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use engine::commit_log::{Checkpoint, CheckpointError, CommitLog, Epoch, LogPosition, Record, Role, StateMachine};
use replication::{Node, NodeConfig};

/// Bytes of a record: about what a small transaction changes.
const RECORD: usize = 300;

#[derive(Default)]
struct Nothing {
    position: AtomicU64,
    epoch: AtomicU64,
}

struct Empty(LogPosition);

impl Checkpoint for Empty {
    fn position(&self) -> LogPosition {
        self.0
    }

    fn write(
        self: Box<Self>,
        _dir: &Path,
        _previous: Option<&Path>,
        _due: &dyn Fn() -> f64,
    ) -> Result<(), CheckpointError> {
        Ok(())
    }
}

impl StateMachine for Nothing {
    fn apply(&self, position: LogPosition, _record: &Record) {
        self.position.store(position.0, Ordering::Release);
    }

    fn advance(&self, position: LogPosition) {
        self.position.store(position.0, Ordering::Release);
    }

    fn applied(&self) -> LogPosition {
        LogPosition(self.position.load(Ordering::Acquire))
    }

    fn begin_checkpoint(&self) -> Box<dyn Checkpoint> {
        Box::new(Empty(self.applied()))
    }

    fn verify(&self, _dir: &std::path::Path) -> Result<(), CheckpointError> {
        Ok(())
    }

    fn restore(&self, _dir: &Path) -> Result<LogPosition, CheckpointError> {
        Ok(self.applied())
    }

    fn set_role(&self, role: Role) {
        if let Role::Primary { epoch } = role {
            self.epoch.store(epoch.0, Ordering::Release);
        }
    }
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().unwrap_or_else(|| "commit-rate-data".to_owned());
    let seconds: u64 = arguments.next().map_or(3, |text| text.parse().unwrap());
    let nodes: usize = arguments.next().map_or(1, |text| text.parse().unwrap());
    let engine = Arc::new(Nothing::default());
    let start = |number: usize, engine: Arc<Nothing>, join: Vec<String>| {
        let (directory, any) = (format!("{directory}/{number}"), "127.0.0.1:0".parse().unwrap());
        let config = NodeConfig { join, ..NodeConfig::new(directory, format!("node{number}"), any) };
        Arc::new(Node::start(config, engine, Arc::new(|fatal| panic!("{fatal}"))).unwrap())
    };
    let node = start(1, engine.clone(), Vec::new());
    let join = vec![node.peer_address().to_owned()];
    let _standbys: Vec<_> = (2..=nodes).map(|number| start(number, Arc::default(), join.clone())).collect();
    while engine.epoch.load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
    let epoch = Epoch(engine.epoch.load(Ordering::Acquire));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let voters = || runtime.block_on(node.status()).nodes.iter().filter(|node| node.membership == "voter").count();
    while voters() < nodes {
        std::thread::yield_now();
    }
    println!("appenders  commits/s  mean latency us  CPU us/commit");
    for appenders in [1, 8, 32, 64] {
        let (count, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (cpu, started) = (cpu_seconds(), Instant::now());
        let tasks: Vec<_> = (0..appenders)
            .map(|_| {
                let (node, count, stop) = (node.clone(), count.clone(), stop.clone());
                runtime.spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        node.append(epoch, Bytes::from(vec![7; RECORD])).await.unwrap().unwrap();
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        std::thread::sleep(Duration::from_secs(seconds));
        stop.store(true, Ordering::Relaxed);
        for task in tasks {
            runtime.block_on(task).unwrap();
        }
        let (count, elapsed) = (count.load(Ordering::Relaxed) as f64, started.elapsed().as_secs_f64());
        let latency = elapsed / count * f64::from(appenders) * 1e6;
        let cpu = (cpu_seconds() - cpu) / count * 1e6;
        println!("{appenders:9}  {:9.0}  {latency:15.0}  {cpu:13.1}", count / elapsed);
    }
    node.stop();
}
