//! In a term at most one node is primary, terms that reign come in order, and who does not lead, or leads
//! nobody, soon says so.

use std::time::Duration;

use engine::commit_log::Epoch;

use crate::raft::types::term_of;
use crate::simulation::history::History;
use crate::simulation::world::SECOND;

/// A node that heard no quorum for so long leads nobody.
pub const SILENCE: Duration = Duration::from_secs(2);
/// Longest time for which a node that does not lead may call itself the primary.
const PRETENCE: u64 = 2 * SECOND;

pub fn reigns(history: &mut History, life: u64, epoch: Epoch) {
    let term = term_of(epoch);
    let known = *history.primaries.entry(term).or_insert(life);
    if known != life {
        history.violate(format!("one primary: lives {known} and {life} both reign in term {term}"));
    }
}

/// Told of all lives that call themselves the primary and do not lead, whenever somebody looks.
pub fn pretend(history: &mut History, now: u64, lives: &[u64]) {
    let before = std::mem::take(&mut history.pretenders);
    for life in lives {
        let since = before.get(life).copied().unwrap_or(now);
        history.pretenders.insert(*life, since);
        if now - since > PRETENCE {
            history
                .violate(format!("one primary: life {life} does not lead and has called itself primary since {since}"));
            history.pretenders.insert(*life, now);
        }
    }
}
