//! What else goes, or forbids to go, when an object goes: the dependencies that DROP follows.
//!
//! Views depend on the relations that they read, foreign keys on the referenced table, sequences on the column that owns them,
//! defaults on the sequences that they call. Everything else belongs to its table (invariant 3 of the catalog).

use std::sync::Arc;

use super::{
    Attribute, Catalog, CollationDef, ConstraintDef, ConstraintKind, DomainDef, IndexDef, Oid, RangeDef, RoutineDef,
    RowPolicy, SequenceDef, StatisticsDef, TableDef, TypeDef, ViewDef,
};
use crate::system::deparse::quote_ident;
use crate::types::TypeOid;

/// Something that refers to an object and would be left without it.
#[derive(Debug, Clone)]
pub enum Dependent {
    View(Arc<ViewDef>),
    /// A foreign key of another table, or a condition that names a type.
    ForeignKey(Arc<TableDef>, Arc<ConstraintDef>),
    /// The DEFAULT of a column.
    Default(Arc<TableDef>, i16),
    Table(Arc<TableDef>),
    Sequence(Arc<SequenceDef>),
    Routine(Arc<RoutineDef>),
    /// A column of a type that goes.
    Column(Arc<TableDef>, i16),
    Type(Arc<TypeDef>),
    /// A field of a composite type.
    Attribute(Arc<TypeDef>, usize),
    Collation(Arc<CollationDef>),
    /// An index under a collation that goes.
    Index(Arc<TableDef>, Arc<IndexDef>),
    RowPolicy(Arc<RowPolicy>),
    Statistics(Arc<StatisticsDef>),
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
        found.extend(self.policies_on(relation).cloned().map(Dependent::RowPolicy));
        if let Some(row_type) = self.relation(relation).and_then(|r| r.row_type()) {
            let other = |d: &Dependent| {
                !matches!(d, Dependent::View(_)) && !matches!(d, Dependent::Column(t, _) if t.oid == relation)
            };
            found.extend(self.type_dependents(TypeOid(row_type.0)).into_iter().filter(other));
        }
        found
    }

    /// What lies in a schema: tables, views, and sequences that no column owns.
    pub fn schema_contents(&self, schema: Oid) -> Vec<Dependent> {
        let tables = self.tables.values().filter(|t| t.schema == schema);
        let views = self.views.values().filter(|v| v.schema == schema);
        let sequences = self.sequences.values().filter(|s| s.schema == schema && s.owned_by.is_none());
        // A multirange type goes with its range.
        let alone = |t: &&Arc<TypeDef>| match TypeOid(t.oid.0).user_range() {
            Some(range) => self.types.get(&Oid(range.0)).is_none_or(|range| range.schema != schema),
            None => true,
        };
        let types = self.types.values().filter(|t| t.schema == schema).filter(alone);
        types
            .cloned()
            .map(Dependent::Type)
            .chain(tables.cloned().map(Dependent::Table))
            .chain(sequences.cloned().map(Dependent::Sequence))
            .chain(views.cloned().map(Dependent::View))
            .chain(self.routines.values().filter(|r| r.schema == schema).cloned().map(Dependent::Routine))
            .chain(self.collations.values().filter(|c| c.schema == schema).cloned().map(Dependent::Collation))
            .chain(self.statistics.values().filter(|s| s.schema == schema).cloned().map(Dependent::Statistics))
            .collect()
    }

    /// Objects that a role owns, each with its OID, as messages name them: DROP ROLE refuses while there are any.
    pub fn owned_by_role(&self, role: Oid) -> Vec<(Oid, String)> {
        let relation = |schema: Oid, kind: &str, name: &str| match schema {
            Oid::PUBLIC => format!("{kind} {name}"),
            schema => format!("{kind} {}.{name}", self.schema_name(schema)),
        };
        let mut owned: Vec<(Oid, String)> = Vec::new();
        let databases = self.databases.values().filter(|o| o.owner == role);
        owned.extend(databases.map(|o| (o.oid, format!("database {}", o.name))));
        let schemas = self.schemas.values().filter(|o| o.owner == role);
        owned.extend(schemas.map(|o| (o.oid, format!("schema {}", o.name))));
        let tables = self.tables.values().filter(|o| o.owner == role);
        owned.extend(tables.map(|o| (o.oid, relation(o.schema, "table", &o.name))));
        let views = self.views.values().filter(|o| o.owner == role);
        owned.extend(views.map(|o| (o.oid, relation(o.schema, "view", &o.name))));
        let sequences = self.sequences.values().filter(|o| o.owner == role);
        owned.extend(sequences.map(|o| (o.oid, relation(o.schema, "sequence", &o.name))));
        let routines = self.routines.values().filter(|o| o.owner == role);
        owned.extend(routines.map(|o| (o.oid, relation(o.schema, "function", &o.name))));
        let types = self.types.values().filter(|o| o.owner == role);
        owned.extend(types.map(|o| (o.oid, relation(o.schema, "type", &o.name))));
        let collations = self.collations.values().filter(|o| o.owner == role);
        owned.extend(collations.map(|o| (o.oid, relation(o.schema, "collation", &o.name))));
        let statistics = self.statistics.values().filter(|o| o.owner == role);
        owned.extend(statistics.map(|o| (o.oid, relation(o.schema, "statistics object", &o.name))));
        let strategies = self.strategies.values().filter(|o| o.owner == role);
        owned.extend(strategies.map(|o| (o.oid, format!("replication strategy {}", o.name))));
        owned
    }
}

/// How stored expressions write a type that a user made: they name it by its number, so that it may be renamed.
pub fn stored_type_name(ty: TypeOid) -> Option<String> {
    let element = ty.user_element();
    let scalar = element.unwrap_or(ty);
    scalar.user_kind()?;
    let array = if element.is_some() { "[]" } else { "" };
    Some(format!("pg_catalog.\"#{}\"{array}", scalar.0))
}

/// How stored expressions write a collation.
pub fn stored_collation_name(oid: u32) -> String {
    match crate::types::collation::builtin(oid) {
        Some(builtin) => format!("pg_catalog.{}", crate::system::deparse::quote_ident(builtin.name)),
        None => format!("pg_catalog.\"#{oid}\""),
    }
}

impl Catalog {
    /// Views that name a type, or have a column of it.
    pub fn types_views(&self, ty: TypeOid) -> Vec<&Arc<ViewDef>> {
        let number = format!("\"~{}\"", ty.0);
        let of_type = |t: TypeOid| t == ty || t.element() == Some(ty);
        // A call of the type's constructor has its name.
        let called =
            self.types.get(&Oid(ty.0)).and_then(|t| t.constructor()).map(|c| format!("{}(", quote_ident(&c.name)));
        let calls = |v: &ViewDef| called.as_ref().is_some_and(|called| v.query.contains(called));
        let concerned =
            |v: &&Arc<ViewDef>| v.columns.iter().any(|(_, t)| of_type(t.oid)) || v.query.contains(&number) || calls(v);
        self.views.values().filter(concerned).collect()
    }

    /// Policies whose texts have a number of a type or a collation.
    fn policies_with<'a>(&'a self, number: &'a str) -> impl Iterator<Item = Arc<RowPolicy>> + 'a {
        self.policies.values().filter(move |p| p.expressions().any(|e| e.query.contains(number))).cloned()
    }

    /// Statistics whose expressions have a number of a type or a collation.
    fn statistics_with<'a>(&'a self, number: &'a str) -> impl Iterator<Item = Arc<StatisticsDef>> + 'a {
        self.statistics.values().filter(move |s| s.expressions.iter().any(|e| e.text.contains(number))).cloned()
    }

    /// What uses a collation: columns, conditions and defaults of tables, types, views, indexes.
    pub fn collation_dependents(&self, collation: Oid) -> Vec<Dependent> {
        let (number, viewed) = (format!("\"#{}\"", collation.0), format!("\"~{}\"", collation.0));
        let mut found = Vec::new();
        for table in self.tables.values() {
            for column in table.live_columns() {
                if column.collation == Some(collation) {
                    found.push(Dependent::Column(table.clone(), column.attnum));
                } else if column.default.as_ref().is_some_and(|d| d.contains(&number)) {
                    found.push(match column.generated {
                        true => Dependent::Column(table.clone(), column.attnum),
                        false => Dependent::Default(table.clone(), column.attnum),
                    });
                }
            }
            for constraint in &table.constraints {
                if let ConstraintKind::Check { expression, .. } = &constraint.kind
                    && expression.contains(&number)
                {
                    found.push(Dependent::ForeignKey(table.clone(), constraint.clone()));
                }
            }
        }
        let mut types: Vec<&Arc<TypeDef>> = self.types.values().collect();
        types.sort_by_key(|def| TypeOid(def.oid.0).user_number());
        for def in types {
            let uses = |d: &DomainDef| {
                d.collation == Some(collation)
                    || d.default.as_ref().is_some_and(|d| d.contains(&number))
                    || d.checks.iter().any(|c| c.expression.contains(&number))
            };
            if def.domain().is_some_and(uses) {
                found.push(Dependent::Type(def.clone()));
            }
            let of = |a: &Attribute| a.collation == Some(collation);
            if let Some(at) = def.attributes().unwrap_or_default().iter().position(of) {
                found.push(Dependent::Attribute(def.clone(), at));
            }
        }
        let concerned = |v: &&Arc<ViewDef>| v.query.contains(&viewed);
        found.extend(self.all_views().filter(concerned).cloned().map(Dependent::View));
        found.extend(self.policies_with(&viewed).map(Dependent::RowPolicy));
        found.extend(self.statistics_with(&number).map(Dependent::Statistics));
        for table in self.tables.values() {
            for index in &table.indexes {
                let named = |text: &str| text.contains(&number);
                let uses = index
                    .columns
                    .iter()
                    .any(|c| c.collation == Some(collation) || c.expression.as_ref().is_some_and(|e| named(&e.text)));
                if uses || index.predicate.as_ref().is_some_and(|(text, _)| named(text)) {
                    found.push(Dependent::Index(table.clone(), index.clone()));
                }
            }
        }
        found
    }

    /// What uses a type: columns, defaults and conditions of tables, routines, views, other types.
    pub fn type_dependents(&self, ty: TypeOid) -> Vec<Dependent> {
        let number = format!("\"#{}\"", ty.0);
        let of_type = |t: TypeOid| t == ty || t.element() == Some(ty);
        let mut found = Vec::new();
        for table in self.tables.values() {
            for column in table.live_columns() {
                if column.domain.map_or(of_type(column.ty.oid), |domain| of_type(TypeOid(domain.0))) {
                    found.push(Dependent::Column(table.clone(), column.attnum));
                } else if column.default.as_ref().is_some_and(|d| d.contains(&number)) {
                    found.push(match column.generated {
                        true => Dependent::Column(table.clone(), column.attnum),
                        false => Dependent::Default(table.clone(), column.attnum),
                    });
                }
            }
            for constraint in &table.constraints {
                if let ConstraintKind::Check { expression, columns } = &constraint.kind
                    && expression.contains(&number)
                    && !columns.iter().any(|a| table.attribute(*a).is_some_and(|c| of_type(c.ty.oid)))
                {
                    found.push(Dependent::ForeignKey(table.clone(), constraint.clone()));
                }
            }
        }
        for def in self.types.values() {
            let over = |d: &DomainDef| d.over.map_or(of_type(d.base.oid), |over| of_type(TypeOid(over.0)));
            if def.domain().is_some_and(over) {
                found.push(Dependent::Type(def.clone()));
            }
            let bounded = |r: &RangeDef| r.domain.map_or(of_type(r.subtype), |domain| domain.0 == ty.0);
            if def.range().is_some_and(bounded) {
                found.push(Dependent::Type(def.clone()));
            }
            let uses = |a: &Attribute| of_type(a.domain.map_or(a.ty.oid, |domain| TypeOid(domain.0)));
            if let Some(at) = def.attributes().unwrap_or_default().iter().position(uses) {
                found.push(Dependent::Attribute(def.clone(), at));
            }
        }
        let declares = |r: &&Arc<RoutineDef>| {
            r.args.iter().any(|a| of_type(a.ty.oid))
                || of_type(r.ret.oid)
                || r.aggregate.as_ref().is_some_and(|a| of_type(a.state.oid))
        };
        found.extend(self.routines.values().filter(declares).cloned().map(Dependent::Routine));
        found.extend(self.types_views(ty).into_iter().cloned().map(Dependent::View));
        found.extend(self.policies_with(&format!("\"~{}\"", ty.0)).map(Dependent::RowPolicy));
        found.extend(self.statistics_with(&number).map(Dependent::Statistics));
        if let Some(multirange) = ty.user_multirange() {
            found.extend(self.type_dependents(multirange));
        }
        found
    }
}
