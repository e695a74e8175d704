//! A read sees a state that the log went through. Behind a barrier, and in a transaction that writes, it is none older than
//! what anybody was told or saw, on any node, before it began; on one node it never goes back.

use std::collections::BTreeMap;

use crate::simulation::history::{History, Kind, Outcome};

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Begin,
    End,
}

pub fn check(history: &mut History) {
    let states = history.replay();
    let positions = history.positions();
    let mut moments = Vec::new();
    for (number, operation) in history.operations.iter().enumerate() {
        moments.push((operation.invoked, Moment::Begin, number));
        if let Some(at) = operation.answered.filter(|_| operation.outcome == Outcome::Committed) {
            moments.push((at, Moment::End, number));
        }
    }
    moments.sort_unstable();
    // What whoever begins now has to see, as a number of the states: anywhere, and on one node.
    let (mut known, mut known_locally) = (0, BTreeMap::new());
    let mut from = vec![0; history.operations.len()];
    let mut wrong = Vec::new();
    for (_, moment, number) in moments {
        let operation = &history.operations[number];
        let read = matches!(operation.kind, Kind::Read | Kind::LocalRead);
        let locally = known_locally.get(&operation.life).copied().unwrap_or(0);
        match moment {
            Moment::Begin if operation.kind == Kind::LocalRead => from[number] = locally,
            Moment::Begin => from[number] = known,
            Moment::End if read => {
                let sees = |cells: &[Option<i32>]| operation.reads.iter().all(|(cell, value)| cells[*cell] == *value);
                let Some(seen) = (from[number]..states.len()).find(|state| sees(&states[*state].1)) else {
                    let ever = states.iter().position(|(_, cells)| sees(cells));
                    let kind = operation.kind;
                    wrong.push(match ever {
                        Some(state) => format!(
                            "visibility: operation {number} ({kind:?}) saw state {state}, older than {}, which was known",
                            from[number]
                        ),
                        None => format!("visibility: operation {number} ({kind:?}) saw what the log never said"),
                    });
                    continue;
                };
                let on_node: &mut usize = known_locally.entry(operation.life).or_default();
                *on_node = seen.max(*on_node);
                known = known.max(seen);
            }
            Moment::End => {
                if let Some(position) = positions.get(&number) {
                    let before = states.partition_point(|(at, _)| at < position);
                    let sees =
                        |cells: &[Option<i32>]| operation.reads.iter().all(|(cell, value)| cells[*cell] == *value);
                    let transaction = matches!(operation.kind, Kind::RepeatableRead | Kind::Serializable);
                    if transaction && !(from[number]..before).any(|state| sees(&states[state].1)) {
                        wrong.push(format!(
                            "visibility: operation {number} ({:?}) saw none of the states from {}, which was known, on",
                            operation.kind, from[number]
                        ));
                    }
                    known = known.max(states.partition_point(|(at, _)| at <= position) - 1);
                }
            }
        }
    }
    wrong.into_iter().for_each(|wrong| history.violate(wrong));
}
