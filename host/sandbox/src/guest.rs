//! What belongs to one instance. Everything a guest can reach are the fields of [`Guest`].

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tidegate_model::{Code, Counters, Fault, Limits, Permission};
use tidegate_permission::{Action, Authorizer, Principal, Resource, Vault};
use tokio::sync::mpsc;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, StoreLimits};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::http::{Sender, Web};
use crate::log::{LogLine, Logger};
use crate::meter::{Ledger, Meter};
use crate::network::Network;
use crate::output::Outlet;
use crate::refusal::{Asked, Refusal};

/// Bytes of memory one instance may hold when nobody says otherwise.
pub const DEFAULT_MEMORY: u64 = 256 << 20;

/// In whose name a component runs, and with what.
#[derive(Clone)]
pub struct Setup {
    pub authorizer: Arc<Authorizer>,
    pub principal: Principal,
    /// Of each instance.
    pub limits: Limits,
    /// Relative locations start here.
    pub base: PathBuf,
    /// Folders, as the kernel names them, whose files no grant gives: the host's own.
    pub hidden: Vec<PathBuf>,
    /// The component's configuration, a JSON object.
    pub config: Value,
    /// The credentials that were granted: those that belong to a request are added to it.
    pub credentials: Vec<Permission>,
    /// Where their secrets are.
    pub vault: Arc<dyn Vault>,
    /// What components say. A line that finds no room is dropped and counted.
    pub log: mpsc::Sender<LogLine>,
}

/// A setup, and what its instances share: the way to the network, the sum of what they used. Cheap to clone.
#[derive(Clone)]
pub struct Surroundings {
    pub(crate) setup: Arc<Setup>,
    pub(crate) network: Network,
    pub(crate) sender: Sender,
    pub(crate) tally: Tally,
}

impl Surroundings {
    pub fn new(setup: Setup) -> Self {
        let network = Network::new(setup.authorizer.clone(), setup.principal.clone());
        let sender = Sender::new(&setup, network.clone());
        Self { setup: Arc::new(setup), network, sender, tally: Tally::default() }
    }

    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The same network and the same tally, with another configuration.
    #[must_use]
    pub fn with_config(&self, config: Value) -> Self {
        let setup = Setup { config, ..Setup::clone(&self.setup) };
        Self { setup: Arc::new(setup), ..self.clone() }
    }

    /// What the instances used that are gone.
    pub fn counters(&self) -> Counters {
        self.tally.counters()
    }

    pub(crate) fn memory(&self) -> u64 {
        self.setup.limits.memory.unwrap_or(DEFAULT_MEMORY).min(Limits::MAX_MEMORY)
    }
}

/// The sum of what finished instances used.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<Counters>>);

impl Tally {
    pub(crate) fn add(&self, counters: &Counters) {
        self.0.lock().unwrap_or_else(|broken| broken.into_inner()).add(counters);
    }

    pub(crate) fn counters(&self) -> Counters {
        *self.0.lock().unwrap_or_else(|broken| broken.into_inner())
    }
}

pub(crate) struct Guest {
    pub(crate) table: ResourceTable,
    pub(crate) wasi: WasiCtx,
    pub(crate) around: Surroundings,
    pub(crate) memory: Memory,
    pub(crate) meter: Arc<Meter>,
    pub(crate) logger: Logger,
    /// Only while reading.
    pub(crate) outlet: Option<Outlet>,
    pub(crate) web: Web,
    /// Requests on their way.
    pub(crate) in_flight: Arc<tokio::sync::Semaphore>,
    /// Connections of `tcp` that are open.
    pub(crate) connections: Arc<tokio::sync::Semaphore>,
    /// The last thing that was refused for want of a permission: it knows which grant would help.
    pub(crate) denial: Arc<Mutex<Option<Fault>>>,
}

impl Guest {
    /// Every call of the guest goes through here, whatever it calls.
    pub(crate) fn counted(&mut self) -> &mut Self {
        self.meter.called();
        self
    }

    /// May this instance do that? A denial is remembered, then told.
    pub(crate) fn ask(&self, action: Action, resource: &Resource) -> Asked<()> {
        let Setup { authorizer, principal, .. } = self.around.setup();
        authorizer.decide(principal, action, resource).map_err(|fault| self.deny(fault))
    }

    pub(crate) fn deny(&self, fault: Fault) -> Refusal {
        remember(&self.denial, &fault);
        Refusal::from(fault)
    }

    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.memory.ledger
    }
}

/// Keeps a fault that says what the guest lacked: it knows better what to do about it than the guest does.
pub(crate) fn remember(denial: &Mutex<Option<Fault>>, fault: &Fault) {
    use Code::{AboveCeiling, AuditUnavailable, NoSecret, NotGranted, Revoked};
    if matches!(fault.code, AboveCeiling | AuditUnavailable | NoSecret | NotGranted | Revoked) {
        *denial.lock().unwrap_or_else(|broken| broken.into_inner()) = Some(fault.clone());
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.meter.called();
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// All memories and tables of one instance, summed.
pub(crate) struct Memory {
    pub(crate) ledger: Arc<Ledger>,
    /// Counts memories, tables and instances.
    counts: StoreLimits,
    /// What the last growth took, to give it back when it failed all the same.
    last: u64,
}

impl Memory {
    pub(crate) fn new(limit: u64) -> Self {
        let counts = wasmtime::StoreLimitsBuilder::new().instances(16).memories(2).tables(16).build();
        Self { ledger: Ledger::new(limit.min(Limits::MAX_MEMORY)), counts, last: 0 }
    }

    fn grow(&mut self, current: usize, desired: usize, width: usize) -> bool {
        let more = desired.saturating_sub(current).saturating_mul(width);
        self.last = u64::try_from(more).unwrap_or(u64::MAX);
        let granted = self.ledger.add(self.last);
        if !granted {
            self.last = 0;
        }
        granted
    }

    fn undo(&mut self) {
        self.ledger.give_back(std::mem::take(&mut self.last));
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(maximum.is_none_or(|maximum| desired <= maximum) && self.grow(current, desired, 1))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let element = size_of::<usize>();
        Ok(maximum.is_none_or(|maximum| desired <= maximum) && self.grow(current, desired, element))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo();
        Ok(())
    }

    fn instances(&self) -> usize {
        self.counts.instances()
    }

    fn tables(&self) -> usize {
        self.counts.tables()
    }

    fn memories(&self) -> usize {
        self.counts.memories()
    }
}
