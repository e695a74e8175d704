//! A table of events that is read up to the oldest running transaction, again and again: whoever reads misses none and
//! sees none twice, whatever commits meanwhile, in whatever order, on whichever primary.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::cluster::three;
use crate::faults::cluster::Door;
use crate::faults::run::find_primary;
use crate::server::READY_WITHIN;
use crate::target::Target;

const TABLE: &str = "CREATE TABLE events (id int PRIMARY KEY, xid xid8 NOT NULL DEFAULT pg_current_xact_id())";

/// Where clients find the primary.
#[derive(Clone)]
enum Place {
    One(Arc<Target>),
    Cluster(Vec<Door>),
}

impl Place {
    async fn client(&self) -> Client {
        match self {
            Place::One(target) => target.client().await,
            Place::Cluster(doors) => loop {
                for door in doors {
                    if let Ok(client) = door.open(TargetSessionAttrs::ReadWrite, Duration::from_millis(500)).await {
                        return client;
                    }
                }
            },
        }
    }
}

async fn rows(client: &Client, sql: &str) -> Result<Vec<Vec<String>>, tokio_postgres::Error> {
    let mut rows = Vec::new();
    for message in client.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            rows.push((0..row.len()).map(|i| row.get(i).unwrap_or_default().to_owned()).collect());
        }
    }
    Ok(rows)
}

#[derive(Default)]
struct Load {
    /// No more is written; and that was read.
    written: AtomicBool,
    over: AtomicBool,
    next: AtomicUsize,
    acknowledged: Mutex<BTreeSet<String>>,
}

/// Transactions that get their number early and commit late, roll back, or go away; also ones of several parts of a savepoint.
async fn write(place: Place, load: Arc<Load>, writer: usize) {
    let mut client = place.client().await;
    let mut round = writer;
    while !load.written.load(Ordering::Relaxed) {
        round += 1;
        let id = load.next.fetch_add(2, Ordering::Relaxed);
        let insert = format!("INSERT INTO events (id) VALUES ({id})");
        let wait = Duration::from_millis((round * 7 % 23) as u64);
        let run = async {
            match round % 5 {
                0 => client.batch_execute(&insert).await?,
                1 => {
                    client.batch_execute(&format!("BEGIN; {insert}")).await?;
                    tokio::time::sleep(wait).await;
                    client.batch_execute("ROLLBACK").await?;
                    return Ok(false);
                }
                2 => {
                    client.batch_execute("BEGIN; SELECT txid_current()").await?;
                    tokio::time::sleep(wait).await;
                    client.batch_execute(&insert).await?;
                    client.batch_execute("COMMIT").await?;
                }
                _ => {
                    let other = format!("SAVEPOINT a; INSERT INTO events (id) VALUES ({}); ROLLBACK TO a", id + 1);
                    client.batch_execute(&format!("BEGIN; {insert}; {other}")).await?;
                    tokio::time::sleep(wait).await;
                    client.batch_execute("COMMIT").await?;
                }
            }
            Ok::<bool, tokio_postgres::Error>(true)
        };
        match run.await {
            Ok(true) => drop(load.acknowledged.lock().unwrap().insert(id.to_string())),
            Ok(false) => {}
            Err(_) => client = place.client().await,
        }
    }
}

/// Reads what is new, in one statement or in two of one snapshot.
async fn read(client: &Client, from: &mut String, snapshots: bool) -> Result<Vec<String>, tokio_postgres::Error> {
    let oldest = "pg_snapshot_xmin(pg_current_snapshot())";
    let (found, to) = if snapshots {
        client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
        let to = rows(client, &format!("SELECT {oldest}")).await?[0][0].clone();
        let sql = format!("SELECT id FROM events WHERE xid >= '{from}' AND xid < '{to}'");
        let found = rows(client, &sql).await?;
        client.batch_execute("COMMIT").await?;
        (found, Some(to))
    } else {
        let sql = format!("SELECT id, {oldest} FROM events WHERE xid >= '{from}' AND xid < {oldest}");
        let found = rows(client, &sql).await?;
        let to = found.first().map(|row| row[1].clone());
        (found, to)
    };
    *from = to.unwrap_or(std::mem::take(from));
    Ok(found.into_iter().map(|row| row[0].clone()).collect())
}

async fn consume(place: Place, load: Arc<Load>) -> Vec<String> {
    let (mut all, mut from) = (Vec::new(), "0".to_owned());
    let mut client = place.client().await;
    for round in 0.. {
        // Once more behind the last commit, so that nothing runs any more.
        let last = load.over.load(Ordering::Relaxed);
        let before = from.clone();
        match read(&client, &mut from, round % 2 == 0 || last).await {
            Ok(found) => all.extend(found),
            Err(_) => {
                from = before;
                client = place.client().await;
                continue;
            }
        }
        if last {
            break;
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    all
}

/// Lets writers and a reader work while `during` happens, and judges what the reader saw.
async fn judge(place: Place, during: impl Future<Output = ()>) {
    let load = Arc::new(Load::default());
    place.client().await.batch_execute(TABLE).await.expect("table");
    let writers: Vec<_> = (0..6).map(|writer| tokio::spawn(write(place.clone(), load.clone(), writer))).collect();
    let consumer = tokio::spawn(consume(place.clone(), load.clone()));
    during.await;
    load.written.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("writer");
    }
    // Commits whose client went away with the old primary.
    tokio::time::sleep(Duration::from_secs(1)).await;
    load.over.store(true, Ordering::Relaxed);
    let consumed = consumer.await.expect("consumer");
    let rows = rows(&place.client().await, "SELECT id FROM events").await.expect("events");
    let there: BTreeSet<String> = rows.into_iter().map(|row| row[0].clone()).collect();
    let seen: BTreeSet<String> = consumed.iter().cloned().collect();
    assert_eq!(seen.len(), consumed.len(), "an event was seen twice");
    assert_eq!(there.difference(&seen).collect::<Vec<_>>(), Vec::<&String>::new(), "missed");
    assert_eq!(seen.difference(&there).collect::<Vec<_>>(), Vec::<&String>::new(), "not there");
    assert!(load.acknowledged.lock().unwrap().is_subset(&seen));
    assert!(seen.len() > 100, "{} events", seen.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_events_misses_none() {
    let target = Arc::new(Target::start().await);
    judge(Place::One(target), tokio::time::sleep(Duration::from_secs(3))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_it_when_primaries_die() {
    let dir = TempDir::new().expect("directory");
    let (mut cluster, _) = three(&dir).await;
    let place = Place::Cluster(cluster.doors());
    judge(place, async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let primary = find_primary(&cluster, READY_WITHIN).await.expect("primary");
            cluster.kill(primary);
            find_primary(&cluster, READY_WITHIN).await.expect("a new primary");
            cluster.restart(primary);
            cluster.answers(primary).await;
        }
    })
    .await;
}
