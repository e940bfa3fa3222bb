//! A block's records, cut into fields.

use std::borrow::Cow;

use crate::bytes::find;
use crate::column::{Source, Values};
use crate::field::{Field, Form};
use crate::table::Block;

/// The records of one block.
pub struct Records<'t, 'a> {
    pub text: &'t [u8],
    /// First byte of each record.
    pub starts: Cow<'a, [u32]>,
    /// One past the last byte of each field, all records in order.
    pub ends: Cow<'a, [u32]>,
    /// Fields of a record.
    pub width: usize,
    /// The field that each column reads; one that reads none may have any.
    pub sources: &'a [usize],
    pub nulls: &'a Nulls,
}

impl<'t> Block<'t> for Records<'t, '_> {
    fn rows(&self) -> usize {
        self.starts.len()
    }

    fn text(&self) -> &'t [u8] {
        self.text
    }

    fn record(&self, row: usize) -> (usize, &'t [u8]) {
        let (start, end) = (self.starts[row] as usize, self.ends[(row + 1) * self.width - 1] as usize);
        (start, &self.text[start..end])
    }

    fn values(&self, index: usize) -> Values<'_> {
        Values::Csv(self.fields(self.sources[index]))
    }

    fn keep(&mut self, rows: &[usize]) {
        let fields = |row: &usize| &self.ends[row * self.width..(row + 1) * self.width];
        let ends = rows.iter().flat_map(fields).copied().collect();
        let starts = rows.iter().map(|row| self.starts[*row]).collect();
        (self.starts, self.ends) = (Cow::Owned(starts), Cow::Owned(ends));
    }
}

impl Records<'_, '_> {
    /// Field number `index` of every record.
    pub fn fields(&self, index: usize) -> Fields<'_> {
        let Self { text, starts, ends, width, nulls, .. } = self;
        Fields { text, starts, ends, width: *width, index, nulls }
    }
}

/// The same field of every record of a block.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    text: &'a [u8],
    starts: &'a [u32],
    ends: &'a [u32],
    width: usize,
    index: usize,
    nulls: &'a Nulls,
}

impl<'a> Fields<'a> {
    /// Each row's field as it stands in the text, with its quotes, and where it is there.
    #[inline(always)]
    pub fn raw(&self) -> impl Iterator<Item = (&'a [u8], usize)> {
        let Self { text, starts, ends, width, index, .. } = *self;
        ends.chunks_exact(width).zip(starts).map(move |(ends, start)| {
            let start = if index == 0 { *start } else { ends[index - 1] + 1 } as usize;
            (&text[start..ends[index] as usize], start)
        })
    }
}

impl<'a> Source<'a> for Fields<'a> {
    fn rows(&self) -> usize {
        self.starts.len()
    }

    /// As it stands in the text but for quotes around it.
    #[inline(always)]
    fn get(&self, row: usize) -> Option<Field<'a>> {
        let at = row * self.width + self.index;
        let end = self.ends[at] as usize;
        let start = if self.index == 0 { self.starts[row] } else { self.ends[at - 1] + 1 } as usize;
        let raw = &self.text[start..end];
        if raw.first() == Some(&b'"') {
            Some(quoted(self.text, start, end))
        } else if self.nulls.contains(raw) {
            None
        } else {
            Some(Field { around: self.text, start, end, form: Form::Text })
        }
    }
}

/// Without its quotes, where these are all there are.
#[inline(never)]
fn quoted(around: &[u8], start: usize, end: usize) -> Field<'_> {
    match &around[start..end] {
        [b'"', inner @ .., b'"'] if find(inner, b'"').is_none() => {
            Field { around, start: start + 1, end: end - 1, form: Form::Text }
        }
        _ => Field { around, start, end, form: Form::Quoted },
    }
}

/// A quoted field's text. What follows the closing quote is taken as it is.
pub fn unquoted(raw: &[u8]) -> Cow<'_, [u8]> {
    if let [b'"', inner @ .., b'"'] = raw
        && find(inner, b'"').is_none()
    {
        return Cow::Borrowed(inner);
    }
    let mut text = Vec::with_capacity(raw.len());
    let mut rest = &raw[1..];
    while let Some(at) = find(rest, b'"') {
        text.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        if rest.first() == Some(&b'"') {
            text.push(b'"');
            rest = &rest[1..];
        } else {
            break;
        }
    }
    text.extend_from_slice(rest);
    Cow::Owned(text)
}

/// Unquoted fields that mean null.
#[derive(Debug)]
pub struct Nulls {
    empty: bool,
    others: Vec<Vec<u8>>,
}

impl Nulls {
    pub fn new(tokens: &[String]) -> Self {
        let others = tokens.iter().filter(|token| !token.is_empty());
        Self {
            empty: tokens.iter().any(String::is_empty),
            others: others.map(|token| token.clone().into_bytes()).collect(),
        }
    }

    #[inline(always)]
    pub fn contains(&self, field: &[u8]) -> bool {
        match field.first() {
            None => self.empty,
            Some(first) => self.others.iter().any(|token| token[0] == *first && token == field),
        }
    }
}
