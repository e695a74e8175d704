//! pg_policy and pg_policies.

use super::deparse::Display;
use super::relations::role_name;
use super::rows::row;
use super::{RowSink, RowSource, SystemContext};
use crate::catalog::acl::PUBLIC;
use crate::catalog::{Oid, PolicyExpression, RowPolicy};
use crate::error::Result;

pub const SOURCES: &[(&str, RowSource)] =
    &[("pg_catalog.pg_policy", pg_policy), ("pg_catalog.pg_policies", pg_policies)];

/// What pg_policy shows of an expression: pg_get_expr finds by it what the policy says.
fn tree(policy: &RowPolicy, expression: Option<&PolicyExpression>, which: &str) -> Option<String> {
    expression.map(|_| format!("{{POLICY {} {which}}}", policy.oid.0))
}

/// The text behind [`tree`].
pub fn shown(stored: &str, display: &Display<'_>) -> Option<String> {
    let (oid, which) = stored.strip_prefix("{POLICY ")?.strip_suffix('}')?.split_once(' ')?;
    let policy = display.catalog.policies.get(&Oid(oid.parse().ok()?))?;
    let expression = if which == "using" { policy.using.as_ref() } else { policy.check.as_ref() };
    text(policy, expression?, display)
}

fn text(policy: &RowPolicy, expression: &PolicyExpression, display: &Display<'_>) -> Option<String> {
    let table = display.catalog.tables.get(&policy.table)?;
    let mut binder = display.binder(crate::sql::Source::new(""));
    let shown = binder.describe_policy(expression, table, display.pretty);
    // What has no text of PostgreSQL's kind yet is shown as it is kept.
    Some(shown.unwrap_or_else(|_| expression.query.clone()))
}

fn pg_policy(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for p in context.catalog.policies.values() {
        let roles: Vec<Oid> = p.roles.clone();
        row!(sink; p.oid, &p.name, p.table, p.command.letter(), p.permissive, roles,
            tree(p, p.using.as_ref(), "using"), tree(p, p.check.as_ref(), "check"));
    }
    Ok(())
}

fn pg_policies(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    let display = Display::plain(catalog, &context.path);
    for p in catalog.policies.values() {
        let Some(table) = catalog.tables.get(&p.table) else { continue };
        let roles: Vec<String> = p
            .roles
            .iter()
            .map(|role| if *role == PUBLIC { "public".to_owned() } else { role_name(catalog, *role).to_owned() })
            .collect();
        let expression = |e: &Option<PolicyExpression>| e.as_ref().and_then(|e| text(p, e, &display));
        row!(sink; catalog.schema_name(table.schema), &table.name, &p.name,
            if p.permissive { "PERMISSIVE" } else { "RESTRICTIVE" }, roles, p.command.word(),
            expression(&p.using), expression(&p.check));
    }
    Ok(())
}
