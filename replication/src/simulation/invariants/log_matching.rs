//! Every node applies the same record at the same position, each once, in the order of the log.

use crate::simulation::history::History;

pub fn applied(history: &mut History, life: u64, position: u64, record: u64) {
    let last = history.progress.insert(life, position).unwrap_or(0);
    if position <= last {
        history.violate(format!("log matching: life {life} applied position {position:#x} after {last:#x}"));
    }
    let operation = history.appended.get(&record).copied();
    let left_out = history.log.range(..position).next_back().map(|(before, _)| *before).filter(|before| *before > last);
    if let Some(before) = left_out {
        history.violate(format!(
            "log matching: life {life} went from position {last:#x} to {position:#x} and left {before:#x} out"
        ));
    }
    match history.log.get(&position) {
        None => {
            if let Some((other, at)) = history.progress.iter().find(|(_, at)| **at > position) {
                let (other, at) = (*other, *at);
                history.violate(format!(
                    "log matching: life {life} applied position {position:#x}, which life {other}, at {at:#x}, left out"
                ));
            }
            history.log.insert(position, (record, operation));
        }
        Some((known, of)) if *known != record => {
            let of = *of;
            history.violate(format!(
                "log matching: life {life} applied a record of operation {operation:?} at position {position:#x}, where others have one of {of:?}"
            ));
        }
        Some(_) => {}
    }
}

/// A node begins with a checkpoint.
pub fn restored(history: &mut History, life: u64, position: u64) {
    history.progress.insert(life, position);
}
