//! What a writer asks of the store, and what may become of it.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Thread};

use bytes::Bytes;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verb {
    Put,
    Get,
    Head,
    List,
    Delete,
}

/// What an object is for, told from its path below the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    Data,
    /// An entry of the table's log.
    Log,
    /// What makes reading the log cheaper.
    LogCheckpoint,
    Plan,
    Receipt,
    Intent,
    Rejects,
    /// Other files of a stream's journal.
    Journal,
    /// The journal's folder with those of all streams.
    Owners,
}

impl Thing {
    pub(super) fn at(below: &str) -> Self {
        let mut parts = below.split('/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("_delta_log"), None, _) => Self::Log,
            (Some("_delta_log"), Some(name), _) if name.ends_with(".json") => Self::Log,
            (Some("_delta_log"), _, _) => Self::LogCheckpoint,
            (Some("_tidegate"), _, Some("plans")) => Self::Plan,
            (Some("_tidegate"), _, Some("receipts")) => Self::Receipt,
            (Some("_tidegate"), _, Some("intents")) => Self::Intent,
            (Some("_tidegate"), _, Some("rejects")) => Self::Rejects,
            (Some("_tidegate"), Some(_), _) => Self::Journal,
            (Some("_tidegate"), None, _) => Self::Owners,
            _ => Self::Data,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operation {
    pub verb: Verb,
    pub thing: Thing,
    /// Below the table.
    pub path: String,
    /// What is put.
    pub content: Option<Bytes>,
}

impl Operation {
    pub(super) fn is(&self, verb: Verb, thing: Thing) -> bool {
        self.verb == verb && self.thing == thing
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.verb, self.path)
    }
}

/// What becomes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Outcome {
    Done,
    /// It is done, and the answer does not arrive.
    AnswerLost,
    /// It is not done, and the store says so.
    Refused,
    /// The answer does not arrive, and it is done later, when nobody waits for it any more.
    Late,
    /// The process dies before it.
    CrashBefore,
    /// The process dies after it.
    CrashAfter,
}

/// What is left to do of an operation whose answer nobody waits for.
pub(super) type Later = Box<dyn FnOnce() + Send>;
type Act = Box<dyn FnOnce(Outcome) -> Option<Later> + Send>;

/// A writer's process: another one each time that it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pub writer: usize,
    pub life: u64,
    pub purpose: Purpose,
}

/// What a process is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Purpose {
    Run,
    /// A run that reads everything anew.
    FullRefresh,
    /// A person goes on from the state that the table has.
    TakeState,
    /// A person starts over.
    Reset,
    /// Another client of the table.
    Stranger,
}

pub(super) struct Waiting {
    pub process: Process,
    pub operation: Operation,
    act: Act,
}

impl Waiting {
    pub(super) fn act(self, outcome: Outcome) -> Option<Later> {
        (self.act)(outcome)
    }
}

/// Where operations wait until the schedule says what becomes of them.
pub(super) struct Desk {
    waiting: Mutex<Vec<Waiting>>,
    /// Each writer's living process.
    lives: Mutex<Vec<u64>>,
    scheduler: Thread,
}

impl Desk {
    /// On the scheduler's own thread.
    pub(super) fn new(writers: usize) -> Self {
        Self { waiting: Mutex::default(), lives: Mutex::new(vec![0; writers]), scheduler: thread::current() }
    }

    /// `false`: the process is dead.
    pub(super) fn register(&self, process: Process, operation: Operation, act: Act) -> bool {
        let alive = lock(&self.lives)[process.writer] == process.life;
        if alive {
            lock(&self.waiting).push(Waiting { process, operation, act });
        }
        self.scheduler.unpark();
        alive
    }

    pub(super) fn begin(&self, writer: usize) -> u64 {
        let life = &mut lock(&self.lives)[writer];
        *life += 1;
        *life
    }

    /// The process is dead: nobody hears what becomes of its operations.
    pub(super) fn end(&self, writer: usize) {
        lock(&self.lives)[writer] += 1;
        let dropped: Vec<Waiting> =
            lock(&self.waiting).extract_if(.., |waiting| waiting.process.writer == writer).collect();
        drop(dropped);
    }

    /// What a writer waits for, in an order that does not depend on threads.
    pub(super) fn of(&self, writer: usize) -> Vec<Operation> {
        let waiting = lock(&self.waiting);
        let mut found: Vec<Operation> = waiting
            .iter()
            .filter(|waiting| waiting.process.writer == writer)
            .map(|waiting| waiting.operation.clone())
            .collect();
        found.sort_by(|a, b| (a.verb, &a.path).cmp(&(b.verb, &b.path)));
        found
    }

    pub(super) fn take(&self, writer: usize, operation: &Operation) -> Option<Waiting> {
        let mut waiting = lock(&self.waiting);
        let index = waiting
            .iter()
            .position(|waiting| waiting.process.writer == writer && waiting.operation == *operation)?;
        Some(waiting.swap_remove(index))
    }

    pub(super) fn is_waiting(&self, writer: usize) -> bool {
        lock(&self.waiting).iter().any(|waiting| waiting.process.writer == writer)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
