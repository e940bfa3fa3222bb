//! Makes what a source sends fit the table, as far as the pipeline's `schema_change` allows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use tidegate_model::{Change, Code, Fault, Reject, Result, SchemaChange, WriteMode};

use crate::aside;
use crate::types::{Verdict, convert, may_round, plan_column};

/// The schema a generation is written with, and what had to be done for it.
#[derive(Debug, Clone)]
pub struct Reconciled {
    /// What the table has after the generation.
    pub target: SchemaRef,
    /// Columns the table did not have.
    pub added: Vec<String>,
    /// What a person should know: declared conversions, columns left out.
    pub notes: Vec<String>,
}

/// Settles the schema of a generation: `table` is [`crate::Coordinator::table_schema`], `incoming` what the
/// source announces.
pub fn reconcile(
    table: Option<&Schema>,
    incoming: &Schema,
    change: SchemaChange,
    write: WriteMode,
) -> Result<Reconciled> {
    unambiguous(incoming)?;
    let mut notes = Vec::new();
    let mut planned: Vec<FieldRef> = Vec::with_capacity(incoming.fields().len());
    for field in incoming.fields() {
        let (column, verdict) = plan_column(field)?;
        if verdict == Verdict::Declared {
            notes.push(format!(
                "column `{}`: {} is stored as {}",
                field.name(),
                field.data_type(),
                column.data_type()
            ));
        }
        planned.push(Arc::new(column));
    }
    if planned.is_empty() {
        return Err(Fault::user(Code::SchemaRefused, "the stream has no columns"));
    }
    let Some(table) = table else {
        return Ok(Reconciled { target: Arc::new(Schema::new(planned)), added: Vec::new(), notes });
    };

    let mut target: Vec<FieldRef> = table.fields().iter().cloned().collect();
    let mut added = Vec::new();
    for column in planned {
        match target.iter().position(|field| same_name(field.name(), column.name())) {
            None => match change.columns {
                Change::Evolve => {
                    added.push(column.name().clone());
                    // Rows that are there already have no value in it.
                    let nullable = column.as_ref().clone().with_nullable(true);
                    target.push(Arc::new(nullable));
                }
                Change::Freeze => return Err(new_column(column.name())),
                Change::DiscardRow | Change::DiscardValue => {
                    notes.push(format!("column `{}` is new and left out", column.name()));
                }
            },
            Some(at) => {
                let settled = settle(&target[at], &column, change.data_type, write)?;
                target[at] = settled;
            }
        }
    }
    for field in &mut target {
        let sent = incoming.fields().iter().any(|column| same_name(column.name(), field.name()));
        if sent {
            continue;
        }
        if change.columns == Change::Freeze {
            return Err(Fault::user(
                Code::SchemaRefused,
                format!("column `{}` is in the table and no longer in the source", field.name()),
            )
            .help("set `ingest.schema_change.columns: evolve` to fill it with null"));
        }
        notes.push(format!("column `{}` is no longer in the source: null from now on", field.name()));
        *field = Arc::new(field.as_ref().clone().with_nullable(true));
    }
    Ok(Reconciled { target: Arc::new(Schema::new(target)), added, notes })
}

/// The column as the table will have it, when both table and source have it.
fn settle(table: &FieldRef, column: &FieldRef, change: Change, write: WriteMode) -> Result<FieldRef> {
    let same = table.data_type() == column.data_type();
    let settled = match change {
        _ if same => table.as_ref().clone(),
        Change::Freeze => return Err(new_type(table, column.data_type())),
        // All files are written anew, so that any type will do.
        Change::Evolve if write == WriteMode::Replace => column.as_ref().clone().with_name(table.name()),
        Change::Evolve if !widens(column.data_type(), table.data_type()) => {
            return Err(new_type(table, column.data_type()));
        }
        Change::Evolve | Change::DiscardRow | Change::DiscardValue => table.as_ref().clone(),
    };
    // Delta lets a column become nullable at any time, never the other way.
    let nullable = table.is_nullable() || column.is_nullable();
    Ok(Arc::new(settled.with_nullable(nullable)))
}

/// Delta, like most engines, does not tell names apart by case.
fn same_name(a: &str, b: &str) -> bool {
    a == b || a.to_lowercase() == b.to_lowercase()
}

fn unambiguous(schema: &Schema) -> Result<()> {
    let mut seen = HashMap::new();
    for field in schema.fields() {
        if let Some(other) = seen.insert(field.name().to_lowercase(), field.name()) {
            return Err(Fault::user(
                Code::SchemaRefused,
                format!("columns `{other}` and `{}` have the same name in a Delta table", field.name()),
            )
            .help("rename one of them at the source"));
        }
    }
    Ok(())
}

/// Whether every value of `from` is a value of `to`, told from the types alone.
fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType as D;
    let whole_digits = |data_type: &DataType| match data_type {
        D::Int8 => Some(3),
        D::Int16 => Some(5),
        D::Int32 => Some(10),
        D::Int64 => Some(19),
        _ => None,
    };
    match (from, to) {
        (D::Int8, D::Int16 | D::Int32 | D::Int64)
        | (D::Int16, D::Int32 | D::Int64)
        | (D::Int32, D::Int64)
        | (D::Int8 | D::Int16, D::Float32)
        | (D::Int8 | D::Int16 | D::Int32 | D::Float32, D::Float64)
        | (D::Date32, D::Timestamp(TimeUnit::Microsecond, None)) => true,
        (D::Decimal128(p, s), D::Decimal128(precision, scale)) => {
            scale >= s && i16::from(*precision) - i16::from(*scale) >= i16::from(*p) - i16::from(*s)
        }
        (from, D::Decimal128(precision, scale)) => {
            whole_digits(from).is_some_and(|digits: i16| i16::from(*precision) - i16::from(*scale) >= digits)
        }
        _ => false,
    }
}

fn new_column(name: &str) -> Fault {
    Fault::user(Code::SchemaRefused, format!("column `{name}` is new in the source")).help(
        "set `ingest.schema_change.columns` to `evolve` to add it, or to `discard_value` to leave it out",
    )
}

fn new_type(table: &Field, source: &DataType) -> Fault {
    Fault::user(
        Code::SchemaRefused,
        format!(
            "column `{}` is {} in the table and {source} in the source",
            table.name(),
            table.data_type()
        ),
    )
    .help(
        "`ingest.schema_change.data_type: evolve` allows what loses nothing, `discard_value` writes null where a value does not fit, \
         and `write: replace` writes the table anew with the new type",
    )
}

/// Turns batches of one incoming schema into the target's.
#[derive(Debug, Clone)]
pub struct Conform {
    incoming: SchemaRef,
    target: SchemaRef,
    columns: Vec<Column>,
    /// New columns, whose values cost the row.
    unwanted: Vec<usize>,
    change: SchemaChange,
}

#[derive(Debug, Clone)]
enum Column {
    Null,
    From {
        index: usize,
        /// The cast might round, so it is checked.
        rounds: bool,
        /// The source's type is not the one that the table's was made of.
        changed: bool,
    },
}

#[derive(Debug, Clone)]
pub struct Conformed {
    pub batch: RecordBatch,
    /// Rows that the pipeline's `schema_change` leaves out, to give to [`crate::Stager::reject`].
    pub rejects: Vec<Reject>,
}

impl Conform {
    /// `incoming` is the schema that one reader announced, `target` [`crate::Generation::schema`].
    pub fn new(incoming: &Schema, target: SchemaRef, change: SchemaChange) -> Result<Self> {
        unambiguous(incoming)?;
        let mut unwanted = Vec::new();
        for (index, field) in incoming.fields().iter().enumerate() {
            if target.fields().iter().any(|column| same_name(column.name(), field.name())) {
                continue;
            }
            match change.columns {
                Change::DiscardValue => {}
                Change::DiscardRow => unwanted.push(index),
                // The schema of a generation is settled when it is planned.
                Change::Evolve => {
                    return Err(new_column(field.name()).help(
                        "it came after the schema was settled: run again, or set `ingest.schema_change.columns: discard_value`",
                    ));
                }
                Change::Freeze => return Err(new_column(field.name())),
            }
        }
        let columns = target
            .fields()
            .iter()
            .map(|column| Self::column(incoming, column, change.data_type))
            .collect::<Result<_>>()?;
        Ok(Self { incoming: Arc::new(incoming.clone()), target, columns, unwanted, change })
    }

    fn column(incoming: &Schema, column: &Field, change: Change) -> Result<Column> {
        let found = incoming.fields().iter().position(|field| same_name(field.name(), column.name()));
        let Some(index) = found else {
            if column.is_nullable() {
                return Ok(Column::Null);
            }
            return Err(Fault::user(
                Code::SchemaRefused,
                format!("column `{}` must have values and is not in the source", column.name()),
            ));
        };
        let field = incoming.field(index);
        let (planned, _) = plan_column(field)?;
        let changed = planned.data_type() != column.data_type();
        let refused = match change {
            Change::Freeze => changed,
            Change::Evolve => changed && !widens(planned.data_type(), column.data_type()),
            Change::DiscardRow | Change::DiscardValue => false,
        };
        if refused {
            return Err(new_type(column, planned.data_type()));
        }
        // Parsing a text succeeds or fails; the way back may well give another spelling.
        let parsed = planned.data_type() == &DataType::Utf8;
        Ok(Column::From { index, rounds: (changed && !parsed) || may_round(field.data_type()), changed })
    }

    /// Borrows what needs no change, so that a batch that fits costs nothing.
    pub fn apply(&self, batch: &RecordBatch) -> Result<Conformed> {
        if batch.schema_ref().fields().len() != self.incoming.fields().len() {
            return Err(Fault::internal(Code::BadBatch, "a batch has another schema than was announced"));
        }
        let rows = batch.num_rows();
        let mut dropped = Dropped::default();
        for &index in &self.unwanted {
            let name = self.incoming.field(index).name();
            let column = batch.column(index);
            dropped.add(rows, |row| column.is_valid(row), || format!("column `{name}` is not in the table"));
        }
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for (column, field) in self.columns.iter().zip(self.target.fields()) {
            let Column::From { index, rounds, changed } = column else {
                columns.push(new_null_array(field.data_type(), rows));
                continue;
            };
            let source = batch.column(*index);
            let lenient =
                *changed && matches!(self.change.data_type, Change::DiscardRow | Change::DiscardValue);
            let converted = convert(source, field.data_type(), *rounds, lenient).map_err(|error| {
                Fault::user(Code::TypeRefused, format!("column `{}`: {error}", field.name()))
                    .help("send the values at the source in a type of the table's range")
            })?;
            if lenient && self.change.data_type == Change::DiscardRow {
                dropped.add(
                    rows,
                    |row| converted.is_null(row) && source.is_valid(row),
                    || format!("the value of `{}` is not a {}", field.name(), field.data_type()),
                );
            }
            if !field.is_nullable() && converted.null_count() > 0 {
                return Err(Fault::user(
                    Code::SchemaRefused,
                    format!("column `{}` has a null, and the table says that it has none", field.name()),
                ));
            }
            columns.push(converted);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let conformed = RecordBatch::try_new_with_options(Arc::clone(&self.target), columns, &options)
            .map_err(|error| Fault::internal(Code::BadBatch, error.to_string()))?;
        dropped.finish(batch, conformed)
    }
}

/// Rows left out of a batch, each with the first reason.
#[derive(Default)]
struct Dropped(HashMap<usize, String>);

impl Dropped {
    fn add(&mut self, rows: usize, test: impl Fn(usize) -> bool, why: impl Fn() -> String) {
        for row in (0..rows).filter(|&row| test(row)) {
            self.0.entry(row).or_insert_with(&why);
        }
    }

    /// `source` is the batch as it came, for the rejects' text.
    fn finish(self, source: &RecordBatch, batch: RecordBatch) -> Result<Conformed> {
        if self.0.is_empty() {
            return Ok(Conformed { batch, rejects: Vec::new() });
        }
        let drop = BooleanBuffer::collect_bool(batch.num_rows(), |row| self.0.contains_key(&row));
        let keep = BooleanArray::new(!&drop, None);
        let why = |row| self.0.get(&row).cloned().unwrap_or_default();
        let conformed = || -> Result<Conformed, ArrowError> {
            Ok(Conformed {
                batch: filter_record_batch(&batch, &keep)?,
                rejects: aside::rejects(source, &BooleanArray::new(drop, None), "schema_change", why)?,
            })
        };
        conformed().map_err(|error| Fault::internal(Code::Bug, error.to_string()))
    }
}
