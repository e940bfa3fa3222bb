//! `tcp`: connections of a component to named endpoints, encrypted and authenticated by the host.

mod certificate;
mod connection;
mod dial;
mod endpoint;
mod message;
mod postgres;
mod startup;
mod tls;

use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_model::{Binding, Code, Fault, Placement};
use tidegate_permission::{Action, Resource as Asset, Secret};
use wasmtime::component::Resource;

use crate::bindings::tcp::{self, Options, Tls};
use crate::bindings::types::FaultDomain;
use crate::guest::Guest;
use crate::refusal::{Asked, Refusal};

pub use self::connection::Connection;
use self::connection::MAX_READ;
use self::endpoint::Endpoint;
use self::tls::Security;

/// Connections of one instance at once.
pub(crate) const CONNECTIONS: usize = 16;
const MAX_WRITE: usize = 16 << 20;
/// What a connection holds in buffers: records and handshakes of TLS, in both directions.
const HELD: u64 = 160 << 10;
const OPENING: Duration = Duration::from_secs(10);
const MAX_OPENING: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(300);
const MAX_PATIENCE: Duration = Duration::from_secs(600);

fn within(asked: Option<u32>, usual: Duration, most: Duration) -> Duration {
    asked.map_or(usual, |milliseconds| Duration::from_millis(milliseconds.into())).min(most)
}

impl Guest {
    async fn open_connection(&mut self, endpoint: &str, options: Options) -> Asked<Connection> {
        let permit =
            self.connections.clone().try_acquire_owned().map_err(|_| {
                Refusal::limit(format!("{CONNECTIONS} connections are open already; close one"))
            })?;
        let endpoint = Endpoint::parse(endpoint)?;
        self.ask(Action::TcpConnect, &endpoint.socket())?;
        let charge = self.ledger().charge(HELD)?;
        let deadline = Instant::now() + within(options.timeout, OPENING, MAX_OPENING);
        let security = self.security(&endpoint, options.tls, options.authorities).await?;
        let setup = self.around.setup.clone();
        let dialled = dial::dial(&setup, &endpoint, deadline).await;
        let plain = dialled.map_err(|fault| self.passed_on(fault))?;
        let security = security.map(|security| (security, deadline));
        let opened = Connection::new(endpoint, plain, security, charge, permit).await?;
        self.meter.progressed();
        Ok(opened)
    }

    async fn security(
        &mut self,
        endpoint: &Endpoint,
        tls: Tls,
        authorities: Option<String>,
    ) -> Asked<Option<Security>> {
        let identity = if tls == Tls::Off { None } else { self.identity(endpoint).await? };
        let theirs = authorities.as_deref().is_some_and(|pem| !names(&self.around.setup().config, pem));
        let verified = tls == Tls::VerifyFull && !theirs;
        Security::new(endpoint, tls, authorities.as_deref(), identity.as_ref(), verified).await
    }

    /// The client's certificate for this endpoint, if a slot has one.
    async fn identity(&mut self, endpoint: &Endpoint) -> Asked<Option<Secret>> {
        match self.bound(endpoint, |binding| binding.place == Placement::TlsClient) {
            Some(binding) => self.secret(binding, endpoint).await.map(Some),
            None => Ok(None),
        }
    }

    /// The first binding of this kind for this endpoint.
    fn bound(&self, endpoint: &Endpoint, wanted: impl Fn(&Binding) -> bool) -> Option<Binding> {
        let here = |target: &str| Endpoint::parse(target).is_ok_and(|target| target == *endpoint);
        let granted = self.around.setup().credentials.iter();
        granted
            .filter(|permission| permission.target.as_deref().is_some_and(here))
            .find_map(|permission| permission.binding.clone().filter(|binding| wanted(binding)))
    }

    async fn secret(&mut self, binding: Binding, endpoint: &Endpoint) -> Asked<Secret> {
        let slot = binding.slot.clone();
        self.ask(Action::CredentialUse, &Asset::Credential { binding, endpoint: endpoint.to_string() })?;
        let vault = self.around.setup().vault.clone();
        vault.secret(&slot).await.map_err(|fault| self.passed_on(fault))
    }

    /// Asks again, now and then, whether a connection may be used: it can outlive its permission.
    fn stays_permitted(&mut self, connection: &Resource<Connection>) -> Asked<()> {
        let open = self.table.get_mut(connection)?;
        if !open.is_due() {
            return Ok(());
        }
        let socket = open.endpoint.socket();
        self.ask(Action::TcpConnect, &socket).inspect_err(|_| {
            if let Ok(open) = self.table.get_mut(connection) {
                open.close();
            }
        })
    }

    /// A fault of the host on its way to the component. A denial is remembered.
    fn passed_on(&self, fault: Fault) -> Refusal {
        match fault.code {
            Code::NotGranted | Code::AboveCeiling | Code::Revoked => self.deny(fault),
            _ => Refusal::from(fault),
        }
    }
}

/// Whether a configuration has this text as a value: then a person chose it, and not the component.
fn names(config: &Value, text: &str) -> bool {
    match config {
        Value::String(value) => value.trim() == text.trim(),
        Value::Array(values) => values.iter().any(|value| names(value, text)),
        Value::Object(values) => values.values().any(|value| names(value, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

impl tcp::Host for Guest {
    async fn connect(&mut self, endpoint: String, options: Options) -> Asked<Resource<Connection>> {
        let opened = self.open_connection(&endpoint, options).await?;
        Ok(self.table.push(opened)?)
    }
}

impl tcp::HostConnection for Guest {
    async fn read(
        &mut self,
        connection: Resource<Connection>,
        max: u32,
        timeout: Option<u32>,
    ) -> Asked<Option<Vec<u8>>> {
        if max == 0 {
            return Err(Refusal::invalid("`read` of no bytes"));
        }
        let _charge = self.ledger().charge(max.min(MAX_READ).into())?;
        let open = self.table.get_mut(&connection)?;
        let bytes = open.read(max, within(timeout, PATIENCE, MAX_PATIENCE)).await?;
        // It may have waited for minutes.
        self.stays_permitted(&connection)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.meter.moved(bytes.len() as u64, 0);
        self.meter.progressed();
        Ok(Some(bytes))
    }

    async fn write(&mut self, connection: Resource<Connection>, bytes: Vec<u8>) -> Asked<()> {
        if bytes.len() > MAX_WRITE {
            let size = bytes.len();
            return Err(Refusal::limit(format!("{size} bytes in one `write` are more than 16 MiB")));
        }
        let _charge = self.ledger().charge(bytes.len() as u64)?;
        self.stays_permitted(&connection)?;
        self.table.get_mut(&connection)?.write(&bytes).await?;
        self.meter.moved(bytes.len() as u64, 0);
        if !bytes.is_empty() {
            self.meter.progressed();
        }
        Ok(())
    }

    async fn start_tls(
        &mut self,
        connection: Resource<Connection>,
        tls: Tls,
        authorities: Option<String>,
    ) -> Asked<()> {
        self.stays_permitted(&connection)?;
        let endpoint = self.table.get(&connection)?.endpoint.clone();
        let security = self
            .security(&endpoint, tls, authorities)
            .await?
            .ok_or_else(|| Refusal::invalid("`start-tls` with `off` encrypts nothing"))?;
        self.table.get_mut(&connection)?.encrypt(security, Instant::now() + OPENING).await?;
        self.meter.progressed();
        Ok(())
    }

    async fn authenticate(&mut self, connection: Resource<Connection>, slot: String) -> Asked<()> {
        self.stays_permitted(&connection)?;
        let endpoint = self.table.get(&connection)?.endpoint.clone();
        let binding = self.bound(&endpoint, |binding| binding.slot == slot).ok_or_else(|| {
            let slot = slot.escape_debug();
            let why = format!("the slot `{slot}` has no secret for {endpoint}: request it as a credential, bind it in `secrets`, and have it granted");
            Refusal::told(FaultDomain::User, "denied", why)
        })?;
        let Placement::Postgres { user } = binding.place.clone() else {
            let place = &binding.place;
            return Err(Refusal::invalid(format!(
                "nothing can be authenticated with a secret used as `{place}`"
            )));
        };
        self.table.get(&connection)?.introduced(&user)?;
        let password = self.secret(binding, &endpoint).await?;
        self.table.get_mut(&connection)?.authenticate(user, password).await?;
        self.meter.progressed();
        Ok(())
    }

    async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}
