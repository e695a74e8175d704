//! `backup.toml`: what a backup is, for people and for [`super::restore`].

use serde::{Deserialize, Serialize};

use super::BackupError;
use super::store::Sum;
use crate::wal::EntryId;

/// Name of the file.
pub const NAME: &str = "backup.toml";
/// Changes when a backup of an older version cannot be read any more.
const FORMAT: u32 = 1;
/// The last line: a checksum of those before it.
const SEAL: &str = "# crc32c ";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupManifest {
    pub format: u32,
    /// Version of Lockstep that wrote it.
    pub version: String,
    pub cluster_id: String,
    /// The node that was asked.
    pub node: String,
    /// The last entry of the log in it.
    pub term: u64,
    pub index: u64,
    pub position: u64,
    /// The last commit in it.
    pub last_commit: String,
    #[serde(rename = "file", default)]
    pub files: Vec<BackedUp>,
}

/// A file below `data/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    pub name: String,
    pub length: u64,
    pub crc32c: u32,
}

impl BackedUp {
    pub fn sum(&self) -> Sum {
        Sum { length: self.length, crc: self.crc32c }
    }
}

impl BackupManifest {
    pub fn format() -> u32 {
        FORMAT
    }

    pub fn last(&self) -> EntryId {
        EntryId { term: self.term, index: self.index }
    }

    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.length).sum()
    }

    pub fn to_text(&self) -> Result<String, BackupError> {
        let mut text = toml::to_string(self).map_err(|error| BackupError::Target(error.to_string()))?;
        let crc = crc32c::crc32c(text.as_bytes());
        text.push_str(&format!("{SEAL}{crc:08x}\n"));
        Ok(text)
    }

    pub fn parse(text: &[u8]) -> Result<Self, BackupError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let damaged = |what: &str| BackupError::Damaged(format!("{NAME} {what}"));
        let text = std::str::from_utf8(text).map_err(|_| damaged("is not text"))?;
        let at = text.rfind(SEAL).ok_or_else(|| damaged("is cut short"))?;
        let (body, seal) = text.split_at(at);
        if seal != format!("{SEAL}{:08x}\n", crc32c::crc32c(body.as_bytes())) {
            return Err(damaged("does not have the checksum that it says"));
        }
        let unreadable = |error: toml::de::Error| damaged(&format!("cannot be read: {}", error.message()));
        let Format { format } = toml::from_str(body).map_err(unreadable)?;
        if format != FORMAT {
            return Err(BackupError::Target(format!(
                "the backup was written by another version of Lockstep (format {format}, this one reads {FORMAT})"
            )));
        }
        toml::from_str(body).map_err(unreadable)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_seen() {
        let file = BackedUp { name: "chunk-1".into(), length: 10, crc32c: 7 };
        let manifest = BackupManifest {
            format: FORMAT,
            version: "1".into(),
            cluster_id: "abc".into(),
            node: "node1".into(),
            term: 2,
            index: 30,
            position: 31 << 16,
            last_commit: "2026-11-25 20:30:00+00".into(),
            files: vec![file],
        };
        let text = manifest.to_text().unwrap();
        assert_eq!(BackupManifest::parse(text.as_bytes()).unwrap(), manifest);
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(BackupManifest::parse(&bytes), Err(BackupError::Damaged(_))), "bit {bit}");
        }
        for length in 0..text.len() {
            assert!(matches!(BackupManifest::parse(&text.as_bytes()[..length]), Err(BackupError::Damaged(_))));
        }
    }
}
