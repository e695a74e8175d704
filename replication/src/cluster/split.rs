//! Two memberships of one cluster at a time: an operator forced a node to go on without others that live. Neither side mixes
//! with the other; both say so, in the log and as a problem, for as long as they meet.
//!
//! Whoever was removed in order ends within moments of hearing it, and is no such case.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::error;

use crate::net::client::{Caller, Removal};
use crate::raft::types::StoredMembership;

/// How long a meeting is told of.
const TOLD: Duration = Duration::from_secs(60);
/// A node that was removed in order is gone after this time.
const ENDING: Duration = Duration::from_secs(6);

#[derive(Default)]
pub struct Split {
    /// Nodes that were given up and speak to this one, and when they did last.
    given_up: Mutex<BTreeMap<u64, Instant>>,
    /// The log says that others refuse this node.
    told: Mutex<bool>,
}

impl Split {
    /// A node that is no member any more spoke to this one and was refused.
    pub fn refused(&self, id: u64, membership: &StoredMembership) {
        if membership.nodes().all(|(_, node)| node.kept.forced.is_empty()) {
            return;
        }
        let before = self.given_up.lock().insert(id, Instant::now());
        if before.is_none_or(|at| at.elapsed() > TOLD) {
            error!(id, "{}", of_given_up(id));
        }
    }

    /// To be called now and then.
    pub fn look(&self, caller: &Caller) {
        let mut removed = caller.removed.lock();
        if removed.as_ref().is_some_and(|removal| removal.last.elapsed() > TOLD) {
            *removed = None;
        }
        let split = removed.as_ref().filter(|removal| goes_on(removal));
        let told = std::mem::replace(&mut *self.told.lock(), split.is_some());
        if let (Some(removal), false) = (split, told) {
            error!("{}", of_refused(removal));
        }
    }

    /// What is to be told of it now.
    pub fn why(&self, caller: &Caller) -> Option<String> {
        let given_up = self.given_up.lock().iter().find(|(_, at)| at.elapsed() <= TOLD).map(|(id, _)| of_given_up(*id));
        given_up.or_else(|| caller.removed.lock().as_ref().filter(|removal| goes_on(removal)).map(of_refused))
    }
}

fn goes_on(removal: &Removal) -> bool {
    removal.last.elapsed() <= TOLD && removal.last - removal.first > ENDING
}

fn of_given_up(id: u64) -> String {
    format!(
        "node {id} was given up and spoke to this node, which refused it: if it has a quorum there are two primaries"
    )
}

fn of_refused(removal: &Removal) -> String {
    format!("{}, says a member that refuses this node, but a primary goes on here: there may be two", removal.reason)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use openraft::Membership;

    use super::*;
    use crate::net::message::Patience;
    use crate::net::throttle::Throttle;
    use crate::raft::types::{Forced, Kept, PeerNode};

    fn caller() -> Caller {
        let none = Duration::ZERO;
        Caller {
            cluster: "c".to_owned(),
            id: 2,
            patience: Patience { connect: none, answer: none, progress: none },
            throttle: Arc::new(Throttle::new(0)),
            refusals: Mutex::default(),
            removed: Mutex::default(),
        }
    }

    #[test]
    fn those_who_were_given_up_are_told_of_where_a_node_was_forced() {
        let membership = |forced: Vec<Forced>| {
            let node = PeerNode { kept: Kept { highest_id: 3, forced }, ..PeerNode::default() };
            let nodes = BTreeMap::from([(1, node)]);
            StoredMembership::new(None, Membership::new(vec![BTreeSet::from([1])], nodes).unwrap())
        };
        let (caller, split) = (caller(), Split::default());
        split.refused(2, &membership(Vec::new()));
        assert_eq!(split.why(&caller), None, "removed in order");
        let forced = Forced { term: 5, index: 9, node: "a".to_owned(), given_up: vec!["b".to_owned()], at: 0 };
        split.refused(2, &membership(vec![forced]));
        assert!(split.why(&caller).unwrap().starts_with("node 2 was given up"));
    }

    #[test]
    fn a_node_that_is_refused_and_goes_on_says_so() {
        let (caller, split) = (caller(), Split::default());
        caller.note_removed("node 2 was removed".to_owned());
        split.look(&caller);
        assert_eq!(split.why(&caller), None, "it is about to end");
        let now = Instant::now();
        let last = now + ENDING * 2;
        *caller.removed.lock() = Some(Removal { reason: "node 2 was removed".to_owned(), first: now, last });
        split.look(&caller);
        assert!(split.why(&caller).unwrap().contains("there may be two") && *split.told.lock());
    }
}
