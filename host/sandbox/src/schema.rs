//! Schemas across the boundary: a flat list of fields there, Arrow's tree here. Invariant 4: each is held to
//! its limits and validated.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field, FieldRef, Fields, IntervalUnit,
    Schema, SchemaRef, TimeUnit,
};
use tidegate_decode::type_name;
use tidegate_model::{Code, Fault, Result};

use crate::bindings::types as wit;

const MAX_FIELDS: usize = 4096;
const MAX_DEPTH: usize = 32;
/// Names and metadata together, in bytes.
const MAX_TEXT: usize = 1 << 20;
const MAX_WIDTH: u32 = 1 << 20;

/// Checks a guest's schema and makes it Arrow's. The fault says what is wrong with it.
pub fn from_wit(schema: wit::Schema) -> Result<SchemaRef> {
    let wit::Schema { fields, roots, metadata } = schema;
    check_tree(&fields, &roots)?;
    check_text(&fields, &metadata)?;

    let mut built: Vec<Option<FieldRef>> = vec![None; fields.len()];
    for (at, field) in fields.into_iter().enumerate().rev() {
        let children = take(&mut built, &field.children)?;
        unique_names(&children)?;
        built[at] = Some(Arc::new(to_field(field, children)?));
    }
    let columns = take(&mut built, &roots)?;
    unique_names(&columns)?;
    let metadata: HashMap<_, _> = metadata.into_iter().collect();
    Ok(Arc::new(Schema::new_with_metadata(columns, metadata)))
}

/// Lays an Arrow schema flat for a guest.
pub fn to_wit(schema: &Schema) -> Result<wit::Schema> {
    let mut fields = Vec::new();
    let mut roots = Vec::new();
    for field in schema.fields() {
        roots.push(flatten(field, &mut fields, 1)?);
    }
    let metadata = sorted(schema.metadata());
    Ok(wit::Schema { fields, roots, metadata })
}

fn bad(message: impl Into<String>) -> Fault {
    Fault::internal(Code::BadBatch, format!("the schema is not valid: {}", message.into()))
}

/// Every field but the roots is the child of exactly one that comes before it, and nothing is too large or
/// too deep.
fn check_tree(fields: &[wit::Field], roots: &[u32]) -> Result<()> {
    if fields.len() > MAX_FIELDS {
        return Err(bad(format!("{} fields are more than {MAX_FIELDS}", fields.len())));
    }
    let mut depth: Vec<Option<usize>> = vec![None; fields.len()];
    for root in roots {
        match depth.get_mut(index(*root)) {
            Some(slot @ None) => *slot = Some(1),
            Some(_) => return Err(bad(format!("field {root} is a root twice"))),
            None => return Err(bad(format!("root {root} is not a field"))),
        }
    }
    for (at, field) in fields.iter().enumerate() {
        let Some(level) = depth[at] else {
            return Err(bad(format!(
                "field `{}` is neither a root nor the child of an earlier one",
                field.name
            )));
        };
        if level > MAX_DEPTH {
            return Err(bad(format!("field `{}` is deeper than {MAX_DEPTH} levels", field.name)));
        }
        for child in &field.children {
            let child = index(*child);
            match depth.get_mut(child) {
                Some(slot @ None) if child > at => *slot = Some(level + 1),
                _ => return Err(bad(format!("field {child} cannot be a child of field {at}"))),
            }
        }
    }
    Ok(())
}

fn check_text(fields: &[wit::Field], metadata: &[(String, String)]) -> Result<()> {
    let pairs = fields.iter().flat_map(|field| &field.metadata).chain(metadata);
    let total: usize = pairs.map(|(key, value)| key.len() + value.len()).sum::<usize>()
        + fields.iter().map(|field| field.name.len()).sum::<usize>();
    if total > MAX_TEXT {
        return Err(bad(format!("its names and metadata are longer than {MAX_TEXT} bytes")));
    }
    if let Some(at) = fields.iter().position(|field| field.name.is_empty()) {
        return Err(bad(format!("field {at} has no name")));
    }
    Ok(())
}

fn unique_names(fields: &[FieldRef]) -> Result<()> {
    let mut seen = HashSet::new();
    match fields.iter().find(|field| !seen.insert(field.name().as_str())) {
        Some(field) => Err(bad(format!("two fields beside each other are called `{}`", field.name()))),
        None => Ok(()),
    }
}

fn take(built: &mut [Option<FieldRef>], at: &[u32]) -> Result<Vec<FieldRef>> {
    at.iter()
        .map(|at| built.get_mut(index(*at)).and_then(Option::take).ok_or_else(|| bad("its tree is broken")))
        .collect()
}

fn index(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

fn to_field(field: wit::Field, children: Vec<FieldRef>) -> Result<Field> {
    let wit::Field { name, data_type, nullable, metadata, .. } = field;
    let wrong = |what: &str| bad(format!("field `{name}`: {what}"));
    let nested = matches!(
        data_type,
        wit::DataType::List
            | wit::DataType::LargeList
            | wit::DataType::FixedSizeList(_)
            | wit::DataType::Struct
            | wit::DataType::Map(_)
            | wit::DataType::Dictionary(_)
    );
    if !nested && !children.is_empty() {
        return Err(wrong("only nested types have children"));
    }
    let mut ordered = false;
    let data_type = match data_type {
        wit::DataType::List => DataType::List(only(children).ok_or_else(|| wrong("a list has one child"))?),
        wit::DataType::LargeList => {
            DataType::LargeList(only(children).ok_or_else(|| wrong("a list has one child"))?)
        }
        wit::DataType::FixedSizeList(size) => {
            let size = width(size).ok_or_else(|| wrong("the list's size must be 1 to 1048576"))?;
            DataType::FixedSizeList(only(children).ok_or_else(|| wrong("a list has one child"))?, size)
        }
        wit::DataType::Struct => DataType::Struct(Fields::from(children)),
        wit::DataType::Map(sorted) => {
            let entries = only(children).filter(|entries| is_entries(entries)).ok_or_else(|| {
                wrong("a map has one child, a non-nullable struct of a non-nullable key and a value")
            })?;
            DataType::Map(entries, sorted)
        }
        wit::DataType::Dictionary(dictionary) => {
            ordered = dictionary.ordered;
            let values = only(children)
                .filter(|values| !values.data_type().is_nested())
                .ok_or_else(|| wrong("a dictionary has one child that is not nested"))?;
            if matches!(values.data_type(), DataType::Dictionary(..)) {
                return Err(wrong("a dictionary of dictionaries"));
            }
            let key = index_type(dictionary.index);
            DataType::Dictionary(Box::new(key), Box::new(values.data_type().clone()))
        }
        plain => plain_type(&plain).map_err(|what| wrong(&what))?,
    };
    let metadata: HashMap<_, _> = metadata.into_iter().collect();
    let field = Field::new(name, data_type, nullable).with_metadata(metadata);
    Ok(if ordered { field.with_dict_is_ordered(true) } else { field })
}

fn only(children: Vec<FieldRef>) -> Option<FieldRef> {
    <[FieldRef; 1]>::try_from(children).ok().map(|[child]| child)
}

fn is_entries(field: &Field) -> bool {
    match field.data_type() {
        DataType::Struct(fields) => fields.len() == 2 && !fields[0].is_nullable() && !field.is_nullable(),
        _ => false,
    }
}

fn width(size: u32) -> Option<i32> {
    (1..=MAX_WIDTH).contains(&size).then(|| i32::try_from(size).ok()).flatten()
}

fn index_type(index: wit::IndexType) -> DataType {
    match index {
        wit::IndexType::Int8 => DataType::Int8,
        wit::IndexType::Int16 => DataType::Int16,
        wit::IndexType::Int32 => DataType::Int32,
        wit::IndexType::Int64 => DataType::Int64,
        wit::IndexType::Uint8 => DataType::UInt8,
        wit::IndexType::Uint16 => DataType::UInt16,
        wit::IndexType::Uint32 => DataType::UInt32,
        wit::IndexType::Uint64 => DataType::UInt64,
    }
}

fn plain_type(data_type: &wit::DataType) -> Result<DataType, String> {
    Ok(match data_type {
        wit::DataType::Null => DataType::Null,
        wit::DataType::Boolean => DataType::Boolean,
        wit::DataType::Int8 => DataType::Int8,
        wit::DataType::Int16 => DataType::Int16,
        wit::DataType::Int32 => DataType::Int32,
        wit::DataType::Int64 => DataType::Int64,
        wit::DataType::Uint8 => DataType::UInt8,
        wit::DataType::Uint16 => DataType::UInt16,
        wit::DataType::Uint32 => DataType::UInt32,
        wit::DataType::Uint64 => DataType::UInt64,
        wit::DataType::Float16 => DataType::Float16,
        wit::DataType::Float32 => DataType::Float32,
        wit::DataType::Float64 => DataType::Float64,
        wit::DataType::Decimal128(of) => {
            decimal(*of, DECIMAL128_MAX_PRECISION)?;
            DataType::Decimal128(of.precision, of.scale)
        }
        wit::DataType::Decimal256(of) => {
            decimal(*of, DECIMAL256_MAX_PRECISION)?;
            DataType::Decimal256(of.precision, of.scale)
        }
        wit::DataType::Utf8 => DataType::Utf8,
        wit::DataType::LargeUtf8 => DataType::LargeUtf8,
        wit::DataType::Utf8View => DataType::Utf8View,
        wit::DataType::Binary => DataType::Binary,
        wit::DataType::LargeBinary => DataType::LargeBinary,
        wit::DataType::BinaryView => DataType::BinaryView,
        wit::DataType::FixedSizeBinary(size) => {
            DataType::FixedSizeBinary(width(*size).ok_or("its size must be 1 to 1048576 bytes")?)
        }
        wit::DataType::Date32 => DataType::Date32,
        wit::DataType::Date64 => DataType::Date64,
        wit::DataType::Time32(unit @ (wit::TimeUnit::Second | wit::TimeUnit::Millisecond)) => {
            DataType::Time32(time_unit(*unit))
        }
        wit::DataType::Time32(_) => return Err("time32 counts seconds or milliseconds".into()),
        wit::DataType::Time64(unit @ (wit::TimeUnit::Microsecond | wit::TimeUnit::Nanosecond)) => {
            DataType::Time64(time_unit(*unit))
        }
        wit::DataType::Time64(_) => return Err("time64 counts microseconds or nanoseconds".into()),
        wit::DataType::Timestamp(of) => {
            let zone = of.timezone.as_deref();
            let odd = |c: char| !(c.is_ascii_alphanumeric() || "+-:/_".contains(c));
            if zone.is_some_and(|zone| zone.is_empty() || zone.len() > 64 || zone.contains(odd)) {
                return Err("its time zone is neither an IANA name nor an offset".into());
            }
            DataType::Timestamp(time_unit(of.unit), zone.map(Arc::from))
        }
        wit::DataType::Duration(unit) => DataType::Duration(time_unit(*unit)),
        wit::DataType::Interval(unit) => DataType::Interval(match unit {
            wit::IntervalUnit::YearMonth => IntervalUnit::YearMonth,
            wit::IntervalUnit::DayTime => IntervalUnit::DayTime,
            wit::IntervalUnit::MonthDayNano => IntervalUnit::MonthDayNano,
        }),
        _ => return Err("a nested type where none can be".into()),
    })
}

fn decimal(of: wit::DecimalType, max: u8) -> Result<(), String> {
    let scale = of.scale.unsigned_abs();
    if !(1..=max).contains(&of.precision) || scale > max || of.scale > 0 && scale > of.precision {
        return Err(format!(
            "a decimal of {} digits with {} after the point cannot be",
            of.precision, of.scale
        ));
    }
    Ok(())
}

fn time_unit(unit: wit::TimeUnit) -> TimeUnit {
    match unit {
        wit::TimeUnit::Second => TimeUnit::Second,
        wit::TimeUnit::Millisecond => TimeUnit::Millisecond,
        wit::TimeUnit::Microsecond => TimeUnit::Microsecond,
        wit::TimeUnit::Nanosecond => TimeUnit::Nanosecond,
    }
}

fn sorted(metadata: &HashMap<String, String>) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = metadata.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    pairs.sort();
    pairs
}

fn flatten(field: &Field, into: &mut Vec<wit::Field>, depth: usize) -> Result<u32> {
    if into.len() >= MAX_FIELDS || depth > MAX_DEPTH {
        return Err(bad(format!("more than {MAX_FIELDS} fields or {MAX_DEPTH} levels")));
    }
    let at = into.len();
    let (data_type, children) = to_type(field)?;
    into.push(wit::Field {
        name: field.name().clone(),
        data_type,
        nullable: field.is_nullable(),
        children: Vec::new(),
        metadata: sorted(field.metadata()),
    });
    for child in children {
        let child = flatten(&child, into, depth + 1)?;
        into[at].children.push(child);
    }
    u32::try_from(at).map_err(|_| bad("too many fields"))
}

fn to_type(field: &Field) -> Result<(wit::DataType, Vec<FieldRef>)> {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second => wit::TimeUnit::Second,
        TimeUnit::Millisecond => wit::TimeUnit::Millisecond,
        TimeUnit::Microsecond => wit::TimeUnit::Microsecond,
        TimeUnit::Nanosecond => wit::TimeUnit::Nanosecond,
    };
    let unsupported = || {
        bad(format!(
            "field `{}`: {} has no place in the contract",
            field.name(),
            type_name(field.data_type())
        ))
    };
    let size = |size: i32| u32::try_from(size).map_err(|_| unsupported());
    let plain = match field.data_type() {
        DataType::List(child) => return Ok((wit::DataType::List, vec![child.clone()])),
        DataType::LargeList(child) => return Ok((wit::DataType::LargeList, vec![child.clone()])),
        DataType::FixedSizeList(child, items) => {
            return Ok((wit::DataType::FixedSizeList(size(*items)?), vec![child.clone()]));
        }
        DataType::Struct(fields) => return Ok((wit::DataType::Struct, fields.iter().cloned().collect())),
        DataType::Map(entries, sorted) => return Ok((wit::DataType::Map(*sorted), vec![entries.clone()])),
        DataType::Dictionary(key, value) => {
            let index = match key.as_ref() {
                DataType::Int8 => wit::IndexType::Int8,
                DataType::Int16 => wit::IndexType::Int16,
                DataType::Int32 => wit::IndexType::Int32,
                DataType::Int64 => wit::IndexType::Int64,
                DataType::UInt8 => wit::IndexType::Uint8,
                DataType::UInt16 => wit::IndexType::Uint16,
                DataType::UInt32 => wit::IndexType::Uint32,
                DataType::UInt64 => wit::IndexType::Uint64,
                _ => return Err(unsupported()),
            };
            let ordered = field.dict_is_ordered().unwrap_or(false);
            let values = Field::new("values", value.as_ref().clone(), true);
            let dictionary = wit::DictionaryType { index, ordered };
            return Ok((wit::DataType::Dictionary(dictionary), vec![Arc::new(values)]));
        }
        DataType::Null => wit::DataType::Null,
        DataType::Boolean => wit::DataType::Boolean,
        DataType::Int8 => wit::DataType::Int8,
        DataType::Int16 => wit::DataType::Int16,
        DataType::Int32 => wit::DataType::Int32,
        DataType::Int64 => wit::DataType::Int64,
        DataType::UInt8 => wit::DataType::Uint8,
        DataType::UInt16 => wit::DataType::Uint16,
        DataType::UInt32 => wit::DataType::Uint32,
        DataType::UInt64 => wit::DataType::Uint64,
        DataType::Float16 => wit::DataType::Float16,
        DataType::Float32 => wit::DataType::Float32,
        DataType::Float64 => wit::DataType::Float64,
        DataType::Decimal128(precision, scale) => {
            wit::DataType::Decimal128(wit::DecimalType { precision: *precision, scale: *scale })
        }
        DataType::Decimal256(precision, scale) => {
            wit::DataType::Decimal256(wit::DecimalType { precision: *precision, scale: *scale })
        }
        DataType::Utf8 => wit::DataType::Utf8,
        DataType::LargeUtf8 => wit::DataType::LargeUtf8,
        DataType::Utf8View => wit::DataType::Utf8View,
        DataType::Binary => wit::DataType::Binary,
        DataType::LargeBinary => wit::DataType::LargeBinary,
        DataType::BinaryView => wit::DataType::BinaryView,
        DataType::FixedSizeBinary(bytes) => wit::DataType::FixedSizeBinary(size(*bytes)?),
        DataType::Date32 => wit::DataType::Date32,
        DataType::Date64 => wit::DataType::Date64,
        DataType::Time32(of) => wit::DataType::Time32(unit(of)),
        DataType::Time64(of) => wit::DataType::Time64(unit(of)),
        DataType::Timestamp(of, zone) => wit::DataType::Timestamp(wit::TimestampType {
            unit: unit(of),
            timezone: zone.as_deref().map(str::to_owned),
        }),
        DataType::Duration(of) => wit::DataType::Duration(unit(of)),
        DataType::Interval(of) => wit::DataType::Interval(match of {
            IntervalUnit::YearMonth => wit::IntervalUnit::YearMonth,
            IntervalUnit::DayTime => wit::IntervalUnit::DayTime,
            IntervalUnit::MonthDayNano => wit::IntervalUnit::MonthDayNano,
        }),
        _ => return Err(unsupported()),
    };
    Ok((plain, Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, data_type: wit::DataType, children: &[u32]) -> wit::Field {
        let children = children.to_vec();
        wit::Field { name: name.into(), data_type, nullable: true, children, metadata: Vec::new() }
    }

    fn told(fields: Vec<wit::Field>, roots: &[u32]) -> String {
        let schema = wit::Schema { fields, roots: roots.to_vec(), metadata: Vec::new() };
        from_wit(schema)
            .map_or_else(|fault| fault.message, |schema| format!("{} columns", schema.fields().len()))
    }

    #[test]
    fn trees_that_are_none_are_refused() {
        use wit::DataType::{Int8, List, Struct};
        let cases: Vec<(&str, Vec<wit::Field>, Vec<u32>)> = vec![
            ("2 columns", vec![field("a", Int8, &[]), field("b", Int8, &[])], vec![1, 0]),
            ("is a root twice", vec![field("a", Int8, &[])], vec![0, 0]),
            ("root 7 is not a field", vec![field("a", Int8, &[])], vec![7]),
            ("neither a root nor", vec![field("a", Int8, &[])], vec![]),
            ("cannot be a child", vec![field("a", List, &[0])], vec![0]),
            ("cannot be a child", vec![field("a", List, &[9])], vec![0]),
            ("cannot be a child", vec![field("a", Struct, &[1, 1]), field("b", Int8, &[])], vec![0]),
            ("cannot be a child", vec![field("a", Struct, &[1]), field("b", Struct, &[0])], vec![0]),
            ("only nested types", vec![field("a", Int8, &[1]), field("b", Int8, &[])], vec![0]),
            ("a list has one child", vec![field("a", List, &[])], vec![0]),
            ("are called `a`", vec![field("a", Int8, &[]), field("a", Int8, &[])], vec![0, 1]),
            ("has no name", vec![field("", Int8, &[])], vec![0]),
        ];
        for (expected, fields, roots) in cases {
            let told = told(fields, &roots);
            assert!(told.contains(expected), "{expected}: {told}");
        }
    }

    #[test]
    fn deep_and_wide_schemas_are_refused() {
        let deep = (0..40).map(|at| field("a", wit::DataType::List, &[at + 1]));
        let deep = deep.chain([field("a", wit::DataType::Int8, &[])]).collect();
        assert!(told(deep, &[0]).contains("deeper than 32"));
        let wide: Vec<_> = (0..4097).map(|at| field(&at.to_string(), wit::DataType::Int8, &[])).collect();
        assert!(told(wide, &(0..4097).collect::<Vec<_>>()).contains("more than 4096"));
        let long = vec![field(&"x".repeat(MAX_TEXT + 1), wit::DataType::Int8, &[])];
        assert!(told(long, &[0]).contains("longer than"));
    }

    #[test]
    fn types_that_cannot_be_are_refused() {
        use wit::{DataType as T, DecimalType, TimeUnit, TimestampType};
        let zone =
            |zone: &str| T::Timestamp(TimestampType { unit: TimeUnit::Second, timezone: Some(zone.into()) });
        for bad in [
            T::Decimal128(DecimalType { precision: 39, scale: 0 }),
            T::Decimal128(DecimalType { precision: 0, scale: 0 }),
            T::Decimal128(DecimalType { precision: 5, scale: 6 }),
            T::Decimal256(DecimalType { precision: 77, scale: 0 }),
            T::FixedSizeBinary(0),
            T::FixedSizeBinary(u32::MAX),
            T::Time32(TimeUnit::Nanosecond),
            T::Time64(TimeUnit::Second),
            zone(""),
            zone("UTC\u{1b}"),
        ] {
            assert!(told(vec![field("c", bad.clone(), &[])], &[0]).contains("field `c`"), "{bad:?}");
        }
    }
}
