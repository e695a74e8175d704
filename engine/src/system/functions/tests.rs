#![allow(clippy::unwrap_used)]

use super::*;
use crate::functions::{EvalContext, registry};
use crate::system::tests::context;
use crate::types::{PgType, TypeOid};

/// Calls a function of the registry by name on values; NULL arguments to strict functions are not tried here.
fn value(name: &str, args: &[Datum]) -> String {
    try_value(name, args).unwrap()
}

fn try_value(name: &str, args: &[Datum]) -> Result<String> {
    let functions = registry().lookup(name);
    let function = functions.iter().find(|f| f.args.len() == args.len()).unwrap();
    assert!(provides(function), "{name}");
    let eval = EvalContext::default();
    let types: Vec<PgType> = function.args.iter().map(|t| (*t).into()).collect();
    let call_ = Call { function, context: &eval, types: &types, ret: function.ret.into() };
    Ok(match call(&context(), &call_, args)? {
        Datum::Null => "NULL".to_owned(),
        Datum::Text(text) => text.to_string(),
        Datum::Bool(b) => b.to_string(),
        Datum::Oid(n) => n.to_string(),
        Datum::Int4(n) => n.to_string(),
        Datum::Int8(n) => n.to_string(),
        other => format!("{other:?}"),
    })
}

fn t(text: &str) -> Datum {
    Datum::from(text)
}

#[test]
fn names_become_oids_and_back() {
    assert_eq!(value("regclassin", &[t("t")]), "20000");
    assert_eq!(value("regclassin", &[t("public.\"t_pkey\"")]), "20001");
    assert_eq!(value("regclassout", &[Datum::Oid(20000)]), "t");
    assert_eq!(value("regclassout", &[Datum::Oid(1259)]), "pg_class");
    assert_eq!(value("regclassout", &[Datum::Oid(99)]), "99");
    assert_eq!(try_value("regclassin", &[t("nope")]).unwrap_err().state(), SqlState::UndefinedTable);
    assert_eq!(try_value("regclassin", &[t("a..b")]).unwrap_err().state(), SqlState::InvalidName);
    assert_eq!(value("to_regclass", &[t("nope")]), "NULL");
    assert_eq!(value("regtypein", &[t("character varying")]), TypeOid::VARCHAR.0.to_string());
    assert_eq!(value("regtypein", &[t("t")]), crate::types::user::row_type(Oid(20000)).0.to_string());
    assert_eq!(value("format_type", &[Datum::Oid(1043), Datum::Int4(14)]), "character varying(10)");
    assert_eq!(
        value("format_type", &[Datum::Oid(crate::types::user::row_type(Oid(20000)).0 | 1 << 26), Datum::Null]),
        "t[]"
    );
}

#[test]
fn definitions_are_shown() {
    let expr = value("pg_get_expr", &[t("nextval('20050'::regclass)"), Datum::Oid(20000)]);
    assert_eq!(expr, "nextval('s'::regclass)");
    let index = value("pg_get_indexdef", &[Datum::Oid(20001), Datum::Int4(0), Datum::Bool(true)]);
    assert_eq!(index, "CREATE UNIQUE INDEX t_pkey ON t USING btree (a)");
    assert_eq!(value("pg_get_indexdef", &[Datum::Oid(20001), Datum::Int4(1), Datum::Bool(true)]), "a");
    assert_eq!(value("pg_get_constraintdef", &[Datum::Oid(20002)]), "FOREIGN KEY (b) REFERENCES t(a)");
    assert_eq!(value("pg_get_serial_sequence", &[t("t"), t("a")]), "public.s");
    assert_eq!(value("obj_description", &[Datum::Oid(20000), t("pg_class")]), "about t");
}

#[test]
fn sizes_and_privileges() {
    assert_eq!(value("pg_table_size", &[Datum::Oid(20000)]), "9000");
    assert_eq!(value("pg_total_relation_size", &[Datum::Oid(20000)]), "9100");
    for (bytes, shown) in [
        (10239, "10239 bytes"),
        (10240, "10 kB"),
        (10_485_247, "10239 kB"),
        (10_485_248, "10 MB"),
        (1 << 40, "1024 GB"),
    ] {
        assert_eq!(value("pg_size_pretty", &[Datum::Int8(bytes)]), shown);
    }
    assert_eq!(value("has_table_privilege", &[t("t"), t("select, insert")]), "true");
    assert_eq!(value("pg_table_is_visible", &[Datum::Oid(20000)]), "true");
    assert_eq!(value("pg_get_userbyid", &[Datum::Oid(10)]), "postgres");
    let error = try_value("has_table_privilege", &[t("t"), t("fly")]).unwrap_err();
    assert_eq!(error.to_string(), "22023: unrecognized privilege type: \"fly\"");
}
