//! HTTP requests to granted endpoints.

use std::io::Read;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::tidegate::connector::http as wit;
use crate::{ByteStream, Fault, Result};

/// What [`Context::http`](crate::Context::http) gives. Needs a granted capability of kind `http` that covers
/// the address. Redirects are answers: following one is a new request.
#[derive(Debug, Clone, Copy)]
pub struct Http(());

impl Http {
    pub(crate) fn new() -> Self {
        Self(())
    }

    pub fn get(&self, url: impl Into<String>) -> RequestBuilder {
        self.request("GET", url)
    }

    pub fn post(&self, url: impl Into<String>) -> RequestBuilder {
        self.request("POST", url)
    }

    /// `method` in upper case.
    pub fn request(&self, method: impl Into<String>, url: impl Into<String>) -> RequestBuilder {
        RequestBuilder {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Ok(None),
            timeout: None,
        }
    }
}

/// A request that has not been sent.
#[derive(Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct RequestBuilder {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Result<Option<Vec<u8>>>,
    timeout: Option<u32>,
}

impl RequestBuilder {
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Ok(Some(body.into()));
        self
    }

    /// A JSON body with its content type.
    pub fn json(mut self, body: &impl Serialize) -> Self {
        self.body =
            serde_json::to_vec(body).map(Some).map_err(|error| Fault::internal("invalid", error.to_string()));
        self.header("content-type", "application/json")
    }

    /// For the whole exchange: 30 seconds unless told, at most 5 minutes.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
        self
    }

    /// Sends, and waits for the answer's headers.
    pub fn send(self) -> Result<Response> {
        Ok(Response::new(self.with(wit::send)??, self.url))
    }

    /// Sends without waiting, so that several requests can be on their way: at most 16.
    pub fn submit(self) -> Result<Pending> {
        Ok(Pending { inner: self.with(wit::submit)??, url: self.url })
    }

    fn with<T>(&self, act: impl FnOnce(wit::Request<'_>) -> T) -> Result<T> {
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let body = self.body.as_ref().map_err(Clone::clone)?;
        Ok(act(wit::Request {
            method: &self.method,
            url: &self.url,
            headers: &headers,
            body: body.as_deref(),
            timeout: self.timeout,
        }))
    }
}

/// A request on its way.
#[derive(Debug)]
pub struct Pending {
    inner: wit::Pending,
    url: String,
}

impl Pending {
    /// Waits for the answer's headers.
    pub fn wait(self) -> Result<Response> {
        Ok(Response::new(self.inner.wait()?, self.url))
    }
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// To be read, or given to a kernel.
    pub body: ByteStream,
    url: String,
}

impl Response {
    fn new(response: wit::Response, url: String) -> Self {
        Self { status: response.status, headers: response.headers, body: ByteStream::new(response.body), url }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A fault unless the status is 2xx. Too many requests (429) and errors of the server (5xx) may be tried
    /// again, after what `retry-after` says or a second; 401 and 403 are for the pipeline's author to mend.
    pub fn ok(self) -> Result<Self> {
        match refusal(self.status, &self.url, self.header("retry-after")) {
            Some(fault) => Err(fault),
            None => Ok(self),
        }
    }

    pub fn bytes(mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.body.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    pub fn text(mut self) -> Result<String> {
        let mut text = String::new();
        self.body.read_to_string(&mut text)?;
        Ok(text)
    }

    pub fn json<T: DeserializeOwned>(self) -> Result<T> {
        let url = self.url.clone();
        let bytes = self.bytes()?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Fault::external("invalid", format!("{url} answered with something else: {error}"))
        })
    }
}

fn refusal(status: u16, url: &str, retry_after: Option<&str>) -> Option<Fault> {
    let message = format!("{url} answered with status {status}");
    Some(match status {
        200..300 => return None,
        401 | 403 => Fault::user("refused", message),
        404 | 410 => Fault::external("not-found", message),
        429 | 500.. => {
            let seconds = retry_after.and_then(|value| value.trim().parse().ok()).unwrap_or(1);
            Fault::external("unavailable", message).retry_after(Duration::from_secs(seconds))
        }
        _ => Fault::external("failed", message),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_whose_problem_it_is_and_whether_to_try_again() {
        let seen = |status, retry_after| {
            let fault = refusal(status, "https://x", retry_after)?;
            Some((fault.code, fault.retry.map(|pause| pause.as_secs())))
        };
        let say = |code: &str, retry| Some((code.to_owned(), retry));
        for (status, retry_after, expected) in [
            (204, None, None),
            (302, None, say("failed", None)),
            (403, None, say("refused", None)),
            (404, Some("9"), say("not-found", None)),
            (429, Some("9"), say("unavailable", Some(9))),
            (503, Some("Wed, 21 Oct 2026 07:28:00 GMT"), say("unavailable", Some(1))),
        ] {
            assert_eq!(seen(status, retry_after), expected, "{status}");
        }
    }
}
