//! What the bytes are.

use crate::{Error, Result};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    Csv(CsvOptions),
    /// One JSON object a line.
    Ndjson,
    /// A JSON document: an array of objects, found at the JSON pointer (RFC 6901) given, or at the top when
    /// it is empty.
    Json {
        pointer: String,
    },
}

/// RFC 4180 with any delimiter. A record ends with a line feed, or carriage return and line feed; empty lines
/// are skipped. A quote opens a quoted field only as its first byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOptions {
    /// One ASCII character, neither a quote nor a line break.
    pub delimiter: u8,
    /// The first record names the columns and is not data.
    pub header: bool,
    /// Names of the columns when there is no header, as in a piece from the middle of a file. Empty: columns
    /// go by position.
    pub columns: Vec<String>,
    /// Unquoted fields that mean null.
    pub null_tokens: Vec<String>,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self { delimiter: b',', header: true, columns: Vec::new(), null_tokens: vec![String::new()] }
    }
}

impl CsvOptions {
    pub(crate) fn check(&self) -> Result<()> {
        if !self.delimiter.is_ascii() || matches!(self.delimiter, b'"' | b'\n' | b'\r') {
            return Err(Error::options(format!(
                "{:?} cannot be the delimiter: it must be one ASCII character, neither a quote nor a line break",
                char::from(self.delimiter)
            )));
        }
        if self.header && !self.columns.is_empty() {
            return Err(Error::options("a CSV stream has a header or is given its columns' names, not both"));
        }
        Ok(())
    }
}
