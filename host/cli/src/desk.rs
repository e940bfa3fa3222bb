//! Where a worker asks. The order tells it which secrets there are; what they are it is told here, one at a time, and
//! only here. And here it hears whether what the order permits is still granted, which lies where it cannot read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tidegate_infrastructure::{DataDir, Desk, clock};
use tidegate_model::{Binding, Code, Fault, Placement, Result, SecretRef, WorkOrder, place_of_key};
use tidegate_permission::{
    Action, Authorizer, Module, Principal, Question, Reply, Resource, Revision, Secret, SecretKeeper,
    Sources, taken_back,
};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use crate::secrets;

/// How often this looks by itself whether something was taken back.
const EVERY: Duration = Duration::from_secs(1);
/// How long a worker may take to end by itself after that.
const GRACE: Duration = Duration::from_secs(5);
/// How long the grants may be impossible to read, as when somebody is editing them, until nothing counts as granted.
const PATIENCE: Duration = Duration::from_secs(3);

/// The desk of one order. It gives what the component may have used, to the worker of that order, after the
/// authorizer said yes; it keeps none of it.
#[derive(Debug, Clone)]
pub struct OrderDesk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    order: WorkOrder,
    data_dir: DataDir,
    /// None for an order that binds nothing: then no question is one that it could answer.
    authorizer: Option<Authorizer>,
    /// Slots whose credential is requested, granted and below the ceiling.
    bound: BTreeMap<String, SecretRef>,
    /// Those of them that are renewed as they are used.
    renewed: BTreeSet<String>,
    sources: Sources,
    /// Since when it is not known what is granted.
    unreadable: Mutex<Option<Instant>>,
    /// Which value of each slot's secret was given last: a new one is kept only in its place.
    given: Mutex<BTreeMap<String, Revision>>,
}

impl OrderDesk {
    pub fn of(order: &WorkOrder) -> Result<Self> {
        let data_dir = DataDir::open(&order.data_dir)?;
        let store = Arc::new(secrets::store(&data_dir)?);
        let binds = order.permissions.iter().any(|permission| permission.binding.is_some());
        let authorizer = if binds { Some(Authorizer::for_worker(order)?) } else { None };
        Ok(Self::with(order, data_dir, authorizer, store))
    }

    fn with(
        order: &WorkOrder,
        data_dir: DataDir,
        authorizer: Option<Authorizer>,
        store: Arc<dyn SecretKeeper>,
    ) -> Self {
        let bindings = || order.permissions.iter().filter_map(|permission| permission.binding.as_ref());
        let renewed = bindings().filter(|binding| matches!(binding.place, Placement::OAuth2Refresh { .. }));
        let renewed = renewed.map(|binding| binding.slot.clone()).collect();
        let bound = bindings().map(|Binding { slot, secret, .. }| (slot.clone(), secret.clone())).collect();
        let sources = Sources::new(&order.base, store);
        let order = order.clone();
        Self(Arc::new(Inner {
            order,
            data_dir,
            authorizer,
            bound,
            renewed,
            sources,
            unreadable: Mutex::default(),
            given: Mutex::default(),
        }))
    }

    /// Waits until something was taken back and the worker had its time to end, and gives why it ends now. A worker
    /// that never asks, as one that is in somebody else's hands would not, ends by this.
    pub async fn overdue(&self) -> Fault {
        loop {
            tokio::time::sleep(EVERY).await;
            if let Some(fault) = self.0.taken_back() {
                tokio::time::sleep(GRACE).await;
                return fault;
            }
        }
    }

    /// Whether each secret that the component may have used is there, so that nobody learns it in the middle of
    /// a run. A fault names the place in the pipeline file.
    pub async fn look(&self, order: &WorkOrder) -> Result<()> {
        for slot in self.0.bound.keys() {
            let (desk, name) = (self.clone(), slot.clone());
            // What the store makes us wait for is not what Ctrl-C has to wait for.
            let looked = spawn_blocking(move || Handle::current().block_on(desk.0.secret(&name)));
            let looked = looked.await.unwrap_or_else(|_| Err(broken()));
            looked.map_err(|fault| blame(order, slot, fault))?;
        }
        Ok(())
    }

    async fn reply(&self, question: &[u8]) -> Result<Reply> {
        match Question::from_line(question)? {
            Question::Secret(slot) => self.0.secret(&slot).await.map(Reply::Secret),
            Question::Rotate { slot, value } => self.0.rotate(&slot, &value).await.map(|()| Reply::Kept),
            Question::Standing => Ok(self.0.taken_back().map_or(Reply::Granted, Reply::TakenBack)),
        }
    }
}

impl Inner {
    /// Nothing is given for a run that is being ended.
    fn stands(&self) -> Result<()> {
        self.taken_back().map_or(Ok(()), Err)
    }

    /// What ends the run, if something does.
    fn taken_back(&self) -> Option<Fault> {
        let mut unreadable = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        match taken_back(&self.order, &self.data_dir, clock::now()) {
            Ok(found) => {
                *unreadable = None;
                found
            }
            Err(_) if unreadable.get_or_insert_with(Instant::now).elapsed() < PATIENCE => None,
            Err(fault) => {
                let component = &self.order.component.name;
                let why = format!("what {component} may do cannot be read any more: {}", fault.message);
                Some(Fault { message: why, code: Code::Revoked, ..fault })
            }
        }
    }

    async fn secret(&self, slot: &str) -> Result<Secret> {
        let reference = self.bound(slot)?;
        self.stands()?;
        self.may(Action::SecretRead, reference)?;
        let held = self.sources.read(reference).await?;
        if let Some(revision) = held.revision {
            self.remember(slot, revision);
        }
        Ok(held.secret)
    }

    async fn rotate(&self, slot: &str, value: &Secret) -> Result<()> {
        let reference = self.bound(slot)?;
        if !self.renewed.contains(slot) {
            let why = format!("the secret of `{slot}` is not one that its use renews");
            return Err(Fault::internal(Code::NotGranted, why));
        }
        self.stands()?;
        self.may(Action::SecretWrite, reference)?;
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner).get(slot).cloned();
        let by = Principal::service(Module::Extraction);
        let revision = self.sources.replace(reference, value, &by, given.as_ref()).await?;
        self.remember(slot, revision);
        Ok(())
    }

    /// Extraction asks in its own name, for what the order binds and nothing else.
    fn may(&self, action: Action, secret: &SecretRef) -> Result<()> {
        let extraction = Principal::service(Module::Extraction);
        let authorizer = self.authorizer.as_ref().ok_or_else(broken)?;
        authorizer.decide(&extraction, action, &Resource::Secret(secret.clone()))
    }

    fn bound(&self, slot: &str) -> Result<&SecretRef> {
        self.bound.get(slot).ok_or_else(|| {
            let why = format!("no secret is bound to `{slot}` that this connector may have used");
            Fault::user(Code::NotGranted, why)
                .help("`tidegate grant add PIPELINE.yaml` shows what it asks for")
        })
    }

    fn remember(&self, slot: &str, revision: Revision) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.insert(slot.to_owned(), revision);
    }
}

#[async_trait]
impl Desk for OrderDesk {
    async fn answer(&self, question: &[u8]) -> Zeroizing<Vec<u8>> {
        let desk = self.clone();
        let question = Zeroizing::new(question.to_vec());
        // The store may have to be waited for, and the worker's events must not wait with it.
        let answered = spawn_blocking(move || {
            let reply = Handle::current().block_on(desk.reply(&question)).unwrap_or_else(Reply::Refused);
            reply.to_line()
        });
        // Of an answer that cannot be written, and of a question that made us panic, the worker hears that.
        answered.await.unwrap_or_else(|_| Ok(bug())).unwrap_or_else(|_| bug())
    }
}

fn bug() -> Zeroizing<Vec<u8>> {
    Reply::Refused(broken()).to_line().unwrap_or_default()
}

fn broken() -> Fault {
    Fault::internal(Code::Bug, "a worker's question could not be answered")
}

/// The fault, with the line that binds the slot.
fn blame(order: &WorkOrder, slot: &str, fault: Fault) -> Fault {
    let Some(document) = order.document.as_ref().filter(|document| !document.config.is_empty()) else {
        return fault;
    };
    let (line, column) = place_of_key(&document.text, &["extract", "secrets", slot]).unzip();
    fault.at(&document.file, line, column)
}

#[cfg(test)]
mod tests;
