//! TRUNCATE: tables get new, empty stores.

use std::sync::Arc;

use sqlparser::ast::{CascadeOption, Truncate, TruncateIdentityOption};

use super::names::Name;
use super::privilege::check_table;
use super::{DdlContext, allocate, open_table_if, put_table};
use crate::catalog::acl::Rights;
use crate::catalog::{Catalog, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::txn::{TableLock, Transaction};

pub async fn truncate(truncate: &Truncate, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    if truncate.partitions.is_some() || truncate.on_cluster.is_some() || truncate.if_exists {
        return Err(Error::unsupported("this form of TRUNCATE"));
    }
    let mut tables: Vec<Arc<TableDef>> = Vec::new();
    for target in &truncate.table_names {
        let name = Name::new(&target.name, &tx.catalog())?;
        let check =
            |catalog: &Catalog, user, table: &Arc<TableDef>| check_table(catalog, user, table, Rights::TRUNCATE);
        let table = open_table_if(&name, false, TableLock::AccessExclusive, check, tx, context).await?;
        // The privileges of the table that is named are enough.
        let family = table.iter().filter(|_| !target.only).flat_map(|t| tx.catalog().family(t.oid)).skip(1);
        let heirs: Vec<Arc<TableDef>> = family.collect();
        for heir in &heirs {
            super::lock(tx, heir.oid, TableLock::AccessExclusive, context).await?;
        }
        if let Some(view) = table.as_ref().filter(|t| t.materialized.is_some()) {
            return Err(Error::new(SqlState::WrongObjectType, format!("\"{}\" is not a table", view.name)));
        }
        for table in table.into_iter().chain(heirs) {
            if !tables.iter().any(|seen| seen.oid == table.oid) {
                tables.push(table);
            }
        }
    }
    let cascade = matches!(truncate.cascade, Some(CascadeOption::Cascade));
    follow_references(&mut tables, cascade, tx, context).await?;
    tables.iter().try_for_each(|table| context.check_settled(table, "TRUNCATE"))?;
    for table in &tables {
        let storage = allocate(tx)?;
        put_table(tx, TableDef { storage, ..(**table).clone() })?;
        if matches!(truncate.identity, Some(TruncateIdentityOption::Restart)) {
            let sequences: Vec<_> = tx.catalog().owned_sequences(table.oid, None).cloned().collect();
            for sequence in sequences {
                tx.restart_sequence(&sequence, sequence.start)?;
            }
        }
    }
    Ok("TRUNCATE TABLE".to_owned())
}

/// Tables that reference truncated ones are truncated too (CASCADE), or must be named.
async fn follow_references(
    tables: &mut Vec<Arc<TableDef>>,
    cascade: bool,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let mut next = 0;
    while let Some(table) = tables.get(next).cloned() {
        next += 1;
        let referencing: Vec<Arc<TableDef>> = tx.catalog().tables_referencing(table.oid).cloned().collect();
        for other in referencing {
            if tables.iter().any(|t| t.oid == other.oid) {
                continue;
            }
            if !cascade {
                return Err(Error::new(
                    SqlState::FeatureNotSupported,
                    "cannot truncate a table referenced in a foreign key constraint",
                )
                .detail(format!("Table \"{}\" references \"{}\".", other.name, table.name))
                .hint(format!("Truncate table \"{}\" at the same time, or use TRUNCATE ... CASCADE.", other.name)));
            }
            check_table(&tx.catalog(), context.user, &other, Rights::TRUNCATE)?;
            super::lock(tx, other.oid, TableLock::AccessExclusive, context).await?;
            context.notice(SqlState::SuccessfulCompletion, format!("truncate cascades to table \"{}\"", other.name));
            tables.push(other);
        }
    }
    Ok(())
}
