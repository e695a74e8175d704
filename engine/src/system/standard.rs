//! The rest of information_schema and of the statistics views: routines, element types, collations, usage of columns; what
//! PostgreSQL counts and Lockstep has none of is empty, or NULL where it is not known.

use std::sync::Arc;

use super::information_schema::yes_or_no;
use super::relations::role_name;
use super::rows::{Null, row};
use super::{RowSink, RowSource, SystemContext};
use crate::catalog::{Oid, Relation};
use crate::error::Result;
use crate::functions::{Function, Kind, Volatility, registry};
use crate::types::{Datum, TypeOid, names};

pub const SOURCES: &[(&str, RowSource)] = &[
    ("information_schema.sql_features", super::fixed::fixed),
    ("information_schema.sql_implementation_info", super::fixed::fixed),
    ("information_schema.sql_parts", super::fixed::fixed),
    ("information_schema.sql_sizing", super::fixed::fixed),
    ("pg_catalog.pg_timezone_abbrevs", super::fixed::fixed),
    ("information_schema.routines", routines),
    ("information_schema.parameters", parameters),
    ("information_schema.routine_privileges", routine_privileges),
    ("information_schema.role_routine_grants", routine_privileges),
    ("information_schema.udt_privileges", nothing),
    ("information_schema.role_udt_grants", nothing),
    ("information_schema.collations", collations),
    ("information_schema.collation_character_set_applicability", collation_sets),
    ("information_schema.column_udt_usage", column_udt_usage),
    ("information_schema.data_type_privileges", data_types),
    ("information_schema.element_types", element_types),
    ("information_schema.view_column_usage", view_column_usage),
    ("information_schema.view_routine_usage", nothing),
    ("information_schema.check_constraint_routine_usage", nothing),
    ("information_schema.column_column_usage", nothing),
    ("information_schema.column_options", nothing),
    ("information_schema.domain_udt_usage", nothing),
    ("information_schema.foreign_data_wrapper_options", nothing),
    ("information_schema.foreign_server_options", nothing),
    ("information_schema.foreign_table_options", nothing),
    ("information_schema.routine_column_usage", nothing),
    ("information_schema.routine_routine_usage", nothing),
    ("information_schema.routine_sequence_usage", nothing),
    ("information_schema.routine_table_usage", nothing),
    ("information_schema.user_mapping_options", nothing),
    ("information_schema.user_mappings", nothing),
    ("information_schema._pg_foreign_data_wrappers", nothing),
    ("information_schema._pg_foreign_servers", nothing),
    ("information_schema._pg_foreign_table_columns", nothing),
    ("information_schema._pg_foreign_tables", nothing),
    ("information_schema._pg_user_mappings", nothing),
    ("pg_catalog.pg_hba_file_rules", nothing),
    ("pg_catalog.pg_ident_file_mappings", nothing),
    ("pg_catalog.pg_config", nothing),
    ("pg_catalog.pg_shmem_allocations", nothing),
    ("pg_catalog.pg_backend_memory_contexts", nothing),
    ("pg_catalog.pg_statistic", nothing),
    ("pg_catalog.pg_stats", nothing),
    ("pg_catalog.pg_stat_progress_analyze", nothing),
    ("pg_catalog.pg_stat_progress_basebackup", nothing),
    ("pg_catalog.pg_stat_progress_cluster", nothing),
    ("pg_catalog.pg_stat_progress_copy", nothing),
    ("pg_catalog.pg_stat_progress_create_index", nothing),
    ("pg_catalog.pg_stat_progress_vacuum", nothing),
    ("pg_catalog.pg_stat_recovery_prefetch", nothing),
    ("pg_catalog.pg_stat_replication_slots", nothing),
    ("pg_catalog.pg_stat_slru", nothing),
    ("pg_catalog.pg_stat_subscription_stats", nothing),
    ("pg_catalog.pg_stat_user_functions", nothing),
    ("pg_catalog.pg_stat_xact_user_functions", nothing),
    ("pg_catalog.pg_stat_xact_sys_tables", nothing),
    ("pg_catalog.pg_statio_sys_indexes", nothing),
    ("pg_catalog.pg_statio_sys_sequences", nothing),
    ("pg_catalog.pg_statio_sys_tables", nothing),
    ("pg_catalog.pg_stat_database_conflicts", conflicts),
    ("pg_catalog.pg_stat_ssl", stat_ssl),
    ("pg_catalog.pg_stat_gssapi", stat_gssapi),
    ("pg_catalog.pg_stat_xact_all_tables", xact_tables),
    ("pg_catalog.pg_stat_xact_user_tables", xact_tables),
    ("pg_catalog.pg_statio_all_tables", io_tables),
    ("pg_catalog.pg_statio_user_tables", io_tables),
    ("pg_catalog.pg_statio_all_indexes", io_indexes),
    ("pg_catalog.pg_statio_user_indexes", io_indexes),
    ("pg_catalog.pg_statio_all_sequences", io_sequences),
    ("pg_catalog.pg_statio_user_sequences", io_sequences),
];

fn nothing(_: &SystemContext, _: &mut RowSink) -> Result<()> {
    Ok(())
}

/// A row of which few columns have a value, by name.
fn sparse(sink: &mut RowSink, values: &[(&str, Datum)]) {
    let value = |name: &str| values.iter().find(|(known, _)| *known == name).map_or(Datum::Null, |(_, v)| v.clone());
    let row = sink.columns().iter().map(|column| value(column.name)).collect();
    sink.push_row(row);
}

fn text(value: impl AsRef<str>) -> Datum {
    Datum::Text(Arc::from(value.as_ref()))
}

fn type_text(ty: TypeOid) -> String {
    match names::row(ty) {
        Some(row) if row.category == b'A' && row.len == -1 && row.element.0 != 0 => "ARRAY".to_owned(),
        _ => super::deparse::type_name(ty),
    }
}

fn type_name(ty: TypeOid) -> &'static str {
    names::row(ty).map_or("", |row| row.name)
}

fn specific(f: &Function) -> String {
    format!("{}_{}", f.name, f.oid)
}

fn is_routine(f: &&Arc<Function>) -> bool {
    matches!(f.kind, Kind::Scalar | Kind::Procedure)
}

fn routines(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    let database = || text(&catalog.database.name);
    for f in registry().functions().iter().filter(is_routine) {
        let schema = || text(catalog.schema_name(f.schema()));
        let sql = f.symbol.starts_with('#');
        let superuser = catalog.is_superuser(context.user);
        sparse(
            sink,
            &[
                ("specific_catalog", database()),
                ("specific_schema", schema()),
                ("specific_name", text(specific(f))),
                ("routine_catalog", database()),
                ("routine_schema", schema()),
                ("routine_name", text(f.name)),
                ("routine_type", text(if f.kind == Kind::Procedure { "PROCEDURE" } else { "FUNCTION" })),
                ("data_type", text(type_text(f.ret))),
                ("type_udt_catalog", database()),
                ("type_udt_schema", text("pg_catalog")),
                ("type_udt_name", text(type_name(f.ret))),
                ("dtd_identifier", text("0")),
                ("routine_body", text(if sql { "SQL" } else { "EXTERNAL" })),
                ("routine_definition", if superuser && !sql { text(f.symbol) } else { Datum::Null }),
                ("external_language", text(if sql { "SQL" } else { "INTERNAL" })),
                ("parameter_style", text("GENERAL")),
                ("is_deterministic", text(yes_or_no(f.volatility == Volatility::Immutable))),
                ("sql_data_access", text("MODIFIES")),
                ("is_null_call", text(yes_or_no(f.strict))),
                ("schema_level_routine", text("YES")),
                ("max_dynamic_result_sets", Datum::Int4(0)),
                ("security_type", text("INVOKER")),
                ("as_locator", text("NO")),
                ("is_udt_dependent", text("NO")),
            ],
        );
    }
    Ok(())
}

fn parameters(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    for f in registry().functions().iter().filter(is_routine) {
        let types = if f.all_args.is_empty() { &f.args } else { &f.all_args };
        for (i, ty) in types.iter().enumerate() {
            let mode = match f.arg_modes.get(i) {
                Some(b'o' | b't') => "OUT",
                Some(b'b') => "INOUT",
                _ => "IN",
            };
            let name = f.arg_names.get(i).filter(|name| !name.is_empty() && **name != "-");
            let number = i32::try_from(i + 1).unwrap_or(i32::MAX);
            sparse(
                sink,
                &[
                    ("specific_catalog", text(&catalog.database.name)),
                    ("specific_schema", text(catalog.schema_name(f.schema()))),
                    ("specific_name", text(specific(f))),
                    ("ordinal_position", Datum::Int4(number)),
                    ("parameter_mode", text(mode)),
                    ("is_result", text("NO")),
                    ("as_locator", text("NO")),
                    ("parameter_name", name.map_or(Datum::Null, text)),
                    ("data_type", text(type_text(*ty))),
                    ("udt_catalog", text(&catalog.database.name)),
                    ("udt_schema", text("pg_catalog")),
                    ("udt_name", text(type_name(*ty))),
                    ("dtd_identifier", text(number.to_string())),
                ],
            );
        }
    }
    Ok(())
}

fn routine_privileges(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    let (database, owner) = (&catalog.database.name, role_name(catalog, Oid::SUPERUSER));
    let all = sink.relation() == "routine_privileges";
    let own = catalog.has_privileges_of(context.user, Oid::SUPERUSER);
    for f in registry().functions().iter().filter(is_routine) {
        let schema = catalog.schema_name(f.schema());
        let mut push = |grantee: &str, grantable: &str| {
            row!(sink;
                owner, grantee, database, schema, specific(f), database, schema, f.name, "EXECUTE", grantable);
        };
        if all || own {
            push("PUBLIC", "NO");
        }
        if own {
            push(owner, "YES");
        }
    }
    Ok(())
}

fn collations(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for (schema, name) in super::fixed::collation_names(&context.catalog) {
        row!(sink; &context.catalog.database.name, schema, name, "NO PAD");
    }
    Ok(())
}

fn collation_sets(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for (schema, name) in super::fixed::collation_names(&context.catalog) {
        row!(sink; &context.catalog.database.name, schema, name, Null, Null, "UTF8");
    }
    Ok(())
}

/// Columns of all relations: schema, relation, column, number and type; `own`: only of what the user owns.
fn columns(context: &SystemContext, own: bool) -> Vec<(Oid, String, String, i16, TypeOid)> {
    let catalog = &context.catalog;
    let mine = |owner: Oid| !own || catalog.has_privileges_of(context.user, owner);
    let mut all = Vec::new();
    if mine(Oid::SUPERUSER) {
        for r in super::all() {
            let columns = r.columns.iter().enumerate();
            all.extend(columns.map(|(i, c)| (r.schema, r.name.to_owned(), c.name.to_owned(), i as i16 + 1, c.ty.oid)));
        }
    }
    for t in catalog.tables.values().filter(|t| mine(t.owner)) {
        all.extend(t.live_columns().map(|c| (t.schema, t.name.clone(), c.name.clone(), c.attnum, c.ty.oid)));
    }
    for v in catalog.views.values().filter(|v| mine(v.owner)) {
        let columns = v.columns.iter().enumerate();
        all.extend(columns.map(|(i, (name, ty))| (v.schema, v.name.clone(), name.clone(), i as i16 + 1, ty.oid)));
    }
    all
}

fn column_udt_usage(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    let database = &catalog.database.name;
    // Of types that the user owns: those of the system are the superuser's.
    if !catalog.has_privileges_of(context.user, Oid::SUPERUSER) {
        return Ok(());
    }
    for (schema, relation, column, _, ty) in columns(context, false) {
        row!(sink;
            database, "pg_catalog", type_name(ty), database, catalog.schema_name(schema), relation, column);
    }
    Ok(())
}

fn data_types(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    for (schema, relation, _, number, _) in columns(context, true) {
        row!(sink; &catalog.database.name, catalog.schema_name(schema), relation, "TABLE", number.to_string());
    }
    Ok(())
}

fn element_types(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    for (schema, relation, _, number, ty) in columns(context, true) {
        let array = names::row(ty).filter(|row| row.category == b'A' && row.len == -1 && row.element.0 != 0);
        let Some(element) = array.map(|row| row.element) else { continue };
        sparse(
            sink,
            &[
                ("object_catalog", text(&catalog.database.name)),
                ("object_schema", text(catalog.schema_name(schema))),
                ("object_name", text(relation)),
                ("object_type", text("TABLE")),
                ("collection_type_identifier", text(number.to_string())),
                ("data_type", text(type_text(element))),
                ("udt_catalog", text(&catalog.database.name)),
                ("udt_schema", text("pg_catalog")),
                ("udt_name", text(type_name(element))),
                ("dtd_identifier", text(format!("a{number}"))),
            ],
        );
    }
    Ok(())
}

fn view_column_usage(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    let database = &catalog.database.name;
    for view in catalog.views.values() {
        for (oid, attnum) in &view.columns_read {
            let Some(relation) = catalog.relation(*oid) else { continue };
            let (_, owner) = crate::catalog::access::relation_kind(&relation);
            let column = match &relation {
                Relation::Table(t) => t.attribute(*attnum).map(|c| c.name.clone()),
                Relation::View(v) => v.columns.get(*attnum as usize - 1).map(|c| c.0.clone()),
                _ => None,
            };
            if let Some(column) = column.filter(|_| catalog.has_privileges_of(context.user, owner)) {
                row!(sink;
                    database, catalog.schema_name(view.schema), &view.name, database,
                    catalog.schema_name(relation.schema()), relation.name(), column);
            }
        }
    }
    Ok(())
}

/// Nothing is ever cancelled for the sake of recovery.
fn conflicts(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for d in context.catalog.databases.values() {
        row!(sink; d.oid, &d.name, 0i64, 0i64, 0i64, 0i64, 0i64);
    }
    Ok(())
}

/// What a session's connection uses is known to the connection alone.
fn stat_ssl(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for s in context.host.sessions() {
        row!(sink; s.pid, Null, Null, Null, Null, Null, Null, Null);
    }
    Ok(())
}

fn stat_gssapi(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for s in context.host.sessions() {
        row!(sink; s.pid, false, Null, false);
    }
    Ok(())
}

/// What the running transaction did is not counted apart.
fn xact_tables(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    for t in catalog.tables.values() {
        row!(sink;
            t.oid, catalog.schema_name(t.schema), &t.name, Null, Null, Null, Null, Null, Null, Null, Null);
    }
    Ok(())
}

/// All is in memory: nothing is read from disk, and hits are not counted.
fn io_tables(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    for t in catalog.tables.values() {
        row!(sink;
            t.oid, catalog.schema_name(t.schema), &t.name, 0i64, Null, 0i64, Null, Null, Null, Null, Null);
    }
    Ok(())
}

fn io_indexes(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    for t in catalog.tables.values() {
        for i in &t.indexes {
            row!(sink; t.oid, i.oid, catalog.schema_name(t.schema), &t.name, &i.name, 0i64, Null);
        }
    }
    Ok(())
}

fn io_sequences(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    for s in catalog.sequences.values() {
        row!(sink; s.oid, catalog.schema_name(s.schema), &s.name, 0i64, Null);
    }
    Ok(())
}
