//! Where values stand in a block's text.

use super::lex::{Lexed, Lexer};
use crate::column::Source;
use crate::field::{Field, Form};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Bare,
    String,
    /// A string with escapes in it.
    Escaped,
    Nested,
}

/// One value: strings without their quotes.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    start: u32,
    end: u32,
    kind: Kind,
}

impl Span {
    /// Also of what is not there.
    pub const NULL: Self = Self { start: 0, end: 0, kind: Kind::Null };

    /// The value that begins at `at`, and one past it. `open` is room to work in.
    #[inline(always)]
    pub fn read(lexer: Lexer, at: usize, open: &mut Vec<u8>) -> Lexed<(Self, usize)> {
        let (kind, end) = match lexer.peek(at) {
            Some(b'"') => {
                let string = lexer.string(at)?;
                let kind = if string.escaped { Kind::Escaped } else { Kind::String };
                let span = Self { start: at as u32 + 1, end: string.end as u32 - 1, kind };
                return Ok((span, string.end));
            }
            Some(b'-' | b'0'..=b'9') => (Kind::Bare, lexer.number(at)),
            Some(b'n') => (Kind::Null, lexer.literal(at)?),
            Some(b'{' | b'[') => (Kind::Nested, lexer.nested(at, open)?),
            _ => (Kind::Bare, lexer.literal(at)?),
        };
        Ok((Self { start: at as u32, end: end as u32, kind }, end))
    }

    pub fn is_null(self) -> bool {
        self.kind == Kind::Null
    }

    /// The value as it is written, strings with their quotes.
    pub fn written(self, text: &[u8]) -> &[u8] {
        let quote = usize::from(matches!(self.kind, Kind::String | Kind::Escaped));
        &text[self.start as usize - quote..self.end as usize + quote]
    }
}

/// The values of one column: every `width`th span.
#[derive(Clone, Copy)]
pub struct Spans<'a> {
    pub text: &'a [u8],
    pub spans: &'a [Span],
    pub width: usize,
    pub index: usize,
}

impl<'a> Spans<'a> {
    pub fn spans(&self) -> impl Iterator<Item = Span> + 'a {
        let index = self.index;
        self.spans.chunks_exact(self.width).map(move |row| row[index])
    }
}

impl<'a> Source<'a> for Spans<'a> {
    fn rows(&self) -> usize {
        self.spans.len() / self.width
    }

    #[inline(always)]
    fn get(&self, row: usize) -> Option<Field<'a>> {
        let span = self.spans[row * self.width + self.index];
        let form = match span.kind {
            Kind::Null => return None,
            Kind::Bare => Form::Bare,
            Kind::String => Form::Text,
            Kind::Escaped => Form::Escaped,
            Kind::Nested => Form::Nested,
        };
        Some(Field { around: self.text, start: span.start as usize, end: span.end as usize, form })
    }
}
