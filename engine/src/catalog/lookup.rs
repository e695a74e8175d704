//! Finding objects by name and OID: the search path, relations, schemas, roles, columns.
//!
//! Invariants:
//! 1. `pg_catalog` is searched first unless the path names it.
//! 2. System relations are found like users' tables; they are not in the catalog's maps but in [`crate::system`].

use std::sync::Arc;

use super::acl::Rights;
use super::{
    Catalog, ColumnDef, ConstraintDef, ConstraintKind, ForeignKey, IndexColumn, IndexDef, IndexMethod, Oid, RoleDef,
    SchemaDef, SequenceDef, TableDef, ViewDef,
};
use crate::error::{Error, Result, SqlState};
use crate::system::{self, SystemRelation};

/// What a relation's name can stand for.
#[derive(Debug, Clone)]
pub enum Relation {
    Table(Arc<TableDef>),
    View(Arc<ViewDef>),
    Sequence(Arc<SequenceDef>),
    /// An index with its table.
    Index(Arc<TableDef>, Arc<IndexDef>),
    /// A relation of pg_catalog or information_schema, generated from this catalog.
    System(&'static SystemRelation),
}

impl Relation {
    pub fn oid(&self) -> Oid {
        match self {
            Relation::Table(t) => t.oid,
            Relation::View(v) => v.oid,
            Relation::Sequence(s) => s.oid,
            Relation::Index(_, i) => i.oid,
            Relation::System(s) => s.oid,
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Relation::Table(t) => &t.name,
            Relation::View(v) => &v.name,
            Relation::Sequence(s) => &s.name,
            Relation::Index(_, i) => &i.name,
            Relation::System(s) => s.name,
        }
    }

    pub fn schema(&self) -> Oid {
        match self {
            Relation::Table(t) | Relation::Index(t, _) => t.schema,
            Relation::View(v) => v.schema,
            Relation::Sequence(s) => s.schema,
            Relation::System(s) => s.schema,
        }
    }

    /// `table`, `view`, … as error messages name it.
    pub fn kind_name(&self) -> &'static str {
        match self {
            Relation::Table(t) if t.materialized.is_some() => "materialized view",
            Relation::Table(_) => "table",
            Relation::View(_) => "view",
            Relation::Sequence(_) => "sequence",
            Relation::Index(..) => "index",
            Relation::System(s) if s.view => "view",
            Relation::System(_) => "table",
        }
    }
}

/// `search_path`, resolved against one catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchPath {
    /// Who searches: schemas that are closed to the role are passed over.
    pub user: Oid,
    /// In order of search, the implicit `pg_catalog` included.
    pub schemas: Vec<Oid>,
    /// Those that the setting names and that exist.
    pub named: Vec<Oid>,
}

impl SearchPath {
    /// Where CREATE without a schema puts things; also `current_schema`.
    pub fn creation(&self) -> Option<Oid> {
        self.named.first().copied()
    }
}

impl Catalog {
    /// Resolves the elements of the setting. Names of schemas that don't exist are skipped, as in PostgreSQL.
    pub fn search_path<S: AsRef<str>>(&self, setting: &[S], user: &str) -> SearchPath {
        let role = self.role(user).map_or(Oid(0), |role| role.oid);
        let mut named = Vec::with_capacity(setting.len());
        for element in setting {
            let name = match element.as_ref() {
                "$user" => user,
                name => name,
            };
            if let Some(oid) = self.schema_names.get(name)
                && !named.contains(oid)
                && self.schema_rights(role, *oid).has(Rights::USAGE)
            {
                named.push(*oid);
            }
        }
        let mut schemas = named.clone();
        if !schemas.contains(&Oid::PG_CATALOG) {
            schemas.insert(0, Oid::PG_CATALOG);
        }
        // A session's own relations come before all others, unless the setting says where.
        if let Some(temporary) = self.temporary.filter(|temporary| !schemas.contains(temporary)) {
            schemas.insert(0, temporary);
        }
        SearchPath { user: role, schemas, named }
    }

    pub fn schema(&self, name: &str) -> Option<&Arc<SchemaDef>> {
        self.schemas.get(self.schema_names.get(name)?)
    }

    /// 3F000 if there is none.
    pub fn resolve_schema(&self, name: &str) -> Result<&Arc<SchemaDef>> {
        self.schema(name)
            .ok_or_else(|| Error::new(SqlState::InvalidSchemaName, format!("schema \"{name}\" does not exist")))
    }

    /// Name of a schema; empty for an OID that names none.
    pub fn schema_name(&self, oid: Oid) -> &str {
        self.schemas.get(&oid).map_or("", |s| &s.name)
    }

    pub fn role(&self, name: &str) -> Option<&Arc<RoleDef>> {
        self.roles.get(self.role_names.get(name)?)
    }

    /// 42704 if there is none.
    pub fn resolve_role(&self, name: &str) -> Result<&Arc<RoleDef>> {
        self.role(name).ok_or_else(|| Error::new(SqlState::UndefinedObject, format!("role \"{name}\" does not exist")))
    }

    /// The relation of this OID, system relations included.
    pub fn relation(&self, oid: Oid) -> Option<Relation> {
        if let Some(table) = self.tables.get(&oid) {
            return Some(Relation::Table(table.clone()));
        }
        if let Some(table) = self.index_table(oid) {
            let index = table.index(oid)?.clone();
            return Some(Relation::Index(table.clone(), index));
        }
        if let Some(view) = self.views.get(&oid) {
            return Some(Relation::View(view.clone()));
        }
        if let Some(sequence) = self.sequences.get(&oid) {
            return Some(Relation::Sequence(sequence.clone()));
        }
        system::by_oid(oid).map(Relation::System)
    }

    /// The table that an index belongs to.
    pub fn index_table(&self, index: Oid) -> Option<&Arc<TableDef>> {
        self.tables.get(self.index_tables.get(&index)?)
    }

    pub fn relation_in(&self, schema: Oid, name: &str) -> Option<Relation> {
        if let Some(relation) = system::by_name(schema, name) {
            return Some(Relation::System(relation));
        }
        self.relation(*self.relations.get(&(schema, name.to_owned()))?)
    }

    /// The relation that a name means, if there is one.
    pub fn find_relation(&self, schema: Option<&str>, name: &str, path: &SearchPath) -> Option<Relation> {
        match schema {
            Some(schema) => self.relation_in(*self.schema_names.get(schema)?, name),
            None => path.schemas.iter().find_map(|schema| self.relation_in(*schema, name)),
        }
    }

    /// [`Self::find_relation`], or 42P01 as a query that names it would get.
    pub fn resolve_relation(&self, schema: Option<&str>, name: &str, path: &SearchPath) -> Result<Relation> {
        if let Some(schema) = schema.and_then(|schema| self.schema_names.get(schema)) {
            self.check_usage(path.user, *schema)?;
        }
        self.find_relation(schema, name, path).ok_or_else(|| {
            let shown = schema.map_or_else(|| name.to_owned(), |s| format!("{s}.{name}"));
            Error::new(SqlState::UndefinedTable, format!("relation \"{shown}\" does not exist"))
        })
    }

    /// 42501 unless the role may look into the schema.
    pub fn check_usage(&self, role: Oid, schema: Oid) -> Result<()> {
        if schema == Oid::PG_CATALOG || self.schema_rights(role, schema).has(Rights::USAGE) {
            return Ok(());
        }
        let message = format!("permission denied for schema {}", self.schema_name(schema));
        Err(Error::new(SqlState::InsufficientPrivilege, message))
    }

    /// Whether the name alone finds this relation (`pg_table_is_visible`). `None`: there is no such relation.
    pub fn is_visible(&self, oid: Oid, path: &SearchPath) -> Option<bool> {
        let relation = self.relation(oid)?;
        if !path.schemas.contains(&relation.schema()) {
            return Some(false);
        }
        let found = self.find_relation(None, relation.name(), path);
        Some(found.is_some_and(|r| r.oid() == oid))
    }

    /// Tables with a foreign key to `table`, itself included when it references itself.
    pub fn tables_referencing(&self, table: Oid) -> impl Iterator<Item = &Arc<TableDef>> {
        self.referencing.get(&table).into_iter().flatten().filter_map(|oid| self.tables.get(oid))
    }

    /// Foreign keys that reference `table`, each with the table that has it.
    pub fn foreign_keys_to(
        &self,
        table: Oid,
    ) -> impl Iterator<Item = (&Arc<TableDef>, &Arc<ConstraintDef>, &ForeignKey)> {
        self.tables_referencing(table).flat_map(move |t| {
            t.foreign_keys()
                .filter(move |(_, key)| key.references == table)
                .map(move |(constraint, key)| (t, constraint, key))
        })
    }
}

impl TableDef {
    /// 55000 for a materialized view that holds nothing yet: to be asked when a statement runs, since others are defined over it.
    pub fn check_populated(&self) -> Result<()> {
        match &self.materialized {
            Some(view) if view.populated == Some(false) => {
                let message = format!("materialized view \"{}\" has not been populated", self.name);
                Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message)
                    .hint("Use the REFRESH MATERIALIZED VIEW command."))
            }
            _ => Ok(()),
        }
    }

    /// Columns that are not dropped.
    pub fn live_columns(&self) -> impl Iterator<Item = &ColumnDef> {
        self.columns.iter().filter(|c| !c.dropped)
    }

    /// A live column by name.
    pub fn column(&self, name: &str) -> Option<&ColumnDef> {
        self.live_columns().find(|c| c.name == name)
    }

    /// 42703 if there is none, as DDL says it.
    pub fn resolve_column(&self, name: &str) -> Result<&ColumnDef> {
        self.column(name).ok_or_else(|| {
            Error::new(
                SqlState::UndefinedColumn,
                format!("column \"{name}\" of relation \"{}\" does not exist", self.name),
            )
        })
    }

    /// A column by number, dropped ones included.
    pub fn attribute(&self, attnum: i16) -> Option<&ColumnDef> {
        self.columns.get(usize::try_from(attnum).ok()?.checked_sub(1)?)
    }

    pub fn index(&self, oid: Oid) -> Option<&Arc<IndexDef>> {
        self.indexes.iter().find(|i| i.oid == oid)
    }

    pub fn primary_key(&self) -> Option<&Arc<IndexDef>> {
        self.indexes.iter().find(|i| i.primary)
    }

    pub fn constraint(&self, name: &str) -> Option<&Arc<ConstraintDef>> {
        self.constraints.iter().find(|c| c.name == name)
    }

    pub fn foreign_keys(&self) -> impl Iterator<Item = (&Arc<ConstraintDef>, &ForeignKey)> {
        self.constraints.iter().filter_map(|c| match &c.kind {
            ConstraintKind::ForeignKey(key) => Some((c, key)),
            _ => None,
        })
    }

    /// The constraint that an index implements.
    pub fn index_constraint(&self, index: Oid) -> Option<&Arc<ConstraintDef>> {
        self.constraints.iter().find(|c| c.index() == Some(index))
    }
}

impl ConstraintDef {
    /// The index behind a PRIMARY KEY or UNIQUE constraint.
    pub fn index(&self) -> Option<Oid> {
        match &self.kind {
            ConstraintKind::PrimaryKey { index } | ConstraintKind::Unique { index } => Some(*index),
            _ => None,
        }
    }
}

impl IndexDef {
    /// A btree index on columns.
    pub fn new(oid: Oid, name: impl Into<String>, table: Oid, columns: Vec<IndexColumn>) -> IndexDef {
        IndexDef {
            oid,
            name: name.into(),
            table,
            columns,
            include: Vec::new(),
            unique: false,
            primary: false,
            method: IndexMethod::Btree,
            predicate: None,
            nulls_not_distinct: false,
            deferrable: false,
            options: Vec::new(),
            comment: None,
            computed: None,
        }
    }

    /// Columns that it is ordered by; 0 for an expression.
    pub fn attnums(&self) -> impl Iterator<Item = i16> {
        self.columns.iter().map(|c| c.attnum)
    }

    /// Whether it has an entry for every row, of columns only.
    pub fn is_plain(&self) -> bool {
        self.predicate.is_none() && self.columns.iter().all(|c| c.expression.is_none())
    }

    /// Whether it names the rows of its table: a primary key whose values are never, not even for a while, those of two rows.
    pub fn is_key(&self) -> bool {
        self.primary && !self.deferrable
    }

    /// Whether there is a structure behind the definition.
    pub fn is_ordered(&self) -> bool {
        matches!(self.method, IndexMethod::Btree | IndexMethod::Hash)
    }

    /// Every column that it depends on, some of them twice.
    pub fn reads(&self) -> impl Iterator<Item = i16> {
        let expressions = self.columns.iter().filter_map(|c| c.expression.as_ref()).flat_map(|e| &e.reads);
        let predicate = self.predicate.iter().flat_map(|(_, reads)| reads);
        let own = self.attnums().filter(|a| *a != 0);
        own.chain(self.include.iter().chain(expressions).chain(predicate).copied())
    }
}

impl IndexColumn {
    /// A column in the default order.
    pub fn plain(attnum: i16) -> IndexColumn {
        IndexColumn { attnum, expression: None, descending: false, nulls_first: false, class: None, collation: None }
    }

    /// The collation of what it is made of, if it is not the type's.
    pub fn source_collation(&self, table: &TableDef) -> Option<Oid> {
        match &self.expression {
            Some(expression) => expression.collation,
            None => table.attribute(self.attnum).and_then(|c| c.collation),
        }
    }

    /// Its collation, if it is not the type's.
    pub fn collation_in(&self, table: &TableDef) -> Option<Oid> {
        self.collation.or_else(|| self.source_collation(table))
    }
}

impl IndexMethod {
    pub fn name(self) -> &'static str {
        match self {
            IndexMethod::Btree => "btree",
            IndexMethod::Hash => "hash",
            IndexMethod::Gist => "gist",
            IndexMethod::Gin => "gin",
            IndexMethod::SpGist => "spgist",
            IndexMethod::Brin => "brin",
        }
    }

    /// OID in pg_am.
    pub fn oid(self) -> u32 {
        match self {
            IndexMethod::Btree => 403,
            IndexMethod::Hash => 405,
            IndexMethod::Gist => 783,
            IndexMethod::Gin => 2742,
            IndexMethod::SpGist => 4000,
            IndexMethod::Brin => 3580,
        }
    }
}
