//! A node comes back with what it said that it stored, and as who it was, unless its disk was damaged from outside.

use crate::simulation::history::History;

/// What is to be expected of the node in a place.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    id: Option<u64>,
    /// Index of the last entry that it said to have on stable storage.
    stored: Option<u64>,
    /// Its disk was damaged or lost.
    pub damaged: bool,
}

impl Memory {
    /// The process ends.
    pub fn ends(&mut self, id: u64, stored: Option<u64>) {
        (self.id, self.stored) = (Some(id), stored);
    }

    /// A process takes part again.
    pub fn returns(&mut self, history: &mut History, place: usize, id: u64, last: Option<u64>) {
        let Some(known) = self.id else { return };
        if known == id && last < self.stored {
            history.violate(format!(
                "memory: node {id} in place {place} had stored entry {:?} and comes back with {last:?}",
                self.stored
            ));
        } else if known != id && !self.damaged {
            history.violate(format!("memory: node {known} in place {place} took its own log for damaged"));
        }
        if known != id {
            self.damaged = false;
        }
        self.ends(id, last);
    }
}
