//! Type names.

use sqlparser::ast::{self, Spanned};
use sqlparser::tokenizer::Span;

use super::{Binder, fold};
use crate::error::{Error, Result, SqlState};
use crate::types::user::UserKind;
use crate::types::{PgType, TypeOid, names};

impl Binder {
    /// The type that a type name means (42704 if there is none).
    pub fn bind_type(&mut self, ty: &ast::DataType) -> Result<PgType> {
        let (catalog, path) = (&self.environment.catalog, &self.environment.search_path);
        let find = |schema: Option<&str>, name: &str| -> Result<Option<TypeOid>> {
            if let Some(schema) = schema {
                catalog.resolve_schema(schema)?;
            }
            Ok(catalog.find_type(schema, name, path))
        };
        let found = type_of(ty, &find);
        if let Ok(array) = &found
            && array.oid.user_element().and_then(|e| e.user_kind()) == Some(UserKind::Domain)
            && catalog.base_type(*array).oid == array.oid
        {
            return Err(Error::unsupported("arrays of domains over arrays"));
        }
        found.map_err(|e| match written_name(ty) {
            Some(span) if e.report().position.is_none() => self.source.locate(e, span),
            _ => e,
        })
    }
}

/// Where a type's name stands, if it is one.
fn written_name(ty: &ast::DataType) -> Option<Span> {
    match ty {
        ast::DataType::Custom(name, _) => name.0.first().map(Spanned::span),
        ast::DataType::Array(
            ast::ArrayElemTypeDef::SquareBracket(element, _) | ast::ArrayElemTypeDef::AngleBracket(element),
        ) => written_name(element),
        _ => None,
    }
}

/// Whether stored text names the type by its number ([`crate::catalog::stored_type_name`]): constants of it are then positions.
pub(super) fn is_numbered(ty: &ast::DataType) -> bool {
    match ty {
        ast::DataType::Custom(name, _) => {
            let parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(fold).collect();
            numbered(&parts).is_some() && parts.iter().any(|p| p.starts_with('#'))
        }
        ast::DataType::Array(
            ast::ArrayElemTypeDef::SquareBracket(element, _) | ast::ArrayElemTypeDef::AngleBracket(element),
        ) => is_numbered(element),
        _ => false,
    }
}

/// The type that a number in a stored text is: `"#1"` in an expression, where constants of it are positions; `"~1"` in a query,
/// where they are what was written.
pub(super) fn numbered(parts: &[String]) -> Option<TypeOid> {
    match parts {
        [schema, name] if schema == "pg_catalog" => {
            let oid = TypeOid(name.strip_prefix(['#', '~'])?.parse().ok()?);
            oid.user_kind().map(|_| oid)
        }
        _ => None,
    }
}

/// Finds a type that users made, by its schema and name.
pub type FindType<'a> = dyn Fn(Option<&str>, &str) -> Result<Option<TypeOid>> + 'a;

/// The type that a type name means (42704 if there is none).
pub fn type_of(ty: &ast::DataType, find: &FindType<'_>) -> Result<PgType> {
    use ast::{ArrayElemTypeDef, DataType as D, ExactNumberInfo};
    let found = match ty {
        D::Array(ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element)) => {
            let mut element = type_of(element, find)?;
            // int[][] is int[] in PostgreSQL: the number of dimensions belongs to the value.
            if element.oid.element().is_some()
                && element.oid != TypeOid::INT2VECTOR
                && element.oid != TypeOid::OIDVECTOR
            {
                return Ok(element);
            }
            element.oid = element.oid.array().ok_or_else(|| {
                let name = names::format_type(element.oid, -1);
                Error::new(SqlState::UndefinedObject, format!("type \"{name}[]\" does not exist"))
            })?;
            return Ok(element);
        }
        D::Custom(name, arguments) => {
            let parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(fold).collect();
            return named(&parts, arguments, find);
        }
        D::Float(ExactNumberInfo::Precision(p)) if *p == 0 || *p > 53 => {
            let problem = if *p == 0 { "at least 1 bit" } else { "less than 54 bits" };
            return Err(Error::new(
                SqlState::InvalidParameterValue,
                format!("precision for type float must be {problem}"),
            ));
        }
        D::Float(ExactNumberInfo::Precision(p)) if *p <= 24 => Some(TypeOid::FLOAT4.into()),
        D::Float(_) => Some(TypeOid::FLOAT8.into()),
        D::Numeric(info) | D::Decimal(info) | D::Dec(info) => {
            let arguments = match info {
                ExactNumberInfo::None => vec![],
                ExactNumberInfo::Precision(p) => vec![*p as i64],
                ExactNumberInfo::PrecisionAndScale(p, s) => vec![*p as i64, *s],
            };
            Some(PgType::new(TypeOid::NUMERIC, names::type_modifier(TypeOid::NUMERIC, &arguments)?))
        }
        D::Varchar(Some(length)) | D::CharacterVarying(Some(length)) | D::CharVarying(Some(length)) => {
            Some(with_length(TypeOid::VARCHAR, length)?)
        }
        D::Char(Some(length)) | D::Character(Some(length)) => Some(with_length(TypeOid::BPCHAR, length)?),
        D::Interval { fields, precision } => {
            let fields = fields.as_ref().map(|f| f.to_string().to_lowercase());
            interval_typmod(fields.as_deref(), *precision).map(|m| PgType::new(TypeOid::INTERVAL, m))
        }
        D::JSON => Some(TypeOid::JSON.into()),
        D::JSONB => Some(TypeOid::JSONB.into()),
        D::Regclass => Some(TypeOid::REGCLASS.into()),
        D::Text => Some(TypeOid::TEXT.into()),
        D::Bytea => Some(TypeOid::BYTEA.into()),
        D::Uuid => Some(TypeOid::UUID.into()),
        other => names::lookup_text(&other.to_string()),
    };
    found.ok_or_else(|| undefined(&ty.to_string().to_lowercase()))
}

fn with_length(oid: TypeOid, length: &ast::CharacterLength) -> Result<PgType> {
    match length {
        ast::CharacterLength::IntegerLength { length, .. } => {
            Ok(PgType::new(oid, names::type_modifier(oid, &[i64::try_from(*length).unwrap_or(i64::MAX)])?))
        }
        ast::CharacterLength::Max => Err(Error::new(SqlState::SyntaxError, "syntax error at or near \"max\"")),
    }
}

fn named(parts: &[String], arguments: &[String], find: &FindType<'_>) -> Result<PgType> {
    let shown = parts.join(".");
    let oid = match parts {
        // Written as an identifier, `serial` and the like mean nothing outside column definitions.
        [name] => match names::lookup(name).or_else(|| names::lookup_sql(name)) {
            Some(oid) => Some(oid),
            None => find(None, name)?,
        },
        [schema, name] if schema == "pg_catalog" => numbered(parts).or_else(|| names::lookup(name)),
        [schema, name] => find(Some(schema), name)?,
        _ => None,
    };
    let oid = oid.ok_or_else(|| undefined(&shown))?;
    let arguments = arguments
        .iter()
        .map(|a| {
            a.trim().parse().map_err(|_| Error::new(SqlState::InvalidParameterValue, "type modifiers must be integers"))
        })
        .collect::<Result<Vec<i64>>>()?;
    Ok(PgType::new(oid, names::type_modifier(oid, &arguments)?))
}

fn undefined(name: &str) -> Error {
    Error::new(SqlState::UndefinedObject, format!("type \"{name}\" does not exist"))
}

/// Modifier of `interval day to second(3)` (PostgreSQL, datatype/timestamp.h: a mask of fields and the precision).
pub fn interval_typmod(fields: Option<&str>, precision: Option<u64>) -> Option<i32> {
    let mask = match fields {
        None => 0x7fff,
        Some("year") => 0x0004,
        Some("month") => 0x0002,
        Some("day") => 0x0008,
        Some("hour") => 0x0400,
        Some("minute") => 0x0800,
        Some("second") => 0x1000,
        Some("year to month") => 0x0006,
        Some("day to hour") => 0x0408,
        Some("day to minute") => 0x0c08,
        Some("day to second") => 0x1c08,
        Some("hour to minute") => 0x0c00,
        Some("hour to second") => 0x1c00,
        Some("minute to second") => 0x1800,
        Some(_) => return None,
    };
    match (fields, precision) {
        (None, None) => Some(-1),
        (_, Some(p)) => Some(mask << 16 | p.min(6) as i32),
        (_, None) => Some(mask << 16 | 0xffff),
    }
}
