//! How people read a type.

use arrow_schema::{DataType, IntervalUnit, TimeUnit};

/// A type as Arrow's documentation writes it, such as `string`, `timestamp[us, tz=UTC]` or `list<int64>`. The
/// crates' own names of the same types, such as `Utf8`, mean nothing to whoever does not write Rust.
#[must_use]
pub fn type_name(data_type: &DataType) -> String {
    use DataType as D;
    let simple = match data_type {
        D::Null => "null",
        D::Boolean => "bool",
        D::Int8 => "int8",
        D::Int16 => "int16",
        D::Int32 => "int32",
        D::Int64 => "int64",
        D::UInt8 => "uint8",
        D::UInt16 => "uint16",
        D::UInt32 => "uint32",
        D::UInt64 => "uint64",
        D::Float16 => "float16",
        D::Float32 => "float32",
        D::Float64 => "float64",
        D::Utf8 => "string",
        D::LargeUtf8 => "large_string",
        D::Utf8View => "string_view",
        D::Binary => "binary",
        D::LargeBinary => "large_binary",
        D::BinaryView => "binary_view",
        D::Date32 => "date32",
        D::Date64 => "date64",
        D::Interval(IntervalUnit::YearMonth) => "month_interval",
        D::Interval(IntervalUnit::DayTime) => "day_time_interval",
        D::Interval(IntervalUnit::MonthDayNano) => "month_day_nano_interval",
        D::Time32(of) => return format!("time32[{}]", unit(*of)),
        D::Time64(of) => return format!("time64[{}]", unit(*of)),
        D::Duration(of) => return format!("duration[{}]", unit(*of)),
        D::Timestamp(of, None) => return format!("timestamp[{}]", unit(*of)),
        D::Timestamp(of, Some(zone)) => return format!("timestamp[{}, tz={zone}]", unit(*of)),
        D::FixedSizeBinary(size) => return format!("fixed_size_binary[{size}]"),
        D::Decimal32(precision, scale) => return format!("decimal32({precision}, {scale})"),
        D::Decimal64(precision, scale) => return format!("decimal64({precision}, {scale})"),
        D::Decimal128(precision, scale) => return format!("decimal128({precision}, {scale})"),
        D::Decimal256(precision, scale) => return format!("decimal256({precision}, {scale})"),
        D::List(item) => return format!("list<{}>", type_name(item.data_type())),
        D::LargeList(item) => return format!("large_list<{}>", type_name(item.data_type())),
        D::ListView(item) => return format!("list_view<{}>", type_name(item.data_type())),
        D::LargeListView(item) => return format!("large_list_view<{}>", type_name(item.data_type())),
        D::FixedSizeList(item, size) => {
            return format!("fixed_size_list<{}>[{size}]", type_name(item.data_type()));
        }
        D::Struct(fields) => return format!("struct<{}>", named(fields.iter().map(AsRef::as_ref))),
        D::Map(entries, _) => return format!("map<{}>", key_and_value(entries.data_type())),
        D::Union(fields, _) => {
            return format!("union<{}>", named(fields.iter().map(|(_, field)| field.as_ref())));
        }
        D::Dictionary(index, value) => {
            return format!("dictionary<values={}, indices={}>", type_name(value), type_name(index));
        }
        D::RunEndEncoded(ends, values) => {
            let (ends, values) = (type_name(ends.data_type()), type_name(values.data_type()));
            return format!("run_end_encoded<run_ends={ends}, values={values}>");
        }
    };
    simple.to_owned()
}

fn unit(of: TimeUnit) -> &'static str {
    match of {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}

fn named<'a>(fields: impl Iterator<Item = &'a arrow_schema::Field>) -> String {
    let fields = fields.map(|field| format!("{}: {}", field.name(), type_name(field.data_type())));
    fields.collect::<Vec<_>>().join(", ")
}

fn key_and_value(entries: &DataType) -> String {
    match entries {
        DataType::Struct(pair) => {
            pair.iter().map(|field| type_name(field.data_type())).collect::<Vec<_>>().join(", ")
        }
        other => type_name(other),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::Field;

    use super::*;

    #[test]
    fn types_are_named_as_arrow_documents_them() {
        let field = |name: &str, data_type| Arc::new(Field::new(name, data_type, true));
        let pair = DataType::Struct([field("key", DataType::Utf8), field("value", DataType::Int64)].into());
        for (data_type, expected) in [
            (DataType::Boolean, "bool"),
            (DataType::Utf8, "string"),
            (DataType::Timestamp(TimeUnit::Microsecond, None), "timestamp[us]"),
            (DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), "timestamp[ns, tz=UTC]"),
            (DataType::Decimal128(38, 10), "decimal128(38, 10)"),
            (DataType::FixedSizeBinary(16), "fixed_size_binary[16]"),
            (DataType::List(field("item", DataType::Float64)), "list<float64>"),
            (DataType::FixedSizeList(field("item", DataType::Int8), 3), "fixed_size_list<int8>[3]"),
            (DataType::Map(field("entries", pair.clone()), false), "map<string, int64>"),
            (pair, "struct<key: string, value: int64>"),
            (
                DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into()),
                "dictionary<values=string, indices=int32>",
            ),
        ] {
            assert_eq!(type_name(&data_type), expected);
        }
    }
}
