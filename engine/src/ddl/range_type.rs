//! CREATE TYPE … AS RANGE: the range type and the multirange type over it.
//!
//! Invariant: both are made, and go, together; each has its own name and schema.

use std::sync::Arc;

use sqlparser::ast::{Ident, ObjectName};

use super::names::{self, Name};
use super::syntax::user_type::RangeOption;
use super::{DdlContext, allocate_many, collation, expression, index, put, user_type};
use crate::catalog::{Catalog, Constructor, IndexMethod, Object, Oid, RangeDef, TypeBody, TypeDef};
use crate::error::{Error, Result, SqlState};
use crate::functions::{Volatility, registry, resolve};
use crate::system::deparse::type_name;
use crate::txn::Transaction;
use crate::types::names as type_names;
use crate::types::user::UserKind;
use crate::types::{PgType, TypeOid, text};

/// What the options say, each at most once.
#[derive(Default)]
struct Written<'a> {
    subtype: Option<&'a sqlparser::ast::DataType>,
    class: Option<&'a ObjectName>,
    collation: Option<&'a ObjectName>,
    canonical: Option<&'a ObjectName>,
    difference: Option<&'a ObjectName>,
    multirange: Option<&'a ObjectName>,
}

impl<'a> Written<'a> {
    fn of(options: &'a [(Ident, RangeOption)], context: &DdlContext<'_>) -> Result<Written<'a>> {
        let mut written = Written::default();
        for (key, value) in options {
            let word = names::ident(key);
            let there = match (word.as_str(), value) {
                (_, RangeOption::Subtype(ty)) => written.subtype.replace(ty).is_some(),
                ("subtype_opclass", RangeOption::Name(name)) => written.class.replace(name).is_some(),
                ("collation", RangeOption::Name(name)) => written.collation.replace(name).is_some(),
                ("canonical", RangeOption::Name(name)) => written.canonical.replace(name).is_some(),
                ("subtype_diff", RangeOption::Name(name)) => written.difference.replace(name).is_some(),
                ("multirange_type_name", RangeOption::Name(name)) => written.multirange.replace(name).is_some(),
                (other, _) => {
                    let message = format!("type attribute \"{other}\" not recognized");
                    return Err(Error::new(SqlState::SyntaxError, message));
                }
            };
            if there {
                let error = Error::new(SqlState::SyntaxError, "conflicting or redundant options");
                return Err(context.source.locate(error, key.span));
            }
        }
        Ok(written)
    }
}

pub fn create(
    name: &ObjectName,
    options: &[(Ident, RangeOption)],
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let (schema, name) = user_type::place(name, tx, context)?;
    let written = Written::of(options, context)?;
    if let Some(builtin) = written.multirange.and_then(grammars_own) {
        return Err(Error::new(SqlState::DuplicateObject, format!("type \"{builtin}\" already exists")));
    }
    let named = written.multirange.map(|name| user_type::place(name, tx, context)).transpose()?;
    let missing = || Error::new(SqlState::SyntaxError, "type attribute \"subtype\" is required");
    let (subtype, domain) = subtype(written.subtype.ok_or_else(missing)?, tx, context)?;
    if let Some(class) = written.class
        && index::operator_class(Some(&class.to_string()), subtype.into(), IndexMethod::Btree)?.is_some()
    {
        return Err(Error::unsupported(format!("a range type with the operator class {class}")));
    }
    let collation = match written.collation {
        Some(written) => chosen_collation(written, subtype, tx, context)?,
        None => None,
    };
    if written.canonical.is_some() {
        let message = "cannot specify a canonical function without a pre-created shell type";
        return Err(Error::new(SqlState::InvalidObjectDefinition, message).hint(
            "Create the type as a shell type, then create its canonicalization function, then do a full CREATE TYPE.",
        ));
    }
    let difference = written.difference.map(|name| difference(name, subtype, tx, context)).transpose()?;
    let catalog = tx.catalog();
    let (multirange_schema, multirange_name) = match named {
        Some(named) if named == (schema, name.clone()) => {
            return Err(Error::new(SqlState::DuplicateObject, format!("type \"{name}\" already exists")));
        }
        Some(named) => named,
        None => (schema, multirange_name(&name, schema, &catalog)?),
    };
    let oid = UserKind::Range.oid(allocate_many(tx, 1)?)?;
    let multirange = TypeOid(oid.0).user_multirange().ok_or_else(|| Error::internal("a range type is none"))?;
    // Both functions are made in the range type's schema.
    let constructor = |name: &str| Constructor { schema, name: name.to_owned() };
    let (of_range, of_multirange) = (constructor(&name), constructor(&multirange_name));
    let body = TypeBody::Range(RangeDef { subtype, domain, collation, constructor: of_range, difference });
    let owner = context.user;
    let def = |oid, schema, name, body| {
        Object::Type(Arc::new(TypeDef { oid, schema, name, owner, body, extension: None, comment: None }))
    };
    put(tx, def(oid, schema, name, body))?;
    put(tx, def(Oid(multirange.0), multirange_schema, multirange_name, TypeBody::Multirange(of_multirange)))?;
    Ok("CREATE TYPE".to_owned())
}

/// The built-in type that a word of the grammar means which is not its name: int.
fn grammars_own(name: &ObjectName) -> Option<&'static str> {
    let written = name.to_string().to_lowercase();
    let oid = type_names::lookup_sql(&written).filter(|_| type_names::lookup(&written).is_none())?;
    type_names::row(oid).map(|row| row.name)
}

/// `multirange` for `range` in the name, else at its end (42710 if it is taken).
fn multirange_name(range: &str, schema: Oid, catalog: &Catalog) -> Result<String> {
    let name = match range.split_once("range") {
        Some((before, after)) => format!("{before}multirange{after}"),
        None => {
            let end = (0..=range.len().min(52)).rev().find(|i| range.is_char_boundary(*i)).unwrap_or(0);
            format!("{}_multirange", range.get(..end).unwrap_or(range))
        }
    };
    let name = text::truncate_name(&name).to_owned();
    if catalog.type_in(schema, &name).is_some() {
        let detail = format!("Failed while creating a multirange type for type \"{range}\".");
        return Err(Error::new(SqlState::DuplicateObject, format!("type \"{name}\" already exists"))
            .detail(detail)
            .hint("You can manually specify a multirange type name using the \"multirange_type_name\" attribute."));
    }
    Ok(name)
}

/// The type of the bounds, and the domain over it that was written.
fn subtype(
    written: &sqlparser::ast::DataType,
    tx: &Transaction,
    context: &DdlContext<'_>,
) -> Result<(TypeOid, Option<Oid>)> {
    let bound = expression::binder(context.source.clone(), tx, context).bind_type(written);
    let named = bound.map_err(Error::unlocated)?;
    let ty = tx.catalog().base_type(named).oid;
    if type_names::row(ty).is_some_and(|t| t.kind == b'p') {
        let message = format!("range subtype cannot be {}", type_name(PgType::from(ty)));
        return Err(Error::new(SqlState::DatatypeMismatch, message));
    }
    if type_names::is_unordered(ty) || !(ty.user_kind().is_some() || type_names::supported(ty)) {
        let name = type_name(PgType::from(ty));
        let message = format!("data type {name} has no default operator class for access method \"btree\"");
        return Err(Error::new(SqlState::UndefinedObject, message).hint(
            "You must specify an operator class for the range type or define a default operator class for the subtype.",
        ));
    }
    if named.oid == ty {
        return Ok((ty, None));
    }
    let domain = Oid(named.oid.0);
    let rule = expression::domain_rule(domain, tx, context)?;
    if !rule.is_free() || rule.base.typmod >= 0 {
        return Err(Error::unsupported("a range type over a domain with conditions"));
    }
    Ok((ty, Some(domain)))
}

/// 0A000 for a collation by which bounds would be in another order than their bytes.
fn chosen_collation(
    written: &ObjectName,
    subtype: TypeOid,
    tx: &Transaction,
    context: &DdlContext<'_>,
) -> Result<Option<Oid>> {
    if type_names::layout(subtype).is_none_or(|l| l.collation == 0) {
        let message = "range collation specified but subtype does not support collation";
        return Err(Error::new(SqlState::WrongObjectType, message));
    }
    let chosen = collation::chosen(written, PgType::from(subtype), tx, context).map_err(Error::unlocated)?;
    let catalog = tx.catalog();
    if chosen.and_then(|oid| catalog.collation(oid)).is_some_and(|c| c.language().is_some()) {
        return Err(Error::unsupported("a range type with the collation of a language"));
    }
    Ok(chosen)
}

/// The function that tells how far apart two bounds are (42883, 42P17).
fn difference(name: &ObjectName, subtype: TypeOid, tx: &Transaction, context: &DdlContext<'_>) -> Result<Oid> {
    let catalog = tx.catalog();
    let shown = Name::new(name, &catalog)?;
    let types = [subtype, subtype];
    let signature = resolve::signature(&name.to_string(), &types);
    let builtin = registry().lookup(&shown.name).iter().find(|f| f.args == types);
    let schema = shown.schema.as_deref();
    let found = match builtin.filter(|_| schema.is_none_or(|s| s == "pg_catalog")) {
        Some(f) => Some((Oid(f.oid), f.ret, f.volatility)),
        None => {
            let path = context.path(&catalog);
            let own = catalog.routines_named(schema, &shown.name, &path).into_iter().find(|r| r.input_types() == types);
            own.map(|r| (r.oid, r.ret.oid, r.volatility()))
        }
    };
    let wrong = |what: &str| {
        let message = format!("range subtype diff function {signature} must {what}");
        Error::new(SqlState::InvalidObjectDefinition, message)
    };
    match found {
        None => Err(Error::new(SqlState::UndefinedFunction, format!("function {signature} does not exist"))),
        Some((_, ret, _)) if ret != TypeOid::FLOAT8 => Err(wrong("return type double precision")),
        Some((_, _, volatility)) if volatility != Volatility::Immutable => Err(wrong("be immutable")),
        Some((oid, ..)) => Ok(oid),
    }
}
