//! From Arrow's arrays to nodes and buffers.

use arrow_array::cast::AsArray;
use arrow_array::types::{BinaryViewType, ByteArrayType, ByteViewType, StringViewType};
use arrow_array::{
    Array, ArrayRef, GenericByteArray, GenericByteViewArray, GenericListArray, OffsetSizeTrait, RecordBatch,
    downcast_dictionary_array, downcast_primitive_array,
};
use arrow_buffer::{ArrowNativeType, Buffer, NullBuffer, OffsetBuffer};
use arrow_schema::DataType;

use crate::batch::{Layout, Node};
use crate::{Fault, Result};

/// Lays a batch out. A slice is cut down to its own rows: views over a fraction of their data are rewritten,
/// offsets start at zero, everything else is a view of the same memory.
pub fn lower(batch: &RecordBatch) -> Result<Layout> {
    let mut layout = Layout { rows: batch.num_rows(), ..Layout::default() };
    for column in batch.columns() {
        layout.push(column)?;
    }
    Ok(layout)
}

impl Layout {
    fn push(&mut self, array: &dyn Array) -> Result<()> {
        if array.data_type() == &DataType::Null {
            self.nodes.push(Node { length: array.len() as u64, null_count: array.len() as u64 });
            return Ok(());
        }
        self.node(array.len(), array.nulls());
        downcast_primitive_array!(
            array => self.buffers.push(array.values().inner().clone()),
            DataType::Boolean => self.buffers.push(array.as_boolean().values().sliced()),
            DataType::FixedSizeBinary(_) => self.buffers.push(array.as_fixed_size_binary().values().clone()),
            DataType::Utf8 => self.bytes(array.as_string::<i32>()),
            DataType::LargeUtf8 => self.bytes(array.as_string::<i64>()),
            DataType::Binary => self.bytes(array.as_binary::<i32>()),
            DataType::LargeBinary => self.bytes(array.as_binary::<i64>()),
            DataType::Utf8View => self.views::<StringViewType>(array.as_byte_view()),
            DataType::BinaryView => self.views::<BinaryViewType>(array.as_byte_view()),
            DataType::List(_) => return self.list(array.as_list::<i32>()),
            DataType::LargeList(_) => return self.list(array.as_list::<i64>()),
            DataType::FixedSizeList(_, size) => {
                let length = array.len() * usize::try_from(*size).unwrap_or_default();
                return self.push(&array.as_fixed_size_list().values().slice(0, length));
            }
            DataType::Struct(_) => {
                for column in array.as_struct().columns() {
                    self.push(column)?;
                }
            }
            DataType::Map(_, _) => {
                let map = array.as_map();
                let (start, length) = self.offsets(map.offsets());
                return self.push(&map.entries().slice(start, length));
            }
            DataType::Dictionary(_, _) => return self.dictionary(array),
            other => return Err(Fault::internal("unsupported", format!("{other} does not cross"))),
        );
        Ok(())
    }

    fn node(&mut self, length: usize, nulls: Option<&NullBuffer>) {
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        let null_count = nulls.map_or(0, NullBuffer::null_count) as u64;
        self.nodes.push(Node { length: length as u64, null_count });
        self.buffers.push(nulls.map_or_else(Buffer::default, |nulls| nulls.inner().sliced()));
    }

    /// Adds offsets that start at zero; tells which part of the values they span.
    fn offsets<O: ArrowNativeType>(&mut self, offsets: &OffsetBuffer<O>) -> (usize, usize) {
        // An offset buffer has at least one element: for no rows, the place where they would be.
        let first = offsets.first().map_or(0, |offset| offset.as_usize());
        let last = offsets.last().map_or(0, |offset| offset.as_usize());
        self.buffers.push(if first == 0 {
            offsets.inner().inner().clone()
        } else {
            let rebased = offsets.iter().map(|offset| O::usize_as(offset.as_usize() - first));
            Buffer::from_vec(rebased.collect::<Vec<O>>())
        });
        (first, last - first)
    }

    fn bytes<T: ByteArrayType>(&mut self, array: &GenericByteArray<T>) {
        let (start, length) = self.offsets(array.offsets());
        self.buffers.push(array.values().slice_with_length(start, length));
    }

    fn views<T: ByteViewType>(&mut self, array: &GenericByteViewArray<T>) {
        let held: usize = array.data_buffers().iter().map(Buffer::len).sum();
        // A slice of a large array keeps all of its data; what is not looked at need not cross.
        let compact = (held > 2 * array.total_buffer_bytes_used()).then(|| array.gc());
        let array = compact.as_ref().unwrap_or(array);
        self.buffers.push(array.views().inner().clone());
        self.buffers.extend(array.data_buffers().iter().cloned());
        self.variadic.push(array.data_buffers().len() as u32);
    }

    fn list<O: OffsetSizeTrait>(&mut self, array: &GenericListArray<O>) -> Result<()> {
        let (start, length) = self.offsets(array.offsets());
        self.push(&array.values().slice(start, length))
    }

    /// The node and the validity are those of the indices.
    fn dictionary(&mut self, array: &dyn Array) -> Result<()> {
        let values: ArrayRef = downcast_dictionary_array!(
            array => {
                self.buffers.push(array.keys().values().inner().clone());
                array.values().clone()
            }
            other => return Err(Fault::internal("unsupported", format!("{other} does not cross"))),
        );
        self.push(&values)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Int32Type;
    use arrow_array::{BooleanArray, Int32Array, ListArray, StringArray, StringViewArray};

    use super::*;

    fn lowered(array: impl Array + 'static) -> Layout {
        let array: ArrayRef = Arc::new(array);
        lower(&RecordBatch::try_from_iter([("a", array)]).unwrap()).unwrap()
    }

    #[test]
    fn buffers_are_shared_and_cut_to_the_rows() {
        let numbers = Int32Array::from_iter_values(0..100);
        let layout = lowered(numbers.slice(10, 5));
        assert_eq!(layout.buffers[0].len(), 0, "no validity without nulls");
        assert_eq!(layout.buffers[1].typed_data::<i32>(), [10, 11, 12, 13, 14]);
        assert_eq!(layout.buffers[1].as_ptr(), numbers.values().inner()[40..].as_ptr());
    }

    #[test]
    fn offsets_of_slices_start_at_zero() {
        let layout = lowered(StringArray::from(vec!["one", "two", "three"]).slice(1, 2));
        assert_eq!(layout.buffers[1].typed_data::<i32>(), [0, 3, 8]);
        assert_eq!(layout.buffers[2].as_slice(), b"twothree");

        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([
            Some(vec![Some(1), Some(2)]),
            None,
            Some(vec![Some(3)]),
        ]);
        let layout = lowered(lists.slice(1, 2));
        assert_eq!(layout.buffers[1].typed_data::<i32>(), [0, 0, 1]);
        assert_eq!(layout.buffers[3].typed_data::<i32>(), [3]);
        assert_eq!((layout.nodes[0].length, layout.nodes[0].null_count, layout.nodes[1].length), (2, 1, 1));
    }

    #[test]
    fn bits_of_slices_start_at_zero() {
        let bits = BooleanArray::from(vec![Some(false), None, Some(true), Some(true)]).slice(1, 3);
        let layout = lowered(bits);
        assert_eq!((layout.buffers[0][0] & 7, layout.buffers[1][0] & 6), (0b110, 0b110));
    }

    #[test]
    fn a_slice_of_views_leaves_the_rest_behind() {
        let long = |i| format!("a text too long to be inlined, number {i}");
        let layout = lowered(StringViewArray::from_iter_values((0..100).map(long)).slice(3, 1));
        assert_eq!(layout.variadic, [1]);
        assert_eq!(layout.buffers[2].as_slice(), long(3).as_bytes());
    }
}
