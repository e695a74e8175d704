//! The clients: they move money, append to lists, read everywhere, find the primary again by themselves, and write
//! into the history exactly what they know.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::{Client, Error};

use super::cluster::Door;
use super::history::{History, Kind, Outcome};

pub const ACCOUNTS: i32 = 40;
pub const EACH: i64 = 1000;
/// A client that hears nothing for so long gives up; what it sent is then unknown.
pub const PATIENCE: Duration = Duration::from_millis(1500);
const LISTS_AT_ONCE: i64 = 8;
const APPENDS_PER_LIST: i64 = 100;

pub async fn create_tables(client: &Client) -> Result<(), Error> {
    client
        .batch_execute(&format!(
            "CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL);
             CREATE TABLE transfer (id bigint PRIMARY KEY, source int NOT NULL, target int NOT NULL, amount bigint NOT NULL);
             CREATE TABLE list (id int PRIMARY KEY, items text NOT NULL);
             INSERT INTO account SELECT g, {EACH} FROM generate_series(1, {ACCOUNTS}) AS g"
        ))
        .await
}

/// What all clients of a run share.
pub struct Load {
    pub history: History,
    pub doors: Vec<Door>,
    pub stopped: AtomicBool,
    pub next_id: AtomicI64,
    pub appends: AtomicI64,
}

impl Load {
    pub fn running(&self) -> bool {
        !self.stopped.load(Ordering::Relaxed)
    }

    /// The lists in use move on with the appends, so that none grows for ever.
    fn list(&self, random: &mut StdRng) -> i32 {
        let generation = self.appends.load(Ordering::Relaxed) / (LISTS_AT_ONCE * APPENDS_PER_LIST);
        (generation * LISTS_AT_ONCE + random.random_range(0..LISTS_AT_ONCE)) as i32
    }

    pub async fn primary(&self, random: &mut StdRng) -> Option<(String, Client)> {
        let first = random.random_range(0..self.doors.len());
        for step in 0..self.doors.len() {
            let door = &self.doors[(first + step) % self.doors.len()];
            if let Ok(client) = door.open(TargetSessionAttrs::ReadWrite, Duration::from_secs(1)).await {
                return Some((door.name.clone(), client));
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        None
    }
}

/// How a failed operation ended. `sent` tells whether the server had what it needs to commit.
pub fn judge(load: &Load, error: &Error, sent: bool) -> Outcome {
    let Some(error) = error.as_db_error() else {
        return if sent { Outcome::Unknown } else { Outcome::Refused };
    };
    let code = error.code().code();
    let expected = ["08", "25", "40", "53", "55", "57"].iter().any(|class| code.starts_with(class));
    if !expected {
        load.history.violation(format!("a client got {code}: {}", error.message()));
    }
    match code {
        "08007" => Outcome::Unknown,
        // The answer of a server that goes down does not tell how far it came.
        "57P01" | "57P02" if sent => Outcome::Unknown,
        _ => Outcome::Refused,
    }
}

async fn transfer(client: &Client, id: i64, random: &mut StdRng, sent: &AtomicBool) -> Result<(), Error> {
    let level = ["READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"][random.random_range(0..4)];
    let source = random.random_range(1..=ACCOUNTS);
    let target = (source + random.random_range(1..ACCOUNTS) - 1) % ACCOUNTS + 1;
    let amount = random.random_range(1..=20_i64);
    client.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}")).await?;
    let take = client.prepare("UPDATE account SET balance = balance - $1 WHERE id = $2").await?;
    let give = client.prepare("UPDATE account SET balance = balance + $1 WHERE id = $2").await?;
    let note = client.prepare("INSERT INTO transfer VALUES ($1, $2, $3, $4)").await?;
    let mut moves = [(&take, source), (&give, target)];
    // Locks are taken in the order of the accounts, mostly: now and then a deadlock is wanted.
    if random.random_bool(0.95) {
        moves.sort_by_key(|(_, account)| *account);
    }
    for (statement, account) in moves {
        client.execute(statement, &[&amount, &account]).await?;
    }
    client.execute(&note, &[&id, &source, &target, &amount]).await?;
    sent.store(true, Ordering::Relaxed);
    client.batch_execute("COMMIT").await
}

/// Moves money for as long as the load runs.
pub async fn bank(load: Arc<Load>, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut session = None;
    while load.running() {
        let Some((node, client)) = session.take() else {
            session = load.primary(&mut random).await;
            continue;
        };
        let id = load.next_id.fetch_add(1, Ordering::Relaxed);
        let sent = AtomicBool::new(false);
        load.history.invoke(id, Kind::Transfer);
        let result = tokio::time::timeout(PATIENCE, transfer(&client, id, &mut random, &sent)).await;
        let sent = sent.into_inner();
        match result {
            Ok(Ok(())) => {
                load.history.complete(id, &node, Outcome::Acknowledged, None, "");
                session = Some((node, client));
            }
            Ok(Err(error)) => {
                let outcome = judge(&load, &error, sent);
                load.history.complete(id, &node, outcome, None, &error.to_string());
                let again = error.code().is_some_and(|code| code.code().starts_with("40"));
                if again && client.batch_execute("ROLLBACK").await.is_ok() {
                    session = Some((node, client));
                }
            }
            Err(_) => {
                let outcome = if sent { Outcome::Unknown } else { Outcome::Refused };
                load.history.complete(id, &node, outcome, None, "no answer");
            }
        }
    }
}

/// Appends to lists, each in one statement that commits by itself and returns the list.
pub async fn append(load: Arc<Load>, seed: u64) {
    const APPEND: &str = "INSERT INTO list VALUES ($1, $2) \
                          ON CONFLICT (id) DO UPDATE SET items = list.items || excluded.items RETURNING items";
    let mut random = StdRng::seed_from_u64(seed);
    let mut session = None;
    while load.running() {
        let Some((node, client)) = session.take() else {
            session = load.primary(&mut random).await;
            continue;
        };
        let (id, list) = (load.next_id.fetch_add(1, Ordering::Relaxed), load.list(&mut random));
        load.history.invoke(id, Kind::Append { list });
        let item = format!("{id},");
        match tokio::time::timeout(PATIENCE, client.query_one(APPEND, &[&list, &item])).await {
            Ok(Ok(row)) => {
                load.appends.fetch_add(1, Ordering::Relaxed);
                load.history.complete(id, &node, Outcome::Acknowledged, Some(row.get(0)), "");
                session = Some((node, client));
            }
            Ok(Err(error)) => {
                let outcome = judge(&load, &error, true);
                load.history.complete(id, &node, outcome, None, &error.to_string());
                if error.code().is_some_and(|code| code.code().starts_with("40")) {
                    session = Some((node, client));
                }
            }
            Err(_) => load.history.complete(id, &node, Outcome::Unknown, None, "no answer"),
        }
    }
}

/// Reads on one node, whatever its role, and checks each snapshot. The tables grow: a reader rests four times as long as it read.
pub async fn read(load: Arc<Load>, node: usize, seed: u64) {
    const SNAPSHOT: &str = "SELECT (SELECT sum(balance)::bigint FROM account), (SELECT count(*) FROM transfer), \
                            coalesce((SELECT items FROM list WHERE id = $1), '')";
    let mut random = StdRng::seed_from_u64(seed);
    let door = load.doors[node].clone();
    let mut session = None;
    while load.running() {
        let Some(client) = session.take() else {
            session = door.open(TargetSessionAttrs::Any, Duration::from_secs(1)).await.ok();
            if session.is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            continue;
        };
        let list = load.list(&mut random);
        let floor = load.history.floor(list);
        let began = Instant::now();
        // Longer than the longest pause of a node: an old primary that wakes up must not lose its readers.
        match tokio::time::timeout(12 * PATIENCE, client.query_one(SNAPSHOT, &[&list])).await {
            Ok(Ok(row)) => {
                load.history.read(&door.name, &floor, row.get(0), row.get(1), row.get(2));
                session = Some(client);
            }
            Ok(Err(error)) => {
                judge(&load, &error, false);
                load.history.event(&format!("{}: read failed: {error}", door.name));
                if !error.is_closed() {
                    session = Some(client);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(_) => load.history.event(&format!("{}: read got no answer", door.name)),
        }
        let rest = (4 * began.elapsed()).clamp(Duration::from_millis(2), Duration::from_secs(1));
        tokio::time::sleep(rest).await;
    }
}
