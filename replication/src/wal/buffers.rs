//! Memory that large entries are read into, kept for the next ones: fresh memory costs the kernel more than reading does.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// Entries below this get memory of their own.
const LARGE: usize = 64 << 10;
/// Bytes that are kept at most.
const KEPT: usize = 32 << 20;

#[derive(Debug, Default)]
pub(super) struct Buffers(Mutex<Vec<Vec<u8>>>);

/// Memory in use, which goes back when it is dropped.
struct Lent {
    memory: Vec<u8>,
    length: usize,
    home: Arc<Buffers>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.memory.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut kept = self.home.0.lock();
        if kept.iter().map(Vec::len).sum::<usize>() + self.memory.len() <= KEPT {
            kept.push(std::mem::take(&mut self.memory));
        }
    }
}

impl Buffers {
    /// `length` bytes that `fill` sets, all of them.
    pub fn filled(
        self: &Arc<Self>,
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> io::Result<()>,
    ) -> io::Result<Bytes> {
        if length < LARGE {
            let mut memory = vec![0; length];
            fill(&mut memory)?;
            return Ok(Bytes::from(memory));
        }
        let mut lent = Lent { memory: self.take(length), length, home: self.clone() };
        fill(lent.memory.get_mut(..length).unwrap_or_default())?;
        Ok(Bytes::from_owner(lent))
    }

    /// Memory of at least so many bytes, whatever they are.
    fn take(&self, length: usize) -> Vec<u8> {
        // Of few sizes, so that one fits again; and none keeps much more than it holds.
        let size = length.next_power_of_two();
        let mut kept = self.0.lock();
        let fitting = kept.iter().position(|memory| memory.len() == size).map(|at| kept.swap_remove(at));
        drop(kept);
        fitting.unwrap_or_else(|| vec![0; size])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_when_nobody_reads_it_any_more() {
        let buffers = Arc::new(Buffers::default());
        let read = |length: usize, byte: u8| {
            let set = |into: &mut [u8]| {
                into.fill(byte);
                Ok(())
            };
            buffers.filled(length, set).unwrap()
        };
        let (first, second) = (read(LARGE, 1), read(LARGE + 7, 2));
        let part = first.slice(5..9);
        let place = first.as_ptr();
        drop(first);
        assert_ne!(read(LARGE, 3).as_ptr(), place, "a part of it is in use");
        assert_eq!((&part[..], second.len()), (&[1; 4][..], LARGE + 7));
        drop((part, second));
        let again: Vec<Bytes> = (0..3).map(|byte| read(LARGE, byte)).collect();
        assert!(again.iter().any(|bytes| bytes.as_ptr() == place));
        assert!(again.iter().zip(0..).all(|(bytes, byte)| bytes.iter().all(|b| *b == byte) && bytes.len() == LARGE));
        assert!(buffers.filled(LARGE, |_| Err(io::Error::other("unreadable"))).is_err());
        drop((0..3).map(|byte| read(KEPT / 2, byte)).collect::<Vec<_>>());
        assert!(buffers.0.lock().iter().map(Vec::len).sum::<usize>() <= KEPT);
    }
}
