//! A writer: one process after the other, each a future that is polled when something woke it.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use tidegate_model::{Code, Fault, Result};

use super::operation::{Process, Purpose};

type Future = Pin<Box<dyn std::future::Future<Output = Result<bool>>>>;

/// How a process ended; `true`: it committed something.
pub(super) type Ending = Result<bool>;

pub(super) struct Actor {
    /// Which of the world's pipelines it runs.
    pub pipeline: usize,
    task: Option<Task>,
    pub process: Process,
    /// What its next process is for.
    pub next: Purpose,
    /// Processes that it may still start while things go wrong.
    pub runs: usize,
    pub asleep_until: u64,
    /// Data files that it looked at and may be about to commit: younger than any client's retention.
    pub looked: BTreeSet<String>,
    /// How its last process ended, if it was not killed.
    pub ended: Option<Ending>,
    /// The table is somebody else's, and it has to stay away.
    pub refused: bool,
}

struct Task {
    future: Future,
    woken: Arc<Woken>,
}

struct Woken {
    woken: AtomicBool,
    scheduler: Thread,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        self.scheduler.unpark();
    }
}

impl Actor {
    pub(super) fn new(writer: usize, pipeline: usize, runs: usize) -> Self {
        Self {
            pipeline,
            task: None,
            process: Process { writer, life: 0, purpose: Purpose::Run },
            next: Purpose::Run,
            runs,
            asleep_until: 0,
            looked: BTreeSet::new(),
            ended: None,
            refused: false,
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.task.is_some()
    }

    pub(super) fn start(&mut self, process: Process, future: Future) {
        let woken = Arc::new(Woken { woken: AtomicBool::new(true), scheduler: thread::current() });
        self.process = process;
        self.ended = None;
        self.task = Some(Task { future, woken });
    }

    pub(super) fn is_woken(&self) -> bool {
        self.task.as_ref().is_some_and(|task| task.woken.woken.load(Ordering::SeqCst))
    }

    /// Lets the process go as far as it comes.
    pub(super) fn poll(&mut self) -> Option<Ending> {
        let task = self.task.as_mut()?;
        task.woken.woken.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&task.woken));
        let mut context = Context::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| task.future.as_mut().poll(&mut context)));
        let ending = match polled {
            Ok(Poll::Pending) => return None,
            Ok(Poll::Ready(ending)) => ending,
            Err(_) => Err(Fault::internal(Code::Bug, "panicked")),
        };
        self.end();
        Some(ending)
    }

    /// The process is no more.
    pub(super) fn end(&mut self) {
        self.task = None;
        self.looked.clear();
    }
}
