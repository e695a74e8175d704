//! The catalog: what exists, under which name and OID. A [`Catalog`] is an immutable value; a transaction that runs DDL
//! works on a private copy and commits [`CatalogChange`]s with its record, so that DDL is as transactional as data.
//!
//! Invariants:
//! 1. An OID names one object for ever; it is never reused.
//! 2. Column numbers (`attnum`) are never reused; a dropped column keeps its place, marked `dropped`.
//! 3. Every index, constraint and sequence that a table owns goes with the table.

pub mod access;
pub mod acl;
mod change;
pub mod collation;
mod compression;
pub(crate) mod computed;
mod databases;
mod depend;
mod inheritance;
mod lookup;
mod routine;
mod row_security;
pub mod statistics;
mod strategy;
#[cfg(test)]
pub(crate) mod tests;
mod user_type;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use collation::{Collation, CollationDef, Order};
pub use compression::{CompressedColumns, Compression};
pub use computed::Computed;
pub use depend::{Dependent, stored_collation_name, stored_type_name};
pub use inheritance::{Heritage, Inheritance, Origin};
pub use lookup::{Relation, SearchPath};
pub use routine::{AggregateDef, ArgMode, RoutineArg, RoutineDef};
pub use row_security::{PolicyCommand, PolicyExpression, RowPolicy, RowSecurity};
pub use statistics::{StatisticsDef, StatisticsExpression, StatisticsKind};
pub use strategy::{Member, Placement, Policy, Reach, StrategyDef};
pub use user_type::{
    Attribute, Constructor, DomainCheck, DomainDef, EnumValue, ExtensionDef, NamedType, Place, RangeDef, TypeBody,
    TypeDef, insert_value, position,
};

use crate::types::{Datum, PgType};

/// OID of an object of the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Oid(pub u32);

impl Oid {
    /// First OID given to users' objects, as in PostgreSQL.
    pub const FIRST_NORMAL: Oid = Oid(16384);
    /// First OID of temporary objects, which are in no record.
    pub const FIRST_TEMPORARY: Oid = Oid(0x6000_0000);
    pub const PG_CATALOG: Oid = Oid(11);
    pub const PUBLIC: Oid = Oid(2200);
    pub const INFORMATION_SCHEMA: Oid = Oid(13000);
    /// The bootstrap superuser, `postgres` unless the cluster was created under another name.
    pub const SUPERUSER: Oid = Oid(10);

    /// Whether it names an object that only one session of this process has.
    pub const fn is_temporary(self) -> bool {
        self.0 >= Oid::FIRST_TEMPORARY.0 && self.0 < 0x8000_0000
    }
}

/// How long a table lives, as pg_class.relpersistence shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Persistence {
    #[default]
    Permanent,
    /// `UNLOGGED` was asked for; it is logged like any other.
    Unlogged,
    /// Of one session.
    Temporary,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DatabaseDef {
    pub oid: Oid,
    pub name: String,
    pub owner: Oid,
    pub is_template: bool,
    pub allows_connections: bool,
    /// -1: no limit.
    pub connection_limit: i32,
    pub comment: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SchemaDef {
    pub oid: Oid,
    pub name: String,
    pub owner: Oid,
    pub comment: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoleDef {
    pub oid: Oid,
    pub name: String,
    pub superuser: bool,
    pub login: bool,
    pub create_database: bool,
    pub create_role: bool,
    pub inherit: bool,
    pub replication: bool,
    pub bypass_row_security: bool,
    /// -1: no limit.
    pub connection_limit: i32,
    /// SCRAM-SHA-256 verifier in PostgreSQL's format.
    pub password: Option<String>,
    /// Microseconds since 1970-01-01; a password is refused after it.
    pub valid_until: Option<i64>,
    pub comment: Option<String>,
}

/// An ordinary table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TableDef {
    pub oid: Oid,
    pub schema: Oid,
    pub name: String,
    pub owner: Oid,
    /// Identifies the stored rows; TRUNCATE and rewrites give a new one.
    pub storage: Oid,
    /// By attnum - 1, dropped columns included.
    pub columns: Vec<ColumnDef>,
    pub indexes: Vec<Arc<IndexDef>>,
    pub constraints: Vec<Arc<ConstraintDef>>,
    /// OID of the row type in pg_type: [`crate::types::user::row_type`].
    pub row_type: Oid,
    pub persistence: Persistence,
    /// The query of a materialized view, under the table's own OID; `None`: an ordinary table.
    pub materialized: Option<Arc<ViewDef>>,
    /// `WITH (name = value)`, shown in pg_class.reloptions.
    pub options: Vec<(String, String)>,
    pub comment: Option<String>,
    /// Written behind the table: [`Object::Heritage`].
    #[serde(skip)]
    pub inheritance: Inheritance,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ColumnDef {
    /// From 1.
    pub attnum: i16,
    pub name: String,
    pub ty: PgType,
    /// The domain that the values belong to; `ty` is its base type.
    pub domain: Option<Oid>,
    pub not_null: bool,
    /// If it is not the type's.
    pub collation: Option<Oid>,
    /// Text of the DEFAULT (or generation) expression, as [`crate::system::deparse`] writes it; a regclass constant
    /// holds the OID's digits, so that renaming a sequence does not break it.
    pub default: Option<String>,
    pub identity: Option<Identity>,
    /// `GENERATED ALWAYS AS (…) STORED`.
    pub generated: bool,
    pub dropped: bool,
    /// Written behind the table: [`Object::Compression`].
    #[serde(skip)]
    pub compression: Option<Compression>,
    /// What rows that were stored before the column was added hold in it (pg_attribute.attmissingval).
    #[serde(skip)]
    pub missing: Option<Datum>,
    /// `missing` in text form, for the record and the checkpoint.
    pub missing_text: Option<String>,
    pub comment: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    Always,
    ByDefault,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IndexDef {
    pub oid: Oid,
    pub name: String,
    pub table: Oid,
    /// What it is ordered by.
    pub columns: Vec<IndexColumn>,
    /// Columns of INCLUDE: shown, and nothing else, because rows are read from the table in any case.
    pub include: Vec<i16>,
    pub unique: bool,
    pub primary: bool,
    pub method: IndexMethod,
    /// `WHERE` of a partial index, as [`crate::system::deparse`] stores it, and the columns that it reads.
    pub predicate: Option<(String, Vec<i16>)>,
    pub nulls_not_distinct: bool,
    /// Of a constraint that may be checked after a statement, or at COMMIT: rows with equal keys may be there until then.
    pub deferrable: bool,
    pub options: Vec<(String, String)>,
    pub comment: Option<String>,
    /// Expressions and predicate, bound by [`Catalog::apply`]; `None`: there are none.
    #[serde(skip)]
    pub computed: Option<Arc<Computed>>,
}

/// Which structure was asked for: shown in pg_class.relam. Hash indexes are the same ordered index as btree ones; for the
/// others nothing is kept but the definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexMethod {
    Btree,
    Hash,
    Gist,
    Gin,
    SpGist,
    Brin,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IndexColumn {
    /// 0: an expression.
    pub attnum: i16,
    pub expression: Option<IndexExpression>,
    pub descending: bool,
    pub nulls_first: bool,
    /// Operator class, if it is not the type's default.
    pub class: Option<String>,
    /// As COLLATE says; `None`: that of the column or the expression.
    pub collation: Option<Oid>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IndexExpression {
    /// As [`crate::system::deparse`] stores it.
    pub text: String,
    /// Name of the index's column: that of the function, or `expr`.
    pub name: String,
    pub ty: PgType,
    /// If it is not the type's.
    pub collation: Option<Oid>,
    /// Columns that it reads.
    pub reads: Vec<i16>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConstraintDef {
    pub oid: Oid,
    pub name: String,
    pub kind: ConstraintKind,
    pub deferrable: bool,
    pub initially_deferred: bool,
    /// `NOT VALID`: rows from before it was added were not looked at.
    pub not_valid: bool,
    pub comment: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ConstraintKind {
    PrimaryKey { index: Oid },
    Unique { index: Oid },
    Check { expression: String, columns: Vec<i16> },
    ForeignKey(ForeignKey),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ForeignKey {
    pub columns: Vec<i16>,
    pub references: Oid,
    /// Columns of a unique or primary-key index of the referenced table.
    pub referenced_columns: Vec<i16>,
    pub referenced_index: Oid,
    pub on_delete: ReferentialAction,
    pub on_update: ReferentialAction,
    pub match_full: bool,
    /// Columns of `ON DELETE SET NULL | DEFAULT (column, …)`; empty: all.
    pub set_columns: Vec<i16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReferentialAction {
    NoAction,
    Restrict,
    Cascade,
    SetNull,
    SetDefault,
}

/// What the text of a view calls columns that are younger than it: it means none of them.
pub const LATER: &str = "\u{3}";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ViewDef {
    pub oid: Oid,
    pub schema: Oid,
    pub name: String,
    pub owner: Oid,
    /// Text of the query, with names qualified as they were resolved at creation.
    pub query: String,
    pub columns: Vec<(String, PgType)>,
    /// Collations of the columns, by number, that have another than their type's.
    pub collations: Vec<(i16, Oid)>,
    /// Tables and views that the query reads.
    pub depends_on: Vec<Oid>,
    /// Columns of those that it reads, as (relation, attnum): they can't be dropped under it.
    pub columns_read: Vec<(Oid, i16)>,
    /// Columns that were renamed since: the relation's, by number, under the name that the query's text has for it; and those
    /// that came since, as [`LATER`].
    pub known_as: Vec<(Oid, i16, String)>,
    /// Whether a materialized view holds rows; `None`: a view that holds none.
    pub populated: Option<bool>,
    pub row_type: Oid,
    pub comment: Option<String>,
    /// Of its columns, by number.
    pub column_comments: Vec<(i16, String)>,
    /// `WITH (name = value)` as it was written, shown in pg_class.reloptions.
    pub options: Vec<(String, String)>,
    /// Relations under it are read with the privileges of whoever asks, not with the owner's.
    pub invoker: bool,
    /// What new rows must satisfy.
    pub check_option: Option<CheckOption>,
}

impl ViewDef {
    /// Of a column, where it is not its type's.
    pub fn collation(&self, attnum: i16) -> Option<Oid> {
        self.collations.iter().find(|(of, _)| *of == attnum).map(|(_, collation)| *collation)
    }

    /// `security_barrier`: no condition of a query over it looks at rows that it keeps back.
    pub fn is_barrier(&self) -> bool {
        let on = |value: &str| matches!(value, "true" | "on" | "yes" | "1");
        self.options.iter().any(|(name, value)| name == "security_barrier" && on(value))
    }
}

/// WITH CHECK OPTION of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckOption {
    /// Its own condition.
    Local,
    /// And those of all views under it.
    Cascaded,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SequenceDef {
    pub oid: Oid,
    pub schema: Oid,
    pub name: String,
    pub owner: Oid,
    pub ty: PgType,
    pub start: i64,
    pub increment: i64,
    pub min: i64,
    pub max: i64,
    pub cache: i64,
    pub cycle: bool,
    /// Column that owns it (SERIAL, IDENTITY, OWNED BY): dropped with it.
    pub owned_by: Option<(Oid, i16)>,
    pub comment: Option<String>,
}

/// One object, as a record and a checkpoint carry it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Object {
    Database(Arc<DatabaseDef>),
    Schema(Arc<SchemaDef>),
    Role(Arc<RoleDef>),
    Table(Arc<TableDef>),
    View(Arc<ViewDef>),
    Sequence(Arc<SequenceDef>),
    Routine(Arc<RoutineDef>),
    Strategy(Arc<StrategyDef>),
    Placement(Placement),
    Type(Arc<TypeDef>),
    Extension(Arc<ExtensionDef>),
    Collation(Arc<CollationDef>),
    /// A list of privileges, a membership, settings of a role: no object of its own.
    Access(access::Access),
    /// Of another database than the first.
    In(Oid, Box<Object>),
    RowPolicy(Arc<RowPolicy>),
    /// No object of its own.
    RowSecurity(RowSecurity),
    /// What a table, put before, has from others.
    Heritage(Arc<Heritage>),
    Statistics(Arc<StatisticsDef>),
    /// How columns of a table, put before, are compressed.
    Compression(Arc<CompressedColumns>),
}

/// One step of DDL. Applied in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum CatalogChange {
    /// Creates the object or replaces the one of the same OID.
    Put(Object),
    Drop(Oid),
    /// No OID at or below this one may be given out again.
    NextOid(Oid),
    /// In another database than the first.
    In(Oid, Box<CatalogChange>),
}

/// A name in a schema: tables, views, sequences and indexes share one name space per schema.
pub type QualifiedName = (Oid, String);

/// Everything that exists at one moment. Cheap to clone (maps of `Arc`s).
///
/// The maps below `relations` follow from those above and are kept by [`Catalog::apply`] alone.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// The database whose catalog it is.
    pub database: Arc<DatabaseDef>,
    /// All of the cluster.
    pub databases: BTreeMap<Oid, Arc<DatabaseDef>>,
    /// Catalogs of the other databases: only in that of the first one.
    others: databases::Others,
    pub schemas: BTreeMap<Oid, Arc<SchemaDef>>,
    pub roles: BTreeMap<Oid, Arc<RoleDef>>,
    pub tables: BTreeMap<Oid, Arc<TableDef>>,
    pub views: BTreeMap<Oid, Arc<ViewDef>>,
    pub sequences: BTreeMap<Oid, Arc<SequenceDef>>,
    pub routines: BTreeMap<Oid, Arc<RoutineDef>>,
    pub strategies: BTreeMap<Oid, Arc<StrategyDef>>,
    /// Types that users made; row types belong to their relations.
    pub types: BTreeMap<Oid, Arc<TypeDef>>,
    pub extensions: BTreeMap<Oid, Arc<ExtensionDef>>,
    /// Those that users made.
    pub collations: BTreeMap<Oid, Arc<CollationDef>>,
    pub policies: BTreeMap<Oid, Arc<RowPolicy>>,
    pub statistics: BTreeMap<Oid, Arc<StatisticsDef>>,
    /// Tables of which it was said whether they are under it.
    row_security: BTreeMap<Oid, RowSecurity>,
    /// Table → its strategy.
    pub placements: BTreeMap<Oid, Oid>,
    /// Schema of the session's temporary relations, where there is a session.
    temporary: Option<Oid>,
    /// Privileges, memberships, settings of roles.
    pub access: access::AccessMap,
    pub next_oid: Oid,
    /// Grows with every change: keys plan caches.
    pub version: u64,
    /// Name → OID of table, view, sequence or index.
    pub relations: HashMap<QualifiedName, Oid>,
    type_names: HashMap<QualifiedName, Oid>,
    schema_names: HashMap<String, Oid>,
    role_names: HashMap<String, Oid>,
    /// Index → its table.
    index_tables: BTreeMap<Oid, Oid>,
    /// Table → tables with a foreign key to it (each once, itself included).
    referencing: HashMap<Oid, Vec<Oid>>,
    /// Table → tables that inherit from it directly.
    children: HashMap<Oid, Vec<Oid>>,
}
