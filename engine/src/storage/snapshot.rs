//! Snapshots: which commits a reader sees, and which versions the garbage collector must keep.

use super::CommitTs;

/// A registered reader's view. Clones share the registration; it ends with the last clone.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(crate) ts: CommitTs,
}

impl Snapshot {
    pub fn ts(&self) -> CommitTs {
        self.ts
    }
}
