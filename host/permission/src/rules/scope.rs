//! What a question is held against besides the policies: the order's own things, and what was granted.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tidegate_model::{
    Binding, CapabilityKind, Permission, PipelineName, SecretRef, StreamName, Task, WorkOrder,
};

use crate::address::LOOPBACK;
use crate::endpoint::Endpoint;
use crate::location::{Granted, Location};
use crate::socket::Socket;

/// A granted permission, with its target taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// As the policies name it: the permission's target as it is written.
    pub(crate) name: String,
    pub(crate) place: Place,
}

#[derive(Debug, Clone)]
pub(crate) enum Place {
    Files(Location),
    Http(Endpoint),
    Tcp(Socket),
    Credential(Binding, Option<Endpoint>, Option<Socket>),
}

impl Target {
    /// None for a permission without a target, or whose target cannot be understood: that grants nothing.
    pub(crate) fn of(permission: &Permission) -> Option<Self> {
        let name = permission.target.clone()?;
        let place = match (permission.kind, &permission.binding) {
            (CapabilityKind::Files, _) => Place::Files(Location::parse(&name).ok()?),
            (CapabilityKind::Http, _) => Place::Http(Endpoint::parse(&name).ok()?),
            (CapabilityKind::Tcp, _) => Place::Tcp(Socket::parse(&name)?),
            (CapabilityKind::Credential, Some(binding)) => {
                Place::Credential(binding.clone(), Endpoint::parse(&name).ok(), Socket::parse(&name))
            }
            (CapabilityKind::Credential, None) | (CapabilityKind::Decode, _) => return None,
        };
        Some(Self { name, place })
    }

    pub(crate) fn covers_location(&self, asked: &Location) -> bool {
        matches!(&self.place, Place::Files(granted) if granted.covers(asked))
    }

    /// By `http`, or by `files` at a web address.
    pub(crate) fn endpoint(&self) -> Option<&Endpoint> {
        match &self.place {
            Place::Http(endpoint) | Place::Files(Location::Web(endpoint)) => Some(endpoint),
            _ => None,
        }
    }

    pub(crate) fn socket(&self) -> Option<&Socket> {
        match &self.place {
            Place::Tcp(socket) => Some(socket),
            _ => None,
        }
    }

    /// Whether a binding may be used at an endpoint: below an URL, or at that very `HOST:PORT`.
    pub(crate) fn binds(&self, binding: &Binding, endpoint: &str) -> bool {
        match &self.place {
            Place::Credential(granted, _, _) if granted != binding => false,
            Place::Credential(_, Some(url), _) => {
                Endpoint::parse(endpoint).is_ok_and(|asked| url.covers(&asked))
            }
            Place::Credential(_, None, Some(socket)) => Socket::parse(endpoint).as_ref() == Some(socket),
            _ => false,
        }
    }

    /// Whether what was granted is written as this very address, or as `localhost` for one of this machine.
    pub(crate) fn names(&self, ip: IpAddr, class: &str) -> bool {
        let (literal, localhost) = match (&self.endpoint(), &self.socket()) {
            (Some(endpoint), _) => (endpoint.literal(), endpoint.is_localhost()),
            (None, Some(socket)) => (socket.literal(), socket.is_localhost()),
            (None, None) => return false,
        };
        literal == Some(ip) || localhost && class == LOOPBACK
    }
}

/// What belongs to the work at hand.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    pub(crate) targets: Vec<Target>,
    /// The component of the order.
    pub(crate) digest: Option<String>,
    pub(crate) pipeline: Option<PipelineName>,
    pub(crate) sink: Option<String>,
    pub(crate) streams: BTreeSet<StreamName>,
    pub(crate) full_refresh: bool,
    pub(crate) secrets: BTreeSet<SecretRef>,
    /// Streams whose columns are narrowed.
    pub(crate) columns: BTreeSet<StreamName>,
    /// Where the host itself trades the secrets of bindings for access tokens.
    pub(crate) token_urls: Vec<Endpoint>,
    /// What the user who runs this command is.
    pub(crate) roles: Vec<String>,
}

impl Scope {
    pub(crate) fn of_order(order: &WorkOrder, permissions: &[Permission]) -> Self {
        let run = match &order.task {
            Task::Run(run) => Some(run),
            Task::Spec | Task::Check | Task::Discover | Task::Conform => None,
        };
        let bound = permissions.iter().filter_map(|permission| permission.binding.as_ref());
        Self {
            targets: permissions.iter().filter_map(Target::of).collect(),
            digest: Some(order.component.digest.clone()),
            pipeline: Some(order.pipeline.clone()),
            sink: run.map(|run| run.sink.location.clone()),
            streams: run.map(|run| run.streams.keys().cloned().collect()).unwrap_or_default(),
            columns: order.columns.keys().cloned().collect(),
            full_refresh: run.is_some_and(|run| run.full_refresh),
            token_urls: bound
                .clone()
                .filter_map(|binding| Endpoint::parse(binding.place.token_url()?).ok())
                .collect(),
            secrets: bound.map(|binding| binding.secret.clone()).collect(),
            roles: Vec::new(),
        }
    }

    /// The narrowest local location that was granted and covers this one, and what is left below it.
    pub(crate) fn granted(&self, location: &str) -> Option<Granted> {
        let asked = Location::parse(location).ok()?;
        let split = |target: &Target| match &target.place {
            Place::Files(granted) => granted.split(&asked),
            _ => None,
        };
        self.targets.iter().filter_map(split).min_by_key(|split| split.below.len())
    }
}
