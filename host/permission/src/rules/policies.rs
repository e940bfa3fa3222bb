//! Policies as texts, and compiled.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use cedar_policy::{
    ActionConstraint, Effect, EntityUid, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator,
};
use tidegate_model::{Code, Fault, Result};

use crate::vocabulary::Action;

/// Texts that are kept compiled: those that come with the platform, and ceilings.
const KNOWN_TEXTS: usize = 32;

/// A text with policies, and where people find it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub(crate) file: String,
    pub(crate) text: String,
}

/// The policies that come with the platform.
pub(crate) mod shipped {
    use super::Source;

    pub(crate) const SCHEMA: &str = include_str!("../../policies/tidegate.cedarschema");

    macro_rules! shipped {
        ($($name:ident = $file:literal;)+) => {
            $(pub(crate) fn $name() -> Source {
                let text = include_str!(concat!("../../policies/", $file)).to_owned();
                Source { file: concat!("policies/", $file).to_owned(), text }
            })+
        };
    }

    shipped! {
        always = "always.cedar";
        modules = "modules.cedar";
        roles = "roles.cedar";
        ceiling_developer = "ceiling-developer.cedar";
        ceiling_strict = "ceiling-strict.cedar";
    }
}

/// What people are told of a policy.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub(crate) id: String,
    /// The first of several that decide is the one that is told.
    pub(crate) rank: usize,
    /// `@why`; `{class}` stands for the resource's.
    pub(crate) why: String,
    /// `@code("ceiling")`: no grant helps against it.
    pub(crate) ceiling: bool,
    /// `grants.yaml:12`.
    pub(crate) place: String,
    pub(crate) text: String,
}

/// Compiled policies. Each has an `@id`, unique over all texts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policies {
    set: PolicySet,
    notes: HashMap<PolicyId, Note>,
}

impl Policies {
    /// Compiles a text. Says what is wrong with it, and where.
    pub(crate) fn compile(source: &Source) -> Result<Self> {
        let set = PolicySet::from_str(&source.text).map_err(|error| {
            let line = error.iter().next().and_then(|error| line_of_offset(source, error));
            bad(source, line, &error.to_string())
        })?;
        if set.templates().next().is_some() {
            return Err(bad(source, None, "it has a template, which nothing here fills"));
        }
        let mut compiled = Self::default();
        for policy in set.policies() {
            let id = policy.annotation("id").unwrap_or_default().to_owned();
            if id.is_empty() {
                let why = "a policy has no `@id(\"...\")`, by which decisions name it";
                return Err(bad(source, None, why));
            }
            let line = line_of(&source.text, &id);
            let note = Note {
                rank: 0,
                why: policy.annotation("why").unwrap_or(&id).to_owned(),
                ceiling: policy.annotation("code") == Some("ceiling"),
                // What is made from `grants.yaml` says where it comes from.
                place: policy.annotation("at").map_or_else(
                    || line.map_or_else(|| source.file.clone(), |line| format!("{}:{line}", source.file)),
                    str::to_owned,
                ),
                text: policy.to_string(),
                id,
            };
            compiled.add(policy, note).map_err(|why| bad(source, line, &why))?;
        }
        Ok(compiled)
    }

    /// The same, for a text that is compiled many times in one process, and once is enough.
    pub(crate) fn known(source: &Source) -> Result<Arc<Self>> {
        static KNOWN: LazyLock<Mutex<HashMap<Source, Arc<Policies>>>> = LazyLock::new(Mutex::default);
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(policies) = known.get(source) {
            return Ok(Arc::clone(policies));
        }
        let policies = Arc::new(Self::compile(source)?);
        if known.len() >= KNOWN_TEXTS {
            known.clear();
        }
        known.insert(source.clone(), Arc::clone(&policies));
        Ok(policies)
    }

    /// All of them together. Of several that decide, the first is the one that is told.
    fn joined<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Result<Self> {
        let mut all = Self::default();
        for part in parts {
            for policy in part.set.policies() {
                let Some(note) = part.notes.get(policy.id()) else { continue };
                let (file, line) = note.place.rsplit_once(':').unwrap_or((&note.place, ""));
                let source = Source { file: file.to_owned(), text: String::new() };
                all.add(policy, note.clone()).map_err(|why| bad(&source, line.parse().ok(), &why))?;
            }
        }
        Ok(all)
    }

    fn add(&mut self, policy: &Policy, note: Note) -> std::result::Result<(), String> {
        let name = PolicyId::new(&note.id);
        let twice = |_| format!("there are two policies `{}`", note.id);
        self.set.add(policy.new_id(name.clone())).map_err(twice)?;
        self.notes.insert(name, Note { rank: self.notes.len(), ..note });
        Ok(())
    }

    pub(crate) fn set(&self) -> &PolicySet {
        &self.set
    }

    /// Those that can have a say about an action, by what they say themselves that they are about. The engine looks
    /// at every policy that it is given.
    pub(crate) fn about(&self, action: Action) -> PolicySet {
        let names: Vec<&str> = action.groups().iter().copied().chain([action.as_str()]).collect();
        let is_meant = |uid: &EntityUid| names.contains(&uid.id().unescaped());
        let about = self.set.policies().filter(|policy| match policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => is_meant(&uid),
            ActionConstraint::In(uids) => uids.iter().any(is_meant),
        });
        PolicySet::from_policies(about.cloned()).unwrap_or_else(|_| self.set.clone())
    }

    pub(crate) fn note(&self, id: &PolicyId) -> Option<&Note> {
        self.notes.get(id)
    }

    pub(crate) fn named(&self, id: &str) -> Option<&Note> {
        self.notes.values().find(|note| note.id == id)
    }
}

/// Several texts as one set.
pub(crate) fn joined<const N: usize>(parts: [Result<Arc<Policies>>; N]) -> Result<Policies> {
    let parts = parts.into_iter().collect::<Result<Vec<_>>>()?;
    Policies::joined(parts.iter().map(Arc::as_ref))
}

static SCHEMA: LazyLock<std::result::Result<Schema, String>> = LazyLock::new(|| {
    Schema::from_cedarschema_str(shipped::SCHEMA).map(|(schema, _)| schema).map_err(|error| error.to_string())
});

/// Refuses a text that is not a ceiling: policies that do not fit the schema (a misspelt action would forbid
/// nothing), and any that permit something.
pub(crate) fn check(source: &Source, may_permit: bool) -> Result<Policies> {
    let policies = Policies::compile(source)?;
    let schema = SCHEMA.as_ref().map_err(|why| Fault::internal(Code::Bug, format!("the schema: {why}")))?;
    let checked = Validator::new(schema.clone()).validate(policies.set(), ValidationMode::Strict);
    if let Some(error) = checked.validation_errors().next() {
        let line = policies.note(error.policy_id()).and_then(|note| line_of(&source.text, &note.id));
        return Err(bad(source, line, &error.to_string()));
    }
    let permits = policies.set().policies().find(|policy| policy.effect() == Effect::Permit);
    if let (Some(policy), false) = (permits, may_permit) {
        let id = policy.annotation("id").unwrap_or_default();
        let why = format!("`{id}` permits something: a ceiling only forbids");
        return Err(bad(source, line_of(&source.text, id), &why));
    }
    Ok(policies)
}

fn bad(source: &Source, line: Option<u64>, why: &str) -> Fault {
    let why = why.lines().next().unwrap_or_default();
    Fault::user(Code::BadPolicy, format!("a policy cannot be used: {why}"))
        .help("`tidegate doctor` shows which ceiling is in force; Cedar's documentation has the language")
        .at(&source.file, line, None)
}

/// Where a policy begins, from 1.
fn line_of(text: &str, id: &str) -> Option<u64> {
    let mark = format!("@id(\"{id}\")");
    let position = text.lines().position(|line| line.contains(&mark))?;
    Some(position as u64 + 1)
}

fn line_of_offset(source: &Source, error: &cedar_policy::ParseError) -> Option<u64> {
    use miette::Diagnostic;

    let label = error.labels()?.next()?;
    let before = source.text.get(..label.offset())?;
    Some(before.matches('\n').count() as u64 + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_schema_and_the_vocabulary_say_the_same() {
        let schema = SCHEMA.as_ref().unwrap();
        let groups = ["component", "module", "people"];
        let all = schema.actions().map(|action| action.id().unescaped().to_owned());
        let actions: BTreeSet<String> = all.filter(|action| !groups.contains(&action.as_str())).collect();
        let known: BTreeSet<String> = Action::ALL.iter().map(|action| action.as_str().to_owned()).collect();
        assert_eq!(actions, known);
    }

    #[test]
    fn what_is_shipped_fits_the_schema() {
        for (source, may_permit) in [
            (shipped::always(), false),
            (shipped::ceiling_developer(), false),
            (shipped::ceiling_strict(), false),
            (shipped::modules(), true),
            (shipped::roles(), true),
        ] {
            check(&source, may_permit).unwrap_or_else(|fault| panic!("{fault}"));
        }
    }

    #[test]
    fn no_policy_that_has_a_say_is_left_out() {
        let policies = joined(
            [shipped::always(), shipped::modules(), shipped::roles(), shipped::ceiling_strict()]
                .map(|source| Policies::known(&source)),
        )
        .unwrap();
        for action in Action::ALL {
            let about = policies.about(*action);
            assert!(about.num_of_policies() < policies.set().num_of_policies(), "{action}");
            for policy in policies.set().policies() {
                // As Cedar itself writes it: an action that is named, a group that is, or none.
                let text = policy.to_string();
                let scope = text.split_once("action").unwrap().1.split_once("resource").unwrap().0;
                let named = |name: &str| scope.contains(&format!("\"{name}\""));
                let meant = !scope.contains("Action::")
                    || named(action.as_str())
                    || action.groups().iter().any(|g| named(g));
                assert_eq!(about.policy(policy.id()).is_some(), meant, "{action}: {text}");
            }
        }
    }

    #[test]
    fn a_decision_can_name_the_line_of_its_policy() {
        let policies = Policies::compile(&shipped::roles()).unwrap();
        let note = policies.named("role.viewer").unwrap();
        let line: usize = note.place.strip_prefix("policies/roles.cedar:").unwrap().parse().unwrap();
        assert!(shipped::roles().text.lines().nth(line - 1).unwrap().contains("role.viewer"));
    }
}
