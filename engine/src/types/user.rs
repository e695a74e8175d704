//! Types that users make: what their OIDs say about them, and who knows their names and labels.
//!
//! An OID of such a type has bit 30 set and bit 29 clear, then two bits of kind, one bit for "array over it", one for "of a temporary
//! relation" and 25 bits of the object's own number. So how a value lies in memory, compares and sorts follows from the OID alone, without a look at any catalog: the same
//! in a transaction that has just made the type, on a standby and in a checkpoint. Only names, labels and fields are looked up
//! ([`UserTypes`]). Row types of tables and views are numbered after their relation.
//!
//! Invariants:
//! 1. A kind's layout never changes; a new layout is a new kind.
//! 2. An enum's value is stored as its position: labels in order have positions in order, whatever was added between.

use std::cell::RefCell;
use std::sync::Arc;

use super::{PgType, TypeOid};
use crate::catalog::{Catalog, EnumValue, Oid, SearchPath, TypeDef};
use crate::error::{Error, Result, SqlState};
use crate::system::deparse::quote_ident;

const USER: u32 = 1 << 30;
const KIND: u32 = 27;
const ARRAY: u32 = 1 << 26;
const TEMPORARY: u32 = 1 << 25;
/// The largest number of an object that can be a type.
const NUMBER_MAX: u32 = TEMPORARY - 1;

/// In the number of a range type: the multirange over it.
const MULTIRANGE: u32 = 1 << 24;

/// How values of a type that a user made lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserKind {
    Enum,
    /// A row: of a table, a view, or CREATE TYPE … AS (…).
    Composite,
    /// Text that compares without case.
    Citext,
    Hstore,
    /// A name for another type with conditions: values are the other type's.
    Domain,
    Range,
    /// Its number is its range's.
    Multirange,
}

impl UserKind {
    fn code(self) -> u32 {
        match self {
            UserKind::Enum => 0,
            UserKind::Composite => 1,
            UserKind::Citext | UserKind::Hstore | UserKind::Range | UserKind::Multirange => 2,
            UserKind::Domain => 3,
        }
    }

    /// The OID of the type with this number (54000 when numbers are used up).
    pub fn oid(self, number: Oid) -> Result<Oid> {
        let most = if matches!(self, UserKind::Range) { MULTIRANGE - 1 } else { NUMBER_MAX };
        if number.0 > most {
            return Err(Error::new(SqlState::ProgramLimitExceeded, "all object identifiers of types are used up"));
        }
        Ok(Oid(USER | self.code() << KIND | number.0))
    }
}

/// The OID of a relation's row type.
pub const fn row_type(relation: Oid) -> Oid {
    let temporary = if relation.is_temporary() { TEMPORARY } else { 0 };
    Oid(USER | 1 << KIND | temporary | (relation.0 & NUMBER_MAX))
}

impl TypeOid {
    /// What kind of type it is, or its elements are; `None`: it is built in.
    pub const fn user_kind(self) -> Option<UserKind> {
        if self.0 & (7 << 29) != USER {
            return None;
        }
        Some(match (self.0 >> KIND & 3, self.0 & NUMBER_MAX) {
            (0, _) => UserKind::Enum,
            (1, _) => UserKind::Composite,
            (2, 0) => UserKind::Citext,
            (2, 1) => UserKind::Hstore,
            (2, number) if number & MULTIRANGE != 0 => UserKind::Multirange,
            (2, _) => UserKind::Range,
            _ => UserKind::Domain,
        })
    }

    /// The kind of a type that is no array.
    pub const fn user_scalar(self) -> Option<UserKind> {
        if self.0 & ARRAY != 0 { None } else { self.user_kind() }
    }

    /// Types of extensions have fixed numbers: there is one of each.
    pub const CITEXT: TypeOid = TypeOid(USER | 2 << KIND);
    pub const HSTORE: TypeOid = TypeOid(USER | 2 << KIND | 1);

    pub const fn is_enum(self) -> bool {
        matches!(self.user_scalar(), Some(UserKind::Enum))
    }

    /// Element type of an array over a type that a user made.
    pub const fn user_element(self) -> Option<TypeOid> {
        if self.0 & ARRAY != 0 && self.user_kind().is_some() { Some(TypeOid(self.0 & !ARRAY)) } else { None }
    }

    /// The array over a type that a user made.
    pub const fn user_array(self) -> Option<TypeOid> {
        if self.user_scalar().is_some() { Some(TypeOid(self.0 | ARRAY)) } else { None }
    }

    /// The multirange type over a range type that a user made.
    pub const fn user_multirange(self) -> Option<TypeOid> {
        if matches!(self.user_scalar(), Some(UserKind::Range)) { Some(TypeOid(self.0 | MULTIRANGE)) } else { None }
    }

    /// The range type that a multirange type that a user made is over.
    pub const fn user_range(self) -> Option<TypeOid> {
        if matches!(self.user_scalar(), Some(UserKind::Multirange)) {
            Some(TypeOid(self.0 & !MULTIRANGE))
        } else {
            None
        }
    }

    /// The number of the object that the OID was made for.
    pub const fn user_number(self) -> Oid {
        let home = if self.0 & TEMPORARY != 0 { Oid::FIRST_TEMPORARY.0 } else { 0 };
        Oid(home | (self.0 & NUMBER_MAX))
    }

    /// pg_type.typcategory of a type that a user made.
    pub fn user_category(self) -> Option<u8> {
        let kind = self.user_kind()?;
        Some(match kind {
            _ if self.user_element().is_some() => b'A',
            UserKind::Enum => b'E',
            UserKind::Composite => b'C',
            UserKind::Citext => b'S',
            UserKind::Hstore | UserKind::Domain => b'U',
            UserKind::Range | UserKind::Multirange => b'R',
        })
    }
}

/// Who knows the users' types: the catalog of the statement at hand, and the schemas whose types need no prefix. The counter is the
/// session's own, so that statements that copy it do not meet at the catalog's.
#[derive(Clone, Default)]
pub struct UserTypes(Option<Arc<(Arc<Catalog>, Vec<Oid>)>>);

impl std::fmt::Debug for UserTypes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "UserTypes(catalog)" } else { "UserTypes(none)" })
    }
}

impl PartialEq for UserTypes {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || Arc::ptr_eq(&a.0, &b.0) && a.1 == b.1,
            (a, b) => a.is_none() && b.is_none(),
        }
    }
}

impl UserTypes {
    pub fn of(catalog: &Arc<Catalog>, path: &SearchPath) -> UserTypes {
        UserTypes(Some(Arc::new((catalog.clone(), path.schemas.clone()))))
    }

    pub fn is_of(&self, catalog: &Arc<Catalog>) -> bool {
        self.catalog().is_some_and(|own| Arc::ptr_eq(own, catalog))
    }

    pub fn catalog(&self) -> Option<&Arc<Catalog>> {
        self.0.as_ref().map(|own| &own.0)
    }

    fn get(&self, ty: TypeOid) -> Option<&Arc<TypeDef>> {
        self.catalog()?.types.get(&Oid(ty.0))
    }

    fn values(&self, ty: TypeOid) -> Result<&[EnumValue]> {
        self.get(ty).and_then(|def| def.enum_values()).ok_or_else(|| missing(ty))
    }

    /// `format_type` of a type that is not built in.
    pub fn shown(&self, ty: TypeOid) -> Option<String> {
        let (catalog, schemas) = &**self.0.as_ref()?;
        catalog.type_shown(ty, schemas)
    }

    /// The label of an enum's value.
    pub fn label(&self, ty: TypeOid, position: i64) -> Option<&str> {
        let values = self.values(ty).ok()?;
        let at = values.binary_search_by_key(&position, |v| v.position).ok()?;
        values.get(at).map(|v| v.label.as_str())
    }

    /// The value of an enum with this label (22P02).
    pub fn position(&self, ty: TypeOid, label: &str) -> Result<i64> {
        if self.0.is_none() {
            // As [`super::text::write`] shows it without a catalog.
            return label.parse().map_err(|_| missing(ty));
        }
        let found = self.values(ty)?.iter().find(|v| v.label == label);
        found.map(|v| v.position).ok_or_else(|| {
            let name = self.shown(ty).unwrap_or_default();
            Error::new(SqlState::InvalidTextRepresentation, format!("invalid input value for enum {name}: \"{label}\""))
        })
    }

    /// How many fields a row of CREATE TYPE … AS (…) has; of another type 0.
    pub fn attribute_count(&self, ty: TypeOid) -> usize {
        self.get(ty).and_then(|def| def.attributes()).map_or(0, <[_]>::len)
    }

    /// Names and types of a composite type's fields.
    pub fn attributes(&self, ty: TypeOid) -> Result<Vec<(String, PgType)>> {
        let found = self.catalog().and_then(|catalog| catalog.attributes_of(ty));
        found.ok_or_else(|| missing(ty))
    }

    /// Type of the bounds of a range type that a user made.
    pub fn range_subtype(&self, ty: TypeOid) -> Result<TypeOid> {
        self.get(ty).and_then(|def| def.range()).map(|range| range.subtype).ok_or_else(|| missing(ty))
    }

    /// Name of the function that makes values of a range or multirange type that a user made.
    fn constructor(&self, ty: TypeOid) -> Option<String> {
        let (catalog, schemas) = &**self.0.as_ref()?;
        let found = catalog.types.get(&Oid(ty.0))?.constructor()?;
        let name = quote_ident(&found.name);
        Some(match schemas.contains(&found.schema) {
            true => name,
            false => format!("{}.{name}", quote_ident(catalog.schema_name(found.schema))),
        })
    }

    /// Values of an enum in their order.
    pub fn positions(&self, ty: TypeOid) -> Result<Vec<i64>> {
        Ok(self.values(ty)?.iter().map(|v| v.position).collect())
    }
}

fn missing(ty: TypeOid) -> Error {
    Error::new(SqlState::UndefinedObject, format!("type with OID {} does not exist", ty.0))
}

thread_local! {
    /// The types of the statement that this thread bound last: for their names in messages. OIDs are never reused, so a catalog that
    /// is older or newer than the statement's tells at worst an old name.
    static NAMES: RefCell<UserTypes> = RefCell::default();
}

/// Names of users' types in messages are those of this catalog from now on, on this thread.
pub fn use_names(types: UserTypes) {
    NAMES.with(|names| *names.borrow_mut() = types);
}

/// `format_type` of a type that a user made.
pub(super) fn shown(ty: TypeOid) -> Option<String> {
    ty.user_kind()?;
    NAMES.with(|names| names.borrow().shown(ty))
}

/// Type of the bounds of a range type that a user made. It never changes while the type exists.
pub(super) fn subtype(ty: TypeOid) -> Option<TypeOid> {
    ty.user_kind()?;
    NAMES.with(|names| names.borrow().range_subtype(ty).ok())
}

/// Name of the function that makes values of a range or multirange type that a user made.
pub fn constructor(ty: TypeOid) -> Option<String> {
    NAMES.with(|names| names.borrow().constructor(ty))
}
