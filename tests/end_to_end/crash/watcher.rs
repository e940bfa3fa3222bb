//! Somebody who reads the table again and again while it is being loaded.

use std::sync::Arc;
use std::thread::JoinHandle;

use serde_json::Value;

use super::lake::Lake;

const ENGINES: [&str; 3] = ["duckdb", "polars", "delta-rs"];

/// What an engine sees of a table: rows, distinct keys, and the sum of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    pub rows: u64,
    pub keys: u64,
    pub sum: u64,
}

impl Facts {
    /// What `read_table.py` says of one engine.
    pub fn of(seen: &Value) -> Result<Self, String> {
        let number = |name: &str| seen[name].as_u64().ok_or_else(|| seen.to_string());
        Ok(Self { rows: number("rows")?, keys: number("keys")?, sum: number("sum")? })
    }
}

pub struct Watcher {
    /// As long as this is there, it reads.
    watching: Arc<()>,
    thread: JoinHandle<Vec<(&'static str, Result<Facts, String>)>>,
}

impl Watcher {
    /// Reads with each engine in turn, one read after the other.
    pub fn start(lake: &Lake, address: String) -> Self {
        let reader = lake.reader();
        let watching = Arc::new(());
        let watched = Arc::downgrade(&watching);
        let thread = std::thread::spawn(move || {
            let turns = ENGINES.into_iter().cycle().take_while(|_| watched.strong_count() > 0);
            let read = |engine| Facts::of(&reader.ask(&format!("{engine} {address}"))[engine]);
            turns.map(|engine| (engine, read(engine))).collect()
        });
        Self { watching, thread }
    }

    /// All it saw, in order.
    pub fn stop(self) -> Vec<(&'static str, Result<Facts, String>)> {
        drop(self.watching);
        self.thread.join().unwrap()
    }
}
