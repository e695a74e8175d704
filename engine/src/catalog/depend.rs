//! What else goes, or forbids to go, when an object goes: the dependencies that DROP follows.
//!
//! Views depend on the relations that they read, foreign keys on the referenced table, sequences on the column that owns them,
//! defaults on the sequences that they call. Everything else belongs to its table (invariant 3 of the catalog).

use std::sync::Arc;

use super::{Catalog, ConstraintDef, Oid, RoutineDef, SequenceDef, TableDef, ViewDef};

/// Something that refers to an object and would be left without it.
#[derive(Debug, Clone)]
pub enum Dependent {
    View(Arc<ViewDef>),
    /// A foreign key of another table.
    ForeignKey(Arc<TableDef>, Arc<ConstraintDef>),
    /// The DEFAULT of a column.
    Default(Arc<TableDef>, i16),
    Table(Arc<TableDef>),
    Sequence(Arc<SequenceDef>),
    Routine(Arc<RoutineDef>),
}

impl Catalog {
    /// Views that read a relation.
    pub fn views_on(&self, relation: Oid) -> impl Iterator<Item = &Arc<ViewDef>> {
        self.all_views().filter(move |v| v.depends_on.contains(&relation))
    }

    /// Views, then the queries of materialized ones.
    pub fn all_views(&self) -> impl Iterator<Item = &Arc<ViewDef>> {
        self.views.values().chain(self.tables.values().filter_map(|t| t.materialized.as_ref()))
    }

    /// Sequences that a table's columns own, or one column of it.
    pub fn owned_sequences(&self, table: Oid, attnum: Option<i16>) -> impl Iterator<Item = &Arc<SequenceDef>> {
        self.sequences
            .values()
            .filter(move |s| s.owned_by.is_some_and(|(t, a)| t == table && attnum.is_none_or(|n| n == a)))
    }

    /// Columns whose DEFAULT calls a sequence.
    pub fn defaults_on(&self, sequence: Oid) -> impl Iterator<Item = (&Arc<TableDef>, i16)> {
        let constant = format!("'{}'::regclass", sequence.0);
        self.tables.values().flat_map(move |table| {
            let constant = constant.clone();
            table
                .live_columns()
                .filter(move |c| c.default.as_ref().is_some_and(|d| d.contains(&constant)))
                .map(move |c| (table, c.attnum))
        })
    }

    /// What DROP … RESTRICT of a relation would refuse for, and CASCADE would drop; direct dependents only.
    pub fn dependents(&self, relation: Oid) -> Vec<Dependent> {
        let mut found: Vec<Dependent> =
            self.defaults_on(relation).map(|(table, attnum)| Dependent::Default(table.clone(), attnum)).collect();
        found.extend(
            self.foreign_keys_to(relation)
                .filter(|(table, ..)| table.oid != relation)
                .map(|(table, key, _)| Dependent::ForeignKey(table.clone(), key.clone())),
        );
        found.extend(self.views_on(relation).cloned().map(Dependent::View));
        found.extend(self.routines_on(relation).cloned().map(Dependent::Routine));
        found
    }

    /// What lies in a schema: tables, views, and sequences that no column owns.
    pub fn schema_contents(&self, schema: Oid) -> Vec<Dependent> {
        let tables = self.tables.values().filter(|t| t.schema == schema);
        let views = self.views.values().filter(|v| v.schema == schema);
        let sequences = self.sequences.values().filter(|s| s.schema == schema && s.owned_by.is_none());
        tables
            .cloned()
            .map(Dependent::Table)
            .chain(sequences.cloned().map(Dependent::Sequence))
            .chain(views.cloned().map(Dependent::View))
            .chain(self.routines.values().filter(|r| r.schema == schema).cloned().map(Dependent::Routine))
            .collect()
    }

    /// Objects that a role owns, as (kind, name): DROP ROLE refuses while there are any.
    pub fn owned_by_role(&self, role: Oid) -> Vec<(&'static str, &str)> {
        let mut owned: Vec<(&'static str, &str)> = Vec::new();
        if self.database.owner == role {
            owned.push(("database", &self.database.name));
        }
        let schemas = self.schemas.values().filter(|o| o.owner == role);
        owned.extend(schemas.map(|o| ("schema", o.name.as_str())));
        let tables = self.tables.values().filter(|o| o.owner == role);
        owned.extend(tables.map(|o| ("table", o.name.as_str())));
        let views = self.views.values().filter(|o| o.owner == role);
        owned.extend(views.map(|o| ("view", o.name.as_str())));
        let sequences = self.sequences.values().filter(|o| o.owner == role);
        owned.extend(sequences.map(|o| ("sequence", o.name.as_str())));
        owned.extend(self.routines.values().filter(|o| o.owner == role).map(|o| ("function", o.name.as_str())));
        let strategies = self.strategies.values().filter(|o| o.owner == role);
        owned.extend(strategies.map(|o| ("replication strategy", o.name.as_str())));
        owned
    }
}
