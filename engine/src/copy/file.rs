//! COPY with a file of the server: the same rows as from and to the client, read and written here.
//!
//! Only superusers may: the file is opened with the rights of the server. Pieces are bounded, so memory is too.

use std::io;
use std::path::Path;
use std::pin::pin;

use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter};

use super::{CopyIn, CopyOut};
use crate::error::{Error, Result, SqlState};
use crate::session::Session;
use crate::session::portal::{Portal, PortalState};

const PIECE: usize = 256 * 1024;

/// Refuses what PostgreSQL refuses before it looks at the table.
pub fn check(session: &Session, from: bool, program: bool) -> Result<()> {
    let (role, what) = match (from, program) {
        (_, true) => ("pg_execute_server_program", "COPY to or from an external program"),
        (true, _) => ("pg_read_server_files", "COPY from a file"),
        (false, _) => ("pg_write_server_files", "COPY to a file"),
    };
    let catalog = session.catalog();
    let oid = catalog.role(role).map(|known| known.oid);
    if oid.is_some_and(|oid| catalog.has_privileges_of(session.user(), oid)) {
        return Ok(());
    }
    Err(Error::new(
        SqlState::InsufficientPrivilege,
        format!("must be superuser or have privileges of the {role} role to {what}"),
    )
    .hint("Anyone can COPY to stdout or from stdin. psql's \\copy command also works for anyone."))
}

/// COPY FROM a file, all of it; answers the number of rows.
pub async fn read(session: &mut Session, mut copy: CopyIn, path: &str, portal: &Portal) -> Result<u64> {
    let shared = session.shared.clone();
    let work = async {
        let hint = "COPY FROM instructs the PostgreSQL server process to read a file. \
                    You may want a client-side facility such as psql's \\copy.";
        let opened = |e: io::Error| {
            let error = failed(&e, format!("could not open file \"{path}\" for reading"));
            if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) {
                error.hint(hint)
            } else {
                error
            }
        };
        let mut file = File::open(path).await.map_err(opened)?;
        if file.metadata().await.map_err(|e| failed(&e, format!("could not stat file \"{path}\"")))?.is_dir() {
            return Err(Error::new(SqlState::WrongObjectType, format!("\"{path}\" is a directory")));
        }
        let mut piece = vec![0; PIECE];
        loop {
            let read =
                file.read(&mut piece).await.map_err(|e| failed(&e, "could not read from COPY file".to_string()))?;
            if read == 0 {
                return copy.finish(session).await;
            }
            copy.push(session, piece.get(..read).unwrap_or(&[])).await?;
        }
    };
    shared.interruptible(portal.deadline, pin!(work)).await
}

/// COPY TO a file; what was there is replaced. Answers the number of rows.
pub async fn write(session: &Session, mut copy: CopyOut, path: &str, portal: &Portal) -> Result<u64> {
    let shared = session.shared.clone();
    let work = async {
        if !Path::new(path).is_absolute() {
            return Err(Error::new(SqlState::InvalidName, "relative path not allowed for COPY to file"));
        }
        let opened = |e: io::Error| {
            let hint = "COPY TO instructs the PostgreSQL server process to write a file. \
                        You may want a client-side facility such as psql's \\copy.";
            let error = failed(&e, format!("could not open file \"{path}\" for writing"));
            if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) {
                error.hint(hint)
            } else {
                error
            }
        };
        let mut file = BufWriter::with_capacity(PIECE, File::create(path).await.map_err(opened)?);
        let wrote = |e: io::Error| failed(&e, "could not write to COPY file".to_string());
        while let Some(lines) = copy.next().await? {
            for line in lines {
                file.write_all(&line).await.map_err(wrote)?;
            }
        }
        file.flush().await.map_err(wrote)?;
        Ok(copy.rows())
    };
    shared.interruptible(portal.deadline, pin!(work)).await
}

/// Ends the statement with its tag.
pub fn complete(portal: &mut Portal, rows: u64) {
    portal.state = PortalState::Done(format!("COPY {rows}"));
}

/// An error of the operating system with PostgreSQL's text and condition for it.
fn failed(error: &io::Error, what: String) -> Error {
    let state = match error.kind() {
        io::ErrorKind::NotFound => SqlState::UndefinedFile,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => SqlState::InsufficientPrivilege,
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => SqlState::WrongObjectType,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SqlState::DiskFull,
        io::ErrorKind::OutOfMemory => SqlState::OutOfMemory,
        _ => SqlState::IoError,
    };
    let reason = error.to_string();
    let reason = reason.split(" (os error").next().unwrap_or("unknown error");
    Error::new(state, format!("{what}: {reason}"))
}
