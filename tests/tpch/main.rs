//! TPC-H from the command line.
//!
//! - `tpch generate DIR SCALE`: CSV files for psql's `\copy` or another system;
//! - `tpch load CONNECTION SCALE`: tables and rows, by COPY;
//! - `tpch run CONNECTION [REPEAT]`: each query's best time in milliseconds;
//! - `tpch compare CONNECTION CONNECTION`: all rows of all queries on both servers must be the same.
//!
//! A connection is libpq's `host=… port=… user=… dbname=…`. `load` and `compare` together answer whether Lockstep and
//! PostgreSQL agree at any scale.

#[path = "mod.rs"]
mod tpch;

use std::process::ExitCode;
use std::time::Instant;

use tokio_postgres::{Client, NoTls};

async fn connect(connection: &str) -> Result<Client, String> {
    let (client, connection) =
        tokio_postgres::connect(connection, NoTls).await.map_err(|error| format!("{error:?}"))?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

async fn run_all(client: &Client, repeat: usize) -> Result<(), String> {
    let mut product = 1.0_f64;
    for number in 1..=22 {
        let sql = tpch::query(number);
        let mut best = f64::INFINITY;
        let mut rows = 0;
        for _ in 0..repeat {
            let start = Instant::now();
            rows = tpch::run(client, &sql).await.map_err(|error| format!("q{number:02}: {error:?}"))?.lines().count();
            best = best.min(start.elapsed().as_secs_f64() * 1e3);
        }
        product *= best;
        println!("q{number:02} {best:.1} ms {rows} rows");
    }
    println!("geometric mean {:.1} ms", product.powf(1.0 / 22.0));
    Ok(())
}

async fn compare(left: &Client, right: &Client) -> Result<(), String> {
    let mut different = 0;
    for number in 1..=22 {
        let sql = tpch::query(number);
        let answer = async |client| tpch::run(client, &sql).await.map_err(|error| format!("q{number:02}: {error:?}"));
        let (left, right) = (answer(left).await?, answer(right).await?);
        if left == right {
            println!("q{number:02} same {} rows", left.lines().count());
            continue;
        }
        let sorted = |rows: &str| {
            let mut lines: Vec<String> = rows.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        if sorted(&left) == sorted(&right) {
            println!("q{number:02} same {} rows, ties in another order", left.lines().count());
            continue;
        }
        different += 1;
        println!("q{number:02} DIFFERENT, {} and {} rows", left.lines().count(), right.lines().count());
        for (left, right) in left.lines().zip(right.lines()).filter(|(left, right)| left != right).take(3) {
            println!("  < {left}\n  > {right}");
        }
    }
    if different == 0 { Ok(()) } else { Err(format!("{different} queries differ")) }
}

async fn dispatch(arguments: &[&str]) -> Result<(), String> {
    let scale = |text: &str| text.parse::<f64>().map_err(|_| format!("not a scale: {text}"));
    match arguments {
        ["generate", dir, factor] => tpch::generate(dir.as_ref(), scale(factor)?).map_err(|error| error.to_string()),
        ["load", connection, factor] => {
            let start = Instant::now();
            let rows = tpch::load(&connect(connection).await?, scale(factor)?).await.map_err(|e| format!("{e:?}"))?;
            println!("{rows} rows in {:.1} s", start.elapsed().as_secs_f64());
            Ok(())
        }
        ["run", connection] => run_all(&connect(connection).await?, 3).await,
        ["run", connection, repeat] => {
            let repeat = repeat.parse().map_err(|_| format!("not a number: {repeat}"))?;
            run_all(&connect(connection).await?, repeat).await
        }
        ["compare", left, right] => compare(&connect(left).await?, &connect(right).await?).await,
        _ => Err("usage: tpch generate DIR SCALE | load CONNECTION SCALE | run CONNECTION [REPEAT] | \
                  compare CONNECTION CONNECTION"
            .into()),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tpch: {error}");
            ExitCode::FAILURE
        }
    }
}
