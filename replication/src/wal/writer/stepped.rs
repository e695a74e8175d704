//! The writer without its thread: a simulation says when it takes its next step.

use super::{Queued, Writer};
use crate::wal::WalError;
use crate::wal::disk::is_full;

pub struct SteppedWriter {
    writer: Writer,
    /// Waits for space.
    stuck: Option<Vec<Queued>>,
    ended: bool,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stepped {
    Worked,
    /// The disk is full: to be tried again after a while.
    Blocked,
    /// Nothing is to be done, or ever will be.
    Idle,
}

impl SteppedWriter {
    pub(super) fn new(writer: Writer) -> Self {
        Self { writer, stuck: None, ended: false }
    }

    /// True when the thread would wake up.
    pub fn is_awaited(&self) -> bool {
        let queue = self.writer.shared.queue.lock();
        !self.ended && (queue.awaited || queue.closed || self.stuck.is_some())
    }

    /// Writes, syncs and answers one batch.
    pub fn step(&mut self) -> Stepped {
        if !self.is_awaited() {
            return Stepped::Idle;
        }
        let shared = self.writer.shared.clone();
        let Some(batch) = self.stuck.take().or_else(|| Writer::take(&shared, shared.queue.lock())) else {
            self.writer.finish();
            self.ended = true;
            return Stepped::Idle;
        };
        let written = self.writer.write(&batch);
        if matches!(&written, Err(WalError::Io { source, .. }) if is_full(source)) && !shared.queue.lock().closed {
            // Space is allocated before anything else is done: the whole step is taken again.
            self.stuck = Some(batch);
            return Stepped::Blocked;
        }
        self.ended = !self.writer.answer(batch, written);
        Stepped::Worked
    }

    /// What the thread does after it had nothing to do for a while.
    pub fn rest(&mut self) {
        if !self.ended && !self.writer.marked {
            self.writer.mark_synced();
        }
    }
}
