//! Types that users make: enums, composite types, domains and those of extensions; their names among the row types of relations.
//!
//! Invariant: labels of an enum are sorted by position, and a position never changes while its label exists.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Catalog, Oid, Relation, SearchPath};
use crate::error::{Error, Result, SqlState};
use crate::system::deparse::quote_ident;
use crate::types::{PgType, TypeOid, text, user};

/// A type of pg_type that is no relation's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TypeDef {
    pub oid: Oid,
    pub schema: Oid,
    pub name: String,
    pub owner: Oid,
    pub body: TypeBody,
    /// The extension that made it.
    pub extension: Option<Oid>,
    pub comment: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum TypeBody {
    Enum(Vec<EnumValue>),
    /// Its relation in pg_class has the type's number.
    Composite(Vec<Attribute>),
    Domain(DomainDef),
    Range(RangeDef),
    /// Over the range type of its number; goes with it.
    Multirange(Constructor),
    /// Of an extension: the OID says which.
    Base,
}

/// The function that makes values of a range or multirange type. It keeps its name and schema when the type gets others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Constructor {
    pub schema: Oid,
    pub name: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RangeDef {
    /// The type of the bounds, which is no domain.
    pub subtype: TypeOid,
    /// The domain over it that was named. It has no conditions and gets none.
    pub domain: Option<Oid>,
    /// If it is not the subtype's; one by bytes.
    pub collation: Option<Oid>,
    pub constructor: Constructor,
    /// Function that tells how far apart two bounds are; shown, and nothing else.
    pub difference: Option<Oid>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DomainDef {
    /// The type of its values, which is no domain.
    pub base: PgType,
    /// The domain that it was made over.
    pub over: Option<Oid>,
    pub not_null: bool,
    /// If it is not the base type's.
    pub collation: Option<Oid>,
    /// Stored text, as of a column.
    pub default: Option<String>,
    pub checks: Vec<DomainCheck>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DomainCheck {
    pub oid: Oid,
    pub name: String,
    /// Stored text over the column `value`.
    pub expression: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attribute {
    pub name: String,
    /// A domain's is its values' type.
    pub ty: PgType,
    /// The domain, or the array over one, that it was declared as.
    pub domain: Option<Oid>,
    /// If it is not the type's.
    pub collation: Option<Oid>,
}

impl Attribute {
    /// The type as it was declared: of a domain that.
    pub fn declared(&self) -> TypeOid {
        self.domain.map_or(self.ty.oid, |domain| TypeOid(domain.0))
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnumValue {
    /// pg_enum.oid.
    pub oid: Oid,
    /// What columns hold.
    pub position: i64,
    /// pg_enum.enumsortorder: shown, and nothing else.
    pub order: f32,
    pub label: String,
}

/// An extension that was created.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExtensionDef {
    pub oid: Oid,
    pub name: String,
    pub owner: Oid,
    pub schema: Oid,
    pub version: String,
    pub comment: Option<String>,
}

/// Where an enum's new value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    First,
    Last,
    /// Before or after the value of this index.
    Before(usize),
    After(usize),
}

/// Between values that are written one after another: room for this many halvings and more, see [`position`].
const GAP: i64 = 1 << 40;
/// What a value next to another keeps from it while there is room: a run of values added at one place, each beside the one
/// before, uses this much of the gap and not half of it.
const STEP: i64 = 1 << 20;

/// The position of a new value (54000 when there is no room between its neighbours).
pub fn position(values: &[EnumValue], place: Place) -> Result<i64> {
    let at = |i: usize| values.get(i).map(|v| v.position);
    let exhausted =
        || Error::new(SqlState::ProgramLimitExceeded, "no room for another value between its neighbours in the enum");
    let first = |low: Option<i64>| low.map_or(Some(0), |low| low.checked_sub(GAP)).ok_or_else(exhausted);
    let last = |high: Option<i64>| high.map_or(Some(0), |high| high.checked_add(GAP)).ok_or_else(exhausted);
    let (low, high, near_high) = match place {
        Place::First | Place::Before(0) => return first(at(0)),
        Place::Last => return last(values.last().map(|v| v.position)),
        Place::After(i) if i + 1 >= values.len() => return last(at(i)),
        Place::Before(i) => (at(i - 1), at(i), false),
        Place::After(i) => (at(i), at(i + 1), true),
    };
    let (Some(low), Some(high)) = (low, high) else { return Err(exhausted()) };
    let room = high - low;
    if room < 2 {
        return Err(exhausted());
    }
    let step = (room / 2).min(STEP);
    Ok(if near_high { high - step } else { low + step })
}

/// Puts a value where its position belongs, and gives it PostgreSQL's sort order: between its neighbours', all anew when there is
/// no number between them.
pub fn insert_value(values: &mut Vec<EnumValue>, mut value: EnumValue) {
    let at = values.partition_point(|v| v.position < value.position);
    let before = at.checked_sub(1).and_then(|i| values.get(i)).map(|v| v.order);
    let after = values.get(at).map(|v| v.order);
    value.order = match (before, after) {
        (None, None) => 1.0,
        (Some(before), None) => before + 1.0,
        (None, Some(after)) => after - 1.0,
        (Some(before), Some(after)) => (before + after) / 2.0,
    };
    let crowded = before == Some(value.order) || after == Some(value.order);
    values.insert(at, value);
    if crowded {
        values.iter_mut().enumerate().for_each(|(i, v)| v.order = (i + 1) as f32);
    }
}

impl TypeDef {
    pub fn enum_values(&self) -> Option<&[EnumValue]> {
        match &self.body {
            TypeBody::Enum(values) => Some(values),
            _ => None,
        }
    }

    pub fn domain(&self) -> Option<&DomainDef> {
        match &self.body {
            TypeBody::Domain(domain) => Some(domain),
            _ => None,
        }
    }

    pub fn range(&self) -> Option<&RangeDef> {
        match &self.body {
            TypeBody::Range(range) => Some(range),
            _ => None,
        }
    }

    pub fn constructor(&self) -> Option<&Constructor> {
        match &self.body {
            TypeBody::Range(range) => Some(&range.constructor),
            TypeBody::Multirange(constructor) => Some(constructor),
            _ => None,
        }
    }

    pub fn attributes(&self) -> Option<&[Attribute]> {
        match &self.body {
            TypeBody::Composite(attributes) => Some(attributes),
            _ => None,
        }
    }
}

/// What a name in pg_type can stand for besides a built-in type.
#[derive(Debug, Clone)]
pub enum NamedType {
    Own(Arc<TypeDef>),
    /// The row type of a relation.
    Row(Relation),
}

impl NamedType {
    pub fn oid(&self) -> TypeOid {
        match self {
            NamedType::Own(def) => TypeOid(def.oid.0),
            NamedType::Row(relation) => TypeOid(relation.row_type().map_or(0, |t| t.0)),
        }
    }
}

impl Relation {
    /// OID of its row type, if it has one.
    pub fn row_type(&self) -> Option<Oid> {
        match self {
            Relation::Table(t) => Some(t.row_type),
            Relation::View(v) => Some(v.row_type),
            Relation::System(s) => Some(s.row_type),
            Relation::Sequence(_) | Relation::Index(..) => None,
        }
    }
}

impl Catalog {
    pub fn extension(&self, name: &str) -> Option<&Arc<ExtensionDef>> {
        self.extensions.values().find(|e| e.name == name)
    }

    /// Whether there is any type that a user made, row types of relations aside.
    pub fn has_types(&self) -> bool {
        !self.types.is_empty()
    }

    pub fn type_in(&self, schema: Oid, name: &str) -> Option<NamedType> {
        if let Some(oid) = self.type_names.get(&(schema, name.to_owned())) {
            return self.types.get(oid).cloned().map(NamedType::Own);
        }
        let relation = self.relation_in(schema, name)?;
        relation.row_type().map(|_| NamedType::Row(relation))
    }

    /// The type that a name means; an array's name (`_mood`) too. Built-in types are the caller's to look for.
    pub fn find_type(&self, schema: Option<&str>, name: &str, path: &SearchPath) -> Option<TypeOid> {
        let in_schema = |schema: Oid| {
            self.type_in(schema, name).map(|t| t.oid()).or_else(|| {
                let element = self.type_in(schema, name.strip_prefix('_')?)?.oid();
                element.user_array()
            })
        };
        match schema {
            Some(schema) => in_schema(self.schema(schema)?.oid),
            None => path.schemas.iter().find_map(|schema| in_schema(*schema)),
        }
    }

    /// The range or multirange type that a function of this name makes values of.
    pub fn constructed(&self, schema: Option<&str>, name: &str, path: &SearchPath) -> Option<TypeOid> {
        let in_schema = |schema: Oid| {
            let makes = |t: &&Arc<TypeDef>| t.constructor().is_some_and(|c| c.name == name && c.schema == schema);
            self.types.values().find(makes).map(|t| TypeOid(t.oid.0))
        };
        match schema {
            Some(schema) => in_schema(self.schema(schema)?.oid),
            None => path.schemas.iter().find_map(|schema| in_schema(*schema)),
        }
    }

    /// Schema and name of a type that is not built in; of an array its own name.
    pub fn type_name(&self, ty: TypeOid) -> Option<(Oid, String)> {
        let element = ty.user_element();
        let (schema, name) = self.scalar_type_name(element.unwrap_or(ty))?;
        Some(match element {
            Some(_) => (schema, text::truncate_name(&format!("_{name}")).to_owned()),
            None => (schema, name),
        })
    }

    fn scalar_type_name(&self, ty: TypeOid) -> Option<(Oid, String)> {
        if let Some(def) = self.types.get(&Oid(ty.0)) {
            return Some((def.schema, def.name.clone()));
        }
        let relation = self.relation_of_row(ty)?;
        Some((relation.schema(), relation.name().to_owned()))
    }

    /// The relation whose row type an OID is.
    pub fn relation_of_row(&self, ty: TypeOid) -> Option<Relation> {
        if ty.user_scalar() == Some(user::UserKind::Composite) {
            let relation = self.relation(ty.user_number())?;
            return (relation.row_type() == Some(Oid(ty.0))).then_some(relation);
        }
        crate::system::all().iter().find(|s| s.row_type.0 == ty.0).map(Relation::System)
    }

    /// Names and types of the fields of a composite type, a relation's row type included.
    pub fn attributes_of(&self, ty: TypeOid) -> Option<Vec<(String, PgType)>> {
        if let Some(def) = self.types.get(&Oid(ty.0)) {
            return Some(def.attributes()?.iter().map(|a| (a.name.clone(), a.ty)).collect());
        }
        match self.relation_of_row(ty)? {
            Relation::Table(t) => Some(t.live_columns().map(|c| (c.name.clone(), c.ty)).collect()),
            Relation::View(v) => Some(v.columns.clone()),
            _ => None,
        }
    }

    /// The type of a domain's values, or of an array over it; any other type is its own.
    pub fn base_type(&self, ty: PgType) -> PgType {
        let base = |oid: TypeOid| self.types.get(&Oid(oid.0)).and_then(|def| def.domain()).map(|domain| domain.base);
        match ty.oid.user_element() {
            Some(element) => {
                let array = base(element).and_then(|base| Some(PgType::new(base.oid.array()?, base.typmod)));
                array.unwrap_or(ty)
            }
            None => base(ty.oid).unwrap_or(ty),
        }
    }

    /// Fields of a row type whose values domains have a say in: where they stand, and the type that says it.
    pub fn domain_fields(&self, ty: TypeOid) -> Vec<(usize, TypeOid)> {
        let said = |domain: Option<Oid>, ty: TypeOid| match domain {
            Some(domain) => Some(TypeOid(domain.0)),
            None => self.holds_domains(ty).then_some(ty),
        };
        let number = |(i, said): (usize, Option<TypeOid>)| Some((i, said?));
        if let Some(def) = self.types.get(&Oid(ty.0)) {
            let attributes = def.attributes().unwrap_or_default().iter();
            return attributes.map(|a| said(a.domain, a.ty.oid)).enumerate().filter_map(number).collect();
        }
        match self.relation_of_row(ty) {
            Some(Relation::Table(t)) => {
                t.live_columns().map(|c| said(c.domain, c.ty.oid)).enumerate().filter_map(number).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether values of a type must fulfil what a domain demands: its own, its elements, its fields.
    pub fn holds_domains(&self, ty: TypeOid) -> bool {
        match ty.user_kind() {
            Some(user::UserKind::Domain) => true,
            Some(user::UserKind::Composite) => !self.domain_fields(ty.user_element().unwrap_or(ty)).is_empty(),
            _ => false,
        }
    }

    /// Whether values of a type hold, at any depth below themselves, values of a domain.
    pub fn is_made_of_domain(&self, ty: TypeOid, domain: Oid) -> bool {
        let is = |ty: TypeOid| self.is_domain_over(Oid(ty.0), domain) || self.is_made_of_domain(ty, domain);
        match ty.user_element() {
            Some(element) => is(element),
            None => match self.types.get(&Oid(ty.0)).and_then(|def| def.domain()) {
                Some(DomainDef { over, base, .. }) => {
                    self.is_made_of_domain(over.map_or(base.oid, |over| TypeOid(over.0)), domain)
                }
                None => self.domain_fields(ty).into_iter().any(|(_, ty)| is(ty)),
            },
        }
    }

    /// The default of a domain, or of the one that it is over.
    pub fn domain_default(&self, domain: Oid) -> Option<&String> {
        let domain = self.types.get(&domain)?.domain()?;
        domain.default.as_ref().or_else(|| self.domain_default(domain.over?))
    }

    /// A range type over a domain, or over one that is over it.
    pub fn range_over_domain(&self, domain: Oid) -> Option<&Arc<TypeDef>> {
        let over = |t: &&Arc<TypeDef>| t.range().and_then(|r| r.domain).is_some_and(|d| self.is_domain_over(d, domain));
        self.types.values().find(over)
    }

    /// Whether a domain is another one or over it.
    pub fn is_domain_over(&self, domain: Oid, other: Oid) -> bool {
        domain == other
            || self
                .types
                .get(&domain)
                .and_then(|d| d.domain()?.over)
                .is_some_and(|over| self.is_domain_over(over, other))
    }

    /// Whether rows of a type hold, at any depth, values of another one or arrays of these.
    pub fn row_holds(&self, ty: TypeOid, other: TypeOid) -> bool {
        let ty = ty.element().unwrap_or(ty);
        let range = ty.multirange_range().unwrap_or(ty);
        if let Some(def) = self.types.get(&Oid(range.0)).and_then(|def| def.range()) {
            return ty == other || self.row_holds(def.subtype, other);
        }
        ty == other
            || self.attributes_of(ty).is_some_and(|fields| fields.iter().any(|(_, t)| self.row_holds(t.oid, other)))
    }

    /// A column that holds rows of a type, as (relation, column).
    pub fn column_of_type(&self, ty: TypeOid) -> Option<(&str, &str)> {
        let of_type = |t: PgType| t.oid == ty || t.oid.element() == Some(ty);
        self.tables.values().find_map(|t| {
            let column = t.live_columns().find(|c| of_type(c.ty))?;
            Some((t.name.as_str(), column.name.as_str()))
        })
    }

    /// Whether its name alone finds the type. `None`: it does not exist or is built in.
    pub fn type_is_visible(&self, ty: TypeOid, schemas: &[Oid]) -> Option<bool> {
        let (schema, name) = self.type_name(ty)?;
        let first = schemas.iter().find(|s| **s == schema || self.type_in(**s, &name).is_some());
        Some(first == Some(&schema))
    }

    /// `format_type`: qualified unless one of the schemas makes its name plain.
    pub fn type_shown(&self, ty: TypeOid, schemas: &[Oid]) -> Option<String> {
        if let Some(element) = ty.user_element() {
            return Some(format!("{}[]", self.type_shown(element, schemas)?));
        }
        let (schema, name) = self.type_name(ty)?;
        let name = quote_ident(&name);
        Some(match self.type_is_visible(ty, schemas) {
            Some(true) => name,
            _ => format!("{}.{name}", quote_ident(self.schema_name(schema))),
        })
    }

    /// 42710 if pg_type has the name in the schema.
    pub fn check_type_name_is_free(&self, schema: Oid, name: &str) -> Result<()> {
        match self.type_in(schema, name) {
            None => Ok(()),
            Some(_) => Err(Error::new(SqlState::DuplicateObject, format!("type \"{name}\" already exists"))),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_find_room_at_one_place_again_and_again() {
        let mut values: Vec<EnumValue> = Vec::new();
        let mut add = |place: fn(usize) -> Place| {
            let place = place(values.len());
            let position = position(&values, place).unwrap();
            let value = EnumValue { oid: Oid(0), position, order: 0.0, label: String::new() };
            insert_value(&mut values, value);
            let at = values.iter().position(|v| v.position == position).unwrap();
            (at, values.windows(2).all(|w| w[0].position < w[1].position && w[0].order < w[1].order))
        };
        for _ in 0..3 {
            assert!(add(|_| Place::Last).1);
        }
        assert_eq!(add(|_| Place::First), (0, true));
        // Always before the last one, and always after the first one.
        for i in 0..1000 {
            assert_eq!(add(|n| Place::Before(n - 1)), (3 + i, true));
        }
        for _ in 0..1000 {
            assert_eq!(add(|_| Place::After(0)), (1, true));
        }
    }
}
