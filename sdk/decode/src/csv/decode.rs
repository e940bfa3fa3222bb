//! The CSV decoder: blocks in, batches out.

use std::borrow::Cow;

use arrow_schema::{DataType, Field as ArrowField, SchemaRef};

use super::distinct_names;
use super::fields::{Nulls, Records, unquoted};
use super::scan::{Block, Scanner, Why};
use crate::column::{Absent, Column, Place, leaf};
use crate::decoder::{Decoded, Input, Reject};
use crate::table::{Found, Table};
use crate::{CsvOptions, Error, Result};

/// So many rejects end a batch, however few rows there are.
const REJECTS: usize = 1024;

/// Texts of one column are addressed with 31 bits.
const MAX_BATCH: usize = 1 << 30;

#[derive(Debug)]
pub struct CsvDecoder {
    schema: SchemaRef,
    delimiter: u8,
    nulls: Nulls,
    input: Input,
    stage: Stage,
    rejects: Vec<Reject>,
    notes: Vec<String>,
}

#[derive(Debug)]
enum Stage {
    /// The header has not been read.
    Header(Scanner),
    Body(Body),
}

#[derive(Debug)]
struct Body {
    scanner: Scanner,
    /// Fields of a record.
    width: usize,
    /// The field that each column reads.
    sources: Vec<usize>,
    table: Table,
}

impl CsvDecoder {
    pub fn new(options: &CsvOptions, schema: SchemaRef) -> Result<Self> {
        options.check()?;
        for field in schema.fields() {
            csv_column(field)?;
        }
        let mut decoder = Self {
            schema,
            delimiter: options.delimiter,
            nulls: Nulls::new(&options.null_tokens),
            input: Input::default(),
            stage: Stage::Header(Scanner::first(options.delimiter)),
            rejects: Vec::new(),
            notes: Vec::new(),
        };
        if !options.columns.is_empty() {
            decoder.stage = Stage::Body(decoder.body_by_name(&options.columns)?);
        } else if !options.header {
            let width = decoder.schema.fields().len();
            let sources: Vec<_> = (0..width).map(Some).collect();
            decoder.stage = Stage::Body(decoder.body(width, &sources)?);
        }
        Ok(decoder)
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
        let columns = match &self.stage {
            Stage::Header(_) => 0,
            Stage::Body(body) => body.table.size(),
        };
        self.input.len() + columns
    }

    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    pub fn next(&mut self, max_bytes: usize) -> Result<Option<Decoded>> {
        if !self.input.skip_byte_order_mark() {
            return Ok(None);
        }
        if matches!(self.stage, Stage::Header(_)) && !self.read_header()? {
            return Ok(None);
        }
        let max_bytes = max_bytes.clamp(1, MAX_BATCH);
        let Self { stage: Stage::Body(body), input, rejects, schema, nulls, .. } = self else {
            return Ok(None);
        };
        loop {
            if body.table.size() >= max_bytes || rejects.len() >= REJECTS {
                return body.emit(schema, rejects, input.position()).map(Some);
            }
            let Some(length) = body.scanner.scan(input.text(), input.finished())? else { return Ok(None) };
            if length == 0 {
                return if body.table.rows() == 0 && rejects.is_empty() {
                    Ok(None)
                } else {
                    body.emit(schema, rejects, input.position()).map(Some)
                };
            }
            body.append(length, input, nulls, rejects);
            body.scanner.reset();
            input.consume(length);
        }
    }

    /// False when it needs more bytes, or when there are none at all.
    fn read_header(&mut self) -> Result<bool> {
        let Stage::Header(scanner) = &mut self.stage else { return Ok(true) };
        let Some(length) = scanner.scan(self.input.text(), self.input.finished())? else { return Ok(false) };
        if length == 0 {
            return Ok(false);
        }
        let names = header_fields(scanner.block(), self.input.text())?;
        self.input.consume(length);
        match names {
            Some(names) => {
                self.stage = Stage::Body(self.body_by_name(&distinct_names(&names))?);
                Ok(true)
            }
            None => {
                // Empty lines before the header.
                scanner.reset();
                self.read_header()
            }
        }
    }

    fn body_by_name(&mut self, names: &[String]) -> Result<Body> {
        let place = |name: &str| names.iter().position(|given| given == name);
        let mut sources = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            let source = place(field.name());
            if source.is_none() && !field.is_nullable() {
                return Err(Error::content(format!(
                    "there is no column `{}`; there are {}",
                    field.name(),
                    listed(names.iter())
                )));
            }
            sources.push(source);
        }
        if sources.iter().all(Option::is_none) && !sources.is_empty() {
            return Err(Error::content(format!(
                "none of the expected columns is there: expected {}, found {}",
                listed(self.schema.fields().iter().map(|field| field.name())),
                listed(names.iter())
            )));
        }
        let extra = names.iter().filter(|name| self.schema.field_with_name(name).is_err());
        let extra = listed(extra);
        if !extra.is_empty() {
            self.notes.push(format!("left out, because the schema does not have them: {extra}"));
        }
        self.body(names.len(), &sources)
    }

    fn body(&self, width: usize, sources: &[Option<usize>]) -> Result<Body> {
        let columns = self.schema.fields().iter().zip(sources).map(|(field, source)| match source {
            Some(_) => csv_column(field),
            None => Ok(Box::new(Absent::new(field.data_type().clone(), None)) as Box<dyn Column>),
        });
        Ok(Body {
            scanner: Scanner::new(self.delimiter, width),
            width,
            sources: sources.iter().map(|source| source.unwrap_or(0)).collect(),
            table: Table::new(columns.collect::<Result<_>>()?),
        })
    }
}

impl Body {
    /// Adds the block of `length` bytes that the scanner found.
    fn append(&mut self, length: usize, input: &Input, nulls: &Nulls, rejects: &mut Vec<Reject>) {
        let text = &input.text()[..length];
        let Block { starts, ends, malformed } = self.scanner.block();
        let mut found: Vec<Found> = Vec::new();
        for line in malformed {
            let reason = match line.why {
                Why::Fields(fields) => format!("it has {fields} fields, not {}", self.width),
                Why::Unclosed => "a quoted field is never closed".into(),
            };
            found.push((line.start, reason, &text[line.start..line.end]));
        }
        let (starts, ends) = (Cow::Borrowed(starts.as_slice()), Cow::Borrowed(ends.as_slice()));
        let records = Records { text, starts, ends, width: self.width, sources: &self.sources, nulls };
        self.table.append(records, &mut found);
        rejects.extend(input.rejects(found));
    }

    fn emit(&mut self, schema: &SchemaRef, rejects: &mut Vec<Reject>, position: u64) -> Result<Decoded> {
        Ok(Decoded { batch: self.table.emit(schema)?, rejects: std::mem::take(rejects), position })
    }
}

/// A column that text can express.
fn csv_column(field: &ArrowField) -> Result<Box<dyn Column>> {
    let place = Place { name: field.name().clone(), nullable: field.is_nullable() };
    if *field.data_type() == DataType::Null {
        return Ok(Box::new(Absent::new(DataType::Null, None)));
    }
    leaf(field.data_type(), place).map_err(|place| {
        Error::options(format!("column `{}`: {} cannot be read from CSV", place.name, field.data_type()))
    })
}

/// The texts of a first record's fields, or `None` when the block has no record.
pub fn header_fields(block: &Block, text: &[u8]) -> Result<Option<Vec<String>>> {
    if !block.malformed.is_empty() {
        return Err(Error::content("a quote in the first record is never closed"));
    }
    let Some(mut start) = block.starts.first().map(|start| *start as usize) else { return Ok(None) };
    let mut texts = Vec::with_capacity(block.ends.len());
    for end in &block.ends {
        let raw = &text[start..*end as usize];
        let bytes = if raw.first() == Some(&b'"') { unquoted(raw) } else { raw.into() };
        let Ok(text) = String::from_utf8(bytes.into_owned()) else {
            return Err(Error::content("the first record is not UTF-8; is this a text file?"));
        };
        texts.push(text);
        start = *end as usize + 1;
    }
    Ok(Some(texts))
}

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
