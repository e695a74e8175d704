//! Objects in words: pg_describe_object.

use super::names::type_shown;
use super::{Implementation, int_arg, oid_arg, optional};
use crate::catalog::{Catalog, Oid, Relation};
use crate::error::Result;
use crate::functions::{Call, registry, resolve};
use crate::system::SystemContext;
use crate::system::deparse::{quote_ident, relation_name};
use crate::system::relations::{
    PG_ATTRDEF, PG_AUTHID, PG_CLASS, PG_CONSTRAINT, PG_DATABASE, PG_NAMESPACE, PG_POLICY, PG_REWRITE, PG_STATISTIC_EXT,
    default_column, rule_view,
};
use crate::types::Datum;

pub const SCALARS: &[(&str, Implementation)] = &[("pg_describe_object", describe_object)];

const PG_TYPE: u32 = 1247;
const PG_PROC: u32 = 1255;

fn describe_object(context: &SystemContext, _: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let (Some(class), Some(oid)) = (oid_arg(args, 0), oid_arg(args, 1)) else {
        return Ok(Datum::Null);
    };
    let sub = int_arg(args, 2).unwrap_or(0);
    Ok(optional(describe(context, class.0, oid, sub)))
}

/// `None` for what does not exist.
fn describe(context: &SystemContext, class: u32, oid: Oid, sub: i64) -> Option<String> {
    let catalog = &context.catalog;
    let relation = |oid: Oid| describe_relation(context, oid);
    match class {
        PG_CLASS if sub == 0 => relation(oid),
        PG_CLASS => {
            let column = catalog.relation(oid).and_then(|r| column_name(&r, sub))?;
            Some(format!("column {} of {}", quote_ident(&column), relation(oid)?))
        }
        PG_ATTRDEF => {
            let (table, column) = default_column(catalog, oid)?;
            Some(format!("default value for column {} of {}", quote_ident(&column.name), relation(table.oid)?))
        }
        PG_CONSTRAINT => {
            let tables = catalog.tables.values();
            let mut all = tables.flat_map(|t| t.constraints.iter().map(move |c| (t, c)));
            let (table, constraint) = all.find(|(_, c)| c.oid == oid)?;
            Some(format!("constraint {} on {}", quote_ident(&constraint.name), relation(table.oid)?))
        }
        PG_POLICY => {
            let policy = catalog.policies.get(&oid)?;
            Some(format!("policy {} on {}", quote_ident(&policy.name), relation(policy.table)?))
        }
        PG_STATISTIC_EXT => Some(format!("statistics object {}", crate::system::statistics::name(oid, context)?)),
        PG_REWRITE => Some(format!("rule _RETURN on {}", relation(rule_view(catalog, oid)?.oid)?)),
        PG_NAMESPACE => Some(format!("schema {}", quote_ident(&catalog.schemas.get(&oid)?.name))),
        PG_AUTHID => Some(format!("role {}", quote_ident(&catalog.roles.get(&oid)?.name))),
        PG_DATABASE => Some(format!("database {}", quote_ident(&catalog.databases.get(&oid)?.name))),
        PG_TYPE => Some(format!("type {}", type_shown(context, oid, -1)?)),
        PG_PROC => {
            if catalog.routines.contains_key(&oid) {
                return Some(format!("function {}", super::names::routine_signature(context, oid)?));
            }
            let function = registry().function(oid.0)?;
            Some(format!("function {}", resolve::signature(function.name, &function.args).replace(", ", ",")))
        }
        _ => None,
    }
}

fn describe_relation(context: &SystemContext, oid: Oid) -> Option<String> {
    let catalog: &Catalog = &context.catalog;
    let kind = match catalog.relation(oid)? {
        Relation::Table(_) => "table",
        Relation::System(system) if !system.view => "table",
        Relation::System(_) | Relation::View(_) => "view",
        Relation::Sequence(_) => "sequence",
        Relation::Index(..) => "index",
    };
    Some(format!("{kind} {}", relation_name(oid, catalog, &context.path)?))
}

fn column_name(relation: &Relation, number: i64) -> Option<String> {
    let attnum = i16::try_from(number).ok()?;
    let at = usize::try_from(number).ok()?.checked_sub(1)?;
    match relation {
        Relation::Table(table) => table.attribute(attnum).map(|c| c.name.clone()),
        Relation::View(view) => view.columns.get(at).map(|c| c.0.clone()),
        Relation::System(system) => system.columns.get(at).map(|c| c.name.to_owned()),
        _ => None,
    }
}
