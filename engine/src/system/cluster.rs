//! The cluster: database, roles, settings, sessions, locks, replication, figures of tables.

use super::relations::{PG_AUTHID, PG_DATABASE, role_name};
use super::rows::{Null, Time, row};
use super::{LockRow, RowSink, RowSource, SystemContext};
use crate::catalog::acl::ObjectKind;
use crate::catalog::{Oid, RoleDef};
use crate::commit_log::{LogPosition, NodeStatus};
use crate::error::Result;
use crate::session::registry::now_micros;
use crate::types::{Datum, Interval};

pub const SOURCES: &[(&str, RowSource)] = &[
    ("pg_catalog.pg_database", pg_database),
    ("pg_catalog.pg_roles", pg_roles),
    ("pg_catalog.pg_authid", pg_authid),
    ("pg_catalog.pg_user", pg_user),
    ("pg_catalog.pg_shadow", pg_shadow),
    ("pg_catalog.pg_shdescription", pg_shdescription),
    ("pg_catalog.pg_settings", pg_settings),
    ("pg_catalog.pg_stat_activity", pg_stat_activity),
    ("pg_catalog.pg_stat_replication", pg_stat_replication),
    ("pg_catalog.pg_stat_wal_receiver", pg_stat_wal_receiver),
    ("pg_catalog.lockstep_nodes", lockstep_nodes),
    ("pg_catalog.lockstep_catchup", lockstep_catchup),
    ("pg_catalog.lockstep_check_divergence", lockstep_check_divergence),
    ("pg_catalog.pg_stat_archiver", pg_stat_archiver),
    ("pg_catalog.lockstep_data_loss_epochs", lockstep_data_loss_epochs),
    ("pg_catalog.pg_locks", pg_locks),
    ("pg_catalog.pg_prepared_statements", pg_prepared_statements),
    ("pg_catalog.pg_cursors", pg_cursors),
];

fn pg_database(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for d in context.catalog.databases.values() {
        row!(sink;
            d.oid, &d.name, d.owner, 6i32, 'c', d.is_template, d.allows_connections, d.connection_limit, 3u32, 1u32,
            1663u32, "C", "C", Null, Null, sink.acl(ObjectKind::Database, d.oid));
    }
    Ok(())
}

fn valid_until(role: &RoleDef) -> Option<Time> {
    role.valid_until.map(Time)
}

fn pg_roles(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for r in context.catalog.roles.values() {
        row!(sink;
            &r.name, r.superuser, r.inherit, r.create_role, r.create_database, r.login, r.replication,
            r.connection_limit, "********", valid_until(r), r.bypass_row_security,
            role_config(context, r.oid), r.oid);
    }
    Ok(())
}

fn pg_authid(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for r in context.catalog.roles.values() {
        row!(sink;
            r.oid, &r.name, r.superuser, r.inherit, r.create_role, r.create_database, r.login, r.replication,
            r.bypass_row_security, r.connection_limit, r.password.as_ref(), valid_until(r));
    }
    Ok(())
}

fn pg_user(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for r in context.catalog.roles.values().filter(|r| r.login) {
        row!(sink;
            &r.name, r.oid, r.create_database, r.superuser, r.replication, r.bypass_row_security, "********",
            valid_until(r), role_config(context, r.oid));
    }
    Ok(())
}

fn role_config(context: &SystemContext, role: Oid) -> Option<Vec<String>> {
    super::privileges::config(context.catalog.access.settings_of(Oid(0), role))
}

fn pg_shadow(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for r in context.catalog.roles.values().filter(|r| r.login) {
        row!(sink;
            &r.name, r.oid, r.create_database, r.superuser, r.replication, r.bypass_row_security,
            r.password.as_ref(), valid_until(r), role_config(context, r.oid));
    }
    Ok(())
}

fn pg_shdescription(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for d in context.catalog.databases.values() {
        if let Some(comment) = &d.comment {
            row!(sink; d.oid, PG_DATABASE, comment);
        }
    }
    for r in context.catalog.roles.values() {
        if let Some(comment) = &r.comment {
            row!(sink; r.oid, PG_AUTHID, comment);
        }
    }
    Ok(())
}

fn pg_settings(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for s in context.host.settings() {
        row!(sink;
            s.name, s.setting, s.unit, s.category, s.short_desc, Null, s.context, s.vartype, s.source, s.min_val,
            s.max_val, s.enumvals, s.boot_val, s.reset_val, Null, Null, false);
    }
    Ok(())
}

fn pg_stat_activity(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    let all = catalog.has_privileges_of(context.user, crate::catalog::access::READ_ALL_STATS);
    for s in context.host.sessions() {
        let own = all || s.user.is_some_and(|user| catalog.has_privileges_of(context.user, user));
        let hidden = "<insufficient privilege>".to_owned();
        let address = s.client_address.filter(|_| own);
        row!(sink;
            catalog.find_database(&s.database).ok(), &s.database, s.pid, Null, s.user, s.user.map(|u| role_name(catalog, u)),
            s.application_name, address.map(|a| a.ip()), Null, address.map(|a| i32::from(a.port())),
            own.then_some(Time(s.backend_start)), s.xact_start.filter(|_| own).map(Time),
            s.query_start.filter(|_| own).map(Time), s.state_change.filter(|_| own).map(Time),
            s.wait_event_type.filter(|_| own), s.wait_event.filter(|_| own), own.then_some(s.state), s.transaction.filter(|_| own).map(|t| t as u32), Null,
            Null, if own { s.query } else { hidden }, s.backend_type);
    }
    Ok(())
}

fn lag(lag: Option<std::time::Duration>) -> Datum {
    let micros = |d: std::time::Duration| i64::try_from(d.as_micros()).unwrap_or(i64::MAX);
    lag.map_or(Datum::Null, |d| Datum::Interval(Interval { months: 0, days: 0, micros: micros(d) }))
}

/// Host and port of a node for the other nodes.
fn peer_host(node: &NodeStatus) -> Option<(&str, Option<i32>)> {
    let (host, port) = node.peer_address.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']), port.parse().ok()))
}

fn lsn(position: LogPosition) -> i64 {
    i64::try_from(position.0).unwrap_or(i64::MAX)
}

/// One row a standby, as the primary sees it. LSNs are log positions.
fn pg_stat_replication(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let cluster = context.host.cluster();
    for n in cluster.nodes.iter().filter(|n| Some(n.id) != cluster.primary) {
        let host = peer_host(n);
        let address = host.and_then(|h| h.0.parse::<std::net::IpAddr>().ok());
        let quorum = if n.membership == "voter" { "quorum" } else { "async" };
        row!(sink;
            i32::try_from(n.id).unwrap_or(i32::MAX), Oid::SUPERUSER, role_name(&context.catalog, Oid::SUPERUSER), &n.name,
            address, host.map(|h| h.0).filter(|_| address.is_none()), host.and_then(|h| h.1), Null, Null, &n.state,
            lsn(n.appended), lsn(n.appended), lsn(n.durable), lsn(n.applied), Null, Null,
            lag(n.lag), i32::from(n.membership == "voter"), quorum, Null);
    }
    Ok(())
}

/// On a standby that knows its primary: one row, with this node's id in pg_stat_replication as `pid`, terms as time lines,
/// and as `latest_end_time` when the primary last heard of it.
fn pg_stat_wal_receiver(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let cluster = context.host.cluster();
    let node = |id: u64| cluster.nodes.iter().find(|n| n.id == id);
    let primary = cluster.primary.filter(|id| *id != cluster.this_node).and_then(node);
    let (Some(own), Some(primary)) = (node(cluster.this_node), primary) else { return Ok(()) };
    let pid = i32::try_from(own.id).unwrap_or(i32::MAX);
    if !context.catalog.has_privileges_of(context.user, crate::catalog::access::READ_ALL_STATS) {
        row!(sink; pid, Null, Null, Null, Null, Null, Null, Null, Null, Null, Null, Null, Null, Null, Null);
        return Ok(());
    }
    let term = i32::try_from(cluster.term).unwrap_or(i32::MAX);
    let heard = own.last_contact.map(|ago| Time(now_micros() - ago.as_micros() as i64));
    let (host, port) = peer_host(primary).unwrap_or_default();
    let connection = format!("application_name={} host={host} port={}", own.name, port.unwrap_or_default());
    row!(sink;
        pid, &own.state, Null, Null, lsn(own.appended), lsn(own.durable), term, Null, Null, lsn(own.durable), heard,
        Null, host, port, connection);
    Ok(())
}

fn lockstep_nodes(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let cluster = context.host.cluster();
    let big = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    for n in &cluster.nodes {
        row!(sink;
            big(n.id), &n.name, &n.role, &n.membership, &n.state, big(cluster.term), n.id == cluster.this_node,
            &n.peer_address, &n.client_address, big(n.appended.0), big(n.durable.0), big(n.applied.0),
            big(n.lag_bytes), lag(n.lag), lag(n.last_contact));
    }
    Ok(())
}

/// A row a node that is not up to date: first a checkpoint arrives, then the log.
fn lockstep_catchup(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let big = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let cluster = context.host.cluster();
    for n in cluster.nodes.iter().filter(|n| matches!(n.state.as_str(), "snapshot" | "catchup")) {
        let phase = match n.arrived {
            Some((done, total)) if done < total => "checkpoint",
            Some(_) => "restore",
            None => "log",
        };
        row!(sink;
            big(n.id), &n.name, phase, n.arrived.map(|(done, _)| big(done)), n.arrived.map(|(_, total)| big(total)),
            big(n.lag_bytes), lag(n.lag));
    }
    Ok(())
}

/// What this node archived since it started. The last failure's reason stands where PostgreSQL names a file.
fn pg_stat_archiver(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let big = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let a = context.host.archive().unwrap_or_default();
    let (last, failure) = (a.last.as_ref(), a.last_failure.as_ref());
    row!(sink;
        big(a.archived), last.map(|l| &l.1), last.map(|l| Time(l.0)), big(a.failed), failure.map(|f| &f.1),
        failure.map(|f| Time(f.0)), Time(context.host.server_start()));
    Ok(())
}

/// A row a node, of a check that was made when the statement began.
fn lockstep_check_divergence(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let big = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    for v in context.host.divergence()? {
        row!(sink;
            big(v.node), &v.name, big(v.position.0), v.state.text(), v.rows.map(big),
            v.digest.map(|digest| format!("{digest:032x}")), v.detail);
    }
    Ok(())
}

/// Each time that an operator let one node go on without the others.
fn lockstep_data_loss_epochs(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let big = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    for f in context.host.cluster().forced {
        row!(sink; big(f.term), big(f.position.0), &f.node, f.given_up.join(", "), Time(f.at));
    }
    Ok(())
}

fn pg_locks(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    // What has no relation of the catalog is a lock of Lockstep's own, on no object that a client knows.
    let known = |l: &LockRow| l.relation.is_none_or(|oid| context.catalog.relation(oid).is_some());
    for l in context.host.locks().into_iter().filter(known) {
        // A transaction belongs to no database.
        let database = l.transaction.is_none().then_some(context.catalog.database.oid);
        row!(sink;
            l.kind, database, l.relation, Null, Null, Null, l.transaction.map(|t| t as u32), l.class, l.object,
            l.object_sub, format!("{}/0", l.pid), l.pid, l.mode, l.granted, false,
            l.wait_start.map(Time));
    }
    Ok(())
}

fn pg_prepared_statements(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for p in context.host.prepared_statements() {
        row!(sink;
            p.name, p.statement, Time(p.prepare_time), p.parameter_types, p.from_sql, p.generic_plans, p.custom_plans);
    }
    Ok(())
}

fn pg_cursors(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for c in context.host.cursors() {
        row!(sink; c.name, c.statement, c.is_holdable, c.is_binary, c.is_scrollable, Time(c.creation_time));
    }
    Ok(())
}
