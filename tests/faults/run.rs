//! One run: a cluster, its load, faults one after the other, and the verdict.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio_postgres::config::TargetSessionAttrs;

use super::cluster::{Cluster, NODES, flip};
use super::history::History;
use super::inject::{Injection, Tampering};
use super::isolation::{self, Isolation};
use super::workload::{self, ACCOUNTS, EACH, Load};

/// How long the cluster may take to acknowledge a write after a fault, and a node to catch up.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of the primary, restarted later.
    Kill,
    /// SIGSTOP of the primary, SIGCONT when another one has taken over.
    Stop,
    /// The primary loses its peers, but not its clients.
    Cut,
    /// Both standbys stand still, then the primary is killed: what it acknowledged meanwhile would be lost.
    Alone,
    /// `kill -9` of all nodes at once.
    KillAll,
    /// `kill -9` of a standby, and a bit of its log flips: the others rebuild it as a new member.
    Damage,
    /// Every sync of the primary fails: it has to end itself.
    Eio,
    /// Every sync of the primary takes 100 ms longer.
    Slow,
    /// The primary's disk is full while clients write much; then there is space again.
    Full,
}

impl Fault {
    pub fn parse(name: &str) -> Option<Self> {
        let all = [
            Self::Kill,
            Self::Stop,
            Self::Cut,
            Self::Alone,
            Self::KillAll,
            Self::Damage,
            Self::Eio,
            Self::Slow,
            Self::Full,
        ];
        all.into_iter().find(|fault| format!("{fault:?}").eq_ignore_ascii_case(name))
    }
}

pub struct Options {
    pub binary: PathBuf,
    pub dir: PathBuf,
    pub environment: Vec<(String, String)>,
    pub namespaces: bool,
    pub seed: u64,
    pub faults: usize,
    pub kinds: Vec<Fault>,
    pub minutes_max: f64,
    pub writers: usize,
    /// Clients on the primary whose transactions are judged by isolation; none: as many as `writers`.
    pub judged: Option<usize>,
    /// Load between two faults.
    pub calm: Duration,
}

pub struct Report {
    pub violations: Vec<String>,
    pub faults: Vec<(Fault, Duration)>,
    pub summary: String,
    /// Committed transactions that the checker of isolation has judged.
    pub judged: u64,
    /// Operations of the bank and single appends that clients were told to be done.
    pub acknowledged: usize,
}

impl Report {
    /// How often another reign had to take over and writes were acknowledged again.
    pub fn failovers(&self) -> usize {
        let stays = |fault: &Fault| matches!(fault, Fault::Damage | Fault::Slow | Fault::Full);
        self.faults.iter().filter(|(fault, _)| !stays(fault)).count()
    }

    /// The fail-over time at a share (0.5 is the median) of the faults that leave a majority alive.
    pub fn failover(&self, share: f64) -> Option<Duration> {
        let single = self.faults.iter().filter(|(fault, _)| matches!(fault, Fault::Kill | Fault::Stop | Fault::Cut));
        let mut times: Vec<Duration> = single.map(|(_, time)| *time).collect();
        times.sort();
        let last = times.len().checked_sub(1)?;
        times.get((last as f64 * share).round() as usize).copied()
    }
}

pub async fn run(options: &Options) -> Report {
    let (binary, dir, environment) = (&options.binary, &options.dir, &options.environment);
    let mut cluster = match options.kinds.contains(&Fault::Full) {
        true => Cluster::start_small(binary, dir, environment, options.namespaces).await,
        false => Cluster::start(binary, dir, environment, options.namespaces).await,
    };
    let primary = all_vote(&cluster).await.expect("three voters");
    let client = cluster.door(primary).open(TargetSessionAttrs::ReadWrite, PATIENCE).await.expect("primary");
    workload::create_tables(&client).await.expect("tables");
    client.batch_execute(isolation::TABLES).await.expect("tables");
    client.batch_execute("CREATE TABLE bulk (id bigint, filling text)").await.expect("tables");
    drop(client);
    let load = Arc::new(Load {
        history: History::new(i64::from(ACCOUNTS) * EACH),
        doors: cluster.doors(),
        stopped: AtomicBool::new(false),
        next_id: AtomicI64::new(1),
        appends: AtomicI64::new(0),
    });
    let mut clients = Vec::new();
    let mut seed = options.seed;
    let mut next_seed = || {
        seed = seed.wrapping_add(1);
        seed
    };
    for _ in 0..options.writers {
        clients.push(tokio::spawn(workload::bank(load.clone(), next_seed())));
    }
    for _ in 0..options.writers.div_ceil(3) {
        clients.push(tokio::spawn(workload::append(load.clone(), next_seed())));
    }
    for node in 0..NODES {
        clients.push(tokio::spawn(workload::read(load.clone(), node, next_seed())));
    }

    let isolation = Isolation::new(load.clone());
    clients.extend(isolation.start(options.judged.unwrap_or(options.writers), &mut next_seed));

    let mut random = StdRng::seed_from_u64(options.seed);
    let can = |kind: &Fault| match kind {
        Fault::Cut => cluster.can_cut(),
        Fault::Eio | Fault::Slow => Injection::possible(),
        Fault::Full => cluster.disk(NODES - 1).is_some(),
        _ => true,
    };
    let kinds: Vec<Fault> = options.kinds.iter().copied().filter(can).collect();
    let deadline = Instant::now() + Duration::from_secs_f64(options.minutes_max * 60.0);
    let mut faults = Vec::new();
    while faults.len() < options.faults && Instant::now() < deadline && load.history.violations().is_empty() {
        tokio::time::sleep(options.calm).await;
        // Every kind comes once before chance decides.
        let fault = match kinds.get(faults.len()) {
            Some(kind) => *kind,
            None => *kinds.choose(&mut random).expect("kinds"),
        };
        let hold = Duration::from_millis(random.random_range(0..1500));
        match strike(&mut cluster, &load, fault, hold).await {
            Ok(time) => {
                println!("fault {:3} {fault:?}: acknowledged again after {} ms", faults.len() + 1, time.as_millis());
                faults.push((fault, time));
            }
            Err(what) => {
                let logs: String =
                    (0..NODES).map(|node| format!("\n-- {node}\n{}", tail(&cluster.log(node)))).collect();
                load.history.violation(format!("{fault:?}: {what}{logs}"));
            }
        }
    }
    if faults.len() < options.faults && load.history.violations().is_empty() {
        load.history.violation(format!("only {} of {} faults within the time", faults.len(), options.faults));
    }
    load.stopped.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("client task");
    }
    isolation.finish().await;
    for (node, door) in load.doors.iter().enumerate() {
        let verdict = async {
            let client = door.open(TargetSessionAttrs::Any, PATIENCE).await?;
            load.history.verify(&door.name, &client).await.map_err(|error| format!("{error:?}"))
        };
        if let Err(error) = verdict.await {
            load.history.violation(format!("{} cannot be checked: {error}\n{}", door.name, tail(&cluster.log(node))));
        }
    }
    let judged = isolation.judged.load(Ordering::Relaxed);
    let (looks, unjudged) = (isolation.looks.load(Ordering::Relaxed), isolation.unjudged.load(Ordering::Relaxed));
    let summary = format!(
        "{}; {judged} transactions judged by isolation ({unjudged} histories could not be), {looks} looks",
        load.history.summary()
    );
    let acknowledged = load.history.acknowledged();
    Report { violations: load.history.violations(), faults, summary, judged, acknowledged }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// The node that takes writes, asked of all.
pub async fn find_primary(cluster: &Cluster, within: Duration) -> Option<usize> {
    let deadline = Instant::now() + within;
    while Instant::now() < deadline {
        for node in 0..NODES {
            let door = cluster.door(node);
            if door.open(TargetSessionAttrs::ReadWrite, Duration::from_secs(1)).await.is_ok() {
                return Some(node);
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    None
}

/// There is no point in waiting for anything once a promise is broken.
fn unbroken(load: &Load) -> Result<(), String> {
    let whole = load.history.violations().is_empty();
    if whole { Ok(()) } else { Err("a promise was broken meanwhile".into()) }
}

/// Waits until a write that began after the fault is acknowledged.
async fn recovered(load: &Load) -> Result<Duration, String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(time) = load.history.recovered() {
            return Ok(time);
        }
        unbroken(load)?;
        if Instant::now() > deadline {
            return Err(format!("no write was acknowledged for {} s", PATIENCE.as_secs()));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until every node shows all that was acknowledged when this was called.
async fn caught_up(cluster: &mut Cluster, load: &Load) -> Result<(), String> {
    let wanted = load.history.acknowledged_transfers();
    let deadline = Instant::now() + PATIENCE;
    for (node, door) in load.doors.iter().enumerate() {
        loop {
            let count = async {
                let client = door.open(TargetSessionAttrs::Any, Duration::from_secs(2)).await?;
                let row = client.query_one("SELECT count(*) FROM transfer", &[]);
                let row = tokio::time::timeout(Duration::from_secs(5), row).await.map_err(|_| "no answer")?;
                Ok::<i64, String>(row.map_err(|error| error.to_string())?.get(0))
            };
            let seen = count.await;
            if seen.as_ref().is_ok_and(|count| *count >= wanted) {
                break;
            }
            if let Some(status) = cluster.ended(node) {
                return Err(format!("{} ended with {status}", door.name));
            }
            unbroken(load)?;
            if Instant::now() > deadline {
                return Err(format!("{} does not catch up with {wanted} transfers: {seen:?}", door.name));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(())
}

/// Waits until there are three members and each is a voter that follows: the next fault needs a majority. Gives the
/// primary.
pub async fn all_vote(cluster: &Cluster) -> Result<usize, String> {
    const VOTERS: &str = "SELECT count(*) FILTER (WHERE membership = 'voter' AND state = 'streaming'), count(*) \
                          FROM lockstep_nodes";
    let deadline = Instant::now() + PATIENCE;
    loop {
        let primary = find_primary(cluster, PATIENCE).await.ok_or("no primary")?;
        let counts = async {
            let client = cluster.door(primary).open(TargetSessionAttrs::Any, Duration::from_secs(2)).await?;
            let row = client.query_one(VOTERS, &[]);
            let row = tokio::time::timeout(Duration::from_secs(5), row).await.map_err(|_| "no answer")?;
            let row = row.map_err(|error| error.to_string())?;
            Ok::<(i64, i64), String>((row.get(0), row.get(1)))
        };
        let counts = counts.await;
        if counts == Ok((NODES as i64, NODES as i64)) {
            return Ok(primary);
        }
        if Instant::now() > deadline {
            return Err(format!("voters that follow, and members: {counts:?}"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One fault and its end; gives the time until writes were acknowledged again.
async fn strike(cluster: &mut Cluster, load: &Load, fault: Fault, hold: Duration) -> Result<Duration, String> {
    let primary = find_primary(cluster, PATIENCE).await.ok_or("no primary")?;
    let name = load.doors[primary].name.clone();
    let standbys: Vec<usize> = (0..NODES).filter(|node| *node != primary).collect();
    let time = match fault {
        Fault::Kill => {
            // Before the clock starts: a write that is acknowledged while the node dies is no recovery.
            cluster.kill(primary);
            load.history.fault(&format!("kill -9 {name}"));
            let time = recovered(load).await?;
            tokio::time::sleep(hold).await;
            cluster.restart(primary);
            time
        }
        Fault::Stop => {
            cluster.stop(primary);
            load.history.fault(&format!("SIGSTOP {name}"));
            let time = recovered(load).await;
            tokio::time::sleep(hold).await;
            load.history.event(&format!("SIGCONT {name}"));
            cluster.resume(primary);
            time?
        }
        Fault::Cut => {
            cluster.cut(primary);
            load.history.fault(&format!("cut {name}"));
            let time = recovered(load).await;
            tokio::time::sleep(hold).await;
            load.history.event(&format!("join {name}"));
            cluster.join(primary);
            time?
        }
        Fault::Alone => {
            load.history.event(&format!("SIGSTOP all but {name}"));
            standbys.iter().for_each(|node| cluster.stop(*node));
            tokio::time::sleep(hold / 2 + Duration::from_millis(200)).await;
            cluster.kill(primary);
            load.history.fault(&format!("kill -9 {name}, SIGCONT the others"));
            standbys.iter().for_each(|node| cluster.resume(*node));
            let time = recovered(load).await?;
            cluster.restart(primary);
            time
        }
        Fault::KillAll => {
            (0..NODES).for_each(|node| cluster.kill(node));
            load.history.fault("kill -9 of all");
            (0..NODES).for_each(|node| cluster.restart(node));
            recovered(load).await?
        }
        Fault::Damage => {
            let standby = standbys[hold.as_millis() as usize % standbys.len()];
            load.history.fault(&format!("kill -9 {} and flip a bit of its log", load.doors[standby].name));
            cluster.kill(standby);
            flip(cluster.data_dir(standby));
            let time = recovered(load).await?;
            tokio::time::sleep(hold).await;
            cluster.restart(standby);
            time
        }
        Fault::Eio => {
            load.history.fault(&format!("fdatasync of {name} fails"));
            let injection = Injection::start(cluster.pid(primary), Tampering::Error).map_err(|e| e.to_string())?;
            ends(cluster, primary).await?;
            drop(injection);
            load.history.fault(&format!("{name} has ended itself"));
            let time = recovered(load).await?;
            tokio::time::sleep(hold).await;
            cluster.restart(primary);
            time
        }
        Fault::Slow => {
            let delay = Tampering::Delay(Duration::from_millis(100));
            let injection = Injection::start(cluster.pid(primary), delay).map_err(|e| e.to_string())?;
            load.history.fault(&format!("fdatasync of {name} takes 100 ms longer"));
            tokio::time::sleep(hold + Duration::from_secs(1)).await;
            let time = recovered(load).await;
            drop(injection);
            time?
        }
        Fault::Full => full(cluster, load, primary, &name).await?,
    };
    caught_up(cluster, load).await?;
    all_vote(cluster).await?;
    load.history.event("---- all nodes caught up");
    Ok(time)
}

/// Waits until a node has ended by itself.
async fn ends(cluster: &mut Cluster, node: usize) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while cluster.ended(node).is_none() {
        if Instant::now() > deadline {
            return Err("a node whose disk fails goes on".into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Fills the primary's disk, writes until that is refused, and gives the space back.
async fn full(cluster: &mut Cluster, load: &Load, primary: usize, name: &str) -> Result<Duration, String> {
    const INSERT: &str = "INSERT INTO bulk SELECT g, repeat('x', 1000000) FROM generate_series(1, 4) AS g";
    let ballast = cluster.disk(primary).ok_or("no disk")?.fill().map_err(|error| error.to_string())?;
    load.history.event(&format!("the disk of {name} is full"));
    let client = cluster.door(primary).open(TargetSessionAttrs::ReadWrite, Duration::from_secs(5)).await?;
    let deadline = Instant::now() + PATIENCE;
    let mut refused = None;
    while refused.is_none() && Instant::now() < deadline {
        match tokio::time::timeout(Duration::from_secs(5), client.batch_execute(INSERT)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => refused = Some(error.code().map(|code| code.code().to_owned()).unwrap_or_default()),
            // It had been sequenced when the space ran out, and waits.
            Err(_) => refused = Some("no answer".into()),
        }
    }
    load.history.event(&format!("writes are refused: {refused:?}"));
    drop(ballast);
    load.history.fault(&format!("the disk of {name} has space again"));
    let time = recovered(load).await?;
    match refused.as_deref() {
        // The last: another node has taken over, or the session's is no longer the primary.
        Some("53100" | "no answer" | "25006" | "08007" | "40001" | "") => {}
        other => return Err(format!("with a full disk writes ended with {other:?}")),
    }
    let truncate = async {
        let primary = find_primary(cluster, PATIENCE).await.ok_or("no primary")?;
        let client = cluster.door(primary).open(TargetSessionAttrs::ReadWrite, Duration::from_secs(5)).await?;
        client.batch_execute("TRUNCATE bulk").await.map_err(|error| error.to_string())
    };
    truncate.await?;
    // Or the log of all this would fill the small disks for good.
    for door in &load.doors {
        let client = door.open(TargetSessionAttrs::Any, Duration::from_secs(5)).await?;
        if let Err(error) = client.batch_execute("CHECKPOINT").await {
            load.history.event(&format!("{}: no checkpoint: {error}", door.name));
        }
    }
    Ok(time)
}
