//! In a term at most one node is primary, and terms that reign come in order.

use engine::commit_log::Epoch;

use crate::raft::types::term_of;
use crate::simulation::history::History;

pub fn reigns(history: &mut History, life: u64, epoch: Epoch) {
    let term = term_of(epoch);
    let known = *history.primaries.entry(term).or_insert(life);
    if known != life {
        history.violate(format!("one primary: lives {known} and {life} both reign in term {term}"));
    }
}
