//! Where a secret is, and how the host uses it. Never the secret itself.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a secret's value is kept, as pipeline files write it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SecretRef {
    /// `env:NAME`: a variable of the environment of whoever starts the run.
    Env(String),
    /// `file:PATH`: all of a file, less one line break at its end. Relative to the pipeline file.
    File(String),
    /// `store:NAME`: in the platform's own encrypted store.
    Store(String),
}

impl FromStr for SecretRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |name: &str| {
            !name.is_empty()
                && name.len() <= 200
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./".contains(&b))
        };
        match text.split_once(':') {
            Some(("env", name)) if plain(name) => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() && !path.contains(char::is_control) => {
                Ok(Self::File(path.to_owned()))
            }
            Some(("store", name)) if plain(name) => Ok(Self::Store(name.to_owned())),
            // Not shown: somebody may have written the secret itself.
            _ => {
                Err("a secret is named, never written down: `env:NAME`, `file:PATH` or `store:NAME`"
                    .to_owned())
            }
        }
    }
}

impl TryFrom<String> for SecretRef {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SecretRef> for String {
    fn from(secret: SecretRef) -> Self {
        secret.to_string()
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
            Self::Store(name) => write!(f, "store:{name}"),
        }
    }
}

/// How the host uses a secret at its endpoint, so that the component need not see it. Written as words:
/// `bearer`, `basic alice`, `header x-api-key`, `aws-sigv4 eu-west-1 s3 AKIA...`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Placement {
    /// `bearer`: `Authorization: Bearer SECRET`.
    Bearer,
    /// `basic USER`: `Authorization: Basic`, the secret is the password (RFC 7617).
    Basic { user: String },
    /// `header NAME`: the secret is the header's value.
    Header { name: String },
    /// `query NAME`: the secret is the value of that parameter of the URL.
    Query { name: String },
    /// `oauth2-client TOKEN_URL CLIENT_ID [SCOPE...]`: the secret is the client's; the host trades it for
    /// access tokens (RFC 6749, 4.4).
    OAuth2Client { token_url: String, client_id: String, scopes: Vec<String> },
    /// `oauth2-refresh TOKEN_URL CLIENT_ID`: the secret is a refresh token, or a JSON object with
    /// `refresh_token` and `client_secret` (RFC 6749, 6). A token that the server rotates is kept.
    OAuth2Refresh { token_url: String, client_id: String },
    /// `hmac-sha256 HEADER`: the header carries the request's HMAC.
    HmacSha256 { header: String },
    /// `aws-sigv4 REGION SERVICE ACCESS_KEY_ID`: the secret is the secret access key.
    AwsSigV4 { region: String, service: String, access_key_id: String },
    /// `postgres USER`: the password of a PostgreSQL role; the host carries out the authentication.
    Postgres { user: String },
    /// `tls-client`: a certificate and its private key, in PEM; the host shows the certificate when the server
    /// asks for one.
    TlsClient,
}

impl Placement {
    /// Where the host trades the secret for access tokens, of those that need it.
    pub fn token_url(&self) -> Option<&str> {
        match self {
            Self::OAuth2Client { token_url, .. } | Self::OAuth2Refresh { token_url, .. } => Some(token_url),
            _ => None,
        }
    }
}

impl FromStr for Placement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let own = |word: &str| word.to_owned();
        Ok(match words.as_slice() {
            ["bearer"] => Self::Bearer,
            ["basic", user] => Self::Basic { user: own(user) },
            ["header", name] => Self::Header { name: name.to_ascii_lowercase() },
            ["query", name] => Self::Query { name: own(name) },
            ["oauth2-client", token_url, client_id, scopes @ ..] => Self::OAuth2Client {
                token_url: own(token_url),
                client_id: own(client_id),
                scopes: scopes.iter().map(|scope| own(scope)).collect(),
            },
            ["oauth2-refresh", token_url, client_id] => {
                Self::OAuth2Refresh { token_url: own(token_url), client_id: own(client_id) }
            }
            ["hmac-sha256", header] => Self::HmacSha256 { header: header.to_ascii_lowercase() },
            ["aws-sigv4", region, service, access_key_id] => Self::AwsSigV4 {
                region: own(region),
                service: own(service),
                access_key_id: own(access_key_id),
            },
            ["postgres", user] => Self::Postgres { user: own(user) },
            ["tls-client"] => Self::TlsClient,
            _ => {
                return Err(format!(
                    "`{text}` is no way to use a secret: write `bearer`, `basic USER`, `header NAME`, `query NAME`, `oauth2-client TOKEN_URL CLIENT_ID [SCOPE...]`, `oauth2-refresh TOKEN_URL CLIENT_ID`, `hmac-sha256 HEADER`, `aws-sigv4 REGION SERVICE ACCESS_KEY_ID`, `postgres USER` or `tls-client`"
                ));
            }
        })
    }
}

impl TryFrom<String> for Placement {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Placement> for String {
    fn from(place: Placement) -> Self {
        place.to_string()
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bearer => f.write_str("bearer"),
            Self::Basic { user } => write!(f, "basic {user}"),
            Self::Header { name } => write!(f, "header {name}"),
            Self::Query { name } => write!(f, "query {name}"),
            Self::OAuth2Client { token_url, client_id, scopes } => {
                write!(f, "oauth2-client {token_url} {client_id}")?;
                scopes.iter().try_for_each(|scope| write!(f, " {scope}"))
            }
            Self::OAuth2Refresh { token_url, client_id } => {
                write!(f, "oauth2-refresh {token_url} {client_id}")
            }
            Self::HmacSha256 { header } => write!(f, "hmac-sha256 {header}"),
            Self::AwsSigV4 { region, service, access_key_id } => {
                write!(f, "aws-sigv4 {region} {service} {access_key_id}")
            }
            Self::Postgres { user } => write!(f, "postgres {user}"),
            Self::TlsClient => f.write_str("tls-client"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for text in [
            "bearer",
            "basic alice",
            "header x-api-key",
            "query key",
            "oauth2-client https://auth.example.org/token me",
            "oauth2-client https://auth.example.org/token me read write",
            "oauth2-refresh https://auth.example.org/token me",
            "hmac-sha256 x-signature",
            "aws-sigv4 eu-west-1 s3 AKIAEXAMPLE",
            "postgres reader",
            "tls-client",
        ] {
            assert_eq!(text.parse::<Placement>().unwrap().to_string(), text);
        }
        for text in ["", "bearer x", "basic", "cookie x", "aws-sigv4 s3", "tls-client x"] {
            assert!(text.parse::<Placement>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_is_named_and_never_written_down() {
        for text in ["env:TOKEN", "file:./key.txt", "store:prod/api.token"] {
            assert_eq!(text.parse::<SecretRef>().unwrap().to_string(), text);
        }
        for text in ["", "hunter2", "env:", "env:A B", "vault:x", "store:a:b", "file:a\nb"] {
            assert!(!text.parse::<SecretRef>().unwrap_err().contains("hunter2"), "{text}");
        }
    }
}
