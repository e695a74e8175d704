//! Rows of system relations that follow from the catalog alone, kept for as long as the catalog is the same: a client that
//! describes a thousand tables asks for the same ones a thousand times.
//!
//! Invariant: rows are found only for the very catalog that they were made from. It is not kept alive for them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;

use super::{RowSet, SystemContext, SystemRelation};
use crate::catalog::{Catalog, Oid, SearchPath};

/// Rows, the catalog that they were made from, and for whom: information_schema shows what the user may see, by names that depend
/// on `search_path`.
struct Entry {
    catalog: Weak<Catalog>,
    path: Option<SearchPath>,
    rows: Arc<RowSet>,
}

fn path_of(relation: &SystemRelation, context: &SystemContext) -> Option<SearchPath> {
    (relation.schema == Oid::INFORMATION_SCHEMA).then(|| context.path.clone())
}

/// One entry a relation and database; the newest.
type Kept = HashMap<(Oid, Oid), Entry>;

static KEPT: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);

/// Relations of pg_catalog whose rows depend on nothing else than the catalog: no figures, no sessions, not who asks.
const FOLLOWING: [&str; 33] = [
    "pg_aggregate",
    "pg_am",
    "pg_amop",
    "pg_amproc",
    "pg_attrdef",
    "pg_attribute",
    "pg_auth_members",
    "pg_cast",
    "pg_class",
    "pg_collation",
    "pg_constraint",
    "pg_default_acl",
    "pg_depend",
    "pg_description",
    "pg_enum",
    "pg_extension",
    "pg_index",
    "pg_indexes",
    "pg_inherits",
    "pg_init_privs",
    "pg_language",
    "pg_namespace",
    "pg_opclass",
    "pg_operator",
    "pg_opfamily",
    "pg_policy",
    "pg_proc",
    "pg_range",
    "pg_rewrite",
    "pg_sequence",
    "pg_statistic_ext",
    "pg_tables",
    "pg_type",
];

pub(super) fn follows(relation: &SystemRelation) -> bool {
    relation.schema == Oid::INFORMATION_SCHEMA || FOLLOWING.binary_search(&relation.name).is_ok()
}

pub(super) fn find(relation: &SystemRelation, context: &SystemContext) -> Option<Arc<RowSet>> {
    let kept = KEPT.lock();
    let entry = kept.get(&(relation.oid, context.catalog.database.oid))?;
    let same = std::ptr::eq(entry.catalog.as_ptr(), Arc::as_ptr(&context.catalog));
    (same && entry.path == path_of(relation, context)).then(|| entry.rows.clone())
}

pub(super) fn keep(relation: &SystemRelation, context: &SystemContext, rows: &Arc<RowSet>) {
    let catalog = Arc::downgrade(&context.catalog);
    let entry = Entry { catalog, path: path_of(relation, context), rows: rows.clone() };
    KEPT.lock().insert((relation.oid, context.catalog.database.oid), entry);
}
