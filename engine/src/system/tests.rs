//! Every system relation is generated for a small catalog: shapes, NOT NULL, and a few rows.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::AsArray;

use super::*;
use crate::catalog::{CatalogChange, Object, SequenceDef, ViewDef};
use crate::types::TypeOid;

/// A server with nothing going on.
pub struct QuietHost;

impl SystemHost for QuietHost {
    fn settings(&self) -> Vec<SettingRow> {
        vec![SettingRow { name: "server_version".into(), setting: "15.0".into(), ..SettingRow::default() }]
    }
    fn sessions(&self) -> Vec<SessionRow> {
        vec![SessionRow { pid: 7, user: Some(Oid::SUPERUSER), ..SessionRow::default() }]
    }
    fn locks(&self) -> Vec<LockRow> {
        vec![LockRow::default()]
    }
    fn blocking(&self, _: i32) -> Vec<i32> {
        Vec::new()
    }
    fn prepared_statements(&self) -> Vec<PreparedStatementRow> {
        vec![PreparedStatementRow { parameter_types: vec![23], ..PreparedStatementRow::default() }]
    }
    fn cursors(&self) -> Vec<CursorRow> {
        vec![CursorRow::default()]
    }
    fn cluster(&self) -> ClusterStatus {
        ClusterStatus::default()
    }
    fn archive(&self) -> Option<crate::commit_log::ArchiveStatus> {
        Some(Default::default())
    }
    fn divergence(&self) -> Result<Vec<crate::divergence::Verdict>> {
        Ok(Vec::new())
    }
    fn table_figures(&self, _: Oid) -> Option<TableFigures> {
        Some(TableFigures { live_rows: 3, bytes: 9000, ..TableFigures::default() })
    }
    fn index_bytes(&self, _: Oid) -> Option<u64> {
        Some(100)
    }
    fn sequence_state(&self, _: Oid) -> Option<(i64, bool)> {
        Some((4, true))
    }
    fn backend_pid(&self) -> i32 {
        7
    }
    fn server_start(&self) -> i64 {
        0
    }
}

/// A catalog with a table `t (a, b)` that references itself, its sequence `s` and a view `v`.
pub fn context() -> SystemContext {
    let mut catalog = Catalog::bootstrap("postgres", "postgres");
    let mut table = crate::catalog::tests::table(20000, "t", Some(20000));
    table.options = vec![("fillfactor".into(), "90".into())];
    table.columns[0].default = Some("nextval('20050'::regclass)".into());
    table.comment = Some("about t".into());
    catalog.apply(&CatalogChange::Put(Object::Table(Arc::new(table))));
    let sequence = SequenceDef {
        oid: Oid(20050),
        schema: Oid::PUBLIC,
        name: "s".into(),
        owner: Oid::SUPERUSER,
        ty: TypeOid::INT4.into(),
        start: 1,
        increment: 1,
        min: 1,
        max: i32::MAX.into(),
        cache: 1,
        cycle: false,
        owned_by: Some((Oid(20000), 1)),
        comment: None,
    };
    catalog.apply(&CatalogChange::Put(Object::Sequence(Arc::new(sequence))));
    let view = ViewDef {
        oid: Oid(20100),
        schema: Oid::PUBLIC,
        name: "v".into(),
        owner: Oid::SUPERUSER,
        query: "SELECT a, b AS c FROM public.t WHERE a > 0".into(),
        columns: vec![("a".into(), TypeOid::INT4.into()), ("c".into(), TypeOid::INT4.into())],
        collations: Vec::new(),
        depends_on: vec![Oid(20000)],
        columns_read: vec![(Oid(20000), 1), (Oid(20000), 2)],
        known_as: Vec::new(),
        row_type: crate::types::user::row_type(Oid(20100)),
        populated: None,
        comment: None,
        check_option: None,
        column_comments: Vec::new(),
        options: Vec::new(),
        invoker: false,
    };
    catalog.apply(&CatalogChange::Put(Object::View(Arc::new(view))));
    let path = catalog.search_path(&["public"], "postgres");
    SystemContext { catalog: Arc::new(catalog), path, user: Oid::SUPERUSER, host: Arc::new(QuietHost) }
}

fn texts(relation: &str, column: &str) -> Vec<String> {
    let relation = by_name(Oid::PG_CATALOG, relation).unwrap();
    let batch = relation.scan(&context()).unwrap();
    let at = relation.column(column).unwrap().0;
    batch.column(at).as_string::<i32>().iter().map(|v| v.unwrap_or("NULL").to_owned()).collect()
}

#[test]
fn every_relation_can_be_read() {
    let context = context();
    for relation in all() {
        let batch = relation.scan(&context).unwrap();
        assert_eq!(batch.num_columns(), relation.columns.len(), "{}", relation.name);
    }
    assert!(all().len() > 100);
}

#[test]
fn pg_class_lists_users_and_system_relations() {
    let names = texts("pg_class", "relname");
    for name in ["pg_class", "t", "t_pkey", "v", "s", "columns"] {
        assert_eq!(names.iter().filter(|n| *n == name).count(), 1, "{name}");
    }
    assert!(texts("pg_description", "description").contains(&"about t".to_owned()));
    assert_eq!(texts("pg_indexes", "indexdef"), ["CREATE UNIQUE INDEX t_pkey ON public.t USING btree (a)"]);
    let views = texts("pg_views", "definition");
    assert_eq!(views.last().unwrap(), " SELECT t.a,\n    t.b AS c\n   FROM t\n  WHERE (t.a > 0);");
}

#[test]
fn types_and_operator_classes_are_there() {
    let types = texts("pg_type", "typname");
    for name in ["int4", "_text", "t", "_t", "pg_class"] {
        assert!(types.iter().any(|t| t == name), "{name}");
    }
    assert_eq!(fixed::operator_class(403, TypeOid::INT4), Oid(1978));
    assert_eq!(fixed::operator_class(403, TypeOid::TEXT), Oid(3126));
}
