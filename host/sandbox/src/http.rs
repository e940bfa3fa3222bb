//! `http`: requests of a component, each decided before it is sent.

mod request;
mod sender;
mod wasi;

use std::io::Read;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tidegate_model::{Code, Fault, Result};
use tokio::io::AsyncReadExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio_util::io::StreamReader;
use url::Url;
use wasmtime::component::Resource;

use crate::bindings::files::Compression;
use crate::bindings::http::{self, Request, Response};
use crate::bytes::{ByteStream, Reader, decompressed, from_async};
use crate::guest::Guest;
use crate::meter::Charge;
use crate::refusal::{Asked, Refusal};

pub(crate) use request::{FRAME, Outgoing, bare, parse};
pub(crate) use sender::{Answer, Sender, pieces};
pub(crate) use wasi::{Web, add_to_linker};

/// Requests of one instance at once.
pub(crate) const IN_FLIGHT: usize = 16;
/// Of one answer, as it is sent. What it inflates to is read piece by piece.
const MAX_ANSWER: u64 = 64 << 30;

/// A guest's `pending`: a request on its way. Dropped, the request is given up.
pub struct Pending {
    url: Url,
    sent: Option<JoinHandle<Result<Answer>>>,
    /// For the body, which is held to be sent.
    _charge: Charge,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(sent) = &self.sent {
            sent.abort();
        }
    }
}

impl Guest {
    /// What is to be sent, once it was decided, and what it holds meanwhile.
    fn prepare(&mut self, request: Request) -> Asked<(Outgoing, Charge, OwnedSemaphorePermit)> {
        let permit = permit(&self.in_flight)?;
        let timeout = request.timeout.map_or(request::TIMEOUT, |ms| Duration::from_millis(ms.into()));
        let Request { method, url, headers, body, .. } = request;
        let mut outgoing = Outgoing::new(&method, &url, &headers, body.unwrap_or_default(), timeout)?;
        outgoing.headers.insert("accept-encoding", HeaderValue::from_static("gzip"));
        let sender = &self.around.sender;
        sender.decide(&outgoing).map_err(|fault| self.deny(fault))?;
        sender.check(&outgoing)?;
        let size = outgoing.body.len() as u64;
        let charge = self.ledger().charge(size)?;
        self.meter.moved(size, 0);
        Ok((outgoing, charge, permit))
    }

    fn answer(&mut self, url: &Url, sent: Result<Answer>) -> Asked<Response> {
        let Answer { response, redaction } = sent.map_err(|fault| self.deny(fault))?;
        self.meter.progressed();
        request::check_answer(response.headers())?;
        let status = response.status().as_u16();
        let compression = match encoding(response.headers()) {
            None => Compression::None,
            Some("gzip") => Compression::Gzip,
            Some(_) if redaction.is_empty() => Compression::None,
            Some(other) => return Err(Refusal::unavailable(unreadable(url, other))),
        };
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            let value = redaction.text(value.to_str().ok()?);
            (!redaction.is_in_name(name.as_str())).then(|| (name.as_str().to_owned(), value))
        };
        let headers: Vec<_> = response.headers().iter().filter_map(text).collect();
        let stream = if compression == Compression::None {
            let pieces = StreamReader::new(Box::pin(redaction.stream(pieces(response))));
            ByteStream::arriving(self, Box::pin(pieces.take(MAX_ANSWER)), bare(url))?
        } else {
            let plain = decompressed(body(response), compression)
                .map_err(|error| Refusal::unavailable(error.to_string()))?;
            ByteStream::new(self, redaction.reader(plain), Compression::None, 0, bare(url), None)?
        };
        let body = self.table.push(stream)?;
        Ok(Response { status, headers, body })
    }
}

fn permit(in_flight: &std::sync::Arc<tokio::sync::Semaphore>) -> Asked<OwnedSemaphorePermit> {
    in_flight
        .clone()
        .try_acquire_owned()
        .map_err(|_| Refusal::limit(format!("{IN_FLIGHT} requests are in flight already; wait for one")))
}

/// How a body is encoded, when it is. Several encodings, one on the other, count as one that nobody knows.
fn encoding(headers: &HeaderMap) -> Option<&str> {
    let mut named = headers.get_all("content-encoding").iter().map(|value| value.to_str().unwrap_or("?"));
    match (named.next(), named.next()) {
        (None, _) | (Some("" | "identity"), None) => None,
        (Some("x-gzip"), None) => Some("gzip"),
        (Some(one), None) => Some(one),
        _ => Some("several"),
    }
}

/// A secret could hide in it.
fn unreadable(url: &Url, encoding: &str) -> String {
    let encoding = encoding.escape_debug();
    format!(
        "{}: the answer is encoded (`{encoding}`), and where a credential was sent it is read first",
        bare(url)
    )
}

/// The body as it arrives, cut where it becomes absurd.
pub(crate) fn body(answer: reqwest::Response) -> Reader {
    Box::new(from_async(StreamReader::new(Box::pin(pieces(answer)))).take(MAX_ANSWER))
}

impl http::Host for Guest {
    async fn send(&mut self, request: Request) -> Asked<Response> {
        let (outgoing, _charge, _permit) = self.prepare(request)?;
        let url = outgoing.url.clone();
        let sent = self.around.sender.clone().send(outgoing).await;
        self.answer(&url, sent)
    }

    async fn submit(&mut self, request: Request) -> Asked<Resource<Pending>> {
        let (outgoing, charge, permit) = self.prepare(request)?;
        let (url, sender) = (outgoing.url.clone(), self.around.sender.clone());
        let sent = tokio::spawn(async move { sender.send(outgoing).await });
        Ok(self.table.push(Pending { url, sent: Some(sent), _charge: charge, _permit: permit })?)
    }
}

impl http::HostPending for Guest {
    async fn wait(&mut self, pending: Resource<Pending>) -> Asked<Response> {
        let pending = self.table.get_mut(&pending)?;
        let url = pending.url.clone();
        let sent = pending
            .sent
            .take()
            .ok_or_else(|| Refusal::invalid("`wait` was called on this request before"))?;
        let sent = sent.await.map_err(|error| {
            Refusal::Ended(Fault::internal(Code::Bug, format!("sending broke down: {error}")))
        })?;
        self.answer(&url, sent)
    }

    async fn drop(&mut self, pending: Resource<Pending>) -> wasmtime::Result<()> {
        self.table.delete(pending)?;
        Ok(())
    }
}
