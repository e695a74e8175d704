//! Frames on a connection between nodes: `length:u32 header_length:u32 header blob`, little-endian; the length counts
//! what follows it. The header is postcard, the blob is carried as it is.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Parts of this size or more are written from where they are.
const COPY_MAX: usize = 16 << 10;
/// Memory for a message is taken in steps of this, as its bytes arrive.
const READ_STEP: usize = 4 << 20;

#[derive(Debug)]
pub struct Frame {
    pub header: Bytes,
    pub blob: Bytes,
}

/// Reads frames; a call that is dropped loses nothing.
pub struct FrameReader<R> {
    source: R,
    buffer: BytesMut,
    /// Longer messages are refused.
    pub bytes_max: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub fn new(source: R, bytes_max: usize) -> Self {
        Self { source, buffer: BytesMut::with_capacity(64 << 10), bytes_max }
    }

    /// The source, if nothing was read ahead of the last frame.
    pub fn into_source(self) -> Option<R> {
        self.buffer.is_empty().then_some(self.source)
    }

    /// The next frame; `None` when the peer closed the connection between two of them.
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(Some(frame));
            }
            if self.source.read_buf(&mut self.buffer).await? == 0 {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }

    fn take(&mut self) -> io::Result<Option<Frame>> {
        let Some(prefix) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*prefix) as usize;
        if !(4..=self.bytes_max).contains(&length) {
            let message = format!("a message of {length} bytes, between 4 and {} are allowed", self.bytes_max);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let missing = (4 + length).saturating_sub(self.buffer.len());
        if missing > 0 {
            self.buffer.reserve(missing.min(READ_STEP));
            return Ok(None);
        }
        self.buffer.advance(4);
        let mut body = self.buffer.split_to(length).freeze();
        let header_length = body.get_u32_le() as usize;
        if header_length > body.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message header that is cut short"));
        }
        let header = body.split_to(header_length);
        Ok(Some(Frame { header, blob: body }))
    }
}

/// Writes one frame.
pub async fn write_frame<W: AsyncWrite + Unpin>(sink: &mut W, header: &[u8], blob: &[Bytes]) -> io::Result<()> {
    let length = 4 + header.len() + blob.iter().map(Bytes::len).sum::<usize>();
    let length = u32::try_from(length).map_err(|_| io::Error::other("a message above 4 GiB"))?;
    let mut buffer = Vec::with_capacity(header.len() + 8 + COPY_MAX);
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(&(header.len() as u32).to_le_bytes());
    buffer.extend_from_slice(header);
    for part in blob {
        if part.len() < COPY_MAX {
            buffer.extend_from_slice(part);
        } else {
            sink.write_all(&buffer).await?;
            buffer.clear();
            sink.write_all(part).await?;
        }
    }
    sink.write_all(&buffer).await
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_arrive_whole_and_long_ones_are_refused() {
        let (mut a, b) = tokio::io::duplex(1000);
        let mut reader = FrameReader::new(b, 100_000);
        let writer = tokio::spawn(async move {
            let parts = [Bytes::from_static(b"small"), Bytes::from(vec![7; COPY_MAX * 2])];
            write_frame(&mut a, b"header", &parts).await.unwrap();
            write_frame(&mut a, b"second", &[]).await.unwrap();
            a.write_all(&200_000_u32.to_le_bytes()).await.unwrap();
            a
        });
        let frame = reader.next().await.unwrap().unwrap();
        assert_eq!((&frame.header[..], frame.blob.len()), (&b"header"[..], 5 + COPY_MAX * 2));
        assert_eq!(reader.next().await.unwrap().unwrap().header, &b"second"[..]);
        assert_eq!(reader.next().await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        drop(writer.await);
    }
}
