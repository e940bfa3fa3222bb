//! What values take in memory once each stands on its own: views and dictionaries name the same bytes as
//! often as they like, and whoever unpacks them pays every time.

use arrow::array::{Array, ArrayData, RecordBatch};
use arrow::datatypes::{ArrowNativeType, DataType};

/// Bytes that a column of views or a dictionary becomes when it is unpacked; nothing for other types, which
/// share nothing. Children are not looked into.
pub(crate) fn unpacked(array: &ArrayData) -> u64 {
    match array.data_type() {
        // Also those of nulls: who makes room adds up all lengths.
        DataType::Utf8View | DataType::BinaryView => {
            let sizes = Sizes::of(array);
            sum((0..array.len()).map(|at| sizes.get(at)))
        }
        DataType::Dictionary(..) => sum(Keyed::of(array).into_iter().flat_map(Keyed::sizes)),
        _ => 0,
    }
}

/// Bytes of each row, unpacked.
pub(crate) fn rows(batch: &RecordBatch) -> Vec<u64> {
    let mut rows = vec![0_u64; batch.num_rows()];
    for column in batch.columns() {
        for (row, size) in rows.iter_mut().zip(each(&column.to_data())) {
            *row = row.saturating_add(size);
        }
    }
    rows
}

fn sum(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}

/// Bytes of each value, with what lies below it.
fn each(array: &ArrayData) -> Vec<u64> {
    let length = array.len();
    match (array.data_type(), array.child_data()) {
        (DataType::Dictionary(..), _) => {
            Keyed::of(array).map_or_else(|| vec![0; length], |keyed| keyed.sizes().collect())
        }
        (DataType::Struct(_), children) => {
            let mut sizes = vec![1_u64; length];
            for child in children {
                for (size, more) in sizes.iter_mut().zip(each(child).into_iter().skip(array.offset())) {
                    *size = size.saturating_add(more);
                }
            }
            sizes
        }
        (DataType::List(_) | DataType::Map(..), [items]) => listed(array.buffer::<i32>(0), length, items),
        (DataType::LargeList(_), [items]) => listed(array.buffer::<i64>(0), length, items),
        (DataType::FixedSizeList(_, size), [items]) => {
            let size = usize::try_from(*size).unwrap_or_default();
            let items = each(items);
            let from = array.offset();
            (from..from + length)
                .map(|at| sum(items.iter().skip(at.saturating_mul(size)).take(size).copied()))
                .collect()
        }
        _ => {
            let sizes = Sizes::of(array);
            (0..length).map(|at| sizes.get(at)).collect()
        }
    }
}

fn listed<T: ArrowNativeType>(offsets: &[T], length: usize, items: &ArrayData) -> Vec<u64> {
    let before: Vec<u64> = std::iter::once(0)
        .chain(each(items).into_iter().scan(0_u64, |sum, size| {
            *sum = sum.saturating_add(size);
            Some(*sum)
        }))
        .collect();
    let before = |offset: T| before.get(offset.as_usize()).copied().unwrap_or_default();
    let width = size_of::<T>() as u64;
    let sizes = offsets.windows(2).map(|pair| before(pair[1]).saturating_sub(before(pair[0])) + width);
    sizes.take(length).collect()
}

/// Sizes of values that have no children.
enum Sizes<'a> {
    Same(u64),
    Offsets(&'a [i32]),
    LargeOffsets(&'a [i64]),
    Views(&'a [u128]),
}

impl<'a> Sizes<'a> {
    fn of(array: &'a ArrayData) -> Self {
        match array.data_type() {
            DataType::Utf8 | DataType::Binary => Self::Offsets(array.buffer(0)),
            DataType::LargeUtf8 | DataType::LargeBinary => Self::LargeOffsets(array.buffer(0)),
            DataType::Utf8View | DataType::BinaryView => Self::Views(array.buffer(0)),
            other => Self::Same(tidegate_decode::width(other)),
        }
    }

    fn get(&self, at: usize) -> u64 {
        fn between<T: ArrowNativeType>(offsets: &[T], at: usize) -> u64 {
            match offsets.get(at..).unwrap_or_default() {
                [from, to, ..] => {
                    to.as_usize().saturating_sub(from.as_usize()) as u64 + size_of::<T>() as u64
                }
                _ => 0,
            }
        }
        match self {
            Self::Same(size) => *size,
            Self::Offsets(offsets) => between(offsets, at),
            Self::LargeOffsets(offsets) => between(offsets, at),
            // A view's lowest 32 bits are its length.
            Self::Views(views) => views
                .get(at)
                .map_or(0, |view| (view & u128::from(u32::MAX)) as u64 + size_of::<u128>() as u64),
        }
    }
}

/// A dictionary's keys and the sizes of what they name.
struct Keyed<'a> {
    array: &'a ArrayData,
    values: Sizes<'a>,
    distinct: usize,
}

impl<'a> Keyed<'a> {
    fn of(array: &'a ArrayData) -> Option<Self> {
        let values = array.child_data().first()?;
        Some(Self { array, values: Sizes::of(values), distinct: values.len() })
    }

    fn sizes(self) -> Box<dyn Iterator<Item = u64> + 'a> {
        fn keys<'a, T: ArrowNativeType>(array: &'a ArrayData) -> Box<dyn Iterator<Item = usize> + 'a> {
            Box::new(array.buffer::<T>(0).iter().take(array.len()).map(|key| key.as_usize()))
        }
        let array = self.array;
        let keys = match array.data_type() {
            DataType::Dictionary(key, _) => match key.primitive_width() {
                Some(1) => keys::<u8>(array),
                Some(2) => keys::<u16>(array),
                Some(4) => keys::<u32>(array),
                _ => keys::<u64>(array),
            },
            _ => Box::new(std::iter::empty()),
        };
        Box::new(keys.enumerate().map(move |(at, key)| {
            // What a null's key names is never copied.
            if array.is_null(at) || key >= self.distinct { 0 } else { self.values.get(key) }
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, DictionaryArray, Int64Array, ListArray, StringArray, StringViewArray};
    use arrow::datatypes::{Int8Type, Int32Type};

    use super::*;

    #[test]
    fn what_is_named_twice_counts_twice() {
        let dictionary: DictionaryArray<Int8Type> = [Some("aaaa"), None, Some("aaaa")].into_iter().collect();
        assert_eq!(unpacked(&dictionary.to_data()), 2 * (4 + 4));
        let views = StringViewArray::from_iter([Some("a".repeat(100)), None, Some("b".into())]);
        assert_eq!(unpacked(&views.to_data()), 101 + 3 * 16);
        assert_eq!(unpacked(&Int64Array::from(vec![1, 2]).to_data()), 0);
    }

    #[test]
    fn rows_weigh_what_their_columns_do() {
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([
            Some(vec![Some(1), Some(2)]),
            None,
            Some(vec![Some(3)]),
        ]);
        let columns: [(_, ArrayRef); 3] = [
            ("n", Arc::new(Int64Array::from(vec![1, 2, 3]))),
            ("t", Arc::new(StringArray::from(vec!["", "abc", "d"]))),
            ("l", Arc::new(lists)),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        assert_eq!(rows(&batch), [8 + 4 + 4 + 8, 8 + 4 + 3 + 4, 8 + 4 + 1 + 4 + 4]);
    }
}
