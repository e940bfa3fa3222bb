//! The policed dialler: a connection goes to an address that was decided. What the name resolves to a moment
//! later does not matter.
#![expect(clippy::disallowed_methods, reason = "the owner of the network, beside the policed sender")]

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use tidegate_model::{Code, Fault, Result};
use tidegate_permission::{Action, Resource};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};

use super::endpoint::Endpoint;
use crate::guest::Setup;

/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 16;

/// Dials the addresses of an endpoint that may be dialled, one after the other, until one answers.
pub(super) async fn dial(setup: &Setup, endpoint: &Endpoint, deadline: Instant) -> Result<TcpStream> {
    let failed = |why: &str| {
        Fault::external(Code::SourceFailed, format!("{endpoint} cannot be reached: {why}")).retry_after(1000)
    };
    let resolved = match endpoint.address() {
        Ok(ip) => vec![ip],
        Err(name) => timeout_at(deadline.into(), resolve(name))
            .await
            .map_err(|_| failed("its name was not resolved in time"))?
            .map_err(|error| failed(&error.to_string()))?,
    };
    let allowed = decide(setup, endpoint, resolved)?;
    let mut why = "its name has no address".to_owned();
    for (tried, ip) in allowed.iter().enumerate() {
        // What is left is shared by those that are left: one that swallows everything must not take it all.
        let others = u32::try_from(allowed.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / others;
        match timeout(share, TcpStream::connect(SocketAddr::new(*ip, endpoint.port()))).await {
            Ok(Ok(stream)) => {
                // What a component writes, it wants to be sent.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => why = error.to_string(),
            Err(_) => "no answer in time".clone_into(&mut why),
        }
    }
    Err(failed(&why))
}

async fn resolve(name: &str) -> std::io::Result<Vec<IpAddr>> {
    let resolved = tokio::net::lookup_host((name, 0)).await?;
    Ok(resolved.map(|address| address.ip()).take(MAX_ADDRESSES).collect())
}

/// Each address is asked for. The refusal counts where there is nothing else.
fn decide(setup: &Setup, endpoint: &Endpoint, resolved: Vec<IpAddr>) -> Result<Vec<IpAddr>> {
    let mut allowed = Vec::new();
    let mut denied = None;
    for ip in resolved {
        let address = Resource::Address { endpoint: endpoint.to_string(), ip };
        match setup.authorizer.decide(&setup.principal, Action::TcpDial, &address) {
            Ok(()) => allowed.push(ip),
            Err(fault) => denied = Some(fault),
        }
    }
    match denied {
        Some(fault) if allowed.is_empty() => Err(fault),
        _ => Ok(allowed),
    }
}
