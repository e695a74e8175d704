//! Casts: which one a conversion takes (PostgreSQL's find_coercion_pathway) and what it yields.

use std::sync::Arc;

use super::registry::{CastMethod, registry};
use super::{EvalContext, Function};
use crate::error::{Error, Result, SqlState};
use crate::types::names::{self, format_type};
use crate::types::{Datum, PgType, TypeOid, interval, record, text};

/// Where a cast is asked for; each allows what the ones before it allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CastContext {
    Implicit,
    Assignment,
    Explicit,
}

/// How a value of one type becomes one of another, modifiers aside.
#[derive(Debug, Clone)]
pub enum CastPath {
    /// The same bits.
    Relabel,
    Function(Arc<Function>),
    /// Through the text form.
    InOut,
    /// Field by field, to those of a composite type.
    Row,
    /// Each element of an array.
    Elements(Box<CastPath>),
}

/// `multirange(anyrange)`.
const MULTIRANGE: u32 = 4298;

/// The cast from one type to another, if the context allows one.
pub fn find_cast(source: TypeOid, target: TypeOid, context: CastContext) -> Option<CastPath> {
    if source == target {
        return Some(CastPath::Relabel);
    }
    if source == TypeOid::UNKNOWN {
        return Some(CastPath::InOut);
    }
    if source.is_row() && target == TypeOid::RECORD {
        return Some(CastPath::Relabel);
    }
    if source == TypeOid::RECORD && target.is_row() {
        return Some(CastPath::Row);
    }
    if let Some(row) = registry().cast(source, target) {
        let allowed = match row.context {
            b'i' => CastContext::Implicit,
            b'a' => CastContext::Assignment,
            _ => CastContext::Explicit,
        };
        if context < allowed {
            return None;
        }
        return Some(match &row.method {
            CastMethod::Function(function) => CastPath::Function(Arc::clone(function)),
            CastMethod::Binary => CastPath::Relabel,
            CastMethod::InOut => CastPath::InOut,
        });
    }
    if source.user_multirange() == Some(target) && context == CastContext::Explicit {
        return registry().function(MULTIRANGE).cloned().map(CastPath::Function);
    }
    // int2vector and oidvector turn into arrays, never the other way.
    let vector = matches!(source, TypeOid::INT2VECTOR | TypeOid::OIDVECTOR).then(|| source.element()).flatten();
    if let (Some(from), Some(to)) = (array_element(source).or(vector), array_element(target)) {
        return Some(match find_cast(from, to, context)? {
            CastPath::Relabel => CastPath::Relabel,
            path => CastPath::Elements(Box::new(path)),
        });
    }
    let category = names::category;
    let pseudo = |oid: TypeOid| match names::row(oid) {
        Some(row) => row.kind == b'p' && !matches!(oid, TypeOid::RECORD | TypeOid::RECORD_ARRAY),
        None => oid.user_kind().is_none(),
    };
    if pseudo(source) || pseudo(target) {
        return None;
    }
    let through_text = (context >= CastContext::Assignment && category(target) == b'S')
        || (context >= CastContext::Explicit && category(source) == b'S');
    through_text.then_some(CastPath::InOut)
}

/// Element type of a true array (not of int2vector and oidvector).
fn array_element(oid: TypeOid) -> Option<TypeOid> {
    let Some(row) = names::row(oid) else { return oid.user_element() };
    (row.category == b'A' && row.len == -1 && row.element.0 != 0 && row.kind == b'b' && row.name.starts_with('_'))
        .then_some(row.element)
}

/// 42846, as for `cannot cast type integer to date`.
pub fn no_cast(source: TypeOid, target: TypeOid) -> Error {
    Error::new(
        SqlState::CannotCoerce,
        format!("cannot cast type {} to {}", format_type(source, -1), format_type(target, -1)),
    )
}

/// Converts a value, modifier included. Explicit casts cut over-long strings silently, others raise 22001.
pub fn cast_value(value: &Datum, from: PgType, to: PgType, explicit: bool, context: &EvalContext) -> Result<Datum> {
    if value.is_null() {
        return Ok(Datum::Null);
    }
    if from.oid == to.oid {
        return apply_modifier(value.clone(), to, explicit);
    }
    let kind = if explicit { CastContext::Explicit } else { CastContext::Assignment };
    let path = find_cast(from.oid, to.oid, kind)
        .or_else(|| find_cast(from.oid, to.oid, CastContext::Explicit))
        .ok_or_else(|| no_cast(from.oid, to.oid))?;
    follow(&path, value, from, to, explicit, context)
}

/// Converts a value along a path found before.
pub fn follow(
    path: &CastPath,
    value: &Datum,
    from: PgType,
    to: PgType,
    explicit: bool,
    context: &EvalContext,
) -> Result<Datum> {
    if value.is_null() {
        return Ok(Datum::Null);
    }
    match path {
        CastPath::Relabel => apply_modifier(relabel(value, from.oid, to.oid), to, explicit),
        CastPath::Function(function) => {
            let declared = function.args.first().copied().filter(|t| !super::resolve::is_polymorphic(*t));
            let declared = declared.unwrap_or(from.oid);
            let mut args = vec![relabel(value, from.oid, declared)];
            let mut types = vec![PgType::from(declared)];
            if function.args.len() > 1 {
                args.push(Datum::Int4(to.typmod));
                types.push(TypeOid::INT4.into());
            }
            if function.args.len() > 2 {
                args.push(Datum::Bool(explicit));
                types.push(TypeOid::BOOL.into());
            }
            let result = function.call(context, &types, to.oid.into(), &args)?;
            apply_modifier(relabel(&result, to.oid, to.oid), to, explicit)
        }
        CastPath::InOut => through_text(value, from, to, explicit, context),
        CastPath::Row => row_to_composite(value, from, to, explicit, context),
        CastPath::Elements(element) => {
            let Datum::Array(items) = value else { return Err(no_cast(from.oid, to.oid)) };
            let (from, to) = (element_type(from), element_type(to));
            items.map(|item| follow(element, item, from, to, explicit, context)).map(Datum::from)
        }
    }
}

/// A row without a type as one of a composite type (42846 if their shapes differ).
fn row_to_composite(value: &Datum, from: PgType, to: PgType, explicit: bool, context: &EvalContext) -> Result<Datum> {
    let Datum::Bytea(row) = value else { return Err(no_cast(from.oid, to.oid)) };
    let fields = record::decode(row)?.fields;
    let attributes = context.format.types.attributes(to.oid)?;
    if fields.len() != attributes.len() {
        let which = if fields.len() < attributes.len() { "few" } else { "many" };
        return Err(no_cast(from.oid, to.oid).detail(format!("Input has too {which} columns.")));
    }
    let values = fields
        .iter()
        .zip(&attributes)
        .map(|(field, (_, ty))| Ok((cast_value(&field.value, field.ty, *ty, explicit, context)?, *ty)));
    Ok(record::encode(to.oid, None, &values.collect::<Result<Vec<_>>>()?))
}

fn element_type(array: PgType) -> PgType {
    PgType::new(array.oid.element().unwrap_or(TypeOid::TEXT), array.typmod)
}

/// The same bits under another type: int4 and oid are different variants of [`Datum`].
fn relabel(value: &Datum, from: TypeOid, to: TypeOid) -> Datum {
    match (value, PgType::from(to).arrow()) {
        (Datum::Int4(v), arrow::datatypes::DataType::UInt32) => Datum::Oid(*v as u32),
        (Datum::Oid(v), arrow::datatypes::DataType::Int32) => Datum::Int4(*v as i32),
        // As an array a vector still begins at 0.
        (Datum::Array(v), _) if matches!(from, TypeOid::INT2VECTOR | TypeOid::OIDVECTOR) && to != from => {
            Datum::from(v.rebased(0))
        }
        _ => value.clone(),
    }
}

fn through_text(value: &Datum, from: PgType, to: PgType, explicit: bool, context: &EvalContext) -> Result<Datum> {
    let shown = output(value, from, context)?;
    // A cast to varchar(n) cuts; input of the type would refuse.
    let limited = matches!(to.oid, TypeOid::VARCHAR | TypeOid::BPCHAR);
    let target = if limited { PgType::from(to.oid) } else { to };
    let read = input(&shown, target, context)?;
    apply_modifier(read, to, explicit)
}

/// The text form, names of reg types included.
pub fn output(value: &Datum, ty: PgType, context: &EvalContext) -> Result<String> {
    if let (Datum::Oid(1..), Some(row)) = (value, reg_row(ty.oid))
        && let (Some(function), Some(_)) = (registry().function(row.functions[1]), &context.host)
        && let Datum::Text(name) =
            function.call(context, &[ty], TypeOid::CSTRING.into(), std::slice::from_ref(value))?
    {
        return Ok(name.to_string());
    }
    if let (Datum::Array(items), Some(element)) = (value, reg_element(ty.oid, context)) {
        let name = |item: &Datum| match item {
            Datum::Null => Ok(Datum::Null),
            item => output(item, element.into(), context).map(Datum::from),
        };
        let names = Datum::Array(items.map(name)?.into());
        return Ok(text::to_string(&names, TypeOid::TEXT_ARRAY.into(), &context.format));
    }
    Ok(text::to_string(value, ty, &context.format))
}

/// Reads the text form, names of reg types included.
pub fn input(shown: &str, ty: PgType, context: &EvalContext) -> Result<Datum> {
    if let (Some(row), false) = (reg_row(ty.oid), shown.trim().bytes().all(|b| b.is_ascii_digit()))
        && let (Some(function), Some(_)) = (registry().function(row.functions[0]), &context.host)
    {
        return function.call(context, &[TypeOid::CSTRING.into()], ty, &[Datum::from(shown)]);
    }
    if let Some(element) = reg_element(ty.oid, context)
        && let Datum::Array(names) = text::parse(shown, TypeOid::TEXT_ARRAY.into(), &context.format)?
    {
        let name = |item: &Datum| match item {
            Datum::Text(name) => input(name, element.into(), context),
            other => Ok(other.clone()),
        };
        return Ok(Datum::Array(names.map(name)?.into()));
    }
    text::parse(shown, ty, &context.format)
}

/// Element type of an array of names in the catalog, where there is one to look them up.
fn reg_element(array: TypeOid, context: &EvalContext) -> Option<TypeOid> {
    array.element().filter(|element| reg_row(*element).is_some() && context.host.is_some())
}

/// Whether the text form is a name in the catalog, or an array of them.
pub fn reads_names(ty: TypeOid) -> bool {
    reg_row(ty.element().unwrap_or(ty)).is_some()
}

/// Types whose text form is a name in the catalog.
fn reg_row(oid: TypeOid) -> Option<&'static names::TypeRow> {
    use TypeOid as T;
    let reg = [
        T::REGPROC,
        T::REGPROCEDURE,
        T::REGOPER,
        T::REGOPERATOR,
        T::REGCLASS,
        T::REGTYPE,
        T::REGNAMESPACE,
        T::REGROLE,
        T::REGCOLLATION,
    ];
    if reg.contains(&oid) { names::row(oid) } else { None }
}

/// Applies a type modifier to a value of the type.
pub fn apply_modifier(value: Datum, to: PgType, explicit: bool) -> Result<Datum> {
    if to.typmod < 0 {
        return Ok(value);
    }
    Ok(match (value, to.oid) {
        (Datum::Text(v), TypeOid::VARCHAR) => Datum::from(limit(&v, to.typmod, explicit, "character varying")?),
        (Datum::Text(v), TypeOid::BPCHAR) => text::pad(limit(&v, to.typmod, explicit, "character")?, to.typmod),
        (Datum::Text(v), TypeOid::BIT | TypeOid::VARBIT) => {
            crate::types::bits::with_length(&v, to.oid, to.typmod, explicit)?
        }
        (Datum::Bytea(v), TypeOid::TIMETZ) => match crate::types::timetz::TimeTz::decode(&v) {
            Some(time) => {
                let micros = crate::types::datetime::round_micros(time.micros, to.typmod);
                crate::types::timetz::TimeTz { micros, ..time }.encode()
            }
            None => Datum::Bytea(v),
        },
        (Datum::Numeric(v), TypeOid::NUMERIC) => Datum::from(text::numeric_with_modifier(*v, to)?),
        (Datum::Time(v), _) => Datum::Time(crate::types::datetime::round_micros(v, to.typmod)),
        (Datum::Timestamp(v), _) => Datum::Timestamp(crate::types::datetime::round_timestamp(v, to.typmod)),
        (Datum::Timestamptz(v), _) => Datum::Timestamptz(crate::types::datetime::round_timestamp(v, to.typmod)),
        (Datum::Interval(v), _) => Datum::Interval(interval::adjust(v, to.typmod)?),
        (Datum::Array(items), _) => {
            let element = element_type(to);
            Datum::from(items.map(|item| apply_modifier(item.clone(), element, explicit))?)
        }
        (other, _) => other,
    })
}

fn limit<'a>(value: &'a str, typmod: i32, explicit: bool, type_name: &str) -> Result<&'a str> {
    if !explicit {
        return text::limit_length(value, typmod, type_name);
    }
    let cut = text::length_limit(typmod).and_then(|n| value.char_indices().nth(n));
    Ok(cut.map_or(value, |(at, _)| &value[..at]))
}

/// Default of an argument that a call left out; only `make_interval` and kin have defaults that we know.
pub(super) fn default_argument(function: &Function, index: usize) -> Result<(Datum, TypeOid)> {
    let ty = function.args.get(index).copied().unwrap_or(TypeOid::UNKNOWN);
    let value = match (function.name, ty) {
        ("make_interval", TypeOid::INT4) => Datum::Int4(0),
        ("make_interval", TypeOid::FLOAT8) => Datum::Float8(0.0),
        ("parse_ident" | "jsonb_set" | "jsonb_set_lax", TypeOid::BOOL) => Datum::Bool(true),
        ("jsonb_set_lax", TypeOid::TEXT) => Datum::from("use_json_null"),
        ("jsonb_insert", TypeOid::BOOL) => Datum::Bool(false),
        ("normalize" | "is_normalized", TypeOid::TEXT) => Datum::from("NFC"),
        (name, TypeOid::JSONB) if name.starts_with("jsonb_path_") => Datum::from("{}"),
        (name, TypeOid::BOOL) if name.starts_with("jsonb_path_") || name.starts_with("json_populate") => {
            Datum::Bool(false)
        }
        ("pg_terminate_backend", TypeOid::INT8) => Datum::Int8(0),
        _ => return Err(function.unsupported()),
    };
    Ok((value, ty))
}
