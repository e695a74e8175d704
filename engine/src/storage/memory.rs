//! The account of memory: one counter for the engine, one per holder, and the limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result, SqlState};

/// Bytes in use by rows, indexes and buffers of transactions.
#[derive(Debug)]
pub struct Memory {
    used: AtomicUsize,
    limit: usize,
}

impl Memory {
    pub fn new(limit: usize) -> Arc<Memory> {
        Arc::new(Memory { used: AtomicUsize::new(0), limit })
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    /// 53200 if `bytes` more would pass the limit. Asked by transactions before they buffer; the applier never asks.
    pub fn check(&self, bytes: usize) -> Result<()> {
        if self.used().saturating_add(bytes) <= self.limit {
            return Ok(());
        }
        Err(Error::new(SqlState::OutOfMemory, "out of memory")
            .detail(format!("The memory limit of {} bytes is reached: {} bytes are in use.", self.limit, self.used()))
            .hint("Delete data, or start the server with a higher memory limit."))
    }
}

/// One holder's share; gives it back when dropped.
#[derive(Debug)]
pub(crate) struct Account {
    memory: Arc<Memory>,
    bytes: AtomicUsize,
}

impl Account {
    pub fn new(memory: &Arc<Memory>) -> Account {
        Account { memory: memory.clone(), bytes: AtomicUsize::new(0) }
    }

    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.memory.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn set(&self, bytes: usize) {
        let before = self.bytes.swap(bytes, Ordering::Relaxed);
        self.memory.used.fetch_add(bytes, Ordering::Relaxed);
        self.memory.used.fetch_sub(before, Ordering::Relaxed);
    }

    /// Adds bytes unless the limit forbids.
    pub fn reserve(&self, bytes: usize) -> Result<()> {
        self.memory.check(bytes)?;
        self.add(bytes);
        Ok(())
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.set(0);
    }
}
