//! A file's statistics in Delta's JSON, from what the Parquet writer found anyway.
//!
//! Engines skip files by them, so a bound that might be wrong is left out: there is none for nested columns,
//! for decimals (JSON has no exact ones), for text that Parquet cut short, nor an upper one for floats (a NaN
//! is greater than all, and Parquet's leave it out).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Date32Array, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use serde_json::{Map, Value, json};

#[derive(Default)]
struct Column {
    nulls: Option<u64>,
    min: Option<Bound>,
    max: Option<Bound>,
}

#[derive(Debug, Clone, PartialEq, PartialOrd)]
enum Bound {
    Whole(i64),
    Real(f64),
    Text(String),
}

pub(crate) fn of(schema: &Schema, metadata: &ParquetMetaData) -> String {
    let mut columns: BTreeMap<String, Column> = BTreeMap::new();
    let leaves = metadata.file_metadata().schema_descr();
    for (index, leaf) in leaves.columns().iter().enumerate() {
        let [name] = leaf.path().parts() else { continue };
        let Ok(field) = schema.field_with_name(name) else { continue };
        let groups: Option<Vec<&Statistics>> =
            metadata.row_groups().iter().map(|group| group.column(index).statistics()).collect();
        let Some(groups) = groups else { continue };
        columns.insert(name.clone(), column(&groups, field.data_type()));
    }
    let part = |pick: &dyn Fn(&Column) -> Option<Value>| -> Map<String, Value> {
        columns.iter().filter_map(|(name, column)| Some((name.clone(), pick(column)?))).collect()
    };
    let shown = |name: &str, bound: Option<&Bound>| bound.and_then(|bound| show(schema, name, bound));
    let bounds = |pick: &dyn Fn(&Column) -> Option<&Bound>| -> Map<String, Value> {
        let shown =
            columns.iter().filter_map(|(name, column)| Some((name.clone(), shown(name, pick(column))?)));
        shown.collect()
    };
    json!({
        "numRecords": metadata.file_metadata().num_rows(),
        "minValues": bounds(&|column| column.min.as_ref()),
        "maxValues": bounds(&|column| column.max.as_ref()),
        "nullCount": part(&|column| column.nulls.map(Value::from)),
    })
    .to_string()
}

fn column(groups: &[&Statistics], data_type: &DataType) -> Column {
    // A group of nothing but nulls has no bounds and takes none away.
    let with_values =
        groups.iter().filter(|group| group.min_bytes_opt().is_some() || group.max_bytes_opt().is_some());
    let with_values: Vec<_> = with_values.collect();
    let unbounded = groups.len() - with_values.len();
    let only_nulls = groups.iter().filter(|group| group.min_bytes_opt().is_none()).all(|group| {
        // Without a count there may be values whose bounds are unknown, such as NaN alone.
        group.null_count_opt().is_some() && !data_type.is_floating()
    });
    let whole = unbounded == 0 || only_nulls;
    let fold = |pick: &dyn Fn(&Statistics) -> Option<Bound>, keep: std::cmp::Ordering| -> Option<Bound> {
        let bounds: Option<Vec<Bound>> = with_values.iter().map(|group| pick(group)).collect();
        bounds
            .filter(|_| whole)?
            .into_iter()
            .reduce(|a, b| if a.partial_cmp(&b) == Some(keep) { a } else { b })
    };
    let floats = data_type.is_floating();
    Column {
        nulls: groups.iter().map(|group| group.null_count_opt()).sum(),
        min: fold(&|group| bound(group, data_type, true), std::cmp::Ordering::Less),
        max: fold(&|group| bound(group, data_type, false), std::cmp::Ordering::Greater).filter(|_| !floats),
    }
}

fn bound(group: &Statistics, data_type: &DataType, min: bool) -> Option<Bound> {
    let bounded = matches!(
        data_type,
        DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float32
            | DataType::Float64
            | DataType::Date32
            | DataType::Timestamp(..)
            | DataType::Utf8
    );
    if !bounded {
        return None;
    }
    match group {
        Statistics::Int32(of) => {
            if min { of.min_opt() } else { of.max_opt() }.map(|v| Bound::Whole((*v).into()))
        }
        Statistics::Int64(of) => if min { of.min_opt() } else { of.max_opt() }.map(|v| Bound::Whole(*v)),
        Statistics::Float(of) => {
            if min { of.min_opt() } else { of.max_opt() }.map(|v| Bound::Real((*v).into()))
        }
        Statistics::Double(of) => if min { of.min_opt() } else { of.max_opt() }.map(|v| Bound::Real(*v)),
        Statistics::ByteArray(of) => {
            let exact = if min { group.min_is_exact() } else { group.max_is_exact() };
            let value = if min { of.min_opt() } else { of.max_opt() }?;
            let text = value.as_utf8().ok()?;
            exact.then(|| Bound::Text(text.to_owned()))
        }
        _ => None,
    }
}

fn show(schema: &Schema, name: &str, bound: &Bound) -> Option<Value> {
    let data_type = schema.field_with_name(name).ok()?.data_type();
    let text = |column: ArrayRef| -> Option<Value> {
        let text = cast(&column, &DataType::Utf8).ok()?;
        Some(Value::from(text.as_string_opt::<i32>()?.value(0)))
    };
    match (bound, data_type) {
        (Bound::Whole(days), DataType::Date32) => {
            text(Arc::new(Date32Array::from(vec![i32::try_from(*days).ok()?])))
        }
        (Bound::Whole(micros), DataType::Timestamp(_, zone)) => {
            text(Arc::new(TimestampMicrosecondArray::from(vec![*micros]).with_timezone_opt(zone.clone())))
        }
        (Bound::Whole(number), _) => Some(Value::from(*number)),
        (Bound::Real(number), _) => number.is_finite().then(|| Value::from(*number)),
        (Bound::Text(text), _) => Some(Value::from(text.as_str())),
    }
}
