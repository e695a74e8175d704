//! Collations that users make, among those that every cluster has ([`crate::types::collation`]).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Catalog, Oid, SearchPath};
use crate::error::{Error, Result, SqlState};
use crate::system::deparse::quote_ident;
use crate::types::collation::{self, Builtin};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CollationDef {
    pub oid: Oid,
    pub schema: Oid,
    pub name: String,
    pub owner: Oid,
    pub order: Order,
    /// What pg_collation.collversion shows; of the rules that were there when it was made.
    pub version: Option<String>,
    pub comment: Option<String>,
}

/// How a collation orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// By bytes, under the names of these locales of the C library.
    Bytes { collate: String, ctype: String },
    /// As a language does. `deterministic`: strings are equal only if their bytes are.
    Language { locale: String, deterministic: bool },
}

impl Order {
    pub fn is_deterministic(&self) -> bool {
        !matches!(self, Order::Language { deterministic: false, .. })
    }
}

/// A collation, whoever made it.
#[derive(Debug, Clone)]
pub enum Collation {
    Builtin(&'static Builtin),
    Own(Arc<CollationDef>),
}

impl Collation {
    pub fn oid(&self) -> Oid {
        match self {
            Collation::Builtin(b) => Oid(b.oid),
            Collation::Own(c) => c.oid,
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Collation::Builtin(b) => b.name,
            Collation::Own(c) => &c.name,
        }
    }

    pub fn schema(&self) -> Oid {
        match self {
            Collation::Builtin(_) => Oid::PG_CATALOG,
            Collation::Own(c) => c.schema,
        }
    }

    /// The locale whose rules it follows and whether it is deterministic; `None`: it compares bytes.
    pub fn language(&self) -> Option<(&str, bool)> {
        match self {
            Collation::Builtin(b) => b.locale.map(|locale| (locale, true)),
            Collation::Own(c) => match &c.order {
                Order::Bytes { .. } => None,
                Order::Language { locale, deterministic } => Some((locale, *deterministic)),
            },
        }
    }
}

/// 42704
pub fn undefined(shown: &str) -> Error {
    Error::new(SqlState::UndefinedObject, format!("collation \"{shown}\" for encoding \"UTF8\" does not exist"))
}

impl Catalog {
    pub fn collation(&self, oid: Oid) -> Option<Collation> {
        match collation::builtin(oid.0) {
            Some(builtin) => Some(Collation::Builtin(builtin)),
            None => self.collations.get(&oid).cloned().map(Collation::Own),
        }
    }

    pub fn collation_in(&self, schema: Oid, name: &str) -> Option<Collation> {
        if schema == Oid::PG_CATALOG {
            return collation::builtin_named(name).map(Collation::Builtin);
        }
        let mut own = self.collations.values();
        own.find(|c| c.schema == schema && c.name == name).cloned().map(Collation::Own)
    }

    /// The collation that a name means (42704, 3F000). Stored texts name one that a user made by its number.
    pub fn find_collation(&self, schema: Option<&str>, name: &str, path: &SearchPath) -> Result<Collation> {
        if let Some(number) = name.strip_prefix(['#', '~']).and_then(|n| n.parse().ok())
            && schema == Some("pg_catalog")
        {
            return self.collation(Oid(number)).ok_or_else(|| undefined(name));
        }
        let found = match schema {
            Some(schema) => self.collation_in(self.resolve_schema(schema)?.oid, name),
            None => path.schemas.iter().find_map(|schema| self.collation_in(*schema, name)),
        };
        found.ok_or_else(|| match schema {
            Some(schema) => undefined(&format!("{schema}.{name}")),
            None => undefined(name),
        })
    }

    /// As expressions show its name.
    pub fn collation_shown(&self, collation: &Collation, path: &SearchPath) -> String {
        let name = quote_ident(collation.name());
        match self.collation_is_visible(collation, path) {
            true => name,
            false => format!("{}.{name}", quote_ident(self.schema_name(collation.schema()))),
        }
    }

    pub fn collation_is_visible(&self, collation: &Collation, path: &SearchPath) -> bool {
        let first = path.schemas.iter().find_map(|schema| self.collation_in(*schema, collation.name()));
        first.is_some_and(|found| found.oid() == collation.oid())
    }
}
