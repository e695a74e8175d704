//! Who reads which table: the weakest table lock (ACCESS SHARE), kept apart because every transaction takes it and
//! hardly anything conflicts with it.
//!
//! Readers are listed by transaction, not by table: a reader writes to a place that no other reader of the table
//! writes to. Whoever wants a table for itself (ACCESS EXCLUSIVE) announces that first, and then carries its readers
//! over into the lock table, where it waits for them as for any other holder. A reader that finds a table announced
//! asks the lock table too. PostgreSQL's fast-path locks work alike (`src/backend/storage/lmgr/README`).
//!
//! Invariants:
//! 1. A listed reader of a table was listed before the table was announced, or its slot was announced for another one.
//! 2. Announcing comes before carrying over; a reader looks for announcements with its own list locked. So each reader
//!    is either carried over or asks.

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::locks::{Asker, TxnId};
use crate::catalog::Oid;

/// Lists of readers; transactions are numbered in turn, so those that run at once are in different ones.
const LISTS: usize = 64;
/// Tables share an announcement's place by their OID; sharing costs a look into the lock table, nothing else.
const PLACES: usize = 256;

#[derive(Debug)]
struct Reader {
    asker: Asker,
    tables: SmallVec<[Oid; 4]>,
}

#[derive(Debug)]
pub(super) struct Readers {
    lists: Box<[Mutex<Vec<Reader>>]>,
    /// How many tables of this place somebody has, or wants, for itself.
    announced: Box<[AtomicU32]>,
}

impl Readers {
    pub fn new() -> Readers {
        Readers {
            lists: (0..LISTS).map(|_| Mutex::default()).collect(),
            announced: (0..PLACES).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    fn list(&self, txn: TxnId) -> &Mutex<Vec<Reader>> {
        &self.lists[txn.0 as usize % LISTS]
    }

    fn place(&self, table: Oid) -> &AtomicU32 {
        &self.announced[table.0 as usize % PLACES]
    }

    /// Whether a reader of the table has to ask the lock table.
    pub fn is_announced(&self, table: Oid) -> bool {
        self.place(table).load(Ordering::Acquire) != 0
    }

    /// Lists a reader, unless the table is announced.
    pub fn try_add(&self, table: Oid, asker: Asker) -> bool {
        let mut list = self.list(asker.txn).lock();
        if self.is_announced(table) {
            return false;
        }
        match list.iter_mut().find(|r| r.asker.txn == asker.txn) {
            Some(reader) => reader.tables.push(table),
            None => list.push(Reader { asker, tables: std::iter::once(table).collect() }),
        }
        true
    }

    /// The transaction ends: forgets it and answers what was still listed.
    pub fn remove(&self, txn: TxnId) -> SmallVec<[Oid; 4]> {
        let mut list = self.list(txn).lock();
        match list.iter().position(|r| r.asker.txn == txn) {
            Some(at) => list.swap_remove(at).tables,
            None => SmallVec::new(),
        }
    }

    pub fn announce(&self, table: Oid) {
        self.place(table).fetch_add(1, Ordering::AcqRel);
    }

    pub fn withdraw(&self, table: Oid) {
        self.place(table).fetch_sub(1, Ordering::AcqRel);
    }

    /// Takes the readers of an announced table off their lists.
    pub fn carry_over(&self, table: Oid, mut holder: impl FnMut(Asker)) {
        for list in &self.lists {
            for reader in list.lock().iter_mut() {
                let before = reader.tables.len();
                reader.tables.retain(|t| *t != table);
                if reader.tables.len() < before {
                    holder(reader.asker);
                }
            }
        }
    }

    /// Who is listed, for views.
    pub fn all(&self) -> Vec<(Asker, Oid)> {
        let mut all = Vec::new();
        for list in &self.lists {
            let list = list.lock();
            all.extend(list.iter().flat_map(|r| r.tables.iter().map(|t| (r.asker, *t))));
        }
        all
    }
}
