//! Invariant 4: record batches out of a guest's memory are checked before a byte is copied, copied once,
//! validated in full after.
//!
//! Nothing here may be skipped for speed. The lists come from somebody who may lie about every one of their
//! lengths, and may point many of them at the same memory.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{
    ArrayData, ArrayDataBuilder, ArrayRef, PrimitiveArray, RecordBatch, RecordBatchOptions, make_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, DecimalType, SchemaRef};
use tidegate_model::{Code, Fault, Result};

use crate::bindings::types::Node;
use crate::weight;

pub(crate) const MAX_ROWS: u64 = 1 << 20;
/// All buffers of a batch together, each counted as often as it is named. Also its views and dictionaries
/// together, once unpacked.
pub(crate) const MAX_BYTES: u64 = 64 << 20;
/// Buffers of a batch; a view column may have many.
pub(crate) const MAX_BUFFERS: usize = 1 << 16;
/// Values of one nested array: those of type null need no bytes, so the bytes do not bound them.
const MAX_VALUES: u64 = 1 << 26;

/// A batch as it stands in the guest's memory.
pub(crate) struct Raw<'a> {
    pub rows: u64,
    pub nodes: &'a [Node],
    pub buffers: &'a [&'a [u8]],
    pub variadic: &'a [u32],
}

/// Makes a batch of the schema agreed at open. The fault says which column is not what it should be.
pub(crate) fn assemble(schema: &SchemaRef, raw: &Raw<'_>) -> Result<RecordBatch> {
    if raw.rows > MAX_ROWS {
        return Err(bad(format!("{} rows are more than {MAX_ROWS}", raw.rows)));
    }
    let total = raw.buffers.iter().map(|buffer| buffer.len() as u64).sum::<u64>();
    if total > MAX_BYTES || raw.buffers.len() > MAX_BUFFERS {
        return Err(bad(format!("{total} bytes in {} buffers are too many", raw.buffers.len())));
    }
    // arrow's validation is meant to return errors; should it panic on something, only this batch is lost.
    catch_unwind(AssertUnwindSafe(|| build(schema, raw)))
        .unwrap_or_else(|_| Err(bad("its buffers make no sense at all")))
}

fn build(schema: &SchemaRef, raw: &Raw<'_>) -> Result<RecordBatch> {
    let mut parts = Parts {
        nodes: raw.nodes.iter(),
        buffers: raw.buffers.iter(),
        variadic: raw.variadic.iter(),
        unpacked: 0,
    };
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let column = parts
            .array(field.data_type(), Some(raw.rows))
            .map_err(|what| bad(format!("column `{}`: {what}", field.name())))?;
        columns.push(make_array(column));
    }
    parts.finish().map_err(bad)?;
    let rows = usize::try_from(raw.rows).map_err(|_| bad("too many rows"))?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| bad(error.to_string()))
}

fn bad(message: impl Into<String>) -> Fault {
    Fault::internal(
        Code::BadBatch,
        format!("the connector sent a batch that does not fit its schema: {}", message.into()),
    )
}

/// What is left of a batch, read depth first.
struct Parts<'a> {
    nodes: std::slice::Iter<'a, Node>,
    buffers: std::slice::Iter<'a, &'a [u8]>,
    variadic: std::slice::Iter<'a, u32>,
    /// Bytes of the views and dictionaries so far, once each value stands on its own.
    unpacked: u64,
}

type Told<T> = std::result::Result<T, String>;

impl Parts<'_> {
    /// The next array. `length` is what its parent demands, where it demands something.
    fn array(&mut self, data_type: &DataType, length: Option<u64>) -> Told<ArrayData> {
        let node = self.nodes.next().ok_or("a node is missing")?;
        if node.length > MAX_VALUES || node.null_count > node.length {
            return Err(format!("{} values, {} of them null", node.length, node.null_count));
        }
        if length.is_some_and(|length| length != node.length) {
            return Err(format!("{} values where {} belong", node.length, length.unwrap_or_default()));
        }
        let len = usize::try_from(node.length).map_err(|_| "too long".to_owned())?;
        let mut array = ArrayData::builder(data_type.clone()).len(len);
        if *data_type != DataType::Null {
            array = array.nulls(self.nulls(node, len)?);
        }
        let array = self.contents(array, data_type, len)?;
        let array = array.build().map_err(|error| error.to_string())?;
        check_decimals(data_type, &array)?;
        self.unpacked = self.unpacked.saturating_add(weight::unpacked(&array));
        if self.unpacked > MAX_BYTES {
            return Err(format!("{} bytes are too many once its values are unpacked", self.unpacked));
        }
        Ok(array)
    }

    fn nulls(&mut self, node: &Node, len: usize) -> Told<Option<NullBuffer>> {
        let bitmap = self.next()?;
        if node.null_count == 0 {
            return match bitmap {
                [] => Ok(None),
                _ => Err("a validity bitmap, but no nulls".into()),
            };
        }
        let bitmap = Buffer::from(wanted(bitmap, len.div_ceil(8))?);
        let nulls = NullBuffer::new(BooleanBuffer::new(bitmap, 0, len));
        if nulls.null_count() as u64 != node.null_count {
            return Err(format!("{} nulls where {} were announced", nulls.null_count(), node.null_count));
        }
        Ok(Some(nulls))
    }

    fn contents(
        &mut self,
        array: ArrayDataBuilder,
        data_type: &DataType,
        len: usize,
    ) -> Told<ArrayDataBuilder> {
        let offsets = len.checked_add(1).ok_or("too long")?;
        Ok(match data_type {
            DataType::Null => array,
            DataType::Boolean => array.add_buffer(self.copy(len.div_ceil(8))?),
            DataType::Utf8 | DataType::Binary => {
                array.add_buffer(self.offsets(len, offsets, 4)?).add_buffer(self.all()?)
            }
            DataType::LargeUtf8 | DataType::LargeBinary => {
                array.add_buffer(self.offsets(len, offsets, 8)?).add_buffer(self.all()?)
            }
            DataType::Utf8View | DataType::BinaryView => {
                let mut array = array.add_buffer(self.copy(sized(len, 16)?)?);
                for _ in 0..*self.variadic.next().ok_or("its number of data buffers is missing")? {
                    array = array.add_buffer(self.all()?);
                }
                array
            }
            DataType::FixedSizeBinary(width) => {
                let width = usize::try_from(*width).map_err(|_| "a negative width".to_owned())?;
                array.add_buffer(self.copy(sized(len, width)?)?)
            }
            DataType::List(child) => {
                let array = array.add_buffer(self.offsets(len, offsets, 4)?);
                array.add_child_data(self.array(child.data_type(), None)?)
            }
            DataType::LargeList(child) => {
                let array = array.add_buffer(self.offsets(len, offsets, 8)?);
                array.add_child_data(self.array(child.data_type(), None)?)
            }
            DataType::Map(entries, _) => {
                let array = array.add_buffer(self.offsets(len, offsets, 4)?);
                array.add_child_data(self.array(entries.data_type(), None)?)
            }
            DataType::FixedSizeList(child, size) => {
                let size = usize::try_from(*size).map_err(|_| "a negative size".to_owned())?;
                let items = sized(len, size)? as u64;
                array.add_child_data(self.array(child.data_type(), Some(items))?)
            }
            DataType::Struct(fields) => {
                let mut array = array;
                for field in fields {
                    let child = self
                        .array(field.data_type(), Some(len as u64))
                        .map_err(|what| format!("`{}`: {what}", field.name()))?;
                    array = array.add_child_data(child);
                }
                array
            }
            DataType::Dictionary(key, values) => {
                let width = key.primitive_width().ok_or("an index that is not a number")?;
                let array = array.add_buffer(self.copy(sized(len, width)?)?);
                array.add_child_data(self.array(values, None)?)
            }
            primitive => {
                let width = primitive
                    .primitive_width()
                    .ok_or_else(|| format!("{primitive} is not in the contract"))?;
                array.add_buffer(self.copy(sized(len, width)?)?)
            }
        })
    }

    fn next(&mut self) -> Told<&[u8]> {
        self.buffers.next().copied().ok_or_else(|| "a buffer is missing".to_owned())
    }

    /// The first `len` bytes of the next buffer, which must have them.
    fn copy(&mut self, len: usize) -> Told<Buffer> {
        Ok(Buffer::from(wanted(self.next()?, len)?))
    }

    fn all(&mut self) -> Told<Buffer> {
        Ok(Buffer::from(self.next()?))
    }

    /// Offsets may be left out of an array without values.
    fn offsets(&mut self, len: usize, count: usize, width: usize) -> Told<Buffer> {
        match self.next()? {
            [] if len == 0 => Ok(Buffer::from(vec![0_u8; width])),
            given => Ok(Buffer::from(wanted(given, sized(count, width)?)?)),
        }
    }

    fn finish(mut self) -> Told<()> {
        match (self.nodes.next(), self.buffers.next(), self.variadic.next()) {
            (None, None, None) => Ok(()),
            _ => Err("it has more nodes or buffers than the schema".into()),
        }
    }
}

fn sized(len: usize, width: usize) -> Told<usize> {
    len.checked_mul(width).ok_or_else(|| "too long".to_owned())
}

fn wanted(buffer: &[u8], len: usize) -> Told<&[u8]> {
    buffer.get(..len).ok_or_else(|| format!("a buffer of {} bytes where {len} are needed", buffer.len()))
}

/// Arrow's own validation lets a decimal have more digits than its type says.
fn check_decimals(data_type: &DataType, array: &ArrayData) -> Told<()> {
    fn fits<T: DecimalType>(array: &ArrayData, precision: u8) -> bool {
        let array = PrimitiveArray::<T>::from(array.clone());
        array.iter().flatten().all(|value| T::is_valid_decimal_precision(value, precision))
    }
    let fits = match data_type {
        DataType::Decimal128(precision, _) => fits::<Decimal128Type>(array, *precision),
        DataType::Decimal256(precision, _) => fits::<Decimal256Type>(array, *precision),
        _ => true,
    };
    if fits { Ok(()) } else { Err(format!("a value has more digits than {data_type} can have")) }
}

#[cfg(test)]
mod tests;
