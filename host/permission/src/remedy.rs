//! Which grant would help.

use std::net::IpAddr;

use tidegate_model::{CapabilityKind, Permission, Result, WorkOrder};

use crate::ceiling::Ceiling;
use crate::grants::Grant;
use crate::principal::Principal;
use crate::vocabulary::{Action, Resource};

/// What is known of an order's component, to say what would allow what it was refused.
#[derive(Debug)]
pub(crate) struct Help {
    pub(crate) plugin: Principal,
    granted: Vec<Permission>,
    /// The grant without its permissions.
    grant: Grant,
    ceiling: Ceiling,
    signed: bool,
}

impl Help {
    pub(crate) fn of(order: &WorkOrder) -> Result<Self> {
        let ceiling = Ceiling::of_order(&order.ceiling)?;
        Ok(Self {
            plugin: Principal::plugin(&order.component, &order.pipeline),
            granted: order.permissions.clone(),
            grant: Grant::new(&order.pipeline, &order.component, Vec::new()),
            ceiling,
            signed: order.component.publisher.is_some(),
        })
    }

    /// The grant that would allow it, if anything that can be granted does.
    pub(crate) fn remedy(&self, who: &Principal, action: Action, resource: &Resource) -> Option<Grant> {
        if self.plugin != *who {
            return None;
        }
        let wanted = permission_for(action, resource)?;
        self.ceiling.term(&self.grant.pipeline, &wanted, self.signed).ok()?;
        let mut allow = self.granted.clone();
        allow.push(wanted);
        Some(self.ceiling.on_its_terms(Grant { allow, ..self.grant.clone() }, self.signed))
    }
}

/// The permission that covers just this.
pub(crate) fn permission_for(action: Action, resource: &Resource) -> Option<Permission> {
    Some(match (action, resource) {
        (Action::FilesList | Action::FilesRead, Resource::Location(location)) => {
            Permission::new(CapabilityKind::Files, Some(location.clone()))
        }
        (Action::HttpRequest, Resource::Endpoint { url, .. }) => {
            Permission::new(CapabilityKind::Http, Some(url.clone()))
        }
        (Action::HttpConnect, Resource::Address { endpoint, ip }) => {
            Permission::new(CapabilityKind::Http, Some(at_address(endpoint, *ip)?))
        }
        (Action::TcpConnect, Resource::Socket { host, port }) => {
            Permission::new(CapabilityKind::Tcp, Some(format!("{host}:{port}")))
        }
        (Action::CredentialUse, Resource::Credential { binding, endpoint }) => Permission {
            binding: Some(binding.clone()),
            ..Permission::new(CapabilityKind::Credential, Some(endpoint.clone()))
        },
        (Action::DecodeUse, Resource::Decoder) => Permission::new(CapabilityKind::Decode, None),
        _ => return None,
    })
}

/// The endpoint with its host written as that address.
fn at_address(endpoint: &str, ip: IpAddr) -> Option<String> {
    let mut url = url::Url::parse(endpoint).ok()?;
    url.set_ip_host(ip).ok()?;
    Some(url.into())
}
