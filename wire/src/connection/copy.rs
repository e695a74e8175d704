//! COPY … FROM STDIN: the client's data on its way to the session.
//!
//! Invariant 1: no more of a COPY is held than [`CHUNK_BYTES`] and what one read brought, however long its messages.

use std::pin::pin;

use bytes::BytesMut;
use engine::error::{Error, Result, SqlState};
use engine::session::{Column, CopyFormat};

use super::copy_binary::BinaryCopyIn;
use super::{Connection, Failure};
use crate::backend::{Backend, BackendSession};
use crate::channel::End;
use crate::frontend;
use crate::output::Severity;

/// Short messages are gathered to pieces of about this size; it is also what a read asks for during COPY.
const CHUNK_BYTES: usize = 64 << 10;

impl<B: Backend> Connection<B> {
    /// Takes the client's data up to CopyDone; answers the command's tag.
    pub(super) async fn copy_in(&mut self, format: CopyFormat) -> Result<String, Failure> {
        self.receive_copy(format, None).await
    }

    /// As [`Self::copy_in`], of binary data.
    pub(super) async fn copy_in_rows(&mut self, table: &str, columns: &[Column]) -> Result<String, Failure> {
        let format = CopyFormat { binary: true, columns: columns.len() as u16 };
        let mut reader = BinaryCopyIn::new(table, columns, self.session.format());
        self.receive_copy(format, Some(&mut reader)).await
    }

    async fn receive_copy(
        &mut self,
        format: CopyFormat,
        binary: Option<&mut BinaryCopyIn<'_>>,
    ) -> Result<String, Failure> {
        self.channel.output.copy_in(format)?;
        self.guard.flush(&mut self.channel).await?;
        let usual = std::mem::replace(&mut self.channel.read_bytes, CHUNK_BYTES);
        let done = self.take_copy(binary).await;
        self.channel.read_bytes = usual;
        done
    }

    async fn take_copy(&mut self, mut binary: Option<&mut BinaryCopyIn<'_>>) -> Result<String, Failure> {
        let mut chunk = BytesMut::new();
        loop {
            let Some((kind, length)) = self.channel.header()? else {
                self.send_chunk(&mut chunk, &mut binary).await?;
                self.more_input().await?;
                continue;
            };
            if kind == frontend::COPY_DATA {
                self.channel.skip_header();
                self.take_message(length - 4, &mut chunk, &mut binary).await?;
                continue;
            }
            self.send_chunk(&mut chunk, &mut binary).await?;
            let frame = self.next_frame().await?;
            match frame.kind {
                frontend::COPY_DONE => {
                    if let Some(reader) = &binary {
                        reader.finish()?;
                    }
                    let tag = self.guard.drive(&mut self.channel, pin!(self.session.copy_done())).await;
                    let tag = tag.map_err(Failure::Session)?;
                    self.send_notices()?;
                    return Ok(tag);
                }
                frontend::COPY_FAIL => {
                    let reason = frontend::decode_string(&frame.body);
                    let failed = self.fail_copy(reason.as_deref().unwrap_or_default()).await;
                    return Err(Failure::Session(reason.err().unwrap_or(failed)));
                }
                // Clients send these before they know that the statement is a COPY.
                frontend::FLUSH | frontend::SYNC => (),
                frontend::TERMINATE => return Err(End::Gone.into()),
                other => {
                    self.fail_copy("unexpected message").await;
                    let unexpected = Error::new(
                        SqlState::ProtocolViolation,
                        format!("unexpected message type 0x{other:02X} during COPY from stdin"),
                    );
                    self.channel.output.error(Severity::Error, &unexpected);
                    // As PostgreSQL: who knows what the client thinks that follows.
                    return Err(Failure::End(End::Fatal(Error::new(
                        SqlState::ProtocolViolation,
                        "terminating connection because protocol synchronization was lost",
                    ))));
                }
            }
        }
    }

    async fn fail_copy(&mut self, reason: &str) -> Error {
        self.guard.drive(&mut self.channel, pin!(self.session.copy_fail(reason))).await
    }

    /// Reads the body of one CopyData message in pieces. On an error the rest of it is skipped.
    async fn take_message(
        &mut self,
        mut remaining: usize,
        chunk: &mut BytesMut,
        binary: &mut Option<&mut BinaryCopyIn<'_>>,
    ) -> Result<(), Failure> {
        loop {
            let piece = self.channel.take_copy_data(&mut remaining);
            if chunk.is_empty() && piece.len() >= CHUNK_BYTES / 2 {
                *chunk = piece;
            } else {
                chunk.extend_from_slice(&piece);
            }
            if chunk.len() >= CHUNK_BYTES / 2
                && let Err(failure) = self.send_chunk(chunk, binary).await
            {
                self.channel.discard(remaining);
                return Err(failure);
            }
            if remaining == 0 {
                return Ok(());
            }
            self.more_input().await?;
        }
    }

    async fn send_chunk(
        &mut self,
        chunk: &mut BytesMut,
        binary: &mut Option<&mut BinaryCopyIn<'_>>,
    ) -> Result<(), Failure> {
        if chunk.is_empty() {
            return Ok(());
        }
        if let Some(reader) = binary {
            let rows = reader.take(&chunk.split())?;
            if !rows.is_empty() {
                let taken = self.guard.drive(&mut self.channel, pin!(self.session.copy_rows(rows))).await;
                taken.map_err(Failure::Session)?;
            }
            return Ok(self.send_notices()?);
        }
        self.guard
            .drive(&mut self.channel, pin!(self.session.copy_data(chunk.split().freeze())))
            .await
            .map_err(Failure::Session)?;
        Ok(self.send_notices()?)
    }
}
