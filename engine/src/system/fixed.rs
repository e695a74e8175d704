//! Relations whose rows are the same in every cluster (`static_rows.txt`), and those that come from the registries of types,
//! functions, operators and casts.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::relations::{PG_AM, PG_LANGUAGE, PG_OPERATOR, PG_PROC, PG_TYPE};
use super::rows::{Null, row};
use super::{RowSink, RowSource, SystemContext};
use crate::catalog::acl::ObjectKind;
use crate::catalog::{Oid, Order};
use crate::error::Result;
use crate::functions::registry::CastMethod;
use crate::functions::{Function, Kind, Volatility, extension, registry};
use crate::types::text::{self, FormatSettings};
use crate::types::{Datum, TypeOid, collation, names};

pub const SOURCES: &[(&str, RowSource)] = &[
    ("pg_catalog.pg_opfamily", fixed),
    ("pg_catalog.pg_opclass", fixed),
    ("pg_catalog.pg_amop", fixed),
    ("pg_catalog.pg_amproc", fixed),
    ("pg_catalog.pg_collation", pg_collation),
    ("pg_catalog.pg_language", fixed),
    ("pg_catalog.pg_aggregate", super::routines::pg_aggregate),
    ("pg_catalog.pg_tablespace", fixed),
    ("pg_catalog.pg_type", pg_type),
    ("pg_catalog.pg_proc", pg_proc),
    ("pg_catalog.pg_operator", pg_operator),
    ("pg_catalog.pg_cast", pg_cast),
    ("pg_catalog.pg_timezone_names", pg_timezone_names),
];

/// Lines of `static_rows.txt` by relation.
static LINES: LazyLock<HashMap<&'static str, Vec<&'static str>>> = LazyLock::new(|| {
    let mut map: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut relation = "";
    let rows = [
        include_str!("static_rows.txt"),
        include_str!("standard_rows.txt"),
        include_str!("access_methods.txt"),
        include_str!("descriptions.txt"),
    ];
    for line in rows.into_iter().flat_map(str::lines).filter(|l| !l.starts_with('#')) {
        match line.strip_prefix('@') {
            Some(name) => relation = name,
            None => map.entry(relation).or_default().push(line),
        }
    }
    map
});

/// The rows of the sink's relation in the file.
pub(super) fn fixed(_: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let format = FormatSettings::default();
    for line in LINES.get(sink.relation()).into_iter().flatten() {
        let mut row = Vec::with_capacity(sink.columns().len());
        for (field, column) in line.split('\t').zip(sink.columns()) {
            let value = match field {
                "\\N" => Datum::Null,
                field => text::parse(field, column.ty, &format)?,
            };
            row.push(value);
        }
        sink.push_row(row);
    }
    Ok(())
}

/// The comment on an object that every cluster has: by OID, with the catalog that it is in.
pub fn description(oid: Oid, class: Option<u32>) -> Option<&'static str> {
    static DESCRIPTIONS: LazyLock<HashMap<(u32, u32), &'static str>> = LazyLock::new(|| {
        let rows = LINES.get("pg_description").into_iter().flatten().filter_map(|line| {
            let mut fields = line.splitn(4, '\t');
            let (oid, class) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            Some(((oid, class), fields.nth(1)?))
        });
        rows.collect()
    });
    match class {
        Some(class) => DESCRIPTIONS.get(&(oid.0, class)).copied(),
        None => [PG_PROC, PG_TYPE, PG_OPERATOR, PG_LANGUAGE, PG_AM]
            .iter()
            .find_map(|class| DESCRIPTIONS.get(&(oid.0, *class)).copied()),
    }
}

/// Schemas and names of pg_collation.
pub fn collation_names(catalog: &crate::catalog::Catalog) -> Vec<(String, String)> {
    let builtin = collation::BUILTIN.iter().map(|b| ("pg_catalog".to_owned(), b.name.to_owned()));
    let own = catalog.collations.values().map(|c| (catalog.schema_name(c.schema).to_owned(), c.name.clone()));
    builtin.chain(own).collect()
}

fn pg_collation(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for b in collation::BUILTIN.iter() {
        let (schema, owner) = (Oid::PG_CATALOG, Oid::SUPERUSER);
        let encoding = if matches!(b.oid, collation::UCS_BASIC | collation::C_UTF8) { 6i32 } else { -1 };
        match (b.locale, b.oid) {
            (Some(locale), _) => {
                row!(sink; b.oid, b.name, schema, owner, 'i', true, encoding, Null, Null, locale, collation::VERSION);
            }
            (None, collation::DEFAULT) => {
                row!(sink; b.oid, b.name, schema, owner, 'd', true, encoding, Null, Null, Null, Null);
            }
            (None, _) => {
                let name = if b.oid == collation::UCS_BASIC { "C" } else { b.name };
                row!(sink; b.oid, b.name, schema, owner, 'c', true, encoding, name, name, Null, Null);
            }
        }
    }
    for c in context.catalog.collations.values() {
        match &c.order {
            Order::Bytes { collate, ctype } => {
                row!(sink; c.oid, &c.name, c.schema, c.owner, 'c', true, -1i32, collate, ctype, Null, c.version.clone());
            }
            Order::Language { locale, deterministic } => {
                row!(sink;
                    c.oid, &c.name, c.schema, c.owner, 'i', *deterministic, -1i32, Null, Null, locale, c.version.clone());
            }
        }
    }
    Ok(())
}

/// OID of the default operator class of a type for an access method; 0: none.
pub fn operator_class(method: u32, ty: TypeOid) -> Oid {
    static CLASSES: LazyLock<HashMap<(u32, u32), u32>> = LazyLock::new(|| {
        let rows = LINES.get("pg_opclass").into_iter().flatten().filter_map(|line| {
            let f: Vec<&str> = line.split('\t').collect();
            let number = |i: usize| f.get(i)?.parse::<u32>().ok();
            (*f.get(7)? == "t").then_some(((number(1)?, number(6)?), number(0)?))
        });
        rows.collect()
    });
    Oid(CLASSES.get(&(method, ty.0)).copied().unwrap_or(0))
}

fn pg_type(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for t in names::rows() {
        let [input, output, receive, send, modin, modout, analyze] = t.functions;
        let true_array = t.category == b'A' && t.len == -1 && t.element.0 != 0;
        let subscript: u32 = match t.oid {
            TypeOid::JSONB => 6098,
            _ if true_array => 6179,
            _ if t.element.0 != 0 => 6180,
            _ => 0,
        };
        row!(sink;
            t.oid, t.name, Oid::PG_CATALOG, Oid::SUPERUSER, t.len, t.by_value, t.kind as char, t.category as char,
            t.preferred, true, t.delimiter as char, 0u32, subscript, t.element, t.array, input, output, receive, send,
            modin, modout, analyze, t.align as char, t.storage as char, false, 0u32, -1i32, 0i32, t.collation, Null,
            Null, sink.acl(ObjectKind::Type, Oid(t.oid.0)));
    }
    let catalog = &context.catalog;
    for r in super::all() {
        row_type(r.row_type, system_array(r.row_type), r.name, r.schema, Oid::SUPERUSER, r.oid, sink);
    }
    for t in catalog.tables.values() {
        row_type(t.row_type, user_array(t.row_type), &t.name, t.schema, t.owner, t.oid, sink);
    }
    for v in catalog.views.values() {
        row_type(v.row_type, user_array(v.row_type), &v.name, v.schema, v.owner, v.oid, sink);
    }
    super::user_types::pg_type(context, sink);
    Ok(())
}

fn user_array(row_type: Oid) -> Oid {
    TypeOid(row_type.0).user_array().map_or(Oid(0), |t| Oid(t.0))
}

/// OID of the array over a system relation's row type: the one before, but for types whose own OID is fixed.
fn system_array(row_type: Oid) -> Oid {
    Oid(match row_type.0 {
        71 => 210,
        75 => 270,
        81 => 272,
        83 => 273,
        1248 => 10052,
        2842 => 10057,
        2843 => 10058,
        4066 => 10093,
        6101 => 10112,
        oid => oid - 1,
    })
}

/// The composite type of a relation's rows, and the array over it.
fn row_type(oid: Oid, array: Oid, name: &str, schema: Oid, owner: Oid, relation: Oid, sink: &mut RowSink) {
    row!(sink;
        oid, name, schema, owner, -1i16, false, 'c', 'C', false, true, ',', relation, 0u32, 0u32, array, 2290u32,
        2291u32, 2402u32, 2403u32, 0u32, 0u32, 0u32, 'd', 'x', false, 0u32, -1i32, 0i32, 0u32, Null, Null, Null);
    let name = text::truncate_name(&format!("_{name}")).to_owned();
    row!(sink;
        array, name, schema, owner, -1i16, false, 'b', 'A', false, true, ',', 0u32, 6179u32, oid, 0u32, 750u32, 751u32,
        2400u32, 2401u32, 0u32, 0u32, 3816u32, 'd', 'x', false, 0u32, -1i32, 0i32, 0u32, Null, Null, Null);
}

/// False for what belongs to an extension that is not created.
fn created(context: &SystemContext, oid: u32) -> bool {
    extension::of(oid).is_none_or(|e| context.catalog.extension(e.name).is_some())
}

fn pg_proc(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for f in registry().functions() {
        proc_row(f, sink);
    }
    for routine in context.catalog.routines.values() {
        super::routines::proc_row(routine, sink);
    }
    for f in registry().extension_functions().iter().filter(|f| created(context, f.oid)) {
        proc_row(f, sink);
    }
    Ok(())
}

fn proc_row(f: &Function, sink: &mut RowSink) {
    let kind = match f.kind {
        Kind::Scalar => 'f',
        Kind::Aggregate => 'a',
        Kind::Window => 'w',
        Kind::Procedure => 'p',
    };
    let volatility = match f.volatility {
        Volatility::Immutable => 'i',
        Volatility::Stable => 's',
        Volatility::Volatile => 'v',
    };
    let none_if_empty = |list: Vec<Datum>| if list.is_empty() { Datum::Null } else { Datum::from(list) };
    let all_args = none_if_empty(f.all_args.iter().map(|t| Datum::Oid(t.0)).collect());
    let modes = none_if_empty(f.arg_modes.iter().map(|m| Datum::from((*m as char).to_string().as_str())).collect());
    let arg_names = none_if_empty(f.arg_names.iter().map(|n| Datum::from(if *n == "-" { "" } else { n })).collect());
    // SQL functions are written with `#oid` in the registry.
    let language = if f.symbol.starts_with('#') { 14u32 } else { 12 };
    let rows = if f.returns_set { 1000.0f32 } else { 0.0 };
    row!(sink;
        f.oid, f.name, f.schema(), Oid::SUPERUSER, language, 1.0f32, rows, f.variadic.unwrap_or(TypeOid(0)), 0u32,
        kind, false, false, f.strict, f.returns_set, volatility, 's', f.args.len() as i16, f.defaults as i16, f.ret,
        f.args.clone(), all_args, modes, arg_names, Null, Null, f.symbol, Null, Null, Null,
        sink.acl(ObjectKind::Function, Oid(f.oid)));
}

fn pg_operator(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for o in registry().operators().iter().filter(|o| created(context, o.oid)) {
        let kind = if o.left.is_some() { 'b' } else { 'l' };
        row!(sink;
            o.oid, o.name, Oid::PG_CATALOG, Oid::SUPERUSER, kind, o.can_merge, o.can_hash,
            o.left.unwrap_or(TypeOid(0)), o.right, o.ret, o.commutator, o.negator, o.function.oid, 0u32, 0u32);
    }
    Ok(())
}

fn pg_cast(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let mut casts: Vec<_> = registry().casts().collect();
    casts.sort_by_key(|c| c.oid);
    for c in casts.into_iter().filter(|c| created(context, c.oid)) {
        let (function, method) = match &c.method {
            CastMethod::Function(f) => (f.oid, 'f'),
            CastMethod::Binary => (0, 'b'),
            CastMethod::InOut => (0, 'i'),
        };
        row!(sink; c.oid, c.source, c.target, function, c.context as char, method);
    }
    Ok(())
}

fn pg_timezone_names(_: &SystemContext, sink: &mut RowSink) -> Result<()> {
    timezones().into_iter().for_each(|row| sink.push(row));
    Ok(())
}

/// Every time zone: name, abbreviation and offset at the moment, and whether it is summer time.
pub fn timezones() -> Vec<[Datum; 4]> {
    use chrono::{Offset, TimeZone};
    let now = chrono::Utc::now().naive_utc();
    let row = |zone: &chrono_tz::Tz| {
        let local = zone.offset_from_utc_datetime(&now);
        let abbreviation = chrono_tz::OffsetName::abbreviation(&local).unwrap_or_default();
        let daylight = chrono_tz::OffsetComponents::dst_offset(&local).num_seconds() != 0;
        let micros = i64::from(local.fix().local_minus_utc()) * 1_000_000;
        let offset = Datum::Interval(crate::types::Interval { months: 0, days: 0, micros });
        [Datum::from(zone.name()), Datum::from(abbreviation), offset, Datum::Bool(daylight)]
    };
    chrono_tz::TZ_VARIANTS.iter().map(row).collect()
}
