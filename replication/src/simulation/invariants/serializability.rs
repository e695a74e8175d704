//! Transactions are strictly serializable in the order of the log: what one read is what the log says before it, and
//! what was answered before it began is before it. READ COMMITTED never loses an update of a row that it locked, and
//! REPEATABLE READ sees one moment.

use crate::simulation::history::{History, Kind, Outcome};

pub fn check(history: &mut History) {
    let states = history.replay();
    let positions = history.positions();
    let before = |position: u64| states.partition_point(|(at, _)| *at < position) - 1;
    let mut wrong = Vec::new();
    for (number, operation) in history.operations.iter().enumerate() {
        let Some(position) = positions.get(&number) else { continue };
        let Some((_, cells)) = states.get(before(*position)) else { continue };
        for write in &operation.writes {
            if cells[write.cell] != write.before {
                let (cell, saw, is) = (write.cell, write.before, cells[write.cell]);
                wrong.push(format!(
                    "serializability: operation {number} ({:?}) changed cell {cell} from {saw:?}, which held {is:?} by then: an update is lost",
                    operation.kind
                ));
            }
        }
        let sees = |cells: &[Option<i32>]| operation.reads.iter().all(|(cell, value)| cells[*cell] == *value);
        let fits = match operation.kind {
            Kind::Serializable => sees(cells),
            Kind::RepeatableRead => states[..=before(*position)].iter().any(|(_, cells)| sees(cells)),
            _ => true,
        };
        if !fits {
            wrong.push(format!(
                "serializability: operation {number} ({:?}) read what the log never said before it: {:?}",
                operation.kind, operation.reads
            ));
        }
    }
    wrong.extend(real_time(history, &positions));
    wrong.into_iter().for_each(|wrong| history.violate(wrong));
}

/// Who began after somebody had his answer comes behind him in the log.
fn real_time(history: &History, positions: &std::collections::BTreeMap<usize, u64>) -> Vec<String> {
    let mut answers: Vec<(u64, u64)> = history
        .operations
        .iter()
        .enumerate()
        .filter(|(_, operation)| operation.outcome == Outcome::Committed)
        .filter_map(|(number, operation)| Some((operation.answered?, *positions.get(&number)?)))
        .collect();
    answers.sort_unstable();
    let mut latest = 0;
    let latest: Vec<(u64, u64)> = answers
        .into_iter()
        .map(|(at, position)| {
            latest = latest.max(position);
            (at, latest)
        })
        .collect();
    let mut wrong = Vec::new();
    for (number, position) in positions {
        let Some(operation) = history.operations.get(*number) else { continue };
        let earlier = latest.partition_point(|(at, _)| *at < operation.invoked);
        if earlier > 0 && latest[earlier - 1].1 > *position {
            wrong.push(format!("serializability: operation {number} stands before one that was answered earlier"));
        }
    }
    wrong
}
