//! Advisory locks of a session: they outlive its transactions and are counted, so that a lock taken twice is given back
//! twice (PostgreSQL manual, 13.3.5).
//!
//! Invariants:
//! 1. A lock is in the lock table, held by the session, as long as its count here is not zero.
//! 2. A session that lost its locks with the node's role does nothing more: it is ended before its next statement.

use std::collections::HashMap;
use std::sync::Arc;

use super::Session;
use super::registry::SessionShared;
use crate::engine::Engine;
use crate::error::{Error, NoticeLevel, Result, SqlState};
use crate::txn::{Advisory, SessionReign, Wait};

/// What a session holds. Dropping it lets all go.
pub struct AdvisoryLocks {
    engine: Arc<Engine>,
    process: i32,
    /// By key and whether the lock is shared.
    counts: HashMap<(Advisory, bool), u32>,
    reign: Option<SessionReign>,
}

impl AdvisoryLocks {
    pub fn new(engine: Arc<Engine>, shared: &SessionShared) -> AdvisoryLocks {
        AdvisoryLocks { engine, process: shared.key.process, counts: HashMap::new(), reign: None }
    }

    pub fn release_all(&mut self) {
        for ((key, shared), _) in self.counts.drain() {
            self.engine.transactions().unlock_advisory(self.process, key, shared);
        }
        self.reign = None;
    }

    /// Invariant 2.
    fn are_lost(&self) -> bool {
        self.reign.is_some_and(|reign| !self.engine.transactions().reigns_on(reign))
    }
}

impl Drop for AdvisoryLocks {
    fn drop(&mut self) {
        self.release_all();
    }
}

impl Session {
    /// Takes a lock for the session, once more if it has it. `false`: not free and `wait` is [`Wait::SkipLocked`].
    pub(crate) async fn lock_advisory(&mut self, key: Advisory, shared: bool, wait: Wait) -> Result<bool> {
        if let Some(count) = self.advisory.counts.get_mut(&(key, shared)) {
            *count += 1;
            return Ok(true);
        }
        let Some(reign) = self.transaction()?.lock_advisory_for_session(key, shared, wait).await? else {
            return Ok(false);
        };
        self.advisory.counts.insert((key, shared), 1);
        self.advisory.reign = Some(reign);
        Ok(true)
    }

    /// Gives a lock back, as often as it was taken; `false` and a warning if the session does not have it.
    pub(crate) fn unlock_advisory(&mut self, key: Advisory, shared: bool) -> bool {
        let Some(count) = self.advisory.counts.get_mut(&(key, shared)) else {
            let mode = if shared { "ShareLock" } else { "ExclusiveLock" };
            let message = format!("you don't own a lock of type {mode}");
            self.notice(NoticeLevel::Warning, Error::new(SqlState::Warning, message));
            return false;
        };
        *count -= 1;
        if *count == 0 {
            self.advisory.counts.remove(&(key, shared));
            self.engine.transactions().unlock_advisory(self.shared.key.process, key, shared);
        }
        true
    }

    /// Ends a session whose locks are no longer its own: whoever relies on them must not go on.
    pub(super) fn check_advisory(&mut self) -> Result<()> {
        if !self.advisory.are_lost() {
            return Ok(());
        }
        self.shared.terminate();
        Err(Error::new(SqlState::AdminShutdown, "terminating connection because its advisory locks were lost")
            .detail("The node is no longer the primary that it was when the locks were taken."))
    }
}
