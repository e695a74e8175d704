//! COPY's binary format (PostgreSQL 15 manual, COPY, "Binary Format"): a header, rows as in DataRow messages, a trailer.
//!
//! Invariant: of the input no more is held than an unfinished row, and that at most [`ROW_BYTES_MAX`].

use std::sync::Arc;

use engine::error::{Error, Result, SqlState};
use engine::session::{Column, CopyFormat, Row, Rows};
use engine::types::Datum;
use engine::types::text::FormatSettings;

use crate::frontend::Format;
use crate::output::Output;
use crate::values::column::BatchEncoder;
use crate::values::datum::{DatumEncoder, write_row};
use crate::values::parameter;

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Flags (none) and the length of a header extension (none) follow the signature.
const HEADER_BYTES: usize = SIGNATURE.len() + 8;
/// The flag for OIDs in rows, which PostgreSQL 12 gave up.
const HAS_OIDS: u32 = 1 << 16;
const CRITICAL_FLAGS: u32 = 0xffff_0000;
const ROW_BYTES_MAX: usize = 1 << 30;

/// Rows on their way to the client.
pub(super) struct BinaryCopyOut {
    columns: Arc<[Column]>,
    encoders: Vec<DatumEncoder>,
    begun: bool,
}

impl BinaryCopyOut {
    /// Errors: a type has no binary form.
    pub fn new(columns: Arc<[Column]>) -> Result<Self> {
        let encoders = columns.iter().map(|c| DatumEncoder::choose(c.ty, Format::Binary)).collect::<Result<_>>()?;
        Ok(BinaryCopyOut { columns, encoders, begun: false })
    }

    pub fn format(&self) -> CopyFormat {
        CopyFormat { binary: true, columns: self.columns.len() as u16 }
    }

    /// The header, before whatever is sent first.
    fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(SIGNATURE);
            out.extend_from_slice(&[0; HEADER_BYTES - SIGNATURE.len()]);
        }
    }

    pub fn send(&mut self, rows: Rows, settings: &FormatSettings, output: &mut Output) -> Result<()> {
        let mut bytes = Vec::new();
        match rows {
            Rows::Tuples(tuples) => {
                for row in &tuples {
                    bytes.clear();
                    self.begin(&mut bytes);
                    write_row(&self.encoders, row, settings, &mut bytes)?;
                    output.copy_data(&bytes)?;
                }
            }
            Rows::Batch(batch) => {
                let columns = self.columns.clone();
                let binary = std::iter::repeat(Format::Binary);
                let encoder = BatchEncoder::choose(&batch, &columns, binary, settings)?;
                for row in 0..encoder.rows() {
                    bytes.clear();
                    self.begin(&mut bytes);
                    encoder.write_row(row, &mut bytes)?;
                    output.copy_data(&bytes)?;
                }
            }
        }
        Ok(())
    }

    pub fn end(&mut self, output: &mut Output) -> Result<()> {
        let mut bytes = Vec::new();
        self.begin(&mut bytes);
        bytes.extend_from_slice(&(-1i16).to_be_bytes());
        output.copy_data(&bytes)
    }
}

/// Bytes of the client on their way to rows.
pub(super) struct BinaryCopyIn<'a> {
    table: &'a str,
    columns: &'a [Column],
    /// For the labels and fields of users' types.
    settings: FormatSettings,
    /// What is left of the last piece: less than a row.
    buffer: Vec<u8>,
    begun: bool,
    ended: bool,
    rows: u64,
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(SqlState::BadCopyFileFormat, message)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

impl<'a> BinaryCopyIn<'a> {
    pub fn new(table: &'a str, columns: &'a [Column], settings: FormatSettings) -> Self {
        BinaryCopyIn { table, columns, settings, buffer: Vec::new(), begun: false, ended: false, rows: 0 }
    }

    /// Takes a piece of the data, cut anywhere; answers the rows that are whole now.
    pub fn take(&mut self, piece: &[u8]) -> Result<Vec<Row>> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.extend_from_slice(piece);
        let mut at = 0;
        if !self.begun {
            let Some(length) = header(&buffer)? else {
                self.buffer = buffer;
                return Ok(Vec::new());
            };
            self.begun = true;
            at = length;
        }
        let mut rows = Vec::new();
        while let Some((row, length)) = self.row(buffer.get(at..).unwrap_or_default())? {
            at += length;
            rows.push(row);
        }
        if buffer.len() - at > ROW_BYTES_MAX {
            return Err(Error::new(SqlState::ProgramLimitExceeded, "a row of COPY data is too long"));
        }
        buffer.drain(..at);
        self.buffer = buffer;
        Ok(rows)
    }

    /// One row and its length; `None`: it is not all there, or the data has ended.
    fn row(&mut self, bytes: &[u8]) -> Result<Option<(Row, usize)>> {
        if self.ended {
            return match bytes.is_empty() {
                true => Ok(None),
                false => Err(bad("received copy data after EOF marker")),
            };
        }
        let Some(count) = bytes.get(..2).and_then(|b| b.try_into().ok()).map(i16::from_be_bytes) else {
            return Ok(None);
        };
        if count == -1 {
            self.ended = true;
            return match bytes.len() > 2 {
                true => Err(bad("received copy data after EOF marker")),
                false => Ok(None),
            };
        }
        let line = self.rows + 1;
        if count as usize != self.columns.len() {
            let message = format!("row field count is {count}, expected {}", self.columns.len());
            return Err(bad(message).context(format!("COPY {}, line {line}", self.table)));
        }
        let mut at = 2;
        let mut fields: Vec<Option<&[u8]>> = Vec::with_capacity(self.columns.len());
        for column in self.columns {
            let Some(length) = word(bytes, at) else { return Ok(None) };
            at += 4;
            match length as i32 {
                -1 => fields.push(None),
                length if length < 0 => {
                    return Err(bad("invalid field size").context(self.place(line, &column.name)));
                }
                length => {
                    let Some(field) = bytes.get(at..at + length as usize) else { return Ok(None) };
                    at += length as usize;
                    fields.push(Some(field));
                }
            }
        }
        let mut row = Row::with_capacity(fields.len());
        for (field, column) in fields.into_iter().zip(self.columns) {
            row.push(match field {
                None => Datum::Null,
                Some(field) => parameter::read_field(field, column.ty.oid, &self.settings)
                    .map_err(|e| e.context(self.place(line, &column.name)))?,
            });
        }
        self.rows = line;
        Ok(Some((row, at)))
    }

    fn place(&self, line: u64, column: &str) -> String {
        format!("COPY {}, line {line}, column {column}", self.table)
    }

    /// The client is done: everything must have come. A missing trailer is forgiven, as PostgreSQL does.
    pub fn finish(&self) -> Result<()> {
        match (self.begun, self.buffer.is_empty() || self.ended) {
            (false, _) => Err(bad("COPY file signature not recognized")),
            (true, true) => Ok(()),
            (true, false) => {
                let place = format!("COPY {}, line {}", self.table, self.rows + 1);
                Err(bad("unexpected EOF in COPY data").context(place))
            }
        }
    }
}

/// The length of the header; `None`: it is not all there.
fn header(bytes: &[u8]) -> Result<Option<usize>> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes.get(..known) != SIGNATURE.get(..known) {
        return Err(bad("COPY file signature not recognized"));
    }
    let (Some(flags), Some(extension)) = (word(bytes, SIGNATURE.len()), word(bytes, SIGNATURE.len() + 4)) else {
        return Ok(None);
    };
    if flags & HAS_OIDS != 0 {
        return Err(bad("invalid COPY file header (WITH OIDS)"));
    }
    if flags & CRITICAL_FLAGS != 0 {
        return Err(bad("unrecognized critical flags in COPY file header"));
    }
    let Some(extension) = i32::try_from(extension).ok().and_then(|n| usize::try_from(n).ok()) else {
        return Err(bad("invalid COPY file header (missing length)"));
    };
    Ok((bytes.len() >= HEADER_BYTES + extension).then_some(HEADER_BYTES + extension))
}
