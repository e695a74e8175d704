//! Replication strategies: as the access methods of tables, which psql and pg_dump read, and in a view of their own.

use super::fixed::fixed;
use super::relations::role_name;
use super::rows::row;
use super::{RowSink, RowSource, SystemContext};
use crate::catalog::Reach;
use crate::error::Result;

pub const SOURCES: &[(&str, RowSource)] =
    &[("pg_catalog.pg_am", pg_am), ("pg_catalog.lockstep_replication_strategies", lockstep_replication_strategies)];

/// OID of heap_tableam_handler: rows lie in memory the same way under every strategy.
const HANDLER: u32 = 3;

fn pg_am(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    fixed(context, sink)?;
    for s in context.catalog.strategies.values() {
        row!(sink; s.oid, &s.name, HANDLER, 't');
    }
    Ok(())
}

/// `state`: `usable`, or why tables cannot use it: `unknown nodes`, `part of the voters`, `part of the nodes`, `split`. `missing`:
/// the nodes that it names and that are not there, or the voters that it leaves out.
fn lockstep_replication_strategies(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let members = context.host.cluster().members();
    for s in context.catalog.strategies.values() {
        let (state, missing) = match s.reach(&members) {
            Reach::Everywhere => ("usable", Vec::new()),
            Reach::Unknown(nodes) => ("unknown nodes", nodes),
            Reach::Without(voters) => ("part of the voters", voters),
            Reach::Fewer { .. } => ("part of the nodes", Vec::new()),
            Reach::Split(_) => ("split", Vec::new()),
        };
        let tables: Vec<String> = context
            .catalog
            .placed_by(s.oid)
            .map(|table| format!("{}.{}", context.catalog.schema_name(table.schema), table.name))
            .collect();
        let factor = s.factor.map(|factor| i32::try_from(factor).unwrap_or(i32::MAX));
        row!(sink;
            s.oid, &s.name, role_name(&context.catalog, s.owner), s.policy.text(), factor, s.nodes.clone(), state,
            missing, tables);
    }
    Ok(())
}
