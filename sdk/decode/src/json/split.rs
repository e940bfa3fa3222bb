//! Where the records of a JSON stream begin and end.

use crate::bytes::find;
use crate::{Error, Result};

const MAX_RECORD: usize = 16 << 20;

/// Finds a block's records, in as many calls as its text needs to arrive.
#[derive(Debug)]
pub struct Splitter {
    kind: Kind,
    /// The next byte to look at, counted from the block's first.
    at: usize,
    /// The record under way.
    start: usize,
    records: Vec<(usize, usize)>,
}

#[derive(Debug)]
enum Kind {
    Lines,
    Document(Document),
}

impl Splitter {
    pub fn lines() -> Self {
        Self { kind: Kind::Lines, at: 0, start: 0, records: Vec::new() }
    }

    pub fn document(pointer: &str) -> Result<Self> {
        Ok(Self { kind: Kind::Document(Document::new(pointer)?), ..Self::lines() })
    }

    /// Goes on in `text`, which starts where the block does and is all there is of it so far, or all there
    /// will be when `last`. A block is as many records as it takes to reach `most`, or `enough` bytes: that
    /// depends on the text alone, so that batches do too. Gives the block's length in bytes once it is
    /// complete, which with `last` it always is; zero then means the end.
    pub fn scan(&mut self, text: &[u8], last: bool, most: usize, enough: usize) -> Result<Option<usize>> {
        match &mut self.kind {
            Kind::Lines => {
                while let Some(length) = find(&text[self.at..], b'\n') {
                    let end = self.at + length;
                    self.at = end + 1;
                    self.line(text, end)?;
                    if self.records.len() >= most || self.at >= enough {
                        return Ok(Some(self.at));
                    }
                }
                self.at = text.len();
                if self.at - self.start > MAX_RECORD {
                    return Err(too_long());
                }
                if !last {
                    return Ok(None);
                }
                self.line(text, text.len())?;
                Ok(Some(text.len()))
            }
            Kind::Document(document) => {
                while self.at < text.len() {
                    let step = document.step(text[self.at])?;
                    match step {
                        Step::Nothing => {}
                        Step::Begins => self.start = self.at,
                        Step::Ends { included } => {
                            let end = self.at + usize::from(included);
                            self.records.push((self.start, end));
                        }
                    }
                    self.at += 1;
                    if document.is_between() {
                        self.start = self.at;
                        if self.records.len() >= most || self.at >= enough {
                            return Ok(Some(self.at));
                        }
                    } else if self.at - self.start > MAX_RECORD {
                        return Err(too_long());
                    }
                }
                if !last {
                    return Ok(None);
                }
                document.end()?;
                Ok(Some(text.len()))
            }
        }
    }

    fn line(&mut self, text: &[u8], end: usize) -> Result<()> {
        let start = std::mem::replace(&mut self.start, self.at);
        if end - start > MAX_RECORD {
            return Err(too_long());
        }
        if !text[start..end].trim_ascii().is_empty() {
            self.records.push((start, end));
        }
        Ok(())
    }

    /// First byte and one past the last byte of each record that `scan` found.
    pub fn records(&self) -> &[(usize, usize)] {
        &self.records
    }

    /// To the beginning of the next block. Keeps the memory.
    pub fn reset(&mut self) {
        self.records.clear();
        self.at = 0;
        self.start = 0;
    }
}

fn too_long() -> Error {
    Error::content(format!("a record has more than {} MiB", MAX_RECORD >> 20))
}

/// What a byte means for the array that is looked for.
enum Step {
    Nothing,
    /// An element begins with it.
    Begins,
    /// An element ends with it, or just before it.
    Ends {
        included: bool,
    },
}

/// Follows a document byte by byte to the array that a JSON pointer names, and through its elements.
#[derive(Debug)]
struct Document {
    /// Keys and indices that lead to the array.
    pointer: Vec<String>,
    /// How many of them are behind us: the container we are in is that deep on the way.
    matched: usize,
    /// The container on the way that we are in; none before the document's first byte.
    inside: Option<Container>,
    state: State,
    /// Open brackets of a value that is passed over, or of an element.
    depth: usize,
    string: Option<Escape>,
    key: Vec<u8>,
}

#[derive(Debug)]
enum Container {
    Object,
    /// Which element comes next.
    Array(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    No,
    Next,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A value that is on the way, or the array itself.
    Value,
    /// In a container on the way: a key or an element is next.
    Member,
    Key,
    Colon {
        matches: bool,
    },
    /// Passes over a value that is not on the way.
    Other,
    /// In the array, between elements.
    Between,
    Element,
    Done,
}

impl Document {
    fn new(pointer: &str) -> Result<Self> {
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return Err(Error::options(format!(
                "`{pointer}` is not a JSON pointer: it starts with `/`, such as `/data/items`"
            )));
        }
        let pointer =
            pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~")).collect();
        Ok(Self {
            pointer,
            matched: 0,
            inside: None,
            state: State::Value,
            depth: 0,
            string: None,
            key: Vec::new(),
        })
    }

    fn is_between(&self) -> bool {
        !matches!(self.state, State::Element)
    }

    fn step(&mut self, byte: u8) -> Result<Step> {
        if let Some(escape) = self.string {
            self.in_string(byte, escape)?;
            return Ok(if self.string.is_none() && self.state == State::Element && self.depth == 0 {
                self.state = State::Between;
                Step::Ends { included: true }
            } else {
                Step::Nothing
            });
        }
        let blank = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        match self.state {
            State::Value if !blank => self.enter(byte)?,
            State::Member if !blank => match (byte, &mut self.inside) {
                (b'}' | b']', _) => return Err(self.missing()),
                (b',', Some(Container::Array(index))) => *index += 1,
                (b',', _) => {}
                (b'"', Some(Container::Object)) => {
                    self.key = vec![b'"'];
                    self.string = Some(Escape::No);
                    self.state = State::Key;
                }
                (_, Some(Container::Array(index))) => {
                    if self.pointer.get(self.matched) == Some(&index.to_string()) {
                        self.matched += 1;
                        self.enter(byte)?;
                    } else {
                        self.pass_over(byte)?;
                    }
                }
                _ => return Err(malformed(byte)),
            },
            State::Colon { matches } if !blank => match (byte, matches) {
                (b':', true) => {
                    self.matched += 1;
                    self.state = State::Value;
                }
                (b':', false) => self.state = State::Other,
                _ => return Err(malformed(byte)),
            },
            State::Other if !blank => self.pass_over(byte)?,
            State::Between if !blank => match byte {
                b',' => {}
                b']' => self.state = State::Done,
                _ => {
                    self.state = State::Element;
                    self.nest(byte);
                    return Ok(Step::Begins);
                }
            },
            // A number, `true`, `false` or `null` ends before what follows it.
            State::Element if self.depth == 0 && (blank || matches!(byte, b',' | b']')) => {
                self.state = if byte == b']' { State::Done } else { State::Between };
                return Ok(Step::Ends { included: false });
            }
            State::Element => {
                let nested = self.depth > 0;
                self.nest(byte);
                if nested && self.depth == 0 {
                    self.state = State::Between;
                    return Ok(Step::Ends { included: true });
                }
            }
            _ => {}
        }
        Ok(Step::Nothing)
    }

    fn in_string(&mut self, byte: u8, escape: Escape) -> Result<()> {
        if self.state == State::Key {
            self.key.push(byte);
        }
        self.string = match (escape, byte) {
            (Escape::Next, _) => Some(Escape::No),
            (Escape::No, b'\\') => Some(Escape::Next),
            (Escape::No, b'"') => None,
            _ => Some(Escape::No),
        };
        if self.string.is_none() {
            match self.state {
                State::Key => {
                    let key: String = serde_json::from_slice(&self.key)
                        .map_err(|error| Error::content(format!("this is not JSON: {error}")))?;
                    self.state = State::Colon { matches: self.pointer.get(self.matched) == Some(&key) };
                }
                State::Other if self.depth == 0 => self.state = State::Member,
                _ => {}
            }
        }
        Ok(())
    }

    /// A value on the way begins.
    fn enter(&mut self, byte: u8) -> Result<()> {
        let arrived = self.matched == self.pointer.len();
        match byte {
            b'[' if arrived => self.state = State::Between,
            b'[' => {
                self.inside = Some(Container::Array(0));
                self.state = State::Member;
            }
            b'{' if !arrived => {
                self.inside = Some(Container::Object);
                self.state = State::Member;
            }
            b'{' if self.pointer.is_empty() => {
                return Err(Error::content(
                    "the document is one object, not an array of objects; name the array in it with a JSON pointer such as `/items`, or if \
                     there is one object a line, the format is ndjson",
                ));
            }
            b'{' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                return Err(Error::content(format!("what is at {} is not an array", self.way())));
            }
            _ => return Err(malformed(byte)),
        }
        Ok(())
    }

    /// A byte of a value that is not on the way.
    fn pass_over(&mut self, byte: u8) -> Result<()> {
        self.state = State::Other;
        if self.depth == 0 && matches!(byte, b',' | b'}' | b']') {
            // The value was a number or a word, and has ended before this byte.
            self.state = State::Member;
            match (byte, &mut self.inside) {
                (b',', Some(Container::Array(index))) => *index += 1,
                (b',', _) => {}
                _ => return Err(self.missing()),
            }
            return Ok(());
        }
        let nested = self.depth > 0;
        self.nest(byte);
        if nested && self.depth == 0 {
            self.state = State::Member;
        }
        Ok(())
    }

    fn nest(&mut self, byte: u8) {
        match byte {
            b'"' => self.string = Some(Escape::No),
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    fn end(&self) -> Result<()> {
        match self.state {
            State::Done => Ok(()),
            State::Between | State::Element => {
                Err(Error::content("the document ends before its array does: it was cut short"))
            }
            _ => Err(self.missing()),
        }
    }

    fn missing(&self) -> Error {
        if self.inside.is_none() {
            return Error::content("the document is empty");
        }
        let wanted = self.pointer.get(self.matched).map_or("", String::as_str);
        Error::content(format!("there is no `{wanted}` at {}", self.way()))
    }

    fn way(&self) -> String {
        match &self.pointer[..self.matched] {
            [] => "the top".into(),
            tokens => format!("`/{}`", tokens.join("/")),
        }
    }
}

fn malformed(byte: u8) -> Error {
    Error::content(format!("this is not JSON: there should be no `{}` here", byte.escape_ascii()))
}
