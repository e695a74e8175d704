//! `lockstep backup` and `lockstep restore`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use engine::commit_log::LogPosition;
use engine::recovery::Moment;
use replication::backup::restore::{RestoreOptions, Target, restore};
use replication::backup::{BackupError, take::take};

/// What the program does instead of serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Back up a running node, and read the backup back before saying that it is done
    Backup(Backup),
    /// Make the data directory of a new cluster from a backup; nodes join it as they join any other
    Restore(Restore),
}

#[derive(Debug, Args)]
pub struct Backup {
    /// Peer address of the node: --peer-listen of that node
    #[arg(long, value_name = "HOST:PORT")]
    connect: String,
    /// Directory or URL (file:///…) for this backup alone
    #[arg(long, value_name = "DIR|URL")]
    to: String,
}

#[derive(Debug, Args)]
pub struct Restore {
    /// Directory or URL of the backup
    #[arg(long, value_name = "DIR|URL")]
    from: String,
    /// Directory to make; it must be empty or not there
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Directory or URL of --archive-to: the log in it is replayed behind the backup
    #[arg(long, value_name = "DIR|URL")]
    archive: Option<String>,
    /// Last moment whose commits are restored, such as '2026-11-25 14:30:00+01'; without a zone UTC
    #[arg(long, value_name = "TIMESTAMP", requires = "archive", conflicts_with = "to_position")]
    to_time: Option<String>,
    /// Last position that is restored, as lockstep_nodes shows them
    #[arg(long, value_name = "N", requires = "archive")]
    to_position: Option<u64>,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("to-time: {0}")]
    Time(String),
    #[error("{0}")]
    Backup(#[from] BackupError),
    #[error("{0}")]
    Start(#[from] std::io::Error),
}

impl Command {
    pub fn run(self) -> Result<(), CommandError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        match self {
            Command::Backup(backup) => runtime.block_on(backup.run()),
            Command::Restore(restore) => runtime.block_on(restore.run()),
        }
    }
}

impl Backup {
    async fn run(self) -> Result<(), CommandError> {
        let made = take(&self.connect, &self.to).await?;
        println!(
            "backed up and verified: {} files, {} bytes, position {}, last commit {}",
            made.files.len(),
            made.bytes(),
            made.position,
            made.last_commit
        );
        Ok(())
    }
}

impl Restore {
    async fn run(self) -> Result<(), CommandError> {
        let target = match (self.to_time, self.to_position) {
            (Some(time), _) => {
                Target::Time(Moment::parse(&time).map_err(|error| CommandError::Time(error.message().to_owned()))?)
            }
            (None, Some(position)) => Target::Position(LogPosition(position)),
            (None, None) => Target::End,
        };
        let directory = self.data_dir.display().to_string();
        let options = RestoreOptions { from: self.from, data_dir: self.data_dir, archive: self.archive, target };
        let restored = restore(&options).await?;
        println!(
            "restored: position {}, last commit {}. Cluster {} begins with: lockstep --data-dir {directory}",
            restored.position.0,
            restored.last_commit.text(),
            restored.cluster_id
        );
        Ok(())
    }
}
