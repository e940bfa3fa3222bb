//! A stream's schema, from samples of its files.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use tidegate_decode::{Inferred, merge, type_name};
use tidegate_sdk::{Context, Fault, Level, Result, Stream};

use crate::config::{CompressionName, Config};
use crate::listing::{self, File, Kind};
use crate::{lane, schema};

/// Files looked at, spread over all of them; the first and the last always.
const MOST_FILES: usize = 256;
/// Bytes looked at, over all files, and in one of them.
const MOST_BYTES: u64 = 16 << 20;
const MOST_BYTES_A_FILE: u64 = 4 << 20;

pub struct Described {
    pub schema: SchemaRef,
    pub notes: Vec<String>,
    pub estimated_rows: Option<u64>,
}

/// Every stream there is. One that cannot be read is left out, with a warning; if none can, that is the
/// fault.
pub fn all(cx: &Context<Config>) -> Result<Vec<Stream>> {
    let streams = listing::streams(cx)?;
    let mut found = Vec::with_capacity(streams.len());
    let mut failure = None;
    for (name, files) in streams {
        match stream(cx, &files) {
            Ok(described) => {
                let cursors = cursors(&described.schema);
                let mut stream = Stream::new(name, described.schema).with_cursors(cursors);
                stream.estimated_rows = described.estimated_rows;
                stream.estimated_bytes = Some(files.iter().map(|file| file.size).sum());
                stream.notes = described.notes;
                found.push(stream);
            }
            Err(fault) => {
                let fault = fault.during(format_args!("stream `{name}`"));
                cx.log(Level::Warn, format!("left out: {}", fault.message));
                failure.get_or_insert(fault);
            }
        }
    }
    match failure {
        Some(fault) if found.is_empty() => Err(fault),
        _ => Ok(found),
    }
}

/// Columns whose values have an order.
fn cursors(schema: &SchemaRef) -> Vec<String> {
    let ordered = schema.fields().iter().filter(|field| {
        let data_type = field.data_type();
        data_type.is_integer() || data_type.is_temporal() || data_type.is_string()
    });
    ordered.map(|field| field.name().clone()).collect()
}

/// What these files have in common.
pub fn stream(cx: &Context<Config>, files: &[File]) -> Result<Described> {
    let sampled = spread(files);
    let each = (MOST_BYTES / sampled.len().max(1) as u64).min(MOST_BYTES_A_FILE);
    let mut merged: Option<Inferred> = None;
    let (mut bytes, mut looked_at, mut groups) = (0, 0, 0);
    for file in &sampled {
        if file.size == 0 {
            continue;
        }
        let label = file.label(&cx.config.location);
        let sample = lane::infer(cx, file, each as u32)?;
        let mut inferred = sample.inferred;
        if files.len() > 1 {
            inferred.notes.iter_mut().for_each(|note| *note = format!("{label}: {note}"));
        }
        bytes += file.size.min(each);
        looked_at += 1;
        groups += sample.row_groups.iter().sum::<u64>();
        merged = Some(match merged {
            None => inferred,
            Some(merged) if file.kind == Kind::Parquet => same_types(merged, inferred, &label)?,
            Some(merged) => merge(merged, inferred),
        });
    }
    let Some(merged) = merged else {
        let names: Vec<_> = files.iter().take(3).map(|file| file.label(&cx.config.location)).collect();
        return Err(Fault::user(
            "invalid",
            format!("{} is empty: there is nothing to tell columns from", names.join(", ")),
        ));
    };
    let parquet = files.iter().all(|file| file.kind == Kind::Parquet);
    let plain = files.iter().all(|file| file.compression == CompressionName::None);
    let total: u64 = files.iter().map(|file| file.size).sum();
    let whole = looked_at == files.iter().filter(|file| file.size > 0).count();
    let estimated_rows = if parquet {
        whole.then_some(groups)
    } else {
        (plain && bytes > 0).then(|| (u128::from(merged.rows) * u128::from(total) / u128::from(bytes)) as u64)
    };
    let saw_all = whole && plain && bytes == total;
    let mut described = merged.settle();
    if parquet && !whole {
        described.notes.push(format!("columns are those that {looked_at} of {} files declare", files.len()));
    } else if !parquet && !saw_all {
        let of = if files.len() == 1 {
            String::new()
        } else {
            format!(" of {looked_at} of {} files", files.len())
        };
        described.notes.push(format!(
            "types found from the first {} rows{of}; a later value that does not fit sets its row aside",
            described.rows
        ));
    }
    Ok(Described {
        schema: Arc::new(schema::without_metadata(&described.schema)?),
        notes: described.notes,
        estimated_rows,
    })
}

/// Parquet files say what their columns are: one that says otherwise is a mistake, not a matter of samples.
fn same_types(merged: Inferred, other: Inferred, label: &str) -> Result<Inferred> {
    for field in other.schema.fields() {
        if let Ok(known) = merged.schema.field_with_name(field.name())
            && known.data_type() != field.data_type()
        {
            return Err(Fault::user(
                "invalid",
                format!(
                    "{label}: column `{}` is {}, but {} in the files before it; name the files that belong together under `streams`",
                    field.name(),
                    type_name(field.data_type()),
                    type_name(known.data_type())
                ),
            ));
        }
    }
    Ok(merge(merged, other))
}

fn spread(files: &[File]) -> Vec<&File> {
    if files.len() <= MOST_FILES {
        return files.iter().collect();
    }
    (0..MOST_FILES).map(|at| &files[at * (files.len() - 1) / (MOST_FILES - 1)]).collect()
}
