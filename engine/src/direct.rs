//! Files that pass the page cache by. What is in memory already has no use for a second copy there: its pages cost time,
//! and so does writing them back while commits wait for the disk.
//!
//! Where a file system has no direct I/O the same goes through its cache.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use bytes::Bytes;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// Memory, offsets and lengths of direct I/O are multiples of this: no block of a disk is larger.
const ALIGNMENT: usize = 4096;
/// Bytes that are written by one call at most.
const WRITE_BYTES: usize = 1 << 20;
/// Bytes that are read by one call.
const READ_BYTES: usize = 4 << 20;

/// Memory in which `bytes` bytes lie on an aligned place, and where they begin.
fn aligned(bytes: usize) -> (Vec<u8>, usize) {
    let memory = vec![0; bytes + ALIGNMENT];
    let start = memory.as_ptr().align_offset(ALIGNMENT);
    (memory, start)
}

fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    match options.clone().custom_flags(OFlags::DIRECT.bits() as i32).open(path) {
        // The file system has none.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => options.open(path),
        opened => opened,
    }
}

/// From here on through the cache, if it was not so before.
fn use_cache(file: &File) -> io::Result<bool> {
    let flags = fcntl_getfl(file)?;
    fcntl_setfl(file, flags - OFlags::DIRECT)?;
    Ok(flags.contains(OFlags::DIRECT))
}

/// A new file that is written from its beginning to its end. Blocks.
pub(crate) struct Writer {
    file: File,
    direct: bool,
    memory: Vec<u8>,
    start: usize,
    /// Bytes in memory that are not written.
    filled: usize,
    written: u64,
}

impl Writer {
    pub fn create(path: &Path) -> io::Result<Writer> {
        let file = open(path, OpenOptions::new().write(true).create(true).truncate(true))?;
        let direct = fcntl_getfl(&file)?.contains(OFlags::DIRECT);
        let (memory, start) = aligned(WRITE_BYTES);
        Ok(Writer { file, direct, memory, start, filled: 0, written: 0 })
    }

    /// Takes bytes, as many as there is room for until the next write.
    pub fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(WRITE_BYTES - self.filled);
        let into = self.start + self.filled;
        self.memory[into..into + taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        if self.filled == WRITE_BYTES {
            self.write(self.filled)?;
        }
        Ok(taken)
    }

    /// Brings to the disk what was taken; the last bytes of an odd number stay until more come.
    pub fn push(&mut self) -> io::Result<()> {
        self.write(self.filled / ALIGNMENT * ALIGNMENT)?;
        if self.direct { Ok(()) } else { self.file.sync_data() }
    }

    /// Writes the rest and syncs the file.
    pub fn finish(mut self) -> io::Result<()> {
        let length = self.written + self.filled as u64;
        let whole = self.filled.next_multiple_of(ALIGNMENT);
        self.memory[self.start + self.filled..self.start + whole].fill(0);
        self.filled = whole;
        self.write(whole)?;
        self.file.set_len(length)?;
        self.file.sync_all()
    }

    /// Writes the first bytes of what is in memory: a multiple of the alignment.
    fn write(&mut self, bytes: usize) -> io::Result<()> {
        let part = self.start..self.start + bytes;
        match self.file.write_all_at(&self.memory[part.clone()], self.written) {
            // Blocks of this disk are larger than we know.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput && use_cache(&self.file)? => {
                self.direct = false;
                self.file.write_all_at(&self.memory[part.clone()], self.written)?;
            }
            result => result?,
        }
        self.written += bytes as u64;
        self.memory.copy_within(part.end..self.start + self.filled, self.start);
        self.filled -= bytes;
        Ok(())
    }
}

/// The whole of a file. Blocks.
pub(crate) fn read(path: &Path) -> io::Result<Bytes> {
    let file = open(path, OpenOptions::new().read(true))?;
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let whole = length.next_multiple_of(ALIGNMENT);
    let (mut memory, start) = aligned(whole);
    let mut at = 0;
    while at < length {
        let part: Range<usize> = start + at..start + whole.min(at + READ_BYTES);
        match file.read_at(&mut memory[part], at as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => at += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // As above, or a read ended between blocks.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput && use_cache(&file)? => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Bytes::from(memory).slice(start..start + length))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let path = std::env::temp_dir().join(format!("lockstep-direct-{:x}", rand::random::<u64>()));
        for length in
            [0, 1, ALIGNMENT - 1, ALIGNMENT, WRITE_BYTES, WRITE_BYTES + 1, 3 * WRITE_BYTES - 5, READ_BYTES + 7]
        {
            let bytes: Vec<u8> = (0..length).map(|at| (at * 7 + at / 251) as u8).collect();
            let mut file = Writer::create(&path).unwrap();
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let taken = file.take(&rest[..rest.len().min(300_001)]).unwrap();
                rest = &rest[taken..];
                file.push().unwrap();
            }
            file.finish().unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
            assert_eq!(read(&path).unwrap(), bytes);
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn without_direct_access_it_goes_through_the_cache() {
        let path = std::env::temp_dir().join(format!("lockstep-cached-{:x}", rand::random::<u64>()));
        let mut file = Writer::create(&path).unwrap();
        use_cache(&file.file).unwrap();
        file.direct = false;
        assert_eq!(file.take(b"123").unwrap(), 3);
        file.push().unwrap();
        file.finish().unwrap();
        assert_eq!(read(&path).unwrap(), b"123".as_slice());
        std::fs::remove_file(path).unwrap();
        assert_eq!(read(Path::new("/nowhere")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_full_disk_is_an_error_whenever_it_is_noticed() {
        let mut file = Writer::create(Path::new("/dev/full")).unwrap();
        file.take(&[1; ALIGNMENT]).unwrap();
        assert_eq!(file.push().unwrap_err().kind(), io::ErrorKind::StorageFull);
        let mut file = Writer::create(Path::new("/dev/full")).unwrap();
        file.take(b"1").unwrap();
        assert_eq!(file.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
