//! Random transactions against a model that is nothing but maps: what is visible, what conflicts, what remains.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::error::SqlState;
use crate::storage::IndexRange;

type Rows = BTreeMap<i32, (i32, String)>;
/// Changed rows; `None`: deleted.
type Changes = BTreeMap<i32, Option<(i32, String)>>;

/// An open transaction and what the model says of it.
struct Open {
    t: Box<Transaction>,
    isolation: Isolation,
    /// What it sees: its snapshot with its own changes.
    view: Rows,
    /// Rows that it changed.
    changed: Changes,
    /// Number of commits when its snapshot was taken.
    snapshot: usize,
    savepoints: Vec<(SavepointId, Rows, Changes)>,
}

struct Model {
    rows: Rows,
    /// For each row, the number of the last commit that touched it.
    touched: BTreeMap<i32, usize>,
    commits: usize,
}

const IDS: i32 = 24;

fn seed() -> u64 {
    let seed = std::env::var("LOCKSTEP_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("LOCKSTEP_SEED={seed}");
    seed
}

#[tokio::test]
async fn random_transactions_agree_with_the_model() {
    let mut rng = StdRng::seed_from_u64(seed());
    for _ in 0..6 {
        run(&mut rng).await;
    }
}

async fn run(rng: &mut StdRng) {
    let node = Node::new();
    let secondary = index(20002, 20000, &[2], false, false);
    let table = node.create(table_def(20000, vec![index(20001, 20000, &[1], true, true), secondary])).await;
    let mut model = Model { rows: Rows::new(), touched: BTreeMap::new(), commits: 0 };
    let mut open: Vec<Open> = Vec::new();
    for _ in 0..800 {
        match rng.random_range(0..20) {
            0 | 1 if open.len() < 5 => open.push(begin(&node, &model, rng).await),
            2 => node.shared.storage.maintain(),
            _ if open.is_empty() => {}
            n => {
                let at = rng.random_range(0..open.len());
                if n < 15 {
                    let alive = step(&mut open[at], &model, &table, rng).await;
                    check(&mut open[at], &table, rng);
                    if !alive {
                        open.swap_remove(at).t.rollback();
                    }
                } else if n < 19 {
                    end(open.swap_remove(at), &mut model, rng).await;
                    let rows = node.rows(20000).await;
                    assert_eq!(rows, texts(&model.rows));
                }
            }
        }
    }
    open.clear();
    node.shared.storage.maintain();
    assert_eq!(node.rows(20000).await, texts(&model.rows));
    assert!(node.shared.locks.is_empty());
    let bytes = node.shared.storage.memory.used();
    assert!(bytes < 200_000, "dead versions are collected: {bytes}");
}

async fn begin(node: &Node, model: &Model, rng: &mut StdRng) -> Open {
    let isolation = match rng.random_range(0..3) {
        0 => Isolation::ReadCommitted,
        1 => Isolation::RepeatableRead,
        _ => Isolation::Serializable,
    };
    Open {
        t: node.open_at(isolation).await,
        isolation,
        view: model.rows.clone(),
        changed: BTreeMap::new(),
        snapshot: model.commits,
        savepoints: Vec::new(),
    }
}

/// One statement. False: it failed as it should, and the transaction must end.
async fn step(open: &mut Open, model: &Model, table: &Arc<Table>, rng: &mut StdRng) -> bool {
    open.t.begin_statement(Reads::Snapshot).await.unwrap();
    if open.isolation == Isolation::ReadCommitted {
        open.view = model.rows.clone();
        for (id, row) in &open.changed {
            match row {
                Some(row) => open.view.insert(*id, row.clone()),
                None => open.view.remove(id),
            };
        }
        open.snapshot = model.commits;
    }
    match rng.random_range(0..12) {
        0 => {
            let id = open.t.savepoint();
            open.savepoints.push((id, open.view.clone(), open.changed.clone()));
            return true;
        }
        1 if !open.savepoints.is_empty() => {
            let at = rng.random_range(0..open.savepoints.len());
            open.savepoints.truncate(at + 1);
            let (id, view, changed) = &open.savepoints[at];
            open.t.rollback_to(*id);
            if open.isolation != Isolation::ReadCommitted {
                open.view = view.clone();
            } else {
                open.view = model.rows.clone();
                for (id, row) in changed {
                    match row {
                        Some(row) => open.view.insert(*id, row.clone()),
                        None => open.view.remove(id),
                    };
                }
            }
            open.changed = changed.clone();
            return true;
        }
        _ => {}
    }
    let id = rng.random_range(0..IDS);
    let (a, b) = (rng.random_range(0..5), "x".repeat(rng.random_range(0..40)));
    let result = change(open, model, table, id, (a, b), rng.random_range(0..3)).await;
    match result {
        Ok(()) => true,
        Err(error) => {
            // NOWAIT failed: PostgreSQL would end the transaction; so do we.
            let lost = model.touched.get(&id).is_some_and(|at| *at > open.snapshot);
            match error.state() {
                SqlState::LockNotAvailable => {}
                SqlState::SerializationFailure => {
                    assert!(lost && open.isolation != Isolation::ReadCommitted, "{error}");
                }
                _ => panic!("{error}"),
            }
            false
        }
    }
}

async fn change(
    open: &mut Open,
    model: &Model,
    table: &Arc<Table>,
    id: i32,
    (a, b): (i32, String),
    what: u8,
) -> crate::error::Result<()> {
    let k = key(table, id);
    let before = match open.changed.get(&id) {
        Some(own) => own.clone(),
        None => model.rows.get(&id).cloned(),
    };
    let locked = open.t.lock_row(table, &k, RowLock::Update, Wait::NoWait).await?;
    let Locked::Held { latest, .. } = locked else { panic!() };
    let text_of = |id, row: &(i32, String)| format!("{id}|{}|{}", row.0, row.1);
    assert_eq!(latest.as_ref().map(|r| text(r)), before.as_ref().map(|r| text_of(id, r)), "the latest version");
    let after = match (what, latest.is_some()) {
        (0, true) => {
            open.t.delete(table, &k).await?;
            None
        }
        (_, true) => {
            open.t.update(table, &k, row(id, a, &b)).await?.unwrap();
            Some((a, b))
        }
        (_, false) => {
            open.t.insert(table, row(id, a, &b)).await?.unwrap();
            Some((a, b))
        }
    };
    match &after {
        Some(row) => open.view.insert(id, row.clone()),
        None => open.view.remove(&id),
    };
    open.changed.insert(id, after);
    Ok(())
}

/// Everything that the transaction can see agrees with its view.
fn check(open: &mut Open, table: &Arc<Table>, rng: &mut StdRng) {
    match rng.random_range(0..3) {
        0 => assert_eq!(rows_of(&mut open.t, table), texts(&open.view)),
        1 => {
            let id = rng.random_range(0..IDS);
            let found = open.t.get(table, &key(table, id), None).map(|r| text(&r));
            assert_eq!(found, open.view.get(&id).map(|(a, b)| format!("{id}|{a}|{b}")));
        }
        _ => {
            let a = rng.random_range(0..5);
            let range = IndexRange::equal(vec![Datum::Int4(a)]);
            let found = open.t.lookup(table, Oid(20002), &range, usize::MAX).unwrap();
            let mut found: Vec<String> = found.iter().map(|r| text(&r.row)).collect();
            found.sort();
            let same: Rows = open.view.iter().filter(|(_, r)| r.0 == a).map(|(id, r)| (*id, r.clone())).collect();
            assert_eq!(found, texts(&same));
        }
    }
}

async fn end(open: Open, model: &mut Model, rng: &mut StdRng) {
    if rng.random_range(0..4) == 0 {
        open.t.rollback();
        return;
    }
    match open.t.commit().await {
        Ok(()) => {
            if open.changed.is_empty() {
                return;
            }
            model.commits += 1;
            for (id, row) in open.changed {
                model.touched.insert(id, model.commits);
                match row {
                    Some(row) => model.rows.insert(id, row),
                    None => model.rows.remove(&id),
                };
            }
        }
        Err(error) => {
            assert_eq!(error.state(), SqlState::SerializationFailure, "{error}");
            assert_eq!(open.isolation, Isolation::Serializable);
            assert!(model.commits > open.snapshot, "a false abort without any other commit");
        }
    }
}

fn texts(rows: &Rows) -> Vec<String> {
    let mut texts: Vec<String> = rows.iter().map(|(id, (a, b))| format!("{id}|{a}|{b}")).collect();
    texts.sort();
    texts
}

/// Money moves between accounts from many tasks, over changes of reign; the sum stays, under every snapshot.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn money_is_conserved_over_reigns() {
    let seed = seed();
    let node = Arc::new(Node::new());
    let table = node.create(keyed()).await;
    let mut t = node.open().await;
    for id in 0..8 {
        t.insert(&table, row(id, 100, "")).await.unwrap().unwrap();
    }
    t.commit().await.unwrap();
    let mut tasks = Vec::new();
    for n in 0..6u64 {
        let (node, table) = (node.clone(), table.clone());
        tasks.push(tokio::spawn(async move {
            let mut rng = StdRng::seed_from_u64(seed ^ n);
            let mut done = 0;
            for _ in 0..150 {
                let isolation = [Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable]
                    [rng.random_range(0..3)];
                done += usize::from(transfer(&node, &table, isolation, &mut rng).await.is_ok());
            }
            done
        }));
    }
    for _ in 0..10 {
        for _ in 0..20 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            let mut t = node.open_at(Isolation::RepeatableRead).await;
            let sum: i32 =
                scan_rows(&mut t, &table).iter().map(|r| if let Datum::Int4(a) = r[1] { a } else { 0 }).sum();
            assert_eq!(sum, 800);
            node.shared.storage.maintain();
        }
        node.log.lose_leadership(rand::random());
        node.log.regain_leadership();
    }
    let mut done = 0;
    for task in tasks {
        done += task.await.unwrap();
    }
    assert!(done > 20, "{done} transfers");
    let mut t = node.open().await;
    let sum: i32 = scan_rows(&mut t, &table).iter().map(|r| if let Datum::Int4(a) = r[1] { a } else { 0 }).sum();
    assert_eq!(sum, 800);
}

async fn transfer(node: &Node, table: &Arc<Table>, isolation: Isolation, rng: &mut StdRng) -> crate::error::Result<()> {
    let (from, to, amount) = (rng.random_range(0..8), rng.random_range(0..8), rng.random_range(1..10));
    let mut t = node.begin(isolation);
    t.begin_statement(Reads::LockedRows).await?;
    update_with(&mut t, table, from, |a| a - amount).await?;
    t.begin_statement(Reads::LockedRows).await?;
    update_with(&mut t, table, to, |a| a + amount).await?;
    t.commit().await
}
