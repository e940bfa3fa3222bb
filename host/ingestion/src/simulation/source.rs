//! A source that changes while it is read, and knows what must be in the table in the end.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tidegate_model::Reject;

use super::dice::Dice;
use crate::Split;

/// A cursor that no bound reaches: somebody typed the year 9999.
const FAR: i64 = 9_999_999;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub id: i64,
    /// The cursor.
    pub at: Option<i64>,
    pub text: String,
}

/// A row in the source. Rows are never deleted, so that its place tells which one it is.
#[derive(Debug, Clone)]
struct Entry {
    row: Row,
    /// Cannot become a row of the table.
    bad: bool,
    /// Which content it belongs to, where everything changes from time to time.
    content: u64,
}

/// What an extractor answers to "what is new".
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub splits: Vec<Split>,
    pub token: Vec<u8>,
    pub bookmark: Vec<u8>,
    pub upper_bound: Option<i64>,
}

/// How the source behaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Nature {
    /// Rows come with a cursor, and a generation takes those that are new. Otherwise every generation takes
    /// all there is, and all of it changes.
    pub incremental: bool,
    /// An interrupted generation can be read again alike.
    pub repeatable: bool,
    /// How far below the mark rows still come, which are then met again.
    pub lookback: i64,
    /// Of a thousand rows that come, so many are equal to one that is there. Without a key, nothing tells
    /// them apart.
    pub equal: u64,
    /// Rows without a cursor, in the year 9999, and not to be decoded.
    pub odd: bool,
    /// Of a thousand questions, how often what was planned is gone.
    pub forgetful: u64,
}

#[derive(Debug)]
pub(super) struct Source {
    pub nature: Nature,
    dice: Dice,
    entries: Vec<Entry>,
    /// The greatest cursor so far.
    clock: i64,
    content: u64,
    plans: u64,
    gone: BTreeSet<Vec<u8>>,
    /// The greatest bound that it ever gave.
    pub greatest_bound: i64,
    /// Nothing changes any more, and what there is, is given.
    pub calm: bool,
    first_id: i64,
}

impl Source {
    pub(super) fn new(nature: Nature, seed: u64, first_id: i64) -> Self {
        let mut source = Self {
            nature,
            dice: Dice::new(&[seed, 7, first_id.unsigned_abs()]),
            entries: Vec::new(),
            clock: 10,
            content: 0,
            plans: 0,
            gone: BTreeSet::new(),
            greatest_bound: 0,
            calm: false,
            first_id,
        };
        source.change();
        source.change();
        source
    }

    /// New rows, or all of them are others.
    pub(super) fn change(&mut self) {
        let count = 1 + self.dice.below(5);
        if !self.nature.incremental {
            self.content += 1;
        }
        for _ in 0..count {
            self.arrive();
        }
    }

    fn arrive(&mut self) {
        if self.dice.chance(self.nature.equal) && self.repeat() {
            return;
        }
        let text = format!("{}-{}", self.content, self.entries.len());
        let id = self.first_id + self.entries.len() as i64;
        let at = if self.nature.odd && self.dice.chance(60) {
            None
        } else if self.nature.odd && self.dice.chance(40) {
            Some(FAR)
        } else if self.nature.lookback > 0 && self.dice.chance(400) {
            // Late: at the greatest cursor so far, or as far below it as is looked for.
            Some(self.clock - self.dice.below(self.nature.lookback as usize) as i64)
        } else {
            self.clock += 1 + self.dice.below(2) as i64;
            Some(self.clock)
        };
        let bad = self.nature.odd && self.dice.chance(80);
        let entry = Entry { row: Row { id, at, text }, bad, content: self.content };
        self.entries.push(entry);
    }

    /// A row that is still looked for comes once more.
    fn repeat(&mut self) -> bool {
        let again: Vec<Entry> = self.looked_for();
        if again.is_empty() {
            return false;
        }
        let chosen = self.dice.below(again.len());
        self.entries.push(again[chosen].clone());
        true
    }

    fn looked_for(&self) -> Vec<Entry> {
        let low = self.clock - self.nature.lookback;
        let within = |entry: &&Entry| entry.row.at.is_some_and(|at| at > low && at <= self.clock);
        self.entries.iter().filter(within).filter(|entry| !entry.bad).cloned().collect()
    }

    /// What is new after a mark and a bookmark; none: nothing.
    pub(super) fn plan(&mut self, mark: Option<i64>, bookmark: Option<usize>) -> Option<Planned> {
        let since = mark.map(|mark| mark - self.nature.lookback);
        let slack = if self.calm { 0 } else { self.dice.below(3) as i64 };
        let bound = mark.unwrap_or(0).max(self.clock - slack);
        // Some give everything, and leave it to others to see what is new.
        let whole = self.dice.chance(200);
        let mut places: Vec<usize> = (0..self.entries.len())
            .filter(|&place| {
                let entry = &self.entries[place];
                match entry.row.at {
                    _ if !self.nature.incremental => entry.content == self.content,
                    _ if entry.bad => bookmark.is_none_or(|known| place >= known),
                    None => bookmark.is_none_or(|known| place >= known),
                    Some(at) => whole || since.is_none_or(|since| at >= since),
                }
            })
            .collect();
        if places.is_empty() && self.nature.incremental {
            return None;
        }
        self.dice.shuffle(&mut places);
        let parts = 1 + self.dice.below(3);
        let mut splits: Vec<Vec<usize>> = vec![Vec::new(); parts];
        for place in places {
            let split = self.dice.below(parts);
            splits[split].push(place);
        }
        self.plans += 1;
        if self.nature.incremental {
            self.greatest_bound = self.greatest_bound.max(bound);
        }
        Some(Planned {
            splits: splits
                .iter()
                .map(|places| Split {
                    data: serde_json::to_vec(places).unwrap(),
                    label: format!("{places:?}"),
                    estimated_rows: None,
                    estimated_bytes: None,
                })
                .collect(),
            token: token(self.plans),
            bookmark: self.entries.len().to_string().into_bytes(),
            upper_bound: self.nature.incremental.then_some(bound),
        })
    }

    /// Whether what was planned can still be read as it was.
    pub(super) fn reopen(&mut self, token: &[u8]) -> bool {
        if !self.calm && self.dice.chance(self.nature.forgetful) {
            self.gone.insert(token.to_vec());
        }
        !self.gone.contains(token)
    }

    /// Every row that is still looked for comes once more.
    pub(super) fn double(&mut self) {
        let again = self.looked_for();
        self.entries.extend(again);
    }

    /// What was planned so far can no longer be read.
    pub(super) fn forget_all(&mut self) {
        self.gone.extend((1..=self.plans).map(token));
    }

    /// The rows at some places, and those of them that cannot become rows.
    pub(super) fn read(&self, places: &[usize]) -> (RecordBatch, Vec<Reject>) {
        let entries = places.iter().map(|&place| (place, &self.entries[place]));
        let (bad, good): (Vec<_>, Vec<_>) = entries.partition(|(_, entry)| entry.bad);
        let good: Vec<Row> = good.into_iter().map(|(_, entry)| entry.row.clone()).collect();
        let reject = |(place, entry): (usize, &Entry)| Reject {
            origin: "source".into(),
            position: place as u64,
            reason: "cannot be decoded".into(),
            raw: Some(format!("{{\"id\":{}}}", entry.row.id)),
        };
        (batch(&good), bad.into_iter().map(reject).collect())
    }

    /// What the table must show once everything up to now was loaded, each as often as it is there; without
    /// the rows that may be set aside instead, whose ids come second.
    pub(super) fn truth(&self) -> (Vec<Row>, Vec<i64>) {
        let current = |entry: &&Entry| self.nature.incremental || entry.content == self.content;
        let (mut rows, mut aside) = (Vec::new(), Vec::new());
        for entry in self.entries.iter().filter(current) {
            match entry.row.at {
                _ if entry.bad => aside.push(entry.row.id),
                None if self.nature.incremental => aside.push(entry.row.id),
                Some(FAR) if self.nature.incremental => {}
                _ => rows.push(entry.row.clone()),
            }
        }
        rows.sort();
        aside.sort_unstable();
        (rows, aside)
    }

    /// Every content that there ever was, sorted, where contents change as a whole.
    pub(super) fn contents(&self) -> Vec<Vec<Row>> {
        (0..=self.content)
            .map(|content| {
                let of_it = self.entries.iter().filter(|entry| entry.content == content && !entry.bad);
                let mut rows: Vec<Row> = of_it.map(|entry| entry.row.clone()).collect();
                rows.sort();
                rows
            })
            .collect()
    }
}

fn token(plan: u64) -> Vec<u8> {
    format!("plan {plan}").into_bytes()
}

pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("at", DataType::Int64, true),
        Field::new("text", DataType::Utf8, true),
    ]))
}

pub(super) fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.id).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.at).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| Some(&row.text)).collect::<StringArray>()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// The rows of a Parquet file.
pub(super) fn rows_of(content: &Bytes) -> Vec<Row> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(content.clone()).unwrap().build().unwrap();
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let ids = batch.column(0).as_primitive::<Int64Type>();
        let ats = batch.column(1).as_primitive::<Int64Type>();
        let texts = batch.column(2).as_string::<i32>();
        rows.extend((0..batch.num_rows()).map(|row| Row {
            id: ids.value(row),
            at: ats.is_valid(row).then(|| ats.value(row)),
            text: texts.value(row).to_owned(),
        }));
    }
    rows
}
