//! Built-in types by OID and by name: the rows of pg_type, the aliases of SQL, type modifiers and `format_type`.
//!
//! `pg_type.tsv` is PostgreSQL 15's own catalog: base, pseudo, range and multirange types with their arrays. A row here says
//! that the name resolves; [`supported`] says whether values of the type can exist.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::user::UserKind;
use super::{PgType, TypeOid};
use crate::error::{Error, Result, SqlState};

/// A row of pg_type.
#[derive(Debug, Clone)]
pub struct TypeRow {
    pub oid: TypeOid,
    pub name: &'static str,
    /// -1: variable, -2: C string.
    pub len: i16,
    pub by_value: bool,
    /// `b` base, `p` pseudo, `r` range, `m` multirange.
    pub kind: u8,
    pub category: u8,
    pub preferred: bool,
    pub delimiter: u8,
    pub element: TypeOid,
    pub array: TypeOid,
    /// pg_proc OIDs of input, output, receive, send, typmodin, typmodout, analyze.
    pub functions: [u32; 7],
    pub align: u8,
    pub storage: u8,
    pub collation: u32,
    /// Names of input, output, receive and send.
    pub function_names: [&'static str; 4],
}

struct Table {
    rows: Vec<TypeRow>,
    by_oid: HashMap<TypeOid, usize>,
    by_name: HashMap<&'static str, usize>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let rows: Vec<TypeRow> = include_str!("pg_type.tsv").lines().filter_map(read_row).collect();
    let by_oid = rows.iter().enumerate().map(|(i, r)| (r.oid, i)).collect();
    let by_name = rows.iter().enumerate().map(|(i, r)| (r.name, i)).collect();
    Table { rows, by_oid, by_name }
});

fn read_row(line: &'static str) -> Option<TypeRow> {
    let f: Vec<&'static str> = line.split('\t').collect();
    let number = |i: usize| f.get(i)?.parse::<u32>().ok();
    let byte = |i: usize| f.get(i)?.bytes().next();
    let name_of = |i: usize| f.get(i).copied().unwrap_or("-");
    Some(TypeRow {
        oid: TypeOid(number(0)?),
        name: f.get(1)?,
        len: f.get(2)?.parse().ok()?,
        by_value: byte(3)? == b't',
        kind: byte(4)?,
        category: byte(5)?,
        preferred: byte(6)? == b't',
        delimiter: byte(8)?,
        element: TypeOid(number(9)?),
        array: TypeOid(number(10)?),
        functions: [number(11)?, number(12)?, number(13)?, number(14)?, number(15)?, number(16)?, number(17)?],
        align: byte(18)?,
        storage: byte(19)?,
        collation: number(20)?,
        function_names: [name_of(21), name_of(22), name_of(23), name_of(24)],
    })
}

/// All built-in types, by OID.
pub fn rows() -> &'static [TypeRow] {
    &TABLE.rows
}

/// The row of a type.
pub fn row(oid: TypeOid) -> Option<&'static TypeRow> {
    TABLE.by_oid.get(&oid).and_then(|i| TABLE.rows.get(*i))
}

/// Whether values of the type can be stored and computed; others only have a name.
pub fn supported(oid: TypeOid) -> bool {
    use TypeOid as T;
    if oid == T::RECORD || oid == T::RECORD_ARRAY || oid == T::VOID {
        return true;
    }
    let base = match row(oid) {
        Some(row) if row.category == b'A' && row.element.0 != 0 => match oid.element() {
            Some(element) => element,
            None => return false,
        },
        _ => oid,
    };
    let unsupported = [T::XML];
    row(base).is_some_and(|r| matches!(r.kind, b'b' | b'r' | b'm') && r.oid.0 < 6000)
        && !unsupported.contains(&base)
        && (base.array().is_some() || base == T::PG_NODE_TREE)
}

/// Whether the values of a type have no order: json, and what is drawn. Nor do their arrays.
pub fn is_unordered(oid: TypeOid) -> bool {
    use TypeOid as T;
    let base = oid.element().unwrap_or(oid);
    let drawn = super::geometry::is_geometric(base);
    drawn || matches!(base, T::JSON | T::XML | T::JSONPATH | T::PG_SNAPSHOT | T::TXID_SNAPSHOT)
}

/// What stands between the members of an array of this type.
pub fn delimiter(element: TypeOid) -> u8 {
    if element == TypeOid::BOX { b';' } else { b',' }
}

/// Names of the SQL grammar that differ from pg_type's.
const ALIASES: &[(&str, TypeOid)] = &[
    ("int", TypeOid::INT4),
    ("integer", TypeOid::INT4),
    ("smallint", TypeOid::INT2),
    ("bigint", TypeOid::INT8),
    ("serial", TypeOid::INT4),
    ("serial4", TypeOid::INT4),
    ("smallserial", TypeOid::INT2),
    ("serial2", TypeOid::INT2),
    ("bigserial", TypeOid::INT8),
    ("serial8", TypeOid::INT8),
    ("real", TypeOid::FLOAT4),
    ("float", TypeOid::FLOAT8),
    ("double precision", TypeOid::FLOAT8),
    ("decimal", TypeOid::NUMERIC),
    ("dec", TypeOid::NUMERIC),
    ("boolean", TypeOid::BOOL),
    ("character varying", TypeOid::VARCHAR),
    ("char varying", TypeOid::VARCHAR),
    ("character", TypeOid::BPCHAR),
    ("char", TypeOid::BPCHAR),
    ("nchar", TypeOid::BPCHAR),
    ("national character", TypeOid::BPCHAR),
    ("timestamp without time zone", TypeOid::TIMESTAMP),
    ("timestamp with time zone", TypeOid::TIMESTAMPTZ),
    ("time without time zone", TypeOid::TIME),
    ("time with time zone", TypeOid::TIMETZ),
    ("bit varying", TypeOid::VARBIT),
];

/// pg_type.typcategory; `X` for what is unknown.
pub fn category(oid: TypeOid) -> u8 {
    row(oid).map(|r| r.category).or_else(|| oid.user_category()).unwrap_or(b'X')
}

/// What pg_type and pg_attribute say about a type's values.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    pub len: i16,
    pub by_value: bool,
    pub align: u8,
    pub storage: u8,
    pub collation: u32,
}

pub fn layout(oid: TypeOid) -> Option<Layout> {
    if let Some(r) = row(oid) {
        let (len, by_value, align, storage, collation) = (r.len, r.by_value, r.align, r.storage, r.collation);
        return Some(Layout { len, by_value, align, storage, collation });
    }
    let kind = oid.user_kind()?;
    let variable = |align, collation| Layout { len: -1, by_value: false, align, storage: b'x', collation };
    Some(match kind {
        UserKind::Enum if oid.user_element().is_none() => {
            Layout { len: 4, by_value: true, align: b'i', storage: b'p', collation: 0 }
        }
        UserKind::Composite => variable(b'd', 0),
        UserKind::Citext => variable(b'i', 100),
        UserKind::Enum | UserKind::Hstore | UserKind::Domain => variable(b'i', 0),
        UserKind::Range | UserKind::Multirange => {
            let range = oid.user_element().unwrap_or(oid);
            variable(range_alignment(range.user_range().unwrap_or(range).range_subtype()), 0)
        }
    })
}

/// How a range or multirange type is aligned: as its bounds are, but by four bytes at least.
pub fn range_alignment(subtype: Option<TypeOid>) -> u8 {
    let bounds = subtype.and_then(layout);
    if bounds.is_some_and(|l| l.align == b'd') { b'd' } else { b'i' }
}

/// The element type of an array, int2vector and oidvector included.
pub fn element_of(array: TypeOid) -> Option<TypeOid> {
    match row(array) {
        Some(row) => (is_array(row) && row.element.0 != 0).then_some(row.element),
        None => array.user_element(),
    }
}

/// Arrays of records are pseudo-types, too.
fn is_array(row: &TypeRow) -> bool {
    row.category == b'A' || row.oid == TypeOid::RECORD_ARRAY
}

/// The array type over a type.
pub fn array_of(element: TypeOid) -> Option<TypeOid> {
    match row(element) {
        Some(row) => Some(row.array).filter(|a| a.0 != 0),
        None => element.user_array(),
    }
}

/// A type by its name in pg_type (a quoted or schema-qualified name): `int4`, `_text`, `char` for "char".
pub fn lookup(name: &str) -> Option<TypeOid> {
    TABLE.by_name.get(name).and_then(|i| TABLE.rows.get(*i)).map(|r| r.oid)
}

/// A type by a name of SQL in lower case: the grammar's own (`double precision`, `char`) first, then pg_type's.
pub fn lookup_sql(name: &str) -> Option<TypeOid> {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, oid)| *oid);
    alias.or_else(|| lookup(name))
}

/// A type as text, as `regtype` reads it: `pg_catalog.int4`, `"char"`, `numeric(10,2)`, `timestamp(3) with time zone[]`.
pub fn lookup_text(text: &str) -> Option<PgType> {
    let mut body = text.trim();
    let mut dimensions = false;
    while let Some(rest) = body.strip_suffix(']') {
        body = rest.trim_end_matches(|c: char| c.is_ascii_digit()).strip_suffix('[')?.trim_end();
        dimensions = true;
    }
    let body = body.strip_prefix("pg_catalog.").unwrap_or(body);
    let (oid, typmod) = match body.strip_prefix('"').and_then(|b| b.strip_suffix('"')) {
        Some(quoted) => (lookup(quoted)?, -1),
        None => {
            let lower = body.to_ascii_lowercase();
            let (name, arguments) = match (lower.find('('), lower.find(')')) {
                (Some(open), Some(close)) if open < close => {
                    let name = format!("{} {}", lower[..open].trim(), lower[close + 1..].trim());
                    (name.trim().to_string(), Some(lower[open + 1..close].to_string()))
                }
                _ => (lower, None),
            };
            let name = name.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            let oid = lookup_sql(&name)?;
            let typmod = match arguments {
                Some(list) => {
                    let numbers: Option<Vec<i64>> = list.split(',').map(|n| n.trim().parse().ok()).collect();
                    type_modifier(oid, &numbers?).ok()?
                }
                None => default_modifier(oid, &name),
            };
            (oid, typmod)
        }
    };
    let oid = if dimensions { row(oid)?.array } else { oid };
    Some(PgType::new(oid, typmod))
}

/// Modifier of a type that was written without one: `char` is `char(1)`.
pub fn default_modifier(oid: TypeOid, written: &str) -> i32 {
    match (oid, written) {
        (TypeOid::BPCHAR, "char" | "character" | "nchar" | "national character") => 5,
        (TypeOid::BIT, "bit") => 1,
        _ => -1,
    }
}

/// `atttypmod` of a type written with arguments, as in `numeric(10, 2)` (22023).
pub fn type_modifier(oid: TypeOid, arguments: &[i64]) -> Result<i32> {
    let invalid = |message: String| Err(Error::new(SqlState::InvalidParameterValue, message));
    match (oid, arguments) {
        (_, []) => Ok(-1),
        (TypeOid::NUMERIC, [precision, rest @ ..]) if rest.len() < 2 => {
            let scale = rest.first().copied().unwrap_or(0);
            if !(1..=1000).contains(precision) {
                return invalid(format!("NUMERIC precision {precision} must be between 1 and 1000"));
            }
            if !(-1000..=1000).contains(&scale) {
                return invalid(format!("NUMERIC scale {scale} must be between -1000 and 1000"));
            }
            Ok(PgType::numeric_typmod(*precision as u16, scale as i16))
        }
        (TypeOid::NUMERIC, _) => invalid("invalid NUMERIC type modifier".into()),
        (TypeOid::VARCHAR | TypeOid::BPCHAR, [length]) => {
            let name = if oid == TypeOid::VARCHAR { "varchar" } else { "char" };
            if *length < 1 {
                return invalid(format!("length for type {name} must be at least 1"));
            }
            if *length > 10_485_760 {
                return invalid(format!("length for type {name} cannot exceed 10485760"));
            }
            Ok(*length as i32 + 4)
        }
        (TypeOid::TIME | TypeOid::TIMESTAMP | TypeOid::TIMESTAMPTZ | TypeOid::TIMETZ, [precision]) => {
            if *precision < 0 {
                return invalid(format!("{}({precision}) precision must not be negative", temporal_name(oid)));
            }
            Ok((*precision).min(6) as i32)
        }
        (TypeOid::INTERVAL, [precision]) if (0..=6).contains(precision) => Ok((0x7fff << 16) | *precision as i32),
        (TypeOid::INTERVAL, [range, precision]) => Ok(((*range as i32) << 16) | *precision as i32),
        (TypeOid::BIT | TypeOid::VARBIT, [length]) => {
            let name = if oid == TypeOid::BIT { "bit" } else { "varbit" };
            if *length < 1 {
                return invalid(format!("length for type {name} must be at least 1"));
            }
            if *length > 83_886_080 {
                return invalid(format!("length for type {name} cannot exceed 83886080"));
            }
            Ok(*length as i32)
        }
        _ => Err(Error::new(
            SqlState::SyntaxError,
            format!("type modifier is not allowed for type \"{}\"", row(oid).map_or("???", |r| r.name)),
        )),
    }
}

fn temporal_name(oid: TypeOid) -> &'static str {
    match oid {
        TypeOid::TIME | TypeOid::TIMETZ => "TIME",
        _ => "TIMESTAMP",
    }
}

/// The type as SQL writes it: `character varying(10)`, `integer[]`.
pub fn format_type(oid: TypeOid, typmod: i32) -> String {
    use TypeOid as T;
    if let Some(name) = super::user::shown(oid) {
        return name;
    }
    if let Some(row) = row(oid) {
        let true_array = is_array(row) && row.element.0 != 0 && row.name.starts_with('_');
        if true_array {
            return format!("{}[]", format_type(row.element, typmod));
        }
    }
    let with = |name: &str, n: i32| {
        if typmod >= 0 { format!("{name}({n})") } else { name.to_string() }
    };
    match oid {
        T::BOOL => "boolean".into(),
        T::INT2 => "smallint".into(),
        T::INT4 => "integer".into(),
        T::INT8 => "bigint".into(),
        T::FLOAT4 => "real".into(),
        T::FLOAT8 => "double precision".into(),
        T::CHAR => "\"char\"".into(),
        T::ANY => "\"any\"".into(),
        T::VARCHAR => with("character varying", typmod - 4),
        T::BPCHAR if typmod < 0 => "character".into(),
        T::BPCHAR => with("character", typmod - 4),
        T::BIT => with("bit", typmod),
        T::VARBIT => with("bit varying", typmod),
        T::NUMERIC => match PgType::new(oid, typmod).numeric_precision_scale() {
            Some((precision, scale)) => format!("numeric({precision},{scale})"),
            None => "numeric".into(),
        },
        T::TIME => format!("{} without time zone", with("time", typmod)),
        T::TIMETZ => format!("{} with time zone", with("time", typmod)),
        T::TIMESTAMP => format!("{} without time zone", with("timestamp", typmod)),
        T::TIMESTAMPTZ => format!("{} with time zone", with("timestamp", typmod)),
        T::INTERVAL => format_interval(typmod),
        TypeOid(0) => "-".into(),
        _ => match row(oid) {
            Some(row) => row.name.to_string(),
            None => "???".into(),
        },
    }
}

/// The type with its modifier, or as one that has none: `bit` and `character` alone are read as `bit(1)` and `character(1)`.
pub fn format_modified(ty: PgType) -> String {
    match ty.oid {
        TypeOid::BIT if ty.typmod < 0 => "\"bit\"".into(),
        TypeOid::BIT_ARRAY if ty.typmod < 0 => "\"bit\"[]".into(),
        TypeOid::BPCHAR if ty.typmod < 0 => "bpchar".into(),
        TypeOid::BPCHAR_ARRAY if ty.typmod < 0 => "bpchar[]".into(),
        _ => format_type(ty.oid, ty.typmod),
    }
}

fn format_interval(typmod: i32) -> String {
    if typmod < 0 {
        return "interval".into();
    }
    let (range, precision) = ((typmod >> 16) & 0x7fff, typmod & 0xffff);
    let fields = match range {
        0x0004 => " year",
        0x0002 => " month",
        0x0008 => " day",
        0x0400 => " hour",
        0x0800 => " minute",
        0x1000 => " second",
        0x0006 => " year to month",
        0x0408 => " day to hour",
        0x0c08 => " day to minute",
        0x1c08 => " day to second",
        0x0c00 => " hour to minute",
        0x1c00 => " hour to second",
        0x1800 => " minute to second",
        _ => "",
    };
    if precision <= 6 { format!("interval{fields}({precision})") } else { format!("interval{fields}") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_both_ways() {
        for (text, oid, shown) in [
            ("int", TypeOid::INT4, "integer"),
            ("\"char\"", TypeOid::CHAR, "\"char\""),
            ("char", TypeOid::BPCHAR, "character(1)"),
            ("numeric(10,2)", TypeOid::NUMERIC, "numeric(10,2)"),
            ("timestamp(3) with time zone", TypeOid::TIMESTAMPTZ, "timestamp(3) with time zone"),
            ("varchar(20)[]", TypeOid::VARCHAR_ARRAY, "character varying(20)[]"),
            ("pg_catalog.int8", TypeOid::INT8, "bigint"),
            ("Double  Precision", TypeOid::FLOAT8, "double precision"),
            ("int2vector", TypeOid::INT2VECTOR, "int2vector"),
            ("record", TypeOid::RECORD, "record"),
        ] {
            let ty = lookup_text(text).unwrap();
            assert_eq!((ty.oid, format_type(ty.oid, ty.typmod).as_str()), (oid, shown), "{text}");
        }
        assert_eq!(lookup_text("nosuch"), None);
        for (oid, shown) in [(TypeOid::BIT, "\"bit\""), (TypeOid::BPCHAR_ARRAY, "bpchar[]"), (TypeOid::INT4, "integer")]
        {
            assert_eq!(format_modified(oid.into()), shown);
            assert_eq!(lookup_text(shown), Some(oid.into()));
        }
    }

    #[test]
    fn every_supported_type_has_its_array_in_step() {
        for row in rows() {
            if let Some(array) = row.oid.array().filter(|_| row.oid != TypeOid::UNKNOWN) {
                assert_eq!(array, row.array, "{}", row.name);
            }
        }
        assert!(supported(TypeOid::INT4) && supported(TypeOid::JSONB_ARRAY) && supported(TypeOid::REGCLASS));
        assert!(
            supported(TypeOid::INET)
                && supported(TypeOid::BOX)
                && supported(TypeOid::INT4RANGE)
                && !supported(TypeOid(3831))
        );
    }
}
