//! Interleaved sessions: runs `tests/isolation/*.spec` and compares with the `.out` beside each.
//!
//! A spec has blocks `setup { SQL }`, `session NAME`, `step NAME { SQL }` and lines `permutation STEP STEP …`; a step
//! belongs to the session above it. Every permutation starts from a fresh `setup` and ends with the optional
//! `teardown { SQL }`. What is expected was answered by PostgreSQL 15 (`LOCKSTEP_TEST_POSTGRES`, `LOCKSTEP_RECORD=1`).
//!
//! A step that does not answer counts as waiting when `pg_blocking_pids` leads from its session to an idle one; its
//! answer is then written where it comes. `STEP*` in a permutation waits, but ends by itself (a timeout): its answer is
//! awaited.
//!
//! SERIALIZABLE may abort more here than in PostgreSQL, never less. A spec with `check { SQL }`, which runs after each
//! permutation, tolerates that: where the answers differ there must be an `ERROR 40001`, and the check must answer as
//! in PostgreSQL.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::target::Target;

/// A step that neither answers nor waits for so long is hung.
const SILENT: Duration = Duration::from_secs(30);
/// How far apart two looks at the sessions are.
const LOOK: Duration = Duration::from_millis(1);

#[derive(Default)]
struct Spec {
    setup: String,
    teardown: String,
    check: String,
    /// Step name to (session, SQL).
    steps: BTreeMap<String, (String, String)>,
    permutations: Vec<Vec<String>>,
}

impl Spec {
    fn parse(text: &str) -> Self {
        let mut spec = Self::default();
        let mut session = String::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
            let (word, tail) = line.split_once(' ').unwrap_or((line, ""));
            if word.starts_with('#') {
                rest = after.trim_start();
                continue;
            }
            match word {
                "session" => session = tail.trim().into(),
                "permutation" => spec.permutations.push(tail.split_whitespace().map(String::from).collect()),
                "setup" | "teardown" | "check" | "step" => {
                    let (head, body) = rest.split_once('{').expect("{");
                    let (body, after) = body.split_once('}').expect("}");
                    let sql = body.split_whitespace().collect::<Vec<_>>().join(" ");
                    match word {
                        "setup" => spec.setup = sql,
                        "teardown" => spec.teardown = sql,
                        "check" => spec.check = sql,
                        _ => {
                            let name = head["step".len()..].trim().to_owned();
                            spec.steps.insert(name, (session.clone(), sql));
                        }
                    }
                    rest = after.trim_start();
                    continue;
                }
                other => panic!("unknown word {other:?}"),
            }
            rest = after.trim_start();
        }
        for step in spec.permutations.iter().flatten() {
            assert!(spec.steps.contains_key(step.trim_end_matches('*')), "no step {step:?}");
        }
        spec
    }

    /// Whether the answers to a permutation are PostgreSQL's, or such as this spec tolerates.
    fn agrees(&self, expected: &str, actual: &str) -> bool {
        let check = |answers: &str| answers.lines().find(|line| line.starts_with("check: ")).map(str::to_owned);
        let tolerated =
            || actual.contains("ERROR 40001") && check(actual).is_some() && check(actual) == check(expected);
        expected == actual || (!self.check.is_empty() && tolerated())
    }
}

/// A session runs one step at a time in a task; the client comes back with the answer.
struct Session {
    client: Option<Client>,
    pid: i32,
    running: Option<(String, JoinHandle<(Client, String)>)>,
}

impl Session {
    async fn open(target: &Target) -> Self {
        let client = target.client().await;
        let pid = client.query_one("SELECT pg_backend_pid()", &[]).await.expect("pid").get(0);
        Self { client: Some(client), pid, running: None }
    }

    fn start(&mut self, step: &str, sql: &str) {
        let client = self.client.take().unwrap_or_else(|| panic!("step {step} starts while its session waits"));
        let sql = sql.to_owned();
        let task = tokio::spawn(async move {
            let answer = answer(&client, &sql).await;
            (client, answer)
        });
        self.running = Some((step.into(), task));
    }

    /// The answer, once there is one.
    async fn finished(&mut self) -> Option<(String, String)> {
        if !self.running.as_ref()?.1.is_finished() {
            return None;
        }
        let (step, task) = self.running.take()?;
        let (client, answer) = task.await.expect("session task");
        self.client = Some(client);
        Some((step, answer))
    }
}

async fn answer(client: &Client, sql: &str) -> String {
    match client.simple_query(sql).await {
        Err(error) => match error.as_db_error() {
            Some(error) => format!("ERROR {}", error.code().code()),
            None => format!("{error:?}"),
        },
        Ok(messages) => {
            let mut out = Vec::new();
            let mut count = None;
            for message in messages {
                match message {
                    SimpleQueryMessage::Row(row) => {
                        let cells: Vec<_> = (0..row.len()).map(|at| row.get(at).unwrap_or("NULL")).collect();
                        out.push(cells.join("|"));
                    }
                    SimpleQueryMessage::RowDescription(_) => count = None,
                    SimpleQueryMessage::CommandComplete(rows) => count = Some(rows),
                    _ => {}
                }
            }
            match (out.is_empty(), count) {
                (true, Some(count)) => format!("ok {count}"),
                _ => out.join(" "),
            }
        }
    }
}

/// Of the running sessions, whom each one waits for.
async fn blockers(control: &Client, running: &[i32]) -> BTreeMap<i32, Vec<i32>> {
    let pids = running.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let sql = format!("SELECT pid, pg_blocking_pids(pid) FROM pg_stat_activity WHERE pid IN ({pids})");
    let number = |text: &str| text.parse().expect("pid");
    let rows = control.simple_query(&sql).await.expect("pg_blocking_pids");
    rows.iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                let list = row.get(1).unwrap_or_default().trim_matches(['{', '}']);
                let list = list.split(',').filter(|pid| !pid.is_empty()).map(number).collect();
                Some((number(row.get(0).expect("pid")), list))
            }
            _ => None,
        })
        .collect()
}

/// Whether every running session waits for one that is idle, directly or over others: then nothing more will come.
/// Sessions that wait for each other are a deadlock that the server is about to end.
fn all_wait(running: &[i32], blockers: &BTreeMap<i32, Vec<i32>>) -> bool {
    let mut waiting: Vec<i32> = Vec::new();
    loop {
        let waits = |pid: &&i32| {
            let by = blockers.get(pid).map_or(&[][..], Vec::as_slice);
            by.iter().any(|other| !running.contains(other) || waiting.contains(other))
        };
        let more: Vec<i32> = running.iter().filter(|pid| !waiting.contains(pid)).filter(waits).copied().collect();
        if more.is_empty() {
            return waiting.len() == running.len();
        }
        waiting.extend(more);
    }
}

/// Waits until every running session has answered or is known to wait; gives the answers in session order. Session
/// `ends` does not wait for ever.
async fn settle(
    control: &Client,
    sessions: &mut BTreeMap<String, Session>,
    ends: Option<&str>,
) -> BTreeMap<String, (String, String)> {
    let start = Instant::now();
    let mut answers = BTreeMap::new();
    let mut known_to_wait = false;
    loop {
        let mut news = false;
        for (name, session) in sessions.iter_mut() {
            if let Some(answer) = session.finished().await {
                answers.insert(name.clone(), answer);
                news = true;
            }
        }
        let running: Vec<i32> = sessions.values().filter(|s| s.running.is_some()).map(|s| s.pid).collect();
        if running.is_empty() || (known_to_wait && !news) || start.elapsed() > SILENT {
            return answers;
        }
        let must_answer = ends.is_some_and(|name| sessions[name].running.is_some());
        // Sessions are looked at once more after this: an answer may have come while the server was asked.
        known_to_wait = !must_answer && all_wait(&running, &blockers(control, &running).await);
        if !known_to_wait {
            tokio::time::sleep(LOOK).await;
        }
    }
}

async fn permutation(target: &Target, spec: &Spec, steps: &[String]) -> String {
    let control = target.client().await;
    control.batch_execute(&spec.setup).await.expect("setup");
    let mut sessions = BTreeMap::new();
    for step in steps {
        let name = &spec.steps[step.trim_end_matches('*')].0;
        if !sessions.contains_key(name) {
            sessions.insert(name.clone(), Session::open(target).await);
        }
    }
    let mut out = format!("permutation {}\n", steps.join(" "));
    for step in steps {
        let (step, ends) = (step.trim_end_matches('*'), step.ends_with('*'));
        let (name, sql) = &spec.steps[step];
        let session = sessions.get_mut(name).expect("session");
        if session.running.is_some() {
            writeln!(out, "{step}: its session still waits").expect("string");
            return out;
        }
        session.start(step, sql);
        let mut answers = settle(&control, &mut sessions, ends.then_some(name.as_str())).await;
        match answers.remove(name) {
            Some((_, answer)) => writeln!(out, "{step}: {answer}"),
            None => writeln!(out, "{step}: <waiting>"),
        }
        .expect("string");
        for (step, answer) in answers.into_values() {
            writeln!(out, "{step}: {answer}").expect("string");
        }
    }
    for (step, answer) in settle(&control, &mut sessions, None).await.into_values() {
        writeln!(out, "{step}: {answer}").expect("string");
    }
    for (step, _) in sessions.values().filter_map(|session| session.running.as_ref()) {
        writeln!(out, "{step}: never answered").expect("string");
    }
    if !spec.check.is_empty() {
        writeln!(out, "check: {}", answer(&control, &spec.check).await).expect("string");
    }
    drop(sessions);
    control.batch_execute(&spec.teardown).await.expect("teardown");
    out
}

#[tokio::test]
async fn interleaved_sessions_do_as_in_postgresql() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/isolation");
    let wanted = std::env::var("LOCKSTEP_SPEC").unwrap_or_default();
    let mut specs: Vec<PathBuf> =
        std::fs::read_dir(root).expect("specs").map(|entry| entry.expect("entry").path()).collect();
    specs.retain(|path| path.extension().is_some_and(|it| it == "spec") && path.to_string_lossy().contains(&wanted));
    specs.sort();
    assert!(!specs.is_empty());
    let target = Target::start().await;
    let record = target.is_postgres() && std::env::var_os("LOCKSTEP_RECORD").is_some();
    let mut report = String::new();
    for path in specs {
        let spec = Spec::parse(&std::fs::read_to_string(&path).expect("spec"));
        let mut actual = String::new();
        for steps in &spec.permutations {
            actual.push_str(&permutation(&target, &spec, steps).await);
            actual.push('\n');
        }
        let out = path.with_extension("out");
        if record {
            std::fs::write(&out, &actual).expect("write");
        }
        let expected = std::fs::read_to_string(&out).expect("expected");
        let pairs = expected.split("\n\n").zip(actual.split("\n\n"));
        for (expected, actual) in pairs.filter(|(expected, actual)| !spec.agrees(expected, actual)) {
            writeln!(report, "{}\n-- expected\n{expected}\n-- actual\n{actual}\n", path.display()).expect("string");
        }
        assert_eq!(expected.matches("permutation ").count(), spec.permutations.len(), "{}", out.display());
    }
    assert!(report.is_empty(), "\n{report}");
}
