//! Names in DDL: from syntax trees to catalog names, and the names that PostgreSQL chooses itself.

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};

use crate::catalog::{Catalog, Oid, Relation, SearchPath};
use crate::error::{Error, Result, SqlState};
use crate::types::text::truncate_name;

/// An identifier as the catalog holds it: folded unless quoted, at most 63 bytes.
pub fn ident(ident: &Ident) -> String {
    let folded = match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_ascii_lowercase(),
    };
    truncate_name(&folded).to_owned()
}

/// A possibly qualified name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub schema: Option<String>,
    pub name: String,
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        f.write_str(&self.name)
    }
}

impl Name {
    /// 0A000 for a name in another database.
    pub fn new(name: &ObjectName, catalog: &Catalog) -> Result<Name> {
        let mut parts = parts(name)?;
        let last = parts.pop().ok_or_else(|| Error::internal("an empty name"))?;
        let schema = parts.pop();
        match parts.pop() {
            Some(database) if database != catalog.database.name || !parts.is_empty() => Err(Error::new(
                SqlState::FeatureNotSupported,
                format!("cross-database references are not implemented: \"{name}\""),
            )),
            _ => Ok(Name { schema, name: last }),
        }
    }

    /// What it names, if anything.
    pub fn find(&self, catalog: &Catalog, path: &SearchPath) -> Option<Relation> {
        catalog.find_relation(self.schema.as_deref(), &self.name, path)
    }

    /// What it names; 3F000 for a missing schema, 42P01 for a missing relation.
    pub fn resolve(&self, catalog: &Catalog, path: &SearchPath) -> Result<Relation> {
        if let Some(schema) = &self.schema {
            catalog.resolve_schema(schema)?;
        }
        catalog.resolve_relation(self.schema.as_deref(), &self.name, path)
    }

    /// Schema in which CREATE puts an object of this name.
    pub fn creation_schema(&self, catalog: &Catalog, path: &SearchPath) -> Result<Oid> {
        let schema = match &self.schema {
            Some(schema) => catalog.resolve_schema(schema)?.oid,
            None => path
                .creation()
                .ok_or_else(|| Error::new(SqlState::InvalidSchemaName, "no schema has been selected to create in"))?,
        };
        if schema == Oid::PG_CATALOG || schema == Oid::INFORMATION_SCHEMA {
            return Err(Error::new(
                SqlState::InsufficientPrivilege,
                format!("permission denied to create \"{}.{}\"", catalog.schema_name(schema), self.name),
            )
            .detail("System catalog modifications are currently disallowed."));
        }
        Ok(schema)
    }
}

/// The identifiers of a name.
pub fn parts(name: &ObjectName) -> Result<Vec<String>> {
    let part = |part: &ObjectNamePart| match part {
        ObjectNamePart::Identifier(i) => Ok(ident(i)),
        ObjectNamePart::Function(_) => Err(Error::new(SqlState::SyntaxError, format!("invalid name: {name}"))),
    };
    name.0.iter().map(part).collect()
}

/// `name1_name2_label`, its first two parts cut so that it stays within 63 bytes (PostgreSQL's makeObjectName).
pub fn object_name(name1: &str, name2: Option<&str>, label: &str) -> String {
    const LONGEST: usize = 63;
    let overhead = 1 + label.len() + usize::from(name2.is_some());
    let available = LONGEST.saturating_sub(overhead);
    let (mut len1, mut len2) = (name1.len(), name2.map_or(0, str::len));
    while len1 + len2 > available {
        if len1 > len2 {
            len1 -= 1;
        } else {
            len2 -= 1;
        }
    }
    let mut out = floor(name1, len1).to_owned();
    if let Some(name2) = name2 {
        out.push('_');
        out.push_str(floor(name2, len2));
    }
    out.push('_');
    out.push_str(label);
    out
}

fn floor(text: &str, mut len: usize) -> &str {
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    &text[..len]
}

/// The first of `…_label`, `…_label1`, `…_label2`, … that is not taken.
pub fn choose(name1: &str, name2: Option<&str>, label: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut pass = 0u32;
    loop {
        let label = if pass == 0 { label.to_owned() } else { format!("{label}{pass}") };
        let name = object_name(name1, name2, &label);
        if !taken(&name) {
            return name;
        }
        pass += 1;
    }
}

/// Column names joined as index and constraint names hold them.
pub fn joined<'a>(columns: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = String::new();
    for column in columns {
        if !out.is_empty() {
            out.push('_');
        }
        out.push_str(column);
        if out.len() >= 64 {
            break;
        }
    }
    out
}

/// Whether a name is free for a relation in a schema.
pub fn is_taken(catalog: &Catalog, schema: Oid, name: &str) -> bool {
    catalog.relation_in(schema, name).is_some()
}

/// Whether a constraint of some table in the schema has this name.
pub fn constraint_is_taken(catalog: &Catalog, schema: Oid, name: &str) -> bool {
    catalog.tables.values().any(|t| t.schema == schema && t.constraint(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_like_postgresql_does() {
        assert_eq!(object_name("t", Some("a"), "key"), "t_a_key");
        assert_eq!(object_name("t", None, "pkey"), "t_pkey");
        let long = "a".repeat(63);
        assert_eq!(object_name(&long, None, "pkey").len(), 63);
        let name = object_name(&long, Some(&"b".repeat(63)), "fkey");
        assert_eq!(name, format!("{}_{}_fkey", "a".repeat(29), "b".repeat(28)));
        assert_eq!(choose("t", Some("a"), "check", |n| n == "t_a_check"), "t_a_check1");
    }
}
