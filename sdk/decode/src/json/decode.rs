//! The JSON decoder: blocks in, batches out.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_json::ReaderBuilder;
use arrow_json::reader::Decoder as RowDecoder;
use arrow_schema::{ArrowError, SchemaRef};

use super::split::{RECORDS, Splitter};
use crate::decoder::{Decoded, Input, Reject};
use crate::{Error, Result, row_width};

/// Bounds of a batch's text, in bytes. Its rows take about as much memory, mostly less.
const TEXT: RangeInclusive<usize> = 64 << 10..=4 << 20;

#[derive(Debug)]
pub struct JsonDecoder {
    schema: SchemaRef,
    input: Input,
    splitter: Splitter,
    rows: RowDecoder,
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
        let row_width = usize::try_from(row_width(schema.fields())).unwrap_or(usize::MAX).max(1);
        Ok(Self {
            rows: row_decoder(&schema)?,
            row_width,
            schema,
            input: Input::default(),
            splitter,
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
        self.input.len()
    }

    pub fn next(&mut self, max_bytes: usize) -> Result<Option<Decoded>> {
        if !self.input.skip_byte_order_mark() {
            return Ok(None);
        }
        let enough = max_bytes.clamp(*TEXT.start(), *TEXT.end());
        // Even an empty record takes a row's width.
        let most = enough / self.row_width;
        loop {
            let scanned = self.splitter.scan(self.input.text(), self.input.finished(), most, enough)?;
            let Some(length) = scanned else { return Ok(None) };
            if length == 0 {
                return Ok(None);
            }
            let records = self.splitter.records().len();
            if records == 0 {
                self.input.consume(length);
                self.splitter.reset();
                continue;
            }
            let (batch, rejects) = self.decode()?;
            self.input.consume(length);
            self.splitter.reset();
            if let Some(so_far) = &mut self.records {
                *so_far += records as u64;
            }
            let position = self.records.unwrap_or(self.input.position());
            return Ok(Some(Decoded { batch, rejects, position }));
        }
    }

    /// The block's records.
    fn decode(&mut self) -> Result<(RecordBatch, Vec<Reject>)> {
        let mut good: Vec<usize> = (0..self.splitter.records().len()).collect();
        if let Ok(batch) = self.rows(&good) {
            return Ok((batch, Vec::new()));
        }
        let mut bad = Vec::new();
        self.find_bad(0..good.len(), &mut bad)?;
        let text = self.input.text();
        let found = bad.iter().map(|(record, reason)| {
            let (start, end) = self.splitter.records()[*record];
            (start, reason.clone(), &text[start..end])
        });
        let rejects = self.input.rejects(found.collect()).collect();
        good.retain(|record| bad.binary_search_by_key(record, |(bad, _)| *bad).is_err());
        self.rows = row_decoder(&self.schema)?;
        Ok((self.rows(&good).map_err(Error::internal)?, rejects))
    }

    /// The records that cannot be rows, and why, in order.
    fn find_bad(&mut self, range: Range<usize>, bad: &mut Vec<(usize, String)>) -> Result<()> {
        self.rows = row_decoder(&self.schema)?;
        let records: Vec<_> = range.clone().collect();
        let Err(reason) = self.rows(&records) else { return Ok(()) };
        if records.len() == 1 {
            bad.push((range.start, reason));
            return Ok(());
        }
        let middle = range.start + records.len() / 2;
        self.find_bad(range.start..middle, bad)?;
        self.find_bad(middle..range.end, bad)
    }

    /// One row for each of these records, or why not.
    fn rows(&mut self, records: &[usize]) -> Result<RecordBatch, String> {
        for record in records {
            let (start, end) = self.splitter.records()[*record];
            let mut text = &self.input.text()[start..end];
            while !text.is_empty() {
                let read = self.rows.decode(text).map_err(reason)?;
                if read == 0 {
                    return Err("it is more than one value".into());
                }
                text = &text[read..];
            }
        }
        let batch = match self.rows.flush().map_err(reason)? {
            Some(batch) => batch,
            None => RecordBatch::new_empty(Arc::clone(&self.schema)),
        };
        if batch.num_rows() == records.len() { Ok(batch) } else { Err("it is not exactly one value".into()) }
    }
}

fn row_decoder(schema: &SchemaRef) -> Result<RowDecoder> {
    // One row more than a block has: room to notice that there are more values than records.
    ReaderBuilder::new(Arc::clone(schema))
        .with_coerce_primitive(true)
        .with_batch_size(RECORDS + 1)
        .build_decoder()
        .map_err(|error| Error::options(format!("JSON cannot be read with this schema: {}", reason(error))))
}

fn reason(error: ArrowError) -> String {
    match error {
        ArrowError::JsonError(text) | ArrowError::ParseError(text) | ArrowError::NotYetImplemented(text) => {
            text
        }
        other => other.to_string(),
    }
}
