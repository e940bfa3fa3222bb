//! Batches from a seed: the same in the component and natively.

#![expect(clippy::expect_used, reason = "it makes what it expects")]

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_sdk::arrow::array::{
    Array, BinaryViewArray, Int64Array, RecordBatch, RecordBatchOptions, StringViewArray, make_array,
};
use tidegate_sdk::arrow::buffer::{
    ArrowNativeType, BooleanBuffer, Buffer, IntervalDayTime, IntervalMonthDayNano, NullBuffer, i256,
};
use tidegate_sdk::arrow::data::ArrayData;
use tidegate_sdk::arrow::schema::{DataType, Field, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit};

use crate::Config;

/// Which columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// A number and a text, which every sink takes.
    #[default]
    Plain,
    /// Four columns of eight bytes a row, without nulls.
    Numbers,
    /// As `Plain`, but the text is ASCII.
    Words,
    /// One column of every type that crosses.
    Every,
    /// Up to eight columns of random types, nested up to three deep.
    Random,
}

/// Every shape's first column is `id`: unique, and rising within a split.
pub fn schema(shape: Shape, seed: u64) -> SchemaRef {
    let mut fields = vec![Field::new("id", DataType::Int64, false)];
    match shape {
        Shape::Plain | Shape::Words => fields.extend([
            Field::new("amount", DataType::Float64, true),
            Field::new("label", DataType::Utf8, true),
        ]),
        Shape::Numbers => fields.extend(["a", "b", "c"].map(|name| Field::new(name, DataType::Int64, false))),
        Shape::Every => {
            let types = every_type();
            fields.extend(
                types.into_iter().enumerate().map(|(i, t)| Field::new(format!("c{i}"), t, i % 3 != 0)),
            );
        }
        Shape::Random => {
            let mut rng = Rng { state: seed, letters: ALL };
            let columns = 1 + rng.below(8);
            fields.extend((0..columns).map(|i| rng.field(format!("c{i}"), 3)));
        }
    }
    let metadata = [("seed".to_owned(), seed.to_string())];
    Arc::new(Schema::new_with_metadata(fields, metadata.into()))
}

/// The batch number `index` of a split. Every second one is a slice of a longer batch.
pub fn batch(schema: &SchemaRef, config: &Config, split: u64, index: u64) -> RecordBatch {
    let letters = if config.shape == Shape::Words { ASCII } else { ALL };
    let mut rng = Rng { state: config.seed ^ (split << 32) ^ index, letters };
    let (before, after) = if index % 2 == 1 { (3, 2) } else { (0, 0) };
    let rows = before + config.rows + after;
    let start = ((split * config.batches + index) * config.rows as u64) as i64 - before as i64;
    let id = Arc::new(Int64Array::from_iter_values(start..start + rows as i64));
    let others = schema.fields()[1..].iter().map(|field| make_array(rng.array(field, rows)));
    let columns = std::iter::once(id as _).chain(others).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(schema.clone(), columns, &options);
    batch.expect("columns have their fields' types").slice(before, config.rows)
}

fn leaves() -> Vec<DataType> {
    use DataType::*;
    use TimeUnit::*;
    vec![
        Null,
        Boolean,
        Int8,
        Int16,
        Int32,
        Int64,
        UInt8,
        UInt16,
        UInt32,
        UInt64,
        Float16,
        Float32,
        Float64,
        Decimal128(20, 4),
        Decimal128(38, -2),
        Decimal256(60, 10),
        Utf8,
        LargeUtf8,
        Utf8View,
        Binary,
        LargeBinary,
        BinaryView,
        FixedSizeBinary(7),
        Date32,
        Date64,
        Time32(Second),
        Time32(Millisecond),
        Time64(Microsecond),
        Time64(Nanosecond),
        Timestamp(Second, None),
        Timestamp(Millisecond, Some("Europe/Amsterdam".into())),
        Timestamp(Microsecond, Some("+05:30".into())),
        Timestamp(Nanosecond, None),
        Duration(Second),
        Duration(Millisecond),
        Duration(Microsecond),
        Duration(Nanosecond),
        Interval(IntervalUnit::YearMonth),
        Interval(IntervalUnit::DayTime),
        Interval(IntervalUnit::MonthDayNano),
    ]
}

fn indices() -> [DataType; 8] {
    use DataType::*;
    [Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64]
}

/// Leaves, a dictionary by every type of index, and one level of every nesting.
fn every_type() -> Vec<DataType> {
    let item = |data_type| Arc::new(Field::new("item", data_type, true));
    let dictionary = |index, values| DataType::Dictionary(Box::new(index), Box::new(values));
    let mut types = leaves();
    types.extend(indices().map(|index| dictionary(index, DataType::Utf8)));
    types.extend([
        dictionary(DataType::Int32, DataType::Utf8View),
        DataType::List(item(DataType::Int32)),
        DataType::LargeList(item(DataType::Utf8)),
        DataType::FixedSizeList(item(DataType::Utf8View), 3),
        DataType::Struct(Fields::from(vec![
            Field::new("a", DataType::Boolean, false),
            Field::new("b", DataType::List(item(dictionary(DataType::UInt8, DataType::Binary))), true),
        ])),
        DataType::Struct(Fields::empty()),
        map(Field::new("value", DataType::Decimal256(76, 0), true)),
    ]);
    types
}

fn map(value: Field) -> DataType {
    let entries = Fields::from(vec![Field::new("key", DataType::Utf8, false), value]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

/// SplitMix64 (Steele, Lea and Flood 2014): small, and the same everywhere.
struct Rng {
    state: u64,
    /// Of texts.
    letters: &'static [char],
}

const ASCII: &[char] = &['a', 'b', 'c', 'd', 'e', 'f', 'g', ' ', '-'];
const ALL: &[char] = &['a', 'b', ' ', '"', '\\', '\0', 'é', '→', '🌊'];

impl Rng {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }

    fn field(&mut self, name: impl Into<String>, depth: u32) -> Field {
        let nullable = self.below(3) > 0;
        let field = Field::new(name, self.data_type(depth), nullable);
        match self.below(4) {
            0 => field.with_metadata([("unit".to_owned(), "µm".to_owned())].into()),
            _ => field,
        }
    }

    fn data_type(&mut self, depth: u32) -> DataType {
        if depth == 0 {
            return self.pick(&leaves());
        }
        match self.below(12) {
            0 => DataType::List(Arc::new(self.field("item", depth - 1))),
            1 => DataType::LargeList(Arc::new(self.field("item", depth - 1))),
            2 => DataType::FixedSizeList(Arc::new(self.field("item", depth - 1)), 1 + self.below(3) as i32),
            3 | 4 => {
                let children = 1 + self.below(3);
                DataType::Struct((0..children).map(|i| self.field(format!("f{i}"), depth - 1)).collect())
            }
            5 => map(self.field("value", depth - 1)),
            6 => {
                let values = [DataType::Utf8, DataType::Utf8View, DataType::Int64, DataType::Date32];
                DataType::Dictionary(Box::new(self.pick(&indices())), Box::new(self.pick(&values)))
            }
            _ => self.pick(&leaves()),
        }
    }

    /// A quarter of the values null, or none.
    fn nulls(&mut self, field: &Field, length: usize) -> Option<NullBuffer> {
        let any = field.is_nullable() && self.below(4) > 0;
        any.then(|| NullBuffer::new(BooleanBuffer::collect_bool(length, |_| self.below(4) > 0)))
    }

    fn array(&mut self, field: &Field, length: usize) -> ArrayData {
        let data_type = field.data_type();
        let nulls = self.nulls(field, length);
        let builder = ArrayData::builder(data_type.clone()).len(length);
        let item = |data_type: &DataType| Field::new("values", data_type.clone(), false);
        let builder = match data_type {
            DataType::Null => return ArrayData::new_null(data_type, length),
            // Their buffers are the library's business.
            DataType::Utf8View => {
                let valid: Vec<_> =
                    (0..length).map(|i| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(i))).collect();
                return valid
                    .iter()
                    .map(|&valid| valid.then(|| self.text()))
                    .collect::<StringViewArray>()
                    .into_data();
            }
            DataType::BinaryView => {
                let valid: Vec<_> =
                    (0..length).map(|i| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(i))).collect();
                return valid
                    .iter()
                    .map(|&valid| valid.then(|| self.text()))
                    .collect::<BinaryViewArray>()
                    .into_data();
            }
            DataType::Boolean => {
                builder.add_buffer(BooleanBuffer::collect_bool(length, |_| self.below(2) == 0).into_inner())
            }
            DataType::Utf8 | DataType::Binary => {
                let texts: Vec<String> = (0..length).map(|_| self.text()).collect();
                let offsets = offsets::<i32>(texts.iter().map(String::len));
                builder.add_buffer(offsets).add_buffer(Buffer::from_vec(texts.concat().into_bytes()))
            }
            DataType::LargeUtf8 | DataType::LargeBinary => {
                let texts: Vec<String> = (0..length).map(|_| self.text()).collect();
                let offsets = offsets::<i64>(texts.iter().map(String::len));
                builder.add_buffer(offsets).add_buffer(Buffer::from_vec(texts.concat().into_bytes()))
            }
            DataType::FixedSizeBinary(size) => {
                builder.add_buffer(self.values(length * *size as usize, |rng| rng.next() as u8))
            }
            DataType::List(child) | DataType::Map(child, _) => {
                let lengths: Vec<usize> = (0..length).map(|_| self.below(4) as usize).collect();
                let offsets = offsets::<i32>(lengths.iter().copied());
                builder.add_buffer(offsets).add_child_data(self.array(child, lengths.iter().sum()))
            }
            DataType::LargeList(child) => {
                let lengths: Vec<usize> = (0..length).map(|_| self.below(4) as usize).collect();
                let offsets = offsets::<i64>(lengths.iter().copied());
                builder.add_buffer(offsets).add_child_data(self.array(child, lengths.iter().sum()))
            }
            DataType::FixedSizeList(child, size) => {
                builder.add_child_data(self.array(child, length * *size as usize))
            }
            DataType::Struct(fields) => fields
                .iter()
                .fold(builder, |builder, field| builder.add_child_data(self.array(field, length))),
            DataType::Dictionary(index, values) => {
                let size = 1 + self.below(5);
                builder
                    .add_buffer(self.indices(index, length, size))
                    .add_child_data(self.array(&item(values), size as usize))
            }
            _ => builder.add_buffer(self.primitive(data_type, length)),
        };
        builder.nulls(nulls).build().expect("generated arrays are valid")
    }

    fn indices(&mut self, index: &DataType, length: usize, limit: u64) -> Buffer {
        match index {
            DataType::Int8 | DataType::UInt8 => self.values(length, |rng| rng.below(limit) as u8),
            DataType::Int16 | DataType::UInt16 => self.values(length, |rng| rng.below(limit) as u16),
            DataType::Int32 | DataType::UInt32 => self.values(length, |rng| rng.below(limit) as u32),
            _ => self.values(length, |rng| rng.below(limit)),
        }
    }

    fn primitive(&mut self, data_type: &DataType, length: usize) -> Buffer {
        const DAY: i64 = 86_400;
        match data_type {
            DataType::Int8 | DataType::UInt8 => self.values(length, |rng| rng.next() as u8),
            DataType::Int16 | DataType::UInt16 => self.values(length, |rng| rng.next() as u16),
            // Without the highest bit of the exponent: neither infinite nor not a number.
            DataType::Float16 => self.values(length, |rng| rng.next() as u16 & 0xbfff),
            DataType::Int32 | DataType::UInt32 | DataType::Interval(IntervalUnit::YearMonth) => {
                self.values(length, |rng| rng.next() as u32)
            }
            DataType::Float32 => self.values(length, |rng| rng.next() as i32 as f32 / 1e3),
            DataType::Float64 => self.values(length, |rng| rng.next() as i64 as f64 / 1e6),
            DataType::Date32 => self.values(length, |rng| rng.below(40_000) as i32),
            DataType::Date64 => self.values(length, |rng| rng.below(40_000) as i64 * DAY * 1_000),
            DataType::Time32(unit) => {
                self.values(length, |rng| (rng.next() as i64).rem_euclid(DAY * per_second(*unit)) as i32)
            }
            DataType::Time64(unit) => {
                self.values(length, |rng| (rng.next() as i64).rem_euclid(DAY * per_second(*unit)))
            }
            DataType::Timestamp(unit, _) | DataType::Duration(unit) => self
                .values(length, |rng| rng.below(1 << 31) as i64 * per_second(*unit) + rng.below(10) as i64),
            DataType::Decimal128(_, _) => self.values(length, |rng| i128::from(rng.next() as i64)),
            DataType::Decimal256(_, _) => {
                self.values(length, |rng| i256::from_i128(i128::from(rng.next() as i64) << 60))
            }
            DataType::Interval(IntervalUnit::DayTime) => {
                self.values(length, |rng| IntervalDayTime::new(rng.next() as i32, rng.next() as i32))
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => self.values(length, |rng| {
                IntervalMonthDayNano::new(rng.next() as i32, rng.next() as i32, rng.next() as i64)
            }),
            _ => self.values(length, Rng::next),
        }
    }

    fn values<T: ArrowNativeType>(&mut self, length: usize, value: impl Fn(&mut Rng) -> T) -> Buffer {
        Buffer::from_vec((0..length).map(|_| value(self)).collect::<Vec<T>>())
    }

    /// Up to 30 characters of one to four bytes: some longer than a view holds in itself.
    fn text(&mut self) -> String {
        let length = self.below(31);
        (0..length).map(|_| self.pick(self.letters)).collect()
    }
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

fn offsets<O: ArrowNativeType>(lengths: impl IntoIterator<Item = usize>) -> Buffer {
    let mut end = 0;
    let ends = lengths.into_iter().map(|length| {
        end += length;
        O::usize_as(end)
    });
    Buffer::from_vec(std::iter::once(O::default()).chain(ends).collect::<Vec<O>>())
}
