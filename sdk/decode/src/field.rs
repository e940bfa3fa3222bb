//! One value as it stands in its source.

use std::borrow::Cow;

use crate::bytes;
use crate::csv::unquoted;
use crate::json::unescaped;

/// How a value is written. As wide as what stands beside it in a [`Field`]: a processor stalls when it reads
/// a word of which a part was just written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Form {
    /// A CSV field, or a JSON string, without quotes.
    Text,
    /// A JSON number, or `true` or `false`.
    Bare,
    /// A JSON object or array.
    Nested,
    /// A CSV field with its quotes, and quotes in it.
    Quoted,
    /// A JSON string without its quotes, but with escapes.
    Escaped,
}

/// A part of a text. Knows what follows it, so that short values can be read in one go.
#[derive(Debug, Clone, Copy)]
pub struct Field<'t> {
    pub around: &'t [u8],
    pub start: usize,
    pub end: usize,
    pub form: Form,
}

impl<'t> Field<'t> {
    #[inline(always)]
    pub fn bytes(&self) -> &'t [u8] {
        &self.around[self.start..self.end]
    }

    #[inline(always)]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Its first eight bytes, the first one lowest, and whatever follows when there are fewer.
    #[inline(always)]
    pub fn word(&self) -> u64 {
        bytes::word(self.around, self.start)
    }

    /// Whether it says what it means. What does not is rare, and so worth a copy.
    #[inline(always)]
    pub fn is_plain(&self) -> bool {
        !matches!(self.form, Form::Quoted | Form::Escaped)
    }

    /// What it means.
    #[cold]
    #[inline(never)]
    pub fn plain(self) -> Cow<'t, [u8]> {
        match self.form {
            Form::Quoted => unquoted(self.bytes()),
            Form::Escaped => unescaped(self.bytes()).into(),
            _ => self.bytes().into(),
        }
    }

    #[inline(always)]
    pub fn append_to(&self, to: &mut Vec<u8>) {
        bytes::append(to, self.around, self.start, self.end);
    }
}

impl<'t> From<&'t [u8]> for Field<'t> {
    fn from(text: &'t [u8]) -> Self {
        Self { around: text, start: 0, end: text.len(), form: Form::Text }
    }
}
