//! What all requests of components go through, whichever interface they come by.

use std::io;

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use reqwest::StatusCode;
use tidegate_model::{Code, Fault, Result};
use tidegate_permission::{Action, Resource as Asset};
use tokio::time::timeout;

use super::request::{Outgoing, bare};
use crate::credential::Credentials;
use crate::guest::Setup;
use crate::network::{Network, explain};
use crate::redaction::Redaction;
use crate::refusal::Asked;

/// Sends requests for the components of one run: decides about each, adds the credentials that belong to it, and
/// says what must be blacked out of its answer. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sender {
    network: Network,
    credentials: Credentials,
}

/// An answer, and what a component must not see of it.
pub(crate) struct Answer {
    pub(crate) response: reqwest::Response,
    pub(crate) redaction: Redaction,
}

impl Sender {
    pub(crate) fn new(setup: &Setup, network: Network) -> Self {
        Self { network, credentials: Credentials::new(setup) }
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// May it be sent, and with all credentials that belong to it?
    pub(crate) fn decide(&self, request: &Outgoing) -> Result<()> {
        let method = request.method.as_str().to_owned();
        let endpoint = Asset::Endpoint { method, url: request.url.to_string() };
        self.network.ask(Action::HttpRequest, &endpoint)?;
        self.credentials.decide(request)
    }

    /// Refuses a request that sets by itself what a credential sets, or that would carry one where everybody can
    /// read it.
    pub(crate) fn check(&self, request: &Outgoing) -> Asked<()> {
        self.credentials.check(request)
    }

    /// Sends what was decided and checked. A server that no longer accepts an access token (401) is asked once more
    /// with a new one.
    pub(crate) async fn send(&self, request: Outgoing) -> Result<Answer> {
        self.credentials.get_acquainted().await;
        let sent = if self.credentials.are_for(&request.url) {
            self.send_dressed(request).await
        } else {
            self.exchange(request).await
        };
        match sent {
            Ok(response) => Ok(Answer { response, redaction: self.credentials.redaction() }),
            Err(fault) => Err(self.credentials.hide_in(fault)),
        }
    }

    async fn send_dressed(&self, request: Outgoing) -> Result<reqwest::Response> {
        let mut dressed = in_time(&request, self.credentials.dress(request.clone(), &[])).await?;
        let mut response = self.exchange(dressed.request).await?;
        if response.status() == StatusCode::UNAUTHORIZED && !dressed.tokens.is_empty() {
            let again = self.credentials.dress(request.clone(), &dressed.tokens);
            dressed = in_time(&request, again).await?;
            response = self.exchange(dressed.request).await?;
        }
        Ok(response)
    }

    async fn exchange(&self, request: Outgoing) -> Result<reqwest::Response> {
        let Outgoing { method, url, headers, body, timeout } = request;
        let client = self.network.client(&url)?;
        let prepared = client.request(method, url.clone()).headers(headers).timeout(timeout).body(body);
        prepared.send().await.map_err(|error| explain(&url, error))
    }
}

/// Getting a secret, and a token for it, must not take longer than the request itself may.
async fn in_time<T>(request: &Outgoing, work: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(request.timeout, work).await.unwrap_or_else(|_| {
        let message = format!("{}: its credential was not there in time", bare(&request.url));
        Err(Fault::external(Code::SourceFailed, message).retry_after(1000))
    })
}

/// The pieces of a body as they arrive. What went wrong is told without the URL, which may carry a credential.
pub(crate) fn pieces(response: reqwest::Response) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    response.bytes_stream().map_err(|error| io::Error::other(error.without_url()))
}
