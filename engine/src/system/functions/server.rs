//! Functions about the session and the server as the catalog and its host know them.

use super::{Implementation, SetImplementation, bool_arg, int_arg, oid_arg, optional, relation_arg, text, text_arg};
use crate::catalog::Relation;
use crate::error::Result;
use crate::functions::Call;
use crate::sql::bind::from::{SEQUENCE_CALLED, SEQUENCE_VALUE};
use crate::sql::bind::view_target::is_updatable;
use crate::system::relations::role_name;
use crate::system::{SystemContext, deparse};
use crate::types::Datum;

pub const SCALARS: &[(&str, Implementation)] = &[
    ("current_database", |c, _, _| Ok(text(&c.catalog.database.name))),
    ("current_catalog", |c, _, _| Ok(text(&c.catalog.database.name))),
    ("current_user", |c, _, _| Ok(text(role_name(&c.catalog, c.user)))),
    ("session_user", |c, _, _| Ok(text(role_name(&c.catalog, c.host.session_user().unwrap_or(c.user))))),
    ("user", |c, _, _| Ok(text(role_name(&c.catalog, c.user)))),
    ("current_role", |c, _, _| Ok(text(role_name(&c.catalog, c.user)))),
    ("pg_get_userbyid", user_by_id),
    ("current_schema", |c, _, _| Ok(optional(c.path.creation().map(|s| c.catalog.schema_name(s))))),
    ("current_schemas", current_schemas),
    ("version", |_, _, _| Ok(text(version()))),
    ("lockstep_version", |_, _, _| Ok(text(env!("CARGO_PKG_VERSION")))),
    ("pg_backend_pid", |c, _, _| Ok(Datum::Int4(c.host.backend_pid()))),
    ("pg_blocking_pids", blocking_pids),
    // A read-only transaction waits for nobody.
    ("pg_safe_snapshot_blocking_pids", |_, _, _| Ok(Datum::Array(std::sync::Arc::default()))),
    ("pg_postmaster_start_time", |c, _, _| Ok(Datum::Timestamptz(c.host.server_start()))),
    ("pg_conf_load_time", |c, _, _| Ok(Datum::Timestamptz(c.host.server_start()))),
    ("getdatabaseencoding", |_, _, _| Ok(text("UTF8"))),
    ("pg_client_encoding", |_, _, _| Ok(text("UTF8"))),
    ("pg_encoding_to_char", encoding_to_char),
    ("pg_char_to_encoding", char_to_encoding),
    ("pg_my_temp_schema", |c, _, _| Ok(Datum::Oid(c.catalog.temporary_schema().map_or(0, |s| s.0)))),
    ("pg_is_other_temp_schema", |_, _, _| Ok(Datum::Bool(false))),
    ("pg_tablespace_location", |_, _, _| Ok(text(""))),
    ("pg_relation_is_updatable", |c, _, a| updatable(c, a).map(|u| Datum::Int4(if u { 28 } else { 0 }))),
    ("pg_column_is_updatable", |c, _, a| updatable(c, a).map(Datum::Bool)),
    ("pg_relation_is_publishable", |c, _, a| updatable(c, a).map(Datum::Bool)),
    ("pg_relation_filenode", filenode),
    ("pg_stat_get_live_tuples", |c, _, a| figure(c, a, |f| f.live_rows)),
    ("pg_stat_get_dead_tuples", |c, _, a| figure(c, a, |f| f.dead_rows)),
    ("pg_sequence_last_value", sequence_last_value),
    (SEQUENCE_VALUE, |c, _, a| sequence_state(c, a).map(|s| s.map_or(Datum::Null, |s| Datum::Int8(s.0)))),
    (SEQUENCE_CALLED, |c, _, a| sequence_state(c, a).map(|s| s.map_or(Datum::Null, |s| Datum::Bool(s.1)))),
    ("pg_index_column_has_property", index_column_property),
    ("pg_index_has_property", |_, _, a| {
        Ok(match text_arg(a, 1) {
            Some("index_scan" | "backward_scan" | "clusterable") => Datum::Bool(true),
            Some("bitmap_scan") => Datum::Bool(false),
            _ => Datum::Null,
        })
    }),
];

pub const SETS: &[(&str, SetImplementation)] = &[
    ("pg_get_keywords", keywords),
    ("pg_options_to_table", options_to_table),
    ("pg_timezone_names", |_, _| Ok(crate::system::fixed::timezones().into_iter().map(Vec::from).collect())),
    // The session answers it.
    ("pg_listening_channels", |_, _| Ok(Vec::new())),
    // There are no partitions.
    ("pg_partition_ancestors", |_, _| Ok(Vec::new())),
    ("pg_partition_tree", |_, _| Ok(Vec::new())),
];

/// What clients parse: PostgreSQL's version that Lockstep follows, then its own.
pub fn version() -> String {
    format!(
        "PostgreSQL {} (Lockstep {}) on {}-{}, compiled by rustc, 64-bit",
        crate::session::settings::table::SERVER_VERSION,
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS
    )
}

fn blocking_pids(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let process = int_arg(args, 0).and_then(|pid| i32::try_from(pid).ok());
    let pids = process.map_or_else(Vec::new, |pid| context.host.blocking(pid));
    Ok(Datum::from(pids.into_iter().map(Datum::Int4).collect::<Vec<_>>()))
}

fn user_by_id(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    Ok(optional(oid_arg(args, 0).map(|oid| match context.catalog.roles.get(&oid) {
        Some(role) => role.name.clone(),
        None => format!("unknown (OID={})", oid.0),
    })))
}

fn current_schemas(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let schemas = if bool_arg(args, 0) { &context.path.schemas } else { &context.path.named };
    let names: Vec<Datum> = schemas.iter().map(|s| text(context.catalog.schema_name(*s))).collect();
    Ok(Datum::from(names))
}

fn encoding_to_char(_: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    Ok(match args.first() {
        Some(Datum::Int4(6)) => text("UTF8"),
        Some(Datum::Int4(0)) => text("SQL_ASCII"),
        Some(Datum::Int4(8)) => text("LATIN1"),
        Some(Datum::Null) | None => Datum::Null,
        _ => text(""),
    })
}

fn char_to_encoding(_: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let plain = |name: &str| name.replace(['-', '_', ' '], "").to_lowercase();
    Ok(match text_arg(args, 0).map(plain).as_deref() {
        Some("utf8" | "unicode") => Datum::Int4(6),
        Some("sqlascii") => Datum::Int4(0),
        Some("latin1" | "iso88591") => Datum::Int4(8),
        Some(_) => Datum::Int4(-1),
        None => Datum::Null,
    })
}

fn updatable(context: &SystemContext, args: &[Datum]) -> Result<bool> {
    Ok(match relation_arg(context, args, 0)? {
        Some(Relation::Table(_)) => true,
        Some(Relation::View(view)) => is_updatable(&context.catalog, &context.path, &view),
        _ => false,
    })
}

fn filenode(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    Ok(match relation_arg(context, args, 0)? {
        Some(Relation::Table(t)) => Datum::Oid(t.storage.0),
        Some(Relation::Index(_, i)) => Datum::Oid(i.oid.0),
        Some(Relation::Sequence(s)) => Datum::Oid(s.oid.0),
        _ => Datum::Null,
    })
}

fn figure(context: &SystemContext, args: &[Datum], of: fn(&crate::system::TableFigures) -> u64) -> Result<Datum> {
    let figures = oid_arg(args, 0).and_then(|oid| context.host.table_figures(oid));
    Ok(Datum::Int8(figures.map_or(0, |f| i64::try_from(of(&f)).unwrap_or(i64::MAX))))
}

/// Last value and whether it was handed out.
fn sequence_state(context: &SystemContext, args: &[Datum]) -> Result<Option<(i64, bool)>> {
    Ok(match relation_arg(context, args, 0)? {
        Some(Relation::Sequence(s)) => context.host.sequence_state(s.oid),
        _ => None,
    })
}

fn sequence_last_value(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let called = sequence_state(context, args)?.filter(|s| s.1);
    Ok(called.map_or(Datum::Null, |s| Datum::Int8(s.0)))
}

fn index_column_property(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let (Some(Relation::Index(_, index)), Some(Datum::Int4(number)), Some(property)) =
        (relation_arg(context, args, 0)?, args.get(1), text_arg(args, 2))
    else {
        return Ok(Datum::Null);
    };
    let column = usize::try_from(*number - 1).ok().and_then(|i| index.columns.get(i));
    let Some(column) = column else {
        return Ok(Datum::Null);
    };
    let ordered = index.method == crate::catalog::IndexMethod::Btree;
    Ok(match property {
        "asc" => Datum::Bool(ordered && !column.descending),
        "desc" => Datum::Bool(ordered && column.descending),
        "nulls_first" => Datum::Bool(ordered && column.nulls_first),
        "nulls_last" => Datum::Bool(ordered && !column.nulls_first),
        "orderable" | "search_array" | "search_nulls" => Datum::Bool(ordered),
        "returnable" => Datum::Bool(ordered),
        "distance_orderable" => Datum::Bool(false),
        _ => Datum::Null,
    })
}

fn keywords(_: &SystemContext, _: &[Datum]) -> Result<Vec<Vec<Datum>>> {
    let rows = deparse::keywords().map(|(word, category, bare)| {
        let description = match category {
            "U" => "unreserved",
            "C" => "unreserved (cannot be function or type name)",
            "T" => "reserved (can be function or type name)",
            _ => "reserved",
        };
        let label = if bare { "can be bare label" } else { "requires AS" };
        vec![text(word), text(category), Datum::Bool(bare), text(description), text(label)]
    });
    Ok(rows.collect())
}

fn options_to_table(_: &SystemContext, args: &[Datum]) -> Result<Vec<Vec<Datum>>> {
    let Some(Datum::Array(options)) = args.first() else {
        return Ok(Vec::new());
    };
    let row = |option: &Datum| match option {
        Datum::Text(option) => Some(match option.split_once('=') {
            Some((name, value)) => vec![text(name), text(value)],
            None => vec![text(option), Datum::Null],
        }),
        _ => None,
    };
    Ok(options.iter().filter_map(row).collect())
}
