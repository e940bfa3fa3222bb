//! Arrow schemas, flat and as trees.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields, IntervalUnit, Schema, TimeUnit};

use crate::bindings::tidegate::connector::types as wit;
use crate::{Fault, Result};

/// The name the contract wants for what Arrow leaves unnamed: a dictionary's values.
const VALUES: &str = "values";

/// Lays a schema's fields flat, parents before children.
///
/// A type that the contract does not carry (unions, run-end encoding, list views, decimals of 32 and 64 bits)
/// is a fault that names the column.
pub fn flatten(schema: &Schema) -> Result<wit::SchemaResult> {
    let mut fields = Vec::new();
    let roots = schema.fields().iter().map(|field| push(&mut fields, field)).collect::<Result<_>>()?;
    Ok(wit::SchemaResult { fields, roots, metadata: pairs(schema.metadata()) })
}

fn push(fields: &mut Vec<wit::FieldResult>, field: &Field) -> Result<u32> {
    let (data_type, children) = translate(field)?;
    let at = fields.len();
    fields.push(wit::FieldResult {
        name: field.name().clone(),
        data_type,
        nullable: field.is_nullable(),
        children: Vec::new(),
        metadata: pairs(field.metadata()),
    });
    let children = children.iter().map(|child| push(fields, child)).collect::<Result<_>>()?;
    fields[at].children = children;
    Ok(at as u32)
}

fn translate(field: &Field) -> Result<(wit::DataTypeResult, Vec<FieldRef>)> {
    use wit::DataTypeResult as W;
    let leaf = |data_type| Ok((data_type, Vec::new()));
    match field.data_type() {
        DataType::Null => leaf(W::Null),
        DataType::Boolean => leaf(W::Boolean),
        DataType::Int8 => leaf(W::Int8),
        DataType::Int16 => leaf(W::Int16),
        DataType::Int32 => leaf(W::Int32),
        DataType::Int64 => leaf(W::Int64),
        DataType::UInt8 => leaf(W::Uint8),
        DataType::UInt16 => leaf(W::Uint16),
        DataType::UInt32 => leaf(W::Uint32),
        DataType::UInt64 => leaf(W::Uint64),
        DataType::Float16 => leaf(W::Float16),
        DataType::Float32 => leaf(W::Float32),
        DataType::Float64 => leaf(W::Float64),
        &DataType::Decimal128(precision, scale) => leaf(W::Decimal128(wit::DecimalType { precision, scale })),
        &DataType::Decimal256(precision, scale) => leaf(W::Decimal256(wit::DecimalType { precision, scale })),
        DataType::Utf8 => leaf(W::Utf8),
        DataType::LargeUtf8 => leaf(W::LargeUtf8),
        DataType::Utf8View => leaf(W::Utf8View),
        DataType::Binary => leaf(W::Binary),
        DataType::LargeBinary => leaf(W::LargeBinary),
        DataType::BinaryView => leaf(W::BinaryView),
        &DataType::FixedSizeBinary(size) => leaf(W::FixedSizeBinary(width(field, size)?)),
        DataType::Date32 => leaf(W::Date32),
        DataType::Date64 => leaf(W::Date64),
        &DataType::Time32(unit) => leaf(W::Time32(unit.into())),
        &DataType::Time64(unit) => leaf(W::Time64(unit.into())),
        DataType::Timestamp(unit, timezone) => leaf(W::Timestamp(wit::TimestampTypeResult {
            unit: (*unit).into(),
            timezone: timezone.as_deref().map(str::to_owned),
        })),
        &DataType::Duration(unit) => leaf(W::Duration(unit.into())),
        DataType::Interval(unit) => leaf(W::Interval(match unit {
            IntervalUnit::YearMonth => wit::IntervalUnit::YearMonth,
            IntervalUnit::DayTime => wit::IntervalUnit::DayTime,
            IntervalUnit::MonthDayNano => wit::IntervalUnit::MonthDayNano,
        })),
        DataType::List(item) => Ok((W::List, vec![item.clone()])),
        DataType::LargeList(item) => Ok((W::LargeList, vec![item.clone()])),
        DataType::FixedSizeList(item, size) => {
            Ok((W::FixedSizeList(width(field, *size)?), vec![item.clone()]))
        }
        DataType::Struct(fields) => Ok((W::Struct, fields.iter().cloned().collect())),
        DataType::Map(entries, sorted) => Ok((W::Map(*sorted), vec![entries.clone()])),
        DataType::Dictionary(index, values) => {
            let index = index_type(index).ok_or_else(|| unsupported(field))?;
            let ordered = field.dict_is_ordered().unwrap_or_default();
            let values = Arc::new(Field::new(VALUES, values.as_ref().clone(), true));
            Ok((W::Dictionary(wit::DictionaryType { index, ordered }), vec![values]))
        }
        _ => Err(unsupported(field)),
    }
}

fn index_type(index: &DataType) -> Option<wit::IndexType> {
    Some(match index {
        DataType::Int8 => wit::IndexType::Int8,
        DataType::Int16 => wit::IndexType::Int16,
        DataType::Int32 => wit::IndexType::Int32,
        DataType::Int64 => wit::IndexType::Int64,
        DataType::UInt8 => wit::IndexType::Uint8,
        DataType::UInt16 => wit::IndexType::Uint16,
        DataType::UInt32 => wit::IndexType::Uint32,
        DataType::UInt64 => wit::IndexType::Uint64,
        _ => return None,
    })
}

fn unsupported(field: &Field) -> Fault {
    Fault::internal(
        "unsupported",
        format!(
            "column `{}`: {} does not cross; cast it to a type of the contract",
            field.name(),
            field.data_type()
        ),
    )
}

fn width(field: &Field, size: i32) -> Result<u32> {
    u32::try_from(size).map_err(|_| unsupported(field))
}

/// Sorted, so that the same schema always looks the same.
fn pairs(metadata: &HashMap<String, String>) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = metadata.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    pairs.sort();
    pairs
}

/// Makes a tree of a flat schema.
pub fn unflatten(schema: &wit::SchemaResult) -> Result<Schema> {
    let roots: Fields = schema.roots.iter().map(|&root| field(schema, root, None)).collect::<Result<_>>()?;
    Ok(Schema::new_with_metadata(roots, schema.metadata.iter().cloned().collect()))
}

fn field(schema: &wit::SchemaResult, at: u32, parent: Option<u32>) -> Result<FieldRef> {
    // Children come after their parents, so this ends.
    let flat = schema
        .fields
        .get(at as usize)
        .filter(|_| parent.is_none_or(|parent| at > parent))
        .ok_or_else(|| malformed(format_args!("field {at} is not where a child can be")))?;
    let children: Vec<FieldRef> =
        flat.children.iter().map(|&child| field(schema, child, Some(at))).collect::<Result<_>>()?;
    let only = || match children.as_slice() {
        [child] => Ok(child.clone()),
        _ => Err(malformed(format_args!("field `{}` needs one child", flat.name))),
    };
    use wit::DataTypeResult as W;
    let mut ordered = false;
    let data_type = match &flat.data_type {
        W::Null => DataType::Null,
        W::Boolean => DataType::Boolean,
        W::Int8 => DataType::Int8,
        W::Int16 => DataType::Int16,
        W::Int32 => DataType::Int32,
        W::Int64 => DataType::Int64,
        W::Uint8 => DataType::UInt8,
        W::Uint16 => DataType::UInt16,
        W::Uint32 => DataType::UInt32,
        W::Uint64 => DataType::UInt64,
        W::Float16 => DataType::Float16,
        W::Float32 => DataType::Float32,
        W::Float64 => DataType::Float64,
        W::Decimal128(decimal) => DataType::Decimal128(decimal.precision, decimal.scale),
        W::Decimal256(decimal) => DataType::Decimal256(decimal.precision, decimal.scale),
        W::Utf8 => DataType::Utf8,
        W::LargeUtf8 => DataType::LargeUtf8,
        W::Utf8View => DataType::Utf8View,
        W::Binary => DataType::Binary,
        W::LargeBinary => DataType::LargeBinary,
        W::BinaryView => DataType::BinaryView,
        W::FixedSizeBinary(size) => DataType::FixedSizeBinary(narrow(*size)?),
        W::Date32 => DataType::Date32,
        W::Date64 => DataType::Date64,
        W::Time32(unit) => DataType::Time32((*unit).into()),
        W::Time64(unit) => DataType::Time64((*unit).into()),
        W::Timestamp(timestamp) => {
            DataType::Timestamp(timestamp.unit.into(), timestamp.timezone.as_deref().map(Arc::from))
        }
        W::Duration(unit) => DataType::Duration((*unit).into()),
        W::Interval(unit) => DataType::Interval(match unit {
            wit::IntervalUnit::YearMonth => IntervalUnit::YearMonth,
            wit::IntervalUnit::DayTime => IntervalUnit::DayTime,
            wit::IntervalUnit::MonthDayNano => IntervalUnit::MonthDayNano,
        }),
        W::List => DataType::List(only()?),
        W::LargeList => DataType::LargeList(only()?),
        W::FixedSizeList(size) => DataType::FixedSizeList(only()?, narrow(*size)?),
        W::Struct => DataType::Struct(children.into()),
        W::Map(sorted) => DataType::Map(only()?, *sorted),
        W::Dictionary(dictionary) => {
            ordered = dictionary.ordered;
            let index = match dictionary.index {
                wit::IndexType::Int8 => DataType::Int8,
                wit::IndexType::Int16 => DataType::Int16,
                wit::IndexType::Int32 => DataType::Int32,
                wit::IndexType::Int64 => DataType::Int64,
                wit::IndexType::Uint8 => DataType::UInt8,
                wit::IndexType::Uint16 => DataType::UInt16,
                wit::IndexType::Uint32 => DataType::UInt32,
                wit::IndexType::Uint64 => DataType::UInt64,
            };
            DataType::Dictionary(Box::new(index), Box::new(only()?.data_type().clone()))
        }
    };
    let field = Field::new(&flat.name, data_type, flat.nullable)
        .with_dict_is_ordered(ordered)
        .with_metadata(flat.metadata.iter().cloned().collect());
    Ok(Arc::new(field))
}

fn malformed(message: impl Display) -> Fault {
    Fault::internal("invalid", format!("malformed schema: {message}"))
}

fn narrow(size: u32) -> Result<i32> {
    i32::try_from(size).map_err(|_| malformed(format_args!("a size of {size} is too large")))
}

impl From<TimeUnit> for wit::TimeUnit {
    fn from(unit: TimeUnit) -> Self {
        match unit {
            TimeUnit::Second => Self::Second,
            TimeUnit::Millisecond => Self::Millisecond,
            TimeUnit::Microsecond => Self::Microsecond,
            TimeUnit::Nanosecond => Self::Nanosecond,
        }
    }
}

impl From<wit::TimeUnit> for TimeUnit {
    fn from(unit: wit::TimeUnit) -> Self {
        match unit {
            wit::TimeUnit::Second => Self::Second,
            wit::TimeUnit::Millisecond => Self::Millisecond,
            wit::TimeUnit::Microsecond => Self::Microsecond,
            wit::TimeUnit::Nanosecond => Self::Nanosecond,
        }
    }
}

/// Passes a schema to an imported function, which wants it borrowed.
pub(crate) fn borrowed<T>(schema: &wit::SchemaResult, call: impl FnOnce(wit::SchemaParam<'_>) -> T) -> T {
    let metadata: Vec<Vec<(&str, &str)>> = schema.fields.iter().map(|field| refs(&field.metadata)).collect();
    let fields: Vec<wit::FieldParam<'_>> = schema
        .fields
        .iter()
        .zip(&metadata)
        .map(|(field, metadata)| wit::FieldParam {
            name: &field.name,
            data_type: borrowed_type(&field.data_type),
            nullable: field.nullable,
            children: &field.children,
            metadata,
        })
        .collect();
    let metadata = refs(&schema.metadata);
    call(wit::SchemaParam { fields: &fields, roots: &schema.roots, metadata: &metadata })
}

fn refs(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

fn borrowed_type(data_type: &wit::DataTypeResult) -> wit::DataTypeParam<'_> {
    use wit::{DataTypeParam as P, DataTypeResult as W};
    match data_type {
        W::Null => P::Null,
        W::Boolean => P::Boolean,
        W::Int8 => P::Int8,
        W::Int16 => P::Int16,
        W::Int32 => P::Int32,
        W::Int64 => P::Int64,
        W::Uint8 => P::Uint8,
        W::Uint16 => P::Uint16,
        W::Uint32 => P::Uint32,
        W::Uint64 => P::Uint64,
        W::Float16 => P::Float16,
        W::Float32 => P::Float32,
        W::Float64 => P::Float64,
        W::Decimal128(decimal) => P::Decimal128(*decimal),
        W::Decimal256(decimal) => P::Decimal256(*decimal),
        W::Utf8 => P::Utf8,
        W::LargeUtf8 => P::LargeUtf8,
        W::Utf8View => P::Utf8View,
        W::Binary => P::Binary,
        W::LargeBinary => P::LargeBinary,
        W::BinaryView => P::BinaryView,
        W::FixedSizeBinary(size) => P::FixedSizeBinary(*size),
        W::Date32 => P::Date32,
        W::Date64 => P::Date64,
        W::Time32(unit) => P::Time32(*unit),
        W::Time64(unit) => P::Time64(*unit),
        W::Timestamp(timestamp) => P::Timestamp(wit::TimestampTypeParam {
            unit: timestamp.unit,
            timezone: timestamp.timezone.as_deref(),
        }),
        W::Duration(unit) => P::Duration(*unit),
        W::Interval(unit) => P::Interval(*unit),
        W::List => P::List,
        W::LargeList => P::LargeList,
        W::FixedSizeList(size) => P::FixedSizeList(*size),
        W::Struct => P::Struct,
        W::Map(sorted) => P::Map(*sorted),
        W::Dictionary(dictionary) => P::Dictionary(*dictionary),
    }
}
