//! The two kinds of files that are staged: rows as Parquet, rejects as JSON lines. Both appear under their
//! name only when they are closed, and neither counts before a receipt names it.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use tidegate_model::{Code, Fault, Reject, Result};
use tokio::io::AsyncWriteExt;
use tokio::task::spawn_blocking;

use crate::document::{DataFile, RejectFile};
use crate::stats;
use crate::store::Table;

/// Invariant 12: a row group is closed at this many rows or encoded bytes, whichever comes first. An open
/// file holds one in memory, and for a moment three times that: with 32 MiB the process was 60 MB larger, and
/// no faster.
const GROUP_ROWS: usize = 1 << 20;
const GROUP_BYTES: usize = 8 << 20;

/// Encoded bytes are handed to the upload in pieces of at least this size.
const PIECE: usize = 1 << 20;

pub(crate) struct DataWriter {
    table: Table,
    path: Path,
    schema: SchemaRef,
    /// Away while it encodes on another thread; gone when that failed.
    encoder: Option<ArrowWriter<Vec<u8>>>,
    upload: BufWriter,
    rows: u64,
    bytes: u64,
}

impl DataWriter {
    /// `path`: relative to the table, and nobody else's, so that nobody ever writes over a file.
    pub(crate) fn create(table: &Table, path: Path, schema: &SchemaRef) -> Result<Self> {
        let properties = WriterProperties::builder()
            .set_created_by(concat!("tidegate ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_max_row_group_bytes(Some(GROUP_BYTES))
            .build();
        // The table's schema is in its log; a second one in Arrow's words could only differ.
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let encoder = ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), options)
            .map_err(|error| broken(&error))?;
        Ok(Self {
            upload: table.writer(&path),
            table: table.clone(),
            path,
            schema: schema.clone(),
            encoder: Some(encoder),
            rows: 0,
            bytes: 0,
        })
    }

    /// Rows and bytes of Arrow memory so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        self.bytes += memory(&batch);
        self.encode(move |encoder| encoder.write(&batch)).await?;
        let encoded = self.encoder.as_mut().map_or(0, |encoder| encoder.inner_mut().len());
        if encoded >= PIECE { self.send().await } else { Ok(()) }
    }

    /// Finishes the file and looks at what the store has.
    pub(crate) async fn close(mut self) -> Result<DataFile> {
        let metadata: ParquetMetaData = self.encode(ArrowWriter::finish).await?;
        self.send().await?;
        self.upload.shutdown().await.map_err(|error| self.lost(&error))?;
        let Some(stored) = self.table.head(&self.path).await? else {
            return Err(Fault::external(Code::StagedFileLost, format!("`{}` is gone", self.path)));
        };
        Ok(DataFile {
            path: self.path.to_string(),
            size: stored.size,
            modified: stored.last_modified.timestamp_millis(),
            rows: self.rows,
            bytes: self.bytes,
            stats: stats::of(&self.schema, &metadata),
        })
    }

    /// Encoding is work for a processor, so it must not hold up the runtime's other tasks.
    async fn encode<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut ArrowWriter<Vec<u8>>) -> Result<T, ParquetError> + Send + 'static,
    ) -> Result<T> {
        let Some(mut encoder) = self.encoder.take() else {
            return Err(Fault::internal(Code::Bug, "a staged file is used after it failed"));
        };
        let done = spawn_blocking(move || {
            let done = work(&mut encoder);
            (encoder, done)
        });
        let (encoder, done) = done.await.map_err(|error| Fault::internal(Code::Bug, error.to_string()))?;
        self.encoder = Some(encoder);
        done.map_err(|error| broken(&error))
    }

    async fn send(&mut self) -> Result<()> {
        let Some(encoder) = self.encoder.as_mut() else { return Ok(()) };
        let piece = Bytes::from(std::mem::take(encoder.inner_mut()));
        self.upload.put(piece).await.map_err(|error| self.table.fault(&error, "write", &self.path))
    }

    fn lost(&self, error: &std::io::Error) -> Fault {
        Fault::external(Code::SinkFailed, format!("cannot write `{}/{}`: {error}", self.table, self.path))
    }
}

pub(crate) struct RejectWriter {
    table: Table,
    path: Path,
    upload: BufWriter,
    rows: u64,
}

impl RejectWriter {
    pub(crate) fn create(table: &Table, path: Path) -> Self {
        Self { upload: table.writer(&path), table: table.clone(), path, rows: 0 }
    }

    pub(crate) async fn write(&mut self, records: &[Reject]) -> Result<()> {
        let mut lines = Vec::new();
        for record in records {
            serde_json::to_writer(&mut lines, record)
                .map_err(|error| Fault::internal(Code::Bug, error.to_string()))?;
            lines.push(b'\n');
        }
        self.rows += records.len() as u64;
        let sent = self.upload.put(Bytes::from(lines)).await;
        sent.map_err(|error| self.table.fault(&error, "write", &self.path))
    }

    pub(crate) async fn close(mut self) -> Result<RejectFile> {
        self.upload.shutdown().await.map_err(|error| {
            Fault::external(Code::SinkFailed, format!("cannot write `{}/{}`: {error}", self.table, self.path))
        })?;
        Ok(RejectFile { path: self.path.to_string(), rows: self.rows })
    }
}

/// Bytes that a batch's rows take. A batch may be a slice of something larger, which counts only in part.
fn memory(batch: &RecordBatch) -> u64 {
    let columns = batch.columns().iter();
    let sizes = columns.map(|column| {
        column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
    });
    sizes.sum::<usize>() as u64
}

fn broken(error: &ParquetError) -> Fault {
    Fault::internal(Code::Bug, format!("Parquet: {error}"))
}
