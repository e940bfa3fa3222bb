use std::sync::Arc;

use async_trait::async_trait;
use tidegate_model::{Code, Fault, Result, WorkOrder, WorkerEvent};
use tokio::sync::{mpsc, watch};

use crate::desk::Desk;

/// Starts workers somewhere. Whoever decides what runs needs to know no more of it than this.
#[async_trait]
pub trait Launcher: Send + Sync {
    /// Starts a worker on an order; `desk` answers what it asks. An error means that there is none; all that
    /// goes wrong later is told by its events.
    async fn launch(&self, order: &WorkOrder, desk: Arc<dyn Desk>) -> Result<Worker>;
}

/// A worker at work. Dropping it kills the worker.
#[derive(Debug)]
pub struct Worker {
    events: mpsc::Receiver<WorkerEvent>,
    cancelled: watch::Sender<bool>,
    ended: bool,
}

impl Worker {
    /// For launchers: a worker that is told of its cancellation through the receiver given back (a closed one
    /// means the same), and whose events come through `events`, one final event last.
    pub fn new(events: mpsc::Receiver<WorkerEvent>) -> (Self, watch::Receiver<bool>) {
        let (cancelled, told) = watch::channel(false);
        (Self { events, cancelled, ended: false }, told)
    }

    /// The next event, in order; `None` after the final one, which comes when the worker is gone and no
    /// sooner. There always is one: [`WorkerEvent::Finished`], [`WorkerEvent::Answer`] or
    /// [`WorkerEvent::Failed`].
    ///
    /// Can be dropped and called again: no event is lost.
    pub async fn next(&mut self) -> Option<WorkerEvent> {
        if self.ended {
            return None;
        }
        let event = self.events.recv().await.unwrap_or_else(|| WorkerEvent::Failed {
            fault: Fault::internal(Code::WorkerLost, "nobody watches the worker any more"),
            summary: None,
        });
        self.ended = is_final(&event);
        Some(event)
    }

    /// Kills the worker; its final event then says that it was cancelled. What it committed stays committed,
    /// and the next run goes on from there.
    pub fn cancel(&self) {
        self.cancelled.send_replace(true);
    }

    /// Waits for the end, and gives the final event; `None` when it was given already.
    pub async fn wait(&mut self) -> Option<WorkerEvent> {
        while let Some(event) = self.next().await {
            if self.ended {
                return Some(event);
            }
        }
        None
    }
}

/// Whether a worker says no more after this.
pub(crate) fn is_final(event: &WorkerEvent) -> bool {
    matches!(event, WorkerEvent::Finished { .. } | WorkerEvent::Failed { .. } | WorkerEvent::Answer(_))
}
