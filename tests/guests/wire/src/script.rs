//! Connections by a script. Each step logs one line with what came of it, and in the end each connection all
//! that was ever read from it.

use std::io::{self, Read, Write};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_sdk::prelude::*;
use tidegate_sdk::{Connection, TcpOptions};

use crate::{Config, Tls, protocol};

/// What is done, with the connection that was opened last.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Step {
    /// Opens another one.
    Connect {
        /// The configuration's when absent.
        endpoint: Option<String>,
        tls: Tls,
        authorities: Option<String>,
        /// Milliseconds.
        timeout: Option<u64>,
    },
    /// Sends a text, character by character as a byte.
    Send(String),
    /// Sends so many bytes.
    Flood(usize),
    /// Reads once, at most so many bytes.
    Read(usize),
    /// Reads until the server closes, or says nothing for a while.
    ReadAll,
    /// Asks PostgreSQL for TLS.
    AskForTls,
    StartTls {
        tls: Tls,
        authorities: Option<String>,
        /// Gives the authorities as its own: the configuration has no such text.
        #[serde(default)]
        own: bool,
    },
    Startup {
        user: String,
    },
    Authenticate(String),
    /// Waits until the server is ready, and asks it something.
    Query(String),
    /// Waits, in milliseconds.
    Pause(u64),
    Close,
}

/// Keeps all that is read.
struct Recorded {
    connection: Connection,
    heard: Vec<u8>,
}

impl Read for Recorded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.connection.read(into)?;
        self.heard.extend_from_slice(&into[..read]);
        Ok(read)
    }
}

impl Write for Recorded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.connection.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.connection.flush()
    }
}

pub(crate) fn play(cx: &Context<Config>, steps: &[Step]) {
    let mut open = Vec::new();
    let mut heard = Vec::new();
    for step in steps {
        match step.done(cx, &mut open, &mut heard) {
            Ok(told) => cx.info(told),
            Err(fault) => cx.info(format!("{}: {}", fault.code, fault.message)),
        }
    }
    heard.extend(open.into_iter().flat_map(|open| open.heard));
    cx.info(format!("heard {}", heard.escape_ascii()));
}

impl Step {
    fn done(&self, cx: &Context<Config>, open: &mut Vec<Recorded>, heard: &mut Vec<u8>) -> Result<String> {
        if let Self::Connect { endpoint, tls, authorities, timeout } = self {
            let options = TcpOptions {
                tls: (*tls).into(),
                authorities: authorities.clone(),
                timeout: timeout.map(Duration::from_millis),
            };
            let mut connection =
                cx.tcp().connect(endpoint.as_deref().unwrap_or(&cx.config.endpoint), &options)?;
            connection.wait_at_most(Duration::from_secs(2));
            open.push(Recorded { connection, heard: Vec::new() });
            return Ok("connected".to_owned());
        }
        if let Self::Pause(milliseconds) = self {
            std::thread::sleep(Duration::from_millis(*milliseconds));
            return Ok("waited".to_owned());
        }
        let stream = open.last_mut().ok_or_else(|| Fault::internal("failed", "nothing is open"))?;
        Ok(match self {
            Self::Connect { .. } | Self::Pause(_) => String::new(),
            Self::Send(text) => {
                let bytes: Vec<u8> = text.chars().map(|character| character as u8).collect();
                stream.write_all(&bytes)?;
                format!("sent {}", bytes.len())
            }
            Self::Flood(size) => {
                stream.write_all(&vec![b'x'; *size])?;
                format!("sent {size}")
            }
            Self::Read(most) => {
                let mut bytes = vec![0; *most];
                let read = stream.read(&mut bytes)?;
                format!("read {}", bytes[..read].escape_ascii())
            }
            Self::ReadAll => {
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes)?;
                format!("read {} bytes to the end", bytes.len())
            }
            Self::AskForTls => {
                protocol::ask_for_tls(stream)?;
                "agreed".to_owned()
            }
            Self::StartTls { tls, authorities, own } => {
                let comment = if *own { "of my own\n" } else { "" };
                let authorities = authorities.as_ref().map(|pem| format!("{comment}{pem}"));
                stream.connection.start_tls((*tls).into(), authorities.as_deref())?;
                "encrypted".to_owned()
            }
            Self::Startup { user } => {
                protocol::startup(stream, user, &cx.config.database)?;
                "introduced".to_owned()
            }
            Self::Authenticate(slot) => {
                stream.connection.authenticate(slot)?;
                "let in".to_owned()
            }
            Self::Query(sql) => {
                protocol::until_ready(stream)?;
                let table = protocol::query(stream, sql)?;
                let values = table.rows.into_iter().flatten().map(Option::unwrap_or_default);
                format!("rows: {}", values.collect::<Vec<_>>().join(" "))
            }
            Self::Close => {
                heard.extend(open.pop().into_iter().flat_map(|closed| closed.heard));
                "closed".to_owned()
            }
        })
    }
}
