//! The host's native decoders, called kernels: the connector steers, the host carries. Needs a granted
//! capability of kind `decode`.
//!
//! The bytes never enter the connector, and decoded batches go to the output by handle. A record that cannot
//! be decoded is set aside with its position and the reason, and is kept beside the table.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};

use crate::bindings::tidegate::connector::{batches, decode as wit};
use crate::schema::{borrowed, flatten, unflatten};
use crate::{ByteStream, Result};

/// What a stream's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    Csv(CsvOptions),
    /// One JSON object a line.
    Ndjson,
    /// A document: the array of objects at this JSON pointer, or at the top when it is empty.
    Json(String),
    /// These row groups, or all when empty. The stream must come from `files` without range and compression.
    Parquet(Vec<u32>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOptions {
    /// One ASCII character.
    pub delimiter: char,
    /// The first record names the columns and is not data.
    pub header: bool,
    /// Names of the columns when the stream does not begin with a header, as a piece from the middle of a
    /// file does not. Empty: columns go by position.
    pub columns: Vec<String>,
    /// Unquoted fields that mean null.
    pub null_tokens: Vec<String>,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self { delimiter: ',', header: true, columns: Vec::new(), null_tokens: vec![String::new()] }
    }
}

/// What the first records look like.
#[derive(Debug, Clone)]
pub struct Inferred {
    pub schema: SchemaRef,
    /// Records looked at.
    pub rows: u64,
    /// What a person should know, such as why a column became text.
    pub notes: Vec<String>,
    /// Parquet: rows of each row group.
    pub row_groups: Vec<u64>,
}

/// The schema of a stream's first records (at most `max_bytes`, at most 16 MiB), or of a Parquet file's
/// footer.
pub fn infer(source: ByteStream, format: &Format, max_bytes: u32) -> Result<Inferred> {
    let source = source.into_inner()?;
    let inferred = format.borrowed(|format| wit::infer(source, format, max_bytes))?;
    Ok(Inferred {
        schema: Arc::new(unflatten(&inferred.schema)?),
        rows: inferred.rows,
        notes: inferred.notes,
        row_groups: inferred.row_groups,
    })
}

/// Positions at which a CSV or NDJSON stream can be cut so that every piece starts with a record: the first
/// boundary at or after each multiple of `every` bytes (at least 1 MiB). Reads the whole stream.
pub fn cuts(source: ByteStream, format: &Format, every: u64) -> Result<Vec<u64>> {
    let source = source.into_inner()?;
    Ok(format.borrowed(|format| wit::cuts(source, format, every))?)
}

/// A batch in the host, on its way to [`Output::write_decoded`](crate::Output::write_decoded).
#[derive(Debug)]
pub struct Decoded {
    pub(crate) handle: batches::BatchHandle,
    pub(crate) schema: SchemaRef,
    pub rows: u64,
    /// Records set aside while this batch was decoded.
    pub rejected: u64,
    /// Where the next record starts: a byte of the decompressed stream counted from where it was opened (CSV,
    /// NDJSON), else the number of rows so far.
    pub position: u64,
}

impl Decoded {
    /// Bytes in the host's memory.
    pub fn size(&self) -> u64 {
        self.handle.size()
    }
}

/// A kernel at work on a stream.
#[derive(Debug)]
pub struct Decoder {
    inner: wit::Decoder,
    schema: SchemaRef,
}

impl Decoder {
    /// Decodes records of `schema`: CSV by position, or by name when names are known; the others by name.
    /// Without a schema it is inferred, or taken from a Parquet file.
    pub fn open(source: ByteStream, format: &Format, schema: Option<&Schema>) -> Result<Self> {
        let source = source.into_inner()?;
        let flat = schema.map(flatten).transpose()?;
        let inner = format.borrowed(|format| match &flat {
            Some(flat) => borrowed(flat, |schema| wit::Decoder::open(source, format, Some(schema))),
            None => wit::Decoder::open(source, format, None),
        })?;
        let schema = Arc::new(match schema {
            Some(schema) => schema.clone(),
            None => unflatten(&inner.schema())?,
        });
        Ok(Self { inner, schema })
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next batch of about `max_bytes` in memory (64 KiB to 16 MiB); `None` at the end.
    pub fn next(&mut self, max_bytes: u32) -> Result<Option<Decoded>> {
        let decoded = self.inner.next(max_bytes)?;
        Ok(decoded.map(|decoded| Decoded {
            handle: decoded.batch,
            schema: self.schema.clone(),
            rows: decoded.rows,
            rejected: decoded.rejected,
            position: decoded.position,
        }))
    }
}

impl Format {
    fn borrowed<T>(&self, call: impl FnOnce(wit::Format<'_>) -> T) -> T {
        match self {
            Self::Csv(options) => {
                let columns: Vec<&str> = options.columns.iter().map(String::as_str).collect();
                let null_tokens: Vec<&str> = options.null_tokens.iter().map(String::as_str).collect();
                call(wit::Format::Csv(wit::CsvOptions {
                    delimiter: options.delimiter,
                    header: options.header,
                    columns: &columns,
                    null_tokens: &null_tokens,
                }))
            }
            Self::Ndjson => call(wit::Format::Ndjson),
            Self::Json(pointer) => call(wit::Format::Json(pointer)),
            Self::Parquet(row_groups) => call(wit::Format::Parquet(row_groups)),
        }
    }
}
