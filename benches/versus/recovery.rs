//! How long a node takes from its start until it answers: after kill -9 with a log to read, and after a clean stop with
//! a checkpoint to load.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::SinkExt;
use tokio_postgres::Client;

use crate::Options;
use crate::server::{Launch, Server, connect};

/// Rows of one COPY.
const ROWS: usize = 1_000_000;
/// Longest time that anything here may take.
const PATIENCE: Duration = Duration::from_secs(600);

pub async fn run(options: &Options, dir: &Path) -> Result<(), String> {
    println!("\n| recovery, from the start of the process to the first answer | bytes | seconds |\n|---|---:|---:|");
    let log = from_log(options, &dir.join("log")).await?;
    println!("| log, COPY and UPDATE of pgbench_accounts in turn, kill -9 | {} | **{:.1}** |", log.0, log.1);
    let checkpoint = from_checkpoint(options, &dir.join("checkpoint")).await?;
    println!("| checkpoint, pgbench_accounts, clean stop | {} | **{:.1}** |", checkpoint.0, checkpoint.1);
    Ok(())
}

fn launch(options: &Options, dir: &Path) -> Launch {
    let mut launch = Launch::new(&options.binary, "recovery", dir);
    // No checkpoint but the one at the end.
    launch.extra = ["--max-wal-size", "1TB"].map(String::from).to_vec();
    launch
}

/// Bytes of the log and seconds until the rows are there again.
async fn from_log(options: &Options, dir: &Path) -> Result<(u64, f64), String> {
    let mut server = launch(options, dir).spawn().ready().await;
    let client = server.connect().await;
    let mut tables = 0;
    // Of the last segments, which are allocated whole, a part may not be written yet.
    const AHEAD: u64 = 128 << 20;
    while size(&dir.join("wal")) < options.log_bytes + AHEAD {
        fill(&client, tables).await?;
        let change = format!("UPDATE accounts_{tables} SET abalance = abalance + 1 WHERE aid % 2 = 0");
        client.batch_execute(&change).await.map_err(|error| format!("{error:?}"))?;
        tables += 1;
    }
    let bytes = size(&dir.join("wal")) - AHEAD;
    let before = sums(&client, tables).await?;
    server.kill();
    Ok((bytes, restarted(&server.launch, tables, &before).await?))
}

/// Bytes of the checkpoint and seconds until the rows are there again.
async fn from_checkpoint(options: &Options, dir: &Path) -> Result<(u64, f64), String> {
    let mut server = launch(options, dir).spawn().ready().await;
    let client = server.connect().await;
    let mut tables = 0;
    while tables == 0 || size(&dir.join("checkpoints")) < options.checkpoint_bytes {
        fill(&client, tables).await?;
        client.batch_execute("CHECKPOINT").await.map_err(|error| format!("{error:?}"))?;
        tables += 1;
    }
    let before = sums(&client, tables).await?;
    drop(client);
    server.terminate();
    server.wait(PATIENCE);
    let bytes = size(&dir.join("checkpoints"));
    Ok((bytes, restarted(&server.launch, tables, &before).await?))
}

async fn fill(client: &Client, number: usize) -> Result<(), String> {
    let failed = |error: tokio_postgres::Error| format!("{error:?}");
    let ddl = format!("CREATE TABLE accounts_{number} (aid int PRIMARY KEY, bid int, abalance int, filler char(84))");
    client.batch_execute(&ddl).await.map_err(failed)?;
    let sink = client.copy_in::<_, Bytes>(&format!("COPY accounts_{number} FROM STDIN")).await.map_err(failed)?;
    let mut sink = std::pin::pin!(sink);
    for first in (0..ROWS).step_by(1000) {
        let lines = (first..first + 1000).map(|row| format!("{}\t{}\t0\t\n", row + 1, row / 100_000 + 1));
        sink.feed(lines.collect::<String>().into()).await.map_err(failed)?;
    }
    sink.finish().await.map_err(failed)?;
    Ok(())
}

async fn sums(client: &Client, tables: usize) -> Result<Vec<(i64, i64)>, String> {
    let mut sums = Vec::new();
    for number in 0..tables {
        let query = format!("SELECT count(*), sum(abalance) FROM accounts_{number}");
        let row = client.query_one(&query, &[]).await.map_err(|error| format!("{error:?}"))?;
        sums.push((row.get(0), row.get(1)));
    }
    Ok(sums)
}

async fn restarted(launch: &Launch, tables: usize, before: &[(i64, i64)]) -> Result<f64, String> {
    let start = Instant::now();
    let server: Server = launch.spawn();
    let client = loop {
        if let Ok(client) = connect(&launch.config()).await
            && client.query_one("SELECT count(*) FROM accounts_0 WHERE aid = 1", &[]).await.is_ok()
        {
            break client;
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("no answer after a restart: {}", server.log.text()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let seconds = start.elapsed().as_secs_f64();
    let after = sums(&client, tables).await?;
    if after == before { Ok(seconds) } else { Err(format!("other rows after the restart: {after:?}, not {before:?}")) }
}

/// Bytes of all files below a directory.
fn size(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
