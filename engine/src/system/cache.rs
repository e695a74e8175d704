//! Rows of system relations that follow from the catalog alone, kept for as long as the catalog is the same: a client that
//! describes a thousand tables asks for the same ones a thousand times.
//!
//! Invariant: rows are found only for the very catalog that they were made from. It is not kept alive for them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};

use arrow::record_batch::RecordBatch;
use parking_lot::Mutex;

use crate::catalog::{Catalog, Oid};

/// One entry a relation and database; the newest.
type Kept = HashMap<(Oid, Oid), (Weak<Catalog>, RecordBatch)>;

static KEPT: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);

/// Relations whose rows depend on nothing else: no figures, no sessions, not who asks.
const FOLLOWING: [&str; 26] = [
    "pg_aggregate",
    "pg_amop",
    "pg_amproc",
    "pg_attrdef",
    "pg_attribute",
    "pg_auth_members",
    "pg_cast",
    "pg_collation",
    "pg_constraint",
    "pg_default_acl",
    "pg_depend",
    "pg_description",
    "pg_index",
    "pg_init_privs",
    "pg_language",
    "pg_namespace",
    "pg_opclass",
    "pg_operator",
    "pg_opfamily",
    "pg_proc",
    "pg_range",
    "pg_rewrite",
    "pg_sequence",
    "pg_type",
    "sql_features",
    "sql_implementation_info",
];

pub(super) fn follows(relation: &str) -> bool {
    FOLLOWING.binary_search(&relation).is_ok()
}

pub(super) fn find(relation: Oid, catalog: &Arc<Catalog>) -> Option<RecordBatch> {
    let kept = KEPT.lock();
    let (of, rows) = kept.get(&(relation, catalog.database.oid))?;
    std::ptr::eq(of.as_ptr(), Arc::as_ptr(catalog)).then(|| rows.clone())
}

pub(super) fn keep(relation: Oid, catalog: &Arc<Catalog>, rows: &RecordBatch) {
    KEPT.lock().insert((relation, catalog.database.oid), (Arc::downgrade(catalog), rows.clone()));
}
