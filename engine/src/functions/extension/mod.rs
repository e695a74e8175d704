//! Functions, operators and casts of the extensions that Lockstep has. Their catalog comes from PostgreSQL's own (`*.tsv`, in the
//! formats of the built-in ones), with fixed numbers, as their types have: a registry serves all databases, whatever extensions they
//! have created.
//!
//! Invariant: a call means a function of an extension only if the extension is created, or one of its types is among the arguments.

pub mod citext;
pub mod hstore;
mod pgcrypto;
mod uuid_ossp;

use super::registry::Implementations;
use crate::types::TypeOid;

/// Functions from here on belong to extensions; the second byte tells which.
const FIRST: u32 = 0x7000_0000;

/// An extension that can be created.
pub struct Extension {
    pub name: &'static str,
    pub version: &'static str,
    pub comment: &'static str,
    /// The type that it makes, if any.
    pub type_oid: Option<TypeOid>,
    number: u32,
}

pub const EXTENSIONS: [Extension; 4] = [
    Extension {
        name: "citext",
        version: "1.6",
        comment: "data type for case-insensitive character strings",
        type_oid: Some(TypeOid::CITEXT),
        number: 0,
    },
    Extension {
        name: "hstore",
        version: "1.8",
        comment: "data type for storing sets of (key, value) pairs",
        type_oid: Some(TypeOid::HSTORE),
        number: 1,
    },
    Extension {
        name: "uuid-ossp",
        version: "1.1",
        comment: "generate universally unique identifiers (UUIDs)",
        type_oid: None,
        number: 2,
    },
    Extension { name: "pgcrypto", version: "1.3", comment: "cryptographic functions", type_oid: None, number: 3 },
];

/// The extension that a function or an operator belongs to.
pub fn of(oid: u32) -> Option<&'static Extension> {
    if !(FIRST..u32::MAX - 16).contains(&oid) {
        return None;
    }
    EXTENSIONS.iter().find(|e| e.number == oid >> 16 & 0xff)
}

pub fn by_name(name: &str) -> Option<&'static Extension> {
    EXTENSIONS.iter().find(|e| e.name == name)
}

/// Whether a type is an extension's, or an array over one.
pub fn is_type(oid: TypeOid) -> bool {
    let oid = oid.user_element().unwrap_or(oid);
    EXTENSIONS.iter().any(|e| e.type_oid == Some(oid))
}

pub(super) fn register(implementations: &mut Implementations) {
    citext::register(implementations);
    hstore::register(implementations);
    pgcrypto::register(implementations);
    uuid_ossp::register(implementations);
}
