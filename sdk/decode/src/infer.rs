//! Schemas from samples.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use crate::{Error, Format, Result, csv, json};

/// What a sample shows.
#[derive(Debug, Clone)]
pub struct Inferred {
    /// Every column is nullable. One that has no value in the sample has the type null: another file may know
    /// better, see [`merge`] and [`Inferred::settle`].
    pub schema: SchemaRef,
    /// Records looked at.
    pub rows: u64,
    /// What a person should know, such as `` `speed` is text because of "NA" (line 3) ``.
    pub notes: Vec<String>,
}

impl Inferred {
    /// Makes columns text that had no value in any sample, and says so.
    #[must_use]
    pub fn settle(mut self) -> Self {
        let mut unknown = Vec::new();
        for field in self.schema.fields() {
            collect_unknown(field, field.name(), &mut unknown);
        }
        if unknown.is_empty() {
            return self;
        }
        let names = unknown.join(", ");
        self.notes.push(if self.rows == 0 {
            format!("there are no rows to tell types from: {names} taken for text")
        } else {
            format!("no value in the sample of {} rows: {names} taken for text", self.rows)
        });
        let fields: Fields = self.schema.fields().iter().map(|field| settled(field)).collect();
        self.schema = Arc::new(Schema::new_with_metadata(fields, self.schema.metadata().clone()));
        self
    }
}

fn collect_unknown(field: &Field, path: &str, unknown: &mut Vec<String>) {
    match field.data_type() {
        DataType::Null => unknown.push(format!("`{path}`")),
        DataType::List(item) => collect_unknown(item, &format!("{path}[]"), unknown),
        DataType::Struct(fields) => {
            for child in fields {
                collect_unknown(child, &format!("{path}.{}", child.name()), unknown);
            }
        }
        _ => {}
    }
}

fn settled(field: &Field) -> Field {
    let data_type = match field.data_type() {
        DataType::Null => DataType::Utf8,
        DataType::List(item) => DataType::List(Arc::new(settled(item))),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| settled(field)).collect()),
        other => other.clone(),
    };
    field.clone().with_data_type(data_type)
}

/// Finds a schema that fits the sample: the beginning of a stream, all of it when `complete`.
///
/// Types are int64, float64, boolean, date32, timestamps in microseconds (in nanoseconds where a value needs
/// it; of UTC where values name their offset), else text; in JSON also lists and structs. A number is one in
/// CSV by what it looks like, in JSON when it is not a string; dates and timestamps are told by what they
/// look like in both. Numbers with leading zeros, and integers beyond 64 bits, are text: nothing is lost.
pub fn infer(format: &Format, sample: &[u8], complete: bool) -> Result<Inferred> {
    looks_like_text(sample)?;
    match format {
        Format::Csv(options) => csv::infer(options, sample, complete),
        Format::Ndjson | Format::Json { .. } => json::infer(format, sample, complete),
    }
}

fn looks_like_text(sample: &[u8]) -> Result<()> {
    let kinds: [(&[u8], &str); 4] = [
        (b"PAR1", "a Parquet file"),
        (b"\x1f\x8b", "compressed with gzip"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
        (b"PK\x03\x04", "a zip archive (or an Excel workbook)"),
    ];
    let kind = kinds.iter().find(|(magic, _)| sample.starts_with(magic)).map(|(_, kind)| *kind);
    let kind = kind.or_else(|| sample.contains(&0).then_some("not text: it has zero bytes"));
    if sample.is_empty() {
        return Err(Error::content("it is empty"));
    }
    kind.map_or(Ok(()), |kind| Err(Error::content(format!("it is {kind}"))))
}

/// One schema for the files of two samples: the union of their columns, in order of first appearance. Where
/// types differ, integers give way to floats, and anything else to text.
#[must_use]
pub fn merge(first: Inferred, second: Inferred) -> Inferred {
    let mut notes = first.notes;
    notes.extend(second.notes);
    let fields = union(first.schema.fields(), second.schema.fields(), "", &mut notes);
    let mut seen = std::collections::HashSet::new();
    notes.retain(|note| seen.insert(note.clone()));
    let schema = Schema::new_with_metadata(fields, first.schema.metadata().clone());
    Inferred { schema: Arc::new(schema), rows: first.rows + second.rows, notes }
}

fn union(first: &Fields, second: &Fields, path: &str, notes: &mut Vec<String>) -> Fields {
    let mut fields: Vec<Field> = first.iter().map(|field| field.as_ref().clone()).collect();
    for field in second {
        match fields.iter_mut().find(|known| known.name() == field.name()) {
            Some(known) => {
                let path = format!("{path}{}", field.name());
                *known = known
                    .clone()
                    .with_data_type(common(known.data_type(), field.data_type(), &path, notes))
                    .with_nullable(known.is_nullable() || field.is_nullable());
            }
            None => fields.push(field.as_ref().clone().with_nullable(true)),
        }
    }
    for field in &mut fields {
        if second.find(field.name()).is_none() {
            *field = field.clone().with_nullable(true);
        }
    }
    fields.into()
}

/// The type that values of both have.
fn common(first: &DataType, second: &DataType, path: &str, notes: &mut Vec<String>) -> DataType {
    use DataType::{Float64, Int64, List, Null, Struct, Timestamp, Utf8};
    match (first, second) {
        (a, b) if a == b => a.clone(),
        (Null, known) | (known, Null) => known.clone(),
        (Int64, Float64) | (Float64, Int64) => Float64,
        (Timestamp(_, zone), Timestamp(_, other)) if zone == other => {
            Timestamp(TimeUnit::Nanosecond, zone.clone())
        }
        (List(a), List(b)) => {
            let item = common(a.data_type(), b.data_type(), &format!("{path}[]"), notes);
            List(Arc::new(a.as_ref().clone().with_data_type(item).with_nullable(true)))
        }
        (Struct(a), Struct(b)) => Struct(union(a, b, &format!("{path}."), notes)),
        (a, b) => {
            let (a, b) = (spelled(a), spelled(b));
            notes.push(format!("`{path}` is text because it is {a} in one file and {b} in another"));
            Utf8
        }
    }
}

/// A type in words for people.
pub(crate) fn spelled(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "text".into(),
        DataType::Timestamp(..) => "timestamp".into(),
        DataType::List(_) => "list".into(),
        DataType::Struct(_) => "object".into(),
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inferred(columns: &[(&str, DataType)]) -> Inferred {
        let fields: Vec<_> =
            columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect();
        Inferred { schema: Arc::new(Schema::new(fields)), rows: 1, notes: Vec::new() }
    }

    #[test]
    fn types_that_differ_meet() {
        let list = |item| DataType::List(Arc::new(Field::new("item", item, true)));
        for (a, b, expected) in [
            (DataType::Int64, DataType::Int64, DataType::Int64),
            (DataType::Int64, DataType::Float64, DataType::Float64),
            (DataType::Null, DataType::Date32, DataType::Date32),
            (DataType::Date32, DataType::Int64, DataType::Utf8),
            (list(DataType::Null), list(DataType::Int64), list(DataType::Int64)),
        ] {
            for (a, b) in [(&a, &b), (&b, &a)] {
                let merged = merge(inferred(&[("x", a.clone())]), inferred(&[("x", b.clone())]));
                assert_eq!(*merged.schema.field(0).data_type(), expected, "{a} and {b}");
                assert_eq!(merged.notes.is_empty(), expected != DataType::Utf8);
            }
        }
    }

    #[test]
    fn columns_are_united_and_unknown_ones_become_text() {
        let one = inferred(&[("a", DataType::Int64), ("b", DataType::Null)]);
        let two = inferred(&[("c", DataType::Boolean), ("a", DataType::Int64)]);
        let merged = merge(one, two).settle();
        let shown: Vec<_> = merged
            .schema
            .fields()
            .iter()
            .map(|field| format!("{} {}", field.name(), field.data_type()))
            .collect();
        assert_eq!(shown, ["a Int64", "b Utf8", "c Boolean"]);
        assert_eq!(merged.notes, ["no value in the sample of 2 rows: `b` taken for text"]);
    }
}
