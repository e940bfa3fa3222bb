//! kill -9 anywhere loses nothing and doubles nothing.
//!
//! A load of as many rows as nycflights13 has is killed, the worker alone or the command with all it started,
//! and run again until it goes through, which may be killed too. Then engines that we did not write must find
//! every row once. A run that only slept meanwhile must add nothing when it wakes up. What each of them met
//! is told from what lies on the disk or in the bucket, and printed: `tests/bench/run kills`.

mod attempt;
mod lake;
mod phase;
mod tally;
mod watcher;

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use attempt::{Moment, Run, Victim};
use lake::{Lake, Table};
use phase::{Garbage, Kind, Look, Phase};
use tally::Tally;
use watcher::{Facts, Watcher};

use crate::harness::{Project, Server, flights_below};

const ROWS: u64 = 336_776;
/// A hundred of them share a split.
const FILES: u64 = 3_000;

#[test]
fn appending_to_a_folder_survives_kills_and_sleepers() {
    let project = project(Write::Append);
    let lake = Lake::folder(&project);
    Series::new(project, &lake, Write::Append).survives(kills());
}

#[test]
fn appending_to_a_bucket_survives_kills_and_sleepers() {
    let mut project = project(Write::Append);
    let lake = Lake::bucket(&mut project);
    Series::new(project, &lake, Write::Append).survives(kills());
}

#[test]
fn replacing_in_a_folder_survives_kills_and_sleepers_before_a_readers_eyes() {
    let project = project(Write::Replace);
    let lake = Lake::folder(&project);
    Series::new(project, &lake, Write::Replace).survives(kills() / 2);
}

#[test]
fn replacing_in_a_bucket_survives_kills_and_sleepers_before_a_readers_eyes() {
    let mut project = project(Write::Replace);
    let lake = Lake::bucket(&mut project);
    Series::new(project, &lake, Write::Replace).survives(kills() / 2);
}

/// Of each series that appends; half as many of those that replace. The long form is in tests/bench.
fn kills() -> u32 {
    std::env::var("TIDEGATE_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(4)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    Append,
    Replace,
}

/// Many small files, read in the sandbox: a load with thirty splits that is long enough for many commits.
fn project(write: Write) -> Project {
    let (mode, said) = match write {
        Write::Append => ("incremental", "append"),
        Write::Replace => ("full", "replace"),
    };
    let project = Project::with_streams(&format!("flights: {{ mode: {mode} }}"));
    project.edit("format: csv", "format: csv, lane: guest");
    project.edit("ingest:", "  limits: { parallelism: 4 }\ningest:");
    let sink = format!("sink: delta\n  write: {said}\n  commit_every: {{ bytes: 1MiB, seconds: 1 }}");
    project.edit("sink: delta", &sink);
    project
}

/// Loads, one after the other, each killed once or more and then completed.
struct Series<'a> {
    project: Project,
    lake: &'a Lake,
    write: Write,
    reader: Server,
    /// What is in `data` now, and what it changes places with.
    sources: [Facts; 2],
    /// Where the pipeline file loads to: `append` begins with a new table each time.
    location: String,
    /// Loads so far.
    begun: u32,
    /// Of a load that nobody kills.
    length: Duration,
    random: Random,
    tally: Tally,
}

impl<'a> Series<'a> {
    fn new(project: Project, lake: &'a Lake, write: Write) -> Self {
        let source = |folder, seed| {
            let sum = flights_below(&project, folder, seed, ROWS, FILES);
            Facts { rows: ROWS, keys: ROWS, sum }
        };
        let sources = match write {
            Write::Append => [source("data", 1); 2],
            Write::Replace => [source("data", 1), source("other", 2)],
        };
        if write == Write::Append {
            std::fs::create_dir(project.path("data/flights/more")).unwrap();
            for file in FILES / 2..FILES {
                let name = format!("part-{file:03}.csv");
                let [from, to] = ["data/flights", "data/flights/more"].map(|at| project.path(at).join(&name));
                std::fs::rename(from, to).unwrap();
            }
        }
        project.edit("./lake", &lake.table("0").location());
        // The first compiles the connector, which is once and long.
        project.run(&["check", "p.yaml", "--yes-grant"]).expect_code(0);
        let begun = Instant::now();
        project.load();
        Self {
            length: begun.elapsed(),
            reader: lake.reader(),
            project,
            lake,
            write,
            sources,
            location: "0".to_owned(),
            begun: 0,
            random: Random(0x2545_F491_4F6C_DD1D),
            tally: Tally::default(),
        }
    }

    fn survives(mut self, kills: u32) {
        self.verify();
        let watcher = (self.write == Write::Replace).then(|| {
            let address = self.table().address();
            Watcher::start(self.lake, address)
        });
        self.kills(kills);
        let sleepers = kills.div_ceil(4);
        self.sleepers(sleepers);
        let seen = watcher.map(Watcher::stop).unwrap_or_default();
        for (engine, seen) in &seen {
            assert!(
                seen.as_ref().is_ok_and(|seen| self.sources.contains(seen)),
                "{engine} saw {seen:?}, which is none of {:?}",
                self.sources
            );
        }
        let place = match self.lake {
            Lake::Folder(_) => "a folder",
            Lake::Bucket(_) => "a bucket",
        };
        println!(
            "\n{:?} to {place}: {kills} kills and {sleepers} sleepers; a load of {ROWS} rows takes {:?}",
            self.write, self.length
        );
        print!("{}", self.tally);
        if self.write == Write::Replace {
            println!("    read {} times meanwhile, each time whole", seen.len());
        }
    }

    fn kills(&mut self, kills: u32) {
        let (mut done, mut attempts) = (0, 0);
        while done < kills {
            self.begin();
            // Up to three kills of one and the same load, and then it may complete.
            for _ in 0..=self.random.below(3) {
                attempts += 1;
                assert!(attempts < 50 + 20 * kills, "runs are over before they can be killed");
                let victim = if done % 2 == 0 { Victim::Worker } else { Victim::Tree };
                if !self.kill(victim) {
                    break;
                }
                done += 1;
                if done == kills {
                    break;
                }
                // A source that changed makes the plan that was interrupted worthless.
                if self.write == Write::Replace && self.random.below(4) == 0 {
                    self.exchange();
                }
            }
            self.project.load();
            self.verify();
        }
    }

    /// Puts a load to sleep, lets another run do all of it, and wakes it up. That it ends is all that is
    /// asked of it: whether it had something left to say depends on when it fell asleep.
    fn sleepers(&mut self, sleepers: u32) {
        let mut done = 0;
        while done < sleepers {
            self.begin();
            if let Some((mut run, before)) = self.run(Victim::Sleeper) {
                run.sleep();
                self.met(Victim::Sleeper, &before);
                done += 1;
                // What the sleeper has read is not what is to be in the table now.
                if self.write == Write::Replace {
                    self.exchange();
                }
                let beside = self.project.run(&["run", "p.yaml", "--yes-grant", "--json"]);
                let refused = beside.code == Some(3) && beside.stdout.contains("TG0303");
                if refused {
                    // It sleeps in the very middle of a record: nobody may do anything that nobody can record.
                    self.tally.with_the_audit += 1;
                } else {
                    beside.expect_code(0);
                    self.verify_rows();
                }
                run.wake();
                // Where the other run was refused, nobody has replaced what the sleeper read.
                if !(refused && self.write == Write::Replace) {
                    self.verify_rows();
                }
            }
            self.project.load();
            self.verify_rows();
            self.tally.sleepers_left(self.garbage());
        }
    }

    fn table(&self) -> Table<'a> {
        self.lake.table(&self.location)
    }

    /// The next load has everything to do: into a new table, or from another source.
    fn begin(&mut self) {
        match self.write {
            Write::Append => {
                let old = self.table();
                old.remove();
                self.begun += 1;
                self.location = self.begun.to_string();
                self.project.edit(&old.location(), &self.table().location());
                // Every other load finds a part of the rows committed by a run before it.
                if self.begun.is_multiple_of(2) {
                    self.rename("data/flights/more", "more");
                    self.project.load();
                    self.rename("more", "data/flights/more");
                }
            }
            Write::Replace => self.exchange(),
        }
    }

    /// The source's files get other content.
    fn exchange(&mut self) {
        for (from, to) in [("data", "away"), ("other", "data"), ("away", "other")] {
            self.rename(from, to);
        }
        self.sources.swap(0, 1);
    }

    fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.project.path(from), self.project.path(to)).unwrap();
    }

    /// A run that has come to a moment, and what it found. None: it was over before.
    fn run(&mut self, victim: Victim) -> Option<(Run, Look)> {
        let table = self.table();
        let before = Look::at(&table, &Look::default());
        let moment = self.moment(&before);
        match Run::until(moment, victim, &self.project, &table, &before, ROWS) {
            Ok(run) => Some((run, before)),
            Err(status) => {
                self.succeeded(status);
                None
            }
        }
    }

    /// False: the run was over before its moment came.
    fn kill(&mut self, victim: Victim) -> bool {
        let Some((run, before)) = self.run(victim) else { return false };
        match run.kill(victim) {
            Ok(()) => {
                self.met(victim, &before);
                true
            }
            Err(status) => {
                self.succeeded(status);
                false
            }
        }
    }

    /// Of the run that was started last, which nobody killed.
    fn succeeded(&self, status: ExitStatus) {
        let said = std::fs::read_to_string(self.project.path("start.log")).unwrap();
        assert!(status.success(), "nobody killed this run:\n{said}");
    }

    /// Half of them anywhere in a load, half at what lasts too short to be met that way.
    fn moment(&mut self, before: &Look) -> Moment {
        if self.random.below(2) == 0 {
            return Moment::After(self.length * (1 + self.random.below(110)) / 100);
        }
        let is_there = |kind| before.of_kind(kind).next().is_some();
        let some = 1 + self.random.below(4) as usize;
        let mut moments = vec![
            Moment::Appeared(Kind::Data, some),
            Moment::Appeared(Kind::Receipt, some),
            Moment::Complete,
            Moment::Cleaned,
        ];
        match self.write {
            Write::Append => {
                moments.push(Moment::Appeared(Kind::Version, some));
                moments.push(Moment::Appeared(Kind::Intent, some));
            }
            Write::Replace => moments.push(Moment::Appeared(Kind::Intent, 1)),
        }
        if !is_there(Kind::Version) {
            moments.push(Moment::Appeared(Kind::Version, 1));
        }
        if !is_there(Kind::Plan) {
            moments.push(Moment::Appeared(Kind::Plan, 1));
        }
        moments[self.random.below(moments.len() as u32) as usize]
    }

    /// After a run that went through: what other engines read, and what it left behind.
    fn verify(&mut self) {
        self.verify_rows();
        let garbage = self.garbage();
        assert_eq!((garbage.data, garbage.plans, garbage.receipts), (0, 0, 0), "after {:?}", self.tally);
        self.tally.killed_left(garbage);
    }

    fn verify_rows(&mut self) {
        let seen = self.reader.ask(&format!("all {}", self.table().address()));
        for (engine, seen) in seen.as_object().unwrap() {
            assert_eq!(Facts::of(seen), Ok(self.sources[0]), "{engine}, after {:?}", self.tally);
        }
        self.tally.verified += 1;
    }

    fn garbage(&self) -> Garbage {
        Look::at(&self.table(), &Look::default()).garbage()
    }

    fn met(&mut self, victim: Victim, before: &Look) {
        let table = self.table();
        self.tally.met(victim, Phase::of(&table, before, &Look::at(&table, before), ROWS));
    }
}

/// The same moments each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32 % limit
    }
}
