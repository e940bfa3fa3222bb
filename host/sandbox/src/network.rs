//! The policed sender: the only way to the network for anything a component asks for.
//!
//! Two questions for every request. Whether the endpoint may be asked is decided before. Which addresses its
//! name resolves to, each one, is decided here, and the connection goes to an address that was decided: what
//! the name resolves to a moment later does not matter.
#![expect(clippy::disallowed_methods, reason = "the owner of the network")]

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, redirect};
use tidegate_model::{Code, Fault, Result};
use tidegate_permission::{Action, Authorizer, Principal, Resource};
use url::{Host, Url};

const CONNECT: Duration = Duration::from_secs(10);
/// Without a byte for so long, a body is given up.
const READ: Duration = Duration::from_secs(60);
/// Clients are kept, with their connections, for so many endpoints.
const KEPT: usize = 16;

/// The network as one principal may reach it. Cheap to clone; clones share connections.
#[derive(Clone)]
pub(crate) struct Network {
    authorizer: Arc<Authorizer>,
    principal: Principal,
    clients: Arc<Mutex<HashMap<String, Client>>>,
}

impl Network {
    pub(crate) fn new(authorizer: Arc<Authorizer>, principal: Principal) -> Self {
        Self { authorizer, principal, clients: Arc::default() }
    }

    /// May this principal do that?
    pub(crate) fn ask(&self, action: Action, resource: &Resource) -> Result<()> {
        self.authorizer.decide(&self.principal, action, resource)
    }

    /// A client for this URL's scheme, host and port, and for no other. It knows no proxy and follows no
    /// redirect. A host written as an address is decided at once, a name whenever it is resolved.
    pub(crate) fn client(&self, url: &Url) -> Result<Client> {
        let endpoint = url.origin().ascii_serialization();
        let literal = match url.host() {
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            _ => None,
        };
        if let Some(ip) = literal {
            self.decide(&endpoint, ip)?;
        }
        let mut clients = self.clients.lock().unwrap_or_else(|broken| broken.into_inner());
        if let Some(client) = clients.get(&endpoint) {
            return Ok(client.clone());
        }
        let resolver = PolicedResolver { network: self.clone(), endpoint: endpoint.clone() };
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .dns_resolver(Arc::new(resolver))
            .connect_timeout(CONNECT)
            .read_timeout(READ)
            .http2_max_header_list_size(64 << 10)
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Fault::external(Code::SourceFailed, format!("no HTTP client: {error}")))?;
        if clients.len() >= KEPT {
            clients.clear();
        }
        clients.insert(endpoint, client.clone());
        Ok(client)
    }

    fn decide(&self, endpoint: &str, ip: IpAddr) -> Result<()> {
        let address = Resource::Address { endpoint: endpoint.to_owned(), ip };
        self.ask(Action::HttpConnect, &address)
    }
}

struct PolicedResolver {
    network: Network,
    endpoint: String,
}

impl Resolve for PolicedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let network = self.network.clone();
        let endpoint = self.endpoint.clone();
        Box::pin(async move {
            let resolved = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let mut allowed: Vec<SocketAddr> = Vec::new();
            let mut denied = None;
            for address in resolved {
                match network.decide(&endpoint, address.ip()) {
                    Ok(()) => allowed.push(address),
                    Err(fault) => denied = Some(fault),
                }
            }
            match denied {
                Some(fault) if allowed.is_empty() => Err(fault.into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

/// Why a request failed: the refusal behind it, when it was refused, else the reason in words. A URL may carry a
/// credential, so none is told.
pub(crate) fn explain(url: &Url, error: reqwest::Error) -> Fault {
    let error = error.without_url();
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    let mut reason = String::new();
    while let Some(error) = source {
        if let Some(fault) = error.downcast_ref::<Fault>() {
            return fault.clone();
        }
        reason = error.to_string();
        source = error.source();
    }
    let host = url.host_str().unwrap_or("the host");
    let what = if error.is_timeout() { "no answer in time".to_owned() } else { reason };
    Fault::external(Code::SourceFailed, format!("{host}: {what}")).retry_after(1000)
}
