//! Every interleaving of small transactions, at each isolation level.
//!
//! READ COMMITTED and REPEATABLE READ have to answer what PostgreSQL 15 answers, statement by statement, and leave what
//! it leaves: `tests/isolation/exhaustive.out` is what a PostgreSQL said (`LOCKSTEP_TEST_POSTGRES=…
//! LOCKSTEP_RECORD=1` writes it). [`Difference`] lists the differences that are known, each with what has to hold all the
//! same; `docs/decisions/0045-where-interleavings-differ.md` says why.
//! SERIALIZABLE has to equal one order in which the transactions that committed run one after the other, and one that
//! respects which of them had ended before another began; it may end more of them with 40001 than PostgreSQL does.
//!
//! The engine runs in this process. A test takes every n-th schedule, `LOCKSTEP_EXHAUSTIVE_STRIDE=1` all of them;
//! `LOCKSTEP_CASE` chooses cases by a part of their names, `LOCKSTEP_SEED` where the counting begins.

mod cases;
mod drive;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use cases::Case;
use drive::{Outcome, Place, Stage};

const LEVELS: [&str; 3] = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"];
const IMPOSSIBLE: &str = "-";

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/isolation/exhaustive.out")
}

/// What PostgreSQL answered: by case and level, the outcome of each schedule.
type Recorded = BTreeMap<(String, String), Vec<Arc<str>>>;

/// `## case | level`, a line for each outcome, and the numbers of the outcomes in the order of the schedules, `n*m` for
/// n schedules with outcome m.
fn write(recorded: &Recorded) -> String {
    let mut text = String::new();
    for ((case, level), outcomes) in recorded {
        writeln!(text, "## {case} | {level}").expect("string");
        let mut known: Vec<&str> = Vec::new();
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for outcome in outcomes {
            let number = known.iter().position(|it| **it == **outcome).unwrap_or_else(|| {
                known.push(outcome);
                known.len() - 1
            });
            match runs.last_mut() {
                Some((count, last)) if *last == number => *count += 1,
                _ => runs.push((1, number)),
            }
        }
        known.iter().for_each(|outcome| writeln!(text, "{outcome}").expect("string"));
        let run = |(count, number): &(usize, usize)| match count {
            1 => number.to_string(),
            _ => format!("{count}*{number}"),
        };
        writeln!(text, ". {}", runs.iter().map(run).collect::<Vec<_>>().join(" ")).expect("string");
    }
    text
}

fn read(text: &str) -> Recorded {
    let mut recorded = Recorded::new();
    let (mut key, mut known) = (None, Vec::<Arc<str>>::new());
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            let (case, level) = title.split_once(" | ").expect("case | level");
            key = Some((case.to_owned(), level.to_owned()));
            known.clear();
        } else if let Some(runs) = line.strip_prefix(". ") {
            let outcomes = runs.split(' ').flat_map(|run| {
                let (count, number) = run.split_once('*').unwrap_or(("1", run));
                let outcome = known[number.parse::<usize>().expect("number")].clone();
                std::iter::repeat_n(outcome, count.parse().expect("count"))
            });
            recorded.insert(key.take().expect("title"), outcomes.collect());
        } else {
            known.push(line.into());
        }
    }
    recorded
}

fn wanted() -> Vec<Case> {
    let part = std::env::var("LOCKSTEP_CASE").unwrap_or_default();
    let mut cases = cases::all();
    cases.retain(|case| case.name.contains(&part));
    cases
}

/// The outcome of every schedule; what begins like one that cannot be is not tried.
async fn record(stage: &mut Stage, case: &Case, level: &str) -> Vec<Arc<str>> {
    let mut impossible: Option<Vec<u8>> = None;
    let mut outcomes = Vec::new();
    for order in case.schedules() {
        let known = impossible.as_ref().is_some_and(|prefix| order.starts_with(prefix));
        let outcome = match known {
            true => IMPOSSIBLE.into(),
            false => match stage.run(case, level, &order).await {
                Ok(outcome) => outcome.text().into(),
                Err(at) => {
                    impossible = Some(order[..=at].to_vec());
                    IMPOSSIBLE.into()
                }
            },
        };
        outcomes.push(outcome);
    }
    outcomes
}

async fn record_postgres(config: tokio_postgres::Config) {
    let mut stage = Stage::new(&Place::Postgres(Box::new(config))).await;
    let mut recorded = Recorded::new();
    for case in wanted() {
        for level in LEVELS {
            let outcomes = record(&mut stage, &case, level).await;
            recorded.insert((case.name.clone(), level.into()), outcomes);
        }
    }
    // Of SERIALIZABLE only how often all commit is told: what is allowed is told by the serial orders.
    for ((_, level), outcomes) in &mut recorded {
        if level == LEVELS[2] {
            for outcome in outcomes.iter_mut().filter(|outcome| ***outcome != *IMPOSSIBLE) {
                *outcome = if aborts(outcome) { "aborts" } else { "commits" }.into();
            }
        }
    }
    std::fs::write(file(), write(&recorded)).expect("write");
}

fn aborts(outcome: &str) -> bool {
    outcome.contains("E40001") || outcome.contains("E40P01")
}

/// All orders of some transactions.
fn orders(of: &[u8]) -> Vec<Vec<u8>> {
    if of.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for first in of {
        let rest: Vec<u8> = of.iter().copied().filter(|i| i != first).collect();
        all.extend(orders(&rest).into_iter().map(|order| [vec![*first], order].concat()));
    }
    all
}

/// What running transactions one after the other leads to.
type Serial = BTreeMap<Vec<u8>, Outcome>;

/// Adds every order of those that committed to what is known of `case`.
async fn run_serially(stage: &mut Stage, case: &Case, serial: &mut Serial, outcome: &Outcome) {
    for order in orders(&committed(outcome)) {
        if serial.contains_key(&order) {
            continue;
        }
        let steps = order.iter().flat_map(|i| std::iter::repeat_n(*i, case.transactions[usize::from(*i)].len() + 1));
        let steps: Vec<u8> = steps.collect();
        let outcome = stage.run(case, LEVELS[2], &steps).await;
        serial.insert(order, outcome.expect("one after the other, nothing waits"));
    }
}

fn committed(outcome: &Outcome) -> Vec<u8> {
    (0..outcome.seen.len() as u8).filter(|i| outcome.seen[usize::from(*i)].committed).collect()
}

/// Whether an allowed order of those that committed leads to what they saw and left.
fn serially(serial: &Serial, outcome: &Outcome, allowed: impl Fn(&[u8]) -> bool) -> bool {
    let committed = committed(outcome);
    orders(&committed).iter().filter(|order| allowed(order)).any(|order| {
        let expected = &serial[order];
        expected.state == outcome.state
            && committed.iter().all(|i| expected.seen[usize::from(*i)] == outcome.seen[usize::from(*i)])
    })
}

/// Why an outcome at SERIALIZABLE is not one of the serial orders that the schedule allows.
fn not_serial(serial: &Serial, order: &[u8], outcome: &Outcome) -> Option<String> {
    let first = |i: u8| order.iter().position(|it| *it == i);
    let last = |i: u8| order.iter().rposition(|it| *it == i);
    // One that had ended before another began comes before it.
    let in_time = |candidate: &[u8]| {
        candidate
            .iter()
            .enumerate()
            .all(|(at, later)| candidate[..at].iter().all(|earlier| last(*later) >= first(*earlier)))
    };
    if serially(serial, outcome, in_time) {
        return None;
    }
    let serial = serial.iter().filter(|(order, _)| order.len() == committed(outcome).len());
    let all: Vec<String> = serial.map(|(order, outcome)| format!("   {order:?}: {}", outcome.text())).collect();
    Some(format!("no serial order gives this:\n{}", all.join("\n")))
}

#[derive(Default)]
struct Counts {
    schedules: AtomicU64,
    /// At SERIALIZABLE: schedules that ended a transaction here, and in PostgreSQL.
    aborted: AtomicU64,
    aborted_there: AtomicU64,
    serializable: AtomicU64,
    differences: Mutex<BTreeMap<Difference, u64>>,
}

/// How an outcome at READ COMMITTED or REPEATABLE READ may differ from PostgreSQL's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// Of a ring of waiting sessions another one was ended.
    Deadlock,
    /// A session waits where there it does not, or the other way round. The outcome is one that PostgreSQL gives to
    /// another schedule of the same statements.
    Waits,
    /// At REPEATABLE READ a foreign key was checked against rows that came after the snapshot: 40001 in place of 23503, or
    /// of nothing. The others come out as one after the other.
    ForeignKey,
    /// At READ COMMITTED a row that was deleted and inserted again with the same key is the same row, changed. The
    /// outcome is that of running one after the other.
    Reinserted,
}

/// Why what happened may differ from what was recorded; `None`: it may not.
fn difference(
    case: &Case,
    level: &str,
    recorded: &[Arc<str>],
    expected: &str,
    serial: &Serial,
    outcome: &Result<Outcome, usize>,
) -> Option<Difference> {
    let Ok(outcome) = outcome else { return Some(Difference::Waits) };
    let text = outcome.text();
    if expected.contains("E40P01") && text.contains("E40P01") {
        return Some(Difference::Deadlock);
    }
    if expected == IMPOSSIBLE && recorded.iter().any(|other| **other == *text) {
        return Some(Difference::Waits);
    }
    let one_after_the_other = serially(serial, outcome, |_| true);
    let has = |name: &str| case.transactions.iter().flat_map(|it| it.iter()).any(|sql| sql.contains(name));
    if level == LEVELS[1] && text.contains("E40001") && has(" c ") && has(" p ") && one_after_the_other {
        return Some(Difference::ForeignKey);
    }
    let again = case.transactions.iter().any(|it| it[0].starts_with("DELETE FROM q") && it[1].starts_with("INSERT"));
    (level == LEVELS[0] && again && one_after_the_other).then_some(Difference::Reinserted)
}

async fn check(
    stage: &mut Stage,
    case: &Case,
    recorded: &Recorded,
    stride: usize,
    phase: usize,
    counts: &Counts,
) -> String {
    let mut report = String::new();
    let mut serial = Serial::new();
    for level in LEVELS {
        let recorded_here = recorded.get(&(case.name.clone(), level.to_owned())).expect("recorded");
        let schedules = case.schedules();
        assert_eq!(schedules.len(), recorded_here.len(), "{}", case.name);
        for (at, (order, expected)) in schedules.iter().zip(recorded_here).enumerate() {
            if (at + 31 * level.len()) % stride != phase % stride {
                continue;
            }
            counts.schedules.fetch_add(1, Ordering::Relaxed);
            let outcome = stage.run(case, level, order).await;
            let text = outcome.as_ref().map_or(IMPOSSIBLE.to_owned(), Outcome::text);
            if let Ok(outcome) = &outcome
                && (level == LEVELS[2] || **expected != *text)
            {
                run_serially(stage, case, &mut serial, outcome).await;
            }
            let wrong = match (level, &outcome) {
                ("SERIALIZABLE", Err(_)) => None,
                ("SERIALIZABLE", Ok(outcome)) => {
                    counts.serializable.fetch_add(1, Ordering::Relaxed);
                    counts.aborted.fetch_add(aborts(&text).into(), Ordering::Relaxed);
                    counts.aborted_there.fetch_add((**expected == *"aborts").into(), Ordering::Relaxed);
                    not_serial(&serial, order, outcome)
                }
                _ if **expected == *text => None,
                _ => match difference(case, level, recorded_here, expected, &serial, &outcome) {
                    Some(known) => {
                        *counts.differences.lock().expect("counts").entry(known).or_default() += 1;
                        None
                    }
                    None => Some(format!("   PostgreSQL: {expected}")),
                },
            };
            if let Some(wrong) = wrong {
                writeln!(report, "{} | {level} {order:?}\n   here:       {text}\n{wrong}", case.name).expect("string");
            }
        }
    }
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_interleaving_does_as_in_postgresql_and_as_serially() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<usize>().expect("number"));
    if let (Ok(config), true) = (std::env::var("LOCKSTEP_TEST_POSTGRES"), std::env::var_os("LOCKSTEP_RECORD").is_some())
    {
        return record_postgres(config.parse().expect("LOCKSTEP_TEST_POSTGRES")).await;
    }
    let stride = number("LOCKSTEP_EXHAUSTIVE_STRIDE").unwrap_or(131).max(1);
    let seed = number("LOCKSTEP_SEED").unwrap_or_else(|| usize::from(rand::random::<u16>()));
    println!("LOCKSTEP_SEED={seed}");
    let recorded = Arc::new(read(&std::fs::read_to_string(file()).expect("recorded")));
    let cases = Arc::new(wanted());
    let (next, counts) = (Arc::new(AtomicUsize::new(0)), Arc::new(Counts::default()));
    let report = Arc::new(Mutex::new(String::new()));
    let mut workers = Vec::new();
    for _ in 0..2 {
        let (recorded, cases, next) = (recorded.clone(), cases.clone(), next.clone());
        let (counts, report) = (counts.clone(), report.clone());
        workers.push(tokio::spawn(async move {
            let mut stage = Stage::new(&Place::local()).await;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(case) = cases.get(number) else { break };
                // Each begins to count elsewhere: most have fewer schedules than the stride.
                let phase = seed.wrapping_add(number * 7919);
                let wrong = check(&mut stage, case, &recorded, stride, phase, &counts).await;
                report.lock().expect("report").push_str(&wrong);
            }
        }));
    }
    for worker in workers {
        worker.await.expect("worker");
    }
    let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "{} cases, {} schedules of which {} at SERIALIZABLE could be; there {} aborted here and {} in PostgreSQL",
        cases.len(),
        load(&counts.schedules),
        load(&counts.serializable),
        load(&counts.aborted),
        load(&counts.aborted_there)
    );
    println!("known differences: {:?}", counts.differences.lock().expect("counts"));
    let report = report.lock().expect("report");
    assert!(report.is_empty(), "\n{report}");
    assert!(load(&counts.schedules) > 0);
}
