//! Reads `relations.txt`: the shape of every system relation; and `types.txt`: PostgreSQL's types, the rows of pg_type.
//!
//! The files are part of the program, so a line that cannot be read is our mistake: a test reads them all.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{RowSource, SystemColumn, SystemRelation};
use crate::catalog::Oid;
use crate::types::TypeOid;

const RELATIONS: &str = include_str!("relations.txt");
const TYPES: &str = include_str!("types.txt");

/// One built-in type, as pg_type shows it.
#[derive(Debug, Clone)]
pub struct TypeRow {
    pub oid: TypeOid,
    pub name: &'static str,
    pub len: i16,
    pub by_value: bool,
    /// `b` base, `p` pseudo, `r` range, `m` multirange.
    pub kind: &'static str,
    pub category: &'static str,
    pub preferred: bool,
    pub delimiter: &'static str,
    pub element: u32,
    pub array: u32,
    pub align: &'static str,
    pub storage: &'static str,
    pub collation: u32,
    /// Names of input, output, receive, send, typmod-in, typmod-out and subscript functions; `-`: none.
    pub functions: Vec<&'static str>,
}

/// Built-in types in order of OID.
pub fn types() -> &'static [TypeRow] {
    &TYPE_ROWS
}

/// A built-in type by its name in pg_type (`int4`, `_text`).
pub fn type_by_name(name: &str) -> Option<&'static TypeRow> {
    TYPE_ROWS.get(*TYPE_NAMES.get(name)?)
}

pub fn type_by_oid(oid: TypeOid) -> Option<&'static TypeRow> {
    let i = TYPE_ROWS.binary_search_by_key(&oid, |t| t.oid).ok()?;
    TYPE_ROWS.get(i)
}

static TYPE_ROWS: LazyLock<Vec<TypeRow>> = LazyLock::new(|| {
    let lines = TYPES.lines().filter(|l| !l.starts_with('#'));
    lines.filter_map(type_row).collect()
});

static TYPE_NAMES: LazyLock<HashMap<&'static str, usize>> = LazyLock::new(|| {
    let rows = TYPE_ROWS.iter().enumerate();
    rows.map(|(i, t)| (t.name, i)).collect()
});

fn type_row(line: &'static str) -> Option<TypeRow> {
    let mut words = line.split(' ');
    let mut next = || words.next();
    Some(TypeRow {
        oid: TypeOid(next()?.parse().ok()?),
        name: next()?,
        len: next()?.parse().ok()?,
        by_value: next()? == "1",
        kind: next()?,
        category: next()?,
        preferred: next()? == "1",
        delimiter: next()?,
        element: next()?.parse().ok()?,
        array: next()?.parse().ok()?,
        align: next()?,
        storage: next()?,
        collation: next()?.parse().ok()?,
        functions: words.collect(),
    })
}

/// The relations of `relations.txt` that have a row source.
pub(super) fn relations<'a>(sources: impl Iterator<Item = &'a (&'static str, RowSource)>) -> Vec<SystemRelation> {
    let sources: HashMap<&str, RowSource> = sources.copied().collect();
    let mut relations: Vec<SystemRelation> = Vec::new();
    let mut wanted = false;
    for line in RELATIONS.lines().filter(|l| !l.starts_with('#')) {
        if let Some(column) = line.strip_prefix("  ") {
            if let (true, Some(relation)) = (wanted, relations.last_mut()) {
                relation.columns.extend(column_of(column));
            }
            continue;
        }
        let header =
            line.split(' ').next().and_then(|name| sources.get(name)).and_then(|source| relation_of(line, *source));
        wanted = header.is_some();
        relations.extend(header);
    }
    relations
}

fn relation_of(line: &'static str, source: RowSource) -> Option<SystemRelation> {
    let mut words = line.split(' ');
    let (schema, name) = words.next()?.split_once('.')?;
    Some(SystemRelation {
        schema: match schema {
            "pg_catalog" => Oid::PG_CATALOG,
            _ => Oid::INFORMATION_SCHEMA,
        },
        name,
        oid: Oid(words.next()?.parse().ok()?),
        row_type: Oid(words.next()?.parse().ok()?),
        view: words.next()? == "view",
        columns: Vec::new(),
        source,
    })
}

fn column_of(line: &'static str) -> Option<SystemColumn> {
    let (name, ty) = line.split_once(' ')?;
    let not_null = ty.ends_with('!');
    Some(SystemColumn { name, ty: type_by_name(ty.trim_end_matches('!'))?.oid.into(), not_null })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
        let lines = |text: &str| text.lines().filter(|l| !l.starts_with('#')).count();
        assert_eq!(types().len(), lines(TYPES));
        assert!(types().is_sorted_by_key(|t| t.oid));
        let columns = RELATIONS.lines().filter_map(|l| l.strip_prefix("  "));
        for column in columns {
            assert!(column_of(column).is_some(), "{column}");
        }
        let headers = RELATIONS.lines().filter(|l| !l.starts_with(['#', ' ']));
        for header in headers {
            assert!(relation_of(header, |_, _| Ok(())).is_some(), "{header}");
        }
    }

    #[test]
    fn every_source_has_a_definition() {
        let sources: Vec<&str> = super::super::FAMILIES.iter().flat_map(|f| f.iter()).map(|s| s.0).collect();
        for name in &sources {
            let defined = RELATIONS.lines().any(|l| l.split(' ').next() == Some(name));
            assert!(defined, "{name}");
        }
        assert_eq!(sources.len(), super::super::all().len());
    }
}
