//! The rules: policies in Cedar, compiled once, asked often. What none of them permits is denied; what one of
//! them forbids is denied whatever the others permit.

mod entities;
mod granting;
mod policies;
mod scope;

use std::sync::{LazyLock, OnceLock};

use cedar_policy::{Authorizer as Engine, Context, Decision as Verdict, EntityUid, PolicySet, Request};
use tidegate_model::Code;

pub(crate) use granting::{Granting, policies_of};
pub(crate) use policies::{Policies, Source, check, joined, shipped};
pub(crate) use scope::Scope;

use crate::principal::{Identity, Principal};
use crate::vocabulary::{Action, Resource};

/// Bytes of stack that a question needs at most, several times over; and of a new stack where they are not there.
const ROOM: usize = 256 << 10;
const STACK: usize = 1 << 20;

static ENGINE: LazyLock<Engine> = LazyLock::new(Engine::new);

/// What the rules say, and which of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ruling {
    pub(crate) allowed: bool,
    /// Why it is denied; [`Code::NotGranted`] when it is allowed.
    pub(crate) code: Code,
    /// In words.
    pub(crate) why: String,
    /// The policy that decided, by its `@id`; none where none permits it.
    pub(crate) policy: Option<String>,
}

impl Ruling {
    fn deny(why: impl Into<String>) -> Self {
        Self { allowed: false, code: Code::NotGranted, why: why.into(), policy: None }
    }
}

/// An immutable set of policies, and what the work at hand names.
#[derive(Debug)]
pub(crate) struct Rules {
    policies: Policies,
    /// For each action those that can have a say about it, found when it is first asked about.
    about: Vec<OnceLock<PolicySet>>,
    scope: Scope,
}

impl Rules {
    pub(crate) fn new(policies: Policies, scope: Scope) -> Self {
        Self { policies, about: vec![OnceLock::new(); Action::ALL.len()], scope }
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(crate) fn policies(&self) -> &Policies {
        &self.policies
    }

    /// The policies that can have a say about an action.
    pub(crate) fn about(&self, action: Action) -> &PolicySet {
        match self.about.get(action as usize) {
            Some(about) => about.get_or_init(|| self.policies.about(action)),
            None => self.policies.set(),
        }
    }

    /// Invariant 2: what no policy permits is denied.
    pub(crate) fn judge(&self, who: &Principal, action: Action, resource: &Resource) -> Ruling {
        // The engine looks how much of the thread's stack is left, and refuses to answer where it finds none. A
        // component's question comes on the stack of its fiber, which is no part of the thread's.
        stacker::maybe_grow(ROOM, STACK, || self.judge_here(who, action, resource))
    }

    fn judge_here(&self, who: &Principal, action: Action, resource: &Resource) -> Ruling {
        let unlisted = if matches!(who.identity(), Identity::Plugin { .. }) && action.is_of_components() {
            "no grant covers it"
        } else {
            "no rule allows it"
        };
        if !action.is_about(resource) {
            return Ruling::deny("no rule allows it");
        }
        let asked = match entities::question(&self.scope, who, action, resource) {
            Ok(asked) => asked,
            Err(why) => return Ruling::deny(why),
        };
        let answer = ENGINE.is_authorized(&asked.request, self.about(action), &asked.entities);
        // A policy that cannot be evaluated would be passed over: a `forbid` that is passed over permits.
        if let Some(error) = answer.diagnostics().errors().next() {
            return Ruling::deny(format!("a policy cannot be evaluated: {error}"));
        }
        let allowed = answer.decision() == Verdict::Allow;
        let deciding = answer.diagnostics().reason().filter_map(|id| self.policies.note(id));
        match deciding.min_by_key(|note| note.rank) {
            None if allowed => Ruling::deny("no policy says why it would be allowed"),
            None => Ruling::deny(unlisted),
            Some(note) => Ruling {
                allowed,
                code: if note.ceiling { Code::AboveCeiling } else { Code::NotGranted },
                why: asked.filled(&note.why),
                policy: Some(note.id.clone()),
            },
        }
    }
}

/// Everything that the engine needs for one question.
struct Asked {
    request: Request,
    entities: cedar_policy::Entities,
    /// The resource's class of address, for the words of a policy.
    class: String,
}

impl Asked {
    fn new(
        who: EntityUid,
        action: EntityUid,
        resource: EntityUid,
        entities: cedar_policy::Entities,
        class: String,
    ) -> Result<Self, String> {
        let request = Request::new(who, action, resource, Context::empty(), None)
            .map_err(|error| format!("it cannot be asked: {error}"))?;
        Ok(Self { request, entities, class })
    }

    fn filled(&self, why: &str) -> String {
        why.replace("{class}", &self.class)
    }
}
