//! The binder over a small catalog: what names and types come to, and which errors it answers.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use sqlparser::ast;

use super::{Binder, BoundQuery, Environment};
use crate::catalog::{Catalog, CatalogChange, ColumnDef, IndexColumn, IndexDef, Object, Oid, TableDef};
use crate::error::{Error, Result};
use crate::functions::EvalContext;
use crate::sql::parse::{Statement, parse};
use crate::types::{PgType, TypeOid, names};

fn column(attnum: i16, name: &str, ty: PgType) -> ColumnDef {
    ColumnDef {
        attnum,
        name: name.into(),
        ty,
        domain: None,
        not_null: attnum == 1,
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

fn table(oid: u32, name: &str, columns: &[(&str, PgType)]) -> TableDef {
    let key = IndexDef {
        unique: true,
        primary: true,
        ..IndexDef::new(Oid(oid + 1), format!("{name}_pkey"), Oid(oid), vec![IndexColumn::plain(1)])
    };
    TableDef {
        oid: Oid(oid),
        schema: Oid::PUBLIC,
        name: name.into(),
        owner: Oid::SUPERUSER,
        storage: Oid(oid),
        columns: columns.iter().enumerate().map(|(i, (n, ty))| column(i as i16 + 1, n, *ty)).collect(),
        indexes: vec![Arc::new(key)],
        constraints: vec![],
        row_type: Oid(oid + 2),
        materialized: None,
        persistence: Default::default(),
        options: Default::default(),
        comment: None,
        inheritance: Default::default(),
    }
}

/// t(id int, name text, amount numeric(10,2), at timestamptz) and u(id int, t_id bigint, note varchar(5)).
pub(crate) fn environment() -> Environment {
    let mut catalog = Catalog::bootstrap("postgres", "postgres");
    let t = [
        ("id", TypeOid::INT4.into()),
        ("name", TypeOid::TEXT.into()),
        ("amount", PgType::new(TypeOid::NUMERIC, PgType::numeric_typmod(10, 2))),
        ("at", TypeOid::TIMESTAMPTZ.into()),
    ];
    let u = [("id", TypeOid::INT4.into()), ("t_id", TypeOid::INT8.into()), ("note", PgType::new(TypeOid::VARCHAR, 9))];
    for def in [table(20000, "t", &t), table(20010, "u", &u)] {
        catalog.apply(&CatalogChange::Put(Object::Table(Arc::new(def))));
    }
    let search_path = catalog.search_path(&["public"], "postgres");
    Environment {
        catalog: Arc::new(catalog),
        search_path,
        eval: Arc::new(EvalContext::default()),
        policing: super::row_security::Policing::On,
    }
}

pub(crate) fn bind_with(sql: &str, params: &[TypeOid]) -> Result<(BoundQuery, Binder)> {
    let parsed = parse(sql)?.remove(0);
    let Statement::Sql(statement) = parsed.statement else {
        panic!("not a query: {sql}");
    };
    let ast::Statement::Query(query) = *statement else {
        panic!("not a query: {sql}");
    };
    let mut binder = Binder::new(environment(), parsed.source, params);
    let bound = binder.bind_query(&query)?;
    Ok((bound, binder))
}

fn bind(sql: &str) -> BoundQuery {
    bind_with(sql, &[]).unwrap_or_else(|e| panic!("{sql}: {e}")).0
}

/// `name type, …` of the result.
fn shape(sql: &str) -> String {
    let columns = bind(sql).columns;
    let shown: Vec<String> =
        columns.iter().map(|c| format!("{} {}", c.name, names::format_type(c.ty.oid, c.ty.typmod))).collect();
    shown.join(", ")
}

fn error(sql: &str) -> Error {
    match bind_with(sql, &[]) {
        Ok(_) => panic!("bound: {sql}"),
        Err(e) => e,
    }
}

#[test]
fn names_and_types_of_results() {
    for (sql, expected) in [
        ("select 1, 'a', null", "?column? integer, ?column? text, ?column? text"),
        ("select id, t.name n, amount*2 from t", "id integer, n text, ?column? numeric"),
        (
            "select * from t join u using (id)",
            "id integer, name text, amount numeric(10,2), at timestamp with time zone, t_id bigint, note character varying(5)",
        ),
        ("select sum(id), count(*), avg(t_id) from u", "sum bigint, count bigint, avg numeric"),
        ("select case when id=1 then 1 else 2.5 end from t", "case numeric"),
        ("select 1::int8, '1'::text::int, cast(id as text) from t", "int8 bigint, int4 integer, id text"),
        (
            "select coalesce(name,'x'), nullif(id,0), exists(select 1) from t",
            "coalesce text, nullif integer, exists boolean",
        ),
        ("values (1,'a'),(2.5,null)", "column1 numeric, column2 text"),
        ("select 1 union select 2.5", "?column? numeric"),
        ("select array[1,2], array(select id from t)", "array integer[], array integer[]"),
        ("select * from generate_series(1,3) g(x)", "x integer"),
        ("select row_number() over (order by id), sum(amount) over () from t", "row_number bigint, sum numeric"),
        ("with recursive r(n) as (select 1 union all select n+1 from r where n<5) select * from r", "n integer"),
        ("select (select max(t_id) from u where u.id=t.id) from t", "max bigint"),
        ("select current_date, now()", "current_date date, now timestamp with time zone"),
        (
            "select extract(year from at), position('a' in name), trim(name) from t",
            "extract numeric, position integer, btrim text",
        ),
    ] {
        assert_eq!(shape(sql), expected, "{sql}");
    }
}

#[test]
fn errors_name_state_message_and_position() {
    for (sql, state, message, position) in [
        ("select nope from t", "42703", "column \"nope\" does not exist", 8),
        ("select t.nope from t", "42703", "column t.nope does not exist", 8),
        ("select x.id from t", "42P01", "missing FROM-clause entry for table \"x\"", 8),
        ("select id from t, u", "42702", "column reference \"id\" is ambiguous", 8),
        ("select 1 from nope", "42P01", "relation \"nope\" does not exist", 15),
        ("select id from t where name", "42804", "argument of WHERE must be type boolean, not type text", 24),
        ("select id from t where sum(id)>1", "42803", "aggregate functions are not allowed in WHERE", 24),
        (
            "select name, sum(id) from t",
            "42803",
            "column \"t.name\" must appear in the GROUP BY clause or be used in an aggregate function",
            8,
        ),
        ("select 'a'::int", "22P02", "invalid input syntax for type integer: \"a\"", 8),
        ("select nosuch(1)", "42883", "function nosuch(integer) does not exist", 8),
        ("select 1 union select 1,2", "42601", "each UNION query must have the same number of columns", 23),
        ("select id from t order by 3", "42P10", "ORDER BY position 3 is not in select list", 27),
        ("select (select 1,2)", "42601", "subquery must return only one column", 8),
        (
            "select distinct id from t order by name",
            "42P10",
            "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
            36,
        ),
    ] {
        let e = error(sql);
        assert_eq!((e.state().code(), e.message()), (state, message), "{sql}");
        assert_eq!(e.report().position, Some(position), "{sql}");
    }
}

#[test]
fn parameters_take_the_types_that_they_meet() {
    for (sql, expected) in [
        ("select id from t where id=$1", vec![TypeOid::INT4]),
        ("select $1::int8, name from t where name like $2", vec![TypeOid::INT8, TypeOid::TEXT]),
        ("select id from t limit $1 offset $2", vec![TypeOid::INT8, TypeOid::INT8]),
        ("select id from u where t_id in ($1,$2)", vec![TypeOid::INT8, TypeOid::INT8]),
        ("select id from t where id = any($1)", vec![TypeOid::INT4_ARRAY]),
        ("select $1", vec![TypeOid::TEXT]),
    ] {
        let (_, binder) = bind_with(sql, &[]).unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(binder.params().unwrap(), expected, "{sql}");
    }
    let (_, binder) = bind_with("select $2::int", &[]).unwrap();
    assert_eq!(binder.params().unwrap_err().state().code(), "42P18");
}

#[test]
fn short_selects_are_recognised() {
    let simple = bind("select name from t where id=$1 order by 1 limit 2").simple.unwrap();
    assert_eq!(simple.scan.table, Oid(20000));
    assert!(simple.filter.is_some() && simple.order_by.len() == 1);
    assert!(bind("select 1, now()").constant.is_some());
    for sql in ["select count(*) from t", "select name from t, u", "select id from t where exists(select 1)"] {
        assert!(bind(sql).simple.is_none(), "{sql}");
    }
}
