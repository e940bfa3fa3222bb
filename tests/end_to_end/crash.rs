//! kill -9 anywhere loses nothing and doubles nothing.

use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::harness::{Project, flights, rows_and_keys};

const ROWS: u64 = 336_776;

#[derive(Clone, Copy, Debug)]
enum Victim {
    /// The worker alone: the command must say that it was lost.
    Worker,
    /// The command and everything it started.
    Tree,
}

fn project() -> Project {
    let project = Project::new();
    project.pipeline(
        "\
pipeline: p
extract:
  connector: files@0.1
  config: { location: ./data, format: csv }
  streams:
    flights: { mode: incremental }
ingest:
  sink: delta
  location: ./lake
  commit_every: { bytes: 4MiB, seconds: 1 }
",
    );
    flights(&project, ROWS, 8);
    project
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().unwrap()).unwrap()
}

/// The process that the command started, whichever of its threads did.
fn worker_of(command: &Child) -> Option<Pid> {
    let threads = std::fs::read_dir(format!("/proc/{}/task", command.id())).ok()?;
    threads.flatten().find_map(|thread| {
        let children = std::fs::read_to_string(thread.path().join("children")).ok()?;
        Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
    })
}

/// Starts a load and kills it after a while. False when it was over before that, or had not begun.
fn killed(project: &Project, victim: Victim, after: Duration) -> bool {
    let mut command = project.start(&["run", "p.yaml", "--yes-grant"]);
    let deadline = Instant::now() + after;
    while Instant::now() < deadline {
        if command.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let killed = match victim {
        Victim::Tree => kill_process_group(pid(&command), Signal::KILL).is_ok(),
        Victim::Worker => {
            worker_of(&command).is_some_and(|worker| kill_process(worker, Signal::KILL).is_ok())
        }
    };
    let ended = command.wait().unwrap();
    killed && !ended.success()
}

/// Kills a load at `kills` moments spread over its whole length, running it again after each, until one run
/// completes; then every row is there once. A load that completes too early starts over in a new folder.
fn survives(victim: Victim, kills: u32) {
    let calm = project();
    calm.load();
    let begun = Instant::now();
    calm.run(&["run", "p.yaml", "--yes-grant", "--full-refresh"]).expect_code(0);
    let length = begun.elapsed();

    let (mut done, mut loads, mut project) = (0, 0, project());
    while done < kills {
        // Moments spread evenly, in an order that visits early and late ones in turn.
        let moment = (done * 7919) % kills;
        if killed(&project, victim, length.mul_f64(f64::from(moment + 1) / f64::from(kills + 1))) {
            done += 1;
            // Up to three kills of one and the same load, and then it may complete.
            if done % 3 != 0 && done < kills {
                continue;
            }
        }
        project.load();
        assert_eq!(
            rows_and_keys(&project.read("flights", "id")),
            (ROWS, ROWS),
            "after {done} kills of {victim:?}"
        );
        loads += 1;
        if done < kills {
            project = self::project();
        }
    }
    println!(
        "{victim:?}: {done} kills over a load of {length:?}, {loads} loads completed, each with {ROWS} rows once"
    );
}

/// The long form is in tests/bench; this many show that the machinery works at all.
fn kills() -> u32 {
    std::env::var("TIDEGATE_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(8)
}

#[test]
fn a_killed_worker_loses_nothing_and_doubles_nothing() {
    survives(Victim::Worker, kills());
}

#[test]
fn a_killed_tree_loses_nothing_and_doubles_nothing() {
    survives(Victim::Tree, kills());
}
