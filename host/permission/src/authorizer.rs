use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tidegate_infrastructure::DataDir;
use tidegate_model::{Code, Fault, Permission, Result, RunId, StreamName, WorkOrder};

use crate::audit::{Audit, Decision, Entry};
use crate::ceiling::{self, Ceiling};
use crate::explanation::Explanation;
use crate::grants::Grants;
use crate::location::Granted;
use crate::principal::{Identity, Principal};
use crate::remedy::Help;
use crate::revocation::Revocations;
use crate::roles::Role;
use crate::rules::{Granting, Policies, Rules, Ruling, Scope, joined, policies_of, shipped};
use crate::vocabulary::{Action, Resource};

/// Different allowed questions that are remembered between two writings of their counts.
const REMEMBERED: usize = 4096;
/// Answers of one kind to one action that are written one by one: a component that goes on asking is counted, as it
/// must not fill the disk. Each action has its own, so that no flood of one hides another.
const WRITTEN: u64 = 10_000;

/// Why, in a line that stands for many.
const MANY: &str = "the last of many more";

/// Answers "may X do Y to Z?", and writes down each answer.
///
/// An allowed question is written when it is first asked; how often it was asked again is written by
/// [`Authorizer::flush`], or when this is dropped. A denial is written each time. After ten thousand lines of
/// either for an action, the others are counted. An answer that cannot be written is "no".
#[derive(Debug)]
pub struct Authorizer {
    rules: RwLock<Arc<Rules>>,
    audit: Audit,
    help: Option<Help>,
    /// Who started the work.
    on_behalf_of: Option<String>,
    trace: Option<String>,
    revocations: Revocations,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Allowed questions that are written already, and how often they were asked since.
    allowed: HashMap<Question, u64>,
    /// What components were allowed, once each.
    used: HashSet<(Action, Resource)>,
    /// First times that components asked something and were allowed.
    news: HashMap<Action, Tally>,
    denials: HashMap<Action, Tally>,
}

/// Answers of one kind to one action.
#[derive(Debug, Default)]
struct Tally {
    count: u64,
    /// Those that were not written yet, and the last of them.
    unwritten: u64,
    last: Option<Question>,
}

impl Tally {
    /// Counts one more. None: it is to be written by itself; else what is to be written for many, if anything is:
    /// at the first of them and whenever their number has doubled, so that little is lost with a process that dies.
    fn take(&mut self, question: &Question) -> Option<Option<(Question, u64)>> {
        self.count += 1;
        let more = self.count.checked_sub(WRITTEN).filter(|more| *more > 0)?;
        self.unwritten += 1;
        self.last = Some(question.clone());
        Some(if more.is_power_of_two() { self.rest() } else { None })
    }

    /// What is not written yet.
    fn rest(&mut self) -> Option<(Question, u64)> {
        Some((self.last.take()?, std::mem::take(&mut self.unwritten)))
    }
}

/// What the least grant must cover.
#[derive(Debug, Clone)]
pub struct Used {
    pub questions: Vec<(Action, Resource)>,
    /// There were no more than are kept.
    pub complete: bool,
    pub denials: u64,
}

type Question = (Principal, Action, Resource);

impl Authorizer {
    /// For commands that somebody types: what their roles permit, below the ceiling, and nothing of what
    /// components and modules do. `run`: the run that the decisions belong to, if any.
    pub fn for_operator(
        data_dir: &DataDir,
        ceiling: &Ceiling,
        roles: &[Role],
        run: Option<RunId>,
    ) -> Result<Self> {
        let sources = [shipped::always(), shipped::roles(), ceiling::source(ceiling.text())];
        let policies = joined(sources.map(|source| Policies::known(&source)))?;
        let roles = roles.iter().map(|role| role.as_str().to_owned()).collect();
        let rules = Rules::new(policies, Scope { roles, ..Scope::default() });
        Ok(Self::new(rules, data_dir, run, None))
    }

    /// For the work of an order: its component may do what the order permits, and nothing else. Extraction
    /// may load that component and read its secrets, ingestion may write to the order's sink and keep the
    /// state of its streams.
    pub fn for_worker(order: &WorkOrder) -> Result<Self> {
        let data_dir = DataDir::open(&order.data_dir)?;
        let rules = rules_of(order, &order.permissions)?;
        let mut authorizer = Self::new(rules, &data_dir, Some(order.run.clone()), Some(Help::of(order)?));
        authorizer.on_behalf_of.clone_from(&order.on_behalf_of);
        authorizer.trace.clone_from(&order.trace);
        Ok(authorizer)
    }

    /// Records what it answers as a part of that trace: 32 hexadecimal digits.
    #[must_use]
    pub fn in_trace(mut self, trace: &str) -> Self {
        self.trace = Some(trace.to_owned());
        self
    }

    fn new(rules: Rules, data_dir: &DataDir, run: Option<RunId>, help: Option<Help>) -> Self {
        Self {
            rules: RwLock::new(Arc::new(rules)),
            audit: Audit::at(data_dir.audit_path(), run),
            help,
            on_behalf_of: None,
            trace: None,
            revocations: Revocations::of(data_dir),
            memory: Mutex::default(),
        }
    }

    /// May `who` do `action` to `resource`? A fault means no:
    /// [`NotGranted`](tidegate_model::Code::NotGranted), with the grant that would allow it as help where
    /// there is one; [`AboveCeiling`](tidegate_model::Code::AboveCeiling), where none can;
    /// [`AuditUnavailable`](tidegate_model::Code::AuditUnavailable), when the answer cannot be written down.
    ///
    /// Cheap when the same was allowed before (no I/O), so it can be asked as often as something is done.
    pub fn decide(&self, who: &Principal, action: Action, resource: &Resource) -> Result<()> {
        // Invariant 1: every question comes here, and no answer leaves before it is recorded.
        let question = (who.clone(), action, resource.for_audit());
        let began = Instant::now();
        let ruling = self.judge(who, action, resource);
        let took = began.elapsed();
        if ruling.allowed {
            return self.allow(question, &ruling, took);
        }
        self.note_denial(&question, &ruling, took)?;
        let why = match ruling.code {
            Code::AboveCeiling => format!("ceiling: {}", ruling.why),
            _ => ruling.why,
        };
        // As it is recorded: without what may be a secret in a URL.
        let what = &question.2;
        let fault = Fault::user(ruling.code, format!("{who} may not {action} on {what}: {why}"));
        let remedy = self.help.as_ref().and_then(|help| help.remedy(who, action, resource));
        Err(match remedy {
            Some(grant) => fault.help(format!(
                "a connector gets what it requests and is granted; the grant that covers this:\n{}",
                grant.to_yaml().trim_end()
            )),
            None => fault,
        })
    }

    /// The same question, asked by somebody who wants to understand the answer: nothing is done with it, and
    /// nothing recorded.
    pub fn explain(&self, who: &Principal, action: Action, resource: &Resource) -> Explanation {
        let rules = self.rules();
        Explanation::of(rules.policies(), self.judge(who, action, resource))
    }

    /// What the rules say, and for a component that would be loaded whether it was revoked: that is above every
    /// rule.
    fn judge(&self, who: &Principal, action: Action, resource: &Resource) -> Ruling {
        let ruling = self.rules().judge(who, action, resource);
        let (true, Action::PluginLoad, Resource::Plugin(digest)) = (ruling.allowed, action, resource) else {
            return ruling;
        };
        let why = match self.revocations.find(digest) {
            Ok(None) => return ruling,
            Ok(Some(revocation)) => revocation.in_words(),
            Err(fault) => format!("whether it is revoked cannot be found out: {}", fault.message),
        };
        Ruling { allowed: false, code: Code::PluginRevoked, why, policy: Some("revocation".to_owned()) }
    }

    /// Where a location that `who` may read really begins: no link beyond it may be followed out of it.
    /// `None` for what is not local, and what no grant covers.
    pub fn granted(&self, who: &Principal, location: &str) -> Option<Granted> {
        let is_component = self.help.as_ref().is_some_and(|help| help.plugin == *who);
        is_component.then(|| self.rules().scope().granted(location)).flatten()
    }

    /// Whether a grant narrows the columns of a stream, or the ceiling has a say about columns: then each is a
    /// question, [`Action::ColumnRead`].
    pub fn limits_columns(&self, stream: &StreamName) -> bool {
        let rules = self.rules();
        // One policy is always there: that of the grants.
        rules.scope().columns.contains(stream) || rules.about(Action::ColumnRead).num_of_policies() > 1
    }

    /// From now on an order permits no more than this, as something was taken back. What was allowed before is
    /// asked anew.
    pub fn narrow(&self, order: &WorkOrder, permissions: &[Permission]) -> Result<()> {
        let rules = Arc::new(rules_of(order, permissions)?);
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
        self.flush()?;
        self.memory().allowed.clear();
        Ok(())
    }

    /// What components did and were allowed, and how often something was denied.
    pub fn used(&self) -> Used {
        let memory = self.memory();
        Used {
            questions: memory.used.iter().cloned().collect(),
            complete: memory.used.len() < REMEMBERED,
            denials: memory.denials.values().map(|tally| tally.count).sum(),
        }
    }

    fn rules(&self) -> Arc<Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn allow(&self, question: Question, ruling: &Ruling, took: Duration) -> Result<()> {
        if matches!(question.1, Action::SecretRead | Action::SecretWrite) {
            // Each time: an audit that cannot be written any more must not go unnoticed.
            return self.record(&question, ruling, took);
        }
        let mut memory = self.memory();
        if let Some(repeats) = memory.allowed.get_mut(&question) {
            *repeats += 1;
            return Ok(());
        }
        if let Identity::Plugin { .. } = question.0.identity() {
            if memory.used.len() < REMEMBERED {
                memory.used.insert((question.1, question.2.clone()));
            }
            if let Some(many) = memory.news.entry(question.1).or_default().take(&question) {
                return self.write_many(Decision::Allow, many);
            }
        }
        if memory.allowed.len() >= REMEMBERED {
            self.write_counts(&mut memory)?;
        }
        self.record(&question, ruling, took)?;
        memory.allowed.insert(question, 0);
        Ok(())
    }

    fn note_denial(&self, question: &Question, ruling: &Ruling, took: Duration) -> Result<()> {
        let mut memory = self.memory();
        if let Some(many) = memory.denials.entry(question.1).or_default().take(question) {
            return self.write_many(Decision::Deny, many);
        }
        self.record(question, ruling, took)
    }

    /// One answer.
    fn record(&self, question: &Question, ruling: &Ruling, took: Duration) -> Result<()> {
        let decision = if ruling.allowed { Decision::Allow } else { Decision::Deny };
        let entry = self.entry(question, decision, &ruling.why);
        self.audit.record(&Entry { policy: ruling.policy.as_deref(), took: Some(took), ..entry })
    }

    /// Those of a tally that are to be written now.
    fn write_many(&self, decision: Decision, many: Option<(Question, u64)>) -> Result<()> {
        match many {
            Some((question, count)) => self.record_many(&question, decision, MANY, count),
            None => Ok(()),
        }
    }

    /// Several answers that are alike.
    fn record_many(&self, question: &Question, decision: Decision, why: &str, count: u64) -> Result<()> {
        self.audit.record(&Entry { count, ..self.entry(question, decision, why) })
    }

    fn entry<'a>(&'a self, question: &'a Question, decision: Decision, why: &'a str) -> Entry<'a> {
        let (who, action, resource) = question;
        let (on_behalf_of, trace) = (self.on_behalf_of.as_deref(), self.trace.as_deref());
        Entry { on_behalf_of, trace, ..Entry::new(who, *action, resource, decision, why) }
    }

    /// Writes how often allowed questions were asked again.
    pub fn flush(&self) -> Result<()> {
        self.write_counts(&mut self.memory())
    }

    /// Forgets what was allowed, so that the next time it is asked is a first time.
    fn write_counts(&self, memory: &mut Memory) -> Result<()> {
        for (question, repeats) in memory.allowed.drain().filter(|(_, repeats)| *repeats > 0) {
            self.record_many(&question, Decision::Allow, "asked again", repeats)?;
        }
        let Memory { news, denials, .. } = memory;
        for (tallies, decision) in [(news, Decision::Allow), (denials, Decision::Deny)] {
            for tally in tallies.values_mut() {
                self.write_many(decision, tally.rest())?;
            }
        }
        Ok(())
    }

    /// A thread that panicked inside left counts that are right, at worst one behind.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Authorizer {
    fn drop(&mut self) {
        if let Err(fault) = self.flush() {
            tracing::error!(%fault, "the audit's last counts are lost");
        }
    }
}

/// The rules for the work of an order, as far as these of its permissions still hold.
fn rules_of(order: &WorkOrder, permissions: &[Permission]) -> Result<Rules> {
    let grants = match &order.grants {
        // Only for where they stand, which nothing needs of nothing.
        Some(path) if !permissions.is_empty() => Grants::load(path)?,
        _ => Grants::none(),
    };
    let now = tidegate_infrastructure::clock::now();
    let place = |permission: &Permission| {
        let allowed = grants.allowances(&order.pipeline, &order.component, permission, now);
        allowed.into_iter().next().map_or_else(|| "the order".to_owned(), |allowed| allowed.place)
    };
    let column_place = |stream: &StreamName| {
        let place = grants.place_of_columns(&order.pipeline, &order.component, stream);
        place.unwrap_or_else(|| "the order".to_owned())
    };
    let granting = Granting {
        digest: &order.component.digest,
        pipeline: &order.pipeline,
        permissions: permissions.iter().map(|permission| (permission, place(permission))).collect(),
        columns: order
            .columns
            .iter()
            .map(|(stream, columns)| (stream, columns, column_place(stream)))
            .collect(),
    };
    let policies = joined([
        Policies::known(&shipped::always()),
        Policies::known(&shipped::modules()),
        Policies::known(&ceiling::source(&order.ceiling)),
        Policies::compile(&policies_of(&granting)).map(Arc::new),
    ])?;
    Ok(Rules::new(policies, Scope::of_order(order, permissions)))
}
