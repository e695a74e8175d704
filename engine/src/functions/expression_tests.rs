//! Expressions against PostgreSQL 15: `testdata/expressions.tsv` holds an expression and what its server showed for it
//! (`!SQLSTATE message` for an error), in COPY's text format, time zone UTC.
#![allow(clippy::unwrap_used)]

use super::{EvalContext, casts};
use crate::error::Result;
use crate::expr_eval::{NoColumns, eval};
use crate::sql::bind::tests::bind_with;
use crate::types::Datum;

/// Expressions whose answers differ, each with its reason.
const DIFFERENT: &[(&str, &str)] = &[
    ("-9223372036854775808/-1", "a sign is not part of a constant: the constant is numeric"),
    ("abs(-2147483648)", "a sign is not part of a constant: the constant is bigint"),
    ("-2^2", "the grammar gives ^ precedence over a sign"),
    ("||/ 27", "this cube root is exact"),
    ("cbrt(27)", "this cube root is exact"),
    ("lower('ÀBC')", "case follows Unicode; that server's LC_CTYPE was C"),
    ("substring('foobar' similar '%#\"o_b#\"%' escape '#')", "not in the grammar"),
    ("make_interval(days => 10)", "the binder has no named arguments yet"),
    ("hashtext('a') is not null", "an internal function"),
];

fn unescape(field: &str) -> String {
    let mut out = String::new();
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

fn evaluate(expression: &str) -> Result<String> {
    let context = EvalContext::default();
    let (query, _) = bind_with(&format!("select {expression}"), &[])?;
    let expr = query.constant.unwrap().remove(0);
    let value = eval(&expr, &NoColumns, &[], &context)?;
    match value {
        Datum::Null => Ok("NULL".into()),
        value => casts::output(&value, expr.ty, &context),
    }
}

/// Compares a file's expressions, all but those in `different`.
fn check(name: &str, file: &str, different: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    let mut checked = 0;
    for line in file.lines() {
        let (expression, expected) = line.split_once('\t').unwrap();
        let (expression, expected) = (unescape(expression), unescape(expected));
        if different.iter().any(|(e, _)| *e == expression) {
            continue;
        }
        let got = evaluate(&expression).unwrap_or_else(|e| format!("!{} {}", e.state().code(), e.message()));
        if got != expected {
            wrong.push(format!("{expression}: {got:?}, PostgreSQL {expected:?}"));
        }
        checked += 1;
    }
    assert!(checked > 0);
    assert!(wrong.is_empty(), "{name}: {} of {checked} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn expressions_match_postgresql() {
    check("expressions", include_str!("testdata/expressions.tsv"), DIFFERENT);
}

#[test]
fn templates_match_postgresql() {
    let different = [("to_char(12345, '9V9999999999')", "PostgreSQL's product overflows in silence")];
    check("format", include_str!("testdata/format.tsv"), &different);
}

#[test]
fn arrays_match_postgresql() {
    let different = [("'1 2 3'::int2vector::int2[]", "arrays begin at one")];
    check("arrays", include_str!("testdata/arrays.tsv"), &different);
}

#[test]
fn json_matches_postgresql() {
    let different = [("'\"\\u0000\"'::json", "a zero character is refused on input, not when it is read")];
    check("json", include_str!("testdata/json.tsv"), &different);
}

#[test]
fn extremes_match_postgresql() {
    check("extremes", include_str!("testdata/extremes.tsv"), &[]);
}
