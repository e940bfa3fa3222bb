//! The members of objects, by name.

use super::lex::{Lexed, Lexer, Malformed};
use super::spans::{Span, Spans};
use crate::bytes::{LANES, chunk};

/// Keys that are remembered in the order in which they come.
const REMEMBERED: usize = 1024;
/// Remembered keys that are looked at for the next one: members may be left out.
const AHEAD: usize = 8;

/// Finds the members that have columns, in one object after the other.
///
/// Objects mostly have the same members in the same order, so a key is first compared with the one that came
/// next the last time.
#[derive(Debug)]
pub struct Members {
    /// Names with their columns, sorted.
    columns: Vec<(String, usize)>,
    width: usize,
    order: Vec<Key>,
    /// For each object, one span for each column.
    spans: Vec<Span>,
    open: Vec<u8>,
}

/// A key as it is written, with its quotes.
#[derive(Debug)]
struct Key {
    /// Its bytes, sixteen at a time, and which of them count.
    pieces: Vec<(u128, u128)>,
    length: usize,
    column: Option<usize>,
}

impl Key {
    fn new(written: &[u8], column: Option<usize>) -> Self {
        let mask = |length: usize| if length < LANES { !(u128::MAX << (8 * length)) } else { u128::MAX };
        let pieces = written
            .chunks(LANES)
            .map(|piece| (u128::from_le_bytes(chunk(piece, 0)), mask(piece.len())))
            .collect();
        Self { pieces, length: written.len(), column }
    }

    #[inline(always)]
    fn is_at(&self, text: &[u8], at: usize) -> bool {
        self.pieces.iter().enumerate().all(|(index, (bytes, mask))| {
            (u128::from_le_bytes(chunk(text, at + LANES * index)) ^ bytes) & mask == 0
        })
    }
}

impl Members {
    /// Of columns with these names; the first of equal ones has the values.
    pub fn new<'a>(names: impl Iterator<Item = &'a String>) -> Self {
        let mut columns: Vec<(String, usize)> = names.cloned().zip(0..).collect();
        let width = columns.len();
        columns.sort();
        columns.dedup_by(|later, first| later.0 == first.0);
        Self { columns, width, order: Vec::new(), spans: Vec::new(), open: Vec::new() }
    }

    pub fn clear(&mut self) {
        self.spans.clear();
    }

    /// Room for one more object, in which nothing is there.
    #[inline(always)]
    pub fn add(&mut self) {
        self.spans.resize(self.spans.len() + self.width, Span::NULL);
    }

    /// Takes the last object back.
    pub fn remove(&mut self) {
        self.spans.truncate(self.spans.len() - self.width);
    }

    /// The last object's value for a column.
    pub fn last(&self, index: usize) -> Span {
        self.spans[self.spans.len() - self.width + index]
    }

    /// Leaves out all objects but these.
    pub fn keep(&mut self, rows: &[usize]) {
        let kept = rows.iter().flat_map(|row| &self.spans[row * self.width..(row + 1) * self.width]);
        self.spans = kept.copied().collect();
    }

    pub fn values<'a>(&'a self, text: &'a [u8], index: usize) -> Spans<'a> {
        Spans { text, spans: &self.spans, width: self.width, index }
    }

    /// Reads the object whose brace is at `at` into the room added last. Gives the place after it.
    pub fn read(&mut self, lexer: Lexer, at: usize) -> Lexed<usize> {
        if lexer.peek(at) != Some(b'{') {
            return Err(lexer.unexpected(at, "an object"));
        }
        let row = self.spans.len() - self.width;
        let (mut at, mut next) = (at + 1, 0);
        loop {
            at = lexer.separators(at);
            match lexer.peek(at) {
                Some(b'"') => {}
                Some(b'}') => return Ok(at + 1),
                _ => return Err(lexer.unexpected(at, "a key or `}`")),
            }
            let column = match self.order.get(next) {
                Some(key) if key.is_at(lexer.text, at) => {
                    at += key.length;
                    next += 1;
                    key.column
                }
                _ => self.find(lexer, &mut at, &mut next)?,
            };
            at = lexer.colon(at)?;
            let (span, end) = Span::read(lexer, at, &mut self.open)?;
            if let Some(column) = column {
                self.spans[row + column] = span;
            }
            at = end;
        }
    }

    /// The column of the key at `at`, which is not the next one.
    #[inline(never)]
    fn find(&mut self, lexer: Lexer, at: &mut usize, next: &mut usize) -> Lexed<Option<usize>> {
        let ahead = self.order.iter().enumerate().skip(*next + 1).take(AHEAD);
        for (index, key) in ahead {
            if key.is_at(lexer.text, *at) {
                *at += key.length;
                *next = index + 1;
                return Ok(key.column);
            }
        }
        let start = std::mem::replace(at, 0);
        let string = lexer.string(start)?;
        *at = string.end;
        let inside = Lexer { end: string.end - 1, ..lexer };
        let name = inside.unescaped(start + 1)?;
        let place = self.columns.binary_search_by(|(known, _)| known.as_bytes().cmp(&name));
        let column = place.ok().map(|place| self.columns[place].1);
        if !string.escaped && self.order.len() < REMEMBERED {
            self.order.insert(*next, Key::new(&lexer.text[start..string.end], column));
            *next += 1;
        }
        Ok(column)
    }
}

/// The record from `start` to `end`: one object and nothing else.
pub fn record(members: &mut Members, text: &[u8], start: usize, end: usize) -> Lexed<()> {
    let lexer = Lexer { text, end };
    let at = members.read(lexer, lexer.blank(start))?;
    match lexer.peek(lexer.blank(at)) {
        None => Ok(()),
        Some(_) => Err(Malformed("it is more than one value".into())),
    }
}
