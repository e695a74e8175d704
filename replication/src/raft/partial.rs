//! Files of checkpoints whose transfer was cut short: what arrived whole need not come again.
//!
//! Invariant: a file is taken from here, or from the node's own checkpoint, by its name and length, since the name of a
//! chunk stands for its content; what is put together is compared with its checksums before it is used.

use std::io;
use std::path::{Path, PathBuf};

/// The engine's names of files whose content never changes.
const CHUNK: &str = "chunk-";

/// A directory of such files.
#[derive(Debug)]
pub struct Partial(PathBuf);

impl Partial {
    pub fn new(root: &Path) -> Self {
        Self(root.join("partial"))
    }

    /// Keeps the files of a directory that arrived whole.
    pub fn keep<'a>(&self, from: &Path, names: impl Iterator<Item = &'a String>) -> io::Result<()> {
        std::fs::create_dir_all(&self.0)?;
        for name in names.filter(|name| name.starts_with(CHUNK)) {
            std::fs::rename(from.join(name), self.0.join(name))?;
        }
        Ok(())
    }

    /// Keeps what arrived in a directory before the process ended.
    pub fn keep_all(&self, from: &Path) -> io::Result<()> {
        let mut names = Vec::new();
        match std::fs::read_dir(from) {
            Ok(entries) => {
                for entry in entries {
                    names.extend(entry?.file_name().into_string());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.keep(from, names.iter())
    }

    /// Links a file into `to` if it is here or in `own`, the node's own checkpoint.
    pub fn link(&self, name: &str, size: u64, own: Option<&Path>, to: &Path) -> bool {
        let is_it = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|found| found.len() == size);
        let places = [Some(self.0.as_path()), own];
        let mut found = places.into_iter().flatten().map(|place| place.join(name)).filter(is_it);
        name.starts_with(CHUNK) && found.any(|path| std::fs::hard_link(path, to.join(name)).is_ok())
    }

    pub fn clear(&self) -> io::Result<()> {
        match std::fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_chunks_are_taken_again() {
        let dir = tempfile::tempdir().unwrap();
        let made = |name: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path
        };
        let (incoming, own, to) = (made("incoming"), made("own"), made("to"));
        for (directory, name) in
            [(&incoming, "chunk-1"), (&incoming, "manifest"), (&own, "chunk-2"), (&own, "manifest")]
        {
            std::fs::write(directory.join(name), "12345").unwrap();
        }
        let partial = Partial::new(dir.path());
        partial.keep(&incoming, ["chunk-1".to_owned(), "manifest".to_owned()].iter()).unwrap();
        assert!(incoming.join("manifest").exists() && !incoming.join("chunk-1").exists());
        let link = |name: &str, size| partial.link(name, size, Some(&own), &to);
        assert!(link("chunk-1", 5) && link("chunk-2", 5));
        assert!(!link("manifest", 5) && !link("chunk-3", 5));
        std::fs::remove_file(to.join("chunk-1")).unwrap();
        assert!(!link("chunk-1", 6));
        partial.clear().unwrap();
        partial.clear().unwrap();
        assert!(!link("chunk-1", 5) && to.join("chunk-2").exists());
    }
}
