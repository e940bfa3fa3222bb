//! Puts secrets where they belong in a request.

use std::fmt;
use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use tidegate_model::{Code, Fault, Placement, Result};
use tidegate_permission::Secret;
use url::Url;

use super::slot::{Slot, basic_pair};
use super::{Credentials, aws, hmac};
use crate::http::{FRAME, Outgoing};
use crate::needles::percent_encoded;

/// A request as it goes out.
pub(crate) struct Dressed {
    pub(crate) request: Outgoing,
    /// The access tokens it carries, by number.
    pub(crate) tokens: Vec<u64>,
}

/// A place in a request that a credential takes for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sign {
    Header(String),
    Parameter(String),
}

impl Sign {
    pub(super) fn is_in(&self, request: &Outgoing) -> bool {
        match self {
            Self::Header(name) => request.headers.contains_key(name.as_str()),
            Self::Parameter(name) => request.url.query_pairs().any(|(known, _)| known == name.as_str()),
        }
    }
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "the header `{name}`"),
            Self::Parameter(name) => write!(f, "the query's `{name}`"),
        }
    }
}

/// What a credential sets.
pub(super) fn signs(place: &Placement) -> Vec<Sign> {
    let header = |name: &str| Sign::Header(name.to_owned());
    match place {
        Placement::Bearer
        | Placement::Basic { .. }
        | Placement::OAuth2Client { .. }
        | Placement::OAuth2Refresh { .. } => vec![header("authorization")],
        Placement::Header { name } => vec![header(name)],
        Placement::Query { name } => vec![Sign::Parameter(name.clone())],
        Placement::HmacSha256 { header: name } => vec![header(name), header(&hmac::of_time(name))],
        Placement::AwsSigV4 { .. } => {
            vec![header("authorization"), header("x-amz-date"), header("x-amz-content-sha256")]
        }
        Placement::Postgres { .. } | Placement::TlsClient => Vec::new(),
    }
}

impl Credentials {
    /// The request with every credential that belongs to its URL. Signatures come last: they cover the others.
    /// Access tokens whose numbers are in `spent` are not used any more.
    pub(crate) async fn dress(&self, request: Outgoing, spent: &[u64]) -> Result<Dressed> {
        let mut slots = self.at(&request.url);
        slots.sort_by_key(|slot| match slot.binding.place {
            Placement::AwsSigV4 { .. } => 2,
            Placement::HmacSha256 { .. } => 1,
            _ => 0,
        });
        let mut dressed = Dressed { request, tokens: Vec::new() };
        for slot in &slots {
            self.put_on(slot, &mut dressed, spent).await?;
        }
        Ok(dressed)
    }

    async fn put_on(&self, slot: &Arc<Slot>, dressed: &mut Dressed, spent: &[u64]) -> Result<()> {
        let Dressed { request, tokens } = dressed;
        let place = &slot.binding.place;
        if place.token_url().is_some() {
            let token = slot.token(&self.0, spent).await?;
            tokens.push(token.number);
            return set(request, slot.name(), "authorization", &prefixed("Bearer ", &token.value));
        }
        let kept = slot.secret(&self.0).await?;
        let (name, secret) = (slot.name(), &kept.secret);
        match place {
            Placement::Bearer => set(request, name, "authorization", &prefixed("Bearer ", secret)),
            Placement::Basic { user } => {
                let pair = basic_pair(user.as_bytes(), secret);
                set(request, name, "authorization", &prefixed("Basic ", &pair))
            }
            Placement::Header { name: header } => set(request, name, header, secret),
            Placement::Query { name: parameter } => {
                add_parameter(&mut request.url, parameter, secret);
                Ok(())
            }
            Placement::HmacSha256 { header } => hmac::sign(request, name, header, secret),
            Placement::AwsSigV4 { region, service, access_key_id } => {
                aws::sign(request, name, [region, service, access_key_id], secret)
            }
            Placement::OAuth2Client { .. }
            | Placement::OAuth2Refresh { .. }
            | Placement::Postgres { .. }
            | Placement::TlsClient => Ok(()),
        }
    }
}

fn prefixed(scheme: &str, secret: &Secret) -> Secret {
    Secret::new([scheme.as_bytes(), secret.expose()].concat())
}

/// Sets a header that no log shows.
pub(super) fn set(request: &mut Outgoing, slot: &str, header: &str, value: &Secret) -> Result<()> {
    let bad =
        |why: &str| Fault::user(Code::NoSecret, format!("the secret for `{slot}` cannot be sent: {why}"));
    let name = HeaderName::from_bytes(header.as_bytes())
        .ok()
        .filter(|name| !FRAME.contains(&name.as_str()))
        .ok_or_else(|| bad(&format!("`{}` is no header that can carry it", header.escape_debug())))?;
    let mut value = HeaderValue::from_bytes(value.expose())
        .map_err(|_| bad("it has a line break or another control character in it"))?;
    value.set_sensitive(true);
    if name == AUTHORIZATION {
        request.headers.remove(AUTHORIZATION);
    }
    request.headers.insert(name, value);
    Ok(())
}

fn add_parameter(url: &mut Url, name: &str, secret: &Secret) {
    let before = url.query().filter(|query| !query.is_empty()).map(|query| format!("{query}&"));
    let query = Secret::new(
        [
            before.unwrap_or_default().as_bytes(),
            percent_encoded(name.as_bytes()).as_bytes(),
            b"=",
            Secret::new(percent_encoded(secret.expose()).into_bytes()).expose(),
        ]
        .concat(),
    );
    url.set_query(std::str::from_utf8(query.expose()).ok());
}
