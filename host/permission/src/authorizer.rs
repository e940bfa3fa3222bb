use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate_infrastructure::DataDir;
use tidegate_model::{Fault, Result, RunId, WorkOrder};

use crate::audit::{Audit, Decision};
use crate::ceiling::Ceiling;
use crate::location::Granted;
use crate::policy::{Operator, Policy, Ruling, Worker};
use crate::principal::{Identity, Principal};
use crate::vocabulary::{Action, Resource};

/// Different allowed questions that are remembered between two writings of their counts.
const REMEMBERED: usize = 4096;
/// Denials that are written one by one. A component that goes on asking is counted: it must not fill the
/// disk.
const DENIALS_WRITTEN: u64 = 10_000;
/// Allowed questions of components that are written one by one, for the same reason.
const ALLOWED_WRITTEN: u64 = 10_000;

/// Why, in a line that stands for many.
const MANY: &str = "the last of many more";

/// Answers "may X do Y to Z?", and writes down each answer.
///
/// An allowed question is written when it is first asked; how often it was asked again is written by
/// [`Authorizer::flush`], or when this is dropped. A denial is written each time. After ten thousand lines of
/// either for a component, the others are counted. An answer that cannot be written is "no".
#[derive(Debug)]
pub struct Authorizer {
    policy: Policy,
    audit: Audit,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Allowed questions that are written already, and how often they were asked since.
    allowed: HashMap<Question, u64>,
    /// First times that components asked something and were allowed.
    news: u64,
    last_news: Option<Question>,
    denials: u64,
    last_denial: Option<Question>,
}

type Question = (Principal, Action, Resource);

impl Authorizer {
    /// For commands that somebody types on their own machine: they may do what people do, below the ceiling,
    /// and nothing of what components do.
    pub fn for_operator(data_dir: &DataDir, ceiling: Ceiling, run: Option<RunId>) -> Self {
        let policy = Policy::Operator(Operator { user: Principal::operator(), ceiling });
        Self::new(policy, Audit::at(data_dir.audit_path(), run))
    }

    /// For a worker: its component may do what the order permits, and nothing else. Extraction may load that
    /// component, ingestion may write to the order's sink and keep the state of its streams.
    pub fn for_worker(order: &WorkOrder) -> Result<Self> {
        let data_dir = DataDir::open(&order.data_dir)?;
        let audit = Audit::at(data_dir.audit_path(), Some(order.run.clone()));
        Ok(Self::new(Policy::Worker(Box::new(Worker::new(order))), audit))
    }

    fn new(policy: Policy, audit: Audit) -> Self {
        Self { policy, audit, memory: Mutex::default() }
    }

    /// May `who` do `action` to `resource`? A fault means no:
    /// [`NotGranted`](tidegate_model::Code::NotGranted), with the grant that would allow it as help where
    /// there is one; [`AboveCeiling`](tidegate_model::Code::AboveCeiling), where none can;
    /// [`AuditUnavailable`](tidegate_model::Code::AuditUnavailable), when the answer cannot be written down.
    ///
    /// Cheap when the same was allowed before (no I/O), so it can be asked as often as something is done.
    pub fn decide(&self, who: &Principal, action: Action, resource: &Resource) -> Result<()> {
        // Invariant 1: every question comes here, and no answer leaves before it is recorded.
        match self.policy.judge(who, action, resource) {
            Ruling::Allow(why) => self.allow((who.clone(), action, resource.for_audit()), why),
            Ruling::Deny { code, why } => {
                self.note_denial((who.clone(), action, resource.for_audit()), &why)?;
                let fault = Fault::user(code, format!("{who} may not {action} on {resource}: {why}"));
                Err(match self.policy.remedy(who, action, resource) {
                    Some(grant) => fault.help(format!(
                        "a connector gets what it requests and is granted; the grant that covers this:\n{}",
                        grant.to_yaml().trim_end()
                    )),
                    None => fault,
                })
            }
        }
    }

    /// Where a location that `who` may read really begins: no link beyond it may be followed out of it.
    /// `None` for what is not local, and what no grant covers.
    pub fn granted(&self, who: &Principal, location: &str) -> Option<Granted> {
        self.policy.granted(who, location)
    }

    fn allow(&self, question: Question, why: &str) -> Result<()> {
        let mut memory = self.memory();
        if let Some(repeats) = memory.allowed.get_mut(&question) {
            *repeats += 1;
            return Ok(());
        }
        if let Identity::Plugin { .. } = question.0.identity() {
            memory.news += 1;
            if memory.news > ALLOWED_WRITTEN {
                memory.last_news = Some(question);
                return Ok(());
            }
        }
        if memory.allowed.len() >= REMEMBERED {
            self.write_counts(&mut memory)?;
        }
        let (who, action, resource) = &question;
        self.audit.record(who, *action, resource, Decision::Allow, why, 1)?;
        memory.allowed.insert(question, 0);
        Ok(())
    }

    fn note_denial(&self, question: Question, why: &str) -> Result<()> {
        let mut memory = self.memory();
        memory.denials += 1;
        if memory.denials > DENIALS_WRITTEN {
            memory.last_denial = Some(question);
            return Ok(());
        }
        let (who, action, resource) = &question;
        self.audit.record(who, *action, resource, Decision::Deny, why, 1)
    }

    /// Writes how often allowed questions were asked again.
    pub fn flush(&self) -> Result<()> {
        self.write_counts(&mut self.memory())
    }

    /// Forgets what was allowed, so that the next time it is asked is a first time.
    fn write_counts(&self, memory: &mut Memory) -> Result<()> {
        for ((who, action, resource), repeats) in memory.allowed.drain().filter(|(_, repeats)| *repeats > 0) {
            self.audit.record(&who, action, &resource, Decision::Allow, "asked again", repeats)?;
        }
        if let Some((who, action, resource)) = memory.last_news.take() {
            let more = memory.news - ALLOWED_WRITTEN;
            self.audit.record(&who, action, &resource, Decision::Allow, MANY, more)?;
            memory.news = ALLOWED_WRITTEN;
        }
        if let Some((who, action, resource)) = memory.last_denial.take() {
            let more = memory.denials - DENIALS_WRITTEN;
            self.audit.record(&who, action, &resource, Decision::Deny, MANY, more)?;
            memory.denials = DENIALS_WRITTEN;
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
