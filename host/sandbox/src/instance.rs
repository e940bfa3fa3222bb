//! One instance at work: every call of an export, with its clock.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use tidegate_model::{Code, Counters, Fault, Result};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use wasmtime::Store;
use wasmtime::component::{ResourceAny, ResourceTable};

use crate::bindings::{Extractor, ExtractorPre, extraction, types};
use crate::component::Settings;
use crate::credential::Credentials;
use crate::guest::{Guest, Memory, Surroundings, Tally};
use crate::http::Web;
use crate::log::Logger;
use crate::meter::{Ledger, Meter};
use crate::output::{Outlet, OutputPort};
use crate::refusal::from_guest;
use crate::wasi::{self, Printed};
use crate::{http, tcp, trap};

const MAX_HANDLES: usize = 4096;
/// What one call may make the host allocate. A batch's buffers count, so while reading it is more.
const FUEL: usize = 32 << 20;
const FUEL_READING: usize = 80 << 20;

const SPEC: Duration = Duration::from_secs(10);
const CHECK: Duration = Duration::from_secs(60);
const DISCOVER: Duration = Duration::from_secs(600);
const START: Duration = Duration::from_secs(600);
const END: Duration = Duration::from_secs(10);
/// None but `read` may take longer.
pub(crate) const LONGEST_CALL: Duration = START;

/// A component that runs. After a crash or an interrupted call it answers nothing any more; drop it then.
pub struct Instance {
    store: Store<Guest>,
    world: Extractor,
    watch: Watch,
}

/// A session inside an instance.
#[derive(Debug, Clone, Copy)]
pub struct SessionHandle(ResourceAny);

/// What `reopen` found.
#[derive(Debug)]
pub enum Reopening {
    Same(SessionHandle),
    /// And why.
    Gone(String),
}

/// What an instance has used so far, also while it runs and after it ended.
#[derive(Clone)]
pub struct Usage {
    meter: Arc<Meter>,
    ledger: Arc<Ledger>,
}

impl Usage {
    pub fn counters(&self) -> Counters {
        self.meter.counters(&self.ledger)
    }
}

impl Instance {
    pub(crate) async fn new(
        pre: &ExtractorPre<Guest>,
        around: &Surroundings,
        settings: &Settings,
        port: Option<OutputPort>,
    ) -> Result<Self> {
        let (context, printed) = wasi::context();
        let meter = Meter::new(settings.compute);
        let memory = Memory::new(around.memory());
        let denial = Arc::new(Mutex::new(None));
        let usage = Usage { meter: meter.clone(), ledger: memory.ledger.clone() };
        let mut watch = Watch {
            usage,
            printed: printed.clone(),
            denial: denial.clone(),
            tally: around.tally.clone(),
            credentials: around.sender.credentials().clone(),
            longest: settings.call,
            alive: true,
        };
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        let fuel = if port.is_some() { FUEL_READING } else { FUEL };
        let stream = port.as_ref().map(|port| port.stream.clone());
        let credentials = around.sender.credentials().clone();
        let in_flight = Arc::new(Semaphore::new(http::IN_FLIGHT));
        let ledger = memory.ledger.clone();
        let web = Web::new(around.sender.clone(), in_flight.clone(), ledger, meter.clone(), denial.clone());
        let guest = Guest {
            table,
            wasi: context,
            around: around.clone(),
            memory,
            meter,
            logger: Logger::new(around.setup.log.clone(), stream, printed.clone(), Some(credentials)),
            outlet: port.map(Outlet::new),
            web,
            in_flight,
            connections: Arc::new(Semaphore::new(tcp::CONNECTIONS)),
            denial,
        };
        let mut store = Store::new(pre.engine(), guest);
        store.limiter(|guest| &mut guest.memory);
        store.set_hostcall_fuel(fuel);
        store.set_max_component_handles(MAX_HANDLES);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        let making = async { pre.instantiate_async(&mut store).await.map(Ok) };
        let world = watch.call("instantiate", Some(SPEC), making).await?;
        Ok(Self { store, world, watch })
    }

    /// A handle on what this instance uses, that outlives it.
    pub fn usage(&self) -> Usage {
        self.watch.usage.clone()
    }

    pub async fn spec(&mut self) -> Result<extraction::ConnectorSpec> {
        let extraction = self.world.tidegate_connector_extraction();
        let call = async { extraction.call_spec(&mut self.store).await.map(Ok) };
        self.watch.call("spec", Some(SPEC), call).await
    }

    pub async fn check(&mut self, config: &str) -> Result<()> {
        let call = self.world.tidegate_connector_extraction().call_check(&mut self.store, config);
        self.watch.call("check", Some(CHECK), call).await
    }

    pub async fn discover(&mut self, config: &str) -> Result<Vec<extraction::Stream>> {
        let call = self.world.tidegate_connector_extraction().call_discover(&mut self.store, config);
        self.watch.call("discover", Some(DISCOVER), call).await
    }

    pub async fn start(&mut self, request: &extraction::Request) -> Result<SessionHandle> {
        let call = self.world.tidegate_connector_extraction().call_start(&mut self.store, request);
        self.watch.call("start", Some(START), call).await.map(SessionHandle)
    }

    pub async fn reopen(&mut self, request: &extraction::Request, token: &[u8]) -> Result<Reopening> {
        let call = self.world.tidegate_connector_extraction().call_reopen(&mut self.store, request, token);
        Ok(match self.watch.call("reopen", Some(START), call).await? {
            extraction::Reopened::Same(session) => Reopening::Same(SessionHandle(session)),
            extraction::Reopened::Gone(why) => Reopening::Gone(why),
        })
    }

    pub async fn plan(&mut self, session: SessionHandle) -> Result<extraction::Plan> {
        let sessions = self.world.tidegate_connector_extraction().session();
        let call = sessions.call_plan(&mut self.store, session.0);
        self.watch.call("plan", Some(START), call).await
    }

    /// Lets the component end the session in its own way, for a few seconds.
    pub async fn end(&mut self, session: SessionHandle) -> Result<()> {
        let call = async { session.0.resource_drop_async(&mut self.store).await.map(Ok) };
        self.watch.call("the end of the session", Some(END), call).await
    }

    /// Reads one split into the port given at instantiation. As long as it makes progress, it may take as
    /// long as it takes.
    pub async fn read(
        &mut self,
        request: &extraction::Request,
        split: &[u8],
        from: Option<&[u8]>,
    ) -> Result<()> {
        let call =
            self.world.tidegate_connector_extraction().call_read(&mut self.store, request, split, from);
        let read = self.watch.call("read", None, call).await;
        self.store.data_mut().logger.confess();
        read
    }
}

/// What an instance's calls have in common.
struct Watch {
    usage: Usage,
    printed: Printed,
    denial: Arc<Mutex<Option<Fault>>>,
    tally: Tally,
    credentials: Credentials,
    longest: Duration,
    /// No call was interrupted, by a trap, the clock or whoever dropped its future.
    alive: bool,
}

impl Watch {
    async fn call<T>(
        &mut self,
        export: &str,
        limit: Option<Duration>,
        call: impl Future<Output = wasmtime::Result<std::result::Result<T, types::Fault>>>,
    ) -> Result<T> {
        if !self.alive {
            return Err(Fault::internal(Code::ConnectorFailed, "the instance was stopped before"));
        }
        // Invariant 6: alive again only when the call returned. A trap, the clock and whoever drops this
        // future leave it dead.
        self.alive = false;
        self.usage.meter.called();
        self.usage.meter.progressed();
        let call = metered(&self.usage.meter, call);
        let ended = match limit.map(|limit| limit.min(self.longest)) {
            Some(limit) => timeout(limit, call).await.map_err(|_| too_long(export, limit))?,
            None => call.await,
        };
        let told = match ended {
            Ok(told) => {
                self.alive = true;
                told.map_err(|fault| {
                    if fault.code == "limit" && self.usage.ledger.was_exceeded() {
                        // It passes on what it was told; said at first hand, it comes with what helps.
                        return self.usage.ledger.exceeded();
                    }
                    let denial = self.denial.lock().unwrap_or_else(|broken| broken.into_inner());
                    from_guest(export, &fault, denial.as_ref())
                })
            }
            Err(error) => Err(trap::explain(&error, &self.usage.ledger, &self.printed)),
        };
        told.map_err(|fault| self.credentials.hide_in(fault))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.tally.add(&self.usage.counters());
    }
}

fn too_long(export: &str, limit: Duration) -> Fault {
    let limit = limit.as_secs_f32();
    Fault::internal(Code::LimitExceeded, format!("the connector's `{export}` took longer than {limit} s"))
}

/// Counts the time the instance runs on a thread, and ends it when it breaks a rule. A computing guest gives
/// way every few milliseconds, so this looks often enough.
async fn metered<T>(meter: &Meter, call: impl Future<Output = wasmtime::Result<T>>) -> wasmtime::Result<T> {
    let mut call = pin!(call);
    let mut silence = tokio::time::interval(Duration::from_secs(5));
    poll_fn(|context| {
        while silence.poll_tick(context).is_ready() {}
        let begun = Instant::now();
        let polled = call.as_mut().poll(context);
        meter.ran(begun.elapsed());
        match (polled, meter.breach()) {
            (Poll::Pending, Some(fault)) => Poll::Ready(Err(wasmtime::Error::new(fault))),
            (polled, _) => polled,
        }
    })
    .await
}
