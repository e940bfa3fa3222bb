//! Text.

use std::fmt;
use std::sync::Arc;

use arrow_array::{ArrayRef, StringArray};
use arrow_buffer::{Buffer, OffsetBuffer};

use super::{Bad, Column, Place, Source, Validity, Values};
use crate::field::Form;
use crate::{Error, Result};

#[cold]
#[inline(never)]
fn append_plain<'t>(source: &impl Source<'t>, row: usize, bytes: &mut Vec<u8>) {
    if let Some(field) = source.get(row) {
        bytes.extend_from_slice(&field.plain());
    }
}

pub struct Text {
    place: Place,
    bytes: Vec<u8>,
    /// One more than there are rows.
    offsets: Vec<i32>,
    validity: Validity,
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Text {
    pub fn new(place: Place) -> Self {
        Self { place, bytes: Vec::new(), offsets: vec![0], validity: Validity::default() }
    }

    fn fill<'t>(&mut self, source: &impl Source<'t>, bad: &mut Bad) {
        let Self { place, bytes, offsets, validity } = self;
        let before = offsets.len();
        offsets.resize(before + source.rows(), 0);
        for (row, slot) in offsets[before..].iter_mut().enumerate() {
            match source.get(row) {
                Some(field) => {
                    match field.form {
                        Form::Text | Form::Bare => field.append_to(bytes),
                        Form::Nested => place.mismatched(source, row, "text, a number, true or false", bad),
                        Form::Quoted | Form::Escaped => append_plain(source, row, bytes),
                    }
                    validity.value();
                }
                None => {
                    if !place.nullable {
                        bad.add(row, || place.null());
                    }
                    validity.null();
                }
            }
            *slot = bytes.len() as i32;
        }
    }
}

impl Column for Text {
    fn append(&mut self, values: &Values, bad: &mut Bad) {
        match values {
            Values::Csv(fields) => self.fill(fields, bad),
            Values::Json(spans) => self.fill(spans, bad),
        }
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.bytes.truncate(self.offsets[rows] as usize);
        self.validity.truncate(rows);
    }

    fn size(&self) -> usize {
        self.bytes.len() + size_of_val(&self.offsets[1..]) + self.offsets.len() / 8
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let mut offsets = Vec::with_capacity(self.offsets.len());
        offsets.push(0);
        let offsets = std::mem::replace(&mut self.offsets, offsets);
        let next = Vec::with_capacity(self.bytes.len());
        let bytes = Buffer::from(std::mem::replace(&mut self.bytes, next));
        let array = StringArray::try_new(OffsetBuffer::new(offsets.into()), bytes, self.validity.finish());
        Ok(Arc::new(array.map_err(Error::internal)?))
    }
}
