//! Which changes of the membership are allowed and which deserve a warning. Functions of what is known, without effects.
//!
//! Invariants:
//! 1. A change after which the voters that are up would be no majority is refused.
//! 2. The primary does not remove itself.

use std::collections::BTreeSet;

use engine::cluster::ClusterChangeError;

use crate::raft::types::{PeerNode, StoredMembership};

/// A member by its name: its id and what the log says of it.
pub fn named<'a>(membership: &'a StoredMembership, name: &str) -> Result<(u64, &'a PeerNode), ClusterChangeError> {
    let found = membership.nodes().find(|(_, node)| node.name == name);
    found.map(|(id, node)| (*id, node)).ok_or_else(|| ClusterChangeError::NoSuchNode(name.to_owned()))
}

/// The highest id that was ever given to a node.
pub fn highest_id(membership: &StoredMembership) -> u64 {
    membership.nodes().map(|(id, node)| node.kept.highest_id.max(*id)).max().unwrap_or(0)
}

/// Whether a node with this id was a member and is not any more. Ids are given in order, so a membership that knows of
/// a later one knows what became of this one.
pub fn was_removed(membership: &StoredMembership, id: u64) -> bool {
    id != 0 && membership.get_node(&id).is_none() && id <= highest_id(membership)
}

/// Why a member may not go by this name: another one has it. It keeps a name that is its own already.
pub fn name_taken(membership: &StoredMembership, id: u64, name: &str) -> Option<String> {
    let own = membership.get_node(&id).map_or("", |node| node.name.as_str());
    let (other, node) = membership.nodes().find(|(other, node)| **other != id && node.name == name)?;
    let address = &node.peer_address;
    (own != name).then(|| {
        format!("the name \"{name}\" belongs to node {other} at {address}: this one, node {id}, is called \"{own}\"")
    })
}

/// Whether so many voters of a set can decide.
pub fn is_majority(up: usize, voters: usize) -> bool {
    up > voters / 2
}

/// Refuses to take the vote from a voter when those that stay and are up could not decide any more.
pub fn may_lose_voter(membership: &StoredMembership, id: u64, up: &BTreeSet<u64>) -> Result<(), ClusterChangeError> {
    let rest: BTreeSet<u64> = membership.voter_ids().filter(|voter| *voter != id).collect();
    let present = rest.intersection(up).count();
    if is_majority(present, rest.len()) {
        return Ok(());
    }
    let down = rest.difference(up).filter_map(|id| Some(membership.get_node(id)?.name.as_str()));
    let down: Vec<&str> = down.collect();
    let name = membership.get_node(&id).map_or("", |node| node.name.as_str());
    let message = match rest.is_empty() {
        true => format!("node \"{name}\" is the last voter"),
        false => format!("without node \"{name}\" the cluster would lose its quorum"),
    };
    Err(ClusterChangeError::refused(
        message,
        format!("Of the {} other voters {present} answer, not: {}.", rest.len(), down.join(", ")),
        "Bring the others back first, or remove those that are gone for good.",
    ))
}

/// Refuses to give a vote to a node that does not answer, or when the voters that are up could not decide any more: a
/// vote that nobody casts only makes the majority larger.
pub fn may_gain_voter(membership: &StoredMembership, id: u64, up: &BTreeSet<u64>) -> Result<(), ClusterChangeError> {
    let voters: BTreeSet<u64> = membership.voter_ids().chain([id]).collect();
    let present = voters.intersection(up).count();
    if up.contains(&id) && is_majority(present, voters.len()) {
        return Ok(());
    }
    let name = membership.get_node(&id).map_or("", |node| node.name.as_str());
    let detail = match up.contains(&id) {
        false => "It does not answer.".to_owned(),
        true => format!("Of the {} voters that there would be {present} answer.", voters.len()),
    };
    Err(ClusterChangeError::refused(
        format!("node \"{name}\" cannot become a voter now"),
        detail,
        "Bring the nodes that are down back first, or remove those that are gone for good.",
    ))
}

/// What an operator should know about a number of voters.
pub fn advice(voters: usize) -> Option<String> {
    match voters {
        0 | 1 => None,
        2 => Some(
            "with 2 voters the loss of either stops writes: a third one, for which a witness is enough, would let them go on"
                .to_owned(),
        ),
        even if even % 2 == 0 => Some(format!(
            "{even} voters survive the loss of {} nodes, as {} would: the additional one buys nothing but slower commits",
            (even - 1) / 2,
            even - 1
        )),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use openraft::Membership;

    use super::*;
    use crate::raft::types::Kept;

    fn cluster(voters: &[u64], learners: &[u64]) -> StoredMembership {
        let node = |id: &u64| (*id, PeerNode { name: format!("n{id}"), ..PeerNode::default() });
        let nodes: BTreeMap<u64, PeerNode> = voters.iter().chain(learners).map(node).collect();
        let voters = voters.iter().copied().collect();
        StoredMembership::new(None, Membership::new(vec![voters], nodes).unwrap())
    }

    #[test]
    fn a_voter_is_kept_when_the_rest_that_is_up_cannot_decide() {
        let up = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<u64>>();
        let refused =
            |voters: &[u64], lost, ids: &[u64]| may_lose_voter(&cluster(voters, &[]), lost, &up(ids)).is_err();
        assert!(!refused(&[1, 2, 3], 3, &[1, 2]));
        assert!(!refused(&[1, 2, 3], 3, &[1, 2, 3]));
        assert!(refused(&[1, 2, 3], 2, &[1, 2]), "1 of 1 and 3, of which 3 is down");
        assert!(refused(&[1], 1, &[1]), "the last one");
        assert!(!refused(&[1, 2], 2, &[1]), "one that is gone may go");
        assert!(refused(&[1, 2, 3, 4, 5], 3, &[1, 2, 3]));
        assert!(!refused(&[1, 2, 3, 4, 5], 5, &[1, 2, 3]));
    }

    #[test]
    fn a_member_does_not_take_the_name_of_another() {
        let members = cluster(&[1, 2], &[3]);
        assert!(name_taken(&members, 1, "n2").is_some_and(|why| why.contains("\"n2\"") && why.contains("\"n1\"")));
        assert_eq!(name_taken(&members, 1, "n1"), None);
        assert_eq!(name_taken(&members, 1, "n4"), None);
        // A fresh node in the place of one that lost its disk has the name together with it for a while.
        let node = || PeerNode { name: "n".to_owned(), ..PeerNode::default() };
        let twice = BTreeMap::from([(1, node()), (2, node())]);
        let twice = StoredMembership::new(None, Membership::new(vec![BTreeSet::from([1])], twice).unwrap());
        assert_eq!(name_taken(&twice, 2, "n"), None);
    }

    #[test]
    fn a_vote_is_given_to_nodes_that_are_up_alone() {
        let up = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<u64>>();
        let refused = |ids: &[u64]| may_gain_voter(&cluster(&[1, 2, 3], &[4]), 4, &up(ids)).is_err();
        assert!(!refused(&[1, 2, 3, 4]));
        assert!(!refused(&[1, 2, 4]), "3 of 4");
        assert!(refused(&[1, 2]), "2 of 4, the cluster would stop");
        assert!(refused(&[1, 2, 3]), "it is down");
        assert!(refused(&[1, 4]));
    }

    #[test]
    fn ids_are_remembered_when_their_nodes_are_gone() {
        let mut members = cluster(&[1, 2], &[5]);
        assert_eq!(highest_id(&members), 5);
        assert!(was_removed(&members, 3) && !was_removed(&members, 5) && !was_removed(&members, 6));
        assert!(!was_removed(&members, 0), "a stranger");
        let kept = Kept { highest_id: 9, ..Kept::default() };
        let first = PeerNode { kept, ..PeerNode::default() };
        let nodes = BTreeMap::from([(1, first), (2, PeerNode::default())]);
        members = StoredMembership::new(None, Membership::new(vec![BTreeSet::from([1, 2])], nodes).unwrap());
        assert_eq!(highest_id(&members), 9);
        assert!(was_removed(&members, 9) && !was_removed(&members, 10));
    }

    #[test]
    fn numbers_of_voters_that_buy_nothing_are_named() {
        let advised: Vec<usize> = (0..8).filter(|voters| advice(*voters).is_some()).collect();
        assert_eq!(advised, [2, 4, 6]);
    }
}
