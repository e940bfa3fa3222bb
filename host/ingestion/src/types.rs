//! Invariant 13: what becomes of every Arrow type in a Delta table. Nothing is changed that is not declared
//! here. `TYPES.md` in this crate's folder is the same table for people.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{CastOptions, cast_with_options, nullif};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use arrow::error::ArrowError;
use tidegate_model::{Code, Fault, Result};

/// Key of a column's metadata in the table: the source's Arrow type, where the table's is another.
pub(crate) const SOURCE_TYPE: &str = "tidegate.source_type";

/// What becomes of an Arrow type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Every value stays what it was, and so does its type.
    Exact,
    /// Every value stays what it was in another type, or the run stops.
    Declared,
    /// The run stops before anything is read.
    Refused,
}

/// One line of the type table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeRow {
    pub arrow: &'static str,
    /// Empty when refused.
    pub delta: &'static str,
    pub verdict: Verdict,
    pub note: &'static str,
}

const fn exact(arrow: &'static str, delta: &'static str, note: &'static str) -> TypeRow {
    TypeRow { arrow, delta, verdict: Verdict::Exact, note }
}

const fn declared(arrow: &'static str, delta: &'static str, note: &'static str) -> TypeRow {
    TypeRow { arrow, delta, verdict: Verdict::Declared, note }
}

const fn refused(arrow: &'static str, note: &'static str) -> TypeRow {
    TypeRow { arrow, delta: "", verdict: Verdict::Refused, note }
}

/// Declares the rows as constants and the table that holds them all.
macro_rules! rows {
    ($($name:ident = $row:expr;)+) => {
        $(const $name: TypeRow = $row;)+
        /// All of the type table.
        pub const TYPE_TABLE: &[TypeRow] = &[$($name),+];
    };
}

rows! {
    BOOLEAN = exact("boolean", "boolean", "");
    INT8 = exact("int8", "byte", "");
    INT16 = exact("int16", "short", "");
    INT32 = exact("int32", "integer", "");
    INT64 = exact("int64", "long", "");
    UINT8 = declared("uint8", "short", "the next wider signed type");
    UINT16 = declared("uint16", "integer", "the next wider signed type");
    UINT32 = declared("uint32", "long", "the next wider signed type");
    UINT64 = declared("uint64", "decimal(20,0)", "no signed integer holds it");
    FLOAT16 = declared("float16", "float", "every value exact");
    FLOAT32 = exact("float32", "float", "NaN and infinities stay; NaN's payload too");
    FLOAT64 = exact("float64", "double", "NaN and infinities stay; NaN's payload too");
    DECIMAL32 = declared("decimal32(p,s)", "decimal(p,s)", "a negative scale is refused");
    DECIMAL64 = declared("decimal64(p,s)", "decimal(p,s)", "a negative scale is refused");
    DECIMAL128 = exact("decimal128(p,s)", "decimal(p,s)", "a negative scale, or one beyond the precision, is refused");
    DECIMAL256 = declared("decimal256(p,s)", "decimal(p,s)", "refused beyond 38 digits");
    STRING = exact("utf8, large_utf8, utf8_view", "string", "");
    BINARY = exact("binary, large_binary, binary_view", "binary", "");
    FIXED_BINARY = declared("fixed_size_binary", "binary", "the width is kept in the column's metadata only");
    DATE32 = exact("date32", "date", "any day, also outside of years 1 to 9999, which some engines cannot show");
    DATE64 = declared("date64", "date", "a time of day in it stops the run");
    TIMESTAMP = exact("timestamp(s | ms | us)", "timestamp_ntz", "a time on the wall; out of range stops the run");
    TIMESTAMP_NS = declared("timestamp(ns)", "timestamp_ntz", "microseconds; a finer part stops the run");
    INSTANT = exact("timestamp(s | ms | us, UTC)", "timestamp", "out of range stops the run");
    INSTANT_ZONE = declared("timestamp(s | ms | us, zone)", "timestamp", "the same instant; the zone's name is kept in the column's metadata only");
    INSTANT_NS = declared("timestamp(ns, zone)", "timestamp", "the same instant in microseconds; a finer part stops the run");
    TIME = refused("time32, time64", "Delta has no time of day; send text or an integer");
    DURATION = declared("duration", "long", "in the source's unit, kept in the column's metadata");
    INTERVAL = refused("interval", "Delta has no interval; send text, or months, days and nanoseconds apart");
    NULL = refused("null", "the column has no type; give it one at the source, or leave it out");
    UNION = refused("union", "Delta has no union; send a struct with a column for each member");
    LIST = exact("list, large_list, list_view, large_list_view", "array", "elements by this table");
    FIXED_LIST = declared("fixed_size_list", "array", "the length is kept in the column's metadata only");
    STRUCT = exact("struct", "struct", "fields by this table");
    MAP = exact("map", "map", "keys and values by this table");
    DICTIONARY = exact("dictionary", "its value's", "the values, by this table");
    RUN_END = exact("run_end_encoded", "its value's", "the values, by this table");
}

/// The field as the table has it. A fault names the column and says what to do.
pub fn plan_column(field: &Field) -> Result<(Field, Verdict)> {
    let (planned, verdict) = plan(field.name(), field)?;
    // Whatever else a source says of its fields might mean something to Delta that it was not meant to.
    let metadata = match verdict {
        Verdict::Exact => std::collections::HashMap::new(),
        _ => [(SOURCE_TYPE.to_owned(), field.data_type().to_string())].into(),
    };
    Ok((planned.with_metadata(metadata), verdict))
}

fn plan(path: &str, field: &Field) -> Result<(Field, Verdict)> {
    let (row, planned) = place(path, field.data_type())?;
    let Some((data_type, inner)) = planned else {
        return Err(Fault::user(
            Code::TypeRefused,
            format!("column `{path}` has the type {}, which a Delta table cannot hold", field.data_type()),
        )
        .help(row.note));
    };
    Ok((Field::new(field.name(), data_type, field.is_nullable()), row.verdict.max(inner)))
}

type Planned = Option<(DataType, Verdict)>;

/// The row of the table that speaks of a type, and what the type becomes.
fn place(path: &str, from: &DataType) -> Result<(&'static TypeRow, Planned)> {
    use DataType as D;
    let simple = |row, data_type| Ok((row, Some((data_type, Verdict::Exact))));
    let decimal = |row, precision: u8, scale: i8| {
        let fits = precision <= 38 && scale >= 0 && i16::from(scale) <= i16::from(precision);
        Ok((row, fits.then_some((D::Decimal128(precision, scale), Verdict::Exact))))
    };
    match from {
        D::Boolean => simple(&BOOLEAN, D::Boolean),
        D::Int8 => simple(&INT8, D::Int8),
        D::Int16 => simple(&INT16, D::Int16),
        D::Int32 => simple(&INT32, D::Int32),
        D::Int64 => simple(&INT64, D::Int64),
        D::UInt8 => simple(&UINT8, D::Int16),
        D::UInt16 => simple(&UINT16, D::Int32),
        D::UInt32 => simple(&UINT32, D::Int64),
        D::UInt64 => simple(&UINT64, D::Decimal128(20, 0)),
        D::Float16 => simple(&FLOAT16, D::Float32),
        D::Float32 => simple(&FLOAT32, D::Float32),
        D::Float64 => simple(&FLOAT64, D::Float64),
        D::Decimal32(precision, scale) => decimal(&DECIMAL32, *precision, *scale),
        D::Decimal64(precision, scale) => decimal(&DECIMAL64, *precision, *scale),
        D::Decimal128(precision, scale) => decimal(&DECIMAL128, *precision, *scale),
        D::Decimal256(precision, scale) => decimal(&DECIMAL256, *precision, *scale),
        D::Utf8 | D::LargeUtf8 | D::Utf8View => simple(&STRING, D::Utf8),
        D::Binary | D::LargeBinary | D::BinaryView => simple(&BINARY, D::Binary),
        D::FixedSizeBinary(_) => simple(&FIXED_BINARY, D::Binary),
        D::Date32 => simple(&DATE32, D::Date32),
        D::Date64 => simple(&DATE64, D::Date32),
        D::Timestamp(unit, zone) => {
            let nanoseconds = *unit == TimeUnit::Nanosecond;
            let (row, zone) = match zone.as_deref() {
                None if nanoseconds => (&TIMESTAMP_NS, None),
                None => (&TIMESTAMP, None),
                Some(_) if nanoseconds => (&INSTANT_NS, Some("UTC".into())),
                Some("UTC" | "+00:00" | "Z") => (&INSTANT, Some("UTC".into())),
                Some(_) => (&INSTANT_ZONE, Some("UTC".into())),
            };
            simple(row, D::Timestamp(TimeUnit::Microsecond, zone))
        }
        D::Duration(_) => simple(&DURATION, D::Int64),
        D::Time32(_) | D::Time64(_) => Ok((&TIME, None)),
        D::Interval(_) => Ok((&INTERVAL, None)),
        D::Null => Ok((&NULL, None)),
        D::Union(..) => Ok((&UNION, None)),
        D::List(item) | D::LargeList(item) | D::ListView(item) | D::LargeListView(item) => {
            list(&LIST, path, item)
        }
        D::FixedSizeList(item, _) => list(&FIXED_LIST, path, item),
        D::Struct(fields) => {
            let (fields, verdict) = plan_fields(path, fields)?;
            Ok((&STRUCT, Some((D::Struct(fields), verdict))))
        }
        D::Map(entries, _) => map(path, entries),
        D::Dictionary(_, values) => values_of(&DICTIONARY, path, values),
        D::RunEndEncoded(_, values) => values_of(&RUN_END, path, values.data_type()),
    }
}

fn list(row: &'static TypeRow, path: &str, item: &Field) -> Result<(&'static TypeRow, Planned)> {
    let (element, verdict) = plan(&format!("{path}.element"), item)?;
    Ok((row, Some((DataType::List(Arc::new(element.with_name("element"))), verdict))))
}

fn map(path: &str, entries: &Field) -> Result<(&'static TypeRow, Planned)> {
    let DataType::Struct(pair) = entries.data_type() else { return Ok((&MAP, None)) };
    let [key, value] = pair.iter().as_slice() else { return Ok((&MAP, None)) };
    let (key, of_key) = plan(&format!("{path}.key"), key)?;
    let (value, of_value) = plan(&format!("{path}.value"), value)?;
    let pair = vec![key.with_name("key").with_nullable(false), value.with_name("value")];
    let entries = Field::new("key_value", DataType::Struct(pair.into()), false);
    Ok((&MAP, Some((DataType::Map(Arc::new(entries), false), of_key.max(of_value)))))
}

fn values_of(row: &'static TypeRow, path: &str, values: &DataType) -> Result<(&'static TypeRow, Planned)> {
    let (inner, planned) = place(path, values)?;
    Ok((
        if planned.is_some() { row } else { inner },
        planned.map(|(to, verdict)| (to, inner.verdict.max(verdict))),
    ))
}

fn plan_fields(path: &str, fields: &Fields) -> Result<(Fields, Verdict)> {
    let mut verdict = Verdict::Exact;
    let mut planned: Vec<FieldRef> = Vec::with_capacity(fields.len());
    for field in fields {
        let (field, of_field) = plan(&format!("{path}.{}", field.name()), field)?;
        verdict = verdict.max(of_field);
        planned.push(Arc::new(field));
    }
    Ok((planned.into(), verdict))
}

/// Converts a column, or says which rule it broke.
///
/// `exact`: the way back must give the same values, for casts that would round silently. `lenient`: values
/// that do not fit become null.
pub(crate) fn convert(
    column: &ArrayRef,
    to: &DataType,
    exact: bool,
    lenient: bool,
) -> Result<ArrayRef, ArrowError> {
    if column.data_type() == to {
        return Ok(Arc::clone(column));
    }
    let options = CastOptions { safe: lenient, ..CastOptions::default() };
    let converted = cast_with_options(column, to, &options)?;
    if !exact {
        return Ok(converted);
    }
    let back = cast_with_options(&converted, column.data_type(), &options)?;
    if lenient {
        return nullif(&converted, &distinct(column, &back)?);
    }
    if back.to_data() != column.to_data() {
        return Err(ArrowError::CastError(first_difference(column, &back)));
    }
    Ok(converted)
}

/// Whether a cast from this type into the table's may round without an error.
pub(crate) fn may_round(from: &DataType) -> bool {
    use DataType as D;
    match from {
        D::Timestamp(TimeUnit::Nanosecond, _) | D::Date64 => true,
        D::List(item) | D::LargeList(item) | D::ListView(item) | D::LargeListView(item) => {
            may_round(item.data_type())
        }
        D::FixedSizeList(item, _) | D::Map(item, _) => may_round(item.data_type()),
        D::Struct(fields) => fields.iter().any(|field| may_round(field.data_type())),
        D::Dictionary(_, values) => may_round(values),
        D::RunEndEncoded(_, values) => may_round(values.data_type()),
        _ => false,
    }
}

fn first_difference(column: &ArrayRef, back: &ArrayRef) -> String {
    let differs =
        (0..column.len()).find(|&row| column.slice(row, 1).to_data() != back.slice(row, 1).to_data());
    let shown = differs.and_then(|row| {
        let text = arrow::util::display::array_value_to_string(column, row).ok()?;
        Some(format!("`{text}` in row {row} of the batch"))
    });
    format!("{} is finer than the table can hold", shown.unwrap_or_else(|| "a value".into()))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Schema, SchemaRef};

    use super::*;
    use crate::delta;

    fn planned(from: DataType) -> String {
        match plan_column(&Field::new("c", from, true)) {
            Ok((field, verdict)) => format!("{} {verdict:?}", field.data_type()),
            Err(fault) => fault.code.to_string(),
        }
    }

    #[test]
    fn the_table_for_people_is_this_one() {
        let mut lines = String::new();
        for row in TYPE_TABLE {
            let delta = if row.delta.is_empty() { String::new() } else { format!("`{}`", row.delta) };
            let verdict = format!("{:?}", row.verdict).to_lowercase();
            let arrow = row.arrow.replace('|', "\\|");
            lines.push_str(&format!("| `{arrow}` | {delta} | {verdict} | {} |\n", row.note));
        }
        let published = include_str!("../TYPES.md");
        assert!(
            published.ends_with(&format!("|---|---|---|---|\n{lines}")),
            "TYPES.md must end with\n{lines}"
        );
    }

    #[test]
    fn nothing_is_converted_silently() {
        use DataType as D;
        let zone = |zone: &str| Some(zone.into());
        for (from, expected) in [
            (D::UInt8, "Int16 Declared"),
            (D::UInt32, "Int64 Declared"),
            (D::UInt64, "Decimal128(20, 0) Declared"),
            (D::Float16, "Float32 Declared"),
            (D::Decimal256(38, 10), "Decimal128(38, 10) Declared"),
            (D::Decimal256(39, 10), "TG0503"),
            (D::Decimal128(5, -2), "TG0503"),
            (D::Decimal128(3, 5), "TG0503"),
            (D::Timestamp(TimeUnit::Second, None), "Timestamp(µs) Exact"),
            (D::Timestamp(TimeUnit::Nanosecond, None), "Timestamp(µs) Declared"),
            (D::Timestamp(TimeUnit::Millisecond, zone("UTC")), "Timestamp(µs, \"UTC\") Exact"),
            (D::Timestamp(TimeUnit::Millisecond, zone("Europe/Vienna")), "Timestamp(µs, \"UTC\") Declared"),
            (D::Time64(TimeUnit::Microsecond), "TG0503"),
            (D::Interval(arrow::datatypes::IntervalUnit::DayTime), "TG0503"),
            (D::Null, "TG0503"),
            (D::Dictionary(Box::new(D::Int8), Box::new(D::Utf8)), "Utf8 Exact"),
            (D::Dictionary(Box::new(D::Int8), Box::new(D::UInt8)), "Int16 Declared"),
            (D::Dictionary(Box::new(D::Int8), Box::new(D::Null)), "TG0503"),
            (D::new_list(D::UInt16, true), "List(Int32, field: 'element') Declared"),
            (D::new_list(D::Time32(TimeUnit::Second), true), "TG0503"),
        ] {
            let shown = from.to_string();
            assert_eq!(planned(from), expected, "{shown}");
        }
    }

    #[test]
    fn a_planned_schema_comes_back_from_delta_as_it_was() {
        let inner = Fields::from(vec![Field::new("x", DataType::LargeUtf8, false)]);
        let pair = Fields::from(vec![
            Field::new("keys", DataType::Utf8View, false),
            Field::new("values", DataType::new_large_list(DataType::UInt8, true), true),
        ]);
        let fields: Vec<Field> = [
            DataType::Struct(inner),
            DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair), false)), false),
            DataType::new_list(DataType::Timestamp(TimeUnit::Nanosecond, Some("+01:00".into())), false),
            DataType::Decimal256(12, 3),
            DataType::Timestamp(TimeUnit::Millisecond, None),
        ]
        .into_iter()
        .enumerate()
        .map(|(index, data_type)| plan_column(&Field::new(format!("c{index}"), data_type, true)).unwrap().0)
        .collect();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let back = delta::schema_from(&delta::schema_to(&schema).unwrap()).unwrap();
        assert_eq!(back, schema);
    }
}
