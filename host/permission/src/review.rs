use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use tidegate_infrastructure::clock;
use tidegate_model::{
    Binding, CapabilityKind, Code, ComponentRef, Fault, Manifest, Permission, PipelineName, Result,
    SecretRef, list, short_digest, tame,
};

use crate::ceiling::Ceiling;
use crate::grants::{Allowance, Grant, Grants};
use crate::narrowing;
use crate::remedy::permission_for;
use crate::risk::Risk;
use crate::vocabulary::{Action, Resource};

/// What a component asks for in a pipeline, beside what it was granted and what it can be granted.
#[derive(Debug, Clone, Serialize)]
pub struct Review {
    pub requests: Vec<Requested>,
    /// The digest this connector had when it was granted something for this pipeline, if it has another one
    /// now.
    pub changed_from: Option<String>,
    #[serde(skip)]
    ceiling: Ceiling,
    /// A grant of nothing, on the terms of what is granted to it already; and whether anything is.
    #[serde(skip)]
    terms: (Grant, bool),
    #[serde(skip)]
    pipeline: PipelineName,
    #[serde(skip)]
    component: ComponentRef,
}

/// One line of the request, for this pipeline's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Requested {
    pub id: String,
    pub kind: CapabilityKind,
    pub target: Option<String>,
    /// Of a credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
    pub required: bool,
    /// The author's words.
    pub reason: String,
    /// Of what it asks for; of nothing, when it does not ask.
    pub risk: Option<Risk>,
    pub standing: Standing,
    /// What of it is granted, and where.
    #[serde(skip)]
    pub allowed: Vec<Allowance>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// All of it, or a part: see what is granted.
    Granted,
    Missing,
    /// Nobody can grant it, and why.
    AboveCeiling(String),
    /// It is optional, and this configuration has no use for it.
    NotAsked,
}

impl Review {
    /// Resolves the request against the pipeline's configuration, and looks each line up.
    pub fn of(
        manifest: &Manifest,
        component: &ComponentRef,
        pipeline: &PipelineName,
        config: &Value,
        secrets: &BTreeMap<String, SecretRef>,
        grants: &Grants,
        ceiling: &Ceiling,
    ) -> Result<Self> {
        let now = clock::now();
        let signed = component.publisher.is_some();
        let requests = manifest.capabilities.iter().map(|capability| {
            let permission = capability.resolve(config, secrets)?;
            let allowed = match &permission {
                None => Vec::new(),
                Some(permission) => grants.allowances(pipeline, component, permission, now),
            };
            let (allowed, beaten): (Vec<_>, Vec<_>) = allowed
                .into_iter()
                .partition(|allowed| ceiling.refuses(pipeline, &allowed.permission, allowed.terms).is_none());
            let standing = match &permission {
                None => Standing::NotAsked,
                Some(_) if !allowed.is_empty() => Standing::Granted,
                Some(permission) => {
                    let refused = ceiling.term(pipeline, permission, signed).err().or_else(|| {
                        let beaten = beaten.first()?;
                        ceiling.refuses(pipeline, &beaten.permission, beaten.terms)
                    });
                    refused.map_or(Standing::Missing, Standing::AboveCeiling)
                }
            };
            Ok(Requested {
                id: capability.id.clone(),
                kind: capability.kind,
                risk: permission.as_ref().map(|asked| Risk::of(asked.kind, asked.target.as_deref())),
                binding: permission.as_ref().and_then(|permission| permission.binding.clone()),
                target: permission.and_then(|permission| permission.target),
                required: capability.required,
                reason: capability.reason.clone(),
                standing,
                allowed,
            })
        });
        Ok(Self {
            requests: requests.collect::<Result<_>>()?,
            changed_from: grants.changed_from(pipeline, component).map(str::to_owned),
            ceiling: ceiling.clone(),
            terms: grants.terms(pipeline, component, now),
            pipeline: pipeline.clone(),
            component: component.clone(),
        })
    }

    /// Invariant 2: what the component may do is requested and granted and below the ceiling.
    pub fn effective(&self) -> Vec<Permission> {
        let allowed = self.requests.iter().flat_map(|line| &line.allowed);
        sorted(allowed.map(|allowed| allowed.permission.clone()).collect())
    }

    /// All that it asks for with this configuration, granted or not.
    pub fn requested(&self) -> Vec<Permission> {
        permissions(self.requests.iter().filter(|line| line.standing != Standing::NotAsked))
    }

    /// What of the request would cover this, were it not above the ceiling: the grant that nobody can give.
    pub fn above_ceiling(&self, action: Action, resource: &Resource) -> Option<Resource> {
        let exact = permission_for(action, resource)?;
        let covers = |line: &&Requested| {
            matches!(line.standing, Standing::AboveCeiling(_))
                && narrowing::common(&line.permission(), &exact)
                    .is_some_and(|common| common.target == exact.target)
        };
        let line = self.requests.iter().find(covers)?;
        Some(Resource::Grant {
            pipeline: self.pipeline.clone(),
            digest: self.component.digest.clone(),
            permission: line.permission(),
            signed: self.component.publisher.is_some(),
            days: self.terms.0.terms(false, clock::now()).days,
        })
    }

    /// What it cannot work without and does not have.
    pub fn missing_required(&self) -> Vec<&Requested> {
        let lacks = |line: &&Requested| {
            line.required && matches!(line.standing, Standing::Missing | Standing::AboveCeiling(_))
        };
        self.requests.iter().filter(lacks).collect()
    }

    /// The grant that satisfies what of the request can be granted: what is missing, beside what is granted.
    pub fn grant_to_add(&self) -> Grant {
        let allow = self.requests.iter().flat_map(|line| match line.standing {
            Standing::Granted => line.allowed.iter().map(|allowed| allowed.permission.clone()).collect(),
            Standing::Missing => vec![line.permission()],
            Standing::AboveCeiling(_) | Standing::NotAsked => Vec::new(),
        });
        self.grant(sorted(allow.collect()))
    }

    /// The grant of all that can be granted of the request, whatever is granted of it today.
    pub fn grant_of_all(&self) -> Grant {
        let signed = self.component.publisher.is_some();
        let allow = self.requests.iter().flat_map(|line| match line.standing {
            Standing::AboveCeiling(_) | Standing::NotAsked => Vec::new(),
            _ if self.ceiling.term(&self.pipeline, &line.permission(), signed).is_ok() => {
                vec![line.permission()]
            }
            _ => line.allowed.iter().map(|allowed| allowed.permission.clone()).collect(),
        });
        self.grant(sorted(allow.collect()))
    }

    /// A grant of these by digest, on the terms of what the component has already: what was narrowed stays so.
    pub(crate) fn grant(&self, allow: Vec<Permission>) -> Grant {
        let (terms, holds) = &self.terms;
        let grant = Grant { allow, ..terms.clone() };
        if *holds { grant } else { self.ceiling.on_its_terms(grant, self.component.publisher.is_some()) }
    }

    /// The effective permissions if everything required is granted. Otherwise what is missing, and as help
    /// the grant to add.
    pub fn require(&self, grants: &Grants) -> Result<Vec<Permission>> {
        self.require_by(grants, &self.grant_to_add())
    }

    /// The same, where it is that grant which somebody wants to add.
    pub fn require_by(&self, grants: &Grants, wanted: &Grant) -> Result<Vec<Permission>> {
        let lacking = self.missing_required();
        for line in &lacking {
            if let Standing::AboveCeiling(why) = &line.standing {
                let message = format!(
                    "{} must {}, and that cannot be granted: {why}",
                    self.component_name(),
                    line.ask()
                );
                return Err(Fault::user(Code::AboveCeiling, message)
                    .help("change the pipeline's `extract.config` so that it asks for something else"));
            }
        }
        if lacking.is_empty() {
            return Ok(self.effective());
        }
        let asks: Vec<String> = lacking.iter().map(|line| line.ask()).collect();
        let mut message = format!(
            "{} is not granted to {} for pipeline `{}`",
            self.component_name(),
            list(&asks),
            self.pipeline
        );
        if let Some(change) = self.change() {
            message = format!("{message}; {change}");
        }
        Err(Fault::user(Code::NotGranted, message).help(format!(
            "to allow it, add this to {}:\n{}",
            grants.path().display(),
            grants.addition(wanted).trim_end()
        )))
    }

    /// The request as sentences: "read files below ./data: reads the files you point it at (`source`, required)".
    pub fn in_words(&self) -> Vec<String> {
        let sentence = |line: &Requested| {
            let need = if line.required { "required" } else { "optional" };
            let standing = match &line.standing {
                Standing::Granted => granted_part(line),
                Standing::Missing => String::new(),
                Standing::AboveCeiling(why) => format!(", cannot be granted: {why}"),
                Standing::NotAsked => ", not used by this configuration".to_owned(),
            };
            let risk = line.risk.filter(|risk| *risk != Risk::Ordinary);
            let risk = risk.map(|risk| format!(", {risk}")).unwrap_or_default();
            let (ask, reason, id) = (line.ask(), one_line(&line.reason), one_line(&line.id));
            format!("{ask}: {reason} (`{id}`, {need}{risk}{standing})")
        };
        self.requests.iter().map(sentence).collect()
    }

    /// Says that the component is not the one that was granted something, if so.
    pub fn change(&self) -> Option<String> {
        let from = self.changed_from.as_deref()?;
        Some(format!(
            "the component changed since it was granted: {} -> {}",
            short_digest(from),
            short_digest(&self.component.digest)
        ))
    }

    fn component_name(&self) -> String {
        format!("{}@{}", self.component.name, self.component.version)
    }
}

impl Requested {
    /// All that the line asks for.
    pub fn permission(&self) -> Permission {
        let binding = self.binding.clone();
        Permission { binding, ..Permission::new(self.kind, self.target.clone()) }
    }

    /// Less than it asks for.
    pub fn is_granted_in_part(&self) -> bool {
        let whole = self.permission();
        self.standing == Standing::Granted && self.allowed.iter().all(|allowed| allowed.permission != whole)
    }

    /// `read files below ./data`.
    pub fn ask(&self) -> String {
        let what = match self.kind {
            CapabilityKind::Files => "read files below",
            CapabilityKind::Http => "send HTTP requests to",
            CapabilityKind::Tcp => "connect to",
            CapabilityKind::Credential => return self.ask_credential(),
            CapabilityKind::Decode => return "use the host's decoders".to_owned(),
        };
        match &self.target {
            Some(target) => format!("{what} {}", one_line(target)),
            None => format!("{what} a place that is not configured"),
        }
    }
}

impl Requested {
    /// `have the secret env:TOKEN used as bearer at https://api.example.org (it never sees it)`.
    fn ask_credential(&self) -> String {
        match (&self.binding, &self.target) {
            (Some(Binding { secret, place, .. }), Some(target)) => one_line(&format!(
                "have the host use the secret {secret} as {place} at {target}, without seeing it"
            )),
            _ => format!("have the host use a secret for `{}` that is not bound", one_line(&self.id)),
        }
    }
}

fn permissions<'a>(lines: impl Iterator<Item = &'a Requested>) -> Vec<Permission> {
    sorted(lines.map(Requested::permission).collect())
}

fn sorted(mut permissions: Vec<Permission>) -> Vec<Permission> {
    permissions.sort();
    permissions.dedup();
    permissions
}

/// `, granted`, or what of it is.
fn granted_part(line: &Requested) -> String {
    if !line.is_granted_in_part() {
        return ", granted".to_owned();
    }
    let parts: Vec<String> = line.allowed.iter().map(|allowed| allowed.permission.to_string()).collect();
    format!(", granted in part: {}", one_line(&list(&parts)))
}

/// A stranger's words on one line.
fn one_line(text: &str) -> String {
    tame(text).replace('\n', " ").trim().to_owned()
}
