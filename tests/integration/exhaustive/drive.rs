//! Sessions that run the steps of a schedule, on PostgreSQL or on an engine in this process.
//!
//! A step that waits for a lock is left waiting. A schedule in which a session that waits is to do its next step cannot
//! be: it ends there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine::session::{Rows, Startup, Step};
use engine::txn::memory_log::MemoryLog;
use engine::types::arrow::datum_at;
use engine::types::text;
use engine::{Engine, EngineConfig};
use tokio::task::JoinHandle;
use tokio_postgres::SimpleQueryMessage;

use super::cases::{Case, RESET, SCHEMA, STATE};

/// How long an answer is waited for before the server is asked who waits.
const LOOK: Duration = Duration::from_millis(2);

pub enum Client {
    Local(Box<engine::Session>),
    Postgres(tokio_postgres::Client),
}

impl Client {
    /// Rows as text, `ok N` for a statement without, or `ESTATE`.
    pub async fn run(&mut self, sql: &str) -> String {
        match self {
            Client::Postgres(client) => postgres(client, sql).await,
            Client::Local(session) => {
                let answer = local(session, sql).await;
                let synced = session.sync().await;
                match answer.and_then(|answer| synced.map(|()| answer)) {
                    Ok(answer) => answer,
                    Err(error) => format!("E{}", error.state().code()),
                }
            }
        }
    }
}

async fn postgres(client: &tokio_postgres::Client, sql: &str) -> String {
    let messages = match client.simple_query(sql).await {
        Ok(messages) => messages,
        Err(error) => return error.code().map_or(format!("{error:?}"), |code| format!("E{}", code.code())),
    };
    let (mut rows, mut count, mut described) = (Vec::new(), 0, false);
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(_) => {
                rows.clear();
                described = true;
            }
            SimpleQueryMessage::Row(row) => {
                rows.push((0..row.len()).map(|at| row.get(at).unwrap_or("-")).collect::<Vec<_>>().join("|"));
            }
            SimpleQueryMessage::CommandComplete(affected) => count = affected,
            _ => {}
        }
    }
    if described { rows.join(" ") } else { format!("ok {count}") }
}

async fn local(session: &mut engine::Session, sql: &str) -> engine::Result<String> {
    let mut answer = String::new();
    for _ in 0..session.begin_simple(sql)? {
        let columns = session.next_simple().await?;
        let format = session.format();
        let mut rows = Vec::new();
        let tag = loop {
            let some = match session.step("", 0).await? {
                Step::Rows(some) => some,
                Step::Complete(tag) => break tag,
                other => panic!("{other:?}"),
            };
            let columns = columns.as_ref().expect("columns");
            let tuples: Vec<Vec<_>> = match some {
                Rows::Tuples(tuples) => tuples.into_iter().map(|row| row.iter().cloned().collect()).collect(),
                Rows::Batch(batch) => {
                    let cell = |row, i: usize| datum_at(batch.column(i).as_ref(), row, columns[i].ty).expect("value");
                    (0..batch.num_rows()).map(|row| (0..columns.len()).map(|i| cell(row, i)).collect()).collect()
                }
            };
            for tuple in tuples {
                let cells = tuple.iter().zip(columns.iter()).map(|(value, column)| match value.is_null() {
                    true => "-".to_owned(),
                    false => text::to_string(value, column.ty, &format),
                });
                rows.push(cells.collect::<Vec<_>>().join("|"));
            }
        };
        answer = match columns {
            Some(_) => rows.join(" "),
            None => format!("ok {}", tag.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0)),
        };
    }
    Ok(answer)
}

/// Opens sessions.
pub enum Place {
    Local(Arc<Engine>),
    Postgres(Box<tokio_postgres::Config>),
}

impl Place {
    pub fn local() -> Self {
        let config = EngineConfig { partitions: 2, query_threads: 1, memory_limit: 1 << 30, ..EngineConfig::default() };
        let engine = Engine::new(config);
        engine.attach_log(MemoryLog::start(engine.state_machine()));
        Self::Local(engine)
    }

    async fn open(&self) -> Client {
        match self {
            Self::Local(engine) => {
                let (user, database) = ("postgres".into(), "postgres".into());
                let startup = Startup { user, database, parameters: Vec::new(), client: None };
                Client::Local(Box::new(engine.connect(startup).await.expect("session")))
            }
            Self::Postgres(config) => Client::Postgres(crate::server::connect(config).await.expect("PostgreSQL")),
        }
    }
}

struct Actor {
    client: Option<Client>,
    pid: i32,
    running: Option<JoinHandle<(Client, String)>>,
}

impl Actor {
    fn start(&mut self, statements: Vec<String>) {
        let mut client = self.client.take().expect("idle");
        self.running = Some(tokio::spawn(async move {
            let mut answer = String::new();
            for sql in statements {
                answer = client.run(&sql).await;
            }
            (client, answer)
        }));
    }

    /// The answer, if it comes within `wait`.
    async fn finished(&mut self, wait: Duration) -> Option<String> {
        let running = self.running.as_mut()?;
        let (client, answer) = tokio::time::timeout(wait, running).await.ok()?.expect("session");
        self.running = None;
        self.client = Some(client);
        Some(answer)
    }
}

/// What one transaction answered, and whether it committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub answers: Vec<String>,
    pub committed: bool,
}

/// What one schedule led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub seen: Vec<Seen>,
    pub state: String,
}

impl Outcome {
    pub fn text(&self) -> String {
        let one = |seen: &Seen| format!("{},{}", seen.answers.join(","), if seen.committed { "C" } else { "A" });
        format!("{} => {}", self.seen.iter().map(one).collect::<Vec<_>>().join(" / "), self.state)
    }
}

/// The sessions of one place.
pub struct Stage {
    control: Client,
    actors: Vec<Actor>,
    pause: Duration,
}

impl Stage {
    pub async fn new(place: &Place) -> Self {
        let mut control = place.open().await;
        let made = control.run(SCHEMA).await;
        assert!(made.starts_with("ok"), "{made}");
        let mut actors = Vec::new();
        for _ in 0..3 {
            let mut client = place.open().await;
            if matches!(place, Place::Postgres(_)) {
                // Whoever closes a ring is to be the one that ends, and not whoever waited first.
                client.run("SET deadlock_timeout = '1ms'").await;
            }
            let pid = client.run("SELECT pg_backend_pid()").await.parse().expect("pid");
            actors.push(Actor { client: Some(client), pid, running: None });
        }
        let pause = if matches!(place, Place::Postgres(_)) { Duration::from_millis(4) } else { Duration::ZERO };
        Self { control, actors, pause }
    }

    async fn blockers(&mut self, pid: i32) -> Vec<i32> {
        let list = self.control.run(&format!("SELECT pg_blocking_pids({pid})")).await;
        list.trim_matches(['{', '}']).split(',').filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Whether every running session waits for one that is idle, directly or over others.
    async fn all_wait(&mut self) -> bool {
        let running: Vec<i32> = self.actors.iter().filter(|a| a.running.is_some()).map(|a| a.pid).collect();
        let mut by = BTreeMap::new();
        for pid in &running {
            by.insert(*pid, self.blockers(*pid).await);
        }
        let mut waiting: Vec<i32> = Vec::new();
        loop {
            let waits = |pid: &&i32| by[pid].iter().any(|other| !running.contains(other) || waiting.contains(other));
            let more: Vec<i32> = running.iter().filter(|pid| !waiting.contains(pid)).filter(waits).copied().collect();
            if more.is_empty() {
                return waiting.len() == running.len();
            }
            waiting.extend(more);
        }
    }

    /// Waits until each running session has answered or is known to wait.
    async fn settle(&mut self) -> Vec<(usize, String)> {
        let start = std::time::Instant::now();
        let mut answers = Vec::new();
        let mut known_to_wait = false;
        loop {
            let mut news = false;
            for (i, actor) in self.actors.iter_mut().enumerate() {
                let wait = if known_to_wait { Duration::ZERO } else { LOOK };
                if let Some(answer) = actor.finished(wait).await {
                    answers.push((i, answer));
                    news = true;
                }
            }
            if self.actors.iter().all(|actor| actor.running.is_none()) || (known_to_wait && !news) {
                return answers;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "a step neither answers nor waits");
            // Looked at once more after this: an answer may have come while the server was asked.
            known_to_wait = self.all_wait().await;
            if known_to_wait && !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
        }
    }

    /// Ends everything that is open, whoever waits for whom.
    async fn clear(&mut self) {
        loop {
            for actor in &mut self.actors {
                if actor.client.is_some() {
                    actor.start(vec!["ROLLBACK".into()]);
                }
            }
            let before = self.actors.iter().filter(|actor| actor.running.is_some()).count();
            self.settle().await;
            if before == self.actors.len() && self.actors.iter().all(|actor| actor.running.is_none()) {
                // Whoever waited when the others were rolled back has still its own to roll back.
                for actor in &mut self.actors {
                    actor.start(vec!["ROLLBACK".into()]);
                }
                self.settle().await;
                return;
            }
        }
    }

    /// All tables, as `t:1=10,2=20 q:1=1/10`; without those that are empty.
    pub async fn state(&mut self) -> String {
        let mut tables = Vec::new();
        for (name, sql) in STATE {
            let answer = self.control.run(sql).await;
            let row = |row: &str| {
                let (id, rest) = row.split_once('|')?;
                Some((id.parse::<i64>().ok()?, format!("{id}={}", rest.replace('|', "/"))))
            };
            let mut rows: Vec<_> = answer.split(' ').filter_map(row).collect();
            rows.sort();
            let rows: Vec<String> = rows.into_iter().map(|(_, row)| row).collect();
            if !rows.is_empty() {
                tables.push(format!("{name}:{}", rows.join(",")));
            }
        }
        tables.join(" ")
    }

    pub async fn reset(&mut self) {
        let answer = self.control.run(RESET).await;
        assert!(answer.starts_with("ok"), "{answer}");
    }

    /// Runs one schedule; an error names the step that cannot be, because its session waits.
    pub async fn run(&mut self, case: &Case, level: &str, order: &[u8]) -> Result<Outcome, usize> {
        self.reset().await;
        let mut next = vec![0; case.transactions.len()];
        let mut seen = vec![Seen::default(); case.transactions.len()];
        for (at, i) in order.iter().map(|i| usize::from(*i)).enumerate() {
            if self.actors[i].running.is_some() {
                self.clear().await;
                return Err(at);
            }
            let step = next[i];
            next[i] += 1;
            let mut statements = Vec::new();
            if step == 0 {
                statements.push(format!("BEGIN ISOLATION LEVEL {level}"));
            }
            let failed = seen[i].answers.iter().any(|answer| answer.starts_with('E'));
            match case.transactions[i].get(step) {
                // The transaction has ended; what it has locked is free.
                Some(_) if failed => continue,
                Some(sql) => statements.push((*sql).to_owned()),
                None => statements.push("COMMIT".into()),
            }
            self.actors[i].start(statements);
            for (i, answer) in self.settle().await {
                note(&mut seen[i], case.transactions[i].len(), answer);
            }
        }
        for (i, answer) in self.settle().await {
            note(&mut seen[i], case.transactions[i].len(), answer);
        }
        assert!(self.actors.iter().all(|actor| actor.running.is_none()), "{} {order:?}", case.name);
        Ok(Outcome { seen, state: self.state().await })
    }
}

fn note(seen: &mut Seen, statements: usize, answer: String) {
    let failed = seen.answers.iter().any(|answer| answer.starts_with('E'));
    if failed {
        // COMMIT of what has failed rolls it back.
        return;
    }
    if seen.answers.len() == statements {
        seen.committed = !answer.starts_with('E');
        if !seen.committed {
            seen.answers.push(answer);
        }
    } else {
        seen.answers.push(answer);
    }
}
