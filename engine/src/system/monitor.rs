//! What the node measures: the log, checkpoints, partitions, tables, indexes, statements, latencies, health. Views with
//! PostgreSQL's names have its columns; of those, counters that nobody keeps are NULL, not zero.

use std::time::Duration;

use super::rows::{Null, Time, row};
use super::{RowSink, RowSource, SystemContext, TableFigures};
use crate::catalog::{IndexDef, TableDef};
use crate::engine::Engine;
use crate::error::Result;
use crate::monitor::Distribution;
use crate::monitor::prometheus::skew;
use crate::monitor::statements::STATEMENTS_MAX;
use crate::types::numeric::Numeric;
use crate::types::{Datum, Interval};

pub const SOURCES: &[(&str, RowSource)] = &[
    ("pg_catalog.pg_stat_all_tables", stat_tables),
    ("pg_catalog.pg_stat_user_tables", stat_tables),
    ("pg_catalog.pg_stat_sys_tables", nothing),
    ("pg_catalog.pg_stat_all_indexes", stat_indexes),
    ("pg_catalog.pg_stat_user_indexes", stat_indexes),
    ("pg_catalog.pg_stat_sys_indexes", nothing),
    ("pg_catalog.pg_stat_database", stat_database),
    ("pg_catalog.pg_stat_wal", stat_wal),
    ("pg_catalog.pg_stat_bgwriter", stat_bgwriter),
    ("pg_catalog.lockstep_replication", replication),
    ("pg_catalog.lockstep_wal", wal),
    ("pg_catalog.lockstep_checkpoints", checkpoints),
    ("pg_catalog.lockstep_partitions", partitions),
    ("pg_catalog.lockstep_tables", tables),
    ("pg_catalog.lockstep_statements", statements),
    ("pg_catalog.lockstep_statements_info", statements_info),
    ("pg_catalog.lockstep_latency", latency),
    ("pg_catalog.lockstep_health", health),
];

/// Nobody counts what is done to system relations: they are generated.
fn nothing(_: &SystemContext, _: &mut RowSink) -> Result<()> {
    Ok(())
}

fn big(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn interval(duration: Duration) -> Datum {
    let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    Datum::Interval(Interval { months: 0, days: 0, micros })
}

fn quantile(latency: &Distribution, share: f64) -> Option<f64> {
    latency.quantile(share).map(ms)
}

fn stat_tables(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for table in context.catalog.tables.values() {
        let t: &TableDef = table;
        let figures = context.host.table_figures(t.oid);
        let count = |of: fn(&TableFigures) -> u64| figures.as_ref().map(|f| big(of(f)));
        let by_index = count(|f| f.index_scans).filter(|_| !t.indexes.is_empty());
        row!(sink;
            t.oid, context.catalog.schema_name(t.schema), &t.name, count(|f| f.sequential_scans),
            count(|f| f.sequential_rows), by_index, Null, count(|f| f.inserted), count(|f| f.updated),
            count(|f| f.deleted), Null, count(|f| f.live_rows), count(|f| f.dead_rows), Null, Null, Null, Null, Null,
            Null, Null, Null, Null, Null);
    }
    Ok(())
}

fn stat_indexes(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let storage = context.host.engine().map(|engine| &engine.transactions().storage);
    for t in context.catalog.tables.values() {
        let stored = storage.and_then(|storage| storage.table(t.oid));
        for index in &t.indexes {
            let i: &IndexDef = index;
            let lookups = stored.as_ref().and_then(|s| s.store.index_figures(i.oid)).map(|f| big(f.lookups));
            row!(sink; t.oid, i.oid, context.catalog.schema_name(t.schema), &t.name, &i.name, lookups, Null, Null);
        }
    }
    Ok(())
}

fn stat_database(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let Some(engine) = context.host.engine() else { return Ok(()) };
    let database = &context.catalog.database;
    let (committed, rolled_back) = engine.sessions().ended_transactions();
    let mut sum = TableFigures::default();
    for figures in context.catalog.tables.keys().filter_map(|table| context.host.table_figures(*table)) {
        sum.sequential_rows += figures.sequential_rows;
        sum.inserted += figures.inserted;
        sum.updated += figures.updated;
        sum.deleted += figures.deleted;
    }
    let sessions = i32::try_from(engine.sessions().list().len()).unwrap_or(i32::MAX);
    row!(sink;
        database.oid, &database.name, sessions, big(committed), big(rolled_back), Null, Null, big(sum.sequential_rows),
        Null, big(sum.inserted), big(sum.updated), big(sum.deleted), Null, Null, Null,
        big(engine.transactions().locks.deadlocks()), Null, Null, Null, Null, Null, Null, Null, Null, Null, Null, Null,
        Time(engine.started()));
    Ok(())
}

fn stat_wal(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let Some(engine) = context.host.engine() else { return Ok(()) };
    let log = engine.log_figures();
    let bytes = Datum::Numeric(Box::new(Numeric::from(big(log.written_bytes))));
    // No page is ever written whole, and no buffer is written because it is full.
    row!(sink;
        big(log.records), 0i64, bytes, 0i64, big(log.batches), big(log.sync_latency.count()), Null,
        ms(log.sync_latency.total()), Time(engine.started()));
    Ok(())
}

/// Checkpoints come when enough was logged, or by CHECKPOINT: both are requested, in PostgreSQL's words.
fn stat_bgwriter(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let Some(engine) = context.host.engine() else { return Ok(()) };
    let written = engine.log_figures().checkpoint.written;
    row!(sink; 0i64, big(written), Null, Null, Null, Null, Null, Null, Null, Null, Time(engine.started()));
    Ok(())
}

fn replication(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let cluster = context.host.cluster();
    for n in cluster.nodes.iter().filter(|n| Some(n.id) != cluster.primary) {
        row!(sink;
            &n.name, &n.membership, &n.state, big(n.lag_bytes), n.lag.map(|lag| lag.as_secs_f64()), big(n.appended.0),
            big(n.durable.0), big(n.applied.0), n.last_contact.map(interval));
    }
    Ok(())
}

fn wal(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let Some(engine) = context.host.engine() else { return Ok(()) };
    let log = engine.log_figures();
    let sync = &log.sync_latency;
    row!(sink;
        &engine.config().node_name, big(log.segments), big(log.segment_bytes), big(log.written_bytes), big(log.records),
        big(log.batches), big(sync.count()), sync.mean().map(ms), quantile(sync, 0.5), quantile(sync, 0.95),
        quantile(sync, 0.99), (sync.count() > 0).then(|| ms(sync.max())), big(log.queued_bytes), big(log.appended.0),
        big(log.durable.0), big(log.purged.0), log.full);
    Ok(())
}

fn checkpoints(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let Some(engine) = context.host.engine() else { return Ok(()) };
    let c = engine.log_figures().checkpoint;
    row!(sink;
        &engine.config().node_name, c.running, big(c.position.0), c.finished_at.map(Time), c.duration.map(interval),
        big(c.bytes), big(c.written), big(c.failed), c.last_error, c.damaged, big(c.log_bytes_since),
        big(c.log_bytes_due));
    Ok(())
}

fn partitions(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let Some(engine) = context.host.engine() else { return Ok(()) };
    for t in context.catalog.tables.values() {
        let Some(table) = engine.transactions().storage.table(t.oid) else { continue };
        for (number, p) in table.store.partition_figures().into_iter().enumerate() {
            row!(sink;
                t.oid, context.catalog.schema_name(t.schema), &t.name, number as i32, big(p.rows), big(p.hot_versions),
                big(p.hot_bytes), big(p.sealed_chunks), big(p.frozen_chunks), big(p.chunk_versions), big(p.chunk_bytes),
                big(p.dead), big(p.index_bytes));
        }
    }
    Ok(())
}

fn tables(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let Some(engine) = context.host.engine() else { return Ok(()) };
    for t in context.catalog.tables.values() {
        let Some(table) = engine.transactions().storage.table(t.oid) else { continue };
        let (figures, partitions) = (table.figures(), table.store.partition_figures());
        let rows: Vec<u64> = partitions.iter().map(|p| p.rows).collect();
        let indexes = t.indexes.iter().filter_map(|i| table.store.index_bytes(i.oid)).sum::<usize>();
        row!(sink;
            t.oid, context.catalog.schema_name(t.schema), &t.name, partitions.len() as i32, big(figures.live_rows),
            big(figures.dead_rows), big(figures.bytes), big(partitions.iter().map(|p| p.hot_bytes).sum()),
            big(partitions.iter().map(|p| p.chunk_bytes).sum()), big(indexes as u64),
            big(rows.iter().max().copied().unwrap_or(0)), skew(&rows));
    }
    Ok(())
}

/// Times in milliseconds, as in pg_stat_statements. Texts are for superusers and those who ran them.
fn statements(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let Some(engine) = context.host.engine() else { return Ok(()) };
    let all = context.catalog.has_privileges_of(context.user, crate::catalog::access::READ_ALL_STATS);
    for s in engine.monitor.statements.list() {
        let own = all || s.role == context.user;
        let text = if own { &*s.text } else { "<insufficient privilege>" };
        let l = &s.latency;
        row!(sink;
            s.role, context.catalog.database.oid, own.then_some(s.id), text, big(l.count()), big(s.errors), big(s.rows),
            ms(l.total()), l.mean().map(ms), ms(l.max()), quantile(l, 0.5), quantile(l, 0.95), quantile(l, 0.99));
    }
    Ok(())
}

fn statements_info(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let Some(engine) = context.host.engine() else { return Ok(()) };
    let known = engine.monitor.statements.list().len() as u64;
    let (evicted, since) = engine.monitor.statements.info();
    row!(sink; big(known), big(STATEMENTS_MAX as u64), big(evicted), Time(since));
    Ok(())
}

/// A histogram of each kind: how many took longer than the row before says and at most `up_to_ms` (NULL: no bound).
fn latency(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let Some(engine) = context.host.engine() else { return Ok(()) };
    for (kind, distribution) in engine.latencies() {
        let mut before = 0;
        for (end, below) in distribution.octaves() {
            row!(sink; kind, ms(end), big(below - before));
            before = below;
        }
        row!(sink; kind, Null, big(distribution.count() - before));
    }
    Ok(())
}

fn health(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let Some(engine): Option<&Engine> = context.host.engine() else { return Ok(()) };
    for (problem, since) in engine.problems(&context.host.cluster()) {
        let node = (!problem.node.is_empty()).then_some(problem.node);
        row!(sink; problem.severity.text(), problem.kind, node, problem.detail, Time(since));
    }
    Ok(())
}
