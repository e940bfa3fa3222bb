//! Parquet, row group by row group.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt64Array, new_null_array,
};
use arrow::compute::{CastOptions, cast, cast_with_options, filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use tidegate_decode::{row_width, type_name};
use tidegate_model::Reject;

use super::{Piece, content};
use crate::bindings::decode::Inferred;
use crate::files::Object;
use crate::refusal::{Asked, Refusal, clipped};
use crate::{batch, schema, weight};

/// Read at a time.
const MAX_ROWS: usize = 1 << 14;
/// Of one row group's data in memory, by what its footer says.
const MAX_ROW_GROUP: i64 = 4 << 30;

type Builder = ParquetRecordBatchReaderBuilder<Object>;

fn builder(object: Object, origin: &str) -> Asked<Builder> {
    Builder::try_new(object)
        .map_err(|error| content(origin, format!("this is not a readable Parquet file: {error}")))
}

pub(super) fn infer(object: Object, origin: &str) -> Asked<Inferred> {
    let builder = builder(object, origin)?;
    let schema = bare(builder.schema());
    let groups = builder.metadata().row_groups();
    let row_groups: Vec<u64> = groups.iter().map(|group| count(group.num_rows())).collect();
    Ok(Inferred {
        schema: schema::to_wit(&schema).map_err(|fault| content(origin, fault.message))?,
        rows: count(builder.metadata().file_metadata().num_rows()),
        notes: Vec::new(),
        row_groups,
    })
}

fn count(rows: i64) -> u64 {
    u64::try_from(rows).unwrap_or_default()
}

/// Without the metadata that writers leave: it is theirs.
fn bare(schema: &Schema) -> SchemaRef {
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_metadata(Default::default()))
        .collect();
    Arc::new(Schema::new(fields))
}

/// The field read as views, which a dictionary page or a row's repeated text does not multiply.
fn viewed(field: &FieldRef) -> FieldRef {
    let item = |item: &FieldRef| viewed(item);
    let data_type = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::List(of) => DataType::List(item(of)),
        DataType::LargeList(of) => DataType::LargeList(item(of)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(item).collect()),
        _ => return Arc::clone(field),
    };
    Arc::new(Field::clone(field).with_data_type(data_type))
}

/// Reads lazily: the first `next` says how large batches are to be.
///
/// What is read shares its texts; it is weighed before it is unpacked, and given out in pieces that fit. What
/// the file says of its own sizes is not relied on.
pub(super) struct ParquetKernel {
    waiting: Option<Builder>,
    reader: Option<ParquetRecordBatchReader>,
    left: Left,
    /// The file's own fields, of which some are read as views.
    own: Fields,
    schema: SchemaRef,
    /// Bytes of a row in which all is null, read or wanted.
    row_width: u64,
    /// Rows so far.
    position: u64,
    origin: String,
}

/// Rows that were read and not given out yet.
struct Left {
    rows: RecordBatch,
    /// Bytes of each once it is unpacked.
    weights: std::vec::IntoIter<u64>,
}

impl Default for Left {
    fn default() -> Self {
        Self { rows: RecordBatch::new_empty(Arc::new(Schema::empty())), weights: Vec::new().into_iter() }
    }
}

impl Left {
    fn of(rows: RecordBatch) -> Self {
        let weights = weight::rows(&rows).into_iter();
        Self { rows, weights }
    }

    fn next_weight(&self) -> Option<u64> {
        self.weights.as_slice().first().copied()
    }

    /// As many rows as fit in `max` bytes, but one at least, and nothing of the others: what is below a list
    /// is unpacked as a whole.
    fn take(&mut self, max: u64) -> Result<RecordBatch, ArrowError> {
        let weights = self.weights.as_slice();
        let mut sum = 0_u64;
        let fits = |weight: &&u64| {
            sum = sum.saturating_add(**weight);
            sum <= max
        };
        let count = weights.iter().take_while(fits).count().max(1);
        let from = self.rows.num_rows() - weights.len();
        self.weights.by_ref().take(count).for_each(drop);
        if count == self.rows.num_rows() {
            return Ok(self.rows.clone());
        }
        let rows = UInt64Array::from_iter_values((from as u64..).take(count));
        take_record_batch(&self.rows, &rows)
    }
}

/// The batch with its columns' own types, which costs what the rows weigh.
fn restored(batch: &RecordBatch, own: &Fields) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = batch.columns().iter().zip(own);
    let columns = columns.map(|(column, field)| cast(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new_with_options(Arc::new(Schema::new(own.clone())), columns, &options)
}

impl ParquetKernel {
    pub(super) fn open(
        object: Object,
        groups: &[u32],
        wanted: Option<SchemaRef>,
        origin: String,
    ) -> Asked<Self> {
        let unreadable = |error| content(&origin, format!("this is not a readable Parquet file: {error}"));
        let options = ArrowReaderOptions::new();
        let read = ArrowReaderMetadata::load(&object, options.clone()).map_err(unreadable)?;
        let own = read.schema().fields().clone();
        let views: Fields = own.iter().map(viewed).collect();
        let views = Schema::new_with_metadata(views, read.schema().metadata().clone());
        let read =
            ArrowReaderMetadata::try_new(read.metadata().clone(), options.with_schema(Arc::new(views)))
                .map_err(unreadable)?;
        let builder = Builder::new_with_metadata(object, read);
        let metadata = builder.metadata().clone();
        let groups: Vec<usize> = match groups {
            [] => (0..metadata.num_row_groups()).collect(),
            some => some.iter().map(|group| *group as usize).collect(),
        };
        for at in &groups {
            let group = metadata.row_groups().get(*at).ok_or_else(|| {
                Refusal::invalid(format!("{origin} has {} row groups, not {at}", metadata.num_row_groups()))
            })?;
            if group.total_byte_size() > MAX_ROW_GROUP {
                return Err(Refusal::limit(format!("{origin}: a row group of more than 4 GiB")));
            }
        }
        let schema = wanted.unwrap_or_else(|| bare(&Schema::new(own.clone())));
        let roots: Vec<usize> = builder
            .schema()
            .fields()
            .iter()
            .enumerate()
            .filter(|(_, field)| schema.column_with_name(field.name()).is_some())
            .map(|(at, _)| at)
            .collect();
        let own: Fields = roots.iter().map(|at| own[*at].clone()).collect();
        let views: Fields = own.iter().map(viewed).collect();
        let row_width = row_width(&views).max(row_width(schema.fields())).max(1);
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let waiting = Some(builder.with_row_groups(groups).with_projection(mask));
        Ok(Self { waiting, reader: None, left: Left::default(), own, schema, row_width, position: 0, origin })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn next(&mut self, max_bytes: usize) -> Asked<Option<Piece>> {
        if let Some(builder) = self.waiting.take() {
            let width = usize::try_from(self.row_width).unwrap_or(usize::MAX);
            let rows = (max_bytes / width).clamp(1, MAX_ROWS);
            let reader =
                builder.with_batch_size(rows).build().map_err(|error| content(&self.origin, error))?;
            self.reader = Some(reader);
        }
        let told = |error: &dyn std::fmt::Display| content(&self.origin, error);
        while self.left.next_weight().is_none() {
            let Some(read) = self.reader.as_mut().and_then(Iterator::next) else {
                return Ok(None);
            };
            self.left = Left::of(read.map_err(|error| told(&error))?);
        }
        let first = self.position;
        if let Some(bytes) = self.left.next_weight().filter(|bytes| *bytes > batch::MAX_BYTES) {
            return Err(told(&format!("row {first} takes {bytes} bytes, more than 64 MiB")));
        }
        let shared = self.left.take(max_bytes as u64).map_err(|error| told(&error))?;
        self.position += shared.num_rows() as u64;
        let read = restored(&shared, &self.own).map_err(|error| told(&error))?;
        let (batch, rejects) = self.fit(&read, first)?;
        Ok(Some(Piece { batch, rejects, position: self.position }))
    }

    /// The columns that are wanted, as the types that are wanted. A value that its new type cannot hold costs
    /// its row.
    fn fit(&self, read: &RecordBatch, first: u64) -> Asked<(RecordBatch, Vec<Reject>)> {
        let told = |error: ArrowError| content(&self.origin, error);
        let mut lost: Vec<Option<String>> = vec![None; read.num_rows()];
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            let Some(column) = read.column_by_name(field.name()) else {
                columns.push(new_null_array(field.data_type(), read.num_rows()));
                continue;
            };
            if column.data_type() == field.data_type() {
                columns.push(column.clone());
                continue;
            }
            let safe = CastOptions { safe: true, ..CastOptions::default() };
            let cast = cast_with_options(column, field.data_type(), &safe).map_err(told)?;
            if cast.null_count() > column.logical_null_count() {
                for (row, lost) in lost.iter_mut().enumerate() {
                    if cast.is_null(row) && column.is_valid(row) && lost.is_none() {
                        let value = array_value_to_string(column, row).unwrap_or_default();
                        let (name, wanted) = (field.name(), type_name(field.data_type()));
                        let (name, value) = (clipped(name, 200), clipped(&value, 200));
                        *lost = Some(clipped(&format!("column `{name}`: `{value}` is not {wanted}"), 4096));
                    }
                }
            }
            columns.push(cast);
        }
        let rejects: Vec<Reject> = (first..)
            .zip(&lost)
            .filter_map(|(row, reason)| {
                let reason = format!("row {row}: {}", reason.as_ref()?);
                Some(Reject { origin: self.origin.clone(), position: row, reason, raw: None })
            })
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(read.num_rows()));
        if rejects.is_empty() {
            let batch =
                RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(told)?;
            return Ok((batch, rejects));
        }
        let keep: BooleanArray = lost.iter().map(|lost| Some(lost.is_none())).collect();
        // Nullability is restored after the rows that broke it are gone.
        let open: Vec<_> =
            self.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(open)), columns, &options);
        let kept = filter_record_batch(&batch.map_err(told)?, &keep).map_err(told)?;
        let options = RecordBatchOptions::new().with_row_count(Some(kept.num_rows()));
        let (_, columns, _) = kept.into_parts();
        let batch =
            RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(told)?;
        Ok((batch, rejects))
    }
}
