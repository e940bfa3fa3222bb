//! Bytes in, batches out.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use crate::bytes::line_breaks;
use crate::csv::CsvDecoder;
use crate::json::JsonDecoder;
use crate::table::Found;
use crate::{Format, Result};

/// A batch, and the records set aside while it was decoded.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// May have no rows when there are rejects.
    pub batch: RecordBatch,
    pub rejects: Vec<Reject>,
    /// Where the next record starts. CSV and NDJSON: a byte, counted from the first one fed. JSON: the number
    /// of records so far, rejected ones included.
    pub position: u64,
}

/// A record that could not become a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The line it starts in, from 1, counted from the first byte fed.
    pub line: u64,
    /// The byte it starts at, counted from the first one fed.
    pub byte: u64,
    /// Such as ``column `dep_time`: `abc` is not an int64``, at most 4 KiB.
    pub reason: String,
    /// Its text, at most 4 KiB, with what is not UTF-8 replaced.
    pub raw: String,
}

impl Reject {
    pub(crate) fn new(line: u64, byte: u64, reason: String, raw: &[u8]) -> Self {
        const KEPT: usize = 4096;
        let clipped = |mut text: String| {
            text.truncate(text.floor_char_boundary(KEPT));
            text.shrink_to_fit();
            text
        };
        let raw = String::from_utf8_lossy(&raw[..raw.len().min(KEPT)]).into_owned();
        Self { line, byte, reason: clipped(reason), raw: clipped(raw) }
    }
}

pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Bytes that were fed and not decoded yet, and where in the stream they are.
#[derive(Debug, Default)]
pub(crate) struct Input {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are decoded.
    done: usize,
    /// Bytes of the stream that are decoded.
    position: u64,
    /// Line breaks among them.
    lines: u64,
    finished: bool,
}

impl Input {
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.done);
        self.done = 0;
        self.buffer.extend_from_slice(bytes);
    }

    pub fn finish(&mut self) {
        self.finished = true;
    }

    pub fn finished(&self) -> bool {
        self.finished
    }

    pub fn text(&self) -> &[u8] {
        &self.buffer[self.done..]
    }

    pub fn len(&self) -> usize {
        self.buffer.len() - self.done
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    /// Some writers begin a stream with one. False when it takes more bytes to know.
    pub fn skip_byte_order_mark(&mut self) -> bool {
        if self.position > 0 {
            return true;
        }
        if self.text().starts_with(BYTE_ORDER_MARK) {
            self.consume(BYTE_ORDER_MARK.len());
        }
        self.position > 0 || self.finished || self.len() >= BYTE_ORDER_MARK.len()
    }

    pub fn consume(&mut self, bytes: usize) {
        self.lines += line_breaks(&self.text()[..bytes]);
        self.done += bytes;
        self.position += bytes as u64;
    }

    /// Makes rejects of what was found in `text`: first byte there, reason, and the record; in order.
    pub fn rejects<'a>(&'a self, found: Vec<Found<'a>>) -> impl Iterator<Item = Reject> + 'a {
        let (mut line, mut counted) = (self.lines + 1, 0);
        found.into_iter().map(move |(start, reason, raw)| {
            line += line_breaks(&self.text()[counted..start]);
            counted = start;
            Reject::new(line, self.position + start as u64, reason, raw)
        })
    }
}

/// A decoder that is fed bytes.
///
/// ```
/// # use tidegate_decode::{Decoder, Format};
/// # use std::sync::Arc;
/// # use arrow_schema::{DataType, Field, Schema};
/// # let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
/// let mut decoder = Decoder::new(&Format::Ndjson, schema)?;
/// for chunk in ["{\"a\": 1}\n{\"a", "\": 2}\n"] {
///     decoder.feed(chunk.as_bytes());
///     assert!(decoder.next(1 << 20)?.is_none(), "more bytes may belong to the first batch");
/// }
/// decoder.finish();
/// assert_eq!(decoder.next(1 << 20)?.map(|decoded| decoded.batch.num_rows()), Some(2));
/// assert!(decoder.next(1 << 20)?.is_none());
/// # Ok::<(), tidegate_decode::Error>(())
/// ```
#[derive(Debug)]
pub struct Decoder(Inner);

#[derive(Debug)]
enum Inner {
    Csv(Box<CsvDecoder>),
    Json(Box<JsonDecoder>),
}

impl Decoder {
    /// CSV columns go by name where there are names (a header or `columns`), else by position; JSON goes by
    /// name. A nullable column that the source does not have is null. Refuses a type that the format cannot
    /// express.
    pub fn new(format: &Format, schema: SchemaRef) -> Result<Self> {
        Ok(Self(match format {
            Format::Csv(options) => Inner::Csv(Box::new(CsvDecoder::new(options, schema)?)),
            Format::Ndjson => Inner::Json(Box::new(JsonDecoder::lines(schema)?)),
            Format::Json { pointer } => Inner::Json(Box::new(JsonDecoder::document(pointer, schema)?)),
        }))
    }

    pub fn schema(&self) -> &SchemaRef {
        match &self.0 {
            Inner::Csv(csv) => csv.schema(),
            Inner::Json(json) => json.schema(),
        }
    }

    /// Keeps a copy of the bytes until they are decoded. Call [`next`](Self::next) until it has nothing
    /// before feeding more: then what is kept stays small.
    pub fn feed(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Inner::Csv(csv) => csv.feed(bytes),
            Inner::Json(json) => json.feed(bytes),
        }
    }

    /// There are no more bytes.
    pub fn finish(&mut self) {
        match &mut self.0 {
            Inner::Csv(csv) => csv.finish(),
            Inner::Json(json) => json.finish(),
        }
    }

    /// The next batch of about `max_bytes` in memory. `None`: it needs more bytes, or after
    /// [`finish`](Self::finish) that was all.
    pub fn next(&mut self, max_bytes: usize) -> Result<Option<Decoded>> {
        match &mut self.0 {
            Inner::Csv(csv) => csv.next(max_bytes),
            Inner::Json(json) => json.next(max_bytes),
        }
    }

    /// Bytes in memory: fed and not decoded yet, or decoded and not given out yet.
    pub fn buffered(&self) -> usize {
        match &self.0 {
            Inner::Csv(csv) => csv.buffered(),
            Inner::Json(json) => json.buffered(),
        }
    }

    /// What a person should know, such as columns of the source that the schema does not have. Complete after
    /// the first batch.
    pub fn notes(&self) -> &[String] {
        match &self.0 {
            Inner::Csv(csv) => csv.notes(),
            Inner::Json(_) => &[],
        }
    }
}
