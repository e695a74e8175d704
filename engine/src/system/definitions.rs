//! Reads `relations.txt`: the shape of every system relation. The file is part of the program, so a line that cannot be
//! read is our mistake: a test reads them all.

use std::collections::HashMap;

use super::{RowSource, SystemColumn, SystemRelation};
use crate::catalog::Oid;
use crate::types::names;

const RELATIONS: &str = include_str!("relations.txt");

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
    Some(SystemColumn { name, ty: names::lookup(ty.trim_end_matches('!'))?.into(), not_null })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
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
