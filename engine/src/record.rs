//! Records: what a commit writes to the log. Row changes by key, never SQL text, so that replay depends on no planning.
//!
//! Layout, little-endian: a header of 56 bytes (magic and version, kind, epoch, commit timestamp, transaction, group,
//! part, schema version, checksums of body and header), then operations one after another. A big transaction is several
//! records: parts, each a body of its own, then the commit record that says how many there were.
//!
//! Invariants:
//! 1. A record with a flipped bit is recognised: header and body have a CRC-32C each.
//! 2. Timestamp and epoch are written last, under the sequencer's lock; the body's checksum does not cover them.
//! 3. Where a transaction changes the catalog, its first body begins with an operation that does.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatchOptions};
use arrow::buffer::Buffer;
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use bytes::{Buf, Bytes};
use smallvec::SmallVec;

use crate::catalog::{CatalogChange, Oid};
use crate::commit_log::{Epoch, GroupId};
use crate::error::{Error, Result, SqlState};
use crate::session::Row;
use crate::storage::{CommitTs, RowKey};
use crate::txn::notify::Notification;
use crate::types::{Datum, codec};

const MAGIC: u32 = u32::from_le_bytes(*b"LSR\x01");
const HEADER: usize = 56;
const KIND_AT: usize = 4;
const PART_AT: usize = 36;

/// A body is cut into parts of about this size.
pub(crate) const PART_BYTES: usize = 4 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Installs its own operations, after those of its parts.
    Commit,
    /// Operations of a transaction whose commit record is still to come.
    Part,
    /// It will not come: the parts are forgotten.
    Forget,
    /// Every node digests the state that it has here; nothing changes.
    Check,
}

impl Kind {
    fn tag(self) -> u32 {
        match self {
            Kind::Commit => 1,
            Kind::Part => 2,
            Kind::Forget => 3,
            Kind::Check => 4,
        }
    }
}

/// What a record says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub kind: Kind,
    pub epoch: Epoch,
    pub ts: CommitTs,
    pub transaction: u64,
    pub group: GroupId,
    /// Commit: number of parts before it. Part: its number, from 0.
    pub part: u32,
    pub schema_version: u64,
}

/// One change, as the applier reads it.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    /// A row, by attnum - 1; its key too if the table has no primary key.
    Insert {
        table: Oid,
        key: Option<RowKey>,
        row: Row,
    },
    /// New values of some columns (attnum - 1, ascending).
    Update {
        table: Oid,
        key: RowKey,
        changes: SmallVec<[(usize, Datum); 4]>,
    },
    Delete {
        table: Oid,
        key: RowKey,
    },
    /// New rows: columns by attnum - 1, numbers if the table has no primary key.
    Batch {
        table: Oid,
        hidden: Option<Vec<i64>>,
        rows: usize,
        columns: Vec<Option<ArrayRef>>,
    },
    Catalog(Vec<CatalogChange>),
    /// For those who listen when it is applied.
    Notify(Notification),
    /// State of a sequence. `transactional`: it replaces what the primary counts in memory.
    Sequence {
        sequence: Oid,
        last: i64,
        called: bool,
        transactional: bool,
    },
}

impl Operation {
    /// The table of which it changes a row.
    pub fn table(&self) -> Option<Oid> {
        match self {
            Operation::Insert { table, .. } | Operation::Update { table, .. } | Operation::Delete { table, .. } => {
                Some(*table)
            }
            _ => None,
        }
    }
}

const INSERT: u8 = 1;
const INSERT_HIDDEN: u8 = 2;
const UPDATE: u8 = 3;
const DELETE: u8 = 4;
const BATCH: u8 = 5;
const CATALOG: u8 = 6;
const SEQUENCE: u8 = 7;
const NOTIFY: u8 = 20;

/// Writes operations.
#[derive(Debug)]
pub(crate) struct RecordWriter {
    out: Vec<u8>,
}

impl Default for RecordWriter {
    fn default() -> Self {
        let mut out = Vec::with_capacity(256);
        out.resize(HEADER, 0);
        RecordWriter { out }
    }
}

impl RecordWriter {
    pub fn len(&self) -> usize {
        self.out.len()
    }

    pub fn insert(&mut self, table: Oid, key: Option<&RowKey>, row: &[Datum]) {
        self.start(if key.is_some() { INSERT_HIDDEN } else { INSERT }, table);
        if let Some(key) = key {
            put_bytes(&mut self.out, &key.0);
        }
        codec::put_varint(&mut self.out, row.len() as u64);
        row.iter().for_each(|d| codec::put(&mut self.out, d));
    }

    pub fn update<'a>(&mut self, table: Oid, key: &RowKey, changes: impl Iterator<Item = (usize, &'a Datum)>) {
        self.start(UPDATE, table);
        put_bytes(&mut self.out, &key.0);
        for (column, datum) in changes {
            codec::put_varint(&mut self.out, column as u64 + 1);
            codec::put(&mut self.out, datum);
        }
        codec::put_varint(&mut self.out, 0);
    }

    pub fn delete(&mut self, table: Oid, key: &RowKey) {
        self.start(DELETE, table);
        put_bytes(&mut self.out, &key.0);
    }

    pub fn batch(
        &mut self,
        table: Oid,
        hidden: Option<&[i64]>,
        rows: usize,
        columns: &[Option<ArrayRef>],
    ) -> Result<()> {
        self.start(BATCH, table);
        codec::put_varint(&mut self.out, rows as u64);
        self.out.push(u8::from(hidden.is_some()));
        hidden.into_iter().flatten().for_each(|n| self.out.extend(n.to_le_bytes()));
        put_bytes(&mut self.out, &to_ipc(columns, rows)?);
        Ok(())
    }

    pub fn catalog(&mut self, changes: &[CatalogChange]) -> Result<()> {
        self.out.push(CATALOG);
        let bytes = postcard::to_stdvec(changes).map_err(|e| Error::internal(e.to_string()))?;
        put_bytes(&mut self.out, &bytes);
        Ok(())
    }

    pub fn sequence(&mut self, sequence: Oid, last: i64, called: bool, transactional: bool) {
        self.start(SEQUENCE, sequence);
        self.out.extend(last.to_le_bytes());
        self.out.push(u8::from(called) | u8::from(transactional) << 1);
    }

    pub fn notify(&mut self, notification: &Notification) {
        self.out.push(NOTIFY);
        self.out.extend(notification.process.to_le_bytes());
        for text in [&notification.database, &notification.channel, &notification.payload] {
            put_bytes(&mut self.out, text.as_bytes());
        }
    }

    /// The body is complete; only [`Sealed::finish`] remains.
    pub fn seal(self) -> Sealed {
        let body = crc32c::crc32c(self.out.get(HEADER..).unwrap_or_default());
        Sealed { out: self.out, body }
    }

    fn start(&mut self, tag: u8, object: Oid) {
        self.out.push(tag);
        self.out.extend(object.0.to_le_bytes());
    }
}

/// An encoded body that lacks its header.
#[derive(Debug)]
pub(crate) struct Sealed {
    out: Vec<u8>,
    body: u32,
}

impl Sealed {
    pub fn len(&self) -> usize {
        self.out.len()
    }

    pub fn finish(mut self, header: &Header) -> Bytes {
        let mut head = Vec::with_capacity(HEADER);
        head.extend(MAGIC.to_le_bytes());
        head.extend(header.kind.tag().to_le_bytes());
        head.extend(header.epoch.0.to_le_bytes());
        head.extend(header.ts.0.to_le_bytes());
        head.extend(header.transaction.to_le_bytes());
        head.extend(header.group.0.to_le_bytes());
        head.extend(header.part.to_le_bytes());
        head.extend(header.schema_version.to_le_bytes());
        head.extend(self.body.to_le_bytes());
        head.extend(crc32c::crc32c(&head).to_le_bytes());
        self.out[..HEADER].copy_from_slice(&head);
        Bytes::from(self.out)
    }
}

/// Checks a record's checksums and splits it.
pub(crate) fn open(record: &Bytes) -> Result<(Header, Bytes)> {
    let mut head = record.get(..HEADER).ok_or_else(|| corrupt("it is shorter than a header"))?;
    let crc = crc32c::crc32c(&record[..HEADER - 4]);
    if head.get_u32_le() != MAGIC {
        return Err(corrupt("it does not begin like one"));
    }
    let kind = match head.get_u32_le() {
        1 => Kind::Commit,
        2 => Kind::Part,
        3 => Kind::Forget,
        4 => Kind::Check,
        _ => return Err(corrupt("its kind is unknown")),
    };
    let header = Header {
        kind,
        epoch: Epoch(head.get_u64_le()),
        ts: CommitTs(head.get_u64_le()),
        transaction: head.get_u64_le(),
        group: GroupId(head.get_u32_le()),
        part: head.get_u32_le(),
        schema_version: head.get_u64_le(),
    };
    let (body_crc, head_crc) = (head.get_u32_le(), head.get_u32_le());
    let body = record.slice(HEADER..);
    if head_crc != crc || body_crc != crc32c::crc32c(&body) {
        return Err(corrupt("its checksum is wrong"));
    }
    Ok((header, body))
}

/// Whether installing the record may take long whatever its length: an index may be built over a whole table, and parts
/// that came before may hold anything.
pub(crate) fn takes_long(record: &Bytes) -> bool {
    let word = |at: usize| record.get(at..at + 4).map(|mut bytes| bytes.get_u32_le());
    let parts = word(PART_AT).is_some_and(|parts| parts > 0);
    word(KIND_AT) == Some(Kind::Commit.tag()) && (parts || record.get(HEADER) == Some(&CATALOG))
}

/// Reads a body, operation by operation.
pub(crate) struct Operations {
    body: Bytes,
}

impl Operations {
    pub fn new(body: Bytes) -> Self {
        Operations { body }
    }
}

impl Iterator for Operations {
    type Item = Result<Operation>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.body.is_empty() {
            return None;
        }
        let mut input = Input { body: &self.body, bytes: &self.body };
        let operation = input.operation();
        let left = input.bytes.len();
        match operation.is_ok() {
            true => self.body.advance(self.body.len() - left),
            false => self.body.clear(),
        }
        Some(operation)
    }
}

/// What is left to be read of a body.
struct Input<'a> {
    body: &'a Bytes,
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.bytes.split_at_checked(count).ok_or_else(|| corrupt("it ends too early"))?;
        self.bytes = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn varint(&mut self) -> Result<usize> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return usize::try_from(value).map_err(|_| corrupt("a length is too large"));
            }
        }
        Err(corrupt("a length does not end"))
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        let count = self.varint()?;
        self.take(count)
    }

    fn key(&mut self) -> Result<RowKey> {
        Ok(RowKey(SmallVec::from_slice(self.bytes()?)))
    }

    fn text(&mut self) -> Result<Arc<str>> {
        let text = std::str::from_utf8(self.bytes()?).map_err(|_| corrupt("a text is not UTF-8"))?;
        Ok(text.into())
    }

    fn operation(&mut self) -> Result<Operation> {
        let tag = self.byte()?;
        if tag == CATALOG {
            let changes = postcard::from_bytes(self.bytes()?).map_err(|e| corrupt(&e.to_string()))?;
            return Ok(Operation::Catalog(changes));
        }
        if tag == NOTIFY {
            let process = i32::from_le_bytes(self.array()?);
            let (database, channel, payload) = (self.text()?, self.text()?, self.text()?);
            return Ok(Operation::Notify(Notification { database, process, channel, payload }));
        }
        let table = Oid(u32::from_le_bytes(self.array()?));
        Ok(match tag {
            INSERT | INSERT_HIDDEN => {
                let key = if tag == INSERT_HIDDEN { Some(self.key()?) } else { None };
                let count = self.varint()?;
                let row = (0..count).map(|_| self.datum()).collect::<Result<Row>>()?;
                Operation::Insert { table, key, row }
            }
            UPDATE => {
                let key = self.key()?;
                let mut changes = SmallVec::new();
                loop {
                    match self.varint()? {
                        0 => break,
                        column => changes.push((column - 1, self.datum()?)),
                    }
                }
                Operation::Update { table, key, changes }
            }
            DELETE => Operation::Delete { table, key: self.key()? },
            BATCH => self.batch(table)?,
            SEQUENCE => {
                let last = i64::from_le_bytes(self.array()?);
                let flags = self.byte()?;
                Operation::Sequence { sequence: table, last, called: flags & 1 != 0, transactional: flags & 2 != 0 }
            }
            _ => return Err(corrupt("an operation is unknown")),
        })
    }

    fn batch(&mut self, table: Oid) -> Result<Operation> {
        let rows = self.varint()?;
        let hidden = match self.byte()? {
            0 => None,
            _ => Some((0..rows).map(|_| Ok(i64::from_le_bytes(self.array()?))).collect::<Result<Vec<_>>>()?),
        };
        let (columns, stored) = from_ipc(self.body.slice_ref(self.bytes()?))?;
        if stored != rows {
            return Err(corrupt("a batch has another number of rows"));
        }
        Ok(Operation::Batch { table, hidden, rows, columns })
    }

    fn datum(&mut self) -> Result<Datum> {
        codec::read(&mut self.bytes).ok_or_else(|| corrupt("a value cannot be read"))
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    codec::put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Columns (by attnum - 1) as an Arrow IPC stream whose fields are named by attnum.
pub(crate) fn to_ipc(columns: &[Option<ArrayRef>], rows: usize) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    write_ipc(columns, rows, &mut out).map_err(|e| Error::internal(e.to_string()))?;
    Ok(out)
}

/// The same, written to `out` from where the columns are.
pub(crate) fn write_ipc(columns: &[Option<ArrayRef>], rows: usize, out: impl Write) -> Result<(), ArrowError> {
    let present = || columns.iter().enumerate().filter_map(|(i, c)| Some((i + 1, c.as_ref()?)));
    let fields: Vec<Field> = present().map(|(a, c)| Field::new(a.to_string(), c.data_type().clone(), true)).collect();
    let arrays = present().map(|(_, c)| c.clone()).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?;
    let mut writer = StreamWriter::try_new(out, &schema)?;
    writer.write(&batch)?;
    writer.finish()
}

/// What [`to_ipc`] wrote, and the number of rows. The columns are parts of `bytes` where they are aligned there.
pub(crate) fn from_ipc(bytes: Bytes) -> Result<(Vec<Option<ArrayRef>>, usize)> {
    check_ipc(&bytes)?;
    let mut stream = Buffer::from(bytes);
    // Arrow panics on some streams that are well formed and contradict themselves.
    let read = move || StreamDecoder::new().decode(&mut stream);
    let batch = std::panic::catch_unwind(read).map_err(|_| corrupt("a batch contradicts itself"))?;
    let batch = batch.map_err(|e: ArrowError| corrupt(&e.to_string()))?;
    let batch = batch.ok_or_else(|| corrupt("a batch is empty"))?;
    let mut columns: Vec<Option<ArrayRef>> = Vec::new();
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        let attnum: usize = field.name().parse().map_err(|_| corrupt("a batch names no column"))?;
        let place = attnum.checked_sub(1).filter(|p| *p < 1 << 16).ok_or_else(|| corrupt("a column has no number"))?;
        if columns.len() <= place {
            columns.resize(place + 1, None);
        }
        columns[place] = Some(array.clone());
    }
    Ok((columns, batch.num_rows()))
}

/// The messages of a stream lie within it: the reader allocates what they announce.
fn check_ipc(body: &Bytes) -> Result<()> {
    const CONTINUATION: i32 = -1;
    let mut input = Input { body, bytes: body };
    while !input.bytes.is_empty() {
        let mut length = i32::from_le_bytes(input.array()?);
        if length == CONTINUATION {
            length = i32::from_le_bytes(input.array()?);
        }
        if length == 0 {
            return Ok(());
        }
        let metadata = input.take(usize::try_from(length).map_err(|_| corrupt("a length is negative"))?)?;
        let message = arrow::ipc::root_as_message(metadata).map_err(|e| corrupt(&e.to_string()))?;
        if message.header_as_record_batch().is_some_and(|batch| batch.compression().is_some()) {
            return Err(corrupt("a batch is compressed"));
        }
        input.take(usize::try_from(message.bodyLength()).map_err(|_| corrupt("a length is negative"))?)?;
    }
    Ok(())
}

fn corrupt(why: &str) -> Error {
    Error::new(SqlState::DataCorrupted, format!("a record of the log is corrupt: {why}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::types::Interval;
    use crate::types::numeric::Numeric;

    fn header() -> Header {
        Header {
            kind: Kind::Commit,
            epoch: Epoch(7),
            ts: CommitTs(99),
            transaction: 5,
            group: GroupId::FIRST,
            part: 2,
            schema_version: 11,
        }
    }

    fn sample() -> Bytes {
        let mut writer = RecordWriter::default();
        let row: Row = vec![
            Datum::Int4(1),
            Datum::Null,
            Datum::from("text"),
            Datum::Numeric(Box::new(Numeric::from_i128(-12345, 2))),
            Datum::from(vec![Datum::Int4(1), Datum::Null]),
            Datum::Interval(Interval { months: 1, days: -2, micros: 3 }),
        ]
        .into();
        writer.insert(Oid(5), None, &row);
        writer.insert(Oid(6), Some(&RowKey::hidden(3)), &row);
        writer.update(Oid(5), &RowKey::hidden(9), [(0, &row[0]), (2, &row[2])].into_iter());
        writer.delete(Oid(5), &RowKey::hidden(9));
        writer.sequence(Oid(8), -4, true, false);
        let array: ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![Some(1), None]));
        writer.batch(Oid(9), Some(&[4, 5]), 2, &[None, Some(array)]).unwrap();
        writer.seal().finish(&header())
    }

    #[test]
    fn operations_come_back() {
        let (read, body) = open(&sample()).unwrap();
        assert_eq!(read, header());
        let operations: Vec<Operation> = Operations::new(body).map(Result::unwrap).collect();
        assert_eq!(operations.len(), 6);
        let Operation::Insert { key: Some(key), row, .. } = &operations[1] else { panic!("{:?}", operations[1]) };
        assert_eq!((key.hidden_number(), row.len()), (Some(3), 6));
        assert_eq!(row[2], Datum::from("text"));
        let Operation::Batch { hidden: Some(hidden), columns, rows: 2, .. } = &operations[5] else { panic!() };
        assert_eq!((hidden.as_slice(), columns[0].is_none(), columns[1].is_some()), (&[4, 5][..], true, true));
    }

    #[test]
    fn changes_of_the_catalog_and_many_parts_take_long() {
        let record = |kind, part, catalog: bool| {
            let mut writer = RecordWriter::default();
            if catalog {
                writer.catalog(&[CatalogChange::Drop(Oid(5))]).unwrap();
            }
            writer.delete(Oid(5), &RowKey::hidden(9));
            writer.seal().finish(&Header { kind, part, ..header() })
        };
        assert!(takes_long(&record(Kind::Commit, 0, true)));
        assert!(takes_long(&record(Kind::Commit, 1, false)));
        assert!(!takes_long(&record(Kind::Commit, 0, false)));
        assert!(!takes_long(&record(Kind::Part, 3, true)), "it is only kept");
        let empty = RecordWriter::default().seal().finish(&Header { part: 0, ..header() });
        assert!(!takes_long(&empty) && !takes_long(&empty.slice(..20)));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let record = sample();
        for bit in 0..record.len() * 8 {
            let mut bytes = record.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&Bytes::from(bytes)).is_err(), "bit {bit}");
        }
        for length in 0..record.len() {
            assert!(open(&record.slice(..length)).is_err(), "cut at {length}");
        }
    }
}
