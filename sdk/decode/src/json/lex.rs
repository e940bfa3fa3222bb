//! JSON's smallest parts: where each ends, and what a string says.
//!
//! Commas are not insisted on, as in the reader that the rest of the world knows as Arrow's: whatever
//! separates members and elements may be missing or doubled.

use crate::bytes::{LANES, chunk, equal, within};

/// Why a record is not JSON.
#[derive(Debug)]
pub struct Malformed(pub String);

pub type Lexed<T> = Result<T, Malformed>;

/// What stands at a place of a text that should be JSON. The text is the record's and maybe more: `end` is
/// where the record ends.
#[derive(Clone, Copy)]
pub struct Lexer<'t> {
    pub text: &'t [u8],
    pub end: usize,
}

/// One past a string's closing quote, and whether the string has escapes.
pub struct StringEnd {
    pub end: usize,
    pub escaped: bool,
}

impl Lexer<'_> {
    #[inline(always)]
    pub fn peek(&self, at: usize) -> Option<u8> {
        if at < self.end { self.text.get(at).copied() } else { None }
    }

    #[cold]
    #[inline(never)]
    pub fn unexpected(&self, at: usize, wanted: &str) -> Malformed {
        Malformed(match self.peek(at) {
            Some(byte) => format!("there is `{}` where {wanted} belongs", byte.escape_ascii()),
            None => format!("it ends where {wanted} belongs"),
        })
    }

    #[inline(always)]
    pub fn blank(&self, mut at: usize) -> usize {
        while matches!(self.peek(at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            at += 1;
        }
        at
    }

    /// Past what may stand between members or elements.
    #[inline(always)]
    pub fn separators(&self, mut at: usize) -> usize {
        while matches!(self.peek(at), Some(b',' | b' ' | b'\t' | b'\r' | b'\n')) {
            at += 1;
        }
        at
    }

    /// Past the colon and the blanks around it.
    #[inline(always)]
    pub fn colon(&self, at: usize) -> Lexed<usize> {
        let at = self.blank(at);
        if self.peek(at) != Some(b':') {
            return Err(self.unexpected(at, "`:`"));
        }
        Ok(self.blank(at + 1))
    }

    /// The end of the string whose opening quote is at `at`.
    #[inline(always)]
    pub fn string(&self, at: usize) -> Lexed<StringEnd> {
        let mut at = at + 1;
        let mut escaped = false;
        while at < self.end {
            let lanes = chunk(self.text, at);
            let hits = equal(&lanes, b'"') | equal(&lanes, b'\\');
            if hits == 0 {
                at += LANES;
                continue;
            }
            at += hits.trailing_zeros() as usize;
            match self.peek(at) {
                Some(b'"') => return Ok(StringEnd { end: at + 1, escaped }),
                Some(_) => {
                    escaped = true;
                    at = self.escape(at)?.1;
                }
                None => break,
            }
        }
        Err(Malformed("it ends inside a string".into()))
    }

    /// The character that the escape at `at` stands for, and one past it.
    fn escape(&self, at: usize) -> Lexed<(char, usize)> {
        let simple = |character| Ok((character, at + 2));
        match self.peek(at + 1) {
            Some(b'"') => simple('"'),
            Some(b'\\') => simple('\\'),
            Some(b'/') => simple('/'),
            Some(b'b') => simple('\u{8}'),
            Some(b'f') => simple('\u{c}'),
            Some(b'n') => simple('\n'),
            Some(b'r') => simple('\r'),
            Some(b't') => simple('\t'),
            Some(b'u') => self.unicode(at),
            _ => Err(self.unexpected(at + 1, "the letter of an escape")),
        }
    }

    /// `\u` and four digits, twice for what does not fit sixteen bits.
    fn unicode(&self, at: usize) -> Lexed<(char, usize)> {
        let first = self.unit(at)?;
        if let Some(character) = char::from_u32(first) {
            return Ok((character, at + 6));
        }
        let second = match (self.peek(at + 6), self.peek(at + 7)) {
            (Some(b'\\'), Some(b'u')) => self.unit(at + 6)?,
            _ => return Err(Malformed("half of a surrogate pair stands alone".into())),
        };
        match char::decode_utf16([first as u16, second as u16]).next() {
            Some(Ok(character)) => Ok((character, at + 12)),
            _ => Err(Malformed("two halves of a surrogate pair do not belong together".into())),
        }
    }

    fn unit(&self, at: usize) -> Lexed<u32> {
        (at + 2..at + 6).try_fold(0, |unit, at| match self.peek(at).map(char::from) {
            Some(digit) if digit.is_ascii_hexdigit() => Ok(unit << 4 | digit.to_digit(16).unwrap_or(0)),
            _ => Err(self.unexpected(at, "a hexadecimal digit")),
        })
    }

    /// What the inside of a string says, from `at` to the record's end.
    pub fn unescaped(&self, mut at: usize) -> Lexed<Vec<u8>> {
        let mut text = Vec::with_capacity(self.end - at);
        while let Some(byte) = self.peek(at) {
            if byte == b'\\' {
                let (character, next) = self.escape(at)?;
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                at = next;
            } else {
                text.push(byte);
                at += 1;
            }
        }
        Ok(text)
    }

    /// The end of the number at `at`: all characters that numbers have. Whether it is one, its column finds
    /// out.
    #[inline(always)]
    pub fn number(&self, mut at: usize) -> usize {
        loop {
            let lanes = chunk(self.text, at);
            // `+` `,` `-` `.` `/` and the digits are neighbours.
            let near = within(&lanes, b'+', b'9' - b'+') & !equal(&lanes, b',') & !equal(&lanes, b'/');
            let others = !(near | equal(&lanes, b'e') | equal(&lanes, b'E')) & 0xFFFF;
            if others != 0 {
                return (at + others.trailing_zeros() as usize).min(self.end);
            }
            at += LANES;
        }
    }

    /// The end of the `null`, `true` or `false` at `at`.
    #[inline(always)]
    pub fn literal(&self, at: usize) -> Lexed<usize> {
        let lanes = chunk(self.text, at);
        let end = match lanes {
            [b'n', b'u', b'l', b'l', ..] | [b't', b'r', b'u', b'e', ..] => at + 4,
            [b'f', b'a', b'l', b's', b'e', ..] => at + 5,
            _ => return Err(self.unexpected(at, "a value")),
        };
        if end > self.end { Err(self.unexpected(self.end, "the rest of a word")) } else { Ok(end) }
    }

    /// The end of the object or array at `at`, all of which is looked at. `open` is room to work in.
    pub fn nested(&self, mut at: usize, open: &mut Vec<u8>) -> Lexed<usize> {
        open.clear();
        loop {
            // A value begins.
            at = match self.peek(at) {
                Some(bracket @ (b'{' | b'[')) => {
                    open.push(bracket);
                    at + 1
                }
                Some(b'"') => self.string(at)?.end,
                Some(b'-' | b'0'..=b'9') => self.number(at),
                _ => self.literal(at)?,
            };
            // To the next one, past all that closes before.
            loop {
                let Some(container) = open.last() else { return Ok(at) };
                at = self.separators(at);
                match (container, self.peek(at)) {
                    (b'{', Some(b'}')) | (b'[', Some(b']')) => {
                        open.pop();
                        at += 1;
                    }
                    (b'{', Some(b'"')) => {
                        at = self.colon(self.string(at)?.end)?;
                        break;
                    }
                    (b'[', Some(_)) => break,
                    _ => return Err(self.unexpected(at, "a key or a closing bracket")),
                }
            }
        }
    }
}

/// What the inside of a string says.
pub fn unescaped(inside: &[u8]) -> Vec<u8> {
    // What was read before cannot be malformed now.
    Lexer { text: inside, end: inside.len() }.unescaped(0).unwrap_or_default()
}
