//! What an order asks for, and what is answered.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_extraction::{ConnectorSpec, Extractor, StreamDescription};
use tidegate_infrastructure::config_dir;
use tidegate_model::{Answer, Code, Fault, Result, StreamName, Task, WorkOrder, WorkerEvent};
use tidegate_permission::{Action, Authorizer, Module, Principal, Resource, Used, least};
use tidegate_sandbox::{Component, LogLine, Sandbox, Settings, Setup};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::events::Events;
use crate::vault::WorkerVault;
use crate::{agreement, configuration, confinement, conform, revocation, run};

/// For lines of the log that are still on their way when the work is done.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What every task needs: the order, the component ready to run, somebody to ask, somebody to tell.
pub struct Work<'a> {
    pub order: &'a WorkOrder,
    pub extractor: Extractor,
    pub authorizer: Arc<Authorizer>,
    pub events: Events,
}

/// An order whose component is loaded, in a process that reaches no more than it needs. Nothing of the component has
/// run yet.
pub struct Prepared {
    order: WorkOrder,
    authorizer: Arc<Authorizer>,
    component: Component,
    hidden: Vec<PathBuf>,
}

impl Prepared {
    /// While this process has one thread: that is what can be confined.
    pub fn of(order: WorkOrder, events: &Events) -> Result<Self> {
        let authorizer = Arc::new(Authorizer::for_worker(&order)?);
        let digest = Resource::Plugin(order.component.digest.clone());
        authorizer.decide(&Principal::service(Module::Extraction), Action::PluginLoad, &digest)?;

        let began = Instant::now();
        let settings = Settings { instances: run::instances(&order), ..Settings::of_this_user()? };
        let sandbox = Sandbox::new(settings)?;
        let component = match sandbox.find(&order.component)? {
            Some(found) => found,
            None => compiled(&sandbox, &order)?,
        };
        let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let hidden = hidden(&order);
        let lacking = confinement::of(&order, &authorizer)?.enforce()?;
        events.send(WorkerEvent::Ready {
            compiled_from_cache: component.from_cache(),
            milliseconds,
            unconfined: lacking.iter().map(ToString::to_string).collect(),
        });
        Ok(Self { order, authorizer, component, hidden })
    }
}

/// The platform's own files and keys: no grant of the folder around them gives them to a component.
fn hidden(order: &WorkOrder) -> Vec<PathBuf> {
    let key = env::var_os("TIDEGATE_SECRETS_KEY_FILE").map(PathBuf::from);
    let folders = [Some(order.data_dir.clone()), config_dir().ok(), key];
    folders.into_iter().flatten().filter_map(|path| path.canonicalize().ok()).collect()
}

/// By a child process, which is waited for on a runtime that leaves no thread behind.
fn compiled(sandbox: &Sandbox, order: &WorkOrder) -> Result<Component> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::external(Code::WorkerLost, format!("nothing can be compiled: {error}")))?;
    runtime.block_on(sandbox.load(&order.component))
}

/// Carries out one order and returns its last event.
pub async fn obey(prepared: Prepared, events: &Events) -> Result<WorkerEvent> {
    let Prepared { order, authorizer, component, hidden } = prepared;
    let (log, lines) = mpsc::channel(256);
    let telling = tokio::spawn(tell(lines, events.clone()));
    let outcome = with(&order, component, hidden, authorizer, log, events).await;
    // What the component said last, which may be why it failed, comes before the last event. Its instances are gone
    // by now, and none can say more; should one be on its way still, nobody waits for it long.
    let _ = timeout(LAST_WORDS, telling).await;
    outcome
}

async fn with(
    order: &WorkOrder,
    component: Component,
    hidden: Vec<PathBuf>,
    authorizer: Arc<Authorizer>,
    log: mpsc::Sender<LogLine>,
    events: &Events,
) -> Result<WorkerEvent> {
    let desk = Arc::new(WorkerVault::on_stdin());
    let setup = Setup {
        authorizer: Arc::clone(&authorizer),
        principal: Principal::plugin(&order.component, &order.pipeline),
        limits: order.limits.clone(),
        base: order.base.clone(),
        hidden,
        config: order.config.clone(),
        credentials: order.permissions.iter().filter(|one| one.binding.is_some()).cloned().collect(),
        log,
        vault: desk.clone(),
    };
    let manifest = component.manifest().clone();
    let extractor = Extractor::new(component, setup);
    let spec = extractor.spec().await?;
    agreement::check(&manifest, &spec.config_schema, &spec.secrets)
        .map_err(|fault| fault.at(order.component.path.display().to_string(), None, None))?;
    configuration::check(order, &spec.config_schema)?;
    let work = Work { order, extractor, authorizer, events: events.clone() };
    // Dropped with all its instances, should something be taken back.
    let last = revocation::until_revoked(order, &work.authorizer, &desk, carry_out(&work, spec)).await?;
    if order.rehearsal {
        let Used { questions, complete, denials } = work.authorizer.used();
        let permissions = least(&order.permissions, &questions);
        work.events.send(WorkerEvent::Used { permissions, complete, denials });
    }
    work.authorizer.flush()?;
    Ok(last)
}

async fn carry_out(work: &Work<'_>, spec: ConnectorSpec) -> Result<WorkerEvent> {
    Ok(match &work.order.task {
        Task::Spec => WorkerEvent::Answer(Answer::Spec {
            config: configuration::keys(&spec.config_schema),
            config_schema: spec.config_schema,
            secrets: spec.secrets.into_iter().map(|slot| slot.name).collect(),
        }),
        Task::Check => {
            work.extractor.check().await?;
            WorkerEvent::Answer(Answer::Checked)
        }
        Task::Discover => {
            let streams = work.extractor.discover().await?;
            WorkerEvent::Answer(Answer::Streams(streams.iter().map(StreamDescription::info).collect()))
        }
        Task::Conform => WorkerEvent::Answer(Answer::Conformance(conform::suite(work).await)),
        Task::Run(task) => run::run(work, task).await?,
    })
}

async fn tell(mut lines: mpsc::Receiver<LogLine>, events: Events) {
    while let Some(line) = lines.recv().await {
        let stream = line.stream.and_then(|name| StreamName::new(name).ok());
        events.send(WorkerEvent::Log { level: line.level.to_string(), stream, message: line.message });
    }
}
