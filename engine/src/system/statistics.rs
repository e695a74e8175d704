//! pg_statistic_ext, and the definitions of statistics objects as text.

use super::deparse::{self, Display, quote_ident};
use super::rows::{Cell, row};
use super::{RowSink, RowSource, SystemContext};
use crate::catalog::{Oid, StatisticsDef, StatisticsKind};
use crate::error::Result;

pub const SOURCES: &[(&str, RowSource)] = &[("pg_catalog.pg_statistic_ext", pg_statistic_ext)];

fn pg_statistic_ext(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for s in context.catalog.statistics.values() {
        let mut kinds: Vec<char> = s.kinds.iter().map(|k| k.letter()).collect();
        if !s.expressions.is_empty() {
            kinds.push('e');
        }
        let trees: Vec<String> = s.expressions.iter().map(|e| e.text.clone()).collect();
        let trees = (!trees.is_empty()).then(|| trees.join(", "));
        row!(sink; s.oid, s.table, &s.name, s.schema, s.owner, s.target, s.columns.clone(), kinds, trees);
    }
    Ok(())
}

/// Columns and expressions, each as CREATE STATISTICS has it.
pub fn elements(def: &StatisticsDef, display: &Display<'_>) -> Option<String> {
    let table = display.catalog.tables.get(&def.table)?;
    let columns = def.columns.iter().filter_map(|a| table.attribute(*a)).map(|c| quote_ident(&c.name));
    let expressions = def.expressions.iter().map(|e| deparse::parenthesized(display.expression(&e.text, Some(table))));
    Some(columns.chain(expressions).collect::<Vec<_>>().join(", "))
}

/// pg_get_statisticsobjdef.
pub fn definition(def: &StatisticsDef, display: &Display<'_>) -> Option<String> {
    let catalog = display.catalog;
    let (schema, name) = (quote_ident(catalog.schema_name(def.schema)), quote_ident(&def.name));
    let several = def.columns.len() + def.expressions.len() > 1;
    let kinds: Vec<&str> = def.kinds.iter().map(|k| k.name()).collect();
    let kinds = match several && kinds.len() < StatisticsKind::ALL.len() {
        true => format!(" ({})", kinds.join(", ")),
        false => String::new(),
    };
    let table = deparse::relation_name(def.table, catalog, display.path)?;
    Some(format!("CREATE STATISTICS {schema}.{name}{kinds} ON {} FROM {table}", elements(def, display)?))
}

/// pg_get_statisticsobjdef_expressions.
pub fn expressions(def: &StatisticsDef, display: &Display<'_>) -> Option<crate::types::Datum> {
    let table = display.catalog.tables.get(&def.table)?;
    let shown: Vec<String> = def.expressions.iter().map(|e| display.expression(&e.text, Some(table))).collect();
    (!shown.is_empty()).then(|| shown.cell())
}

/// The name, qualified unless the search path finds it.
pub fn name(oid: Oid, context: &SystemContext) -> Option<String> {
    let def = context.catalog.statistics.get(&oid)?;
    let name = quote_ident(&def.name);
    Some(match context.catalog.statistics_are_visible(def, &context.path) {
        true => name,
        false => format!("{}.{name}", quote_ident(context.catalog.schema_name(def.schema))),
    })
}
