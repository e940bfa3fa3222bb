//! Fields of one column into one Arrow array.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow_array::builder::BooleanBufferBuilder;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, BooleanArray, PrimitiveArray, StringArray, new_null_array};
use arrow_buffer::{Buffer, NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, TimeUnit};

use crate::{Error, Result, value};

/// The records of one block, cut into fields.
pub struct Records<'t, 'a> {
    pub text: &'t [u8],
    pub starts: &'a [u32],
    pub ends: &'a [u32],
    pub width: usize,
    pub nulls: &'a Nulls,
}

impl<'t> Records<'t, '_> {
    /// As it stands in the text, with its quotes.
    #[inline]
    pub fn raw(&self, row: usize, column: usize) -> &'t [u8] {
        let at = row * self.width + column;
        let start = if column == 0 { self.starts[row] } else { self.ends[at - 1] + 1 };
        &self.text[start as usize..self.ends[at] as usize]
    }

    pub fn record(&self, row: usize) -> &'t [u8] {
        let end = self.ends[(row + 1) * self.width - 1];
        &self.text[self.starts[row] as usize..end as usize]
    }

    /// Calls `take` with each row's field: `None` for null. Takes the fields as they stand but for quotes
    /// around them.
    #[inline(always)]
    fn each(&self, column: usize, mut take: impl FnMut(usize, Option<&[u8]>)) {
        let rows = self.ends.chunks_exact(self.width).enumerate();
        if column == 0 {
            for ((row, ends), start) in rows.zip(self.starts) {
                self.one(row, *start as usize, ends[0] as usize, &mut take);
            }
        } else {
            for (row, ends) in rows {
                self.one(row, ends[column - 1] as usize + 1, ends[column] as usize, &mut take);
            }
        }
    }

    #[inline(always)]
    fn one(&self, row: usize, start: usize, end: usize, take: &mut impl FnMut(usize, Option<&[u8]>)) {
        let raw = &self.text[start..end];
        if raw.first() == Some(&b'"') {
            take(row, Some(&unquoted(raw)));
        } else if self.nulls.contains(raw) {
            take(row, None);
        } else {
            take(row, Some(raw));
        }
    }
}

/// A quoted field's text. What follows the closing quote is taken as it is.
pub fn unquoted(raw: &[u8]) -> Cow<'_, [u8]> {
    if let [b'"', inner @ .., b'"'] = raw
        && !inner.contains(&b'"')
    {
        return Cow::Borrowed(inner);
    }
    let mut text = Vec::with_capacity(raw.len());
    let mut rest = &raw[1..];
    while let Some(at) = rest.iter().position(|byte| *byte == b'"') {
        text.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        if rest.first() == Some(&b'"') {
            text.push(b'"');
            rest = &rest[1..];
        } else {
            break;
        }
    }
    text.extend_from_slice(rest);
    Cow::Owned(text)
}

/// Unquoted fields that mean null.
#[derive(Debug)]
pub struct Nulls {
    empty: bool,
    others: Vec<Vec<u8>>,
}

impl Nulls {
    pub fn new(tokens: &[String]) -> Self {
        let others = tokens.iter().filter(|token| !token.is_empty());
        Self {
            empty: tokens.iter().any(String::is_empty),
            others: others.map(|token| token.clone().into_bytes()).collect(),
        }
    }

    #[inline]
    pub fn contains(&self, field: &[u8]) -> bool {
        match field.first() {
            None => self.empty,
            Some(first) => self.others.iter().any(|token| token[0] == *first && token == field),
        }
    }
}

/// Rows of a block that a column could not take, and why. The first reason stands.
#[derive(Default)]
pub struct Bad(pub BTreeMap<usize, String>);

impl Bad {
    #[cold]
    pub fn add(&mut self, row: usize, reason: impl FnOnce() -> String) {
        self.0.entry(row).or_insert_with(reason);
    }
}

/// Which rows have a value. Runs of values, which most columns are, cost next to nothing.
#[derive(Default)]
struct Validity {
    builder: Option<NullBufferBuilder>,
    /// Rows with a value that the builder does not know of yet.
    run: usize,
}

impl Validity {
    #[inline]
    fn value(&mut self) {
        self.run += 1;
    }

    fn null(&mut self) {
        let builder = self.builder.get_or_insert_with(|| NullBufferBuilder::new(0));
        builder.append_n_non_nulls(std::mem::take(&mut self.run));
        builder.append_null();
    }

    fn truncate(&mut self, rows: usize) {
        let known = self.builder.as_ref().map_or(0, NullBufferBuilder::len);
        if rows >= known {
            self.run = rows - known;
        } else if let Some(builder) = &mut self.builder {
            builder.truncate(rows);
            self.run = 0;
        }
    }

    fn finish(&mut self) -> Option<NullBuffer> {
        let run = std::mem::take(&mut self.run);
        let mut builder = self.builder.take()?;
        builder.append_n_non_nulls(run);
        builder.finish()
    }
}

/// One column under construction.
pub trait Column: Send + fmt::Debug {
    /// Adds the block's rows, each with a value, null, or anything at all where it is `bad`.
    fn append(&mut self, records: &Records, bad: &mut Bad);
    fn truncate(&mut self, rows: usize);
    /// Bytes in memory.
    fn size(&self) -> usize;
    /// What was added since the last time.
    fn finish(&mut self) -> Result<ArrayRef>;
}

/// Reads field number `source` of each record as `field`'s type; `None` is a column of nulls.
pub fn column(field: &Field, source: Option<usize>) -> Result<Box<dyn Column>> {
    let Some(source) = source else {
        return Ok(Box::new(Absent { data_type: field.data_type().clone(), rows: 0 }));
    };
    let place = Place { source, name: field.name().clone(), nullable: field.is_nullable() };
    macro_rules! primitive {
        ($type:ty, $expected:expr, $parse:expr) => {
            Ok(Box::new(Primitive::<$type, _> {
                expected: $expected.into(),
                data_type: field.data_type().clone(),
                parse: $parse,
                values: Vec::new(),
                validity: Validity::default(),
                place,
            }))
        };
    }
    macro_rules! timestamp {
        ($type:ty, $per_second:literal, $zone:expr) => {{
            let zoned = $zone.is_some();
            let expected = if zoned {
                concat!(
                    "a timestamp with its offset from UTC and at most 1/",
                    $per_second,
                    " s, such as 2013-01-31T06:00:00Z"
                )
            } else {
                concat!(
                    "a timestamp without a time zone and at most 1/",
                    $per_second,
                    " s, such as 2013-01-31 06:00:00"
                )
            };
            primitive!($type, expected, move |text: &[u8]| ticks(text, zoned, $per_second))
        }};
    }
    match field.data_type() {
        DataType::Int64 => primitive!(Int64Type, "an int64", |text: &[u8]| value::integer(text)),
        DataType::Int32 => {
            primitive!(Int32Type, "an int32", |text: &[u8]| value::integer(text)?.try_into().ok())
        }
        DataType::Int16 => {
            primitive!(Int16Type, "an int16", |text: &[u8]| value::integer(text)?.try_into().ok())
        }
        DataType::Int8 => {
            primitive!(Int8Type, "an int8", |text: &[u8]| value::integer(text)?.try_into().ok())
        }
        DataType::UInt64 => primitive!(UInt64Type, "a uint64", value::unsigned),
        DataType::UInt32 => {
            primitive!(UInt32Type, "a uint32", |text: &[u8]| value::unsigned(text)?.try_into().ok())
        }
        DataType::UInt16 => {
            primitive!(UInt16Type, "a uint16", |text: &[u8]| value::unsigned(text)?.try_into().ok())
        }
        DataType::UInt8 => {
            primitive!(UInt8Type, "a uint8", |text: &[u8]| value::unsigned(text)?.try_into().ok())
        }
        DataType::Float64 => primitive!(Float64Type, "a float64", value::float),
        DataType::Float32 => {
            primitive!(Float32Type, "a float32", |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok())
        }
        DataType::Date32 => primitive!(Date32Type, "a date, such as 2013-01-31", value::date),
        DataType::Timestamp(TimeUnit::Second, zone) => timestamp!(TimestampSecondType, 1, zone),
        DataType::Timestamp(TimeUnit::Millisecond, zone) => timestamp!(TimestampMillisecondType, 1_000, zone),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            timestamp!(TimestampMicrosecondType, 1_000_000, zone)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            timestamp!(TimestampNanosecondType, 1_000_000_000, zone)
        }
        DataType::Decimal128(precision, scale) => {
            let (precision, scale) = (*precision, *scale);
            let expected = format!("a decimal of {precision} digits, {scale} of them after the point");
            primitive!(Decimal128Type, expected, move |text: &[u8]| value::decimal(text, precision, scale))
        }
        DataType::Boolean => Ok(Box::new(Boolean {
            values: BooleanBufferBuilder::new(0),
            validity: Validity::default(),
            place,
        })),
        DataType::Utf8 => Ok(Box::new(Text::new(place))),
        DataType::Null => Ok(Box::new(Absent { data_type: DataType::Null, rows: 0 })),
        other => Err(Error::options(format!("column `{}`: {other} cannot be read from CSV", field.name()))),
    }
}

/// In units of 1 s / `per_second`; nothing is rounded.
#[inline]
fn ticks(text: &[u8], zoned: bool, per_second: i64) -> Option<i64> {
    let at = value::timestamp(text).filter(|at| at.zoned == zoned)?;
    let nanoseconds_per_tick = 1_000_000_000 / per_second;
    let nanoseconds = i64::from(at.nanoseconds);
    if nanoseconds % nanoseconds_per_tick != 0 {
        return None;
    }
    at.seconds.checked_mul(per_second)?.checked_add(nanoseconds / nanoseconds_per_tick)
}

/// Where a column's fields are, and what is said when one is wrong.
#[derive(Debug)]
struct Place {
    source: usize,
    name: String,
    nullable: bool,
}

impl Place {
    fn mismatch(&self, text: &[u8], expected: &str) -> String {
        let shown: String = String::from_utf8_lossy(text).chars().take(100).collect();
        format!("column `{}`: `{shown}` is not {expected}", self.name)
    }

    fn null(&self) -> String {
        format!("column `{}`: there is no value, and the schema demands one", self.name)
    }
}

/// Numbers, dates and times.
struct Primitive<T: ArrowPrimitiveType, P> {
    place: Place,
    /// What a value is, in words.
    expected: Cow<'static, str>,
    data_type: DataType,
    parse: P,
    values: Vec<T::Native>,
    validity: Validity,
}

impl<T: ArrowPrimitiveType, P> fmt::Debug for Primitive<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Primitive")
            .field("place", &self.place)
            .field("data_type", &self.data_type)
            .finish_non_exhaustive()
    }
}

impl<T: ArrowPrimitiveType, P: Fn(&[u8]) -> Option<T::Native> + Send> Column for Primitive<T, P> {
    fn append(&mut self, records: &Records, bad: &mut Bad) {
        let Self { place, expected, parse, values, validity, .. } = self;
        let before = values.len();
        values.resize(before + records.starts.len(), T::default_value());
        let slots = &mut values[before..];
        records.each(place.source, |row, text| match text {
            Some(text) => {
                match parse(text) {
                    Some(value) => slots[row] = value,
                    None => bad.add(row, || place.mismatch(text, expected)),
                }
                validity.value();
            }
            None => {
                if !place.nullable {
                    bad.add(row, || place.null());
                }
                validity.null();
            }
        });
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
        let array = PrimitiveArray::<T>::try_new(values, self.validity.finish()).map_err(Error::internal)?;
        Ok(Arc::new(array.with_data_type(self.data_type.clone())))
    }
}

struct Boolean {
    place: Place,
    values: BooleanBufferBuilder,
    validity: Validity,
}

impl fmt::Debug for Boolean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Boolean").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Column for Boolean {
    fn append(&mut self, records: &Records, bad: &mut Bad) {
        let Self { place, values, validity } = self;
        records.each(place.source, |row, text| match text {
            Some(text) => {
                let value = value::boolean(text).unwrap_or_else(|| {
                    bad.add(row, || place.mismatch(text, "true or false"));
                    false
                });
                values.append(value);
                validity.value();
            }
            None => {
                if !place.nullable {
                    bad.add(row, || place.null());
                }
                values.append(false);
                validity.null();
            }
        });
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

struct Text {
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
    fn new(place: Place) -> Self {
        Self { place, bytes: Vec::new(), offsets: vec![0], validity: Validity::default() }
    }
}

impl Column for Text {
    fn append(&mut self, records: &Records, bad: &mut Bad) {
        let Self { place, bytes, offsets, validity } = self;
        offsets.reserve(records.starts.len());
        records.each(place.source, |row, text| {
            match text {
                Some(text) => {
                    bytes.extend_from_slice(text);
                    validity.value();
                }
                None => {
                    if !place.nullable {
                        bad.add(row, || place.null());
                    }
                    validity.null();
                }
            }
            offsets.push(bytes.len() as i32);
        });
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

/// A column that the source does not have.
#[derive(Debug)]
struct Absent {
    data_type: DataType,
    rows: usize,
}

impl Column for Absent {
    fn append(&mut self, records: &Records, _: &mut Bad) {
        self.rows += records.starts.len();
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
