//! VACUUM and ANALYZE: which tables they name, and their checks. The work itself is storage's.

use sqlparser::ast::ObjectName;

use super::DdlContext;
use super::names::Name;
use crate::catalog::{Catalog, Oid, Relation};
use crate::error::{Error, Notice, NoticeLevel, Result, SqlState};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaintenanceKind {
    Vacuum,
    Analyze,
}

/// A checked VACUUM or ANALYZE.
#[derive(Debug, Clone)]
pub struct Maintenance {
    pub kind: MaintenanceKind,
    /// Tables to visit.
    pub tables: Vec<Oid>,
}

impl Maintenance {
    /// Checks options and names. `in_block`: the session is in a transaction block, where VACUUM may not run.
    pub fn new(
        kind: MaintenanceKind,
        options: &[(String, Vec<String>)],
        names: &[ObjectName],
        in_block: bool,
        catalog: &Catalog,
        context: &mut DdlContext<'_>,
    ) -> Result<Maintenance> {
        if kind == MaintenanceKind::Vacuum && in_block {
            return Err(Error::new(SqlState::ActiveSqlTransaction, "VACUUM cannot run inside a transaction block"));
        }
        for (name, _) in options {
            let known = match kind {
                MaintenanceKind::Vacuum => matches!(
                    name.as_str(),
                    "full"
                        | "freeze"
                        | "verbose"
                        | "analyze"
                        | "disable_page_skipping"
                        | "skip_locked"
                        | "index_cleanup"
                        | "process_toast"
                        | "truncate"
                        | "parallel"
                ),
                MaintenanceKind::Analyze => matches!(name.as_str(), "verbose" | "skip_locked"),
            };
            if !known {
                let command = if kind == MaintenanceKind::Vacuum { "VACUUM" } else { "ANALYZE" };
                return Err(Error::new(SqlState::SyntaxError, format!("unrecognized {command} option \"{name}\"")));
            }
        }
        let path = context.path(catalog);
        let mut tables = Vec::new();
        for name in names {
            let relation = Name::new(name, catalog)?.resolve(catalog, &path)?;
            match relation {
                Relation::Table(table) => tables.push(table.oid),
                Relation::System(_) => {}
                other => {
                    let verb = if kind == MaintenanceKind::Vacuum { "vacuum" } else { "analyze" };
                    let message =
                        format!("skipping \"{}\" --- cannot {verb} non-tables or special system tables", other.name());
                    let report = Error::new(SqlState::Warning, message);
                    context.notices.push(Notice { level: NoticeLevel::Warning, report });
                }
            }
        }
        if names.is_empty() {
            tables = catalog.tables.keys().copied().collect();
        }
        Ok(Maintenance { kind, tables })
    }

    pub fn tag(&self) -> &'static str {
        match self.kind {
            MaintenanceKind::Vacuum => "VACUUM",
            MaintenanceKind::Analyze => "ANALYZE",
        }
    }
}
