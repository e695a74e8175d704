#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::*;
use crate::types::TypeOid;

fn column(attnum: i16, name: &str) -> ColumnDef {
    ColumnDef {
        attnum,
        name: name.into(),
        ty: TypeOid::INT4.into(),
        domain: None,
        not_null: false,
        collation: None,
        default: None,
        identity: None,
        generated: false,
        dropped: false,
        missing: None,
        compression: None,
        missing_text: None,
        comment: None,
    }
}

pub fn table(oid: u32, name: &str, references: Option<u32>) -> TableDef {
    let index = IndexDef {
        unique: true,
        primary: true,
        ..IndexDef::new(Oid(oid + 1), format!("{name}_pkey"), Oid(oid), vec![IndexColumn::plain(1)])
    };
    let foreign_key = references.map(|to| {
        Arc::new(ConstraintDef {
            oid: Oid(oid + 2),
            name: format!("{name}_b_fkey"),
            kind: ConstraintKind::ForeignKey(ForeignKey {
                columns: vec![2],
                references: Oid(to),
                referenced_columns: vec![1],
                referenced_index: Oid(to + 1),
                on_delete: ReferentialAction::NoAction,
                on_update: ReferentialAction::NoAction,
                match_full: false,
                set_columns: vec![],
            }),
            deferrable: false,
            initially_deferred: false,
            not_valid: false,
            comment: None,
        })
    });
    TableDef {
        oid: Oid(oid),
        schema: Oid::PUBLIC,
        name: name.into(),
        owner: Oid::SUPERUSER,
        storage: Oid(oid),
        columns: vec![column(1, "a"), column(2, "b")],
        indexes: vec![Arc::new(index)],
        constraints: foreign_key.into_iter().collect(),
        row_type: crate::types::user::row_type(Oid(oid)),
        materialized: None,
        persistence: Default::default(),
        options: vec![],
        comment: None,
        inheritance: Default::default(),
    }
}

fn put(catalog: &mut Catalog, table: TableDef) {
    catalog.apply(&CatalogChange::Put(Object::Table(Arc::new(table))));
}

#[test]
fn names_follow_the_search_path() {
    let mut catalog = Catalog::bootstrap("postgres", "postgres");
    put(&mut catalog, table(20000, "t", None));
    let path = catalog.search_path(&["$user", "nowhere", "public"], "postgres");
    assert_eq!(path.schemas, [Oid::PG_CATALOG, Oid::PUBLIC]);
    assert_eq!(path.creation(), Some(Oid::PUBLIC));
    assert_eq!(catalog.resolve_relation(None, "t", &path).unwrap().oid(), Oid(20000));
    assert_eq!(catalog.resolve_relation(Some("public"), "t_pkey", &path).unwrap().kind_name(), "index");
    let error = catalog.resolve_relation(Some("s"), "t", &path).unwrap_err();
    assert_eq!(error.to_string(), "42P01: relation \"s.t\" does not exist");
    assert_eq!(catalog.is_visible(Oid(20000), &path), Some(true));
    assert_eq!(catalog.is_visible(Oid(5), &path), None);
    assert!(catalog.find_database("postgres").is_ok());
    let error = catalog.find_database("other").unwrap_err();
    assert_eq!(error.to_string(), "3D000: database \"other\" does not exist");
}

#[test]
fn renaming_and_dropping_leave_no_names_behind() {
    let mut catalog = Catalog::bootstrap("postgres", "postgres");
    let version = catalog.version;
    put(&mut catalog, table(20000, "t", None));
    put(&mut catalog, table(20000, "u", None));
    let path = catalog.search_path(&["public"], "postgres");
    assert!(catalog.find_relation(None, "t", &path).is_none());
    assert!(catalog.find_relation(None, "t_pkey", &path).is_none());
    assert!(catalog.find_relation(None, "u_pkey", &path).is_some());
    catalog.apply(&CatalogChange::Drop(Oid(20000)));
    assert!(catalog.relations.is_empty());
    assert!(catalog.relation(Oid(20001)).is_none());
    assert_eq!(catalog.version, version + 3);
    assert!(catalog.allocate_oid().unwrap() > Oid(20000));
}

#[test]
fn dependents_of_a_table() {
    let mut catalog = Catalog::bootstrap("postgres", "postgres");
    put(&mut catalog, table(20000, "t", Some(20000)));
    put(&mut catalog, table(20100, "u", Some(20000)));
    let view = ViewDef {
        oid: Oid(20200),
        schema: Oid::PUBLIC,
        name: "v".into(),
        owner: Oid::SUPERUSER,
        query: "SELECT a FROM public.t".into(),
        columns: vec![("a".into(), TypeOid::INT4.into())],
        collations: Vec::new(),
        depends_on: vec![Oid(20000)],
        columns_read: vec![(Oid(20000), 1)],
        known_as: Vec::new(),
        populated: None,
        row_type: Oid(20201),
        comment: None,
        check_option: None,
        column_comments: Vec::new(),
        options: Vec::new(),
        invoker: false,
    };
    catalog.apply(&CatalogChange::Put(Object::View(Arc::new(view))));
    let found = catalog.dependents(Oid(20000));
    assert!(matches!(&found[..], [Dependent::ForeignKey(t, _), Dependent::View(v)] if t.name == "u" && v.name == "v"));
    assert_eq!(catalog.foreign_keys_to(Oid(20000)).count(), 2);
    catalog.apply(&CatalogChange::Drop(Oid(20100)));
    assert_eq!(catalog.foreign_keys_to(Oid(20000)).count(), 1);
    assert_eq!(catalog.schema_contents(Oid::PUBLIC).len(), 2);
}

#[test]
fn a_checkpoint_restores_everything() {
    let mut catalog = Catalog::bootstrap("postgres", "postgres");
    put(&mut catalog, table(20000, "t", None));
    put(&mut catalog, table(20100, "u", Some(20000)));
    let bytes = postcard::to_stdvec(&catalog.objects()).unwrap();
    let objects: Vec<Object> = postcard::from_bytes(&bytes).unwrap();
    let restored = Catalog::from_objects(objects, catalog.next_oid, catalog.version);
    assert_eq!(restored.relations, catalog.relations);
    assert_eq!(restored.next_oid, catalog.next_oid);
    assert_eq!(restored.foreign_keys_to(Oid(20000)).count(), 1);
    assert_eq!(restored.schemas.len(), 3);
    assert_eq!(restored.database.name, "postgres");
}

#[test]
fn families_are_found_in_order_and_written_behind_their_tables() {
    let mut catalog = Catalog::bootstrap("postgres", "postgres");
    let heir = |oid: u32, name: &str, parents: &[u32]| TableDef {
        inheritance: Inheritance {
            parents: parents.iter().map(|oid| Oid(*oid)).collect(),
            columns: [(1, Origin { parents: parents.len() as u16, local: false })].into(),
            ..Default::default()
        },
        ..table(oid, name, None)
    };
    put(&mut catalog, table(20000, "p", None));
    put(&mut catalog, heir(20300, "late", &[20000]));
    put(&mut catalog, heir(20100, "early", &[20000]));
    put(&mut catalog, heir(20200, "both", &[20300, 20100]));
    let family = |catalog: &Catalog| -> Vec<(u32, u16)> {
        catalog.family_counted(Oid(20000)).iter().map(|(t, parents)| (t.oid.0, *parents)).collect()
    };
    let wanted = [(20000, 0), (20100, 1), (20300, 1), (20200, 2)];
    assert_eq!(family(&catalog), wanted);

    let bytes = postcard::to_stdvec(&catalog.objects()).unwrap();
    let objects: Vec<Object> = postcard::from_bytes(&bytes).unwrap();
    let again = Catalog::from_objects(objects, catalog.next_oid, catalog.version);
    assert_eq!(family(&again), wanted);
    assert_eq!(again.tables[&Oid(20200)].inheritance, catalog.tables[&Oid(20200)].inheritance);

    put(&mut catalog, heir(20200, "both", &[20300]));
    catalog.apply(&CatalogChange::Drop(Oid(20100)));
    assert_eq!(family(&catalog), [(20000, 0), (20300, 1), (20200, 1)]);
}
