use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use tidegate_model::{CapabilityKind, Code, ComponentRef, Fault, Permission, Result, StreamName, suggestion};

use crate::grants::Grant;
use crate::narrowing;
use crate::review::{Requested, Review, Standing};

/// What somebody grants of a request. By default all of it, to the component by its digest, without an end.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// The capabilities by their `id`; none named: all that is missing, and what is granted stays as it is.
    pub only: Vec<String>,
    /// Narrower targets, by `id`.
    pub targets: BTreeMap<String, String>,
    /// The methods of an `http` capability, by `id`.
    pub methods: BTreeMap<String, Vec<String>>,
    /// Of these streams only these columns.
    pub columns: BTreeMap<StreamName, BTreeSet<String>>,
    pub expires: Option<DateTime<Utc>>,
    /// To all compatible versions that the component's publisher signs.
    pub publisher: bool,
}

impl Choice {
    /// Less than all that is asked for.
    pub fn is_narrow(&self) -> bool {
        !(self.only.is_empty()
            && self.columns.is_empty()
            && self.targets.is_empty()
            && self.methods.is_empty())
    }
}

impl Review {
    /// The grant that a choice means, with what is granted already. Refuses what the request does not cover.
    pub fn grant_of(&self, choice: &Choice, component: &ComponentRef) -> Result<Grant> {
        let ids: Vec<&str> = self.requests.iter().map(|line| line.id.as_str()).collect();
        let named = choice.only.iter().chain(choice.targets.keys()).chain(choice.methods.keys());
        for id in named {
            if !ids.contains(&id.as_str()) {
                let why = format!("the connector asks for nothing called `{id}`");
                return Err(Fault::user(Code::BadUsage, why).help(suggestion(id, ids)));
            }
        }
        let lines = self.requests.iter().map(|line| part(line, choice)).collect::<Result<Vec<_>>>()?;
        let mut allow: Vec<Permission> = lines.into_iter().flatten().collect();
        allow.sort();
        allow.dedup();
        let mut grant = self.grant(allow);
        grant.columns.extend(choice.columns.clone());
        grant.expires = choice.expires.or(grant.expires);
        if choice.publisher { grant.for_publisher(component) } else { Ok(grant) }
    }
}

/// What is to be granted of one line: as chosen, or as it is granted already.
fn part(line: &Requested, choice: &Choice) -> Result<Vec<Permission>> {
    let id = &line.id;
    let named =
        choice.only.contains(id) || choice.targets.contains_key(id) || choice.methods.contains_key(id);
    let chosen = match line.standing {
        Standing::Missing => named || choice.only.is_empty(),
        // Somebody may have narrowed it on purpose.
        Standing::Granted => named,
        Standing::AboveCeiling(_) | Standing::NotAsked => false,
    };
    if !chosen {
        return Ok(line.allowed.iter().map(|allowed| allowed.permission.clone()).collect());
    }
    let requested = line.permission();
    if let Some(methods) = choice.methods.get(id) {
        let is_one = |method: &String| method.len() <= 32 && method.bytes().all(|b| b.is_ascii_uppercase());
        if requested.kind != CapabilityKind::Http || methods.len() > 32 || !methods.iter().all(is_one) {
            let why = format!("`{id}` cannot be narrowed to these methods");
            return Err(Fault::user(Code::BadUsage, why)
                .help("methods are those of an `http` capability, in capitals: --methods ID=GET,HEAD"));
        }
    }
    let wanted = Permission {
        target: choice.targets.get(&line.id).cloned().or_else(|| requested.target.clone()),
        methods: choice.methods.get(&line.id).cloned().unwrap_or_else(|| requested.methods.clone()),
        ..requested.clone()
    };
    match narrowing::common(&requested, &wanted) {
        Some(common) if common == wanted => Ok(vec![wanted]),
        _ => {
            let why = format!("`{}` asks for `{requested}`, which does not cover `{wanted}`", line.id);
            Err(Fault::user(Code::BadUsage, why).help("a grant can narrow a request, never widen it"))
        }
    }
}
