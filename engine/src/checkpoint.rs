//! Checkpoints: the state at one position as files, and back. One Arrow IPC file a chunk, linked from the previous
//! checkpoint when it is there already, and a manifest that names everything.
//!
//! Invariants:
//! 1. A chunk file's name identifies its content; it is never written again under the same name.
//! 2. The manifest has the length and CRC-32C of every file, and its own at its end: any flipped bit is an error.
//! 3. What a checkpoint shows is exactly what was applied at its position, whatever is applied while it is written.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::{concat, take};
use arrow::error::ArrowError;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::catalog::{Catalog, Object, Oid};
use crate::commit_log::{Checkpoint, CheckpointError, Epoch, LogPosition};
use crate::direct;
use crate::error::Error;
use crate::pace::Pace;
use crate::parallel;
use crate::record::{from_ipc, write_ipc};
use crate::recovery::Listed;
use crate::storage::chunk::{Begins, Chunk, ChunkId};
use crate::storage::{CommitTs, Snapshot, Snapshots, State, Storage, Table};

pub(crate) const MANIFEST: &str = "manifest";
const MAGIC: &[u8; 8] = b"LSCKPT\x00\x01";

/// Hot chunks that are less full are copied: a chunk of its own for a few rows costs whoever scans.
const HOT_COPIED: f64 = 1.0 / 16.0;

/// Where in the log the state is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub position: LogPosition,
    pub epoch: Epoch,
    pub ts: CommitTs,
    /// Bodies of transactions whose commit record comes later.
    pub parts: Vec<(u64, Vec<Vec<u8>>)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    mark: Mark,
    objects: Vec<Object>,
    next_oid: Oid,
    version: u64,
    sequences: Vec<(Oid, i64, bool)>,
    tables: Vec<TableFiles>,
}

#[derive(Debug, Serialize, Deserialize)]
struct TableFiles {
    table: Oid,
    next_hidden: i64,
    chunks: Vec<ChunkFile>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ChunkFile {
    name: String,
    length: u64,
    crc: u32,
    rows: usize,
    hidden: bool,
    /// Rows of the file that the checkpoint does not have.
    dead: Vec<u32>,
}

/// The state at a position, held by references to its chunks; a few hot rows are copied, and more become a chunk.
pub(crate) struct Image {
    mark: Mark,
    state: Arc<State>,
    sequences: Vec<(Oid, i64, bool)>,
    tables: Vec<TableImage>,
    /// Keeps the ends of versions that the image shows.
    snapshot: Snapshot,
    snapshots: Arc<Snapshots>,
}

struct TableImage {
    table: Arc<Table>,
    next_hidden: i64,
    chunks: Vec<Arc<Chunk>>,
    /// Copies of the hot rows of each partition.
    hot: Vec<HotRows>,
}

/// Columns by attnum - 1, hidden keys, number of rows.
type HotRows = (Vec<Option<ArrayRef>>, Option<Vec<i64>>, usize);

impl Image {
    /// Called between two applies. After an error the state is not to be used any more.
    pub fn new(storage: &Storage, mark: Mark) -> Result<Image, Error> {
        let snapshot = storage.snapshot();
        let state = storage.state();
        let sequences = storage.sequences.read().iter().map(|(oid, (last, called))| (*oid, *last, *called)).collect();
        let tables = state.tables.values().map(|t| TableImage::new(t, snapshot.ts())).collect::<Result<_, _>>()?;
        Ok(Image { mark, state, sequences, tables, snapshot, snapshots: storage.snapshots.clone() })
    }

    fn write_files(self, dir: &Path, previous: Option<&Path>, due: &dyn Fn() -> f64) -> Result<(), CheckpointError> {
        let known = previous.map(known_files).unwrap_or_default();
        let dead = self.dead_rows();
        // Which rows end is known, and the rest does not change: versions need not be kept for as long as this takes.
        drop(self.snapshot);
        let mut pace = Pace::new(self.snapshots, bytes_to_write(&self.tables, &known), due);
        let mut tables = Vec::new();
        for (image, dead) in self.tables.iter().zip(dead) {
            let mut chunks = Vec::new();
            for (chunk, dead) in image.chunks.iter().zip(dead) {
                if dead.len() < chunk.rows {
                    let file = write_chunk(dir, previous, &known, chunk, &mut pace)?;
                    chunks.push(ChunkFile { dead, ..file });
                }
            }
            // One file for the hot rows of all partitions: a small table has nothing else.
            for (columns, hidden, rows) in joined(&image.hot).map_err(std::io::Error::other)? {
                chunks.push(write_rows(dir, &ChunkId::next(), &columns, hidden.as_deref(), rows, &mut pace)?);
            }
            tables.push(TableFiles { table: image.table.def.oid, next_hidden: image.next_hidden, chunks });
        }
        let catalog = &self.state.catalog;
        let manifest = Manifest {
            mark: self.mark.clone(),
            objects: catalog.objects(),
            next_oid: catalog.next_oid,
            version: catalog.version,
            sequences: self.sequences.clone(),
            tables,
        };
        write_manifest(dir, &manifest, &mut pace)
    }

    /// Rows that the checkpoint does not have, by table and chunk.
    fn dead_rows(&self) -> Vec<Vec<Vec<u32>>> {
        let ts = self.snapshot.ts();
        self.tables.iter().map(|image| image.chunks.iter().map(|chunk| dead_rows(chunk, ts)).collect()).collect()
    }
}

/// About as many bytes as the files that cannot be linked will have.
fn bytes_to_write(tables: &[TableImage], known: &HashMap<String, ChunkFile>) -> usize {
    let chunks = tables.iter().flat_map(|image| &image.chunks);
    let chunks: usize =
        chunks.filter(|chunk| !known.contains_key(&chunk.id.file_name())).map(|chunk| chunk.bytes).sum();
    let hot = tables.iter().flat_map(|image| &image.hot).flat_map(|(columns, ..)| columns.iter().flatten());
    chunks + hot.map(|column| column.get_array_memory_size()).sum::<usize>()
}

impl Checkpoint for Image {
    fn position(&self) -> LogPosition {
        self.mark.position
    }

    fn write(
        self: Box<Self>,
        dir: &Path,
        previous: Option<&Path>,
        due: &dyn Fn() -> f64,
    ) -> Result<(), CheckpointError> {
        self.write_files(dir, previous, due)?;
        File::open(dir)?.sync_all()?;
        Ok(())
    }
}

impl TableImage {
    fn new(table: &Arc<Table>, ts: CommitTs) -> Result<TableImage, Error> {
        let store = &table.store;
        let (mut chunks, mut hot) = (Vec::new(), Vec::new());
        for partition in &store.partitions {
            // Nothing is applied meanwhile: a commit would wait for as long as the copying takes.
            if partition.read().hot().is_some_and(|hot| hot.fullness() > HOT_COPIED) {
                partition.write().seal()?;
            }
            let partition = partition.read();
            chunks.extend(partition.chunks().map(|(_, chunk)| chunk.clone()));
            let Some(rows) = partition.hot() else { continue };
            let live = |row: &u32| rows.begins[*row as usize] <= ts.0 && rows.ends[*row as usize] > ts.0;
            let keep: Vec<u32> = (0..rows.rows() as u32).filter(live).collect();
            if keep.is_empty() {
                continue;
            }
            let gathered = rows.columns.iter().map(|c| c.as_ref().map(|c| c.gather(&keep)).transpose());
            let columns = gathered.collect::<Result<_, _>>().map_err(|e| Error::internal(e.to_string()))?;
            let hidden = rows.hidden.as_ref().map(|h| keep.iter().map(|r| h[*r as usize]).collect());
            hot.push((columns, hidden, keep.len()));
        }
        Ok(TableImage { table: table.clone(), next_hidden: store.hidden_watermark(), chunks, hot })
    }
}

/// All hot rows as one, or as they are if their columns differ.
fn joined(hot: &[HotRows]) -> Result<Vec<HotRows>, ArrowError> {
    let Some((first, ..)) = hot.first() else { return Ok(Vec::new()) };
    let present = |columns: &[Option<ArrayRef>]| columns.iter().map(Option::is_some).collect::<Vec<_>>();
    if hot.iter().any(|(columns, ..)| present(columns) != present(first)) {
        return Ok(hot.to_vec());
    }
    let column = |c: usize| {
        let parts: Vec<&dyn Array> = hot.iter().filter_map(|(columns, ..)| columns[c].as_deref()).collect();
        if parts.is_empty() { Ok(None) } else { concat(&parts).map(Some) }
    };
    let columns = (0..first.len()).map(column).collect::<Result<_, _>>()?;
    let hidden = hot.iter().filter_map(|(_, hidden, _)| hidden.as_ref()).flatten().copied().collect::<Vec<_>>();
    let rows = hot.iter().map(|(.., rows)| rows).sum();
    Ok(vec![(columns, (!hidden.is_empty()).then_some(hidden), rows)])
}

/// Rows of a chunk that a snapshot at `ts` does not see.
fn dead_rows(chunk: &Chunk, ts: CommitTs) -> Vec<u32> {
    let versions = chunk.versions.read();
    let dead = |row: &u32| versions.begin(*row as usize) > ts.0 || versions.ends.get(*row as usize) <= ts.0;
    (0..chunk.rows as u32).filter(dead).collect()
}

/// Files of an older checkpoint, by name. One that cannot be read has none.
fn known_files(dir: &Path) -> HashMap<String, ChunkFile> {
    let Ok(manifest) = read_manifest(dir) else { return HashMap::new() };
    manifest.tables.into_iter().flat_map(|t| t.chunks).map(|c| (c.name.clone(), c)).collect()
}

fn write_chunk(
    dir: &Path,
    previous: Option<&Path>,
    known: &HashMap<String, ChunkFile>,
    chunk: &Chunk,
    pace: &mut Pace<'_>,
) -> Result<ChunkFile, CheckpointError> {
    let name = chunk.id.file_name();
    if let (Some(file), Some(previous)) = (known.get(&name), previous)
        && fs::hard_link(previous.join(&name), dir.join(&name)).is_ok()
    {
        return Ok(file.clone());
    }
    write_rows(dir, &chunk.id, &chunk.columns, chunk.hidden.as_deref(), chunk.rows, pace)
}

fn write_rows(
    dir: &Path,
    id: &ChunkId,
    columns: &[Option<ArrayRef>],
    hidden: Option<&[i64]>,
    rows: usize,
    pace: &mut Pace<'_>,
) -> Result<ChunkFile, CheckpointError> {
    let name = id.file_name();
    let mut file = pace.create(&dir.join(&name))?;
    // Hidden keys lie before the columns.
    if let Some(numbers) = hidden {
        let keys: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        file.write_all(&keys)?;
    }
    write_ipc(columns, rows, &mut file).map_err(|error| match error {
        ArrowError::IoError(_, error) => error,
        other => std::io::Error::other(other.to_string()),
    })?;
    let (length, crc) = file.finish()?;
    Ok(ChunkFile { name, length, crc, rows, hidden: hidden.is_some(), dead: Vec::new() })
}

fn write_manifest(dir: &Path, manifest: &Manifest, pace: &mut Pace<'_>) -> Result<(), CheckpointError> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(postcard::to_stdvec(manifest).map_err(|e| std::io::Error::other(e.to_string()))?);
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    let mut file = pace.create(&dir.join(MANIFEST))?;
    file.write_all(&bytes)?;
    file.finish()?;
    Ok(())
}

fn read_manifest(dir: &Path) -> Result<Manifest, CheckpointError> {
    decode_manifest(&read(&dir.join(MANIFEST))?)
}

/// Where in the log the checkpoint is and what its files have to be, from the bytes of its manifest.
pub(crate) fn listed(manifest: &[u8]) -> Result<(Mark, Vec<Listed>), CheckpointError> {
    let manifest = decode_manifest(manifest)?;
    let files = manifest.tables.into_iter().flat_map(|table| table.chunks);
    let files = files.map(|file| Listed { name: file.name, length: file.length, crc: file.crc }).collect();
    Ok((manifest.mark, files))
}

fn decode_manifest(bytes: &[u8]) -> Result<Manifest, CheckpointError> {
    let (body, crc) = bytes.split_last_chunk::<4>().ok_or_else(|| corrupt("the manifest is too short"))?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
        return Err(corrupt("the manifest's checksum is wrong"));
    }
    let body = body.strip_prefix(MAGIC).ok_or_else(|| corrupt("the manifest is of another version"))?;
    postcard::from_bytes(body).map_err(|e| corrupt(format!("the manifest cannot be read: {e}")))
}

fn read(path: &Path) -> Result<Bytes, CheckpointError> {
    match direct::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(corrupt(format!("{} is missing", path.display()))),
        Err(e) => Err(e.into()),
    }
}

/// Reads everything and compares it with its checksums.
pub(crate) fn verify(dir: &Path) -> Result<(), CheckpointError> {
    let manifest = read_manifest(dir)?;
    manifest.tables.iter().flat_map(|table| &table.chunks).try_for_each(|file| read_chunk(dir, file).map(drop))
}

fn read_chunk(dir: &Path, file: &ChunkFile) -> Result<Bytes, CheckpointError> {
    let bytes = read(&dir.join(&file.name))?;
    if bytes.len() as u64 != file.length || crc32c::crc32c(&bytes) != file.crc {
        return Err(corrupt(format!("{} is damaged", file.name)));
    }
    Ok(bytes)
}

/// Replaces everything in `storage` by the checkpoint in `dir`. On an error nothing is replaced.
pub(crate) fn restore(storage: &Storage, dir: &Path) -> Result<Mark, CheckpointError> {
    let manifest = read_manifest(dir)?;
    let catalog = Catalog::from_objects(manifest.objects, manifest.next_oid, manifest.version);
    let mut tables = HashMap::new();
    for files in &manifest.tables {
        let def = catalog.any_table(files.table).ok_or_else(|| corrupt("a table is not in the catalog"))?;
        let layout = Arc::new(crate::storage::layout::Layout::new(def));
        let store = storage.new_store(def.storage, &layout);
        tables.insert(files.table, Arc::new(Table { def: def.clone(), store, layout }));
    }
    let chunks: Vec<(Oid, &ChunkFile)> =
        manifest.tables.iter().flat_map(|files| files.chunks.iter().map(|chunk| (files.table, chunk))).collect();
    load_chunks(dir, &tables, &chunks)?;
    for files in &manifest.tables {
        let Some(table) = tables.get(&files.table) else { continue };
        table.store.saw_hidden(files.next_hidden - 1);
        table.store.recount();
    }
    if let Some(lost) = catalog.all_tables().find(|table| !tables.contains_key(&table.oid)) {
        return Err(corrupt(format!("table {} has no rows listed", lost.oid.0)));
    }
    *storage.sequences.write() = manifest.sequences.iter().map(|(o, last, called)| (*o, (*last, *called))).collect();
    storage.set_state(State { catalog: Arc::new(catalog), tables, since: manifest.mark.ts });
    storage.snapshots.set_watermark(manifest.mark.ts);
    Ok(manifest.mark)
}

/// Reads the chunks on all cores: where a row belongs depends on its key alone.
fn load_chunks(
    dir: &Path,
    tables: &HashMap<Oid, Arc<Table>>,
    chunks: &[(Oid, &ChunkFile)],
) -> Result<(), CheckpointError> {
    parallel::for_each(
        chunks,
        || corrupt("reading it panicked"),
        |(table, file)| {
            let table = tables.get(table).ok_or_else(|| corrupt("a table is not in the catalog"))?;
            let bytes = read_chunk(dir, file)?;
            load_chunk(table, file, bytes).map_err(|e| corrupt(format!("{}: {}", file.name, e.message())))
        },
    )
}

fn load_chunk(table: &Table, file: &ChunkFile, mut ipc: Bytes) -> Result<(), Error> {
    let keys = if file.hidden { file.rows * 8 } else { 0 };
    if ipc.len() < keys {
        return Err(Error::internal("it is too short"));
    }
    let keys = ipc.split_to(keys);
    let (columns, rows) = from_ipc(ipc)?;
    if rows != file.rows {
        return Err(Error::internal("it has another number of rows"));
    }
    let mut dead = vec![false; rows];
    file.dead.iter().for_each(|row| dead.iter_mut().skip(*row as usize).take(1).for_each(|d| *d = true));
    let keep: Vec<u32> = (0..rows as u32).filter(|row| !dead[*row as usize]).collect();
    let numbers: Vec<i64> = keys.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect();
    let hidden = file.hidden.then(|| keep.iter().map(|r| numbers[*r as usize]).collect::<Vec<i64>>());
    let columns: Vec<Option<ArrayRef>> = if keep.len() == rows {
        columns
    } else {
        let indices = UInt32Array::from(keep.clone());
        let part = |c: Option<ArrayRef>| c.map(|c| take(&c, &indices, None)).transpose();
        let kept: Result<_, _> = columns.into_iter().map(part).collect();
        kept.map_err(|e: ArrowError| Error::internal(e.to_string()))?
    };
    for (column, array) in columns.iter().enumerate() {
        let wanted = table.layout.ty(column).map(|ty| ty.arrow());
        if let (Some(array), Some(wanted)) = (array, wanted)
            && *array.data_type() != wanted
        {
            return Err(Error::internal("a column has another type"));
        }
    }
    table.store.apply_batch(&columns, hidden.as_deref(), keep.len(), Begins::Frozen)
}

fn corrupt(why: impl Into<String>) -> CheckpointError {
    CheckpointError::Corrupt(why.into())
}
