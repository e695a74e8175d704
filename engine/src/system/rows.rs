//! Collects the rows of a system relation.

use std::net::IpAddr;
use std::sync::Arc;

use super::{RowSet, SystemColumn, SystemRelation};
use crate::catalog::access::AclTarget;
use crate::catalog::acl::ObjectKind;
use crate::catalog::{Catalog, Oid};
use crate::error::{Error, Result};
use crate::types::network::Inet;
use crate::types::{Datum, TypeOid};

/// Rows of one relation, column by column.
pub struct RowSink {
    relation: &'static str,
    types: Vec<SystemColumn>,
    columns: Vec<Vec<Datum>>,
    rows: usize,
    catalog: Arc<Catalog>,
}

impl RowSink {
    pub(super) fn new(relation: &SystemRelation, catalog: Arc<Catalog>) -> RowSink {
        RowSink {
            relation: relation.name,
            types: relation.columns.clone(),
            columns: vec![Vec::new(); relation.columns.len()],
            rows: 0,
            catalog,
        }
    }

    pub(super) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The list of privileges of an object, as aclitem[]; `None`: it has none of its own.
    pub(super) fn acl(&self, kind: ObjectKind, object: Oid) -> Option<Vec<String>> {
        if kind == ObjectKind::Relation
            && let Some(system) = super::by_oid(object)
        {
            return super::privileges::system_texts(system.name, system.schema, &self.catalog);
        }
        let own = self.catalog.access.own_acl(AclTarget::new(kind, object));
        super::privileges::texts(own.map(|acl| &**acl), &self.catalog)
    }

    /// [`Self::acl`] of a column.
    pub(super) fn column_acl(&self, relation: Oid, attnum: i16) -> Option<Vec<String>> {
        let own = self.catalog.access.own_acl(AclTarget::column(relation, attnum));
        super::privileges::texts(own.map(|acl| &**acl), &self.catalog)
    }

    /// Adds a row: one value a column, in the relation's order.
    pub fn push<const N: usize>(&mut self, row: [Datum; N]) {
        debug_assert_eq!(N, self.columns.len(), "columns of {}", self.relation);
        for (column, value) in self.columns.iter_mut().zip(row) {
            column.push(value);
        }
        self.rows += 1;
    }

    /// [`Self::push`] for a row of a length that only the relation knows.
    pub(super) fn push_row(&mut self, row: Vec<Datum>) {
        for (column, value) in self.columns.iter_mut().zip(row) {
            column.push(value);
        }
        self.rows += 1;
    }

    pub(super) fn relation(&self) -> &'static str {
        self.relation
    }

    pub(super) fn columns(&self) -> &[SystemColumn] {
        &self.types
    }

    pub(super) fn finish(self) -> Result<RowSet> {
        for (column, values) in self.types.iter().zip(&self.columns) {
            let holes = column.not_null && values.iter().any(Datum::is_null);
            if holes || values.len() != self.rows {
                return Err(Error::internal(format!("column {}.{} was not filled", self.relation, column.name)));
            }
        }
        Ok(RowSet::new(self.columns, self.rows))
    }
}

/// A value that a row is built from.
pub(super) trait Cell {
    fn cell(self) -> Datum;
}

/// SQL NULL as a cell.
pub(super) struct Null;

macro_rules! cells {
    ($($ty:ty, $value:ident => $cell:expr);* $(;)?) => {
        $(impl Cell for $ty {
            fn cell(self) -> Datum {
                let $value = self;
                $cell
            }
        })*
    };
}

cells! {
    Null, _value => Datum::Null;
    Datum, value => value;
    bool, value => Datum::Bool(value);
    char, value => Datum::Text(Arc::from(value.encode_utf8(&mut [0; 4]) as &str));
    &str, value => Datum::Text(Arc::from(value));
    &String, value => Datum::Text(Arc::from(value.as_str()));
    String, value => Datum::Text(Arc::from(value));
    i16, value => Datum::Int2(value);
    i32, value => Datum::Int4(value);
    i64, value => Datum::Int8(value);
    f32, value => Datum::Float4(value);
    f64, value => Datum::Float8(value);
    Oid, value => Datum::Oid(value.0);
    TypeOid, value => Datum::Oid(value.0);
    u32, value => Datum::Oid(value);
}

impl<T: Cell> Cell for Option<T> {
    fn cell(self) -> Datum {
        self.map_or(Datum::Null, Cell::cell)
    }
}

impl<T: Cell> Cell for Vec<T> {
    fn cell(self) -> Datum {
        Datum::from(self.into_iter().map(Cell::cell).collect::<Vec<_>>())
    }
}

/// A point in time as microseconds since 1970-01-01.
pub(super) struct Time(pub i64);

impl Cell for Time {
    fn cell(self) -> Datum {
        Datum::Timestamptz(self.0)
    }
}

impl Cell for IpAddr {
    fn cell(self) -> Datum {
        let address = match self {
            IpAddr::V4(address) => Inet::new(&address.octets(), 32),
            IpAddr::V6(address) => Inet::new(&address.octets(), 128),
        };
        address.map_or(Datum::Null, |address| address.encode())
    }
}

/// `row!(sink; value, …)` adds a row.
macro_rules! row {
    ($sink:expr; $($value:expr),+ $(,)?) => {
        $sink.push([$($crate::system::rows::Cell::cell($value)),+])
    };
}
pub(super) use row;
