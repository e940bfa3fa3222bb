//! Splits text into records and fields.

use super::mask::{BLOCK, Masks};
use crate::bytes::find;
use crate::{Error, Result};

/// A block is as many records as it takes to reach either of these. It depends on the text alone, so that
/// batches do too.
const RECORDS: usize = 1024;
const BYTES: usize = 256 << 10;

/// A longer record is taken for one whose closing quote is missing.
pub const MAX_RECORD: usize = 16 << 20;

/// Where the fields of a block's records are. Positions count from the block's first byte.
#[derive(Debug, Default)]
pub struct Block {
    /// First byte of each record.
    pub starts: Vec<u32>,
    /// One past the last byte of each field, all records in order, each with the same number of fields.
    pub ends: Vec<u32>,
    /// Records that do not have that number, and lines whose quote is never closed.
    pub malformed: Vec<Malformed>,
}

#[derive(Debug)]
pub struct Malformed {
    pub start: usize,
    pub end: usize,
    pub why: Why,
}

#[derive(Debug)]
pub enum Why {
    Fields(usize),
    Unclosed,
}

/// Finds a block's end, in as many calls as its text needs to arrive.
#[derive(Debug)]
pub struct Scanner {
    delimiter: u8,
    /// Fields a record must have; any number for a lone first record.
    width: Option<usize>,
    block: Block,
    /// The next byte to look at.
    at: usize,
    record: usize,
    fields: usize,
    quotes: Quotes,
}

impl Scanner {
    pub fn new(delimiter: u8, width: usize) -> Self {
        Self { width: Some(width), ..Self::first(delimiter) }
    }

    /// A scanner of blocks of one record, however many fields that has.
    pub fn first(delimiter: u8) -> Self {
        Self {
            delimiter,
            width: None,
            block: Block::default(),
            at: 0,
            record: 0,
            fields: 0,
            quotes: Quotes::default(),
        }
    }

    /// Goes on in `text`, which starts where the block does and is all there is of it so far, or all there
    /// will be when `last`. Gives the block's length in bytes once it is complete, which with `last` it
    /// always is; zero then means the end.
    pub fn scan(&mut self, text: &[u8], last: bool) -> Result<Option<usize>> {
        loop {
            while self.at < text.len() {
                if self.scan_word(text)? {
                    return Ok(Some(self.record));
                }
            }
            if !last {
                return Ok(None);
            }
            if self.record == text.len() {
                return Ok(Some(self.record));
            }
            let full = if self.quotes.open {
                self.resume_after_line(text)?
            } else {
                self.end_record(text, text.len(), text.len())?
            };
            if full {
                return Ok(Some(self.record));
            }
        }
    }

    /// Looks at the next 64 bytes. True when the block is complete.
    #[inline]
    fn scan_word(&mut self, text: &[u8]) -> Result<bool> {
        let base = self.at;
        let masks = Masks::at(text, base, self.delimiter);
        let end = text.len().min(base + BLOCK);
        self.at = end;
        let mut bits = masks.any();
        let quoted = self.quotes.open || masks.quote != 0;
        while bits != 0 {
            let bit = bits & bits.wrapping_neg();
            bits ^= bit;
            let at = base + bit.trailing_zeros() as usize;
            if quoted && masks.quote & bit != 0 {
                self.quotes.quote(at as u64, self.field_start() as u64);
            } else if quoted && self.quotes.open {
                // Quoted delimiters and line breaks are text.
            } else if masks.delimiter & bit != 0 {
                self.block.ends.push(at as u32);
                self.fields += 1;
            } else {
                if self.end_record(text, at, at + 1)? {
                    return Ok(true);
                }
                if self.at != end {
                    return Ok(false);
                }
            }
        }
        if self.at - self.record > MAX_RECORD { self.resume_after_line(text) } else { Ok(false) }
    }

    /// What `scan` found.
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// To the beginning of the next block. Keeps the memory.
    pub fn reset(&mut self) {
        self.block.starts.clear();
        self.block.ends.clear();
        self.block.malformed.clear();
        self.quotes = Quotes::default();
        self.at = 0;
        self.record = 0;
        self.fields = 0;
    }

    fn field_start(&self) -> usize {
        if self.fields == 0 { self.record } else { self.block.ends.last().map_or(0, |end| *end as usize + 1) }
    }

    /// Closes the record whose line ends at `end`; the next one starts at `next`. True when the block is
    /// complete.
    #[inline]
    fn end_record(&mut self, text: &[u8], end: usize, next: usize) -> Result<bool> {
        let start = self.record;
        if end - start > MAX_RECORD {
            return self.resume_after_line(text);
        }
        self.record = next;
        let fields = std::mem::take(&mut self.fields) + 1;
        let end = if end > start && text[end - 1] == b'\r' { end - 1 } else { end };
        if end > start || fields > 1 {
            self.block.ends.push(end as u32);
            if self.width.is_none_or(|width| width == fields) {
                self.block.starts.push(start as u32);
            } else {
                self.block.ends.truncate(self.block.ends.len() - fields);
                self.block.malformed.push(Malformed { start, end, why: Why::Fields(fields) });
            }
        }
        Ok(self.is_full())
    }

    fn is_full(&self) -> bool {
        let records = self.block.starts.len() + self.block.malformed.len();
        records >= if self.width.is_some() { RECORDS } else { 1 } || self.record >= BYTES
    }

    /// The record under way does not end: gives up its first line, and goes on with the next one.
    #[cold]
    fn resume_after_line(&mut self, text: &[u8]) -> Result<bool> {
        let start = self.record;
        let limit = text.len().min(start + MAX_RECORD);
        let (end, next) = match find(&text[start..limit], b'\n') {
            Some(length) => (start + length, start + length + 1),
            None if limit == text.len() => (limit, limit),
            None => {
                return Err(Error::content(format!(
                    "a line has more than {} MiB: this is not CSV, or its delimiters and line breaks are not those that the options say",
                    MAX_RECORD >> 20
                )));
            }
        };
        self.block.ends.truncate(self.block.ends.len() - self.fields);
        self.block.malformed.push(Malformed { start, end, why: Why::Unclosed });
        self.fields = 0;
        self.quotes = Quotes::default();
        self.record = next;
        self.at = next;
        Ok(self.is_full())
    }
}

/// Whether a place is inside quotes.
#[derive(Debug, Default)]
struct Quotes {
    open: bool,
    /// One past the last closing quote.
    closed: u64,
}

impl Quotes {
    /// A quote opens a field as its first byte, closes it, or when doubled goes on. Anywhere else it is text.
    fn quote(&mut self, at: u64, field: u64) {
        if self.open {
            self.open = false;
            self.closed = at + 1;
        } else {
            self.open = at == field || (at == self.closed && self.closed > field);
        }
    }
}

/// Where the records of a long stream begin, by the same rules, without keeping anything.
#[derive(Debug)]
pub struct Boundaries {
    delimiter: u8,
    seen: u64,
    field: u64,
    quotes: Quotes,
}

impl Boundaries {
    pub fn new(delimiter: u8) -> Self {
        Self { delimiter, seen: 0, field: 0, quotes: Quotes::default() }
    }

    /// Calls `found` with the place after each record that ends in these next bytes.
    pub fn feed(&mut self, bytes: &[u8], mut found: impl FnMut(u64)) {
        let mut at = 0;
        while at < bytes.len() {
            let masks = Masks::at(bytes, at, self.delimiter);
            let mut bits = masks.any();
            while bits != 0 {
                let bit = bits & bits.wrapping_neg();
                bits ^= bit;
                let place = self.seen + at as u64 + u64::from(bit.trailing_zeros());
                if masks.quote & bit != 0 {
                    self.quotes.quote(place, self.field);
                } else if !self.quotes.open {
                    self.field = place + 1;
                    if masks.newline & bit != 0 {
                        found(place + 1);
                    }
                }
            }
            at += BLOCK;
        }
        self.seen += bytes.len() as u64;
    }
}
