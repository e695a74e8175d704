//! Statistics objects: what CREATE STATISTICS says about columns and expressions of a table. Nothing is computed from them; they
//! are kept beside the table, as its policies are, and go with it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Catalog, Oid, SearchPath};
use crate::error::{Error, Result, SqlState};

/// CREATE STATISTICS.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatisticsDef {
    pub oid: Oid,
    pub schema: Oid,
    pub name: String,
    pub owner: Oid,
    pub table: Oid,
    /// By number, in their order.
    pub columns: Vec<i16>,
    pub expressions: Vec<StatisticsExpression>,
    /// Of one expression alone there are none of these.
    pub kinds: Vec<StatisticsKind>,
    /// ALTER STATISTICS SET STATISTICS; -1: the default.
    pub target: i32,
    pub comment: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatisticsExpression {
    /// As [`crate::system::deparse`] stores it.
    pub text: String,
    /// Columns that it reads.
    pub reads: Vec<i16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StatisticsKind {
    Distinct,
    Dependencies,
    MostCommon,
}

impl StatisticsKind {
    pub const ALL: [StatisticsKind; 3] =
        [StatisticsKind::Distinct, StatisticsKind::Dependencies, StatisticsKind::MostCommon];

    pub fn name(self) -> &'static str {
        match self {
            StatisticsKind::Distinct => "ndistinct",
            StatisticsKind::Dependencies => "dependencies",
            StatisticsKind::MostCommon => "mcv",
        }
    }

    /// As pg_statistic_ext.stxkind shows it.
    pub fn letter(self) -> char {
        match self {
            StatisticsKind::Distinct => 'd',
            StatisticsKind::Dependencies => 'f',
            StatisticsKind::MostCommon => 'm',
        }
    }
}

impl StatisticsDef {
    pub fn reads_column(&self, attnum: i16) -> bool {
        self.columns.contains(&attnum) || self.expressions.iter().any(|e| e.reads.contains(&attnum))
    }
}

/// 42704
pub fn undefined(shown: &str) -> Error {
    Error::new(SqlState::UndefinedObject, format!("statistics object \"{shown}\" does not exist"))
}

impl Catalog {
    pub fn statistics_in(&self, schema: Oid, name: &str) -> Option<&Arc<StatisticsDef>> {
        self.statistics.values().find(|s| s.schema == schema && s.name == name)
    }

    pub fn statistics_on(&self, table: Oid) -> impl Iterator<Item = &Arc<StatisticsDef>> {
        self.statistics.values().filter(move |s| s.table == table)
    }

    /// The statistics object that a name means (42704, 3F000).
    pub fn find_statistics(&self, schema: Option<&str>, name: &str, path: &SearchPath) -> Result<Arc<StatisticsDef>> {
        let found = match schema {
            Some(schema) => self.statistics_in(self.resolve_schema(schema)?.oid, name),
            None => path.schemas.iter().find_map(|schema| self.statistics_in(*schema, name)),
        };
        found.cloned().ok_or_else(|| match schema {
            Some(schema) => undefined(&format!("{schema}.{name}")),
            None => undefined(name),
        })
    }

    pub fn statistics_are_visible(&self, statistics: &StatisticsDef, path: &SearchPath) -> bool {
        let first = path.schemas.iter().find_map(|schema| self.statistics_in(*schema, &statistics.name));
        first.is_some_and(|found| found.oid == statistics.oid)
    }
}
