//! What must hold in every run, a file each. Some are checked whenever something is observed, some at the end.

pub mod acknowledged;
pub mod equal_states;
pub mod log_matching;
pub mod memory;
pub mod one_primary;
pub mod serializability;
pub mod visibility;

use super::history::History;

/// All that can only be said of a whole history.
pub fn check(history: &mut History) {
    acknowledged::check(history);
    serializability::check(history);
    visibility::check(history);
}
