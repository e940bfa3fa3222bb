//! The protocol against everything that can happen to it.
//!
//! A world has one store in memory, two or three writers of the same stream, another client of the table, and
//! a source that changes. Every operation that matters waits until the schedule says who goes on and what
//! becomes of it: done; done, and the answer is lost; refused; done much later, when nobody waits for it any
//! more; or the process dies before or after it. Writers stand still for as long as it pleases the schedule.
//! After every change of the store somebody looks whether the invariants hold, and when nothing goes wrong
//! any more, whether every row is there once and nobody is stuck.
//!
//! Everything comes from a seed. What fails says how to see it again. `TIDEGATE_SIMULATION_SEEDS` is how many
//! schedules to try, `TIDEGATE_SIMULATION_FIRST` the first of their seeds.

mod actor;
mod client;
mod dice;
mod exhaustive;
mod invariants;
mod log;
mod mutations;
mod operation;
mod scenarios;
mod schedule;
mod source;
mod store;
mod world;
mod writer;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tokio::runtime::{Builder, EnterGuard, Runtime};

use self::schedule::{Kind, Report};

/// Schedules of a short run.
const SEEDS: u64 = 2000;

/// How many run at the same time: some wait for a clock, so that there may be more than cores.
const THREADS: usize = 3;

/// The table's library needs threads of its own. They are never stopped: one that reads for a process that is
/// dead would not take it well.
fn within_runtime() -> EnterGuard<'static> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime =
        RUNTIME.get_or_init(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
    runtime.enter()
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn thousands_of_schedules() {
    let seeds = from_environment("TIDEGATE_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let first = from_environment("TIDEGATE_SIMULATION_FIRST").unwrap_or(0);
    let next = AtomicU64::new(first);
    let work = || {
        let _guard = within_runtime();
        let mut reports = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                return reports;
            }
            let report = schedule::run(seed, None);
            let failed = report.violation.is_some();
            reports.push(report);
            if failed {
                // Nobody needs more of them.
                next.store(first + seeds, Ordering::Relaxed);
            }
        }
    };
    let reports: Vec<Report> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let mut tally: BTreeMap<&str, u64> = BTreeMap::new();
    let mut kinds: BTreeMap<Kind, u64> = BTreeMap::new();
    for report in &reports {
        *kinds.entry(report.kind).or_default() += 1;
        for (what, times) in &report.tally {
            *tally.entry(what).or_default() += times;
        }
    }
    println!("{} schedules: {kinds:?}\n{tally:?}", reports.len());
    let failed: Vec<String> =
        reports.iter().filter(|report| report.violation.is_some()).map(ToString::to_string).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// Shows what happens with the seed in `TIDEGATE_SIMULATION_SEED`.
#[test]
fn replay() {
    let Some(seed) = from_environment("TIDEGATE_SIMULATION_SEED") else { return };
    let _guard = within_runtime();
    let report = schedule::run(seed, None);
    println!("{}\n{report}", report.trace.join("\n"));
    assert_eq!(report.violation, None);
}

#[test]
fn a_seed_always_gives_the_same_schedule() {
    let _guard = within_runtime();
    for seed in 0..20 {
        let (once, again) = (schedule::run(seed, None), schedule::run(seed, None));
        assert_eq!(once.trace, again.trace, "seed {seed}");
    }
}
