//! A request of a component, once it was checked: what was decided is what is sent.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::refusal::{Asked, Refusal};

const MAX_HEADERS: usize = 64 << 10;
const MAX_URL: usize = 16 << 10;
const MAX_METHOD: usize = 32;
pub(crate) const MAX_BODY: usize = 16 << 20;
/// When nobody says otherwise, and at most.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(300);
/// Where the frame of a request is set. What changes one of these changes what is sent, and to whom.
pub(crate) const FRAME: &[&str] = &[
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "expect",
    "accept-encoding",
    "http2-settings",
];
/// The host sets these too: a component that could would speak for somebody else.
const IDENTITY: &[&str] = &["authorization", "cookie"];

#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// For the whole exchange.
    pub(crate) timeout: Duration,
}

impl Outgoing {
    pub(crate) fn new(
        method: &str,
        url: &str,
        given: &[(String, String)],
        body: impl Into<Bytes>,
        timeout: Duration,
    ) -> Asked<Self> {
        if url.len() > MAX_URL {
            return Err(Refusal::limit(format!("a URL of {} bytes is larger than 16 KiB", url.len())));
        }
        let url = parse(url)?;
        let method = Method::from_bytes(method.as_bytes())
            .ok()
            .filter(|parsed| {
                *parsed != Method::CONNECT
                    && method.len() <= MAX_METHOD
                    && method.bytes().all(|b| b.is_ascii_uppercase())
            })
            .ok_or_else(|| Refusal::invalid("the method must be upper-case letters, such as `GET`"))?;
        let headers = headers(given)?;
        let body = body.into();
        check_body(body.len())?;
        Ok(Self { method, url, headers, body, timeout: timeout.min(MAX_TIMEOUT) })
    }
}

pub(crate) fn check_body(size: usize) -> Asked<()> {
    if size > MAX_BODY {
        return Err(Refusal::limit(format!("a body of {size} bytes is larger than 16 MiB")));
    }
    Ok(())
}

/// Refuses an answer whose headers are larger than what a component may send.
pub(crate) fn check_answer(headers: &HeaderMap) -> Asked<()> {
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if size > MAX_HEADERS {
        return Err(Refusal::limit(format!("the answer's headers are larger than 64 KiB ({size} bytes)")));
    }
    Ok(())
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

/// Without what may be secret.
pub(crate) fn bare(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

/// Whether a header is the host's to set, in whatever request.
pub(crate) fn is_reserved(name: &str) -> bool {
    FRAME.contains(&name)
        || IDENTITY.contains(&name)
        || name.starts_with("proxy-")
        || name.starts_with("x-forwarded-")
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
        if is_reserved(text) {
            return Err(Refusal::invalid(format!("the header `{text}` is the host's to set")));
        }
        let value = HeaderValue::from_str(value)
            .map_err(|_| Refusal::invalid(format!("the header `{text}` has a value that cannot be sent")))?;
        headers.append(name, value);
    }
    Ok(headers)
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
        for name in FRAME.iter().chain(IDENTITY).copied().chain([
            "Authorization",
            "X-Forwarded-For",
            "proxy-authorization",
        ]) {
            let refused = headers(&[(name.to_owned(), "x".to_owned())]).unwrap_err();
            assert!(told(refused).contains("the host's to set"), "{name}");
        }
        for (name, value) in [("a b", "x"), ("a\r\nb", "x"), ("", "x"), ("a", "x\r\nhost: evil")] {
            assert!(headers(&[(name.to_owned(), value.to_owned())]).is_err(), "{name:?} {value:?}");
        }
        assert!(headers(&[("x".to_owned(), "y".repeat(MAX_HEADERS))]).is_err());
        assert_eq!(headers(&[("Accept".to_owned(), "text/csv".to_owned())]).unwrap().len(), 1);
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
