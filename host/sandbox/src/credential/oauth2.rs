//! OAuth 2.0: secrets that are traded for access tokens (RFC 6749), so that a server that is asked for data never gets
//! the secret itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures::StreamExt;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde::{Deserialize, Serialize};
use tidegate_model::{Binding, Code, Fault, Placement, Result};
use tidegate_permission::{Action, Resource as Asset, Secret, is_private};

use super::slot::basic_pair;
use crate::http::{bare, parse, pieces};
use crate::needles::{Needles, percent_encoded};
use crate::network::{Network, explain};
use crate::refusal::Refusal;

const TIMEOUT: Duration = Duration::from_secs(30);
const LARGEST_ANSWER: usize = 64 << 10;
/// When a server does not say how long a token lives, and at most.
const LIFE: u64 = 300;
const LONGEST_LIFE: u64 = 24 * 3600;
/// A token is not used for the last part of its life: it must still be good when it arrives.
const MARGIN: u64 = 30;

/// An access token. Each has another number.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) value: Secret,
    pub(super) needles: Arc<Needles>,
    pub(super) number: u64,
    until: Instant,
}

impl Token {
    fn new(value: Secret, seconds: Option<u64>) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let life = seconds.unwrap_or(LIFE).min(LONGEST_LIFE);
        let used = life - MARGIN.min(life / 10);
        let needles = Arc::new(Needles::new([value.expose()]));
        let until = Instant::now() + Duration::from_secs(used);
        Self { value, needles, number: NUMBER.fetch_add(1, Relaxed), until }
    }

    pub(super) fn is_fresh(&self, spent: &[u64]) -> bool {
        self.until > Instant::now() && !spent.contains(&self.number)
    }
}

/// What a token server gave.
pub(super) struct Granted {
    pub(super) token: Token,
    /// The secret that stands for the old one from now on.
    pub(super) rotated: Option<Secret>,
}

/// What `oauth2-refresh` is bound to: a refresh token, or a JSON object with it and the client's own secret.
pub(super) struct RefreshSecret {
    pub(super) refresh_token: Secret,
    client_secret: Option<Secret>,
}

#[derive(Serialize, Deserialize)]
struct Pair {
    refresh_token: String,
    client_secret: String,
}

impl RefreshSecret {
    pub(super) fn parse(secret: &Secret) -> Self {
        match serde_json::from_slice::<Pair>(secret.expose()) {
            Ok(Pair { refresh_token, client_secret }) => Self {
                refresh_token: Secret::new(refresh_token.into_bytes()),
                client_secret: Some(Secret::new(client_secret.into_bytes())),
            },
            Err(_) => Self { refresh_token: secret.clone(), client_secret: None },
        }
    }

    pub(super) fn client_secret(&self) -> &[u8] {
        self.client_secret.as_ref().map(Secret::expose).unwrap_or_default()
    }

    /// The same with another token, in the form that it had.
    fn with(&self, token: &str) -> Secret {
        let Some(client_secret) = &self.client_secret else { return Secret::new(token.as_bytes().to_vec()) };
        let client_secret = String::from_utf8_lossy(client_secret.expose()).into_owned();
        let refresh_token = token.to_owned();
        let value = serde_json::json!(Pair { refresh_token, client_secret });
        Secret::new(value.to_string().into_bytes())
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    token_type: String,
    expires_in: Option<u64>,
    refresh_token: Option<String>,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: String,
}

/// Asks the token server. The request is the host's own: it is decided as one of extraction's, for this very URL.
pub(super) async fn trade(network: &Network, binding: &Binding, secret: &Secret) -> Result<Granted> {
    let (token_url, form, client, refresh) = match &binding.place {
        Placement::OAuth2Client { token_url, client_id, scopes } => {
            let scope = percent_encoded(scopes.join(" ").as_bytes());
            let scope = if scopes.is_empty() { String::new() } else { format!("&scope={scope}") };
            let form = Secret::new(format!("grant_type=client_credentials{scope}").into_bytes());
            (token_url, form, Some(client(client_id, secret)), None)
        }
        Placement::OAuth2Refresh { token_url, client_id } => {
            let parts = RefreshSecret::parse(secret);
            let token = percent_encoded(parts.refresh_token.expose());
            let mut form = format!("grant_type=refresh_token&refresh_token={token}");
            let client = parts.client_secret.as_ref().map(|secret| client(client_id, secret));
            if client.is_none() {
                form.push_str(&format!("&client_id={}", percent_encoded(client_id.as_bytes())));
            }
            (token_url, Secret::new(form.into_bytes()), client, Some(parts))
        }
        _ => return Err(Fault::internal(Code::Bug, "a secret that is traded for nothing")),
    };
    let answer = ask(network, &binding.slot, token_url, &form, client.as_ref()).await?;
    let rotated = match (refresh, answer.refresh_token.filter(|token| !token.is_empty())) {
        (Some(parts), Some(new)) if new.as_bytes() != parts.refresh_token.expose() => Some(parts.with(&new)),
        _ => None,
    };
    Ok(Granted {
        token: Token::new(Secret::new(answer.access_token.into_bytes()), answer.expires_in),
        rotated,
    })
}

/// The client's authentication (RFC 6749, 2.3.1): both parts are encoded first.
fn client(id: &str, secret: &Secret) -> Secret {
    let secret = Secret::new(percent_encoded(secret.expose()).into_bytes());
    let pair = basic_pair(percent_encoded(id.as_bytes()).as_bytes(), &secret);
    Secret::new([b"Basic ", pair.expose()].concat())
}

async fn ask(
    network: &Network,
    slot: &str,
    token_url: &str,
    form: &Secret,
    client: Option<&Secret>,
) -> Result<TokenAnswer> {
    let bad = |why: String| Fault::user(Code::BadConfig, format!("the token URL of `{slot}`: {why}"));
    let url = parse(token_url).map_err(|refusal| match refusal {
        Refusal::Told(fault) => bad(fault.message),
        Refusal::Ended(fault) => fault,
    })?;
    if !is_private(url.as_str()) {
        return Err(bad("a secret is not sent over plain http to another machine; use https".to_owned()));
    }
    let endpoint = Asset::Endpoint { method: "POST".to_owned(), url: url.to_string() };
    network.ask(Action::HttpRequest, &endpoint)?;
    let mut request = network
        .client(&url)?
        .post(url.clone())
        .timeout(TIMEOUT)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json")
        .body(form.expose().to_vec());
    if let Some(client) = client {
        let mut value = HeaderValue::from_bytes(client.expose())
            .map_err(|_| bad("the client cannot be named in a header".to_owned()))?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let response = request.send().await.map_err(|error| explain(&url, error))?;
    let status = response.status();
    let failed = |why: String| {
        let message = format!("no access token for `{slot}`: {} {why}", bare(&url));
        Fault::external(Code::SourceFailed, message.trim_end())
    };
    let mut body = Secret::new(Vec::new());
    let mut arriving = Box::pin(pieces(response));
    while let Some(piece) = arriving.next().await {
        let piece = piece.map_err(|error| failed(error.to_string()).retry_after(1000))?;
        if body.expose().len() + piece.len() > LARGEST_ANSWER {
            return Err(failed(format!("answered with more than {LARGEST_ANSWER} bytes")));
        }
        body = Secret::new([body.expose(), &piece].concat());
    }
    if !status.is_success() {
        let said = serde_json::from_slice::<ErrorAnswer>(body.expose()).map(|answer| word(&answer.error));
        let fault = failed(format!("answered {} {}", status.as_u16(), said.unwrap_or_default()));
        return Err(if status.is_server_error() || status.as_u16() == 429 {
            fault.retry_after(1000)
        } else {
            fault.help("the secret may have ended or been taken back: bind the slot to a new one")
        });
    }
    let answer: TokenAnswer = serde_json::from_slice(body.expose())
        .map_err(|error| failed(format!("answered with something else (line {})", error.line())))?;
    if !answer.token_type.eq_ignore_ascii_case("bearer") {
        return Err(failed(format!("gave a token of the unknown type `{}`", word(&answer.token_type))));
    }
    Ok(answer)
}

/// A server's word, which may be anything.
fn word(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || "_-.".contains(*c)).take(64).collect()
}
