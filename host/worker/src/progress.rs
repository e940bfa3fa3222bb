//! How far one stream of one run is, counted from many tasks at once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use tidegate_ingestion::Staged;
use tidegate_model::{StreamName, WorkerEvent};

use crate::events::Events;

/// How often a stream says how far it is.
const EVERY: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub struct Progress {
    stream: StreamName,
    events: Events,
    rows: AtomicU64,
    bytes: AtomicU64,
    rejected: AtomicU64,
    skipped: AtomicU64,
    recognised: AtomicU64,
    splits_done: AtomicU64,
    told: Mutex<Instant>,
}

impl Progress {
    pub fn new(stream: StreamName, events: Events) -> Self {
        let zero = AtomicU64::default;
        Self {
            stream,
            events,
            rows: zero(),
            bytes: zero(),
            rejected: zero(),
            skipped: zero(),
            recognised: zero(),
            splits_done: zero(),
            told: Mutex::new(Instant::now()),
        }
    }

    pub fn read(&self, batch: &RecordBatch) {
        self.events.first_row();
        self.rows.fetch_add(batch.num_rows() as u64, Relaxed);
        self.bytes.fetch_add(batch.get_array_memory_size() as u64, Relaxed);
        self.tell(false);
    }

    /// Set aside, and not before.
    pub fn rejected(&self, records: u64) {
        self.rejected.fetch_add(records, Relaxed);
    }

    /// What the sink left out by itself.
    pub fn staged(&self, staged: &Staged) {
        self.skipped.fetch_add(staged.skipped, Relaxed);
        self.recognised.fetch_add(staged.recognised, Relaxed);
        self.rejected.fetch_add(staged.set_aside, Relaxed);
    }

    pub fn split_done(&self) {
        self.splits_done.fetch_add(1, Relaxed);
        self.tell(true);
    }

    /// Read from the source, in Arrow memory.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    pub fn rejected_so_far(&self) -> u64 {
        self.rejected.load(Relaxed)
    }

    pub fn skipped_so_far(&self) -> u64 {
        self.skipped.load(Relaxed)
    }

    pub fn recognised_so_far(&self) -> u64 {
        self.recognised.load(Relaxed)
    }

    fn tell(&self, now: bool) {
        // Who finds the clock taken lets the other one tell.
        let Ok(mut told) = self.told.try_lock() else { return };
        if !now && told.elapsed() < EVERY {
            return;
        }
        *told = Instant::now();
        self.events.send(WorkerEvent::Progress {
            stream: self.stream.clone(),
            rows: self.rows.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            splits_done: self.splits_done.load(Relaxed),
        });
    }
}
