use serde::Serialize;

use crate::rules::{Policies, Ruling};

/// Why something is allowed or refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    pub allowed: bool,
    /// In words.
    pub why: String,
    /// The policy that decides, by its `@id`. None: no policy permits it, which is a refusal.
    pub policy: Option<String>,
    /// Where that policy stands: `grants.yaml:12`, `policies/roles.cedar:4`.
    pub place: Option<String>,
    /// The policy itself, in Cedar.
    pub text: Option<String>,
}

impl Explanation {
    pub(crate) fn of(policies: &Policies, ruling: Ruling) -> Self {
        let note = ruling.policy.as_deref().and_then(|id| policies.named(id));
        Self {
            allowed: ruling.allowed,
            why: ruling.why,
            place: note.map(|note| note.place.clone()),
            text: note.map(|note| note.text.clone()),
            policy: ruling.policy,
        }
    }
}
