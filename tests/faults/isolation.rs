//! Clients whose transactions are judged by isolation: lists and registers for the checker ([`super::elle`]), and three
//! questions that every snapshot, on any node, answers by itself: write skew, long fork, foreign keys.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinHandle;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use super::elle::{Book, Complete, End, KEYS, Kind, Step};
use super::history::Outcome;
use super::workload::{Load, PATIENCE, judge};

pub const TABLES: &str = "
    CREATE TABLE elle_serializable (id bigint PRIMARY KEY, items text NOT NULL);
    CREATE TABLE elle_snapshot (id bigint PRIMARY KEY, items text NOT NULL);
    CREATE TABLE elle_register (id bigint PRIMARY KEY, items text NOT NULL);
    CREATE TABLE skew (id bigint PRIMARY KEY);
    CREATE TABLE fork (id bigint PRIMARY KEY);
    CREATE TABLE parent (id int PRIMARY KEY);
    CREATE TABLE child (id bigint PRIMARY KEY, parent int NOT NULL REFERENCES parent)";

/// Rows of one long fork.
const FORK: i64 = 3;
const PARENTS: i32 = 20;

fn table(kind: Kind) -> &'static str {
    match kind {
        Kind::Serializable => "elle_serializable",
        Kind::Snapshot => "elle_snapshot",
        Kind::Register => "elle_register",
    }
}

fn level(kind: Kind) -> &'static str {
    if kind == Kind::Snapshot { "REPEATABLE READ" } else { "SERIALIZABLE" }
}

pub struct Isolation {
    load: Arc<Load>,
    books: [Book; 3],
    next: AtomicI64,
    pairs: AtomicI64,
    forks: AtomicI64,
    /// What was seen of each fork.
    seen: Mutex<BTreeMap<i64, Vec<Vec<i64>>>>,
    judges: Mutex<Vec<JoinHandle<()>>>,
    /// Committed transactions that the checker has judged, and looks at the three questions.
    pub judged: AtomicU64,
    pub looks: AtomicU64,
    pub unjudged: AtomicU64,
}

impl Isolation {
    pub fn new(load: Arc<Load>) -> Arc<Self> {
        Arc::new(Self {
            load,
            books: Kind::EACH.map(Book::new),
            next: AtomicI64::new(1),
            pairs: AtomicI64::new(0),
            forks: AtomicI64::new(0),
            seen: Mutex::default(),
            judges: Mutex::default(),
            judged: AtomicU64::new(0),
            looks: AtomicU64::new(0),
            unjudged: AtomicU64::new(0),
        })
    }

    /// Starts the clients: `writers` on the primary, one reader on each node.
    pub fn start(self: &Arc<Self>, writers: usize, seed: &mut impl FnMut() -> u64) -> Vec<JoinHandle<()>> {
        let mut clients = Vec::new();
        for _ in 0..writers {
            clients.push(tokio::spawn(write(self.clone(), seed())));
        }
        for node in 0..self.load.doors.len() {
            clients.push(tokio::spawn(read(self.clone(), node, seed())));
        }
        clients
    }

    fn judge(self: &Arc<Self>, complete: Complete) {
        let isolation = self.clone();
        let judge = tokio::task::spawn_blocking(move || isolation.judge_now(complete));
        let mut judges = self.judges.lock().expect("judges");
        judges.retain(|judge| !judge.is_finished());
        judges.push(judge);
    }

    fn judge_now(&self, complete: Complete) {
        let (judged, wrong) = complete.judge();
        self.judged.fetch_add(judged, Ordering::Relaxed);
        self.unjudged.fetch_add((judged == 0).into(), Ordering::Relaxed);
        if let Some(wrong) = wrong {
            self.load.history.violation(format!("isolation: {wrong}"));
        }
    }

    /// Judges what is left; the clients have ended.
    pub async fn finish(self: &Arc<Self>) {
        for book in &self.books {
            book.rest().into_iter().for_each(|rest| self.judge(rest));
        }
        let judges = std::mem::take(&mut *self.judges.lock().expect("judges"));
        for judge in judges {
            judge.await.expect("judge");
        }
    }

    /// Rows of a fork that a reader saw: of any two readers one saw all that the other saw.
    fn saw(&self, node: &str, fork: i64, rows: Vec<i64>) {
        let within = |a: &Vec<i64>, b: &Vec<i64>| a.iter().all(|row| b.contains(row));
        let mut seen = self.seen.lock().expect("seen");
        let before = seen.entry(fork).or_default();
        if let Some(other) = before.iter().find(|other| !within(other, &rows) && !within(&rows, other)) {
            let what = format!("long fork: {node} saw {rows:?}, another read saw {other:?}");
            self.load.history.violation(what);
        }
        if !before.contains(&rows) {
            before.push(rows);
        }
        while seen.len() > 1000 {
            seen.pop_first();
        }
    }
}

async fn rows(client: &Client, sql: &str) -> Result<Vec<String>, Error> {
    let messages = client.simple_query(sql).await?;
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
        _ => None,
    };
    Ok(messages.iter().filter_map(row).collect())
}

fn numbers(text: &str) -> Vec<i64> {
    text.split_terminator(',').filter_map(|item| item.parse().ok()).collect()
}

/// Runs a transaction's steps and fills in what its reads gave.
async fn transact(
    client: &Client,
    kind: Kind,
    begin: &str,
    steps: &mut [Step],
    sent: &AtomicBool,
) -> Result<(), Error> {
    let table = table(kind);
    client.batch_execute(begin).await?;
    for step in steps {
        match step {
            Step::Read(key, values) => {
                let found = rows(client, &format!("SELECT items FROM {table} WHERE id = {key}")).await?;
                *values = found.first().map(|items| numbers(items)).unwrap_or_default();
            }
            Step::Write(key, value) => {
                let new = if kind == Kind::Register { "excluded.items" } else { "it.items || excluded.items" };
                let sql = format!(
                    "INSERT INTO {table} AS it VALUES ({key}, '{value},') ON CONFLICT (id) DO UPDATE SET items = {new}"
                );
                client.batch_execute(&sql).await?;
            }
        }
    }
    sent.store(true, Ordering::Relaxed);
    client.batch_execute("COMMIT").await
}

/// How a piece of work left its session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Session {
    Idle,
    /// Perhaps in a transaction, which has failed.
    Failed,
    Lost,
}

impl Session {
    /// Whether it can go on.
    async fn goes_on(self, client: &Client) -> bool {
        match self {
            Session::Idle => true,
            Session::Failed => client.batch_execute("ROLLBACK").await.is_ok(),
            Session::Lost => false,
        }
    }
}

/// What became of a piece of work.
fn ended(load: &Load, result: Result<Result<(), Error>, tokio::time::error::Elapsed>, sent: bool) -> (End, Session) {
    match result {
        Ok(Ok(())) => (End::Committed, Session::Idle),
        Ok(Err(error)) => {
            let code = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
            if code.starts_with("23") {
                return (End::Aborted, Session::Failed);
            }
            let end = match judge(load, &error, sent) {
                Outcome::Unknown => End::Unknown,
                _ => End::Aborted,
            };
            (end, if code.starts_with("40") { Session::Failed } else { Session::Lost })
        }
        Err(_) => (if sent { End::Unknown } else { End::Aborted }, Session::Lost),
    }
}

async fn write(isolation: Arc<Isolation>, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut session = None;
    let load = &isolation.load;
    while load.running() {
        let Some((node, client)) = session.take() else {
            session = load.primary(&mut random).await;
            continue;
        };
        let left = match random.random_range(0..10) {
            0 => skew(&isolation, &client).await,
            1 => fork(&isolation, &client).await,
            2 => foreign_keys(&isolation, &client, &mut random).await,
            _ => elle(&isolation, &client, &mut random, true, &node).await,
        };
        if left.goes_on(&client).await {
            session = Some((node, client));
        }
    }
}

/// One transaction for the checker.
async fn elle(isolation: &Arc<Isolation>, client: &Client, random: &mut StdRng, writes: bool, node: &str) -> Session {
    let which = random.random_range(0..3);
    let (kind, book) = (Kind::EACH[which], &isolation.books[which]);
    let (ticket, mut steps) = book.invoke(|ticket| {
        let mut steps = Vec::new();
        for _ in 0..random.random_range(1..=4) {
            let key = ticket.key(random.random_range(0..KEYS));
            steps.push(match writes && random.random_bool(0.5) {
                true => Step::Write(key, isolation.next.fetch_add(1, Ordering::Relaxed)),
                false => Step::Read(key, Vec::new()),
            });
        }
        steps
    });
    let begin = match writes {
        true => format!("BEGIN ISOLATION LEVEL {}", level(kind)),
        // On a standby there is no SERIALIZABLE; a snapshot there is one in the order of commits all the same.
        false => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY".into(),
    };
    let sent = AtomicBool::new(false);
    let patience = if writes { PATIENCE } else { 12 * PATIENCE };
    let result = tokio::time::timeout(patience, transact(client, kind, &begin, &mut steps, &sent)).await;
    let (mut end, left) = ended(&isolation.load, result, sent.into_inner());
    if !writes && end == End::Unknown {
        end = End::Aborted;
    }
    let who = format!("{} on {node}", if writes { "a writer" } else { "a reader" });
    if let Some(complete) = book.complete(&ticket, &steps, end, &who) {
        isolation.judge(complete);
    }
    left
}

/// Two transactions that each insert a row unless one of the two is there: at most one is in the end.
async fn skew(isolation: &Isolation, client: &Client) -> Session {
    let number = isolation.pairs.fetch_add(1, Ordering::Relaxed);
    let (pair, sent) = (number / 2, AtomicBool::new(false));
    let work = async {
        client.batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE").await?;
        let (first, second) = (2 * pair, 2 * pair + 1);
        let there = rows(client, &format!("SELECT id FROM skew WHERE id BETWEEN {first} AND {second}")).await?;
        if there.is_empty() {
            client.batch_execute(&format!("INSERT INTO skew VALUES ({number})")).await?;
        }
        sent.store(true, Ordering::Relaxed);
        client.batch_execute("COMMIT").await
    };
    let result = tokio::time::timeout(PATIENCE, work).await;
    ended(&isolation.load, result, sent.load(Ordering::Relaxed)).1
}

async fn fork(isolation: &Isolation, client: &Client) -> Session {
    let id = isolation.forks.fetch_add(1, Ordering::Relaxed);
    let insert = format!("INSERT INTO fork VALUES ({id})");
    let result = tokio::time::timeout(PATIENCE, client.batch_execute(&insert)).await;
    ended(&isolation.load, result, true).1
}

async fn foreign_keys(isolation: &Isolation, client: &Client, random: &mut StdRng) -> Session {
    let (parent, child) = (random.random_range(0..PARENTS), isolation.next.fetch_add(1, Ordering::Relaxed));
    let sql = match random.random_range(0..8) {
        0 => format!("DELETE FROM parent WHERE id = {parent}"),
        1 => {
            format!("BEGIN; DELETE FROM child WHERE parent = {parent}; DELETE FROM parent WHERE id = {parent}; COMMIT")
        }
        2 | 3 => format!("INSERT INTO parent VALUES ({parent}) ON CONFLICT DO NOTHING"),
        4 => format!("UPDATE child SET parent = {parent} WHERE id = (SELECT max(id) FROM child)"),
        _ => format!("INSERT INTO child VALUES ({child}, {parent})"),
    };
    let result = tokio::time::timeout(PATIENCE, client.batch_execute(&sql)).await;
    ended(&isolation.load, result, true).1
}

/// What no snapshot may show.
const QUESTIONS: [(&str, &str); 2] = [
    ("write skew", "SELECT id / 2 FROM skew GROUP BY id / 2 HAVING count(*) > 1"),
    (
        "a child without its parent",
        "SELECT id FROM child WHERE NOT EXISTS (SELECT 1 FROM parent WHERE parent.id = child.parent)",
    ),
];

/// Reads on one node, whatever its role.
async fn read(isolation: Arc<Isolation>, node: usize, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let load = &isolation.load;
    let door = load.doors[node].clone();
    let mut session = None;
    while load.running() {
        let Some(client) = session.take() else {
            session = door.open(TargetSessionAttrs::Any, std::time::Duration::from_secs(1)).await.ok();
            if session.is_none() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            continue;
        };
        let left = if random.random_bool(0.7) {
            elle(&isolation, &client, &mut random, false, &door.name).await
        } else {
            look(&isolation, &client, &door.name, &mut random).await
        };
        if left.goes_on(&client).await {
            session = Some(client);
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

async fn look(isolation: &Isolation, client: &Client, node: &str, random: &mut StdRng) -> Session {
    let work = async {
        let newest = isolation.forks.load(Ordering::Relaxed) / FORK;
        let fork = (newest - random.random_range(0..3)).max(0);
        let (first, last) = (fork * FORK, fork * FORK + FORK - 1);
        let seen =
            rows(client, &format!("SELECT id FROM fork WHERE id BETWEEN {first} AND {last} ORDER BY id")).await?;
        isolation.saw(node, fork, seen.iter().filter_map(|id| id.parse().ok()).collect());
        if random.random_bool(0.1) {
            for (what, question) in QUESTIONS {
                let found = rows(client, question).await?;
                if !found.is_empty() {
                    isolation.load.history.violation(format!("{what} on {node}: {found:?}"));
                }
            }
        }
        isolation.looks.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    let result = tokio::time::timeout(12 * PATIENCE, work).await;
    ended(&isolation.load, result, false).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::history::History;

    #[test]
    fn readers_that_saw_different_rows_are_a_fork() {
        let load = Load {
            history: History::new(0),
            doors: Vec::new(),
            stopped: AtomicBool::new(false),
            next_id: AtomicI64::new(1),
            appends: AtomicI64::new(0),
        };
        let isolation = Isolation::new(Arc::new(load));
        isolation.saw("a", 1, vec![]);
        isolation.saw("a", 1, vec![3]);
        isolation.saw("b", 1, vec![3, 4]);
        isolation.saw("b", 2, vec![7]);
        assert!(isolation.load.history.violations().is_empty());
        isolation.saw("c", 1, vec![4, 5]);
        assert_eq!(isolation.load.history.violations().len(), 1);
    }
}
