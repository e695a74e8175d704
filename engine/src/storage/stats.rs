//! Statistics of immutable arrays: bounds, null counts and distinct-count sketches, for pruning and for planning.

use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, AsArray, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType, UInt32Type,
};

use super::cell::cell_at;
use super::key::hash_bytes;
use crate::types::PgType;

/// HyperLogLog with 512 registers: standard error about 4.6 %.
#[derive(Debug, Clone)]
pub(crate) struct Sketch(Box<[u8; REGISTERS]>);

const REGISTERS: usize = 512;

impl Default for Sketch {
    fn default() -> Self {
        Sketch(Box::new([0; REGISTERS]))
    }
}

impl Sketch {
    pub fn add(&mut self, hash: u64) {
        let register = (hash as usize) % REGISTERS;
        let rank = ((hash >> 9) | 1 << 55).trailing_zeros() as u8 + 1;
        self.0[register] = self.0[register].max(rank);
    }

    pub fn merge(&mut self, other: &Sketch) {
        for (a, b) in self.0.iter_mut().zip(other.0.iter()) {
            *a = (*a).max(*b);
        }
    }

    pub fn estimate(&self) -> usize {
        let m = REGISTERS as f64;
        let sum: f64 = self.0.iter().map(|&r| (-f64::from(r)).exp2()).sum();
        let raw = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
        let zeros = self.0.iter().filter(|&&r| r == 0).count();
        let estimate = if raw <= 2.5 * m && zeros > 0 { m * (m / zeros as f64).ln() } else { raw };
        estimate.round() as usize
    }
}

/// What is known of one column of one chunk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Summary {
    /// One value of the column's type each; `None`: no value, or a type without bounds.
    pub min: Option<ArrayRef>,
    pub max: Option<ArrayRef>,
    pub nulls: usize,
    pub sketch: Sketch,
}

/// Sketch and places of the extremes of an array of integers, whatever they stand for.
fn integers<T: ArrowPrimitiveType>(array: &ArrayRef, bits: impl Fn(T::Native) -> u64) -> Scanned {
    let mut scanned = Scanned::default();
    let values = array.as_primitive::<T>();
    let (mut min, mut max): (Option<T::Native>, Option<T::Native>) = (None, None);
    for (i, value) in values.values().iter().enumerate() {
        if values.is_null(i) {
            continue;
        }
        scanned.sketch.add(hash_number(bits(*value)));
        if min.is_none_or(|m| value.is_lt(m)) {
            (min, scanned.min) = (Some(*value), Some(i));
        }
        if max.is_none_or(|m| value.is_gt(m)) {
            (max, scanned.max) = (Some(*value), Some(i));
        }
    }
    scanned
}

fn strings(array: &ArrayRef) -> Scanned {
    let mut scanned = Scanned::default();
    let values = array.as_string::<i32>();
    let (mut min, mut max): (Option<&str>, Option<&str>) = (None, None);
    for (i, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        scanned.sketch.add(hash_bytes(SEED, value.as_bytes()));
        if min.is_none_or(|m| value < m) {
            (min, scanned.min) = (Some(value), Some(i));
        }
        if max.is_none_or(|m| value > m) {
            (max, scanned.max) = (Some(value), Some(i));
        }
    }
    scanned
}

#[derive(Default)]
struct Scanned {
    sketch: Sketch,
    min: Option<usize>,
    max: Option<usize>,
}

fn hash_number(bits: u64) -> u64 {
    let product = u128::from(bits ^ SEED) * u128::from(0xe703_7ed1_a0b4_28db_u64);
    let folded = (product as u64) ^ ((product >> 64) as u64);
    (folded ^ (folded >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Summary {
    pub fn new(array: &ArrayRef, ty: PgType) -> Summary {
        let scanned = match array.data_type() {
            DataType::Int16 => integers::<Int16Type>(array, |v| v as u64),
            DataType::Int32 => integers::<Int32Type>(array, |v| v as u64),
            DataType::Int64 => integers::<Int64Type>(array, |v| v as u64),
            DataType::UInt32 => integers::<UInt32Type>(array, u64::from),
            DataType::Date32 => integers::<Date32Type>(array, |v| v as u64),
            DataType::Time64(TimeUnit::Microsecond) => integers::<Time64MicrosecondType>(array, |v| v as u64),
            DataType::Timestamp(TimeUnit::Microsecond, _) => integers::<TimestampMicrosecondType>(array, |v| v as u64),
            DataType::Decimal128(..) => integers::<Decimal128Type>(array, |v| (v as u64) ^ ((v >> 64) as u64)),
            DataType::Utf8 => strings(array),
            _ => Self::scan(array, ty),
        };
        // A slice would keep the whole chunk alive: copy the one value.
        let one = |i: usize| arrow::compute::concat(&[array.slice(i, 1).as_ref()]).ok();
        Summary {
            min: scanned.min.and_then(one),
            max: scanned.max.and_then(one),
            nulls: array.null_count(),
            sketch: scanned.sketch,
        }
    }

    /// Of any type, by its keys.
    fn scan(array: &ArrayRef, ty: PgType) -> Scanned {
        let mut sketch = Sketch::default();
        let mut key: Vec<u8> = Vec::new();
        let (mut min, mut max) = (None, None);
        let compare = make_comparator(array, array, SortOptions::default()).ok();
        // Encoded arrays do not sort like their values.
        let bounded = ty.oid.element().is_none();
        for i in (0..array.len()).filter(|&i| array.is_valid(i)) {
            key.clear();
            cell_at(array, i).encode(ty.oid, &mut key);
            sketch.add(hash_bytes(SEED, &key));
            if let (Some(compare), true) = (&compare, bounded) {
                if min.is_none_or(|m| compare(i, m).is_lt()) {
                    min = Some(i);
                }
                if max.is_none_or(|m| compare(i, m).is_gt()) {
                    max = Some(i);
                }
            }
        }
        Scanned { sketch, min, max }
    }
}

/// Fixed: sketches of different chunks are merged.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// The lesser (or greater) of two one-value arrays.
pub(crate) fn extreme(a: Option<ArrayRef>, b: &Option<ArrayRef>, greatest: bool) -> Option<ArrayRef> {
    let (Some(x), Some(y)) = (&a, b) else { return a.or_else(|| b.clone()) };
    let Ok(compare) = make_comparator(x, y, SortOptions::default()) else { return None };
    if compare(0, 0).is_gt() == greatest { a } else { b.clone() }
}
