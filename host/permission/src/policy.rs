//! The rules. What no rule allows is denied.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tidegate_model::{CapabilityKind, Code, Permission, PipelineName, StreamName, Task, WorkOrder};

use crate::address::{Address, LOOPBACK, PRIVATE, classify};
use crate::ceiling::Ceiling;
use crate::endpoint::Endpoint;
use crate::grants::Grant;
use crate::location::{Granted, Location};
use crate::principal::{Module, Principal};
use crate::vocabulary::{Action, Resource};

/// What a rule says, and which rule, in words.
#[derive(Debug)]
pub(crate) enum Ruling<'a> {
    Allow(&'a str),
    Deny { code: Code, why: String },
}

impl Ruling<'_> {
    fn deny(why: impl Into<String>) -> Self {
        Self::Deny { code: Code::NotGranted, why: why.into() }
    }

    /// Invariant 2: what no rule allows is denied.
    fn unlisted() -> Self {
        Self::deny("no rule allows it")
    }
}

#[derive(Debug)]
pub(crate) enum Policy {
    Operator(Operator),
    Worker(Box<Worker>),
}

impl Policy {
    pub(crate) fn judge(&self, who: &Principal, action: Action, resource: &Resource) -> Ruling<'_> {
        match self {
            Self::Operator(rules) if *who == rules.user => rules.judge(action, resource),
            Self::Operator(_) => Ruling::unlisted(),
            Self::Worker(rules) => rules.judge(who, action, resource),
        }
    }

    /// The narrowest local location granted to `who` that covers this one, and what is left below it.
    pub(crate) fn granted(&self, who: &Principal, location: &str) -> Option<Granted> {
        match self {
            Self::Worker(rules) if *who == rules.plugin => {
                let asked = Location::parse(location).ok()?;
                rules
                    .files()
                    .filter_map(|granted| granted.split(&asked))
                    .min_by_key(|split| split.below.len())
            }
            _ => None,
        }
    }

    /// The grant that would allow it, if anything that can be granted does.
    pub(crate) fn remedy(&self, who: &Principal, action: Action, resource: &Resource) -> Option<Grant> {
        match self {
            Self::Worker(rules) if *who == rules.plugin => rules.remedy(action, resource),
            _ => None,
        }
    }
}

/// Whoever runs the command on their own machine: may do all that people do, below the ceiling. What
/// components and modules do is not theirs.
#[derive(Debug)]
pub(crate) struct Operator {
    pub(crate) user: Principal,
    pub(crate) ceiling: Ceiling,
}

impl Operator {
    fn judge(&self, action: Action, resource: &Resource) -> Ruling<'_> {
        match (action, resource) {
            (Action::GrantAdd, Resource::Grant { permission, .. }) => {
                match self.ceiling.refuses(permission) {
                    Some(why) => Ruling::Deny { code: Code::AboveCeiling, why: format!("ceiling: {why}") },
                    None => Ruling::Allow("the operator may grant below the ceiling"),
                }
            }
            (Action::PluginLoad, Resource::Plugin(_))
            | (Action::RunStart, Resource::Pipeline(_))
            | (Action::StateRead | Action::StateReset, Resource::Stream { .. })
            | (Action::GrantRevoke, Resource::Grant { .. })
            | (Action::AuditRead, Resource::Audit) => Ruling::Allow("the operator of this machine"),
            _ => Ruling::unlisted(),
        }
    }
}

/// One worker: its component may do what its order permits; our modules what the order's task needs.
#[derive(Debug)]
pub(crate) struct Worker {
    plugin: Principal,
    pipeline: PipelineName,
    granted: Vec<Permission>,
    targets: Vec<Target>,
    decoders: bool,
    /// The grant without its permissions, for remedies.
    grant: Grant,
    digest: String,
    sink: Option<String>,
    streams: BTreeSet<StreamName>,
    full_refresh: bool,
    by_grant: String,
}

#[derive(Debug)]
enum Target {
    Files(Location),
    Http(Endpoint),
}

impl Worker {
    pub(crate) fn new(order: &WorkOrder) -> Self {
        // A target that does not parse grants nothing.
        let targets = order.permissions.iter().filter_map(|permission| {
            let target = permission.target.as_deref()?;
            match permission.kind {
                CapabilityKind::Files => Location::parse(target).ok().map(Target::Files),
                CapabilityKind::Http => Endpoint::parse(target).ok().map(Target::Http),
                CapabilityKind::Decode => None,
            }
        });
        let run = match &order.task {
            Task::Run(run) => Some(run),
            Task::Spec | Task::Check | Task::Discover | Task::Conform => None,
        };
        Self {
            plugin: Principal::plugin(&order.component, &order.pipeline),
            pipeline: order.pipeline.clone(),
            targets: targets.collect(),
            decoders: order.permissions.iter().any(|permission| permission.kind == CapabilityKind::Decode),
            granted: order.permissions.clone(),
            grant: Grant::new(&order.pipeline, &order.component, Vec::new()),
            digest: order.component.digest.clone(),
            sink: run.map(|run| run.sink.location.clone()),
            streams: run.map(|run| run.streams.keys().cloned().collect()).unwrap_or_default(),
            full_refresh: run.is_some_and(|run| run.full_refresh),
            by_grant: format!("grant for pipeline {}", order.pipeline),
        }
    }

    fn judge(&self, who: &Principal, action: Action, resource: &Resource) -> Ruling<'_> {
        if *who == self.plugin {
            self.of_plugin(action, resource)
        } else if *who == Principal::service(Module::Extraction) {
            self.of_extraction(action, resource)
        } else if *who == Principal::service(Module::Ingestion) {
            self.of_ingestion(action, resource)
        } else {
            Ruling::unlisted()
        }
    }

    fn of_plugin(&self, action: Action, resource: &Resource) -> Ruling<'_> {
        let covered = |covered: bool| {
            if covered { Ruling::Allow(&self.by_grant) } else { Ruling::deny("no grant covers it") }
        };
        match (action, resource) {
            (Action::FilesList | Action::FilesRead, Resource::Location(text)) => {
                match Location::parse(text) {
                    Ok(asked) => covered(self.files().any(|granted| granted.covers(&asked))),
                    Err(why) => Ruling::deny(why),
                }
            }
            (Action::HttpRequest, Resource::Endpoint { method, url }) => match Endpoint::parse(url) {
                Ok(asked) => covered(self.sends(method, &asked)),
                Err(why) => Ruling::deny(why),
            },
            (Action::HttpConnect, Resource::Address { endpoint, ip }) => match Endpoint::parse(endpoint) {
                Ok(asked) => self.connects(&asked, *ip),
                Err(why) => Ruling::deny(why),
            },
            (Action::DecodeUse, Resource::Decoder) => covered(self.decoders),
            _ => Ruling::unlisted(),
        }
    }

    fn of_extraction(&self, action: Action, resource: &Resource) -> Ruling<'_> {
        match (action, resource) {
            (Action::PluginLoad, Resource::Plugin(digest)) if *digest == self.digest => {
                Ruling::Allow("the component of this order")
            }
            _ => Ruling::unlisted(),
        }
    }

    fn of_ingestion(&self, action: Action, resource: &Resource) -> Ruling<'_> {
        match (action, resource) {
            (Action::SinkWrite, Resource::Sink(location)) if Some(location) == self.sink.as_ref() => {
                Ruling::Allow("the sink of this order")
            }
            (Action::StateWrite | Action::StateReset, Resource::Stream { pipeline, stream })
                if *pipeline == self.pipeline
                    && self.streams.contains(stream)
                    && (action != Action::StateReset || self.full_refresh) =>
            {
                Ruling::Allow("a stream of this order")
            }
            _ => Ruling::unlisted(),
        }
    }

    fn files(&self) -> impl Iterator<Item = &Location> {
        self.targets.iter().filter_map(|target| match target {
            Target::Files(location) => Some(location),
            Target::Http(_) => None,
        })
    }

    /// All endpoints that something was granted for: by `http`, or by `files` at a web address.
    fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.targets.iter().filter_map(|target| match target {
            Target::Http(endpoint) | Target::Files(Location::Web(endpoint)) => Some(endpoint),
            Target::Files(_) => None,
        })
    }

    /// `http` allows any method; `files` at a web address those that read.
    fn sends(&self, method: &str, asked: &Endpoint) -> bool {
        self.targets.iter().any(|target| match target {
            Target::Http(granted) => granted.covers(asked),
            Target::Files(Location::Web(granted)) => {
                ["GET", "HEAD"].contains(&method) && granted.covers(asked)
            }
            Target::Files(_) => false,
        })
    }

    /// The second stage of a request: the endpoint was decided, now the address its name turned out to have.
    /// One that is not of the open internet must have been granted as that address. Such a permission was
    /// below the ceiling, or it would not be in the order; and no ceiling has room for other special
    /// addresses than these two kinds.
    fn connects(&self, asked: &Endpoint, ip: IpAddr) -> Ruling<'_> {
        let mut granted = self.endpoints().filter(|granted| granted.has_origin_of(asked)).peekable();
        if granted.peek().is_none() {
            return Ruling::deny("no grant covers it");
        }
        match classify(ip) {
            Address::Public => Ruling::Allow(&self.by_grant),
            Address::Special(what) => {
                let literally = granted.any(|granted| {
                    granted.literal() == Some(ip) || (granted.is_localhost() && what == LOOPBACK)
                });
                if literally && [LOOPBACK, PRIVATE].contains(&what) {
                    Ruling::Allow(&self.by_grant)
                } else {
                    Ruling::deny(format!("{what} addresses need a grant for that very address"))
                }
            }
        }
    }

    fn remedy(&self, action: Action, resource: &Resource) -> Option<Grant> {
        let wanted = match (action, resource) {
            (Action::FilesList | Action::FilesRead, Resource::Location(location)) => {
                Permission { kind: CapabilityKind::Files, target: Some(location.clone()) }
            }
            (Action::HttpRequest, Resource::Endpoint { url, .. }) => {
                Permission { kind: CapabilityKind::Http, target: Some(url.clone()) }
            }
            (Action::HttpConnect, Resource::Address { endpoint, ip }) => {
                let url = at_address(endpoint, *ip)?;
                Permission { kind: CapabilityKind::Http, target: Some(url) }
            }
            (Action::DecodeUse, Resource::Decoder) => {
                Permission { kind: CapabilityKind::Decode, target: None }
            }
            _ => return None,
        };
        if Ceiling::developer().refuses(&wanted).is_some() {
            return None;
        }
        let mut allow = self.granted.clone();
        allow.push(wanted);
        Some(Grant { allow, ..self.grant.clone() })
    }
}

/// The endpoint with its host written as that address.
fn at_address(endpoint: &str, ip: IpAddr) -> Option<String> {
    let mut url = url::Url::parse(endpoint).ok()?;
    url.set_ip_host(ip).ok()?;
    Some(url.into())
}
