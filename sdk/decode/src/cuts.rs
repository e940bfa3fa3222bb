//! Where a stream can be cut.

use crate::bytes::find;
use crate::csv::Boundaries;
use crate::{Error, Format, Result};

/// Finds, while a stream passes by, the first record boundary at or after each multiple of a number of bytes.
/// Knows quoted line breaks. Keeps nothing but the answer.
#[derive(Debug)]
pub struct Cuts {
    lines: Lines,
    every: u64,
    seen: u64,
    /// The boundary wanted next is at or after this.
    wanted: u64,
    found: Vec<u64>,
}

#[derive(Debug)]
enum Lines {
    Csv(Boundaries),
    Plain,
}

impl Cuts {
    /// Of CSV and NDJSON; a JSON document cannot be cut. `every` is at least 1.
    pub fn new(format: &Format, every: u64) -> Result<Self> {
        let lines = match format {
            Format::Csv(options) => {
                options.check()?;
                Lines::Csv(Boundaries::new(options.delimiter))
            }
            Format::Ndjson => Lines::Plain,
            Format::Json { .. } => return Err(Error::options("a JSON document cannot be cut in pieces")),
        };
        if every == 0 {
            return Err(Error::options("a stream cannot be cut every 0 bytes"));
        }
        Ok(Self { lines, every, seen: 0, wanted: every, found: Vec::new() })
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        let Self { lines, every, seen, wanted, found } = self;
        let mut boundary = |place: u64| {
            if place >= *wanted {
                found.push(place);
                *wanted = (place / *every + 1) * *every;
            }
            *wanted
        };
        match lines {
            Lines::Csv(boundaries) => boundaries.feed(bytes, |place| {
                boundary(place);
            }),
            Lines::Plain => {
                let mut wanted = boundary(0);
                loop {
                    // The line break whose successor is wanted may be the byte just before.
                    let from = wanted.saturating_sub(*seen + 1).min(bytes.len() as u64) as usize;
                    let Some(length) = find(&bytes[from..], b'\n') else { break };
                    wanted = boundary(*seen + (from + length) as u64 + 1);
                }
            }
        }
        *seen += bytes.len() as u64;
    }

    /// The positions, rising. None of them is the beginning or the end of the stream.
    pub fn finish(mut self) -> Vec<u64> {
        if self.found.last() == Some(&self.seen) {
            self.found.pop();
        }
        self.found
    }
}
