//! At equal positions the tables of all nodes hold the same: whoever applied, restored or received them.

use crate::simulation::history::History;

pub fn observed(history: &mut History, life: u64, position: u64, state: u64) {
    let known = *history.states.entry(position).or_insert(state);
    if known != state {
        history.violate(format!("equal states: life {life} differs from the others at position {position:#x}"));
    }
}
