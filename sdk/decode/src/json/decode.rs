//! The JSON decoder: blocks in, batches out.

use arrow_schema::SchemaRef;

use super::column::column;
use super::members::{Members, record};
use super::split::Splitter;
use crate::column::Values;
use crate::decoder::{Decoded, Input, Reject};
use crate::table::{Block, Found, Table};
use crate::{Result, row_width};

/// A block is as many records as it takes to reach either of these. It depends on the text alone, so that
/// batches do too.
const RECORDS: usize = 1024;
const BYTES: usize = 64 << 10;
/// So many rows or rejects end a batch, however small it is.
const ROWS: usize = 1 << 16;
const REJECTS: usize = 1024;
/// Texts of one column are addressed with 31 bits.
const MAX_BATCH: usize = 1 << 30;

#[derive(Debug)]
pub struct JsonDecoder {
    schema: SchemaRef,
    input: Input,
    splitter: Splitter,
    members: Members,
    table: Table,
    rejects: Vec<Reject>,
    /// Bytes of a row in which all is null, at least 1.
    row_width: usize,
    /// Records so far, when positions count these and not bytes.
    records: Option<u64>,
}

impl JsonDecoder {
    pub fn lines(schema: SchemaRef) -> Result<Self> {
        Self::new(schema, Splitter::lines(), None)
    }

    pub fn document(pointer: &str, schema: SchemaRef) -> Result<Self> {
        Self::new(schema, Splitter::document(pointer)?, Some(0))
    }

    fn new(schema: SchemaRef, splitter: Splitter, records: Option<u64>) -> Result<Self> {
        let columns = schema.fields().iter().map(|field| column(field, field.is_nullable(), ""));
        Ok(Self {
            table: Table::new(columns.collect::<Result<_>>()?),
            members: Members::new(schema.fields().iter().map(|field| field.name())),
            row_width: usize::try_from(row_width(schema.fields())).unwrap_or(usize::MAX).max(1),
            schema,
            input: Input::default(),
            splitter,
            rejects: Vec::new(),
            records,
        })
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.feed(bytes);
    }

    pub fn finish(&mut self) {
        self.input.finish();
    }

    pub fn buffered(&self) -> usize {
        self.input.len() + self.table.size()
    }

    pub fn next(&mut self, max_bytes: usize) -> Result<Option<Decoded>> {
        if !self.input.skip_byte_order_mark() {
            return Ok(None);
        }
        let enough = max_bytes.clamp(1, MAX_BATCH);
        // Even an empty record takes a row's width.
        let most = (enough / self.row_width).clamp(1, RECORDS);
        loop {
            let (rows, rejects) = (self.table.rows(), self.rejects.len());
            if self.table.size() >= enough || rows >= ROWS || rejects >= REJECTS {
                return self.emit().map(Some);
            }
            let scanned = self.splitter.scan(self.input.text(), self.input.finished(), most, BYTES)?;
            let Some(length) = scanned else { return Ok(None) };
            if length == 0 {
                return if rows + rejects == 0 { Ok(None) } else { self.emit().map(Some) };
            }
            self.append(length);
            if let Some(so_far) = &mut self.records {
                *so_far += self.splitter.records().len() as u64;
            }
            self.splitter.reset();
            self.input.consume(length);
        }
    }

    /// Adds the block of `length` bytes that the splitter found.
    fn append(&mut self, length: usize) {
        let Self { input, splitter, members, table, rejects, .. } = self;
        let text = &input.text()[..length];
        let mut found: Vec<Found> = Vec::new();
        let mut places = Vec::with_capacity(splitter.records().len());
        members.clear();
        for (start, end) in splitter.records() {
            members.add();
            match record(members, text, *start, *end) {
                Ok(()) => places.push((*start, *end)),
                Err(malformed) => {
                    members.remove();
                    found.push((*start, malformed.0, &text[*start..*end]));
                }
            }
        }
        table.append(Records { text, places, members }, &mut found);
        rejects.extend(input.rejects(found));
    }

    fn emit(&mut self) -> Result<Decoded> {
        Ok(Decoded {
            batch: self.table.emit(&self.schema)?,
            rejects: std::mem::take(&mut self.rejects),
            position: self.records.unwrap_or(self.input.position()),
        })
    }
}

struct Records<'t, 'a> {
    text: &'t [u8],
    /// First byte and one past the last byte of each.
    places: Vec<(usize, usize)>,
    members: &'a mut Members,
}

impl<'t> Block<'t> for Records<'t, '_> {
    fn rows(&self) -> usize {
        self.places.len()
    }

    fn text(&self) -> &'t [u8] {
        self.text
    }

    fn record(&self, row: usize) -> (usize, &'t [u8]) {
        let (start, end) = self.places[row];
        (start, &self.text[start..end])
    }

    fn values(&self, index: usize) -> Values<'_> {
        Values::Json(self.members.values(self.text, index))
    }

    fn keep(&mut self, rows: &[usize]) {
        self.places = rows.iter().map(|row| self.places[*row]).collect();
        self.members.keep(rows);
    }
}
