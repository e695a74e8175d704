//! COPY FROM STDIN: lines become columns, columns become batches, batches go into the transaction.
//!
//! Invariants:
//! 1. Memory is bounded: at most [`BATCH_ROWS`] rows or [`BATCH_BYTES`] bytes wait in the builders, and no line may be
//!    longer than [`LINE_MAX`].
//! 2. An error names the line, and the column where there is one (context "COPY t, line 3, column a: …").

use std::sync::Arc;

use arrow::array::{ArrayRef, Int16Builder, Int32Builder, Int64Builder, StringBuilder};

use super::options::{CopyOptions, Encoding, Format, Header};
use super::split::{Field, Lines, csv_fields, text_fields};
use crate::dml::RowExpr;
use crate::dml::insert::{InsertPlan, Inserter};
use crate::error::{Error, Result, SqlState};
use crate::functions::{EvalContext, casts};
use crate::session::{Column, Row, Session};
use crate::types::arrow::ColumnBuilder;
use crate::types::text::{self, FormatSettings};
use crate::types::{Datum, PgType, TypeOid};

const BATCH_ROWS: usize = 32 * 1024;
const BATCH_BYTES: usize = 16 << 20;
const LINE_MAX: usize = 256 << 20;

/// A COPY FROM STDIN in progress.
pub struct CopyIn {
    options: CopyOptions,
    inserter: Inserter,
    lines: Lines,
    columns: Vec<CopyColumn>,
    fields: Vec<Field>,
    scratch: Vec<u8>,
    rows: usize,
    bytes: usize,
    header_pending: bool,
    format: FormatSettings,
    /// Where names of objects are looked up.
    context: Arc<EvalContext>,
    filter: Option<RowExpr>,
}

struct CopyColumn {
    name: String,
    ty: PgType,
    /// Index in the table.
    target: usize,
    force_not_null: bool,
    force_null: bool,
    values: Values,
}

/// Builders of the types that most data is made of, and the general one.
enum Values {
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Text(StringBuilder),
    /// Of types whose text form is a name in the catalog.
    Name(ColumnBuilder),
    Other(ColumnBuilder),
}

impl Values {
    fn new(ty: PgType) -> Result<Values> {
        Ok(match ty.oid {
            TypeOid::INT2 => Values::Int2(Int16Builder::with_capacity(BATCH_ROWS)),
            TypeOid::INT4 => Values::Int4(Int32Builder::with_capacity(BATCH_ROWS)),
            TypeOid::INT8 => Values::Int8(Int64Builder::with_capacity(BATCH_ROWS)),
            TypeOid::TEXT | TypeOid::VARCHAR | TypeOid::BPCHAR => Values::Text(StringBuilder::new()),
            oid if casts::reads_names(oid) => Values::Name(ColumnBuilder::new(ty, BATCH_ROWS)?),
            _ => Values::Other(ColumnBuilder::new(ty, BATCH_ROWS)?),
        })
    }

    fn null(&mut self) -> Result<()> {
        match self {
            Values::Int2(b) => b.append_null(),
            Values::Int4(b) => b.append_null(),
            Values::Int8(b) => b.append_null(),
            Values::Text(b) => b.append_null(),
            Values::Name(b) | Values::Other(b) => b.append(&Datum::Null)?,
        }
        Ok(())
    }

    pub fn append(&mut self, value: &Datum) -> Result<()> {
        match (self, value) {
            (values, Datum::Null) => return values.null(),
            (Values::Int2(b), Datum::Int2(n)) => b.append_value(*n),
            (Values::Int4(b), Datum::Int4(n)) => b.append_value(*n),
            (Values::Int8(b), Datum::Int8(n)) => b.append_value(*n),
            (Values::Text(b), Datum::Text(t)) => b.append_value(t),
            (Values::Name(b) | Values::Other(b), value) => b.append(value)?,
            _ => return Err(Error::internal("a COPY value of another type than its column")),
        }
        Ok(())
    }

    fn parse(&mut self, text: &str, ty: PgType, format: &FormatSettings, context: &EvalContext) -> Result<()> {
        match self {
            Values::Int4(b) => match small_integer(text.as_bytes()).and_then(|n| i32::try_from(n).ok()) {
                Some(n) => b.append_value(n),
                None => return self.append(&text::parse(text, ty, format)?),
            },
            Values::Int8(b) => match small_integer(text.as_bytes()) {
                Some(n) => b.append_value(n),
                None => return self.append(&text::parse(text, ty, format)?),
            },
            Values::Int2(b) => match small_integer(text.as_bytes()).and_then(|n| i16::try_from(n).ok()) {
                Some(n) => b.append_value(n),
                None => return self.append(&text::parse(text, ty, format)?),
            },
            Values::Text(b) => match ty.oid {
                TypeOid::TEXT => b.append_value(text),
                TypeOid::VARCHAR => b.append_value(text::limit_length(text, ty.typmod, "character varying")?),
                _ => append_padded(b, text, ty.typmod)?,
            },
            Values::Name(b) => b.append(&casts::input(text, ty, context)?)?,
            Values::Other(b) => b.append(&text::parse(text, ty, format)?)?,
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Values::Int2(b) => Arc::new(b.finish()),
            Values::Int4(b) => Arc::new(b.finish()),
            Values::Int8(b) => Arc::new(b.finish()),
            Values::Text(b) => Arc::new(b.finish()),
            Values::Name(b) | Values::Other(b) => b.finish(),
        }
    }
}

/// Plain digits with a sign, at most 18 of them; anything else is for the general parser.
fn small_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut n = 0i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        n = n * 10 + i64::from(digit);
    }
    Some(if negative { -n } else { n })
}

/// char(n): padded to its length, without a string of its own.
fn append_padded(builder: &mut StringBuilder, text: &str, typmod: i32) -> Result<()> {
    const SPACES: &str = "                                                                ";
    use std::fmt::Write;
    let text = text::limit_length(text, typmod, "character")?;
    let limit = text::length_limit(typmod).unwrap_or(0);
    let mut missing = limit.saturating_sub(text.chars().count());
    // Writing to a StringBuilder cannot fail.
    let _ = builder.write_str(text);
    while missing > 0 {
        let now = missing.min(SPACES.len());
        let _ = builder.write_str(&SPACES[..now]);
        missing -= now;
    }
    builder.append_value("");
    Ok(())
}

impl CopyIn {
    pub fn new(
        session: &mut Session,
        plan: Arc<InsertPlan>,
        options: CopyOptions,
        filter: Option<RowExpr>,
    ) -> Result<CopyIn> {
        let def = plan.rules.def.clone();
        let mut columns = Vec::with_capacity(plan.targets.len());
        for target in &plan.targets {
            let Some(column) = def.columns.get(*target) else { continue };
            columns.push(CopyColumn {
                name: column.name.clone(),
                ty: column.ty,
                target: *target,
                force_not_null: options.force_not_null.contains(&column.name),
                force_null: options.force_null.contains(&column.name),
                values: Values::new(column.ty)?,
            });
        }
        let table = session.table(def.oid)?;
        Ok(CopyIn {
            lines: Lines::new(&options),
            inserter: Inserter::new(plan, table),
            columns,
            fields: Vec::new(),
            scratch: Vec::new(),
            rows: 0,
            bytes: 0,
            header_pending: options.header != Header::No,
            format: session.format(),
            context: session.eval_context(),
            filter,
            options,
        })
    }

    /// Where it is in the data, for the context of an error.
    pub fn place(&self) -> String {
        format!("COPY {}, line {}", self.table_name(), self.lines.number + 1)
    }

    pub fn is_binary(&self) -> bool {
        self.options.format == Format::Binary
    }

    /// What a row of binary data is made of.
    pub fn columns(&self) -> Arc<[Column]> {
        let column = |c: &CopyColumn| Column { name: c.name.clone(), ty: c.ty, table: 0, attribute: 0 };
        self.columns.iter().map(column).collect()
    }

    /// Takes rows that were decoded already.
    pub async fn push_rows(&mut self, session: &mut Session, rows: Vec<Row>) -> Result<()> {
        for row in rows {
            self.lines.number += 1;
            for (column, value) in self.columns.iter_mut().zip(row) {
                let done = match column.ty.typmod {
                    typmod if typmod < 0 || value.is_null() => column.values.append(&value),
                    // A length or a scale is enforced by reading the value's text.
                    _ => {
                        let text = text::to_string(&value, column.ty, &self.format);
                        self.bytes += text.len();
                        column.values.parse(&text, column.ty, &self.format, &self.context)
                    }
                };
                done.map_err(|e| {
                    let table = &self.inserter.plan.rules.def.name;
                    e.context(format!("COPY {table}, line {}, column {}", self.lines.number, column.name))
                })?;
            }
            self.rows += 1;
            if self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
                self.flush(session).await?;
            }
        }
        Ok(())
    }

    pub fn width(&self) -> usize {
        self.columns.len()
    }

    fn table_name(&self) -> &str {
        &self.inserter.plan.rules.def.name
    }

    /// Takes a piece of input, cut anywhere.
    pub async fn push(&mut self, session: &mut Session, data: &[u8]) -> Result<()> {
        match self.options.encoding {
            Encoding::Utf8 => self.lines.push(data),
            Encoding::Latin1 => {
                let text: String = data.iter().map(|byte| char::from(*byte)).collect();
                self.lines.push(text.as_bytes());
            }
        }
        self.consume(session, false).await
    }

    /// The input is complete: inserts the rest and answers the number of rows.
    pub async fn finish(&mut self, session: &mut Session) -> Result<u64> {
        if !self.is_binary() {
            self.consume(session, true).await?;
        }
        self.flush(session).await?;
        let pending = std::mem::take(&mut self.inserter.pending);
        session.settle(pending).await?;
        Ok(self.inserter.changed.count)
    }

    async fn consume(&mut self, session: &mut Session, last: bool) -> Result<()> {
        loop {
            if !self.text_row(last)? {
                return Ok(());
            }
            if self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
                self.flush(session).await?;
            }
        }
    }

    /// Reads one line; `false` when no whole one is there.
    fn text_row(&mut self, last: bool) -> Result<bool> {
        let next = match self.lines.next(last) {
            Ok(next) => next,
            Err(error) => return Err(error.context(self.place())),
        };
        let Some(at) = next else {
            if last && self.lines.in_quotes() && !self.lines.ended {
                return Err(Error::new(SqlState::BadCopyFileFormat, "unterminated CSV quoted field").context(format!(
                    "COPY {}, line {}",
                    self.table_name(),
                    self.lines.number + 1
                )));
            }
            return Ok(false);
        };
        let line = self.lines.slice(at);
        if line.len() > LINE_MAX {
            return Err(Error::new(SqlState::ProgramLimitExceeded, "a line of COPY data is too long"));
        }
        let number = self.lines.number;
        let line = std::str::from_utf8(line).map_err(|e| {
            let byte = line.get(e.valid_up_to()).copied().unwrap_or(0);
            Error::new(
                SqlState::CharacterNotInRepertoire,
                format!("invalid byte sequence for encoding \"UTF8\": 0x{byte:02x}"),
            )
            .context(format!("COPY {}, line {number}", self.inserter.plan.rules.def.name))
        })?;
        let whole = |error: Error| {
            let shown = crate::session::settings::value::clip(line, 100);
            error.context(format!("COPY {}, line {number}: \"{shown}\"", self.inserter.plan.rules.def.name))
        };
        let mut ended = false;
        if self.columns.is_empty() && line.is_empty() {
            self.fields.clear();
        } else {
            match self.options.format {
                Format::Csv => {
                    csv_fields(line.as_bytes(), &self.options, &mut self.fields, &mut self.scratch).map_err(whole)?
                }
                _ => {
                    ended = text_fields(line.as_bytes(), &self.options, &mut self.fields, &mut self.scratch)
                        .map_err(whole)?
                }
            }
        }
        if std::mem::take(&mut self.header_pending) {
            if self.options.header == Header::Match {
                check_header(&self.fields, line, &self.scratch, &self.columns).map_err(whole)?;
            }
            return Ok(true);
        }
        if self.fields.len() > self.columns.len() {
            return Err(whole(Error::new(SqlState::BadCopyFileFormat, "extra data after last expected column")));
        }
        self.bytes += line.len();
        for (column, field) in self.columns.iter_mut().zip(&self.fields) {
            let null = std::str::from_utf8(&self.options.null).unwrap_or("");
            let text = match *field {
                Field::Null if column.force_not_null => Some(null),
                Field::Null => None,
                Field::Line(a, b) => line.get(a..b),
                Field::Scratch(a, b) => {
                    let bytes = self.scratch.get(a..b).unwrap_or(&[]);
                    let text = std::str::from_utf8(bytes).map_err(|_| {
                        Error::new(SqlState::CharacterNotInRepertoire, "invalid byte sequence for encoding \"UTF8\"")
                            .context(format!("COPY {}, line {number}", self.inserter.plan.rules.def.name))
                    })?;
                    Some(text).filter(|t| !(column.force_null && *t == null))
                }
            };
            let done = match text {
                None => column.values.null(),
                Some(text) if text.contains('\0') => Err(Error::new(
                    SqlState::CharacterNotInRepertoire,
                    "invalid byte sequence for encoding \"UTF8\": 0x00",
                )),
                Some(text) => column.values.parse(text, column.ty, &self.format, &self.context),
            };
            done.map_err(|e| {
                let table = &self.inserter.plan.rules.def.name;
                let shown = crate::session::settings::value::clip(text.unwrap_or(""), 100);
                e.context(format!("COPY {table}, line {number}, column {}: \"{shown}\"", column.name))
            })?;
        }
        // Only now: what is there may be wrong already.
        if let Some(missing) = self.columns.get(self.fields.len()) {
            return Err(whole(Error::new(
                SqlState::BadCopyFileFormat,
                format!("missing data for column \"{}\"", missing.name),
            )));
        }
        self.lines.ended = ended;
        self.rows += 1;
        Ok(true)
    }

    /// Inserts what the builders hold.
    async fn flush(&mut self, session: &mut Session) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut arrays: Vec<ArrayRef> = self.columns.iter_mut().map(|c| c.values.finish()).collect();
        let targets: Vec<usize> = self.columns.iter().map(|c| c.target).collect();
        let mut rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        if let Some(filter) = &self.filter {
            (arrays, rows) = filtered(session, filter, arrays, &self.columns, self.inserter.plan.rules.width()).await?;
        }
        let first = self.lines.number.saturating_sub(rows as u64) + 1;
        self.inserter.insert_any(session, arrays, &targets, rows).await.map_err(|e| {
            match e.report().context.is_some() {
                true => e,
                false => {
                    let last = self.lines.number;
                    let lines = if first == last { format!("line {last}") } else { format!("lines {first} to {last}") };
                    e.context(format!("COPY {}, {lines}", self.table_name()))
                }
            }
        })
    }
}

/// The rows that COPY … WHERE lets in.
async fn filtered(
    session: &mut Session,
    filter: &RowExpr,
    arrays: Vec<ArrayRef>,
    columns: &[CopyColumn],
    width: usize,
) -> Result<(Vec<ArrayRef>, usize)> {
    let rows = arrays.first().map_or(0, |a| a.len());
    let mut kept = Vec::new();
    for i in 0..rows {
        let mut row = vec![Datum::Null; width];
        for (column, array) in columns.iter().zip(&arrays) {
            row[column.target] = crate::types::arrow::datum_at(array.as_ref(), i, column.ty)?;
        }
        if filter.eval(session, &row, &[]).await? == Datum::Bool(true) {
            kept.push(i as u64);
        }
    }
    let indices = arrow::array::UInt64Array::from(kept);
    let taken = arrow::compute::take_arrays(&arrays, &indices, None).map_err(|e| Error::internal(e.to_string()))?;
    Ok((taken, indices.values().len()))
}

fn check_header(fields: &[Field], line: &str, scratch: &[u8], columns: &[CopyColumn]) -> Result<()> {
    if fields.len() != columns.len() {
        return Err(Error::new(
            SqlState::BadCopyFileFormat,
            format!("wrong number of fields in header line: got {}, expected {}", fields.len(), columns.len()),
        ));
    }
    for (i, (field, column)) in fields.iter().zip(columns).enumerate() {
        let name = match *field {
            Field::Null => None,
            Field::Line(a, b) => line.get(a..b),
            Field::Scratch(a, b) => scratch.get(a..b).and_then(|b| std::str::from_utf8(b).ok()),
        };
        if name != Some(&column.name) {
            return Err(Error::new(
                SqlState::BadCopyFileFormat,
                format!(
                    "column name mismatch in header line field {}: got \"{}\", expected \"{}\"",
                    i + 1,
                    name.unwrap_or("null value"),
                    column.name
                ),
            ));
        }
    }
    Ok(())
}
