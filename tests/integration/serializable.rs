//! SERIALIZABLE promises that the transactions which commit could have run one after the other.
//!
//! Every interleaving of small pairs of transactions runs on the server; what committed, what it read and what is left
//! must equal one serial order. Aborts (40001) are allowed in any number, but a pair that never commits both in any
//! interleaving would show nothing, so one such interleaving is asked for.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::target::Target;

const SETUP: &str = "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v int); \
                     INSERT INTO t VALUES (1, 10), (2, 20)";
const STATE: &str = "SELECT id, v FROM t ORDER BY id, v";

/// Name and the statements of the two transactions.
const PAIRS: &[(&str, [&[&str]; 2])] = &[
    (
        "write skew by key",
        [
            &["SELECT v FROM t WHERE id = 2", "UPDATE t SET v = v - 100 WHERE id = 1"],
            &["SELECT v FROM t WHERE id = 1", "UPDATE t SET v = v - 100 WHERE id = 2"],
        ],
    ),
    (
        "write skew by sum",
        [
            &["SELECT sum(v) FROM t", "UPDATE t SET v = v - 25 WHERE id = 1"],
            &["SELECT sum(v) FROM t", "UPDATE t SET v = v - 25 WHERE id = 2"],
        ],
    ),
    (
        "phantom",
        [
            &["SELECT count(*) FROM t WHERE v > 15", "INSERT INTO t VALUES (3, 30)"],
            &["SELECT count(*) FROM t WHERE v > 15", "INSERT INTO t VALUES (4, 40)"],
        ],
    ),
    (
        "phantom by absent key",
        [
            &["SELECT v FROM t WHERE id = 4", "INSERT INTO t VALUES (3, 30)"],
            &["SELECT v FROM t WHERE id = 3", "INSERT INTO t VALUES (4, 40)"],
        ],
    ),
    (
        "delete and count",
        [
            &["SELECT count(*) FROM t", "DELETE FROM t WHERE id = 1"],
            &["SELECT count(*) FROM t", "DELETE FROM t WHERE id = 2"],
        ],
    ),
    ("insert from select", [&["INSERT INTO t SELECT 10, sum(v) FROM t"], &["INSERT INTO t SELECT 20, sum(v) FROM t"]]),
    (
        "read-modify-write",
        [
            &["SELECT v FROM t WHERE id = 1", "UPDATE t SET v = v + 1 WHERE id = 1"],
            &["SELECT v FROM t WHERE id = 1", "UPDATE t SET v = v * 2 WHERE id = 1"],
        ],
    ),
    (
        "reader of both",
        [
            &["SELECT v FROM t WHERE id = 1", "SELECT v FROM t WHERE id = 2"],
            &["UPDATE t SET v = 0 WHERE id = 1", "UPDATE t SET v = 0 WHERE id = 2"],
        ],
    ),
    (
        "upsert",
        [
            &["SELECT count(*) FROM t", "INSERT INTO t VALUES (3, 1) ON CONFLICT (id) DO UPDATE SET v = t.v + 1"],
            &["SELECT count(*) FROM t", "INSERT INTO t VALUES (3, 5) ON CONFLICT (id) DO UPDATE SET v = t.v + 5"],
        ],
    ),
];

/// What a transaction answered to its statements, or nothing when it did not commit.
type Seen = Option<Vec<String>>;

async fn run(client: &Client, sql: &str) -> Result<String, String> {
    let messages = client
        .simple_query(sql)
        .await
        .map_err(|error| error.code().map_or(error.to_string(), |it| it.code().into()))?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|at| row.get(at).unwrap_or("NULL")).collect::<Vec<_>>().join("|"))
        }
        _ => None,
    });
    Ok(rows.collect::<Vec<_>>().join(" "))
}

/// One side of an interleaving; a step that waits goes on in its task, and the side's later steps follow behind it.
struct Side {
    steps: tokio::sync::mpsc::UnboundedSender<String>,
    progress: tokio::sync::watch::Receiver<usize>,
    task: JoinHandle<Seen>,
    sent: usize,
}

impl Side {
    async fn start(target: &Target) -> Self {
        let client = target.client().await;
        let (steps, mut queue) = tokio::sync::mpsc::unbounded_channel::<String>();
        let (done, progress) = tokio::sync::watch::channel(0);
        let task = tokio::spawn(async move {
            let mut seen = Some(Vec::new());
            while let Some(sql) = queue.recv().await {
                match run(&client, &sql).await {
                    Ok(answer) => {
                        if let (Some(seen), true) = (&mut seen, sql.starts_with("SELECT")) {
                            seen.push(answer);
                        }
                    }
                    Err(code) => {
                        assert!(["40001", "40P01", "25P02", "23505"].contains(&code.as_str()), "{sql}: {code}");
                        seen = None;
                    }
                }
                done.send_modify(|count| *count += 1);
            }
            seen
        });
        Self { steps, progress, task, sent: 0 }
    }

    /// Hands over a step and waits for its answer, or for a moment when it waits for the other side.
    async fn step(&mut self, sql: &str) {
        self.steps.send(sql.into()).expect("side");
        self.sent += 1;
        let sent = self.sent;
        let answered = self.progress.wait_for(|count| *count >= sent);
        drop(tokio::time::timeout(Duration::from_millis(150), answered).await);
    }

    async fn finish(self) -> Seen {
        drop(self.steps);
        tokio::time::timeout(Duration::from_secs(30), self.task).await.expect("transaction never ended").expect("side")
    }
}

fn steps(statements: &[&str]) -> Vec<String> {
    let mut all = vec!["BEGIN ISOLATION LEVEL SERIALIZABLE".to_owned()];
    all.extend(statements.iter().map(|sql| (*sql).to_owned()));
    all.push("COMMIT".into());
    all
}

/// All orders of `left` steps of side 0 and `right` steps of side 1.
fn interleavings(left: usize, right: usize) -> Vec<Vec<usize>> {
    let mut all = Vec::new();
    for (side, rest) in [(0, (left.wrapping_sub(1), right)), (1, (left, right.wrapping_sub(1)))] {
        if [left, right][side] > 0 {
            for mut tail in interleavings(rest.0, rest.1) {
                tail.insert(0, side);
                all.push(tail);
            }
        }
    }
    if all.is_empty() { vec![Vec::new()] } else { all }
}

async fn interleave(
    target: &Target,
    control: &Client,
    pair: &[Vec<String>; 2],
    order: &[usize],
) -> ([Seen; 2], String) {
    control.batch_execute(SETUP).await.expect("setup");
    let mut sides = [Side::start(target).await, Side::start(target).await];
    for &side in order {
        let at = sides[side].sent;
        sides[side].step(&pair[side][at]).await;
    }
    let [left, right] = sides;
    let seen = [left.finish().await, right.finish().await];
    (seen, run(control, STATE).await.expect("state"))
}

#[tokio::test]
async fn what_commits_at_serializable_equals_a_serial_order() {
    let target = Target::start().await;
    let control = target.client().await;
    for (name, statements) in PAIRS {
        let pair = [steps(statements[0]), steps(statements[1])];
        let (left, right) = (pair[0].len(), pair[1].len());
        let mut serial = Vec::new();
        for order in [[vec![0; left], vec![1; right]].concat(), [vec![1; right], vec![0; left]].concat()] {
            let outcome = interleave(&target, &control, &pair, &order).await;
            assert!(outcome.0.iter().all(Option::is_some), "{name}: an abort without concurrency");
            serial.push(outcome);
        }
        // What a side saw and left when it ran alone: the outcome when the other one aborts.
        let mut alone = Vec::new();
        for side in &pair {
            control.batch_execute(SETUP).await.expect("setup");
            let mut one = Side::start(&target).await;
            for sql in side {
                one.step(sql).await;
            }
            alone.push((one.finish().await, run(&control, STATE).await.expect("state")));
        }
        let mut kinds = BTreeSet::new();
        for order in interleavings(left, right) {
            let (seen, state) = interleave(&target, &control, &pair, &order).await;
            let correct = match (&seen[0], &seen[1]) {
                (Some(_), Some(_)) => serial.iter().any(|outcome| outcome.0 == seen && outcome.1 == state),
                (Some(_), None) => alone[0] == (seen[0].clone(), state.clone()),
                (None, Some(_)) => alone[1] == (seen[1].clone(), state.clone()),
                (None, None) => true,
            };
            assert!(
                correct,
                "{name}, order {order:?}: saw {seen:?}, left {state}; serial: {serial:?}, alone: {alone:?}"
            );
            kinds.insert((seen[0].is_some(), seen[1].is_some()));
        }
        assert!(kinds.contains(&(true, true)), "{name}: no interleaving commits both");
    }
}

#[tokio::test]
async fn a_deadlock_ends_with_40p01_for_one_of_the_two() {
    let target = Target::start().await;
    let control = target.client().await;
    control.batch_execute(SETUP).await.expect("setup");
    let [a, b] = [target.client().await, target.client().await];
    for (client, id) in [(&a, 1), (&b, 2)] {
        client.batch_execute(&format!("BEGIN; UPDATE t SET v = v + 1 WHERE id = {id}")).await.expect("first row");
    }
    let cross = async |client: &Client, id: i32| {
        let result = client.batch_execute(&format!("UPDATE t SET v = v + 1 WHERE id = {id}")).await;
        client.batch_execute("COMMIT").await.expect("end of the block");
        result.map_err(|error| error.code().expect("code").code().to_owned())
    };
    let both = futures::future::join(cross(&a, 2), cross(&b, 1));
    let (left, right) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("deadlock was not detected");
    assert_ne!(left.is_ok(), right.is_ok(), "{left:?} {right:?}");
    assert_eq!(left.and(right), Err("40P01".into()));
    assert_eq!(run(&control, STATE).await.as_deref(), Ok("1|11 2|21"));
}
