//! Resolution against PostgreSQL 15: `testdata/operators.tsv` (operator, left, right, result), `calls.tsv` (function,
//! arguments, result) and `common_types.tsv` (the two branches of a CASE, result) hold `pg_typeof` or `!SQLSTATE` for pairs
//! of types, `unknown` being an untyped NULL. Pairs of the first that are not listed answer 42883.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use super::resolve::{Resolution, common_type, resolve_function, resolve_operator};
use crate::error::Result;
use crate::types::TypeOid;
use crate::types::names::{format_type, lookup_text};

fn oid(text: &str) -> TypeOid {
    match text {
        "unknown" => TypeOid::UNKNOWN,
        text => lookup_text(text).unwrap().oid,
    }
}

fn shown(result: Result<TypeOid>) -> String {
    match result {
        Ok(oid) => format_type(oid, -1),
        Err(error) => format!("!{}", error.state().code()),
    }
}

const TYPES: &[&str] = &[
    "boolean",
    "smallint",
    "integer",
    "bigint",
    "real",
    "double precision",
    "numeric",
    "text",
    "character varying",
    "character",
    "name",
    "\"char\"",
    "date",
    "time without time zone",
    "timestamp without time zone",
    "timestamp with time zone",
    "interval",
    "oid",
    "json",
    "jsonb",
    "uuid",
    "bytea",
    "integer[]",
    "text[]",
    "unknown",
];

#[test]
fn operators_match_postgresql() {
    let expected: HashMap<(&str, &str, &str), &str> = include_str!("testdata/operators.tsv")
        .lines()
        .map(|line| {
            let f: Vec<&str> = line.split('\t').collect();
            ((f[0], f[1], f[2]), f[3])
        })
        .collect();
    let mut wrong = Vec::new();
    let mut check = |op: &str, left: &str, right: &str| {
        let left_oid = (!left.is_empty()).then(|| oid(left));
        let got = shown(resolve_operator(op, left_oid, oid(right)).map(|r| r.ret));
        let want = expected.get(&(op, left, right)).copied().unwrap_or("!42883");
        // An error other than a failure to resolve is the executor's.
        if got != want && (!want.starts_with('!') || want == "!42883" || want == "!42725") {
            wrong.push(format!("{left} {op} {right}: {got}, PostgreSQL {want}"));
        }
    };
    for op in ["+", "-", "*", "/", "%", "=", "<", "||", "~~", "@>", "->", "&", "^"] {
        for left in TYPES {
            TYPES.iter().for_each(|right| check(op, left, right));
        }
    }
    for op in ["-", "+", "@", "~", "|/"] {
        TYPES.iter().for_each(|right| check(op, "", right));
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn calls_match_postgresql() {
    let mut wrong = Vec::new();
    for line in include_str!("testdata/calls.tsv").lines() {
        let f: Vec<&str> = line.split('\t').collect();
        let (name, want) = (f[0], f[2]);
        if want.starts_with('!') && want != "!42883" && want != "!42725" {
            continue;
        }
        let args: Vec<TypeOid> = f[1].split(',').filter(|a| !a.is_empty()).map(oid).collect();
        let got = shown(resolve_function(name, &args).map(|r| match r {
            Resolution::Function(r) => r.ret,
            Resolution::Cast(ty) => ty.oid,
        }));
        if got != want {
            wrong.push(format!("{name}({}): {got}, PostgreSQL {want}", f[1]));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn common_types_match_postgresql() {
    let mut wrong = Vec::new();
    for line in include_str!("testdata/common_types.tsv").lines() {
        let f: Vec<&str> = line.split('\t').collect();
        // CASE weighs its ELSE branch first.
        let got = shown(common_type(&[oid(f[1]), oid(f[0])], "CASE"));
        // 42846: a common type was found and one branch does not convert to it; the binder's to report.
        if got != f[2] && f[2] != "!42846" {
            wrong.push(format!("{} and {}: {got}, PostgreSQL {}", f[0], f[1], f[2]));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
