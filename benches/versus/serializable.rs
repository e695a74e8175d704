//! SERIALIZABLE on both systems: how many transactions a second, and which share is refused (40001).
//!
//! In two of the loads no two clients ever touch the same row, so that every refusal is a false one; the third is write
//! skew in earnest, over few pairs of rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_postgres::{Client, IsolationLevel, Statement};

use crate::peers::Peer;

const CLIENTS: i32 = 8;
const ITEMS: i32 = 1000;
const DISTRICTS: i32 = 10;
const CUSTOMERS: i32 = 100;
/// Pairs of rows of one client, and of all of them in the load where they meet.
const OWN_PAIRS: i32 = 1000;
const SHARED_PAIRS: i32 = 64;

#[derive(Clone, Copy, PartialEq)]
enum Load {
    NewOrder,
    OwnPairs,
    SharedPairs,
}

#[derive(Default)]
struct Counts {
    committed: AtomicU64,
    refused: AtomicU64,
}

pub async fn run(seconds: u32, dir: &std::path::Path, binary: &std::path::Path) -> Result<(), String> {
    let ours = Peer::lockstep(binary, &dir.join("lockstep"), 1).await;
    let theirs = Peer::postgres(dir, false).await?;
    for peer in [&ours, &theirs] {
        fill(&peer.client().await?).await.map_err(|error| format!("{}: {error:?}", peer.name))?;
    }
    println!(
        "\n| SERIALIZABLE, {CLIENTS} clients | Lockstep tps | PostgreSQL tps | Lockstep refused | PostgreSQL refused |"
    );
    println!("|---|---:|---:|---:|---:|");
    for (load, name) in [
        (Load::NewOrder, "new orders and their status, a warehouse each: every refusal is false"),
        (Load::OwnPairs, "write skew over pairs, a thousand each: every refusal is false"),
        (Load::SharedPairs, "write skew over 64 pairs that all share"),
    ] {
        let mut figures = Vec::new();
        for peer in [&ours, &theirs] {
            figures.push(measure(peer, load, seconds).await?);
        }
        let share = |(committed, refused): (u64, u64)| 100.0 * refused as f64 / (committed + refused).max(1) as f64;
        let rate = |(committed, _): (u64, u64)| committed as f64 / f64::from(seconds);
        println!(
            "| {name} | {:.0} | {:.0} | **{:.2} %** | {:.2} % |",
            rate(figures[0]),
            rate(figures[1]),
            share(figures[0]),
            share(figures[1])
        );
    }
    Ok(())
}

async fn fill(client: &Client) -> Result<(), tokio_postgres::Error> {
    let sql = format!(
        "CREATE TABLE warehouse (w int PRIMARY KEY, ytd int NOT NULL);
         CREATE TABLE district (w int, d int, next_order int NOT NULL, ytd int NOT NULL, PRIMARY KEY (w, d));
         CREATE TABLE customer (w int, d int, c int, balance int NOT NULL, PRIMARY KEY (w, d, c));
         CREATE TABLE item (i int PRIMARY KEY, price int NOT NULL);
         CREATE TABLE stock (w int, i int, quantity int NOT NULL, PRIMARY KEY (w, i));
         CREATE TABLE orders (w int, d int, o int, c int NOT NULL, PRIMARY KEY (w, d, o));
         CREATE TABLE order_line (w int, d int, o int, n int, i int NOT NULL, amount int NOT NULL, PRIMARY KEY (w, d, o, n));
         CREATE TABLE pair (p int, half int, on_call bool NOT NULL, PRIMARY KEY (p, half));
         INSERT INTO warehouse SELECT w, 0 FROM generate_series(1, {CLIENTS}) w;
         INSERT INTO district SELECT w, d, 1, 0 FROM generate_series(1, {CLIENTS}) w, generate_series(1, {DISTRICTS}) d;
         INSERT INTO customer SELECT w, d, c, 0
             FROM generate_series(1, {CLIENTS}) w, generate_series(1, {DISTRICTS}) d, generate_series(1, {CUSTOMERS}) c;
         INSERT INTO item SELECT i, i % 100 FROM generate_series(1, {ITEMS}) i;
         INSERT INTO stock SELECT w, i, 1000 FROM generate_series(1, {CLIENTS}) w, generate_series(1, {ITEMS}) i;
         INSERT INTO pair SELECT p, half, true FROM generate_series(0, {}) p, generate_series(0, 1) half;",
        CLIENTS * OWN_PAIRS - 1
    );
    client.batch_execute(&sql).await?;
    client.batch_execute("ANALYZE").await
}

async fn measure(peer: &Peer, load: Load, seconds: u32) -> Result<(u64, u64), String> {
    let (counts, stop) = (Arc::new(Counts::default()), Arc::new(AtomicBool::new(false)));
    let mut tasks = Vec::new();
    for number in 1..=CLIENTS {
        let (client, counts, stop) = (peer.client().await?, counts.clone(), stop.clone());
        tasks.push(tokio::spawn(async move {
            let mut client = client;
            let statements = prepare(&client).await?;
            let mut rng = StdRng::seed_from_u64(number as u64);
            while !stop.load(Ordering::Relaxed) {
                let done = match load {
                    Load::NewOrder => new_order(&mut client, &statements, number, &mut rng).await,
                    Load::OwnPairs => {
                        let pair = (number - 1) * OWN_PAIRS + rng.random_range(0..OWN_PAIRS);
                        skew(&mut client, &statements, pair, &mut rng).await
                    }
                    Load::SharedPairs => {
                        let pair = rng.random_range(0..SHARED_PAIRS);
                        skew(&mut client, &statements, pair, &mut rng).await
                    }
                };
                match done {
                    Ok(()) => counts.committed.fetch_add(1, Ordering::Relaxed),
                    Err(error) if error.code().is_some_and(|code| code.code() == "40001") => {
                        counts.refused.fetch_add(1, Ordering::Relaxed)
                    }
                    Err(error) => return Err(error),
                };
            }
            Ok(())
        }));
    }
    tokio::time::sleep(Duration::from_secs(u64::from(seconds))).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        let done = task.await.map_err(|error| error.to_string())?;
        done.map_err(|error| format!("{}: {error:?}", peer.name))?;
    }
    Ok((counts.committed.load(Ordering::Relaxed), counts.refused.load(Ordering::Relaxed)))
}

struct Statements {
    district: Statement,
    next_order: Statement,
    order: Statement,
    item: Statement,
    stock: Statement,
    take: Statement,
    line: Statement,
    last_orders: Statement,
    lines: Statement,
    pay: Statement,
    pair: Statement,
    flip: Statement,
}

async fn prepare(client: &Client) -> Result<Statements, tokio_postgres::Error> {
    let of = async |sql: &str| client.prepare(sql).await;
    Ok(Statements {
        district: of("SELECT next_order FROM district WHERE w = $1 AND d = $2").await?,
        next_order: of("UPDATE district SET next_order = next_order + 1 WHERE w = $1 AND d = $2").await?,
        order: of("INSERT INTO orders VALUES ($1, $2, $3, $4)").await?,
        item: of("SELECT price FROM item WHERE i = $1").await?,
        stock: of("SELECT quantity FROM stock WHERE w = $1 AND i = $2").await?,
        take: of("UPDATE stock SET quantity = $3 WHERE w = $1 AND i = $2").await?,
        line: of("INSERT INTO order_line VALUES ($1, $2, $3, $4, $5, $6)").await?,
        last_orders: of("SELECT o, c FROM orders WHERE w = $1 AND d = $2 ORDER BY o DESC LIMIT 1").await?,
        lines: of("SELECT i, amount FROM order_line WHERE w = $1 AND d = $2 AND o = $3").await?,
        pay: of("UPDATE customer SET balance = balance + $4 WHERE w = $1 AND d = $2 AND c = $3").await?,
        pair: of("SELECT half, on_call FROM pair WHERE p = $1").await?,
        flip: of("UPDATE pair SET on_call = $3 WHERE p = $1 AND half = $2").await?,
    })
}

/// An order of five lines; then the customer of the district's last order is charged for it.
async fn new_order(
    client: &mut Client,
    of: &Statements,
    w: i32,
    rng: &mut StdRng,
) -> Result<(), tokio_postgres::Error> {
    let (d, c) = (rng.random_range(1..=DISTRICTS), rng.random_range(1..=CUSTOMERS));
    let t = client.build_transaction().isolation_level(IsolationLevel::Serializable).start().await?;
    let o: i32 = t.query_one(&of.district, &[&w, &d]).await?.get(0);
    t.execute(&of.next_order, &[&w, &d]).await?;
    t.execute(&of.order, &[&w, &d, &o, &c]).await?;
    for n in 0..5 {
        let i = rng.random_range(1..=ITEMS);
        let price: i32 = t.query_one(&of.item, &[&i]).await?.get(0);
        let quantity: i32 = t.query_one(&of.stock, &[&w, &i]).await?.get(0);
        t.execute(&of.take, &[&w, &i, &(quantity - 1)]).await?;
        t.execute(&of.line, &[&w, &d, &o, &n, &i, &price]).await?;
    }
    t.commit().await?;
    let t = client.build_transaction().isolation_level(IsolationLevel::Serializable).start().await?;
    let last = t.query_one(&of.last_orders, &[&w, &d]).await?;
    let (o, c): (i32, i32) = (last.get(0), last.get(1));
    let amount: i32 = t.query(&of.lines, &[&w, &d, &o]).await?.iter().map(|line| line.get::<_, i32>(1)).sum();
    t.execute(&of.pay, &[&w, &d, &c, &amount]).await?;
    t.commit().await
}

/// One half goes off call if the other is on, else it comes back.
async fn skew(client: &mut Client, of: &Statements, pair: i32, rng: &mut StdRng) -> Result<(), tokio_postgres::Error> {
    let half = rng.random_range(0..2);
    let t = client.build_transaction().isolation_level(IsolationLevel::Serializable).start().await?;
    let rows = t.query(&of.pair, &[&pair]).await?;
    let on: Vec<bool> = rows.iter().map(|row| row.get(1)).collect();
    let both = on.iter().all(|on| *on);
    t.execute(&of.flip, &[&pair, &half, &!both]).await?;
    t.commit().await
}
