//! How values of a column are compressed where they are stored apart: kept and shown, and of no consequence, because rows lie in
//! memory as they are.
//!
//! Invariant: in memory it lies in the column's definition; records and checkpoints carry it behind the table, as they carry a
//! table's [`super::Inheritance`], so that tables without it are written as they were before.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Catalog, Oid, TableDef};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compression {
    Pglz,
    Lz4,
}

impl Compression {
    pub fn from_name(name: &str) -> Option<Compression> {
        match name {
            "pglz" => Some(Compression::Pglz),
            "lz4" => Some(Compression::Lz4),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Compression::Pglz => "pglz",
            Compression::Lz4 => "lz4",
        }
    }

    /// As pg_attribute.attcompression shows it.
    pub fn letter(self) -> &'static str {
        match self {
            Compression::Pglz => "p",
            Compression::Lz4 => "l",
        }
    }
}

/// A table's columns with a method of their own, by number.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CompressedColumns {
    pub table: Oid,
    pub columns: Vec<(i16, Compression)>,
}

impl TableDef {
    /// `None`: all columns have the default.
    pub fn compressed_columns(&self) -> Option<CompressedColumns> {
        let columns: Vec<_> = self.live_columns().filter_map(|c| Some((c.attnum, c.compression?))).collect();
        (!columns.is_empty()).then_some(CompressedColumns { table: self.oid, columns })
    }
}

impl Catalog {
    /// The methods of a table that was put before.
    pub(super) fn put_compression(&mut self, compressed: &CompressedColumns) {
        let Some(table) = self.tables.get(&compressed.table) else { return };
        let mut table = (**table).clone();
        for column in &mut table.columns {
            let given = compressed.columns.iter().find(|(attnum, _)| *attnum == column.attnum);
            column.compression = given.map(|(_, method)| *method);
        }
        self.tables.insert(table.oid, Arc::new(table));
    }
}
