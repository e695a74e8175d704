//! What storage needs to know of a table's definition, resolved once: column types, how rows are named, which ordered
//! indexes there are.

use std::ops::Bound;
use std::sync::Arc;

use smallvec::SmallVec;

use super::cell::Cell;
use super::key::{IndexRange, RowKey};
use crate::catalog::{Computed, IndexDef, Oid, TableDef};
use crate::error::Result;
use crate::types::{Datum, PgType, TypeOid};

/// Bytes of an index entry: key, then partition (2) and handle (4), big-endian.
pub(crate) type IndexKey = SmallVec<[u8; 16]>;

#[derive(Debug)]
pub(crate) struct Layout {
    /// By attnum - 1; `None`: dropped.
    pub types: Vec<Option<PgType>>,
    /// What rows hold in a column that was added after them.
    pub missing: Vec<Datum>,
    pub key: KeyLayout,
    /// Secondary indexes.
    pub indexes: Vec<IndexLayout>,
    /// Order of the primary key, for the index that a store builds when a range of it is first asked for.
    pub primary: Option<IndexLayout>,
}

/// How rows are named. Column numbers are attnum - 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyLayout {
    /// No primary key: a number given at insertion.
    Hidden,
    Int4(usize),
    Int8(usize),
    Columns(SmallVec<[(usize, TypeOid); 4]>),
}

/// A secondary index, or the columns of any index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexLayout {
    pub oid: Oid,
    pub unique: bool,
    /// Its keys are locked by who writes them, and compared later.
    pub deferrable: bool,
    /// NULLs are equal to each other.
    pub nulls_not_distinct: bool,
    pub columns: SmallVec<[IndexColumnLayout; 2]>,
    /// Expressions and predicate; such columns have no number of their own.
    pub computed: Option<Arc<Computed>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexColumnLayout {
    pub column: usize,
    pub ty: TypeOid,
    pub descending: bool,
    pub nulls_first: bool,
}

impl Layout {
    pub fn new(def: &TableDef) -> Layout {
        let live = |c: &crate::catalog::ColumnDef| (!c.dropped).then_some(c.ty);
        let types: Vec<_> = def.columns.iter().map(live).collect();
        let primary = def.indexes.iter().find(|i| i.is_key());
        Layout {
            key: primary.map_or(KeyLayout::Hidden, |index| KeyLayout::new(index, &types)),
            indexes: def
                .indexes
                .iter()
                .filter(|i| !i.is_key() && i.is_ordered())
                .map(|i| IndexLayout::new(i, &types))
                .collect(),
            primary: primary.map(|index| IndexLayout::new(index, &types)),
            missing: def.columns.iter().map(|c| c.missing.clone().unwrap_or(Datum::Null)).collect(),
            types,
        }
    }

    pub fn is_hidden(&self) -> bool {
        self.key == KeyLayout::Hidden
    }

    pub fn ty(&self, column: usize) -> Option<PgType> {
        self.types.get(column).copied().flatten()
    }
}

impl KeyLayout {
    fn new(index: &IndexDef, types: &[Option<PgType>]) -> KeyLayout {
        let columns: SmallVec<[(usize, TypeOid); 4]> =
            index.columns.iter().map(|c| column_type(c.attnum, types)).collect();
        match columns.as_slice() {
            [(column, TypeOid::INT4)] => KeyLayout::Int4(*column),
            [(column, TypeOid::INT8)] => KeyLayout::Int8(*column),
            _ => KeyLayout::Columns(columns),
        }
    }

    /// Key of the row whose cell in a column is `cell(column)`.
    pub fn encode<'a>(&self, cell: impl Fn(usize) -> Cell<'a>) -> RowKey {
        let mut key = RowKey::default();
        match self {
            KeyLayout::Hidden => {}
            KeyLayout::Int4(column) => cell(*column).encode(TypeOid::INT4, &mut key.0),
            KeyLayout::Int8(column) => cell(*column).encode(TypeOid::INT8, &mut key.0),
            KeyLayout::Columns(columns) => {
                for (column, ty) in columns {
                    cell(*column).encode(*ty, &mut key.0);
                }
            }
        }
        key
    }

    /// Columns of the key, in order.
    pub fn columns(&self) -> SmallVec<[(usize, TypeOid); 4]> {
        match self {
            KeyLayout::Hidden => SmallVec::new(),
            KeyLayout::Int4(column) => SmallVec::from_slice(&[(*column, TypeOid::INT4)]),
            KeyLayout::Int8(column) => SmallVec::from_slice(&[(*column, TypeOid::INT8)]),
            KeyLayout::Columns(columns) => columns.clone(),
        }
    }

    /// Key whose columns' values, in order, are `values`.
    pub fn of_values(&self, values: &[Datum]) -> RowKey {
        let mut key = RowKey::default();
        for ((_, ty), value) in self.columns().iter().zip(values) {
            Cell::from(value).encode(*ty, &mut key.0);
        }
        key
    }
}

impl IndexLayout {
    pub fn new(index: &IndexDef, types: &[Option<PgType>]) -> IndexLayout {
        let column = |c: &crate::catalog::IndexColumn| {
            let (column, ty) = match &c.expression {
                Some(expression) => (usize::MAX, expression.ty.oid),
                None => column_type(c.attnum, types),
            };
            IndexColumnLayout { column, ty, descending: c.descending, nulls_first: c.nulls_first }
        };
        IndexLayout {
            oid: index.oid,
            unique: index.unique && !index.deferrable,
            deferrable: index.deferrable,
            nulls_not_distinct: index.nulls_not_distinct,
            columns: index.columns.iter().map(column).collect(),
            computed: index.computed.clone(),
        }
    }

    /// Bytes that order the row in the index.
    pub fn encode<'a>(&self, cell: impl Fn(usize) -> Cell<'a>) -> IndexKey {
        let mut key = IndexKey::new();
        if let Some(computed) = &self.computed {
            for (column, function) in self.columns.iter().zip(&computed.expressions) {
                match function {
                    None => column.encode(&cell(column.column), &mut key),
                    // DML has seen the error that there may be, and the row never came to be.
                    Some(function) => {
                        column.encode(&Cell::from(&function.value(&cell).unwrap_or(Datum::Null)), &mut key)
                    }
                }
            }
            return key;
        }
        for column in &self.columns {
            column.encode(&cell(column.column), &mut key);
        }
        key
    }

    /// [`Self::encode`], or `None` for a row that a partial index leaves out.
    pub fn entry<'a>(&self, cell: impl Fn(usize) -> Cell<'a>) -> Option<IndexKey> {
        self.holds(&cell).then(|| self.encode(cell))
    }

    fn holds<'a>(&self, cell: &dyn Fn(usize) -> Cell<'a>) -> bool {
        let predicate = self.computed.as_ref().and_then(|c| c.predicate.as_ref());
        predicate.is_none_or(|p| p.holds(cell).unwrap_or(false))
    }

    /// The error of computing a row's key, if it has one.
    pub fn check<'a>(&self, cell: impl Fn(usize) -> Cell<'a>) -> Result<()> {
        self.computed.as_ref().map_or(Ok(()), |computed| computed.check(&cell))
    }

    /// Whether a change of these columns may change the key.
    pub fn depends_on(&self, changed: impl Fn(usize) -> bool) -> bool {
        self.columns.iter().any(|c| changed(c.column))
            || self.computed.as_ref().is_some_and(|computed| computed.columns().any(changed))
    }

    /// Bytes that a unique index compares, or `None` if a column is NULL: NULLs are distinct. `None` also for a row that a
    /// partial index leaves out.
    pub fn unique_key<'a>(&self, cell: impl Fn(usize) -> Cell<'a>) -> Option<IndexKey> {
        if let Some(computed) = &self.computed {
            let null = |(column, function): (&IndexColumnLayout, &Option<crate::catalog::computed::RowFunction>)| {
                match function {
                    None => matches!(cell(column.column), Cell::Null),
                    Some(function) => function.value(&cell).is_ok_and(|v| v.is_null()),
                }
            };
            let distinct = !self.nulls_not_distinct && self.columns.iter().zip(&computed.expressions).any(null);
            return (!distinct && self.holds(&cell)).then(|| self.encode(cell));
        }
        let null = !self.nulls_not_distinct && self.columns.iter().any(|c| matches!(cell(c.column), Cell::Null));
        (!null).then(|| self.encode(cell))
    }

    /// Bytes between which all entries of a range lie: from the first (inclusive) to the second (exclusive).
    pub fn bounds(&self, range: &IndexRange) -> (IndexKey, IndexKey) {
        let mut prefix = IndexKey::new();
        for (column, value) in self.columns.iter().zip(&range.prefix) {
            column.encode(&Cell::from(value), &mut prefix);
        }
        let (mut low, mut high) = (prefix.clone(), after(&prefix));
        let Some(column) = self.columns.get(range.prefix.len()) else { return (low, high) };
        let value = |datum: &Datum| {
            let mut key = prefix.clone();
            column.encode(&Cell::from(datum), &mut key);
            key
        };
        if matches!((&range.lower, &range.upper), (Bound::Unbounded, Bound::Unbounded)) {
            return (low, high);
        }
        low.push(VALUE);
        high = prefix.clone();
        high.push(VALUE + 1);
        let (first, last) = match column.descending {
            false => (&range.lower, &range.upper),
            true => (&range.upper, &range.lower),
        };
        match first {
            Bound::Included(datum) => low = value(datum),
            Bound::Excluded(datum) => low = after(&value(datum)),
            Bound::Unbounded => {}
        }
        match last {
            Bound::Included(datum) => high = after(&value(datum)),
            Bound::Excluded(datum) => high = value(datum),
            Bound::Unbounded => {}
        }
        (low, high)
    }
}

/// First byte of a value that is not NULL; NULLs are one lower or one higher.
const VALUE: u8 = 2;

impl IndexColumnLayout {
    fn encode(&self, cell: &Cell<'_>, out: &mut IndexKey) {
        if matches!(cell, Cell::Null) {
            out.push(if self.nulls_first { VALUE - 1 } else { VALUE + 1 });
            return;
        }
        out.push(VALUE);
        let start = out.len();
        cell.encode(self.ty, out);
        if self.descending {
            out[start..].iter_mut().for_each(|b| *b = !*b);
        }
    }
}

/// The least bytes above all that begin with `prefix`.
pub(crate) fn after(prefix: &[u8]) -> IndexKey {
    let mut key = IndexKey::from_slice(prefix);
    while let Some(last) = key.pop() {
        if last < 0xff {
            key.push(last + 1);
            return key;
        }
    }
    // Nothing is above: no entry begins with five 0xff, the first byte is a marker.
    IndexKey::from_slice(&[0xff; 5])
}

fn column_type(attnum: i16, types: &[Option<PgType>]) -> (usize, TypeOid) {
    let column = usize::try_from(attnum - 1).unwrap_or(0);
    (column, types.get(column).copied().flatten().map_or(TypeOid::TEXT, |t| t.oid))
}
