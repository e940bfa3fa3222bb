//! One connection: what goes through it, and when it is over.

use std::time::{Duration, Instant};

use futures::FutureExt;
use tidegate_permission::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::certificate;
use super::endpoint::Endpoint;
use super::postgres::{self, Login, Peer};
use super::startup::Said;
use super::tls::Security;
use crate::bindings::types::FaultDomain;
use crate::meter::Charge;
use crate::refusal::{Asked, Refusal};

/// The most that one `read` gives.
pub(super) const MAX_READ: u32 = 256 << 10;
/// The same of an encrypted connection: a record of TLS has 16 KiB.
const MAX_READ_TLS: u32 = 32 << 10;
/// A server that takes nothing for so long is given up.
const STUCK: Duration = Duration::from_secs(60);
/// PostgreSQL itself gives a client a minute.
const AUTHENTICATION: Duration = Duration::from_secs(60);
/// For so long an open connection is believed to be permitted still.
const BELIEVED: Duration = Duration::from_secs(1);

type Wire = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A guest's `connection`.
pub struct Connection {
    pub(super) endpoint: Endpoint,
    /// Absent when something went wrong in the middle of something: nobody knows then what was sent.
    wire: Option<Wire>,
    /// The certificate was verified, by an authority that the host trusts or that the configuration names: not one
    /// that the component brought along.
    verified: bool,
    said: Said,
    heard: bool,
    decided: Instant,
    _charge: Charge,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    pub(super) async fn new(
        endpoint: Endpoint,
        plain: TcpStream,
        security: Option<(Security, Instant)>,
        charge: Charge,
        permit: OwnedSemaphorePermit,
    ) -> Asked<Self> {
        let mut connection = Self {
            endpoint,
            wire: Some(Either::Left(plain)),
            verified: false,
            said: Said::default(),
            heard: false,
            decided: Instant::now(),
            _charge: charge,
            _permit: permit,
        };
        if let Some((security, deadline)) = security {
            connection.encrypt(security, deadline).await?;
        }
        Ok(connection)
    }

    /// Whether it is time to ask again if this connection is permitted. Asked once, it is believed for a
    /// second.
    pub(super) fn is_due(&mut self) -> bool {
        let due = self.decided.elapsed() > BELIEVED;
        if due {
            self.decided = Instant::now();
        }
        due
    }

    pub(super) fn close(&mut self) {
        self.wire = None;
    }

    /// Empty when the server has closed.
    pub(super) async fn read(&mut self, max: u32, patience: Duration) -> Asked<Vec<u8>> {
        let wire = self.wire.as_mut().ok_or_else(closed)?;
        let most = if matches!(wire, Either::Left(_)) { MAX_READ } else { MAX_READ_TLS };
        let size = max.min(most);
        let mut bytes = Vec::with_capacity(size as usize);
        let mut limited = (&mut *wire).take(size.into());
        match timeout(patience, limited.read_buf(&mut bytes)).await {
            Ok(Ok(_)) => {
                self.heard |= !bytes.is_empty();
                Ok(bytes)
            }
            Ok(Err(error)) => {
                self.wire = None;
                Err(Refusal::unavailable(format!("{}: {error}", self.endpoint)))
            }
            Err(_) => Err(Refusal::unavailable(format!(
                "{} sent nothing for {} s",
                self.endpoint,
                patience.as_secs_f32()
            ))),
        }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Asked<()> {
        // Put back when all of it is sent.
        let mut wire = self.wire.take().ok_or_else(closed)?;
        self.said.note(bytes);
        let mut rest = bytes;
        while !rest.is_empty() {
            match timeout(STUCK, wire.write(rest)).await {
                Ok(Ok(written)) if written > 0 => rest = &rest[written..],
                Ok(Ok(_)) => return Err(self.unsent("it takes no more")),
                Ok(Err(error)) => return Err(self.unsent(&error.to_string())),
                Err(_) => return Err(self.unsent("it took nothing for a minute")),
            }
        }
        match timeout(STUCK, wire.flush()).await {
            Ok(Ok(())) => self.wire = Some(wire),
            Ok(Err(error)) => return Err(self.unsent(&error.to_string())),
            Err(_) => return Err(self.unsent("it took nothing for a minute")),
        }
        Ok(())
    }

    fn unsent(&self, why: &str) -> Refusal {
        Refusal::unavailable(format!("{}: not all could be sent: {why}", self.endpoint))
    }

    /// Encrypts from here on. What was said before does not count any more.
    pub(super) async fn encrypt(&mut self, security: Security, deadline: Instant) -> Asked<()> {
        let plain = match self.wire.take().ok_or_else(closed)? {
            Either::Left(plain) => plain,
            encrypted @ Either::Right(_) => {
                self.wire = Some(encrypted);
                return Err(Refusal::invalid("the connection is encrypted already"));
            }
        };
        // Those that are still on their way take the place of the server's handshake, which then fails.
        let early = plain.peek(&mut [0]).now_or_never();
        if matches!(early, Some(Ok(1..))) {
            return Err(Refusal::told(
                FaultDomain::External,
                "invalid",
                format!(
                    "{} sent something before the encryption began: somebody may have put it there",
                    self.endpoint
                ),
            ));
        }
        let verified = security.verified;
        let stream = security.shake(&self.endpoint, plain, deadline).await?;
        self.wire = Some(Either::Right(Box::new(stream)));
        self.verified = verified;
        self.said = Said::default();
        self.heard = false;
        Ok(())
    }

    /// Whether an authentication of PostgreSQL can begin here for this user.
    pub(super) fn introduced(&self, user: &str) -> Asked<()> {
        if self.wire.is_none() {
            return Err(closed());
        }
        if self.heard || !self.said.introduces(user) {
            return Err(Refusal::invalid(format!(
                "an authentication begins when the startup message for user `{user}` was sent, and nothing else was sent or read"
            )));
        }
        Ok(())
    }

    /// See [`Connection::introduced`].
    pub(super) async fn authenticate(&mut self, user: String, password: Secret) -> Asked<()> {
        self.introduced(&user)?;
        let mut wire = self.wire.take().ok_or_else(closed)?;
        let login = Login { user, password, peer: peer(&wire, self.verified), local: is_local(&wire) };
        timeout(AUTHENTICATION, postgres::authenticate(&mut wire, &login))
            .await
            .map_err(|_| Refusal::unavailable(format!("{}: no authentication in time", self.endpoint)))??;
        // Only where it succeeded is there anything left for the component. One is enough.
        self.wire = Some(wire);
        self.heard = true;
        Ok(())
    }
}

/// What is sent never leaves this machine.
fn is_local(wire: &Wire) -> bool {
    let plain = match wire {
        Either::Left(plain) => plain,
        Either::Right(encrypted) => encrypted.get_ref().0,
    };
    plain.peer_addr().is_ok_and(|address| address.ip().is_loopback())
}

fn peer(wire: &Wire, verified: bool) -> Peer {
    let Either::Right(encrypted) = wire else { return Peer::Anybody };
    let (_, session) = encrypted.get_ref();
    let shown = session.peer_certificates().and_then(<[_]>::first);
    let end_point = shown.and_then(|certificate| certificate::end_point(certificate));
    if verified { Peer::Verified { end_point } } else { Peer::Somebody { end_point } }
}

fn closed() -> Refusal {
    Refusal::unavailable("the connection is closed: something went wrong on it before")
}
