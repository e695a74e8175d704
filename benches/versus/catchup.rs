//! What commits pay while a node catches up and while a checkpoint is written: latencies on the primary before and
//! during, with `--megabytes N` of rows (default 200), at half as many commits a second as the clients reach at most: a
//! server that has nothing left has nothing for a checkpoint either. The node that joins would have a machine of its own:
//! here it gets what the primary leaves of the cores (SCHED_IDLE), and its data lies in memory.

use std::collections::BTreeMap;
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

/// What the clients do of what they can.
const SHARE: f64 = 0.5;
/// How long they are asked what they can.
const TRIAL: Duration = Duration::from_secs(5);

/// When each commit began, or should have if the one before had not been late, and how many milliseconds it took.
type Commits = Vec<(Instant, f64)>;

struct Load {
    stop: Arc<AtomicBool>,
    writers: Vec<tokio::task::JoinHandle<Result<Commits, String>>>,
}

impl Load {
    /// `pause`: from one commit of a client to its next; zero: each as soon as the one before is there.
    async fn start(server: &Server, next: &Arc<AtomicI64>, pause: Duration) -> Result<Self, String> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for _ in 0..WRITERS {
            let (client, stop, next) = (server.connect().await, stop.clone(), next.clone());
            let insert = client.prepare("INSERT INTO commits VALUES ($1, 'committed')").await;
            let insert = insert.map_err(|error| format!("{error:?}"))?;
            writers.push(tokio::spawn(async move {
                let (mut times, mut due) = (Vec::new(), Instant::now());
                while !stop.load(Ordering::Relaxed) {
                    tokio::time::sleep_until(due.into()).await;
                    let now = Instant::now();
                    // A timer that is late is not the server's fault; a commit that is late makes the next ones late.
                    let begun = if now - due < pause { now } else { due };
                    due = if pause.is_zero() { now } else { due + pause };
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

/// Of some numbers the one that `share` of them are below.
fn quantile(mut of: Vec<f64>, share: f64) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get((of.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN)
}

/// Prints what the commits took that began between two moments, and gives the p99 of the median second: a stall of the
/// host, which comes now and then whatever the server does, is in the p99 of the whole alone.
fn row(name: &str, times: &Commits, from: Instant, to: Instant, before: Option<f64>) -> f64 {
    let within: Vec<_> = times.iter().filter(|commit| commit.0 >= from && commit.0 < to).collect();
    let mut seconds: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (begun, took) in &within {
        seconds.entry((*begun - from).as_secs()).or_default().push(*took);
    }
    let all = |share| quantile(within.iter().map(|commit| commit.1).collect(), share);
    let (p50, p99, count) = (all(0.5), all(0.99), within.len());
    let of_seconds = quantile(seconds.into_values().map(|second| quantile(second, 0.99)).collect(), 0.5);
    let ratio = before.map_or(String::new(), |before| format!("**{:.2}**", of_seconds / before));
    println!(
        "| {name} | {:.1} | {count} | {p50:.2} | {p99:.2} | {of_seconds:.2} | {ratio} |",
        (to - from).as_secs_f64()
    );
    of_seconds
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

/// Waits until a checkpoint is being written, or none.
async fn until_writing(client: &Client, writing: bool) -> Result<(), String> {
    while is_writing(client).await? != writing {
        tokio::time::sleep(Duration::from_millis(20)).await;
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
    let next = Arc::new(AtomicI64::new(0));
    let load = Load::start(&first, &next, Duration::ZERO).await?;
    tokio::time::sleep(TRIAL).await;
    let rate = load.end().await?.len() as f64 / TRIAL.as_secs_f64() * SHARE;
    let pause = Duration::from_secs_f64(WRITERS as f64 / rate);
    println!(
        "\n| {rate:.0} commits a second of {WRITERS} clients, {megabytes} MB of rows | seconds | commits | p50 ms | p99 ms | p99 ms of the median second | ratio |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");

    let load = Load::start(&first, &next, pause).await?;
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(u64::from(options.seconds))).await;
    let before = row("alone", &load.end().await?, begun, Instant::now(), None);

    until_writing(&client, false).await?;
    change_all(&client, rows).await?;
    until_writing(&client, true).await?;
    let load = Load::start(&first, &next, pause).await?;
    let begun = Instant::now();
    until_writing(&client, false).await?;
    let end = Instant::now();
    row("during a checkpoint that was due", &load.end().await?, begun, end, Some(before));

    client.batch_execute("CHECKPOINT").await.map_err(error)?;
    client.batch_execute("UPDATE big SET pad = pad || 'x' WHERE id % 3 = 0").await.map_err(error)?;
    let load = Load::start(&first, &next, pause).await?;
    let begun = Instant::now();
    client.batch_execute("CHECKPOINT").await.map_err(error)?;
    let end = Instant::now();
    row("during CHECKPOINT", &load.end().await?, begun, end, Some(before));

    let load = Load::start(&first, &next, pause).await?;
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
    row("while a node joins", &times, begun, end, Some(before));
    for (at, (phase, from)) in phases.iter().enumerate() {
        let to = phases.get(at + 1).map_or(end, |(_, to)| *to);
        row(&format!("of that, {phase}"), &times, *from, to, Some(before));
    }
    drop(second);
    Ok(())
}
