//! Connections to granted endpoints.

use std::io::{self, Read, Write};
use std::time::Duration;

use crate::bindings::tidegate::connector::tcp as wit;
use crate::{Fault, Result};

/// Asked from the host at a time.
const CHUNK: u32 = 256 * 1024;
/// What one call of the host sends.
const MAX_WRITE: usize = 16 << 20;

/// What [`Context::tcp`](crate::Context::tcp) gives. Needs a granted capability of kind `tcp` whose target is
/// the endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Tcp(());

/// How a connection is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tls {
    /// Not, until [`Connection::start_tls`].
    Off,
    /// Encrypted to whoever answers: who that is, nobody verifies.
    Require,
    /// Encrypted, and the server's certificate is for the host's name, by a trusted authority.
    #[default]
    VerifyFull,
}

/// How to open a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TcpOptions {
    pub tls: Tls,
    /// For [`Tls::VerifyFull`]: certificates in PEM of the authorities to trust instead of the system's.
    pub authorities: Option<String>,
    /// For resolving, dialling and the handshake: 10 seconds unless told, at most 60.
    pub timeout: Option<Duration>,
}

impl Tcp {
    pub(crate) fn new() -> Self {
        Self(())
    }

    /// `endpoint` is `HOST:PORT`. At most 16 connections are open at once; dropping one closes it.
    pub fn connect(&self, endpoint: impl AsRef<str>, options: &TcpOptions) -> Result<Connection> {
        let inner = wit::connect(
            endpoint.as_ref(),
            wit::Options {
                tls: options.tls.into_wit(),
                authorities: options.authorities.as_deref(),
                timeout: options.timeout.map(milliseconds),
            },
        )?;
        Ok(Connection { inner, chunk: Vec::new(), at: 0, patience: None })
    }
}

impl Tls {
    fn into_wit(self) -> wit::Tls {
        match self {
            Self::Off => wit::Tls::Off,
            Self::Require => wit::Tls::Require,
            Self::VerifyFull => wit::Tls::VerifyFull,
        }
    }
}

/// An open connection. Wrap it in a [`BufWriter`](io::BufWriter) to write in small pieces: each `write` is
/// sent. What it reads is buffered already.
///
/// As a [`Read`] and a [`Write`] it passes on the host's fault inside the [`io::Error`]; `?` gives that fault
/// back.
#[derive(Debug)]
pub struct Connection {
    inner: wit::Connection,
    chunk: Vec<u8>,
    at: usize,
    patience: Option<Duration>,
}

impl Connection {
    /// How long to wait for bytes: 5 minutes unless told, at most 10. Waiting in vain is a fault that can be
    /// tried again.
    pub fn wait_at_most(&mut self, patience: Duration) {
        self.patience = Some(patience);
    }

    /// Encrypts from here on, when the protocol has agreed to it. Bytes that came before and were not read are
    /// an error: nobody knows who sent them.
    pub fn start_tls(&mut self, tls: Tls, authorities: Option<&str>) -> Result<()> {
        self.nothing_unread("encrypting")?;
        Ok(self.inner.start_tls(tls.into_wit(), authorities)?)
    }

    /// Has the host carry out the server's authentication with the secret of a slot (a capability of kind
    /// `credential`). For a slot with the place `postgres USER`: when the startup message was sent, and before
    /// anything was read. What the server says after it let us in is the next thing to read.
    pub fn authenticate(&mut self, slot: impl AsRef<str>) -> Result<()> {
        self.nothing_unread("authenticating")?;
        Ok(self.inner.authenticate(slot.as_ref())?)
    }

    fn nothing_unread(&self, doing: &str) -> Result<()> {
        match self.chunk.len() - self.at {
            0 => Ok(()),
            unread => {
                let why = format!("{unread} bytes came before and were not read");
                Err(Fault::external("invalid", why).during(doing))
            }
        }
    }
}

impl Read for Connection {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        if self.at == self.chunk.len() {
            let next = self.inner.read(CHUNK, self.patience.map(milliseconds)).map_err(io::Error::other)?;
            (self.chunk, self.at) = (next.unwrap_or_default(), 0);
        }
        let length = into.len().min(self.chunk.len() - self.at);
        into[..length].copy_from_slice(&self.chunk[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(MAX_WRITE)];
        self.inner.write(piece).map_err(io::Error::other)?;
        Ok(piece.len())
    }

    /// Nothing waits: what was written was sent.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
