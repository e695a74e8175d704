//! Secondary indexes: ordered sets of key bytes followed by the row's place. An entry stays until the versions that
//! it leads to are collected, so a reader checks each against the version that it sees.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use super::layout::{IndexKey, IndexLayout};
use crate::monitor::Counter;

#[derive(Debug)]
pub(crate) struct SecondaryIndex {
    pub layout: IndexLayout,
    /// Every row is in it.
    complete: AtomicBool,
    pub lookups: Counter,
    entries: RwLock<BTreeSet<IndexKey>>,
}

/// Bytes of an entry that name the row.
const PLACE: usize = 6;

/// Entries read under one hold of the lock.
const BATCH: usize = 256;

impl SecondaryIndex {
    pub fn new(layout: IndexLayout) -> Self {
        SecondaryIndex {
            layout,
            complete: AtomicBool::new(true),
            lookups: Counter::default(),
            entries: RwLock::default(),
        }
    }

    /// An index that lacks rows until [`Self::set_complete`].
    pub fn incomplete(layout: IndexLayout) -> Self {
        SecondaryIndex {
            layout,
            complete: AtomicBool::new(false),
            lookups: Counter::default(),
            entries: RwLock::default(),
        }
    }

    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    pub fn set_complete(&self) {
        self.complete.store(true, Ordering::Release);
    }

    /// An index of all these entries.
    pub fn build(layout: IndexLayout, mut entries: Vec<IndexKey>) -> Self {
        entries.sort_unstable();
        let entries = RwLock::new(BTreeSet::from_iter(entries));
        SecondaryIndex { layout, complete: AtomicBool::new(true), lookups: Counter::default(), entries }
    }

    pub fn insert(&self, entry: IndexKey) {
        self.entries.write().insert(entry);
    }

    pub fn insert_all(&self, entries: Vec<IndexKey>) {
        self.entries.write().extend(entries);
    }

    pub fn remove(&self, entry: &IndexKey) {
        self.entries.write().remove(entry);
    }

    pub fn len(&self) -> usize {
        self.entries.read().len()
    }

    /// Bytes, about: an entry in its node, nodes two thirds full, and what did not fit inline.
    pub fn bytes(&self) -> usize {
        self.len() * 36
    }

    /// The next entries of a range, first those nearest to its start (its end, if `reverse`), and from where to go on.
    pub fn read(&self, low: &Bound<IndexKey>, high: &Bound<IndexKey>, reverse: bool) -> Vec<IndexKey> {
        if !is_range(low, high) {
            return Vec::new();
        }
        let entries = self.entries.read();
        let range = entries.range((low.clone(), high.clone()));
        match reverse {
            false => range.take(BATCH).cloned().collect(),
            true => range.rev().take(BATCH).cloned().collect(),
        }
    }
}

/// BTreeSet::range panics on what is not one.
fn is_range(low: &Bound<IndexKey>, high: &Bound<IndexKey>) -> bool {
    let (Bound::Included(l) | Bound::Excluded(l)) = low else { return true };
    let (Bound::Included(h) | Bound::Excluded(h)) = high else { return true };
    l < h
}

/// Entry of a row in partition `partition`.
pub(crate) fn entry(mut key: IndexKey, partition: usize, handle: u32) -> IndexKey {
    key.extend_from_slice(&(partition as u16).to_be_bytes());
    key.extend_from_slice(&handle.to_be_bytes());
    key
}

/// Key, partition and handle of an entry.
pub(crate) fn split(entry: &IndexKey) -> (&[u8], usize, u32) {
    let (key, place) = entry.split_at(entry.len().saturating_sub(PLACE));
    match place {
        [p0, p1, h0, h1, h2, h3] => {
            (key, usize::from(u16::from_be_bytes([*p0, *p1])), u32::from_be_bytes([*h0, *h1, *h2, *h3]))
        }
        _ => unreachable!("an index entry without its place"),
    }
}
