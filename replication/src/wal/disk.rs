//! The way to the file system: what a log needs of a disk, and the real one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Advice, fadvise};

/// A flat directory of files.
pub trait Disk: Send + Sync + 'static {
    fn list(&self) -> io::Result<Vec<String>>;

    /// A new file of `size` zero bytes whose name and size survive a power loss once this returns. `written`: the
    /// zeros are really written, which takes a while and makes each later sync cheaper, as it changes data only. On an
    /// error no file of that name is left behind, or it is one that [`Self::remove`] takes away.
    fn create(&self, name: &str, size: u64, written: bool) -> io::Result<Arc<dyn DiskFile>>;

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Removes a file. That it is gone need not survive a power loss.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// An open file, written by one thread and read by any.
pub trait DiskFile: Send + Sync + 'static {
    fn read_all(&self) -> io::Result<Vec<u8>>;
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes all that was written survive a power loss.
    fn sync(&self) -> io::Result<()>;
}

/// Zeros are written in parts of this size.
const ZEROS: usize = 1 << 20;
const ZEROS_PAUSE: Duration = Duration::from_millis(3);

/// A directory of the operating system.
#[derive(Debug)]
pub struct RealDisk {
    directory: PathBuf,
}

impl RealDisk {
    /// Creates the directory when it does not exist.
    pub fn new(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = directory.into();
        create_directory(&directory)?;
        Ok(Self { directory })
    }
}

/// The files of a log in a directory, which is created when it does not exist.
pub fn of_directory(directory: PathBuf) -> io::Result<Arc<dyn Disk>> {
    #[cfg(any(test, feature = "simulation"))]
    if crate::simulation::is_running() {
        return Ok(crate::simulation::disk());
    }
    Ok(Arc::new(RealDisk::new(directory)?))
}

/// Moves the directory of a log that is not open.
pub fn move_directory(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(test, feature = "simulation"))]
    if crate::simulation::is_running() {
        crate::simulation::forget_log();
        return Ok(());
    }
    std::fs::rename(from, to)
}

/// Makes the names in a directory survive a power loss.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str, size: u64, written: bool) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.directory.join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        match fill(&file, size, written).and_then(|()| sync_directory(&self.directory)) {
            Ok(()) => Ok(Arc::new(RealFile { file })),
            Err(error) => {
                drop(file);
                // It would be in the way of the next attempt, and it takes space.
                let _ = std::fs::remove_file(&path);
                Err(error)
            }
        }
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.directory.join(name))?;
        Ok(Arc::new(RealFile { file }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.directory.join(name))
    }
}

/// Gives a new file its size, in blocks that are its own.
fn fill(file: &File, size: u64, written: bool) -> io::Result<()> {
    let allocated = rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, size);
    let written = match allocated {
        Ok(()) => written,
        // A file system that cannot: writing takes the space as well.
        Err(rustix::io::Errno::OPNOTSUPP) => true,
        Err(error) => return Err(error.into()),
    };
    if written {
        let zeros = vec![0; ZEROS];
        let mut at = 0;
        while at < size {
            let part = (size - at).min(ZEROS as u64);
            file.write_all_at(zeros.get(..part as usize).unwrap_or_default(), at)?;
            at += part;
            // A little at a time, or commits would wait behind it.
            file.sync_data()?;
            std::thread::sleep(ZEROS_PAUSE);
        }
    }
    file.sync_all()
}

/// Whether an error says that there is no space left, which may change.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Creates a directory and what is missing above it, so that all of it survives a power loss.
pub fn create_directory(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> =
        path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    std::fs::create_dir_all(path)?;
    for created in missing {
        sync_directory(created.parent().unwrap_or(Path::new("")))?;
    }
    Ok(())
}

struct RealFile {
    file: File,
}

impl DiskFile for RealFile {
    fn read_all(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.file.metadata()?.len() as usize);
        let mut file = &self.file;
        // A hint: reading ahead in larger parts.
        let _ = fadvise(file, 0, None, Advice::Sequential);
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Writes a small file so that either the old or the new content survives, never a mixture.
pub fn write_file_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    sync_directory(path.parent().unwrap_or(Path::new(".")))
}
