//! Why a whole stream cannot be decoded. A single bad record is a [`Reject`](crate::Reject), not an error.

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who can mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// An option or the schema asks for something that cannot be: whoever wrote it can.
    Options,
    /// The bytes are not what the format says: whoever made them can.
    Content,
    /// A mistake in this crate or in one that it uses.
    Internal,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub kind: ErrorKind,
    /// For people: what happened, why, and what to do.
    pub message: String,
}

impl Error {
    pub(crate) fn options(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Options, message: message.into() }
    }

    pub(crate) fn content(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Content, message: message.into() }
    }

    pub(crate) fn internal(error: impl fmt::Display) -> Self {
        Self { kind: ErrorKind::Internal, message: error.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
