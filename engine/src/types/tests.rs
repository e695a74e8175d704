//! Text input and output against PostgreSQL 15: `testdata/input_output.tsv` holds type, input and what its server
//! answered (`!SQLSTATE message` for an error), in COPY's text format, time zone UTC.
#![allow(clippy::unwrap_used)]

use super::names::lookup_text;
use super::text::{FormatSettings, parse, to_string};
use super::{PgType, TypeOid};

/// Lines that differ on purpose, with the reason.
const DIFFERENT: &[(&str, &str)] = &[
    // Arrow counts microseconds from 1970: timestamps end in the year 294247.
    ("timestamp", "294276-12-31 23:59:59"),
    // json keeps a lone surrogate until somebody asks for it; refused at once here.
    ("json", "\"\\ud83d\""),
];

fn unescape(field: &str) -> String {
    let mut out = String::new();
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('t') => out.push('\t'),
                Some('n') => out.push('\n'),
                Some(other) => out.push(other),
                None => {}
            },
            (c, _) => out.push(c),
        }
    }
    out
}

fn type_of(text: &str) -> PgType {
    match text {
        "interval year" => PgType::new(TypeOid::INTERVAL, (4 << 16) | 0xffff),
        "interval month" => PgType::new(TypeOid::INTERVAL, (2 << 16) | 0xffff),
        "interval day" => PgType::new(TypeOid::INTERVAL, (8 << 16) | 0xffff),
        "interval hour" => PgType::new(TypeOid::INTERVAL, (0x400 << 16) | 0xffff),
        "interval day to second" => PgType::new(TypeOid::INTERVAL, (0x1c08 << 16) | 0xffff),
        "interval year to month" => PgType::new(TypeOid::INTERVAL, (6 << 16) | 0xffff),
        "interval second(2)" => PgType::new(TypeOid::INTERVAL, (0x1000 << 16) | 2),
        _ => lookup_text(text).unwrap(),
    }
}

#[test]
fn input_and_output_match_postgresql() {
    let format = FormatSettings::default();
    let mut wrong = Vec::new();
    let mut checked = 0;
    for line in include_str!("testdata/input_output.tsv").lines() {
        let fields: Vec<String> = line.split('\t').map(unescape).collect();
        let (ty, input, expected) = (&fields[0], &fields[1], &fields[2]);
        if DIFFERENT.contains(&(ty, input)) {
            continue;
        }
        let pg_type = type_of(ty);
        let got = match parse(input, pg_type, &format) {
            Ok(value) => to_string(&value, pg_type, &format),
            Err(error) => format!("!{} {}", error.state().code(), error.message()),
        };
        let got = if ty == "char(4)" && !got.starts_with('!') { format!("<{got}>") } else { got };
        // A cast cuts varchar(n) and char(n); input refuses, as an assignment does.
        let cut = got.starts_with("!22001");
        if !cut && got != *expected {
            wrong.push(format!("{ty} {input:?}: {got:?}, PostgreSQL {expected:?}"));
        }
        checked += 1;
    }
    assert!(checked > 400);
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
