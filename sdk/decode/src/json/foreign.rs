//! Types that JSON seldom has: binary, maps, decimals and others, read by Arrow's own reader.
//!
//! Values are read twice: once to find the bad ones, and once more when the batch is complete. Joining the
//! arrays of the first time would bring code for every type there is into every component.

use std::fmt;
use std::sync::Arc;

use arrow_array::{ArrayRef, new_empty_array};
use arrow_json::ReaderBuilder;
use arrow_json::reader::Decoder;
use arrow_schema::{ArrowError, Field as ArrowField, FieldRef, Schema};

use crate::column::{Bad, Column, Place, Values};
use crate::{Error, Result, width};

/// The one member of the records that are made for Arrow's reader.
const NAME: &str = "v";

pub struct Foreign {
    place: Place,
    field: FieldRef,
    /// One record for each row.
    records: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
}

impl Foreign {
    pub fn new(field: &ArrowField, place: Place) -> Result<Self> {
        let field = Arc::new(field.clone().with_name(NAME).with_nullable(place.nullable));
        let new = Self { place, field, records: Vec::new(), ends: Vec::new() };
        new.reader(0).map_err(|error| {
            Error::options(format!(
                "column `{}`: {} cannot be read from JSON: {}",
                new.place.name,
                new.field.data_type(),
                reason(error)
            ))
        })?;
        Ok(new)
    }

    fn reader(&self, rows: usize) -> Result<Decoder, ArrowError> {
        let schema = Arc::new(Schema::new(vec![Arc::clone(&self.field)]));
        ReaderBuilder::new(schema).with_coerce_primitive(true).with_batch_size(rows.max(1)).build_decoder()
    }

    /// The values of these records from row `first` on, or why there are none.
    fn read(&self, first: usize, last: usize) -> Result<ArrayRef, ArrowError> {
        let start = if first == 0 { 0 } else { self.ends[first - 1] };
        let end = if last == 0 { 0 } else { self.ends[last - 1] };
        let mut reader = self.reader(last - first)?;
        reader.decode(&self.records[start..end])?;
        let batch = reader.flush()?;
        Ok(batch.map_or_else(|| new_empty_array(self.field.data_type()), |batch| batch.column(0).clone()))
    }
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Foreign").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Column for Foreign {
    fn append(&mut self, values: &Values, bad: &mut Bad) {
        let Values::Json(values) = values else { return };
        let before = self.ends.len();
        for span in values.spans() {
            if span.is_null() {
                self.records.extend_from_slice(b"{}\n");
            } else {
                for part in [b"{\"v\":", span.written(values.text), b"}\n"] {
                    self.records.extend_from_slice(part);
                }
            }
            self.ends.push(self.records.len());
        }
        if self.read(before, self.ends.len()).is_ok() {
            return;
        }
        for row in before..self.ends.len() {
            if let Err(error) = self.read(row, row + 1) {
                bad.add(row - before, || format!("column `{}`: {}", self.place.name, reason(error)));
            }
        }
    }

    fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows);
        self.records.truncate(self.ends.last().copied().unwrap_or(0));
    }

    fn size(&self) -> usize {
        let width = usize::try_from(width(self.field.data_type())).unwrap_or(usize::MAX);
        self.records.len().saturating_add(self.ends.len().saturating_mul(width))
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let values = self.read(0, self.ends.len()).map_err(Error::internal)?;
        self.truncate(0);
        Ok(values)
    }
}

fn reason(error: ArrowError) -> String {
    let text = match error {
        ArrowError::JsonError(text) | ArrowError::ParseError(text) | ArrowError::NotYetImplemented(text) => {
            text
        }
        other => other.to_string(),
    };
    let own = format!("whilst decoding field '{NAME}': ");
    text.strip_prefix(&own).map_or_else(|| text.clone(), str::to_owned)
}
