//! One run that is killed or put to sleep, and when.

use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::lake::Table;
use super::phase::{Kind, Look};
use crate::harness::{Project, worker_of};

/// Between two looks at what a run has written.
const POLL: Duration = Duration::from_micros(100);
/// A command that does not end although its worker is dead, or although it was woken up, hangs.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The worker alone: the command must say that it was lost.
    Worker,
    /// The command and everything it started.
    Tree,
    /// Both, but they are not killed: they are put to sleep, and wake up when another run went through.
    Sleeper,
}

/// When the signal is sent. A run spends nearly all of its time reading, so moments spread over its length
/// seldom meet the milliseconds in which something is half done: those are waited for where they show.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    After(Duration),
    /// So many files of a kind have appeared.
    Appeared(Kind, usize),
    /// The last rows have been committed.
    Complete,
    /// There was a plan, and now there is none.
    Cleaned,
}

/// A run that has come to a moment.
pub struct Run {
    command: Child,
    worker: Option<Pid>,
}

impl Run {
    /// Starts a run that has `rows` to load, and follows it to the moment. An error: it was over before, and
    /// that is how it ended.
    pub fn until(
        moment: Moment,
        victim: Victim,
        project: &Project,
        table: &Table,
        before: &Look,
        rows: u64,
    ) -> Result<Self, ExitStatus> {
        let begun = Instant::now();
        let command = project.start(&["run", "p.yaml", "--yes-grant"]);
        let mut run = Self { command, worker: None };
        let mut watch = Watch { table, rows, before, latest: before.clone(), planned: false };
        loop {
            if let Some(status) = run.command.try_wait().unwrap() {
                return Err(status);
            }
            run.worker = run.worker.or_else(|| worker_of(run.command.id()));
            let now = match moment {
                Moment::After(length) => begun.elapsed() >= length,
                moment => watch.sees(moment),
            };
            if now && (victim != Victim::Worker || run.worker.is_some()) {
                return Ok(run);
            }
            std::thread::sleep(POLL);
        }
    }

    /// An error: it ended by itself at that very moment.
    pub fn kill(mut self, victim: Victim) -> Result<(), ExitStatus> {
        let sent = match (victim, self.worker) {
            (Victim::Worker, Some(worker)) => is_alive(worker) && kill_process(worker, Signal::KILL).is_ok(),
            _ => self.signal(Signal::KILL),
        };
        let status = ended(&mut self.command);
        while self.worker.is_some_and(is_alive) {
            std::thread::sleep(POLL);
        }
        // A command whose worker was killed may still say that all went well: the worker had said so.
        if sent && (victim == Victim::Worker || !status.success()) { Ok(()) } else { Err(status) }
    }

    /// It does nothing more until it wakes up.
    pub fn sleep(&mut self) {
        self.signal(Signal::STOP);
        // It may have started its worker just before.
        self.worker = self.worker.or_else(|| worker_of(self.command.id()));
        self.signal(Signal::STOP);
    }

    /// It goes on to its end.
    pub fn wake(mut self) -> ExitStatus {
        self.signal(Signal::CONT);
        ended(&mut self.command)
    }

    /// To the command and to its worker, which is in a group of its own.
    fn signal(&self, signal: Signal) -> bool {
        let command = Pid::from_raw(self.command.id().try_into().unwrap()).unwrap();
        let sent = kill_process_group(command, signal).is_ok();
        if let Some(worker) = self.worker {
            let _ = kill_process(worker, signal);
        }
        sent
    }
}

struct Watch<'a> {
    table: &'a Table<'a>,
    rows: u64,
    before: &'a Look,
    latest: Look,
    planned: bool,
}

impl Watch<'_> {
    fn sees(&mut self, moment: Moment) -> bool {
        match moment {
            Moment::After(_) => false,
            Moment::Appeared(kind, count) => {
                self.now(kind).filter(|name| !self.before.names.contains(name)).count() >= count
            }
            Moment::Complete => {
                if self.now(Kind::Version).count() > self.latest.of_kind(Kind::Version).count() {
                    self.latest = Look::at(self.table, &self.latest);
                }
                self.latest.is_complete(self.before, self.rows)
            }
            Moment::Cleaned => {
                let planned = self.now(Kind::Plan).next().is_some();
                self.planned |= planned;
                self.planned && !planned
            }
        }
    }

    /// Looks only where such files are: what is waited for may last no longer than a look at everything.
    fn now(&self, kind: Kind) -> impl Iterator<Item = String> {
        self.table.names(kind.folder()).into_iter().filter(move |name| Kind::of(name) == kind)
    }
}

fn ended(command: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = command.try_wait().unwrap() {
            return status;
        }
        assert!(begun.elapsed() < PATIENCE, "the command hangs");
        std::thread::sleep(POLL);
    }
}

/// Neither gone nor a zombie.
fn is_alive(process: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    // The state follows the name, which is in parentheses and may have any characters.
    stat.is_ok_and(|stat| {
        stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with(['Z', 'X']))
    })
}
