//! What commits pay while a node catches up and while a checkpoint is written: latencies on the primary before and
//! during, with `--megabytes N` of rows (default 200). The node that joins would have a machine of its own: here it gets
//! what the primary leaves of the cores (SCHED_IDLE), and its data lies in memory.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::Options;
use crate::server::{Launch, Server};

/// Connections that commit, one row a time.
const WRITERS: usize = 4;
/// Seconds over which a checkpoint that is due is spread: less than by default, not to take so long.
const SPREAD: u32 = 60;
/// Rows that one statement writes.
const ROWS: usize = 20_000;
/// Bytes of the text of a row.
const PAD: usize = 1000;

/// When each commit began, and how many milliseconds it took.
type Commits = Vec<(Instant, f64)>;

struct Load {
    stop: Arc<AtomicBool>,
    writers: Vec<tokio::task::JoinHandle<Result<Commits, String>>>,
}

impl Load {
    async fn start(server: &Server, next: &Arc<AtomicI64>) -> Result<Self, String> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for _ in 0..WRITERS {
            let (client, stop, next) = (server.connect().await, stop.clone(), next.clone());
            let insert = client.prepare("INSERT INTO commits VALUES ($1, 'committed')").await;
            let insert = insert.map_err(|error| format!("{error:?}"))?;
            writers.push(tokio::spawn(async move {
                let mut times = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    client.execute(&insert, &[&id]).await.map_err(|error| format!("{error:?}"))?;
                    times.push((begun, begun.elapsed().as_secs_f64() * 1e3));
                }
                Ok(times)
            }));
        }
        Ok(Self { stop, writers })
    }

    async fn end(self) -> Result<Commits, String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for writer in self.writers {
            all.extend(writer.await.map_err(|error| error.to_string())??);
        }
        Ok(all)
    }
}

/// How long the commits took that began between two moments.
fn between(times: &Commits, from: Instant, to: Instant) -> Vec<f64> {
    times.iter().filter(|commit| commit.0 >= from && commit.0 < to).map(|commit| commit.1).collect()
}

/// Prints a phase and gives its p99.
fn row(name: &str, took: Duration, mut times: Vec<f64>, before: Option<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1)));
    let (p50, p99) = (at(0.5).copied().unwrap_or(f64::NAN), at(0.99).copied().unwrap_or(f64::NAN));
    let ratio = before.map_or(String::new(), |before| format!("**{:.2}**", p99 / before));
    println!("| {name} | {:.1} | {} | {p50:.2} | {p99:.2} | {ratio} |", took.as_secs_f64(), times.len());
    p99
}

/// Every row changes, and with them as much log is written as a checkpoint is due after.
async fn change_all(client: &Client, rows: usize) -> Result<(), String> {
    for from in (0..rows).step_by(ROWS) {
        let to = from + ROWS;
        let change = format!("UPDATE big SET pad = pad || 'x' WHERE id >= {from} AND id < {to}");
        client.batch_execute(&change).await.map_err(|error| format!("{error:?}"))?;
    }
    Ok(())
}

async fn is_writing(client: &Client) -> Result<bool, String> {
    let running = client.query_one("SELECT running FROM lockstep_checkpoints", &[]).await;
    running.map(|row| row.get(0)).map_err(|error| format!("{error:?}"))
}

pub async fn run(options: &Options, dir: &Path) -> Result<(), String> {
    let error = |error: tokio_postgres::Error| format!("{error:?}");
    let mut first = Launch::new(&options.binary, "node1", dir.join("node1"));
    let due = format!("{}MB", options.megabytes);
    first.extra = ["--max-wal-size", &due, "--checkpoint-spread", &format!("{SPREAD}s")].map(String::from).to_vec();
    let first = first.spawn().ready().await;
    let client = first.connect().await;
    let rows = options.megabytes * (1 << 20) / PAD;
    client
        .batch_execute(
            "CREATE TABLE big (id int8 PRIMARY KEY, pad text); CREATE TABLE commits (id int8 PRIMARY KEY, v text)",
        )
        .await
        .map_err(error)?;
    for from in (0..rows).step_by(ROWS) {
        let to = (from + ROWS).min(rows) - 1;
        let fill = format!(
            "INSERT INTO big SELECT g, repeat(md5(g::text), {}) FROM generate_series({from}, {to}) AS g",
            PAD / 32
        );
        client.batch_execute(&fill).await.map_err(error)?;
    }
    client.batch_execute("CHECKPOINT").await.map_err(error)?;
    let megabytes = options.megabytes;
    println!(
        "\n| commits of {WRITERS} clients, {megabytes} MB of rows | seconds | commits | p50 ms | p99 ms | p99 ratio |"
    );
    println!("|---|---:|---:|---:|---:|---:|");
    let next = Arc::new(AtomicI64::new(0));

    let load = Load::start(&first, &next).await?;
    tokio::time::sleep(Duration::from_secs(u64::from(options.seconds))).await;
    let times = load.end().await?;
    let before =
        row("alone", Duration::from_secs(u64::from(options.seconds)), times.iter().map(|t| t.1).collect(), None);

    change_all(&client, rows).await?;
    let load = Load::start(&first, &next).await?;
    let begun = Instant::now();
    while is_writing(&client).await? {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let took = begun.elapsed();
    let times = load.end().await?;
    row("during a checkpoint that was due", took, between(&times, begun, begun + took), Some(before));

    client.batch_execute("CHECKPOINT").await.map_err(error)?;
    client.batch_execute("UPDATE big SET pad = pad || 'x' WHERE id % 3 = 0").await.map_err(error)?;
    let load = Load::start(&first, &next).await?;
    let begun = Instant::now();
    client.batch_execute("CHECKPOINT").await.map_err(error)?;
    let took = begun.elapsed();
    let times = load.end().await?;
    row("during CHECKPOINT", took, between(&times, begun, begun + took), Some(before));

    let load = Load::start(&first, &next).await?;
    let begun = Instant::now();
    let memory = tempfile::tempdir_in("/dev/shm").map_err(|error| error.to_string())?;
    let mut second = Launch::new(&options.binary, "node2", memory.path().join("node2")).joining(&first.launch);
    second.wrapper = ["chrt", "--idle", "0"].map(String::from).to_vec();
    let second = second.spawn();
    let mut phases: Vec<(String, Instant)> = vec![("starting".to_owned(), begun)];
    loop {
        let progress = "SELECT n.state || coalesce(': ' || c.phase, ''), n.membership FROM lockstep_nodes n \
                        LEFT JOIN lockstep_catchup c ON c.id = n.id WHERE n.name = 'node2'";
        let now = client.query_opt(progress, &[]).await.map_err(error)?;
        if let Some(now) = now {
            let (phase, membership): (String, String) = (now.get(0), now.get(1));
            if phases.last().is_none_or(|(last, _)| *last != phase) {
                phases.push((phase, Instant::now()));
            }
            if membership == "voter" {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let end = Instant::now();
    let times = load.end().await?;
    row("while a node joins", end - begun, between(&times, begun, end), Some(before));
    for (at, (phase, from)) in phases.iter().enumerate() {
        let to = phases.get(at + 1).map_or(end, |(_, to)| *to);
        row(&format!("of that, {phase}"), to - *from, between(&times, *from, to), Some(before));
    }
    drop(second);
    Ok(())
}
