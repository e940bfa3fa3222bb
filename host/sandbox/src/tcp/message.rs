//! PostgreSQL's messages, as far as an authentication has them: a byte that says what it is, four for the
//! length, which counts itself, and the rest.

use tidegate_model::tame;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::bindings::types::FaultDomain;
use crate::refusal::{Asked, Refusal, clipped};

/// Bytes of an authentication request. PostgreSQL's own client takes no more either.
const MAX_REQUEST: usize = 2000;
/// Bytes of an error or a notice.
const MAX_WORDS: usize = 30_000;
/// Bytes of a server's words that are passed on.
const MAX_TOLD: usize = 1 << 10;

pub(super) enum Message {
    /// What the server wants, and what belongs to it.
    Authentication(u32, Vec<u8>),
    Error(ServerError),
    /// Words that change nothing.
    Notice,
}

impl Message {
    /// The next message; nothing beyond it is read.
    pub(super) async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> Asked<Self> {
        let mut head = [0; 5];
        stream.read_exact(&mut head).await.map_err(|error| broken(&error))?;
        let [kind, length @ ..] = head;
        let limit = match kind {
            b'R' => MAX_REQUEST,
            b'E' | b'N' => MAX_WORDS,
            _ => {
                let kind = char::from(kind).escape_debug();
                return Err(nonsense(format!(
                    "a message of kind `{kind}` in the middle of an authentication"
                )));
            }
        };
        let length = u32::from_be_bytes(length);
        let size = usize::try_from(length).ok().and_then(|length| length.checked_sub(4));
        let Some(size) = size.filter(|size| *size <= limit) else {
            return Err(nonsense(format!("a message that says it has {length} bytes")));
        };
        let mut body = vec![0; size];
        stream.read_exact(&mut body).await.map_err(|error| broken(&error))?;
        Ok(match kind {
            b'R' => match body.split_first_chunk() {
                Some((request, rest)) => Self::Authentication(u32::from_be_bytes(*request), rest.to_vec()),
                None => return Err(nonsense("a request without a word of what it wants")),
            },
            b'E' => Self::Error(ServerError::read(&body)),
            _ => Self::Notice,
        })
    }
}

/// A password, or a part of SCRAM: what a client sends in answer. A secret in it is the caller's to protect.
pub(super) fn answer(parts: &[&[u8]]) -> Vec<u8> {
    let size: usize = parts.iter().map(|part| part.len()).sum();
    // What is sent here is a few hundred bytes.
    let length = u32::try_from(size + 4).unwrap_or(u32::MAX).to_be_bytes();
    let mut message = Vec::with_capacity(size + 5);
    message.push(b'p');
    message.extend_from_slice(&length);
    parts.iter().for_each(|part| message.extend_from_slice(part));
    message
}

pub(super) fn broken(error: &std::io::Error) -> Refusal {
    Refusal::unavailable(format!("the connection broke during the authentication: {error}"))
}

/// The server said something that it must not.
pub(super) fn nonsense(what: impl std::fmt::Display) -> Refusal {
    Refusal::told(
        FaultDomain::External,
        "invalid",
        format!("the server does not keep to PostgreSQL's protocol: {what}"),
    )
}

/// A server's refusal in its own words.
pub(super) struct ServerError {
    severity: String,
    /// SQLSTATE.
    code: String,
    message: String,
}

impl ServerError {
    /// Fields are a letter and a text with a zero at its end.
    fn read(body: &[u8]) -> Self {
        let field = |wanted: u8| {
            let found = body.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(&[wanted]));
            String::from_utf8_lossy(found.unwrap_or_default()).into_owned()
        };
        Self { severity: field(b'S'), code: field(b'C'), message: field(b'M') }
    }

    /// What the component is told. `sent` is what was answered to the server and must not come back.
    pub(super) fn told(&self, sent: &[&[u8]]) -> Refusal {
        let Self { severity, code, message } = self;
        let mut words = format!("{severity} {code}: {message}");
        for secret in sent.iter().filter(|secret| !secret.is_empty()) {
            words = words.replace(&*String::from_utf8_lossy(secret), "***");
        }
        let words = clipped(&tame(&words).replace('\n', " "), MAX_TOLD);
        let words = format!("the server says: {words}");
        // Out of resources, stopped or starting, its system broke: it may be better soon.
        if ["53", "57", "58"].iter().any(|class| code.starts_with(class)) {
            Refusal::unavailable(words)
        } else {
            Refusal::told(FaultDomain::User, "denied", words)
        }
    }
}
