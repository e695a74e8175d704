//! The rest of information_schema and of the statistics views: collations, usage of columns; what
//! PostgreSQL counts and Lockstep has none of is empty, or NULL where it is not known.

use std::sync::Arc;

use super::rows::{Null, row};
use super::{RowSink, RowSource, SystemContext};
use crate::catalog::{Oid, Relation};
use crate::error::Result;
use crate::types::{Datum, TypeOid};

pub const SOURCES: &[(&str, RowSource)] = &[
    ("information_schema.sql_features", super::fixed::fixed),
    ("information_schema.sql_implementation_info", super::fixed::fixed),
    ("information_schema.sql_parts", super::fixed::fixed),
    ("information_schema.sql_sizing", super::fixed::fixed),
    ("pg_catalog.pg_timezone_abbrevs", super::fixed::fixed),
    ("information_schema.collations", collations),
    ("information_schema.collation_character_set_applicability", collation_sets),
    ("information_schema.view_column_usage", view_column_usage),
    ("information_schema.view_routine_usage", nothing),
    ("information_schema.check_constraint_routine_usage", nothing),
    ("information_schema.column_options", nothing),
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
pub(super) fn sparse(sink: &mut RowSink, values: &[(&str, Datum)]) {
    let value = |name: &str| values.iter().find(|(known, _)| *known == name).map_or(Datum::Null, |(_, v)| v.clone());
    let row = sink.columns().iter().map(|column| value(column.name)).collect();
    sink.push_row(row);
}

pub(super) fn text(value: impl AsRef<str>) -> Datum {
    Datum::Text(Arc::from(value.as_ref()))
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
pub(super) fn columns(context: &SystemContext, own: bool) -> Vec<(Oid, String, String, i16, TypeOid)> {
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
