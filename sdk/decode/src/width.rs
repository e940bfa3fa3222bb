//! How much room a row takes whatever is in it.

use arrow_schema::{DataType, Fields};

/// Bytes that one row of these fields takes even when all of it is null. Validity is not counted.
pub fn row_width(fields: &Fields) -> u64 {
    fields.iter().fold(0, |sum, field| sum.saturating_add(width(field.data_type())))
}

/// Bytes that one value takes even when it is null.
pub fn width(data_type: &DataType) -> u64 {
    match data_type {
        DataType::Null => 0,
        DataType::Boolean => 1,
        DataType::Utf8 | DataType::Binary | DataType::List(_) | DataType::Map(..) => 4,
        DataType::LargeUtf8 | DataType::LargeBinary | DataType::LargeList(_) => 8,
        DataType::FixedSizeBinary(size) => u64::try_from(*size).unwrap_or_default(),
        DataType::FixedSizeList(item, size) => {
            u64::try_from(*size).unwrap_or_default().saturating_mul(width(item.data_type()))
        }
        DataType::Struct(fields) => row_width(fields),
        DataType::Dictionary(key, _) => width(key),
        other => other.primitive_width().map_or(16, |width| width as u64),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::Field;

    use super::*;

    #[test]
    fn fixed_sizes_multiply() {
        let wide = Arc::new(Field::new("item", DataType::FixedSizeBinary(1000), true));
        let fields = Fields::from(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("b", DataType::FixedSizeList(wide, 1000), true),
            Field::new("c", DataType::Utf8, true),
        ]);
        assert_eq!(row_width(&fields), 8 + 1_000_000 + 4);
    }
}
