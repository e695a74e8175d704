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

impl RowKey {
    /// Key of a row without a primary key.
    pub(crate) fn hidden(number: i64) -> RowKey {
        RowKey(SmallVec::from_slice(&((number as u64) ^ (1 << 63)).to_be_bytes()))
    }

    /// The number in a hidden key.
    pub(crate) fn hidden_number(&self) -> Option<i64> {
        let bytes: [u8; 8] = self.0.as_slice().try_into().ok()?;
        Some((u64::from_be_bytes(bytes) ^ (1 << 63)) as i64)
    }

    pub(crate) fn hash(&self, seed: u64) -> u64 {
        hash_bytes(seed, &self.0)
    }
}

/// A fast hash of short keys (multiply and fold, eight bytes a step). Seeded per store against chosen collisions.
pub(crate) fn hash_bytes(seed: u64, bytes: &[u8]) -> u64 {
    fn fold(a: u64, b: u64) -> u64 {
        let product = u128::from(a) * u128::from(b);
        (product as u64) ^ ((product >> 64) as u64)
    }
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(0xa076_1d64_78bd_642f);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = fold(hash ^ u64::from_le_bytes(*word), 0xe703_7ed1_a0b4_28db);
    }
    let mut tail = [0; 8];
    tail[..rest.len()].copy_from_slice(rest);
    fold(fold(hash ^ u64::from_le_bytes(tail), 0x8ebc_6af0_9c88_c6e3), hash ^ 0x5899_65cc_7537_4cc3)
}

/// [`RowKey::hash`] of a key that is one int4.
pub(crate) fn hash_int4(seed: u64, value: i32) -> u64 {
    hash_bytes(seed, &((value as u32) ^ (1 << 31)).to_be_bytes())
}

/// [`RowKey::hash`] of a key that is one int8.
pub(crate) fn hash_int8(seed: u64, value: i64) -> u64 {
    hash_bytes(seed, &((value as u64) ^ (1 << 63)).to_be_bytes())
}

impl IndexRange {
    /// All rows whose first index columns equal `prefix`.
    pub fn equal(prefix: Vec<Datum>) -> Self {
        IndexRange { prefix, lower: Bound::Unbounded, upper: Bound::Unbounded, reverse: false }
    }
}
