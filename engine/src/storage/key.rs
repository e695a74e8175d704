//! Keys: the bytes that name a row (its primary key, or a hidden number), and the bytes that order an index.

use std::ops::Bound;

use smallvec::SmallVec;

use crate::types::Datum;

/// What names a row for ever: its primary key's columns, encoded so that the bytes sort like the values; for a table
/// without a primary key a hidden number. Made by [`super::Table::key`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RowKey(pub SmallVec<[u8; 16]>);

/// A part of an ordered index: equalities on its first columns, then a range on the next one, in the order of the
/// values whatever the column's direction is.
#[derive(Debug, Clone)]
pub struct IndexRange {
    /// Values of the first columns; `Null` means IS NULL.
    pub prefix: Vec<Datum>,
    /// Range of the column after the prefix. With a bound on either side NULLs are out; unbounded on both sides they are in.
    pub lower: Bound<Datum>,
    pub upper: Bound<Datum>,
    /// Walk the index from its end.
    pub reverse: bool,
}

impl IndexRange {
    /// All rows whose first index columns equal `prefix`.
    pub fn equal(prefix: Vec<Datum>) -> Self {
        IndexRange { prefix, lower: Bound::Unbounded, upper: Bound::Unbounded, reverse: false }
    }
}
