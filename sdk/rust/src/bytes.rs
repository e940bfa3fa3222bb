//! Bytes that arrive piece by piece.

use std::io::{self, Read};

use crate::bindings::tidegate::connector::bytes as wit;
use crate::{Fault, Result};

/// Asked from the host at a time.
const CHUNK: u32 = 256 * 1024;

/// A file or a response's body. Read it, or hand it to a kernel of [`decode`](crate::decode): then its
/// bytes never enter the connector.
///
/// As a [`Read`] it passes on the host's fault inside the [`io::Error`]; `?` gives that fault back.
#[derive(Debug)]
pub struct ByteStream {
    inner: wit::ByteStream,
    chunk: Vec<u8>,
    at: usize,
}

impl ByteStream {
    pub(crate) fn new(inner: wit::ByteStream) -> Self {
        Self { inner, chunk: Vec::new(), at: 0 }
    }

    /// For a kernel, which goes on where the host's reading stands.
    pub(crate) fn into_inner(self) -> Result<wit::ByteStream> {
        if self.at < self.chunk.len() {
            return Err(Fault::internal("invalid", "a stream that was partly read cannot go to a kernel"));
        }
        Ok(self.inner)
    }

    /// The next bytes, at most `max` (and at most 8 MiB); `None` at the end. Blocks until there are any.
    pub fn next(&mut self, max: u32) -> Result<Option<Vec<u8>>> {
        if self.at < self.chunk.len() {
            let end = self.chunk.len().min(self.at + max as usize);
            let bytes = self.chunk[self.at..end].to_vec();
            self.at = end;
            return Ok(Some(bytes));
        }
        Ok(self.inner.read(max)?)
    }
}

impl Read for ByteStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            let next = self.inner.read(CHUNK).map_err(io::Error::other)?;
            match next {
                Some(chunk) => (self.chunk, self.at) = (chunk, 0),
                None => return Ok(0),
            }
        }
        let length = into.len().min(self.chunk.len() - self.at);
        into[..length].copy_from_slice(&self.chunk[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}
