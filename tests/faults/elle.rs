//! Histories of transactions for the checker of isolation (crate `adya`, after Elle by Kingsbury and Alvaro): what was
//! sent and what came back, in generations of transactions that share keys with nobody else, so that each can be judged
//! as soon as it is complete, and forgotten.
//!
//! The crate judges by one model a history, so each level has its own tables and its own history: lists at SERIALIZABLE
//! have to be strictly serializable, lists at REPEATABLE READ strong snapshot isolation, registers strictly
//! serializable, reads on standbys included.

use std::sync::Mutex;

use adya::history::{History, Interner, Mop, Op, OpType, ReadValue, Scalar};
use adya::{Opts, Report, Valid, Workload};

/// Transactions of one generation.
const GENERATION: usize = 800;
/// Keys that a generation has for itself.
pub const KEYS: i64 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Appends to lists and reads of them at SERIALIZABLE.
    Serializable,
    /// The same at REPEATABLE READ.
    Snapshot,
    /// Reads and writes of registers at SERIALIZABLE.
    Register,
}

impl Kind {
    pub const EACH: [Kind; 3] = [Kind::Serializable, Kind::Snapshot, Kind::Register];

    fn options(self) -> (Workload, Opts) {
        let model = match self {
            Kind::Serializable | Kind::Register => "strict-serializable",
            Kind::Snapshot => "strong-snapshot-isolation",
        };
        let workload = if self == Kind::Register { Workload::RwRegister } else { Workload::ListAppend };
        let mut options = Opts { models: vec![model.into()], ..Opts::default() };
        options.linearizable_keys = self == Kind::Register;
        (workload, options)
    }
}

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A read, and what it gave: of a register at most one value.
    Read(i64, Vec<i64>),
    /// An append, or a write of a register.
    Write(i64, i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Committed,
    Aborted,
    Unknown,
}

#[derive(Default)]
struct Generation {
    number: i64,
    ops: Vec<Op>,
    interner: Interner,
    /// A line of what happened for each of `ops`.
    told: Vec<String>,
    begun: usize,
    open: usize,
}

/// A transaction on its way.
pub struct Ticket {
    generation: i64,
    process: i64,
}

impl Ticket {
    /// One of the keys of its generation.
    pub fn key(&self, which: i64) -> i64 {
        self.generation * KEYS + which % KEYS
    }
}

/// The history of one kind.
pub struct Book {
    kind: Kind,
    generations: Mutex<(Vec<Generation>, i64)>,
}

/// What is judged apart from the clients.
pub struct Complete {
    kind: Kind,
    generation: Generation,
}

impl Book {
    pub fn new(kind: Kind) -> Self {
        Self { kind, generations: Mutex::new((vec![Generation::default()], 0)) }
    }

    fn mops(kind: Kind, interner: &mut Interner, steps: &[Step], complete: bool) -> Vec<Mop> {
        let mut id = |number: i64| interner.intern(Scalar::Int(number));
        let mop = |step: &Step| match step {
            Step::Write(key, value) if kind == Kind::Register => Mop::Write { key: id(*key), value: id(*value) },
            Step::Write(key, value) => Mop::Append { key: id(*key), value: id(*value) },
            Step::Read(key, values) => {
                let read = match (complete, kind, values.first()) {
                    (false, ..) | (_, Kind::Register, None) => ReadValue::Nil,
                    (_, Kind::Register, Some(value)) => ReadValue::Scalar(id(*value)),
                    _ => ReadValue::List(values.iter().map(|value| id(*value)).collect()),
                };
                Mop::Read { key: id(*key), value: read }
            }
        };
        steps.iter().map(mop).collect()
    }

    /// Begins a transaction whose steps depend on its keys.
    pub fn invoke(&self, steps: impl FnOnce(&Ticket) -> Vec<Step>) -> (Ticket, Vec<Step>) {
        let mut book = self.generations.lock().expect("book");
        let (generations, processes) = &mut *book;
        if generations.last().is_none_or(|last| last.begun >= GENERATION) {
            let number = generations.last().map_or(0, |last| last.number + 1);
            generations.push(Generation { number, ..Generation::default() });
        }
        *processes += 1;
        let generation = generations.last_mut().expect("one");
        // Each transaction is a process of its own: the order of a client's transactions is one in real time.
        let ticket = Ticket { generation: generation.number, process: *processes };
        let steps = steps(&ticket);
        let value = Self::mops(self.kind, &mut generation.interner, &steps, false);
        let (index, process) = (generation.ops.len() as u64, Some(ticket.process));
        generation.ops.push(Op { index, kind: OpType::Invoke, process, value, time: None });
        generation.told.push(format!("{index} {} {:?} begins {steps:?}", now(), ticket.process));
        generation.begun += 1;
        generation.open += 1;
        (ticket, steps)
    }

    /// Notes how a transaction of `who` ended; the generation that is complete with it is given out to be judged.
    pub fn complete(&self, ticket: &Ticket, steps: &[Step], end: End, who: &str) -> Option<Complete> {
        let mut book = self.generations.lock().expect("book");
        let generations = &mut book.0;
        let at = generations.iter().position(|it| it.number == ticket.generation).expect("open");
        let generation = &mut generations[at];
        let kind = match end {
            End::Committed => OpType::Ok,
            End::Aborted => OpType::Fail,
            End::Unknown => OpType::Info,
        };
        let value = Self::mops(self.kind, &mut generation.interner, steps, end == End::Committed);
        let (index, process) = (generation.ops.len() as u64, Some(ticket.process));
        generation.ops.push(Op { index, kind, process, value, time: None });
        generation.told.push(format!("{index} {} {:?} {who}: {end:?} {steps:?}", now(), ticket.process));
        generation.open -= 1;
        let complete = generation.open == 0 && generation.begun >= GENERATION;
        complete.then(|| Complete { kind: self.kind, generation: generations.remove(at) })
    }

    /// What is left at the end.
    pub fn rest(&self) -> Vec<Complete> {
        let generations = std::mem::take(&mut self.generations.lock().expect("book").0);
        generations.into_iter().map(|generation| Complete { kind: self.kind, generation }).collect()
    }
}

impl Complete {
    /// The number of committed transactions, and what is wrong with them.
    pub fn judge(self) -> (u64, Option<String>) {
        let committed = self.generation.ops.iter().filter(|op| op.kind == OpType::Ok).count() as u64;
        let (workload, options) = self.kind.options();
        let history = History::from_ops(self.generation.ops, self.generation.interner);
        let report = adya::check(&history, workload, &options);
        let wrong = (report.valid == Valid::False).then(|| self::text(self.kind, &report, &self.generation.told));
        // What cannot be judged does not count.
        let judged = if report.valid == Valid::Unknown { 0 } else { committed };
        (judged, wrong)
    }
}

/// Microseconds of the wall clock.
fn now() -> u128 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_micros())
}

/// What is wrong, and the file where all transactions are.
fn text(kind: Kind, report: &Report, told: &[String]) -> String {
    let anomalies: Vec<_> = report.anomalies.values().flatten().take(2).collect();
    let explained: Vec<&str> = anomalies.iter().map(|anomaly| anomaly.explanation.as_str()).collect();
    let concerned = anomalies.iter().flat_map(|anomaly| &anomaly.ops);
    let concerned: Vec<&str> = concerned.filter_map(|op| told.get(*op as usize)).map(String::as_str).collect();
    let file = std::env::temp_dir().join(format!("lockstep-{kind:?}-{}.txt", now()));
    let written = std::fs::write(&file, told.join("\n")).map(|()| file.display().to_string());
    let written = written.unwrap_or_else(|error| format!("could not be written: {error}"));
    let (types, explained, concerned) = (&report.anomaly_types, explained.join("\n"), concerned.join("\n"));
    format!("{kind:?}: {types:?}\n{explained}\n{concerned}\nall transactions: {written}")
}

#[cfg(test)]
mod tests {
    use super::Step::{Read, Write};
    use super::*;

    /// Runs transactions in an order: `(invoked at, completed at, end, steps)`, and gives the anomalies.
    fn judge(kind: Kind, transactions: &[(u32, u32, End, Vec<Step>)]) -> Option<String> {
        let book = Book::new(kind);
        let mut moments: Vec<(u32, bool, usize)> = Vec::new();
        for (i, (from, to, ..)) in transactions.iter().enumerate() {
            moments.push((*from, false, i));
            moments.push((*to, true, i));
        }
        moments.sort();
        let mut tickets: Vec<Option<Ticket>> = transactions.iter().map(|_| None).collect();
        for (_, completes, i) in moments {
            let (.., end, steps) = &transactions[i];
            match completes {
                false => tickets[i] = Some(book.invoke(|_| steps.clone()).0),
                true => drop(book.complete(tickets[i].as_ref().expect("invoked"), steps, *end, "a test")),
            }
        }
        let mut judged = 0;
        let mut wrong = None;
        for rest in book.rest() {
            let (count, what) = rest.judge();
            judged += count;
            wrong = wrong.or(what);
        }
        assert!(judged > 0 || wrong.is_some());
        wrong
    }

    fn at_once(kind: Kind, transactions: &[Vec<Step>]) -> Option<String> {
        let all: Vec<_> = transactions.iter().map(|steps| (0, 1, End::Committed, steps.clone())).collect();
        judge(kind, &all)
    }

    fn finds(wrong: Option<String>, name: &str) {
        let wrong = wrong.unwrap_or_else(|| panic!("{name} is not seen"));
        let line = wrong.lines().next().expect("line").to_owned();
        assert!(line.contains(&format!("\"{name}")), "{name} is called {line}");
    }

    use End::{Aborted, Committed};
    use Kind::{Register, Serializable, Snapshot};

    #[test]
    fn good_histories_pass() {
        for kind in [Serializable, Snapshot] {
            let good = [
                (0, 1, Committed, vec![Write(1, 10), Read(1, vec![10])]),
                (2, 3, Committed, vec![Read(1, vec![10]), Write(1, 11)]),
                (2, 5, Aborted, vec![Write(1, 12)]),
                (6, 7, Committed, vec![Read(1, vec![10, 11])]),
            ];
            assert_eq!(judge(kind, &good), None);
        }
        let good = [
            (0, 1, Committed, vec![Write(1, 10)]),
            (2, 3, Committed, vec![Read(1, vec![10]), Write(1, 11)]),
            (4, 5, Committed, vec![Read(1, vec![11])]),
        ];
        assert_eq!(judge(Register, &good), None);
    }

    #[test]
    fn g0_writes_in_two_orders() {
        let wrong = [
            vec![Write(1, 10), Write(2, 20)],
            vec![Write(1, 11), Write(2, 21)],
            vec![Read(1, vec![10, 11]), Read(2, vec![21, 20])],
        ];
        finds(at_once(Snapshot, &wrong), "G0");
    }

    #[test]
    fn g1a_an_aborted_read() {
        let wrong = [(0, 1, Aborted, vec![Write(1, 10)]), (0, 1, Committed, vec![Read(1, vec![10])])];
        finds(judge(Snapshot, &wrong), "G1a");
    }

    #[test]
    fn g1b_an_intermediate_read() {
        let wrong = [vec![Write(1, 10), Write(1, 11)], vec![Read(1, vec![10])]];
        finds(at_once(Snapshot, &wrong), "G1b");
    }

    #[test]
    fn g1c_a_ring_of_information() {
        let wrong = [vec![Write(1, 10), Read(2, vec![20])], vec![Write(2, 20), Read(1, vec![10])]];
        finds(at_once(Snapshot, &wrong), "G1c");
    }

    #[test]
    fn g_single_a_torn_snapshot() {
        let wrong =
            [vec![Write(1, 10), Write(2, 20)], vec![Read(1, vec![10]), Read(2, vec![])], vec![Read(2, vec![20])]];
        finds(at_once(Snapshot, &wrong), "G-single");
    }

    #[test]
    fn a_lost_update() {
        let wrong = [
            vec![Write(1, 10)],
            vec![Read(1, vec![10]), Write(1, 11)],
            vec![Read(1, vec![10]), Write(1, 12)],
            vec![Read(1, vec![10, 11, 12])],
        ];
        let wrong = at_once(Snapshot, &wrong).expect("seen");
        assert!(wrong.contains("lost-update") || wrong.contains("G-single"), "{wrong}");
    }

    #[test]
    fn write_skew_is_an_anomaly_of_serializable_alone() {
        let skew = [
            vec![Read(1, vec![]), Write(2, 20)],
            vec![Read(2, vec![]), Write(1, 10)],
            vec![Read(1, vec![10]), Read(2, vec![20])],
        ];
        finds(at_once(Serializable, &skew), "G2-item");
        assert_eq!(at_once(Snapshot, &skew), None);
    }

    #[test]
    fn a_long_fork() {
        let wrong = [
            vec![Write(1, 10)],
            vec![Write(2, 20)],
            vec![Read(1, vec![10]), Read(2, vec![])],
            vec![Read(1, vec![]), Read(2, vec![20])],
            vec![Read(1, vec![10]), Read(2, vec![20])],
        ];
        finds(at_once(Snapshot, &wrong), "G-nonadjacent");
        assert!(at_once(Serializable, &wrong).is_some());
    }

    #[test]
    fn a_stale_read_is_an_anomaly_in_real_time() {
        for kind in [Serializable, Snapshot] {
            let wrong = [
                (0, 1, Committed, vec![Write(1, 10)]),
                (2, 3, Committed, vec![Read(1, vec![])]),
                (4, 5, Committed, vec![Read(1, vec![10])]),
            ];
            assert!(judge(kind, &wrong).expect("seen").contains("realtime"));
        }
        let wrong = [
            (0, 1, Committed, vec![Write(1, 10)]),
            (2, 3, Committed, vec![Write(1, 11)]),
            (4, 5, Committed, vec![Read(1, vec![10])]),
        ];
        assert!(judge(Register, &wrong).is_some());
    }

    #[test]
    fn an_outcome_that_is_unknown_may_be_either() {
        for read in [vec![], vec![10]] {
            let open = [
                (0, 1, End::Unknown, vec![Write(1, 10)]),
                (2, 3, Committed, vec![Write(2, 20)]),
                (4, 5, Committed, vec![Read(1, read), Read(2, vec![20])]),
            ];
            assert_eq!(judge(Serializable, &open), None);
        }
    }
}
