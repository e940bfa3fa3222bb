//! PostgreSQL's authentication, carried out in the component's name.
//!
//! The server is not trusted either: what it sends is bounded, what it can make us compute too, it cannot talk
//! us down to a weaker method than it began with, and once SCRAM began it must prove that it knows the
//! password before anything it says is believed.

#[cfg(test)]
mod tests;

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use tidegate_permission::Secret;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::message::{self, Message, nonsense};
use crate::bindings::types::FaultDomain;
use crate::bytes::on_thread;
use crate::refusal::{Asked, Refusal};

/// Messages of one authentication. SCRAM, the longest, has four; the others may be notices.
const MAX_MESSAGES: usize = 16;
/// Rounds of SCRAM's hash. Fewer make a stolen answer easy to guess from, and no server of PostgreSQL has ever
/// used fewer; more are a way to keep us busy: this many take a second or two.
const ROUNDS: std::ops::RangeInclusive<u32> = 4096..=1_000_000;

/// What a server can ask for: the number of an authentication request.
mod request {
    pub(super) const OK: u32 = 0;
    pub(super) const CLEARTEXT: u32 = 3;
    pub(super) const MD5: u32 = 5;
    pub(super) const SASL: u32 = 10;
    pub(super) const SASL_CONTINUE: u32 = 11;
    pub(super) const SASL_FINAL: u32 = 12;
}

/// Who the connection is to, as far as encryption tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Peer {
    /// Not encrypted.
    Anybody,
    /// Encrypted; whoever is between may be the other end.
    Somebody { end_point: Option<Vec<u8>> },
    /// Encrypted, and the certificate is the host's.
    Verified { end_point: Option<Vec<u8>> },
}

/// Whose password it is, and where it may go.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: Secret,
    pub(super) peer: Peer,
    /// The server is on this machine.
    pub(super) local: bool,
}

enum Stage {
    Open,
    /// The password was sent, in one way or another.
    Answered,
    ScramBegun(ScramSha256),
    ScramAnswered(ScramSha256),
    /// The server proved that it knows the password.
    ScramProven,
}

/// Answers what the server asks until it lets us in. Reads nothing that comes after.
pub(super) async fn authenticate<S>(stream: &mut S, login: &Login) -> Asked<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let password = login.password.expose();
    if password.is_empty() || password.contains(&0) {
        return Err(Refusal::told(
            FaultDomain::User,
            "invalid",
            "the secret cannot be a password: it is empty or has a zero byte",
        ));
    }
    let mut stage = Stage::Open;
    let mut sent: Vec<Secret> = Vec::new();
    for _ in 0..MAX_MESSAGES {
        let (asked, body) = match Message::receive(stream).await? {
            Message::Notice => continue,
            Message::Error(error) => {
                let sent: Vec<&[u8]> = sent.iter().map(Secret::expose).collect();
                return Err(error.told(&sent));
            }
            Message::Authentication(asked, body) => (asked, body),
        };
        let answer;
        (stage, answer) = match (stage, asked) {
            (Stage::Open | Stage::Answered | Stage::ScramProven, request::OK) => return Ok(()),
            (Stage::Open, request::CLEARTEXT) => {
                if !matches!(login.peer, Peer::Verified { .. }) {
                    return Err(refused(
                        "the server wants the password itself, which is told to a server only on a connection with `verify-full`",
                    ));
                }
                sent.push(login.password.clone());
                (Stage::Answered, Some(message::answer(&[password, &[0]])))
            }
            (Stage::Open, request::MD5) => {
                // Whoever hears the answer can guess passwords until one fits, and MD5 is fast.
                if !(login.local || matches!(login.peer, Peer::Verified { .. })) {
                    return Err(refused(
                        "the server wants the password as MD5, which whoever hears it can guess from: use `verify-full`, or `password_encryption = 'scram-sha-256'` on the server",
                    ));
                }
                let salt = body.try_into().map_err(|_| nonsense("a salt for MD5 that has not four bytes"))?;
                let hash = Secret::new(md5_hash(login.user.as_bytes(), password, salt).into_bytes());
                let answer = message::answer(&[hash.expose(), &[0]]);
                sent.push(hash);
                (Stage::Answered, Some(answer))
            }
            (Stage::Open, request::SASL) => {
                let (mechanism, binding) = mechanism(&body, &login.peer)?;
                let scram = ScramSha256::new(password, binding);
                let first = scram.message();
                let length = u32::try_from(first.len()).unwrap_or(u32::MAX).to_be_bytes();
                let answer = message::answer(&[mechanism.as_bytes(), &[0], &length, first]);
                (Stage::ScramBegun(scram), Some(answer))
            }
            (Stage::ScramBegun(scram), request::SASL_CONTINUE) => {
                let scram = prove(scram, body).await?;
                let last = scram.message();
                let proof = last.windows(3).rposition(|part| part == b",p=").map(|at| &last[at + 3..]);
                sent.push(Secret::new(proof.unwrap_or_default().to_vec()));
                let answer = message::answer(&[last]);
                (Stage::ScramAnswered(scram), Some(answer))
            }
            (Stage::ScramAnswered(mut scram), request::SASL_FINAL) => {
                scram.finish(&body).map_err(|_| {
                    refused("the server cannot prove that it knows the password: it may not be the one it says it is")
                })?;
                (Stage::ScramProven, None)
            }
            (Stage::Open, other) if ![request::SASL_CONTINUE, request::SASL_FINAL].contains(&other) => {
                return Err(Refusal::told(
                    FaultDomain::External,
                    "unsupported",
                    format!(
                        "the server asks for authentication of kind {other}; SCRAM-SHA-256, MD5 and passwords are what there is"
                    ),
                ));
            }
            (_, other) => return Err(nonsense(format!("authentication request {other} out of turn"))),
        };
        if let Some(answer) = answer {
            // Overwritten when it is dropped.
            let answer = Secret::new(answer);
            stream.write_all(answer.expose()).await.map_err(|error| message::broken(&error))?;
            stream.flush().await.map_err(|error| message::broken(&error))?;
        }
    }
    Err(nonsense(format!("an authentication of more than {MAX_MESSAGES} messages")))
}

fn refused(why: &str) -> Refusal {
    Refusal::told(FaultDomain::External, "denied", why)
}

/// The strongest mechanism that both sides have, and how it is bound to the connection.
fn mechanism(offered: &[u8], peer: &Peer) -> Asked<(&'static str, ChannelBinding)> {
    let offers = |name: &str| offered.split(|byte| *byte == 0).any(|offer| offer == name.as_bytes());
    let (plus, plain) = (offers(SCRAM_SHA_256_PLUS), offers(SCRAM_SHA_256));
    Ok(match peer {
        Peer::Somebody { end_point: Some(hash) } | Peer::Verified { end_point: Some(hash) } if plus => {
            (SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(hash.clone()))
        }
        // Whoever is between could have chosen a certificate that nothing can be bound to.
        Peer::Somebody { end_point: None } if plus => {
            return Err(refused(
                "nothing binds the authentication to this server's certificate (its signature has no hash of its own), and nobody verified it: use `verify-full`",
            ));
        }
        _ if !plain => {
            return Err(Refusal::told(
                FaultDomain::External,
                "unsupported",
                "the server offers no mechanism that there is: SCRAM-SHA-256, with channel binding on an encrypted connection",
            ));
        }
        Peer::Anybody => (SCRAM_SHA_256, ChannelBinding::unsupported()),
        // Says so in words that are signed: a server whose offer somebody took away will notice.
        _ if !plus => (SCRAM_SHA_256, ChannelBinding::unrequested()),
        _ => (SCRAM_SHA_256, ChannelBinding::unsupported()),
    })
}

/// Computes the proof, on a thread: it is meant to take time.
async fn prove(mut scram: ScramSha256, challenge: Vec<u8>) -> Asked<ScramSha256> {
    let rounds = rounds(&challenge).ok_or_else(|| nonsense("a challenge of SCRAM that is none"))?;
    if !ROUNDS.contains(&rounds) {
        let (least, most) = ROUNDS.into_inner();
        return Err(nonsense(format!("{rounds} rounds of SCRAM's hash; it must be {least} to {most}")));
    }
    on_thread(move || scram.update(&challenge).map(|()| scram))
        .await?
        .map_err(|error| nonsense(format!("its challenge: {error}")))
}

/// `r=NONCE,s=SALT,i=ROUNDS` (RFC 5802, 7), where nothing may follow.
fn rounds(challenge: &[u8]) -> Option<u32> {
    let mut parts = std::str::from_utf8(challenge).ok()?.split(',');
    let (nonce, salt, rounds) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = nonce.starts_with("r=") && salt.starts_with("s=") && parts.next().is_none();
    rounds.strip_prefix("i=").filter(|_| whole)?.parse().ok()
}
