//! `http`: requests of a component, each decided before it is sent.

use std::io::{self, Read};
use std::time::Duration;

use futures::TryStreamExt;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method};
use tidegate_model::{Code, Fault};
use tidegate_permission::{Action, Resource as Asset};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio_util::io::StreamReader;
use url::Url;
use wasmtime::component::Resource;

use crate::bindings::files::Compression;
use crate::bindings::http::{self, Request, Response};
use crate::bytes::{ByteStream, Reader, from_async};
use crate::guest::Guest;
use crate::meter::Charge;
use crate::network;
use crate::refusal::{Asked, Refusal};

/// Requests of one instance at once.
pub(crate) const IN_FLIGHT: usize = 16;
const MAX_HEADERS: usize = 64 << 10;
const MAX_URL: usize = 16 << 10;
const MAX_METHOD: usize = 32;
const MAX_BODY: usize = 16 << 20;
/// Of one answer, as it is sent. What it inflates to is read piece by piece.
const MAX_ANSWER: u64 = 64 << 30;
const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_TIMEOUT: Duration = Duration::from_secs(300);
/// The host sets these. A component that could would speak for somebody else, or to another server than was
/// decided.
const RESERVED: &[&str] = &[
    "host",
    "connection",
    "authorization",
    "cookie",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "expect",
    "accept-encoding",
];

type Sent = std::result::Result<reqwest::Response, reqwest::Error>;

/// A guest's `pending`: a request on its way. Dropped, the request is given up.
pub struct Pending {
    url: Url,
    sent: Option<JoinHandle<Sent>>,
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
    fn submit_request(&mut self, request: Request) -> Asked<Pending> {
        let permit = self.in_flight.clone().try_acquire_owned().map_err(|_| {
            Refusal::limit(format!("{IN_FLIGHT} requests are in flight already; wait for one"))
        })?;
        if request.url.len() > MAX_URL {
            let size = request.url.len();
            return Err(Refusal::limit(format!("a URL of {size} bytes is larger than 16 KiB")));
        }
        let url = parse(&request.url)?;
        let method = Method::from_bytes(request.method.as_bytes())
            .ok()
            .filter(|method| {
                *method != Method::CONNECT
                    && request.method.len() <= MAX_METHOD
                    && request.method.bytes().all(|b| b.is_ascii_uppercase())
            })
            .ok_or_else(|| Refusal::invalid("the method must be upper-case letters, such as `GET`"))?;
        let headers = headers(&request.headers)?;
        let body = request.body.unwrap_or_default();
        if body.len() > MAX_BODY {
            return Err(Refusal::limit(format!("a body of {} bytes is larger than 16 MiB", body.len())));
        }
        let timeout = request.timeout.map_or(TIMEOUT, |ms| Duration::from_millis(ms.into())).min(MAX_TIMEOUT);
        let endpoint = Asset::Endpoint { method: request.method, url: url.to_string() };
        self.ask(Action::HttpRequest, &endpoint)?;
        let client: Client = self.around.network.client(&url).map_err(|fault| self.deny(fault))?;
        let charge = self.ledger().charge(body.len() as u64)?;
        self.meter.moved(body.len() as u64, 0);
        let prepared = client.request(method, url.clone()).headers(headers).timeout(timeout).body(body);
        let sent = tokio::spawn(prepared.send());
        Ok(Pending { url, sent: Some(sent), _charge: charge, _permit: permit })
    }

    async fn answer(&mut self, url: &Url, sent: JoinHandle<Sent>) -> Asked<Response> {
        let answer = sent
            .await
            .map_err(|error| {
                Refusal::Ended(Fault::internal(Code::Bug, format!("sending broke down: {error}")))
            })?
            .map_err(|error| match network::explain(url, &error) {
                fault if fault.code == Code::NotGranted || fault.code == Code::AboveCeiling => {
                    self.deny(fault)
                }
                fault => Refusal::from(fault),
            })?;
        self.meter.progressed();
        let size: usize =
            answer.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if size > MAX_HEADERS {
            return Err(Refusal::limit(format!(
                "the answer's headers are larger than 64 KiB ({size} bytes)"
            )));
        }
        let status = answer.status().as_u16();
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        };
        let headers: Vec<_> = answer.headers().iter().filter_map(text).collect();
        let gzip = answer.headers().get("content-encoding").is_some_and(|value| value == "gzip");
        let compression = if gzip { Compression::Gzip } else { Compression::None };
        let stream = ByteStream::new(self, body(answer), compression, 0, bare(url), None)?;
        let body = self.table.push(stream)?;
        Ok(Response { status, headers, body })
    }
}

/// The body as it arrives, cut where it becomes absurd.
pub(crate) fn body(answer: reqwest::Response) -> Reader {
    let pieces = answer.bytes_stream().map_err(io::Error::other);
    Box::new(from_async(StreamReader::new(Box::pin(pieces))).take(MAX_ANSWER))
}

/// Without what may be secret.
fn bare(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

/// An absolute `http` or `https` URL without user and fragment: what is decided is what is sent.
pub(crate) fn parse(text: &str) -> Asked<Url> {
    let mut url = Url::parse(text).map_err(|error| Refusal::invalid(format!("the URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(Refusal::invalid("only absolute `http` and `https` URLs can be sent to"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refusal::invalid("a URL must not carry a user or password"));
    }
    url.set_fragment(None);
    Ok(url)
}

fn headers(given: &[(String, String)]) -> Asked<HeaderMap> {
    let size: usize = given.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > MAX_HEADERS {
        return Err(Refusal::limit(format!("headers of {size} bytes are larger than 64 KiB")));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| Refusal::invalid(format!("`{}` is not a header's name", name.escape_debug())))?;
        let text = name.as_str();
        if RESERVED.contains(&text) || text.starts_with("proxy-") || text.starts_with("x-forwarded-") {
            return Err(Refusal::invalid(format!("the header `{text}` is the host's to set")));
        }
        let value = HeaderValue::from_str(value)
            .map_err(|_| Refusal::invalid(format!("the header `{text}` has a value that cannot be sent")))?;
        headers.append(name, value);
    }
    headers.insert("accept-encoding", HeaderValue::from_static("gzip"));
    Ok(headers)
}

impl http::Host for Guest {
    async fn send(&mut self, request: Request) -> Asked<Response> {
        let mut pending = self.submit_request(request)?;
        match pending.sent.take() {
            Some(sent) => self.answer(&pending.url.clone(), sent).await,
            None => Err(Refusal::invalid("nothing was sent")),
        }
    }

    async fn submit(&mut self, request: Request) -> Asked<Resource<Pending>> {
        let pending = self.submit_request(request)?;
        Ok(self.table.push(pending)?)
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
        self.answer(&url, sent).await
    }

    async fn drop(&mut self, pending: Resource<Pending>) -> wasmtime::Result<()> {
        self.table.delete(pending)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(refused: Refusal) -> String {
        match refused {
            Refusal::Told(fault) => format!("{}: {}", fault.code, fault.message),
            Refusal::Ended(fault) => fault.to_string(),
        }
    }

    #[test]
    fn headers_that_would_smuggle_are_refused() {
        for name in
            RESERVED.iter().copied().chain(["Authorization", "X-Forwarded-For", "proxy-authorization"])
        {
            let refused = headers(&[(name.to_owned(), "x".to_owned())]).unwrap_err();
            assert!(told(refused).contains("the host's to set"), "{name}");
        }
        for (name, value) in [("a b", "x"), ("a\r\nb", "x"), ("", "x"), ("a", "x\r\nhost: evil")] {
            assert!(headers(&[(name.to_owned(), value.to_owned())]).is_err(), "{name:?} {value:?}");
        }
        assert!(headers(&[("x".to_owned(), "y".repeat(MAX_HEADERS))]).is_err());
        assert_eq!(headers(&[("Accept".to_owned(), "text/csv".to_owned())]).unwrap().len(), 2);
    }

    #[test]
    fn only_plain_urls_are_sent_to() {
        for bad in [
            "ftp://x/",
            "file:///etc/passwd",
            "/relative",
            "https://user@x/",
            "https://u:p@x/",
            "http://",
            "x",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(parse("HTTPS://Example.org:443/a/../b#secret").unwrap().as_str(), "https://example.org/b");
    }
}
