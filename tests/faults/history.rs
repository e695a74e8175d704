//! What clients were told, and whether it can all be true.
//!
//! Invariants that a history must keep:
//! 1. An acknowledged operation is there exactly once, a refused one never, one of unknown outcome at most once.
//! 2. Every snapshot holds all the money.
//! 3. A read, on any node, sees at least what was acknowledged to or seen by anyone before the read began.
//! 4. All values ever read of one list are prefixes of its last value.
//! 5. An outcome is unknown only when the server says 08007 or says nothing.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The client has not heard yet.
    Pending,
    Acknowledged,
    Refused,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Transfer,
    Append { list: i32 },
}

struct Operation {
    kind: Kind,
    outcome: Outcome,
    invoked: Instant,
}

/// What a read must not be behind.
pub struct Floor {
    transfers: i64,
    list: i32,
    length: usize,
}

/// All that a node holds: transfers (id, source, target, amount), balances, lists.
#[derive(Clone, Default)]
struct Contents {
    transfers: Vec<(i64, i32, i32, i64)>,
    accounts: BTreeMap<i32, i64>,
    lists: BTreeMap<i32, String>,
}

#[derive(Default)]
struct Book {
    operations: HashMap<i64, Operation>,
    acknowledged_transfers: i64,
    seen_transfers: i64,
    /// The longest value known to be committed of each list.
    lists: HashMap<i32, String>,
    reads: HashMap<String, u64>,
    events: VecDeque<String>,
    violations: Vec<String>,
    fault: Option<(Instant, Option<Duration>)>,
}

pub struct History {
    start: Instant,
    money: i64,
    book: Mutex<Book>,
}

impl History {
    const EVENTS_MAX: usize = 400;

    pub fn new(money: i64) -> Self {
        Self { start: Instant::now(), money, book: Mutex::default() }
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().expect("history")
    }

    fn note(&self, book: &mut Book, text: &str) {
        if book.events.len() == Self::EVENTS_MAX {
            book.events.pop_front();
        }
        book.events.push_back(format!("{:9.3} {text}", self.start.elapsed().as_secs_f64()));
    }

    pub fn event(&self, text: &str) {
        self.note(&mut self.book(), text);
    }

    fn violated(&self, book: &mut Book, what: String) {
        self.note(book, &format!("VIOLATION {what}"));
        let recent = book.events.iter().rev().take(40).rev().cloned().collect::<Vec<_>>().join("\n");
        book.violations.push(format!("{what}\nhistory before it (seconds, event):\n{recent}"));
    }

    pub fn violation(&self, what: String) {
        self.violated(&mut self.book(), what);
    }

    pub fn violations(&self) -> Vec<String> {
        self.book().violations.clone()
    }

    pub fn invoke(&self, id: i64, kind: Kind) {
        let operation = Operation { kind, outcome: Outcome::Pending, invoked: Instant::now() };
        self.book().operations.insert(id, operation);
    }

    /// Records what the client heard. `value` is the list that an acknowledged append returned.
    pub fn complete(&self, id: i64, node: &str, outcome: Outcome, value: Option<&str>, why: &str) {
        let mut book = self.book();
        let operation = book.operations.get_mut(&id).expect("invoked");
        operation.outcome = outcome;
        let (kind, invoked) = (operation.kind, operation.invoked);
        let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
        let took = invoked.elapsed().as_secs_f64() * 1e3;
        self.note(&mut book, &format!("{node}: {kind:?} {id} {outcome:?} after {took:.1} ms{why}"));
        if outcome != Outcome::Acknowledged {
            return;
        }
        if kind == Kind::Transfer {
            book.acknowledged_transfers += 1;
        }
        if let Some((at, first @ None)) = &mut book.fault
            && invoked >= *at
        {
            *first = Some(at.elapsed());
        }
        if let (Kind::Append { list }, Some(value)) = (kind, value) {
            if !value.ends_with(&format!("{id},")) {
                self.violated(&mut book, format!("append {id} returned a list that does not end with it: {value:?}"));
            }
            self.learn(&mut book, node, list, value);
        }
    }

    fn learn(&self, book: &mut Book, node: &str, list: i32, value: &str) {
        let known = book.lists.entry(list).or_default();
        if value.starts_with(known.as_str()) {
            value.clone_into(known);
        } else if !known.starts_with(value) {
            let what = format!("list {list} on {node} is {value:?}, but {known:?} was seen before");
            self.violated(book, what);
        }
    }

    pub fn floor(&self, list: i32) -> Floor {
        let book = self.book();
        let transfers = book.acknowledged_transfers.max(book.seen_transfers);
        Floor { transfers, list, length: book.lists.get(&list).map_or(0, String::len) }
    }

    /// Checks one snapshot that a client read on `node`.
    pub fn read(&self, node: &str, floor: &Floor, money: i64, transfers: i64, list: &str) {
        let mut book = self.book();
        *book.reads.entry(node.into()).or_default() += 1;
        self.note(&mut book, &format!("{node}: read {transfers} transfers, {money} money, list {}", floor.list));
        if money != self.money {
            self.violated(&mut book, format!("{node} shows {money} money, not {}", self.money));
        }
        if transfers < floor.transfers {
            let what =
                format!("{node} shows {transfers} transfers, {} were known before the read began", floor.transfers);
            self.violated(&mut book, what);
        }
        if list.len() < floor.length {
            let known = floor.length;
            let what = format!("{node} shows list {} with {} bytes, {known} were known", floor.list, list.len());
            self.violated(&mut book, what);
        }
        book.seen_transfers = book.seen_transfers.max(transfers);
        self.learn(&mut book, node, floor.list, list);
    }

    /// Starts the clock of a fail-over.
    pub fn fault(&self, what: &str) {
        let mut book = self.book();
        self.note(&mut book, &format!("---- {what}"));
        book.fault = Some((Instant::now(), None));
    }

    /// How long after the fault a write that began after it was acknowledged.
    pub fn recovered(&self) -> Option<Duration> {
        self.book().fault.and_then(|(_, first)| first)
    }

    pub fn acknowledged_transfers(&self) -> i64 {
        self.book().acknowledged_transfers
    }

    pub fn acknowledged(&self) -> usize {
        self.book().operations.values().filter(|operation| operation.outcome == Outcome::Acknowledged).count()
    }

    /// Compares everything that a node holds with what clients were told. Nothing may be in flight.
    pub async fn verify(&self, node: &str, client: &Client) -> Result<(), tokio_postgres::Error> {
        let transfers = client.query("SELECT id, source, target, amount FROM transfer", &[]).await?;
        let accounts = client.query("SELECT id, balance FROM account", &[]).await?;
        let lists = client.query("SELECT id, items FROM list", &[]).await?;
        let contents = Contents {
            transfers: transfers.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect(),
            accounts: accounts.iter().map(|row| (row.get(0), row.get(1))).collect(),
            lists: lists.iter().map(|row| (row.get(0), row.get(1))).collect(),
        };
        self.compare(node, &contents);
        Ok(())
    }

    fn compare(&self, node: &str, contents: &Contents) {
        let mut book = self.book();
        let mut wrong = Vec::new();
        let mut balances: BTreeMap<i32, i64> = contents.accounts.clone();
        let mut there: HashMap<i64, usize> = HashMap::new();
        for (id, source, target, amount) in &contents.transfers {
            *there.entry(*id).or_default() += 1;
            *balances.entry(*source).or_default() += amount;
            *balances.entry(*target).or_default() -= amount;
        }
        let each = self.money / balances.len().max(1) as i64;
        for (account, balance) in balances.iter().filter(|(_, balance)| **balance != each) {
            wrong.push(format!("{node}: account {account} is off by {} from its transfers", balance - each));
        }
        for (list, items) in &contents.lists {
            self.learn(&mut book, node, *list, items);
            let known = &book.lists[list];
            if known != items {
                wrong.push(format!("{node}: list {list} is {items:?}, {known:?} was seen"));
            }
            for item in items.split_terminator(',') {
                *there.entry(item.parse().unwrap_or(-1)).or_default() += 1;
            }
        }
        let known: HashSet<i64> = book.operations.keys().copied().collect();
        wrong.extend(there.keys().filter(|id| !known.contains(id)).map(|id| format!("{node}: {id} was never sent")));
        for (id, operation) in &book.operations {
            let times = there.get(id).copied().unwrap_or(0);
            let right = match operation.outcome {
                Outcome::Acknowledged => times == 1,
                Outcome::Refused => times == 0,
                Outcome::Unknown | Outcome::Pending => times <= 1,
            };
            if !right {
                let (kind, outcome) = (operation.kind, operation.outcome);
                let at = operation.invoked.duration_since(self.start).as_secs_f64();
                wrong.push(format!("{node}: {kind:?} {id}, sent at {at:.3} s, {outcome:?}, is there {times} times"));
            }
        }
        let count = wrong.len();
        for what in wrong.into_iter().take(5) {
            self.violated(&mut book, what);
        }
        if count > 5 {
            self.violated(&mut book, format!("{node}: and {} more", count - 5));
        }
    }

    /// Operations by outcome and reads by node, for the report.
    pub fn summary(&self) -> String {
        let book = self.book();
        let mut outcomes: BTreeMap<(bool, Outcome), usize> = BTreeMap::new();
        for operation in book.operations.values() {
            *outcomes.entry((operation.kind == Kind::Transfer, operation.outcome)).or_default() += 1;
        }
        let mut out = String::new();
        for ((transfer, outcome), count) in outcomes {
            let kind = if transfer { "transfers" } else { "appends" };
            write!(out, "{count} {kind} {outcome:?}; ").expect("string");
        }
        let reads: BTreeMap<_, _> = book.reads.iter().collect();
        write!(out, "reads {reads:?}").expect("string");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two accounts of 50, transfer 1 of 10 from the first to the second, append 2 to list 7.
    fn told(transfer: Outcome, append: Outcome) -> History {
        let history = History::new(100);
        history.invoke(1, Kind::Transfer);
        history.complete(1, "a", transfer, None, "");
        history.invoke(2, Kind::Append { list: 7 });
        history.complete(2, "a", append, Some("2,"), "");
        history
    }

    fn all() -> Contents {
        Contents {
            transfers: vec![(1, 1, 2, 10)],
            accounts: BTreeMap::from([(1, 40), (2, 60)]),
            lists: BTreeMap::from([(7, "2,".into())]),
        }
    }

    fn nothing() -> Contents {
        Contents { accounts: BTreeMap::from([(1, 50), (2, 50)]), ..Contents::default() }
    }

    fn violations(history: &History, contents: &Contents) -> usize {
        history.compare("a", contents);
        history.violations().len()
    }

    #[test]
    fn an_acknowledged_operation_is_there_exactly_once() {
        use Outcome::{Acknowledged, Refused, Unknown};
        assert_eq!(violations(&told(Acknowledged, Acknowledged), &all()), 0);
        assert_eq!(violations(&told(Acknowledged, Acknowledged), &nothing()), 2);
        assert_eq!(violations(&told(Refused, Refused), &all()), 2);
        assert_eq!(violations(&told(Refused, Refused), &nothing()), 0);
        assert_eq!(violations(&told(Unknown, Unknown), &all()), 0);
        assert_eq!(violations(&told(Unknown, Unknown), &nothing()), 0);
        let mut twice = all();
        twice.lists.insert(7, "2,2,".into());
        assert_eq!(violations(&told(Unknown, Unknown), &twice), 1);
        let mut foreign = all();
        foreign.lists.insert(8, "99,".into());
        assert_eq!(violations(&told(Acknowledged, Acknowledged), &foreign), 1);
    }

    #[test]
    fn money_follows_the_transfers() {
        let mut half = all();
        half.accounts.insert(2, 50);
        assert_eq!(violations(&told(Outcome::Acknowledged, Outcome::Acknowledged), &half), 1);
    }

    #[test]
    fn a_read_is_not_behind_what_was_known_and_lists_only_grow() {
        let history = told(Outcome::Acknowledged, Outcome::Acknowledged);
        let floor = history.floor(7);
        history.read("b", &floor, 100, 1, "2,");
        assert_eq!(history.violations().len(), 0);
        history.read("b", &floor, 99, 1, "2,");
        assert_eq!(history.violations().len(), 1, "money");
        history.read("b", &floor, 100, 0, "2,");
        assert_eq!(history.violations().len(), 2, "transfers");
        history.read("b", &floor, 100, 1, "");
        assert_eq!(history.violations().len(), 3, "list");
        history.read("b", &floor, 100, 1, "3,2,");
        assert_eq!(history.violations().len(), 4, "not a prefix");
        history.read("b", &floor, 100, 5, "2,4,");
        history.read("c", &history.floor(7), 100, 1, "2,4,");
        assert_eq!(history.violations().len(), 5, "another node is behind what one has shown");
    }
}
