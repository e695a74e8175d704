//! COPY TO STDOUT: batches of a query become lines.

use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use super::options::{CopyOptions, Encoding, Format};
use crate::error::{Error, Result, SqlState};
use crate::session::Column;
use crate::session::portal::RowSource;
use crate::session::{Row, Rows};
use crate::types::Datum;
use crate::types::arrow::ColumnReader;
use crate::types::text::{self, FormatSettings};

/// Rows that one piece of output is made of.
const ROWS: usize = 4096;

/// A COPY TO STDOUT in progress.
pub struct CopyOut {
    options: CopyOptions,
    source: RowSource,
    columns: Vec<Column>,
    format: FormatSettings,
    force_quote: Vec<bool>,
    rows: u64,
    started: bool,
    ended: bool,
}

/// Lines in one buffer, and where each ends.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Lines {
    /// A line ends here, if one has begun.
    fn end(&mut self) {
        if self.bytes.len() > self.ends.last().copied().unwrap_or(0) {
            self.ends.push(self.bytes.len());
        }
    }

    fn split(self) -> Vec<Bytes> {
        let bytes = Bytes::from(self.bytes);
        let mut start = 0;
        self.ends.into_iter().map(|end| bytes.slice(std::mem::replace(&mut start, end)..end)).collect()
    }
}

impl CopyOut {
    pub fn new(options: CopyOptions, source: RowSource, columns: Vec<Column>, format: FormatSettings) -> CopyOut {
        let force_quote = columns.iter().map(|c| options.force_quote.contains(&c.name)).collect();
        CopyOut { options, source, columns, format, force_quote, rows: 0, started: false, ended: false }
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The next lines, an element each; cancellation-safe.
    pub async fn next(&mut self) -> Result<Option<Vec<Bytes>>> {
        if self.ended {
            return Ok(None);
        }
        let rows = self.source.next(ROWS).await?;
        let mut out = Lines::default();
        if !std::mem::replace(&mut self.started, true) {
            self.head(&mut out.bytes);
            out.end();
        }
        match rows {
            None => {
                self.ended = true;
                let out = self.encoded(out)?;
                return Ok((!out.bytes.is_empty()).then(|| out.split()));
            }
            Some(Rows::Batch(batch)) => self.batch(&batch, &mut out)?,
            Some(Rows::Tuples(rows)) => {
                for row in &rows {
                    self.row(row, &mut out.bytes);
                    out.end();
                }
            }
        }
        Ok(Some(self.encoded(out)?.split()))
    }

    /// The lines in the encoding that was asked for.
    fn encoded(&self, lines: Lines) -> Result<Lines> {
        if self.options.encoding == Encoding::Utf8 {
            return Ok(lines);
        }
        let mut out = Lines::default();
        let mut start = 0;
        for end in &lines.ends {
            let line = lines.bytes.get(start..*end).and_then(|l| std::str::from_utf8(l).ok()).unwrap_or_default();
            for c in line.chars() {
                let byte = u8::try_from(u32::from(c)).map_err(|_| {
                    let mut buffer = [0; 4];
                    let bytes: Vec<String> =
                        c.encode_utf8(&mut buffer).bytes().map(|b| format!("0x{b:02x}")).collect();
                    Error::new(
                        SqlState::UntranslatableCharacter,
                        format!(
                            "character with byte sequence {} in encoding \"UTF8\" has no equivalent in encoding \"LATIN1\"",
                            bytes.join(" ")
                        ),
                    )
                })?;
                out.bytes.push(byte);
            }
            out.end();
            start = *end;
        }
        Ok(out)
    }

    fn head(&self, out: &mut Vec<u8>) {
        if self.options.header != super::options::Header::No {
            for (i, column) in self.columns.iter().enumerate() {
                if i > 0 {
                    out.push(self.options.delimiter);
                }
                self.field(column.name.as_bytes(), false, out);
            }
            out.push(b'\n');
        }
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Lines) -> Result<()> {
        let readers: Vec<ColumnReader<'_>> = batch
            .columns()
            .iter()
            .zip(&self.columns)
            .map(|(array, column)| ColumnReader::new(array.as_ref(), column.ty))
            .collect::<Result<_>>()?;
        let mut row = Row::with_capacity(readers.len());
        for i in 0..batch.num_rows() {
            row.clear();
            row.extend(readers.iter().map(|r| r.get(i)));
            self.row(&row, &mut out.bytes);
            out.end();
        }
        Ok(())
    }

    fn row(&mut self, row: &[Datum], out: &mut Vec<u8>) {
        self.rows += 1;
        let mut value = Vec::new();
        for (i, (datum, column)) in row.iter().zip(&self.columns).enumerate() {
            if i > 0 {
                out.push(self.options.delimiter);
            }
            if datum.is_null() {
                out.extend_from_slice(&self.options.null);
                continue;
            }
            value.clear();
            text::write(datum, column.ty, &self.format, &mut value);
            let force = self.force_quote.get(i).copied().unwrap_or(false);
            self.field(&value, force, out);
        }
        out.push(b'\n');
    }

    fn field(&self, value: &[u8], force: bool, out: &mut Vec<u8>) {
        match self.options.format {
            Format::Csv => self.csv_field(value, force, out),
            _ => self.text_field(value, out),
        }
    }

    fn text_field(&self, value: &[u8], out: &mut Vec<u8>) {
        for byte in value {
            let escaped = match *byte {
                b'\\' => b'\\',
                8 => b'b',
                12 => b'f',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                11 => b'v',
                byte if byte == self.options.delimiter => byte,
                byte => {
                    out.push(byte);
                    continue;
                }
            };
            out.extend_from_slice(&[b'\\', escaped]);
        }
    }

    fn csv_field(&self, value: &[u8], force: bool, out: &mut Vec<u8>) {
        let o = &self.options;
        let special = |b: &u8| *b == o.delimiter || *b == o.quote || matches!(b, b'\n' | b'\r');
        // A lone "\." would end the data.
        let quoted = force
            || value == o.null.as_slice()
            || value.iter().any(special)
            || (self.columns.len() == 1 && value == b"\\.");
        if !quoted {
            out.extend_from_slice(value);
            return;
        }
        out.push(o.quote);
        for byte in value {
            if *byte == o.quote || *byte == o.escape {
                out.push(o.escape);
            }
            out.push(*byte);
        }
        out.push(o.quote);
    }
}
