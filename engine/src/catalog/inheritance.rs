//! Table inheritance: which tables have columns and constraints from which others, and whose rows a query on a parent reads.
//!
//! Invariants:
//! 1. No table inherits from itself, directly or not.
//! 2. A table that has a parent has each of its columns, under its name and of its type, and each of its CHECK constraints
//!    that are not NO INHERIT.
//! 3. In memory the inheritance lies in the table's definition; records and checkpoints carry it as an object of its own behind
//!    the table, so that tables without any are written as they were before there was inheritance.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Catalog, Oid, Relation, TableDef};
use crate::types::TypeOid;

/// What a table has from others. Empty for most.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inheritance {
    /// In the order in which they were named.
    pub parents: Vec<Oid>,
    /// Columns that a parent has too, by number. All others are the table's own.
    pub columns: BTreeMap<i16, Origin>,
    /// CHECK constraints that a parent has too.
    pub constraints: BTreeMap<Oid, Origin>,
    /// CHECK constraints that no child gets (NO INHERIT).
    pub kept: Vec<Oid>,
}

/// Where a column or constraint is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// How many parents have it.
    pub parents: u16,
    /// It was also defined for the table itself: it stays when no parent has it any more.
    pub local: bool,
}

impl Origin {
    pub const OWN: Origin = Origin { parents: 0, local: true };
    /// From one parent alone.
    pub const INHERITED: Origin = Origin { parents: 1, local: false };

    pub fn is_inherited(self) -> bool {
        self.parents > 0
    }

    /// With one more parent.
    pub fn with_parent(self) -> Origin {
        Origin { parents: self.parents.saturating_add(1), ..self }
    }

    /// With one parent less; what none has any more is the table's own.
    pub fn without_parent(self) -> Origin {
        let parents = self.parents.saturating_sub(1);
        Origin { parents, local: self.local || parents == 0 }
    }
}

/// A table's inheritance as records and checkpoints carry it, behind the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Heritage {
    pub table: Oid,
    pub inheritance: Inheritance,
}

impl Inheritance {
    pub fn is_empty(&self) -> bool {
        self.parents.is_empty() && self.columns.is_empty() && self.constraints.is_empty() && self.kept.is_empty()
    }

    pub fn set_column(&mut self, attnum: i16, origin: Origin) {
        match origin {
            Origin::OWN => self.columns.remove(&attnum),
            origin => self.columns.insert(attnum, origin),
        };
    }

    pub fn set_constraint(&mut self, oid: Oid, origin: Origin) {
        match origin {
            Origin::OWN => self.constraints.remove(&oid),
            origin => self.constraints.insert(oid, origin),
        };
    }
}

impl TableDef {
    pub fn column_origin(&self, attnum: i16) -> Origin {
        self.inheritance.columns.get(&attnum).copied().unwrap_or(Origin::OWN)
    }

    pub fn constraint_origin(&self, oid: Oid) -> Origin {
        self.inheritance.constraints.get(&oid).copied().unwrap_or(Origin::OWN)
    }

    /// Whether children do not get a CHECK constraint.
    pub fn keeps_constraint(&self, oid: Oid) -> bool {
        self.inheritance.kept.contains(&oid)
    }

    /// The inheritance as an object of its own; `None`: there is none.
    pub fn heritage(&self) -> Option<Heritage> {
        let inheritance = (!self.inheritance.is_empty()).then(|| self.inheritance.clone());
        inheritance.map(|inheritance| Heritage { table: self.oid, inheritance })
    }
}

impl Catalog {
    /// Tables that inherit from a table directly, by their OIDs.
    pub fn children(&self, table: Oid) -> &[Oid] {
        self.children.get(&table).map_or(&[], Vec::as_slice)
    }

    /// A table and all that inherit from it, directly or not, each once: in the order in which PostgreSQL reads them.
    pub fn family(&self, table: Oid) -> Vec<Arc<TableDef>> {
        self.family_counted(table).into_iter().map(|(member, _)| member).collect()
    }

    /// [`Self::family`], each with how many of its parents are in it.
    pub fn family_counted(&self, table: Oid) -> Vec<(Arc<TableDef>, u16)> {
        let mut found: Vec<(Oid, u16)> = vec![(table, 0)];
        let mut next = 0;
        while let Some((parent, _)) = found.get(next).copied() {
            next += 1;
            for child in self.children(parent) {
                match found.iter_mut().find(|(oid, _)| oid == child) {
                    Some((_, parents)) => *parents += 1,
                    None => found.push((*child, 1)),
                }
            }
        }
        found.into_iter().filter_map(|(oid, parents)| Some((self.tables.get(&oid)?.clone(), parents))).collect()
    }

    /// Whether rows of the type `child` are rows of `parent` with more fields: the one's table inherits from the other's.
    pub fn row_inherits(&self, child: TypeOid, parent: TypeOid) -> bool {
        if self.children.is_empty() || !child.is_row() || !parent.is_row() {
            return false;
        }
        let table = |ty| match self.relation_of_row(ty) {
            Some(Relation::Table(table)) => Some(table.oid),
            _ => None,
        };
        match (table(child), table(parent)) {
            (Some(child), Some(parent)) => {
                child != parent && self.family(parent).iter().any(|member| member.oid == child)
            }
            _ => false,
        }
    }

    /// Notes whose child a table is, after its definition was put.
    pub(super) fn note_parents(&mut self, table: &TableDef) {
        for parent in &table.inheritance.parents {
            let children = self.children.entry(*parent).or_default();
            if let Err(at) = children.binary_search(&table.oid) {
                children.insert(at, table.oid);
            }
        }
    }

    pub(super) fn forget_parents(&mut self, table: &TableDef) {
        for parent in &table.inheritance.parents {
            if let Some(children) = self.children.get_mut(parent) {
                children.retain(|child| *child != table.oid);
                if children.is_empty() {
                    self.children.remove(parent);
                }
            }
        }
    }

    /// The heritage of a table that was put before.
    pub(super) fn put_heritage(&mut self, heritage: &Heritage) {
        let Some(table) = self.tables.get(&heritage.table).cloned() else { return };
        self.forget_parents(&table);
        let table = TableDef { inheritance: heritage.inheritance.clone(), ..(*table).clone() };
        self.note_parents(&table);
        self.tables.insert(table.oid, Arc::new(table));
    }
}
