//! Bytes of one connection: the socket, what was read from it and what waits to be written to it.
//!
//! Invariants:
//! 1. Input is buffered as it arrives, never for a length that was merely announced.
//! 2. While a statement runs at most [`READ_AHEAD_BYTES_MAX`] are read ahead.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use engine::error::{Error, Result, SqlState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::frontend;
use crate::output::{Output, Severity};
use crate::stream::Stream;

/// Bytes asked from the socket at a time.
const READ_BYTES: usize = 16 << 10;
const READ_AHEAD_BYTES_MAX: usize = 64 << 10;
/// Memory that the input buffer keeps when it is empty.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// How long, and for how many bytes, the socket is still read after a FATAL error: closing over unread input would
/// reset the connection, and the error might not reach the client.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_READS_MAX: usize = 64;

/// Why a connection ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The client left or the socket failed: nobody to talk to.
    Gone,
    /// The client is told this, as FATAL.
    Fatal(Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        tracing::debug!(%error, "connection lost");
        End::Gone
    }
}

/// One message from the client.
#[derive(Debug)]
pub(crate) struct Frame {
    pub kind: u8,
    pub body: BytesMut,
}

pub(crate) struct Channel {
    pub stream: Stream,
    pub input: BytesMut,
    pub output: Output,
    /// The client is owed this much of the output as soon as the connection has to wait. What follows is not its
    /// business yet: a CommandComplete may stand before the commit that its Sync brings.
    promised: usize,
    /// How often the client was owed more.
    pub promises: u64,
    /// The client will send nothing more.
    pub ended: bool,
    pub message_bytes_max: usize,
    /// Bytes that one read asks for at least.
    pub read_bytes: usize,
    /// Bytes to come that nobody wants: the rest of a COPY message.
    discard: usize,
}

impl Channel {
    pub fn new(stream: Stream, message_bytes_max: usize) -> Self {
        Channel {
            stream,
            input: BytesMut::with_capacity(READ_BYTES),
            output: Output::default(),
            promised: 0,
            promises: 0,
            ended: false,
            message_bytes_max,
            read_bytes: READ_BYTES,
            discard: 0,
        }
    }

    /// Waits for more input; `Gone` at its end. Dropping the future loses nothing.
    pub async fn fill(&mut self) -> Result<(), End> {
        if self.ended {
            return Err(End::Gone);
        }
        if self.input.is_empty() && self.input.capacity() > KEPT_BYTES_MAX {
            // It was for a large message.
            self.input = BytesMut::new();
        }
        if self.input.capacity() - self.input.len() < self.read_bytes / 4 {
            // Doubles, so that a large message is not copied once per read.
            self.input.reserve(self.read_bytes.max(self.input.len()));
        }
        match self.stream.read_buf(&mut self.input).await {
            Ok(0) => {
                self.ended = true;
                Err(End::Gone)
            }
            Ok(_) => Ok(()),
            Err(error) => {
                self.ended = true;
                Err(error.into())
            }
        }
    }

    /// Reads ahead while a statement runs, to notice that the client left; returns only when it did.
    pub async fn watch(&mut self) {
        while self.input.len() < READ_AHEAD_BYTES_MAX {
            if self.fill().await.is_err() {
                return;
            }
        }
        std::future::pending().await
    }

    /// Type and length (its own four bytes included) of the next message, checked as soon as they are there.
    pub fn header(&mut self) -> Result<Option<(u8, usize)>, End> {
        let discarded = self.discard.min(self.input.len());
        self.input.advance(discarded);
        self.discard -= discarded;
        let Some(([kind, length @ ..], _)) = self.input.split_first_chunk::<5>() else {
            // An unknown type may be a client that speaks something else and waits.
            return match self.input.first() {
                Some(kind) => self.length_max(*kind).map(|_| None),
                None => Ok(None),
            };
        };
        let length = u32::from_be_bytes(*length) as usize;
        let max = self.length_max(*kind)?;
        if length < 4 || length > max {
            return Err(End::Fatal(Error::new(SqlState::ProtocolViolation, "invalid message length")));
        }
        Ok(Some((*kind, length)))
    }

    fn length_max(&self, kind: u8) -> Result<usize, End> {
        frontend::length_max(kind, self.message_bytes_max).ok_or_else(|| {
            End::Fatal(Error::new(SqlState::ProtocolViolation, format!("invalid frontend message type {kind}")))
        })
    }

    /// The next message, if all of it is there. CopyData has no body here: outside of a COPY it is ignored.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, End> {
        let Some((kind, length)) = self.header()? else {
            return Ok(None);
        };
        if kind == frontend::COPY_DATA {
            self.discard = length + 1;
            return Ok(Some(Frame { kind, body: BytesMut::new() }));
        }
        if self.input.len() < length + 1 {
            return Ok(None);
        }
        let mut body = self.input.split_to(length + 1);
        body.advance(5);
        Ok(Some(Frame { kind, body }))
    }

    /// The part of a CopyData message's body that is there, `remaining` bytes of it being still to come.
    pub fn take_copy_data(&mut self, remaining: &mut usize) -> BytesMut {
        let taken = (*remaining).min(self.input.len());
        *remaining -= taken;
        self.input.split_to(taken)
    }

    /// Skips the header of a message whose body is read in pieces.
    pub fn skip_header(&mut self) {
        self.input.advance(5.min(self.input.len()));
    }

    /// Skips bytes of which not all have come yet.
    pub fn discard(&mut self, bytes: usize) {
        self.discard += bytes;
    }

    /// Writes all output to the socket.
    pub async fn flush(&mut self) -> Result<(), End> {
        self.promise();
        self.flush_promised().await
    }

    /// From here on the client is owed all that is in the output.
    pub fn promise(&mut self) {
        self.promised = self.output.len();
        self.promises += 1;
    }

    /// Drops what the client is not owed: it may end in half a message.
    pub fn drop_unpromised(&mut self) {
        self.output.bytes.truncate(self.promised);
    }

    /// Writes what the client is owed. Dropping the future loses nothing: what was sent is counted.
    pub async fn flush_promised(&mut self) -> Result<(), End> {
        if self.promised == 0 {
            return Ok(());
        }
        while let Some(unsent) = self.output.unsent(self.promised) {
            match self.stream.write(unsent).await? {
                0 => return Err(End::Gone),
                sent => self.output.sent += sent,
            }
        }
        if let Stream::Tls(stream) = &mut self.stream {
            stream.flush().await?;
        }
        self.output.forget_sent();
        self.promised = 0;
        Ok(())
    }

    /// Tells the client why the connection ends, if there is something to tell, and ends it.
    pub async fn close(mut self, end: End) {
        if let End::Fatal(error) = &end {
            self.output.error(Severity::Fatal, error);
        }
        let goodbye = async {
            self.flush().await?;
            self.stream.shutdown().await?;
            if matches!(end, End::Fatal(_)) {
                for _ in 0..LINGER_READS_MAX {
                    self.input.clear();
                    self.fill().await?;
                }
            }
            Ok::<(), End>(())
        };
        let _ = tokio::time::timeout(LINGER, goodbye).await;
    }
}
