//! A row by its content, to recognise it when a source sends it again.
//!
//! Two rows are the same when the same columns have the same values: the order of columns, columns that are
//! null, and the width of a type do not matter, so a table that gained a column or widened one still
//! recognises its rows. What is hashed is written down in tables, so it must not change.

use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, ListArray,
    MapArray, StringArray, StructArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, TimeUnit};
use arrow::record_batch::RecordBatch;
use sha2::{Digest, Sha256};
use tidegate_model::{Code, Fault, Result};

/// The first 16 bytes of a SHA-256.
pub(crate) type RowHash = u128;

/// Hashes the rows of one batch.
pub(crate) struct RowHasher {
    /// By name.
    columns: Vec<(String, Values)>,
    row: Vec<u8>,
}

/// A column in the widest type of its kind.
enum Values {
    Whole(Int64Array),
    Real(Float64Array),
    Decimal(Decimal128Array, i8),
    Truth(BooleanArray),
    Text(StringArray),
    Bytes(BinaryArray),
    List(ListArray, Box<Values>),
    Map(MapArray, Box<(Values, Values)>),
    Struct(StructArray, Vec<(String, Values)>),
}

impl RowHasher {
    pub(crate) fn new(batch: &RecordBatch) -> Result<Self> {
        let fields = batch.schema_ref().fields();
        let named = fields.iter().zip(batch.columns());
        let columns = named.map(|(field, column)| Ok((field.name().clone(), Values::of(column)?)));
        Ok(Self { columns: sorted(columns)?, row: Vec::new() })
    }

    pub(crate) fn hash(&mut self, row: usize) -> RowHash {
        self.row.clear();
        for (name, values) in &self.columns {
            if values.is_valid(row) {
                text(name, &mut self.row);
                values.put(row, &mut self.row);
            }
        }
        hash(&self.row)
    }
}

pub(crate) fn hash(bytes: &[u8]) -> RowHash {
    let digest = Sha256::digest(bytes);
    digest.iter().take(16).fold(0, |hash, byte| (hash << 8) | u128::from(*byte))
}

fn sorted(columns: impl Iterator<Item = Result<(String, Values)>>) -> Result<Vec<(String, Values)>> {
    let mut columns: Vec<_> = columns.collect::<Result<_>>()?;
    columns.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(columns)
}

fn text(text: &str, out: &mut Vec<u8>) {
    length(text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

fn length(length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&(length as u64).to_le_bytes());
}

impl Values {
    fn of(column: &dyn Array) -> Result<Self> {
        let widened = |data_type: &DataType| {
            cast(column, data_type).map_err(|error| Fault::internal(Code::Bug, error.to_string()))
        };
        Ok(match column.data_type() {
            DataType::Boolean => Self::Truth(column.as_boolean().clone()),
            whole if whole.is_signed_integer() => {
                Self::Whole(widened(&DataType::Int64)?.as_primitive::<Int64Type>().clone())
            }
            DataType::Float32 | DataType::Float64 => {
                Self::Real(widened(&DataType::Float64)?.as_primitive::<Float64Type>().clone())
            }
            DataType::Date32 => {
                let days = widened(&DataType::Int32)?;
                return Self::of(&days);
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Self::Whole(widened(&DataType::Int64)?.as_primitive::<Int64Type>().clone())
            }
            DataType::Decimal128(_, scale) => {
                Self::Decimal(column.as_primitive::<Decimal128Type>().clone(), *scale)
            }
            DataType::Utf8 => Self::Text(column.as_string::<i32>().clone()),
            DataType::Binary => Self::Bytes(column.as_binary::<i32>().clone()),
            DataType::List(_) => {
                let list = column.as_list::<i32>().clone();
                let items = Self::of(list.values())?;
                Self::List(list, Box::new(items))
            }
            DataType::Map(..) => {
                let map = column.as_map().clone();
                let entries = (Self::of(map.keys())?, Self::of(map.values())?);
                Self::Map(map, Box::new(entries))
            }
            DataType::Struct(fields) => {
                let parts = column.as_struct().clone();
                let named = fields.iter().zip(parts.columns());
                let inner = sorted(named.map(|(field, part)| Ok((field.name().clone(), Self::of(part)?))))?;
                Self::Struct(parts, inner)
            }
            other => {
                return Err(Fault::internal(Code::Bug, format!("rows with {other} cannot be recognised")));
            }
        })
    }

    fn array(&self) -> &dyn Array {
        match self {
            Self::Whole(array) => array,
            Self::Real(array) => array,
            Self::Decimal(array, _) => array,
            Self::Truth(array) => array,
            Self::Text(array) => array,
            Self::Bytes(array) => array,
            Self::List(array, _) => array,
            Self::Map(array, _) => array,
            Self::Struct(array, _) => array,
        }
    }

    fn is_valid(&self, row: usize) -> bool {
        self.array().is_valid(row)
    }

    /// A value with its kind and, where it has no fixed size, its length: no two values look alike.
    fn put(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Whole(array) => {
                out.push(b'i');
                out.extend_from_slice(&array.value(row).to_le_bytes());
            }
            Self::Real(array) => {
                let value = array.value(row);
                // One zero and one NaN.
                let value = if value == 0.0 { 0.0 } else { value };
                let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
                out.push(b'f');
                out.extend_from_slice(&bits.to_le_bytes());
            }
            Self::Decimal(array, scale) => {
                let (value, scale) = shortest(array.value(row), *scale);
                out.push(b'd');
                out.extend_from_slice(&scale.to_le_bytes());
                out.extend_from_slice(&value.to_le_bytes());
            }
            Self::Truth(array) => out.push(if array.value(row) { b'T' } else { b'F' }),
            Self::Text(array) => {
                out.push(b's');
                text(array.value(row), out);
            }
            Self::Bytes(array) => {
                out.push(b'b');
                length(array.value(row).len(), out);
                out.extend_from_slice(array.value(row));
            }
            Self::List(array, items) => {
                let (from, to) = (offset(array.value_offsets(), row), offset(array.value_offsets(), row + 1));
                out.push(b'l');
                length(to - from, out);
                (from..to).for_each(|item| items.put_nullable(item, out));
            }
            Self::Map(array, entries) => {
                let (from, to) = (offset(array.value_offsets(), row), offset(array.value_offsets(), row + 1));
                out.push(b'm');
                length(to - from, out);
                for entry in from..to {
                    entries.0.put_nullable(entry, out);
                    entries.1.put_nullable(entry, out);
                }
            }
            Self::Struct(_, inner) => {
                out.push(b'{');
                for (name, values) in inner.iter().filter(|(_, values)| values.is_valid(row)) {
                    text(name, out);
                    values.put(row, out);
                }
                out.push(b'}');
            }
        }
    }

    fn put_nullable(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_valid(row) { self.put(row, out) } else { out.push(b'0') }
    }
}

/// Arrow's offsets are never negative.
fn offset(offsets: &[i32], row: usize) -> usize {
    usize::try_from(offsets[row]).unwrap_or_default()
}

/// Without zeros at its end: 1.50 is 1.5.
fn shortest(mut value: i128, mut scale: i8) -> (i128, i8) {
    while scale > 0 && value % 10 == 0 {
        value /= 10;
        scale -= 1;
    }
    (value, scale)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float32Array, Int32Array};
    use arrow::datatypes::Int32Type;

    use super::*;

    fn only(columns: Vec<(&str, ArrayRef)>) -> RowHash {
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, column)| (name, column, true)),
        );
        RowHasher::new(&batch.unwrap()).unwrap().hash(0)
    }

    fn decimal(value: i128, scale: i8) -> ArrayRef {
        Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(20, scale).unwrap())
    }

    #[test]
    fn the_same_values_are_the_same_row() {
        let wide: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        let narrow: ArrayRef = Arc::new(Int32Array::from(vec![7]));
        let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
        let null: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
        let row = only(vec![("a", wide.clone()), ("b", text.clone())]);
        assert_eq!(row, only(vec![("b", text.clone()), ("a", narrow)]), "order and width");
        assert_eq!(row, only(vec![("a", wide.clone()), ("b", text.clone()), ("c", null)]), "a new column");
        assert_ne!(row, only(vec![("a", text), ("b", wide)]));
        let half: ArrayRef = Arc::new(Float32Array::from(vec![0.5]));
        assert_eq!(only(vec![("a", half)]), only(vec![("a", Arc::new(Float64Array::from(vec![0.5])))]));
        assert_eq!(only(vec![("a", decimal(150, 2))]), only(vec![("a", decimal(15, 1))]));
    }

    #[test]
    fn values_do_not_run_into_each_other() {
        let text = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value])) };
        assert_ne!(
            only(vec![("a", text("xb")), ("b", text("y"))]),
            only(vec![("a", text("x")), ("b", text("by"))])
        );
        let list = |items: Vec<Option<i32>>| -> ArrayRef {
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(items)]))
        };
        assert_ne!(only(vec![("a", list(vec![Some(1), None]))]), only(vec![("a", list(vec![Some(1)]))]));
        assert_eq!(
            only(vec![("a", list(vec![Some(1), None]))]),
            only(vec![("a", list(vec![Some(1), None]))])
        );
    }

    /// It is written down in tables: this number must never change.
    #[test]
    fn the_hash_is_the_one_that_tables_hold() {
        let row = only(vec![
            ("id", Arc::new(Int64Array::from(vec![1]))),
            ("name", Arc::new(StringArray::from(vec!["tide"]))),
        ]);
        assert_eq!(format!("{row:032x}"), "39c94b9f684e0a07e2bd0a9aba50ea9b");
    }
}
