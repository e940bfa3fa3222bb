//! One split being read.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use tidegate_model::{Code, Counters, Fault, Result};
use tidegate_sandbox::{Component, Output, OutputPort, Request, Surroundings, Usage};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// Invariant 12: batches that may wait between the instance and whoever takes them: one being made, one being
/// taken. That is the backpressure.
const WAITING: usize = 2;

/// What a split gives, as it comes; a fault is the last item. The instance runs on a task of its own and ends
/// when this is dropped.
pub struct Reading {
    state: State,
    outputs: mpsc::Receiver<Output>,
    usage: oneshot::Receiver<Usage>,
    known: Option<Usage>,
    commits: watch::Sender<Option<Bytes>>,
}

enum State {
    /// Not started before somebody wants something.
    Ready(Option<Box<dyn FnOnce() -> JoinHandle<Result<()>> + Send>>),
    Running(JoinHandle<Result<()>>),
    Ended,
}

impl Reading {
    pub(crate) fn new(
        component: Component,
        around: Surroundings,
        request: Request,
        split: Vec<u8>,
        from: Option<Vec<u8>>,
    ) -> Self {
        let (sender, outputs) = mpsc::channel(WAITING);
        let (tell, usage) = oneshot::channel();
        let (commits, committed) = watch::channel(None);
        let port = OutputPort { stream: request.stream.clone(), sender, committed };
        let work = async move {
            let mut instance = component.instantiate(&around, Some(port)).await?;
            // Nobody may be left to hear it.
            let _ = tell.send(instance.usage());
            instance.read(&request, &split, from.as_deref()).await
        };
        let start = Box::new(move || tokio::spawn(work));
        Self { state: State::Ready(Some(start)), outputs, usage, known: None, commits }
    }

    /// This checkpoint of the split is in the sink for good: the component may tell its source so.
    pub fn committed(&self, checkpoint: impl Into<Bytes>) {
        self.commits.send_replace(Some(checkpoint.into()));
    }

    /// What the instance has used so far, if there is one yet.
    pub fn counters(&mut self) -> Option<Counters> {
        if self.known.is_none() {
            self.known = self.usage.try_recv().ok();
        }
        self.known.as_ref().map(Usage::counters)
    }
}

impl Stream for Reading {
    type Item = Result<Output>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let State::Ready(start) = &mut this.state
            && let Some(start) = start.take()
        {
            this.state = State::Running(start());
        }
        if let Some(output) = ready!(this.outputs.poll_recv(context)) {
            return Poll::Ready(Some(Ok(output)));
        }
        let State::Running(task) = &mut this.state else {
            return Poll::Ready(None);
        };
        let ended = ready!(Pin::new(task).poll(context));
        this.state = State::Ended;
        Poll::Ready(match ended {
            Ok(Ok(())) => None,
            Ok(Err(fault)) => Some(Err(fault)),
            Err(broken) => {
                Some(Err(Fault::internal(Code::Bug, format!("the reading of a split broke down: {broken}"))))
            }
        })
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let State::Running(task) = &self.state {
            task.abort();
        }
    }
}
