//! Lockstep and its peers on the same machine, in turn, as ratios: `cargo bench --bench versus -- WHAT…` with WHAT of
//! `pgbench`, `cluster`, `copy`, `memory`, `tpch`, `failover`, `switchover` (default: all these), `serializable`, or `recovery`
//! and `catchup`. The last two and `switchover` have no peer. Prints Markdown for docs/performance.md and
//! docs/reliability.md.
//!
//! Flags: `--log-bytes N`, `--checkpoint-bytes N` what `recovery` reads (default 1 GiB, 5 GiB), `--megabytes N` what
//! `catchup` ships (default 200), `--seconds N` a pgbench run (default 15), `--rounds N` (default 3; the median counts),
//! `--binary PATH` another lockstep than the one cargo built for this run. PostgreSQL 15 and pgbench must be installed;
//! `tpch` wants Python with a `duckdb` module, `PYTHON=path` names the interpreter. Everything is durable (fsync on), on
//! loopback.

mod catchup;
#[allow(dead_code, unused_imports)] // each program uses a part of it, and its unit tests run elsewhere
#[path = "../../tests/faults/mod.rs"]
mod faults;
mod peers;
mod recovery;
mod serializable;
#[allow(dead_code)] // as above
#[path = "../../tests/server/mod.rs"]
mod server;
#[allow(dead_code)] // as above
#[path = "../../tests/tpch/mod.rs"]
mod tpch;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::SinkExt;
use peers::Peer;

struct Options {
    binary: PathBuf,
    seconds: u32,
    rounds: usize,
    log_bytes: u64,
    checkpoint_bytes: u64,
    what: Vec<String>,
    /// Rows that a node catches up with.
    megabytes: usize,
}

/// What one run gave: per second, and microseconds of server CPU each.
#[derive(Clone, Copy)]
struct Rate {
    per_second: f64,
    cpu_us: f64,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn median_rate(runs: &[Rate]) -> Rate {
    Rate {
        per_second: median(runs.iter().map(|run| run.per_second).collect()),
        cpu_us: median(runs.iter().map(|run| run.cpu_us).collect()),
    }
}

fn row(name: &str, ours: Rate, theirs: Rate) {
    println!(
        "| {name} | {:.0} | {:.0} | **{:.2}** | {:.1} | {:.1} |",
        ours.per_second,
        theirs.per_second,
        ours.per_second / theirs.per_second,
        ours.cpu_us,
        theirs.cpu_us
    );
}

fn head(what: &str, ours: &str, theirs: &str) {
    println!("\n| {what} | {ours} | {theirs} | ratio | {ours} CPU µs | {theirs} CPU µs |");
    println!("|---|---:|---:|---:|---:|---:|");
}

fn pgbench(port: u16, arguments: &[&str]) -> Result<String, String> {
    let program = peers::programs()?.join("pgbench");
    let port = port.to_string();
    let connection = ["-h", "127.0.0.1", "-p", port.as_str(), "-U", "postgres"];
    let output = Command::new(program).args(connection).args(arguments).arg("postgres").output();
    let output = output.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(format!("pgbench {arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn number(text: &str, label: &str) -> Result<f64, String> {
    let line = text.lines().find_map(|line| line.strip_prefix(label)).ok_or(format!("no {label:?} in {text}"))?;
    let digits: String = line.trim_start_matches([' ', '=', ':']).chars().take_while(|c| !c.is_whitespace()).collect();
    digits.split('/').next().and_then(|digits| digits.parse().ok()).ok_or(format!("{label}: {digits:?}"))
}

fn measure(peer: &Peer, script: &str, clients: u32, seconds: u32) -> Result<Rate, String> {
    let (clients, seconds) = (clients.to_string(), seconds.to_string());
    let before = peer.cpu_seconds();
    let arguments = ["-n", "-M", "prepared", "-b", script, "-c", &clients, "-j", "2", "-T", &seconds];
    let text = pgbench(peer.port, &arguments)?;
    let cpu = peer.cpu_seconds() - before;
    let failed = number(&text, "number of failed transactions:")?;
    if failed > 0.0 {
        return Err(format!("{}: {failed} failed transactions", peer.name));
    }
    let done = number(&text, "number of transactions actually processed:")?;
    Ok(Rate { per_second: number(&text, "tps =")?, cpu_us: cpu * 1e6 / done })
}

/// Runs in turn, ours and theirs, and prints the medians.
fn compare(ours: &Peer, theirs: &Peer, script: &str, clients: u32, options: &Options) -> Result<(), String> {
    let mut runs = [Vec::new(), Vec::new()];
    for _ in 0..options.rounds {
        for (peer, runs) in [ours, theirs].into_iter().zip(&mut runs) {
            runs.push(measure(peer, script, clients, options.seconds)?);
        }
    }
    row(&format!("{script}, {clients} clients"), median_rate(&runs[0]), median_rate(&runs[1]));
    Ok(())
}

/// pgbench keeps account balances, tellers, branches and history in step; the same must hold after our runs.
async fn sums_agree(peer: &Peer) -> Result<(), String> {
    let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history) \
                AND (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(tbalance) FROM pgbench_tellers)";
    let right: Option<bool> =
        peer.client().await?.query_one(sums, &[]).await.map_err(|error| format!("{error:?}"))?.get(0);
    if right == Some(true) { Ok(()) } else { Err(format!("{}: the sums of pgbench differ", peer.name)) }
}

async fn run_pgbench(options: &Options, dir: &Path) -> Result<(), String> {
    let ours = Peer::lockstep(&options.binary, &dir.join("single"), 1).await;
    let theirs = Peer::postgres(dir, false).await?;
    for peer in [&ours, &theirs] {
        pgbench(peer.port, &["-i", "-s", "10", "-q"])?;
    }
    head("pgbench, prepared, scale 10, transactions a second", ours.name, theirs.name);
    for script in ["select-only", "tpcb-like", "simple-update"] {
        for clients in [8, 32] {
            compare(&ours, &theirs, script, clients, options)?;
        }
    }
    for peer in [&ours, &theirs] {
        sums_agree(peer).await?;
    }
    Ok(())
}

async fn run_cluster(options: &Options, dir: &Path) -> Result<(), String> {
    let ours = Peer::lockstep(&options.binary, &dir.join("three"), 3).await;
    let theirs = Peer::postgres(dir, true).await?;
    for peer in [&ours, &theirs] {
        pgbench(peer.port, &["-i", "-s", "10", "-q"])?;
    }
    head("replicated, prepared, scale 10, transactions a second", ours.name, theirs.name);
    compare(&ours, &theirs, "tpcb-like", 8, options)?;
    for peer in [&ours, &theirs] {
        sums_agree(peer).await?;
    }
    Ok(())
}

const ACCOUNT_ROWS: usize = 1_000_000;

/// pgbench_accounts of scale 10 through COPY into a table with its primary key; rows a second.
async fn copy_accounts(peer: &Peer, round: usize) -> Result<Rate, String> {
    let failed = |error: tokio_postgres::Error| format!("{}: {error:?}", peer.name);
    let client = peer.client().await?;
    let table = format!("accounts_{round}");
    let ddl = format!("CREATE TABLE {table} (aid int PRIMARY KEY, bid int, abalance int, filler char(84))");
    client.batch_execute(&ddl).await.map_err(failed)?;
    let parts: Vec<Bytes> = (0..ACCOUNT_ROWS)
        .collect::<Vec<_>>()
        .chunks(1000)
        .map(|rows| {
            rows.iter().map(|row| format!("{}\t{}\t0\t\n", row + 1, row / 100_000 + 1)).collect::<String>().into()
        })
        .collect();
    let (cpu, start) = (peer.cpu_seconds(), Instant::now());
    let sink = client.copy_in::<_, Bytes>(&format!("COPY {table} FROM STDIN")).await.map_err(failed)?;
    let mut sink = std::pin::pin!(sink);
    for part in parts {
        sink.feed(part).await.map_err(failed)?;
    }
    let rows = sink.finish().await.map_err(failed)?;
    let per_second = rows as f64 / start.elapsed().as_secs_f64();
    Ok(Rate { per_second, cpu_us: (peer.cpu_seconds() - cpu) * 1e6 / rows as f64 })
}

async fn run_copy(options: &Options, dir: &Path) -> Result<(), String> {
    let ours = Peer::lockstep(&options.binary, &dir.join("copy"), 1).await;
    let theirs = Peer::postgres(dir, false).await?;
    let mut runs = [Vec::new(), Vec::new()];
    for round in 0..options.rounds {
        for (peer, runs) in [&ours, &theirs].into_iter().zip(&mut runs) {
            runs.push(copy_accounts(peer, round).await?);
        }
    }
    head("COPY FROM STDIN, rows a second", ours.name, theirs.name);
    row("pgbench_accounts, 1,000,000 rows, with primary key", median_rate(&runs[0]), median_rate(&runs[1]));
    Ok(())
}

async fn run_memory(options: &Options, dir: &Path) -> Result<(), String> {
    let peer = Peer::lockstep(&options.binary, &dir.join("memory"), 1).await;
    let before = peer.resident_bytes();
    copy_accounts(&peer, 0).await?;
    let loaded = peer.resident_bytes() - before;
    // The log's buffers and the rows' first homes are given back with time: wait until two looks agree.
    let mut last = loaded;
    let settled = loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let now = peer.resident_bytes() - before;
        if now >= last - last / 50 {
            break now;
        }
        last = now;
    };
    let each = |bytes: u64| bytes / ACCOUNT_ROWS as u64;
    println!("\n| resident bytes a row of pgbench_accounts, primary key included | at most 200 wanted |");
    println!("|---|---:|");
    println!("| right after COPY | {} |\n| settled | **{}** |", each(loaded), each(settled));
    Ok(())
}

const DUCKDB: &str = r#"
import sys, time, duckdb
from pathlib import Path
data, sources, rounds = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
db = duckdb.connect(); db.execute("SET threads = 2"); db.execute("SET enable_progress_bar = false")
for statement in (sources / "schema.sql").read_text().split(";"):
    if statement.strip(): db.execute(statement)
for table in "region nation part supplier partsupp customer orders lineitem".split():
    db.execute(f"COPY {table} FROM '{data / table}.csv' (FORMAT csv, HEADER false)")
for number in range(1, 23):
    sql, times = (sources / f"q{number:02}.sql").read_text(), []
    for _ in range(rounds):
        start = time.perf_counter(); db.execute(sql).fetchall(); times.append(time.perf_counter() - start)
    print(sorted(times)[len(times) // 2] * 1e3)
print(duckdb.__version__)
"#;

async fn run_tpch(options: &Options, dir: &Path) -> Result<(), String> {
    let data = dir.join("tpch");
    tpch::generate(&data, 1.0).map_err(|error| error.to_string())?;
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let output = Command::new(&python)
        .args(["-c", DUCKDB])
        .args([&data, &tpch::directory()])
        .arg(options.rounds.to_string())
        .output()
        .map_err(|error| format!("{python}: {error}"))?;
    if !output.status.success() {
        return Err(format!("duckdb: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let theirs: Vec<f64> = text.lines().take(22).filter_map(|line| line.parse().ok()).collect();
    let version = text.lines().nth(22).unwrap_or("?");
    let peer = Peer::lockstep(&options.binary, &dir.join("tpch-node"), 1).await;
    let client = peer.client().await?;
    tpch::load(&client, 1.0).await.map_err(|error| format!("{error:?}"))?;
    client.batch_execute("ANALYZE").await.map_err(|error| format!("{error:?}"))?;
    settle(&peer).await;
    println!("\n| TPC-H scale 1, 2 threads | Lockstep ms | DuckDB {version} ms | ratio |\n|---|---:|---:|---:|");
    let mut logarithms = 0.0;
    for (number, theirs) in (1..=22).zip(theirs) {
        let sql = tpch::query(number);
        let mut times = Vec::new();
        for _ in 0..options.rounds {
            let start = Instant::now();
            tpch::run(&client, &sql).await.map_err(|error| format!("q{number:02}: {error:?}"))?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        let ours = median(times);
        logarithms += (ours / theirs).ln();
        println!("| q{number:02} | {ours:.1} | {theirs:.1} | {:.2} |", ours / theirs);
    }
    println!("| geometric mean | | | **{:.2}** |", (logarithms / 22.0).exp());
    Ok(())
}

/// Waits until the server's own work after a load (merging chunks, a checkpoint) is done: it idles for two seconds.
async fn settle(peer: &Peer) {
    const IDLE_CPU_SECONDS: f64 = 0.1;
    loop {
        let before = peer.cpu_seconds();
        tokio::time::sleep(Duration::from_secs(2)).await;
        if peer.cpu_seconds() - before < IDLE_CPU_SECONDS {
            return;
        }
    }
}

async fn run_failover(options: &Options, dir: &Path) -> Result<(), String> {
    use faults::run::{Fault, Options as Faults, run};
    let report = run(&Faults {
        binary: options.binary.clone(),
        dir: dir.join("failover"),
        environment: Vec::new(),
        namespaces: false,
        seed: 1,
        faults: 20,
        kinds: vec![Fault::Kill],
        minutes_max: 15.0,
        writers: 6,
        judged: None,
        calm: Duration::from_millis(1500),
    })
    .await;
    if let Some(violation) = report.violations.first() {
        return Err(violation.clone());
    }
    let at = |share| report.failover(share).map_or(0, |time: Duration| time.as_millis());
    println!("\n| fail-over under load, kill -9 of the primary to the next acknowledged write | ms |\n|---|---:|");
    println!("| median of {} | **{}** |\n| p99 | {} |", report.faults.len(), at(0.5), at(0.99));
    Ok(())
}

async fn run_switchover(options: &Options, dir: &Path) -> Result<(), String> {
    let cluster = faults::cluster::Cluster::start(&options.binary, dir, &[], false).await;
    let report = faults::switchover::measure(&cluster, 100, 8).await;
    if let Some(violation) = report.violations.first() {
        return Err(violation.clone());
    }
    let at = |share| report.gap(share).as_secs_f64() * 1e3;
    println!("\n| planned switchover under load, longest time between two acknowledged writes | ms |\n|---|---:|");
    println!("| median of {} | **{:.1}** |\n| p99 | {:.1} |", report.gaps.len(), at(0.5), at(0.99));
    println!(
        "| statements of unknown outcome | {} |\n| statements refused, by SQLSTATE | {:?} |",
        report.unknown, report.refused
    );
    Ok(())
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        binary: env!("CARGO_BIN_EXE_lockstep").into(),
        seconds: 15,
        rounds: 3,
        log_bytes: 1 << 30,
        checkpoint_bytes: 5 << 30,
        what: Vec::new(),
        megabytes: 200,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
        match argument.as_str() {
            "--bench" => {} // cargo says so to every benchmark
            "--binary" => options.binary = value()?.into(),
            "--seconds" => options.seconds = value()?.parse().map_err(|_| "--seconds wants a number")?,
            "--rounds" => options.rounds = value()?.parse().map_err(|_| "--rounds wants a number")?,
            "--log-bytes" => options.log_bytes = value()?.parse().map_err(|_| "--log-bytes wants a number")?,
            "--checkpoint-bytes" => {
                options.checkpoint_bytes = value()?.parse().map_err(|_| "--checkpoint-bytes wants a number")?;
            }
            "--megabytes" => options.megabytes = value()?.parse().map_err(|_| "--megabytes wants a number")?,
            "pgbench" | "cluster" | "copy" | "memory" | "tpch" | "failover" | "serializable" | "switchover"
            | "recovery" | "catchup" => {
                options.what.push(argument);
            }
            _ => return Err(format!("not understood: {argument}")),
        }
    }
    if options.what.is_empty() {
        options.what =
            ["pgbench", "cluster", "copy", "memory", "tpch", "failover", "switchover"].map(String::from).to_vec();
    }
    Ok(options)
}

async fn run_all(options: &Options) -> Result<(), String> {
    for what in &options.what {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        match what.as_str() {
            "pgbench" => run_pgbench(options, dir.path()).await?,
            "cluster" => run_cluster(options, dir.path()).await?,
            "copy" => run_copy(options, dir.path()).await?,
            "memory" => run_memory(options, dir.path()).await?,
            "tpch" => run_tpch(options, dir.path()).await?,
            "recovery" => recovery::run(options, dir.path()).await?,
            "catchup" => catchup::run(options, dir.path()).await?,
            "serializable" => serializable::run(options.seconds, dir.path(), &options.binary).await?,
            "switchover" => run_switchover(options, dir.path()).await?,
            _ => run_failover(options, dir.path()).await?,
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match options() {
        Ok(options) => run_all(&options).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("versus: {error}");
            ExitCode::FAILURE
        }
    }
}
