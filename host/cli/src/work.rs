//! One order, given to a worker and watched to its end.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use serde_json::json;
use tidegate_infrastructure::{DataDir, Launcher, LocalLauncher, clock};
use tidegate_model::{
    Answer, Code, ComponentRef, Fault, Limits, PipelineName, Result, RunId, RunSummary, Task, WorkOrder,
    WorkerEvent,
};
use tidegate_permission::Ceiling;
use tokio::signal::unix::{Signal, SignalKind, signal};
use uuid::Uuid;

use crate::desk::OrderDesk;
use crate::project::{Project, absolute};
use crate::trace;

/// How a worker ended that did not fail.
pub enum End {
    Ran(RunSummary),
    Answered(Answer),
}

/// What a worker is to do for a pipeline, without any permission yet.
pub fn order(project: &Project, component: ComponentRef, task: Task) -> Result<WorkOrder> {
    let pipeline = &project.pipeline;
    Ok(WorkOrder {
        config: pipeline.extract.config.clone().into(),
        secrets: pipeline.extract.secrets.clone(),
        document: Some(project.document.clone()),
        limits: pipeline.extract.limits.clone(),
        base: project.folder.clone(),
        ..order_for(component, &pipeline.pipeline, &project.data_dir, task)?
    })
}

/// The same for a component without a pipeline file: nothing is configured. `name` stands for the pipeline.
pub fn order_without_pipeline(
    component: ComponentRef,
    name: &str,
    data_dir: &DataDir,
    task: Task,
) -> Result<WorkOrder> {
    let name = PipelineName::new(name).map_err(bug)?;
    order_for(component, &name, data_dir, task)
}

fn order_for(
    component: ComponentRef,
    pipeline: &PipelineName,
    data_dir: &DataDir,
    task: Task,
) -> Result<WorkOrder> {
    Ok(WorkOrder {
        run: RunId::new(Uuid::new_v4().to_string()).map_err(bug)?,
        began: clock::steady(),
        pipeline: pipeline.clone(),
        component,
        config: json!({}),
        secrets: BTreeMap::new(),
        document: None,
        permissions: Vec::new(),
        grants: None,
        ceiling: Ceiling::of_this_machine()?.text().clone(),
        on_behalf_of: None,
        rehearsal: false,
        trace: Some(trace::id().to_owned()),
        columns: BTreeMap::new(),
        source: Vec::new(),
        limits: Limits::default(),
        base: absolute(Path::new("."))?,
        data_dir: data_dir.root().to_owned(),
        task,
    })
}

fn bug(message: String) -> Fault {
    Fault::internal(Code::Bug, message)
}

/// Does it in a child process, here, which asks here for secrets. It is not started when one of them is not
/// there, and killed when it goes on with what was taken back. Ctrl-C kills the worker: what it committed stays, what it did not is garbage that nobody sees, and the
/// next run goes on from there.
pub fn carry_out(order: &WorkOrder, mut on: impl FnMut(&WorkerEvent)) -> Result<End> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::external(Code::WorkerLost, format!("no worker can be started: {error}")))?;
    runtime.block_on(async {
        let mut interrupts = Interrupts::listen()?;
        let desk = OrderDesk::of(order)?;
        desk.look(order).await?;
        let mut worker = LocalLauncher::of_this_program()?.launch(order, Arc::new(desk.clone())).await?;
        let mut overdue = pin!(desk.overdue());
        let mut ended = None;
        loop {
            let event = tokio::select! {
                // First, so that an interrupt that came together with the worker's end is told as one.
                biased;
                () = interrupts.next() => {
                    worker.cancel();
                    continue;
                }
                fault = &mut overdue, if ended.is_none() => {
                    worker.cancel();
                    ended = Some(fault);
                    continue;
                }
                event = worker.next() => event.unwrap_or_else(silence),
            };
            on(&event);
            match event {
                WorkerEvent::Finished { summary } => return Ok(End::Ran(summary)),
                WorkerEvent::Answer(answer) => return Ok(End::Answered(answer)),
                WorkerEvent::Failed { .. } if interrupts.came => return Err(cancelled()),
                WorkerEvent::Failed { fault, .. } => return Err(ended.unwrap_or(fault)),
                _ => {}
            }
        }
    })
}

/// Ctrl-C, and what a service manager sends instead.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    came: bool,
}

impl Interrupts {
    fn listen() -> Result<Self> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Fault::external(Code::WorkerLost, format!("signals cannot be heard: {error}"))
            })
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            came: false,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        self.came = true;
    }
}

fn cancelled() -> Fault {
    Fault::user(Code::Cancelled, "the run was cancelled")
        .help("what was committed stays; the same command goes on from there")
}

fn silence() -> WorkerEvent {
    let fault = Fault::internal(Code::WorkerLost, "the worker ended without a word");
    WorkerEvent::Failed { fault, summary: None }
}

/// The end was not one that the task can have.
pub fn out_of_place() -> Fault {
    Fault::internal(Code::Bug, "the worker answered something that was not asked")
}
