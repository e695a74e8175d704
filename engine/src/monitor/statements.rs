//! What statements cost, by their normalised text and the role that ran them (pg_stat_statements' idea).
//!
//! A plan holds its [`Statement`] and counts there without a look-up; there are at most [`STATEMENTS_MAX`], the least
//! called ones making room.
//!
//! Invariants:
//! 1. Memory is bounded: texts are cut, statements are at most so many.
//! 2. What a statement counted before it made room stays in [`Statements::latency`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};

use super::fingerprint::{fingerprint, normalised};
use super::histogram::{Counter, Distribution, SharedHistogram};
use crate::catalog::Oid;
use crate::session::registry::now_micros;

/// Statements that are told apart at a time.
pub const STATEMENTS_MAX: usize = 2000;
/// When there are too many, so many make room at once.
const ROOM: usize = STATEMENTS_MAX / 20;

/// A role and a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key(Oid, u64);

/// One normalised statement of one role.
#[derive(Debug)]
pub struct Statement {
    key: Key,
    pub text: Arc<str>,
    /// Executions that completed.
    latency: SharedHistogram,
    rows: Counter,
    errors: AtomicU64,
    /// It made room for others: whoever holds it is to find its place again.
    gone: AtomicBool,
}

/// What a statement has cost so far.
#[derive(Debug, Clone)]
pub struct StatementFigures {
    pub role: Oid,
    pub id: i64,
    pub text: Arc<str>,
    pub latency: Distribution,
    pub rows: u64,
    /// Executions that ended in an error.
    pub errors: u64,
}

impl Statement {
    fn figures(&self) -> StatementFigures {
        StatementFigures {
            role: self.key.0,
            id: self.key.1 as i64,
            text: self.text.clone(),
            latency: self.latency.read(),
            rows: self.rows.get(),
            errors: self.errors.load(Ordering::Relaxed),
        }
    }
}

/// The statements of a node since it started, or since they were forgotten.
#[derive(Debug)]
pub struct Statements {
    known: DashMap<Key, Arc<Statement>>,
    /// Latencies of statements that made room. Held for writing while one moves there.
    forgotten: RwLock<Distribution>,
    evictions: AtomicU64,
    since: Mutex<i64>,
}

impl Default for Statements {
    fn default() -> Self {
        Statements {
            known: DashMap::new(),
            forgotten: RwLock::default(),
            evictions: AtomicU64::new(0),
            since: Mutex::new(now_micros()),
        }
    }
}

impl Statements {
    /// The place of a text: for a plan to keep.
    pub fn place(&self, role: Oid, text: &str, parameters: usize) -> Arc<Statement> {
        let key = Key(role, fingerprint(text));
        self.place_of(key, || normalised(text, parameters).into())
    }

    fn place_of(&self, key: Key, text: impl FnOnce() -> Arc<str>) -> Arc<Statement> {
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        if self.known.len() >= STATEMENTS_MAX {
            self.make_room();
        }
        let new = || {
            Arc::new(Statement {
                key,
                text: text(),
                latency: SharedHistogram::default(),
                rows: Counter::default(),
                errors: AtomicU64::new(0),
                gone: AtomicBool::new(false),
            })
        };
        self.known.entry(key).or_insert_with(new).clone()
    }

    /// An execution that completed.
    pub fn completed(&self, statement: &Arc<Statement>, took: Duration, rows: u64) {
        let present = self.present(statement);
        let statement = present.as_ref().unwrap_or(statement);
        statement.latency.record(took);
        if rows > 0 {
            statement.rows.add(rows);
        }
    }

    /// An execution that ended in an error.
    pub fn failed(&self, statement: &Arc<Statement>) {
        let present = self.present(statement);
        present.as_ref().unwrap_or(statement).errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Where to count for a statement that has made room meanwhile.
    fn present(&self, statement: &Statement) -> Option<Arc<Statement>> {
        let gone = statement.gone.load(Ordering::Relaxed);
        gone.then(|| self.place_of(statement.key, || statement.text.clone()))
    }

    /// Lets the least called statements go.
    fn make_room(&self) {
        // Whoever comes second finds room.
        let mut forgotten = self.forgotten.write();
        if self.known.len() < STATEMENTS_MAX {
            return;
        }
        let mut calls: Vec<(u64, Key)> =
            self.known.iter().map(|s| (s.latency.read().count() + s.errors.load(Ordering::Relaxed), s.key)).collect();
        calls.sort_unstable_by_key(|(calls, _)| *calls);
        for (_, key) in calls.into_iter().take(ROOM) {
            if let Some((_, statement)) = self.known.remove(&key) {
                statement.gone.store(true, Ordering::Relaxed);
                forgotten.merge(&statement.latency.read());
                self.evictions.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Starts anew. What is counted under way goes to the new places.
    pub fn reset(&self) {
        let mut forgotten = self.forgotten.write();
        let keys: Vec<Key> = self.known.iter().map(|s| s.key).collect();
        for key in keys {
            if let Some((_, statement)) = self.known.remove(&key) {
                statement.gone.store(true, Ordering::Relaxed);
                forgotten.merge(&statement.latency.read());
            }
        }
        self.evictions.store(0, Ordering::Relaxed);
        *self.since.lock() = now_micros();
    }

    /// All statements, those that took longest first.
    pub fn list(&self) -> Vec<StatementFigures> {
        let mut all: Vec<StatementFigures> = self.known.iter().map(|s| s.figures()).collect();
        all.retain(|s| s.latency.count() + s.errors > 0);
        all.sort_by_key(|s| std::cmp::Reverse(s.latency.total()));
        all
    }

    /// Latencies of all executions since the node started.
    pub fn latency(&self) -> Distribution {
        let forgotten = self.forgotten.read();
        let mut all = forgotten.clone();
        for statement in &self.known {
            all.merge(&statement.latency.read());
        }
        all
    }

    /// How many made room, and since when the statements count (microseconds since 1970).
    pub fn info(&self) -> (u64, i64) {
        (self.evictions.load(Ordering::Relaxed), *self.since.lock())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ROLE: Oid = Oid(10);

    #[test]
    fn constants_share_a_place_and_roles_do_not() {
        let statements = Statements::default();
        for (role, text) in [(ROLE, "select 1"), (ROLE, "select 2"), (Oid(11), "select 3")] {
            let place = statements.place(role, text, 0);
            statements.completed(&place, Duration::from_micros(8), 2);
        }
        statements.failed(&statements.place(ROLE, "select 4", 0));
        let list = statements.list();
        let figures = |s: &StatementFigures| (s.role, s.latency.count(), s.rows, s.errors, s.text.to_string());
        let mut figures: Vec<_> = list.iter().map(figures).collect();
        figures.sort();
        assert_eq!(figures, [(ROLE, 2, 4, 1, "select $1".into()), (Oid(11), 1, 2, 0, "select $1".into())]);
        assert_eq!(list[0].id, list[1].id);
    }

    #[test]
    fn statements_are_bounded_and_nothing_counted_is_lost() {
        let statements = Statements::default();
        let often = statements.place(ROLE, "select often", 0);
        let seldom = statements.place(ROLE, "select seldom", 0);
        statements.completed(&seldom, Duration::from_micros(5), 1);
        (0..100).for_each(|_| statements.completed(&often, Duration::from_micros(5), 1));
        let others = 3 * STATEMENTS_MAX as u64;
        for i in 0..others {
            let place = statements.place(ROLE, &format!("select c{i}"), 0);
            statements.completed(&place, Duration::from_micros(5), 1);
            statements.completed(&place, Duration::from_micros(5), 1);
            assert!(statements.known.len() <= STATEMENTS_MAX);
        }
        let called = |text: &str| statements.list().iter().find(|s| &*s.text == text).map(|s| s.latency.count());
        assert_eq!((called("select often"), called("select seldom")), (Some(100), None));
        assert_eq!(statements.latency().count(), 101 + 2 * others);
        assert!(statements.info().0 > 0);
        // A plan that holds what is gone counts in a new place.
        statements.completed(&seldom, Duration::from_micros(5), 1);
        assert_eq!(called("select seldom"), Some(1));
        assert_eq!(statements.latency().count(), 102 + 2 * others);
        statements.reset();
        assert!(statements.list().is_empty());
        assert_eq!(statements.latency().count(), 102 + 2 * others);
    }
}
