//! Replication strategies: which nodes are to carry a table. Every node carries every table until placement over groups is
//! built, so a strategy can be used when that is what it asks for.
//!
//! Invariants:
//! 1. A placement names a table and a strategy that exist, and goes with the table.
//! 2. Where the table lies follows from its strategy; a table without one is on every node.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Catalog, Oid, TableDef};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrategyDef {
    pub oid: Oid,
    pub name: String,
    pub owner: Oid,
    /// Names of nodes, each once, as they were written.
    pub nodes: Vec<String>,
    pub policy: Policy,
    /// On how many of the nodes each row is; `None`: on all of them.
    pub factor: Option<u32>,
    pub comment: Option<String>,
}

/// How rows are spread over the nodes of a strategy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Policy {
    /// The whole table on some of the nodes.
    Random,
    /// By hash of the key.
    Row,
    /// By a column that names a region.
    Region,
}

impl Policy {
    pub fn text(self) -> &'static str {
        match self {
            Policy::Random => "RANDOM",
            Policy::Row => "ROW",
            Policy::Region => "REGION",
        }
    }
}

/// A table's strategy; `None` takes it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    pub table: Oid,
    pub strategy: Option<Oid>,
}

/// A member of the cluster as strategies see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub voter: bool,
}

/// What a strategy comes to in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Every node: what every table has.
    Everywhere,
    /// It names nodes that there are not.
    Unknown(Vec<String>),
    /// These voters would not carry the table.
    Without(Vec<String>),
    /// Each row would be on fewer nodes than are named.
    Fewer { factor: u32, nodes: usize },
    /// Rows would be split over the nodes.
    Split(Policy),
}

impl StrategyDef {
    /// `members`: those that can carry tables.
    pub fn reach(&self, members: &[Member]) -> Reach {
        let named: BTreeSet<&str> = self.nodes.iter().map(String::as_str).collect();
        let is_member = |name: &&String| members.iter().any(|member| member.name == **name);
        let unknown: Vec<String> = self.nodes.iter().filter(|name| !is_member(name)).cloned().collect();
        if !unknown.is_empty() {
            return Reach::Unknown(unknown);
        }
        if self.policy != Policy::Random {
            return Reach::Split(self.policy);
        }
        if let Some(factor) = self.factor.filter(|factor| (*factor as usize) < self.nodes.len()) {
            return Reach::Fewer { factor, nodes: self.nodes.len() };
        }
        let voters = members.iter().filter(|member| member.voter);
        let without: Vec<String> =
            voters.filter(|voter| !named.contains(voter.name.as_str())).map(|voter| voter.name.clone()).collect();
        if without.is_empty() { Reach::Everywhere } else { Reach::Without(without) }
    }
}

impl Catalog {
    pub fn strategy(&self, name: &str) -> Option<&Arc<StrategyDef>> {
        self.strategies.values().find(|strategy| strategy.name == name)
    }

    /// The strategy of a table; `None`: it has none of its own.
    pub fn strategy_of(&self, table: Oid) -> Option<&Arc<StrategyDef>> {
        self.strategies.get(self.placements.get(&table)?)
    }

    /// Tables that use a strategy.
    pub fn placed_by(&self, strategy: Oid) -> impl Iterator<Item = &Arc<TableDef>> {
        self.placements.iter().filter(move |(_, of)| **of == strategy).filter_map(|(table, _)| self.tables.get(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(names: &[(&str, bool)]) -> Vec<Member> {
        names.iter().map(|(name, voter)| Member { name: (*name).to_owned(), voter: *voter }).collect()
    }

    fn strategy(nodes: &[&str], policy: Policy, factor: Option<u32>) -> StrategyDef {
        let nodes = nodes.iter().map(|name| (*name).to_owned()).collect();
        StrategyDef { oid: Oid(1), name: "s".into(), owner: Oid(10), nodes, policy, factor, comment: None }
    }

    #[test]
    fn all_voters_are_everywhere_and_less_is_not() {
        let cluster = members(&[("a", true), ("b", true), ("c", true), ("far", false)]);
        let reach = |nodes: &[&str], policy, factor| strategy(nodes, policy, factor).reach(&cluster);
        assert_eq!(reach(&["c", "b", "a"], Policy::Random, None), Reach::Everywhere);
        assert_eq!(reach(&["a", "b", "c", "far"], Policy::Random, Some(4)), Reach::Everywhere);
        assert_eq!(reach(&["a", "far"], Policy::Random, None), Reach::Without(vec!["b".into(), "c".into()]));
        assert_eq!(reach(&["a", "b", "c"], Policy::Random, Some(2)), Reach::Fewer { factor: 2, nodes: 3 });
        assert_eq!(reach(&["a", "b", "c"], Policy::Row, None), Reach::Split(Policy::Row));
        assert_eq!(reach(&["a", "x", "c", "y"], Policy::Region, None), Reach::Unknown(vec!["x".into(), "y".into()]));
    }
}
