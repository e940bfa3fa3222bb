use serde::Serialize;
use serde_json::Value;
use tidegate_model::{
    CapabilityKind, Code, ComponentRef, Fault, Manifest, Permission, PipelineName, Result, list,
    short_digest, tame,
};

use crate::ceiling::Ceiling;
use crate::grants::{Grant, Grants};

/// What a component asks for in a pipeline, beside what it was granted and what it can be granted.
#[derive(Debug, Clone, Serialize)]
pub struct Review {
    pub requests: Vec<Requested>,
    /// The digest this connector had when it was granted something for this pipeline, if it has another one
    /// now.
    pub changed_from: Option<String>,
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
    pub required: bool,
    /// The author's words.
    pub reason: String,
    pub standing: Standing,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
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
        grants: &Grants,
        ceiling: &Ceiling,
    ) -> Result<Self> {
        let requests = manifest.capabilities.iter().map(|capability| {
            let permission = capability.resolve(config)?;
            let standing = match &permission {
                None => Standing::NotAsked,
                Some(permission) => match ceiling.refuses(permission) {
                    Some(why) => Standing::AboveCeiling(why),
                    None if grants.allow(pipeline, &component.digest, permission) => Standing::Granted,
                    None => Standing::Missing,
                },
            };
            Ok(Requested {
                id: capability.id.clone(),
                kind: capability.kind,
                target: permission.and_then(|permission| permission.target),
                required: capability.required,
                reason: capability.reason.clone(),
                standing,
            })
        });
        Ok(Self {
            requests: requests.collect::<Result<_>>()?,
            changed_from: grants.changed_from(pipeline, component).map(str::to_owned),
            pipeline: pipeline.clone(),
            component: component.clone(),
        })
    }

    /// Invariant 2: what the component may do is requested and granted and below the ceiling.
    pub fn effective(&self) -> Vec<Permission> {
        permissions(self.requests.iter().filter(|line| line.standing == Standing::Granted))
    }

    /// All that it asks for with this configuration, granted or not.
    pub fn requested(&self) -> Vec<Permission> {
        permissions(self.requests.iter().filter(|line| line.standing != Standing::NotAsked))
    }

    /// What it cannot work without and does not have.
    pub fn missing_required(&self) -> Vec<&Requested> {
        let lacks = |line: &&Requested| {
            line.required && matches!(line.standing, Standing::Missing | Standing::AboveCeiling(_))
        };
        self.requests.iter().filter(lacks).collect()
    }

    /// What it asks for and could be granted, required or not.
    pub fn missing(&self) -> Vec<&Requested> {
        self.requests.iter().filter(|line| line.standing == Standing::Missing).collect()
    }

    /// The grant that satisfies all of the request that can be granted.
    pub fn grant_to_add(&self) -> Grant {
        let can_be_granted =
            |line: &&Requested| matches!(line.standing, Standing::Granted | Standing::Missing);
        Grant::new(&self.pipeline, &self.component, permissions(self.requests.iter().filter(can_be_granted)))
    }

    /// The effective permissions if everything required is granted. Otherwise what is missing, and as help
    /// the grant to add.
    pub fn require(&self, grants: &Grants) -> Result<Vec<Permission>> {
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
            grants.addition(&self.grant_to_add()).trim_end()
        )))
    }

    /// The request as sentences: "read files below ./data: reads the files you point it at (required)".
    pub fn in_words(&self) -> Vec<String> {
        let sentence = |line: &Requested| {
            let need = if line.required { "required" } else { "optional" };
            let standing = match &line.standing {
                Standing::Granted => ", granted".to_owned(),
                Standing::Missing => String::new(),
                Standing::AboveCeiling(why) => format!(", cannot be granted: {why}"),
                Standing::NotAsked => ", not used by this configuration".to_owned(),
            };
            format!("{}: {} ({need}{standing})", line.ask(), one_line(&line.reason))
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
    fn permission(&self) -> Permission {
        Permission { kind: self.kind, target: self.target.clone() }
    }

    /// `read files below ./data`.
    fn ask(&self) -> String {
        let what = match self.kind {
            CapabilityKind::Files => "read files below",
            CapabilityKind::Http => "send HTTP requests to",
            CapabilityKind::Decode => return "use the host's decoders".to_owned(),
        };
        match &self.target {
            Some(target) => format!("{what} {}", one_line(target)),
            None => format!("{what} a place that is not configured"),
        }
    }
}

fn permissions<'a>(lines: impl Iterator<Item = &'a Requested>) -> Vec<Permission> {
    let mut permissions: Vec<_> = lines.map(Requested::permission).collect();
    permissions.sort();
    permissions.dedup();
    permissions
}

/// A stranger's words on one line.
fn one_line(text: &str) -> String {
    tame(text).replace('\n', " ").trim().to_owned()
}
