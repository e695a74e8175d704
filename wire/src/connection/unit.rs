//! A statement that commits by itself, as the messages that brought it: should the primary change while it runs, it is
//! carried to the new one, and the client notices nothing but the time.
//!
//! Invariants:
//! 1. What is carried over is one statement outside of a block that was refused as certainly not written
//!    ([`Error::is_leadership_lost`]): nothing of it happened.
//! 2. Nothing of its answer had been sent; what stood in the output is dropped.

use bytes::BytesMut;
use engine::error::Error;
use engine::session::TransactionStatus;

use super::{Connection, Failure};
use crate::backend::{Backend, BackendSession};
use crate::channel::{Channel, End, Frame};
use crate::frontend;

/// A longer statement is not kept.
const MESSAGES_BYTES_MAX: usize = 64 << 10;

/// The messages since the last ReadyForQuery.
#[derive(Default)]
pub(super) struct Unit {
    /// What came outside of a block, and is not too long.
    kept: bool,
    messages: Vec<u8>,
    statements: usize,
    /// [`Channel::promises`] when it began.
    promises: u64,
    /// The statement was refused, and is to be carried over as soon as all of its messages are there.
    refused: Option<Error>,
}

impl Unit {
    /// A new one begins.
    pub fn begin(&mut self, keep: bool, channel: &Channel) {
        self.messages.clear();
        (self.kept, self.statements, self.promises) = (keep, 0, channel.promises);
    }

    pub fn note(&mut self, frame: &Frame) {
        if !self.kept {
            return;
        }
        self.kept = self.messages.len() + frame.body.len() <= MESSAGES_BYTES_MAX;
        self.statements += usize::from(matches!(frame.kind, frontend::EXECUTE | frontend::FUNCTION_CALL));
        self.messages.push(frame.kind);
        self.messages.extend_from_slice(&(frame.body.len() as u32 + 4).to_be_bytes());
        self.messages.extend_from_slice(&frame.body);
    }

    /// A simple query turned out to have so many.
    pub fn has_statements(&mut self, statements: usize) {
        self.statements += statements;
    }

    /// Whether a statement that failed with `error` is to be carried over; `error` is kept if it is.
    pub fn holds_back(&mut self, error: &Error, channel: &mut Channel) -> bool {
        let unseen = channel.promises == self.promises;
        if !(error.is_leadership_lost() && self.refused.is_none() && self.kept && self.statements == 1 && unseen) {
            return false;
        }
        channel.drop_unpromised();
        self.refused = Some(error.clone());
        true
    }

    pub fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// The client waits for an answer before it sends the rest: the statement cannot be carried over.
    pub fn give_up(&mut self) -> Option<Error> {
        self.kept = false;
        self.refused.take()
    }
}

impl<B: Backend> Connection<B> {
    /// Runs the refused statement, if there is one, on the new primary.
    pub(super) async fn carry_over(&mut self) -> Result<(), End> {
        let Some(refused) = self.unit.give_up() else { return Ok(()) };
        // Of the attempt here.
        self.session.take_notices();
        self.session.carry("");
        if let Err(failure) = self.begin_unit().await {
            if let Failure::End(end) = failure {
                return Err(end);
            }
            tracing::debug!("a statement is not carried over: there is no new primary to carry it to");
            self.report(Err(Failure::Session(refused)))?;
            return Ok(());
        }
        let mut messages = BytesMut::from(&self.unit.messages[..]);
        while let Some([kind, length @ ..]) = messages.first_chunk::<5>() {
            let (kind, length) = (*kind, u32::from_be_bytes(*length) as usize);
            let frame = Frame { kind, body: messages.split_to(length + 1).split_off(5) };
            if self.skipping && kind != frontend::SYNC {
                continue;
            }
            let done = self.relay_message(&frame).await;
            self.skipping |= self.report(done)?;
        }
        self.skipping = false;
        tracing::debug!("a statement was carried over to the new primary");
        Ok(())
    }

    /// Whether the next messages are kept.
    pub(super) fn begin_unit_here(&mut self, status: TransactionStatus) {
        let keep = status == TransactionStatus::Idle && self.carrier.routes();
        self.unit.begin(keep, &self.channel);
    }
}
