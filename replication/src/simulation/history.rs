//! What was observed: every operation of every client, every record that a node applied, every reign.

use std::collections::BTreeMap;

/// A cell of the table that the clients work on: the number of the operation that wrote it, or no row.
pub type Value = Option<i32>;

pub const CELLS: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// SERIALIZABLE: reads some cells and writes some.
    Serializable,
    RepeatableRead,
    /// READ COMMITTED: changes cells that it has locked.
    ReadCommitted,
    /// Reads all cells behind a barrier.
    Read,
    /// Reads all cells as they are on that node.
    LocalRead,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// No answer came.
    Open,
    Committed,
    /// Nothing happened, the client was told.
    Refused(String),
    Unknown,
}

#[derive(Debug, Clone, Copy)]
pub struct Write {
    pub cell: usize,
    pub before: Value,
    pub after: Value,
}

#[derive(Debug)]
pub struct Operation {
    pub life: u64,
    pub kind: Kind,
    pub invoked: u64,
    pub answered: Option<u64>,
    pub outcome: Outcome,
    pub reads: Vec<(usize, Value)>,
    pub writes: Vec<Write>,
}

#[derive(Default)]
pub struct History {
    pub operations: Vec<Operation>,
    /// Which operation handed a record with this hash to the log.
    pub appended: BTreeMap<u64, usize>,
    /// Records by position: hash and operation.
    pub log: BTreeMap<u64, (u64, Option<usize>)>,
    /// Hash of the whole state behind a position.
    pub states: BTreeMap<u64, u64>,
    /// Who reigned in a term: the life of a node.
    pub primaries: BTreeMap<u64, u64>,
    /// Lives that call themselves the primary and do not lead, and since when.
    pub pretenders: BTreeMap<u64, u64>,
    /// Last position that a life of a node applied.
    pub progress: BTreeMap<u64, u64>,
    pub violations: Vec<String>,
    pub counts: Counts,
}

/// How much happened.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    pub acknowledged: u64,
    pub refused: u64,
    pub unknown: u64,
    pub reads: u64,
    pub failovers: u64,
    pub kills: u64,
    pub faults: BTreeMap<String, u64>,
    pub checkpoints: u64,
    pub restored: u64,
    pub rebuilt: u64,
}

impl History {
    pub fn violate(&mut self, what: String) {
        // The first ones say it; a broken cluster goes on breaking.
        if self.violations.len() < 20 {
            self.violations.push(what);
        }
    }

    /// The states that the log went through: positions and the cells behind them, an empty one first.
    pub fn replay(&self) -> Vec<(u64, [Value; CELLS])> {
        let mut cells = [None; CELLS];
        let mut states = vec![(0, cells)];
        for (position, (_, operation)) in &self.log {
            let Some(operation) = operation.and_then(|number| self.operations.get(number)) else { continue };
            for write in &operation.writes {
                cells[write.cell] = write.after;
            }
            states.push((*position, cells));
        }
        states
    }

    /// Position of each operation that is in the log.
    pub fn positions(&self) -> BTreeMap<usize, u64> {
        self.log.iter().filter_map(|(position, (_, operation))| Some(((*operation)?, *position))).collect()
    }
}
