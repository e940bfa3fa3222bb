//! Numbers, dates, times, and true or false.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use arrow_array::builder::BooleanBufferBuilder;
use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{ArrayRef, BooleanArray, PrimitiveArray, new_null_array};
use arrow_buffer::ScalarBuffer;
use arrow_schema::DataType;

use super::{Bad, Column, Place, Source, Validity, Values};
use crate::field::Field;
use crate::{Error, Result, value};

/// How a value is read. A trait and not a function, so that it can be told to be part of its column's loop.
pub trait Parse: Send {
    type Type: ArrowPrimitiveType;

    fn parse(&self, field: Field) -> Option<<Self::Type as ArrowPrimitiveType>::Native>;
}

/// A value that is not written as what it means.
#[cold]
#[inline(never)]
fn indirectly<'t, P: Parse>(
    parse: &P,
    source: &impl Source<'t>,
    row: usize,
) -> Option<<P::Type as ArrowPrimitiveType>::Native> {
    source.get(row).and_then(|field| parse.parse(Field::from(&*field.plain())))
}

pub struct Primitive<P: Parse> {
    place: Place,
    /// What a value is, in words.
    expected: Cow<'static, str>,
    data_type: DataType,
    parse: P,
    values: Vec<<P::Type as ArrowPrimitiveType>::Native>,
    validity: Validity,
}

impl<P: Parse> Primitive<P> {
    pub fn new(place: Place, expected: impl Into<Cow<'static, str>>, data_type: DataType, parse: P) -> Self {
        let expected = expected.into();
        Self { place, expected, data_type, parse, values: Vec::new(), validity: Validity::default() }
    }
}

impl<P: Parse> Primitive<P> {
    /// One loop for each format, so that everything about a value is in it.
    fn fill<'t>(&mut self, source: &impl Source<'t>, bad: &mut Bad) {
        let Self { place, expected, parse, values, validity, .. } = self;
        let before = values.len();
        values.resize(before + source.rows(), Default::default());
        for (row, slot) in values[before..].iter_mut().enumerate() {
            let Some(field) = source.get(row) else {
                if !place.nullable {
                    bad.add(row, || place.null());
                }
                validity.null();
                continue;
            };
            let value = if field.is_plain() { parse.parse(field) } else { indirectly(parse, source, row) };
            match value {
                Some(value) => *slot = value,
                None => place.mismatched(source, row, expected, bad),
            }
            validity.value();
        }
    }
}

impl<P: Parse> fmt::Debug for Primitive<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Primitive")
            .field("place", &self.place)
            .field("data_type", &self.data_type)
            .finish_non_exhaustive()
    }
}

impl<P: Parse> Column for Primitive<P> {
    fn append(&mut self, values: &Values, bad: &mut Bad) {
        match values {
            Values::Csv(fields) => self.fill(fields, bad),
            Values::Json(spans) => self.fill(spans, bad),
        }
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.validity.truncate(rows);
    }

    fn size(&self) -> usize {
        size_of_val(self.values.as_slice()) + self.values.len() / 8
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let next = Vec::with_capacity(self.values.len());
        let values = ScalarBuffer::from(std::mem::replace(&mut self.values, next));
        let array =
            PrimitiveArray::<P::Type>::try_new(values, self.validity.finish()).map_err(Error::internal)?;
        Ok(Arc::new(array.with_data_type(self.data_type.clone())))
    }
}

pub struct Boolean {
    place: Place,
    values: BooleanBufferBuilder,
    validity: Validity,
}

impl Boolean {
    pub fn new(place: Place) -> Self {
        Self { place, values: BooleanBufferBuilder::new(0), validity: Validity::default() }
    }

    fn fill<'t>(&mut self, source: &impl Source<'t>, bad: &mut Bad) {
        let Self { place, values, validity } = self;
        for row in 0..source.rows() {
            let Some(field) = source.get(row) else {
                if !place.nullable {
                    bad.add(row, || place.null());
                }
                values.append(false);
                validity.null();
                continue;
            };
            let value = value::boolean(&field.plain()).unwrap_or_else(|| {
                place.mismatched(source, row, "true or false", bad);
                false
            });
            values.append(value);
            validity.value();
        }
    }
}

impl fmt::Debug for Boolean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Boolean").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Column for Boolean {
    fn append(&mut self, values: &Values, bad: &mut Bad) {
        match values {
            Values::Csv(fields) => self.fill(fields, bad),
            Values::Json(spans) => self.fill(spans, bad),
        }
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.validity.truncate(rows);
    }

    fn size(&self) -> usize {
        self.values.len() / 4
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(BooleanArray::new(self.values.finish(), self.validity.finish())))
    }
}

/// A column without values: the source does not have it, or no value has a type.
#[derive(Debug)]
pub struct Absent {
    data_type: DataType,
    /// Says so when there is a value after all.
    strict: Option<Place>,
    rows: usize,
}

impl Absent {
    pub fn new(data_type: DataType, strict: Option<Place>) -> Self {
        Self { data_type, strict, rows: 0 }
    }
}

impl Column for Absent {
    fn append(&mut self, values: &Values, bad: &mut Bad) {
        self.rows += values.rows();
        let (Some(place), Values::Json(spans)) = (&self.strict, values) else { return };
        for row in 0..spans.rows() {
            match spans.get(row) {
                Some(field) => bad.add(row, || place.mismatch(field, "null")),
                None if !place.nullable => bad.add(row, || place.null()),
                None => {}
            }
        }
    }

    fn truncate(&mut self, rows: usize) {
        self.rows = rows;
    }

    fn size(&self) -> usize {
        self.rows / 8
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(new_null_array(&self.data_type, std::mem::take(&mut self.rows)))
    }
}
