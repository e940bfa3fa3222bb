//! The rows that a source may send again, by hash: those between the window's beginning and the mark.
//!
//! A generation begins with the set that the last one left, recognises rows by it, and leaves a set of its
//! own: the rows it recognised or loaded that lie in the next window. As rows need no key to be told apart, a
//! set says how often each is there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema, UInt32Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use tidegate_model::{Code, Fault, Result};

use crate::cursor;
use crate::document::SeenAt;
use crate::journal::Journal;
use crate::row_hash::RowHash;

/// Invariant 12: the most rows that a window may hold. One takes 60 bytes while a generation is read.
const MOST: usize = 4_000_000;

/// A set of at most so many bytes is written where it is named, and needs no file.
const SMALL: usize = 4 << 10;

/// Rows by hash, in any order, with repetitions.
///
/// Columns: `hash`, `cursor` (null for a record that was set aside, which has none), `known` and `landed`. In
/// a state `known` rows are still to be recognised and `landed` are those of the generation that goes on. In
/// a receipt `known` were recognised and `landed` are new.
#[derive(Debug, Clone)]
pub(crate) struct Seen(RecordBatch);

impl Seen {
    pub(crate) fn empty(cursor: &DataType) -> Self {
        Self(RecordBatch::new_empty(schema(cursor)))
    }

    /// One entry a row.
    pub(crate) fn of(hashes: &[RowHash], cursor: ArrayRef, known: u32, landed: u32) -> Result<Self> {
        let times = |number: u32| vec![number; hashes.len()];
        Self::build(hashes, cursor, times(known), times(landed))
    }

    fn build(hashes: &[RowHash], cursor: ArrayRef, known: Vec<u32>, landed: Vec<u32>) -> Result<Self> {
        let mut column = FixedSizeBinaryBuilder::with_capacity(hashes.len(), 16);
        for hash in hashes {
            column.append_value(hash.to_be_bytes()).map_err(|error| bug(&error))?;
        }
        let schema = schema(cursor.data_type());
        let columns: Vec<ArrayRef> = vec![
            Arc::new(column.finish()),
            cursor,
            Arc::new(UInt32Array::from(known)),
            Arc::new(UInt32Array::from(landed)),
        ];
        RecordBatch::try_new(schema, columns).map(Self).map_err(|error| bug(&error))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.num_rows()
    }

    /// All pieces as one.
    pub(crate) fn all(cursor: &DataType, pieces: &[Self]) -> Result<Self> {
        let schema = schema(cursor);
        if let Some(other) = pieces.iter().find(|piece| piece.0.schema() != schema) {
            return Err(Fault::user(
                Code::BadState,
                format!("the cursor was {} and is {cursor} now", other.cursor().data_type()),
            )
            .help("read everything anew: `tidegate run PIPELINE.yaml --full-refresh`"));
        }
        let all = concat_batches(&schema, pieces.iter().map(|piece| &piece.0));
        all.map(Self).map_err(|error| bug(&error))
    }

    /// Without what was loaded below `low`. What was recognised stays: it is counted off the known ones.
    pub(crate) fn prune(&mut self, low: &str) -> Result<()> {
        let within = cursor::window(self.cursor(), Some(low), None)?;
        let Some(within) = within else { return Ok(()) };
        let known = self.known();
        let keep =
            (0..self.len()).map(|row| within.is_null(row) || within.value(row) || known.value(row) > 0);
        let keep = keep.map(Some).collect();
        self.0 = filter_record_batch(&self.0, &keep).map_err(|error| bug(&error))?;
        Ok(())
    }

    fn cursor(&self) -> &ArrayRef {
        self.0.column(1)
    }

    fn known(&self) -> &UInt32Array {
        self.0.column(2).as_primitive::<UInt32Type>()
    }

    fn landed(&self) -> &UInt32Array {
        self.0.column(3).as_primitive::<UInt32Type>()
    }

    fn hashes(&self) -> impl Iterator<Item = RowHash> {
        let column = self.0.column(0).as_fixed_size_binary();
        (0..self.len()).map(move |row| {
            let bytes = column.value(row).try_into().unwrap_or_default();
            RowHash::from_be_bytes(bytes)
        })
    }

    /// The state after receipts that were taken into it.
    pub(crate) fn take(&self, receipts: &[Self]) -> Result<Self> {
        let before = self.len();
        let pieces: Vec<Self> = std::iter::once(self).chain(receipts).cloned().collect();
        let all = Self::all(self.cursor().data_type(), &pieces)?;
        let mut rows: HashMap<RowHash, usize> = HashMap::with_capacity(before);
        let (mut hashes, mut places) = (Vec::new(), Vec::new());
        let (mut known, mut landed): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
        for (row, hash) in all.hashes().enumerate() {
            let at = *rows.entry(hash).or_insert_with(|| {
                hashes.push(hash);
                places.push(row as u64);
                known.push(0);
                landed.push(0);
                hashes.len() - 1
            });
            let (of_known, of_landed) = (all.known().value(row), all.landed().value(row));
            if row < before {
                known[at] += of_known;
                landed[at] += of_landed;
            } else {
                known[at] = known[at].checked_sub(of_known).ok_or_else(recognised_twice)?;
                landed[at] += of_landed + of_known;
            }
        }
        if hashes.len() > MOST {
            return Err(Fault::user(
                Code::BadPipeline,
                format!("more than {MOST} rows lie in the window that is to be read again"),
            )
            .help("make `lookback` shorter, or follow a cursor with finer steps"));
        }
        let cursor = arrow::compute::take(all.cursor(), &arrow::array::UInt64Array::from(places), None)
            .map_err(|error| bug(&error))?;
        Self::build(&hashes, cursor, known, landed)
    }

    /// What the next generation is to recognise, which reads from `low`: rows in its window, and of the
    /// records that were set aside those that the source still sends.
    pub(crate) fn turn(&self, low: Option<&str>) -> Result<Self> {
        let within = match low {
            Some(low) => cursor::window(self.cursor(), Some(low), None)?,
            None => None,
        };
        let (known, landed) = (self.known(), self.landed());
        let mut kept = Vec::new();
        for row in 0..self.len() {
            let inside = if self.cursor().is_null(row) {
                landed.value(row) > 0
            } else {
                within.as_ref().is_none_or(|within| within.is_valid(row) && within.value(row))
            };
            if inside && known.value(row) + landed.value(row) > 0 {
                kept.push(row as u64);
            }
        }
        let kept = arrow::array::UInt64Array::from(kept);
        let rows = arrow::compute::take_record_batch(&self.0, &kept).map_err(|error| bug(&error))?;
        let rows = Self(rows);
        let hashes: Vec<RowHash> = rows.hashes().collect();
        let times = (0..rows.len()).map(|row| rows.known().value(row) + rows.landed().value(row)).collect();
        Self::build(&hashes, Arc::clone(rows.cursor()), times, vec![0; hashes.len()])
    }

    /// Whether both hold the same rows as often, in whatever order.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let sorted = |seen: &Self| {
            let counts = seen.known().values().iter().zip(seen.landed().values());
            let mut rows: Vec<_> =
                seen.hashes().zip(counts.map(|(known, landed)| (*known, *landed))).collect();
            rows.sort_unstable();
            rows
        };
        self.len() == other.len() && sorted(self) == sorted(other)
    }

    /// `name`: of the file, if it takes one.
    pub(crate) async fn write(&self, journal: &Journal, name: &str) -> Result<Option<SeenAt>> {
        if self.len() == 0 {
            return Ok(None);
        }
        let content = self.encode().map_err(|error| bug(&error))?;
        if content.len() <= SMALL {
            return Ok(Some(SeenAt::Here(content)));
        }
        let path = journal.path(&format!("seen/{name}.parquet"))?;
        if !journal.table.put_new(&path, Bytes::from(content)).await? {
            return Err(Fault::internal(Code::Bug, format!("`{path}` was written twice")));
        }
        Ok(Some(SeenAt::File(path.to_string())))
    }

    pub(crate) async fn read(journal: &Journal, at: &SeenAt) -> Result<Self> {
        let content = match at {
            SeenAt::Here(content) => Bytes::from(content.clone()),
            SeenAt::File(path) => journal.seen(path).await?,
        };
        Self::decode(content)
            .map_err(|error| Fault::external(Code::BadState, format!("the set of known rows: {error}")))
    }

    fn encode(&self) -> Result<Vec<u8>, ArrowError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_dictionary_enabled(false)
            .build();
        let mut content = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut content, self.0.schema(), Some(properties))?;
        writer.write(&self.0)?;
        writer.close()?;
        Ok(content)
    }

    fn decode(content: Bytes) -> Result<Self, ArrowError> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(content)?.build()?;
        let schema = arrow::record_batch::RecordBatchReader::schema(&reader);
        let batches: Vec<RecordBatch> = reader.collect::<Result<_, _>>()?;
        concat_batches(&schema, &batches).map(Self)
    }
}

/// What is still to be recognised, shared by all splits of one attempt: two of them may meet the same row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<HashMap<RowHash, u32>>>);

impl Ledger {
    /// The known rows of a state, less those that receipts recognised already.
    pub(crate) fn fill(&self, state: &Seen, receipts: &[Seen]) -> Result<()> {
        let left = state.take(receipts)?;
        let known = left.hashes().zip(left.known().values()).filter(|(_, known)| **known > 0);
        let known = known.map(|(hash, known)| (hash, *known)).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Whether the row is one of the known, which is then one less.
    pub(crate) fn recognise(&self, hash: RowHash) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get_mut(&hash) {
            Some(1) => known.remove(&hash).is_some(),
            Some(more) => {
                *more -= 1;
                true
            }
            None => false,
        }
    }

    /// It was recognised by a split whose work comes to nothing.
    pub(crate) fn give_back(&self, hash: RowHash) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(hash).or_default() += 1;
    }
}

fn schema(cursor: &DataType) -> Arc<Schema> {
    Arc::new(Schema::new(vec![
        Field::new("hash", DataType::FixedSizeBinary(16), false),
        Field::new("cursor", cursor.clone(), true),
        Field::new("known", DataType::UInt32, false),
        Field::new("landed", DataType::UInt32, false),
    ]))
}

fn recognised_twice() -> Fault {
    Fault::external(Code::Superseded, "two attempts recognised the same row")
        .help("nothing of this attempt became visible: run again")
        .retry_after(0)
}

fn bug(error: &ArrowError) -> Fault {
    Fault::internal(Code::Bug, format!("the set of known rows: {error}"))
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;

    fn seen(rows: &[(RowHash, Option<i64>, u32, u32)]) -> Seen {
        let hashes: Vec<RowHash> = rows.iter().map(|row| row.0).collect();
        let cursor: Int64Array = rows.iter().map(|row| row.1).collect();
        let (known, landed) =
            (rows.iter().map(|row| row.2).collect(), rows.iter().map(|row| row.3).collect());
        Seen::build(&hashes, Arc::new(cursor), known, landed).unwrap()
    }

    fn rows(seen: &Seen) -> Vec<(RowHash, u32, u32)> {
        let counts = seen.known().values().iter().zip(seen.landed().values());
        let mut rows: Vec<_> =
            seen.hashes().zip(counts).map(|(hash, (known, landed))| (hash, *known, *landed)).collect();
        rows.sort_unstable();
        rows
    }

    #[test]
    fn a_generation_recognises_as_often_as_a_row_is_there() {
        let state = seen(&[(1, Some(10), 2, 0), (2, Some(20), 1, 0)]);
        let receipt =
            seen(&[(1, Some(10), 1, 0), (1, Some(10), 1, 0), (1, Some(10), 0, 1), (3, Some(30), 0, 1)]);
        let after = state.take(std::slice::from_ref(&receipt)).unwrap();
        assert_eq!(rows(&after), [(1, 0, 3), (2, 1, 0), (3, 0, 1)]);
        assert_eq!(rows(&after.turn(Some("20")).unwrap()), [(2, 1, 0), (3, 1, 0)]);
        assert!(after.take(&[receipt]).is_err(), "more than were known");

        let ledger = Ledger::default();
        ledger.fill(&state, &[]).unwrap();
        assert!(ledger.recognise(1) && ledger.recognise(1) && !ledger.recognise(1));
        ledger.give_back(1);
        assert!(ledger.recognise(1) && ledger.recognise(2) && ledger.is_empty());
    }

    #[test]
    fn what_was_set_aside_is_known_as_long_as_it_is_sent() {
        let state = seen(&[(1, None, 1, 0), (2, None, 1, 0)]);
        let after = state.take(&[seen(&[(2, None, 1, 0)])]).unwrap();
        assert_eq!(rows(&after.turn(Some("99")).unwrap()), [(2, 1, 0)]);
    }

    #[test]
    fn a_set_reads_back_as_it_was_written() {
        let state = seen(&[(u128::MAX, Some(10), 2, 0), (7, None, 1, 3)]);
        let again = Seen::decode(Bytes::from(state.encode().unwrap())).unwrap();
        assert_eq!(rows(&again), rows(&state));
        assert_eq!(again.0.schema(), state.0.schema());
    }
}
