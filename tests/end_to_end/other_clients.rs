//! Other clients of a table while it is loaded: engines that read it, a writer that adds to it, OPTIMIZE,
//! VACUUM and RESTORE. None of them knows of Tidegate.

use std::collections::BTreeMap;
use std::ops::Range;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use crate::harness::{CREDENTIALS, Project, Server, python_command, rows_and_keys};

const ENGINES: [&str; 3] = ["delta-rs", "polars", "duckdb"];

/// Each file takes its time, however few rows it has, so that a round has many commits: 40 splits, as small
/// files share one by the hundred.
const FILES: u64 = 4000;
const EACH: u64 = 10;
const ROWS: u64 = EACH * FILES;

/// Many commits while a round is loaded, and none before the end.
const OFTEN: &str = "{ bytes: 1KiB, seconds: 1 }";
const ONCE: &str = "{ bytes: 64GiB, seconds: 3600 }";

/// Where the other writer's keys begin.
const OTHERS: u64 = 1_000_000_000;
/// Rows that it adds at a time.
const HANDFUL: u64 = 7;

/// Reads one split after the other.
fn project() -> Project {
    let project = Project::with_streams("numbers: { mode: incremental }");
    project.edit("  streams:", "  limits: { parallelism: 1 }\n  streams:");
    project
}

/// A stream whose source grows round by round, and its table as other clients find it.
struct Shared {
    project: Project,
    /// As Python opens it.
    table: String,
    bucket: Option<Server>,
}

impl Shared {
    fn on_a_folder(commit_every: &str) -> Self {
        let project = project();
        project.edit("./lake", &format!("./lake\n  commit_every: {commit_every}"));
        let table = project.path("lake/numbers").display().to_string();
        Self { project, table, bucket: None }
    }

    fn in_a_bucket(commit_every: &str) -> Self {
        let mut project = project();
        let bucket = Server::start("s3_server.py", &[]);
        let options = format!("{{ aws_endpoint: \"{}\", aws_allow_http: \"true\" }}", bucket.address);
        let sink = format!("s3://lake/tables\n  options: {options}\n  commit_every: {commit_every}");
        project.edit("./lake", &sink);
        for (name, value) in CREDENTIALS {
            project.variable(name, value);
        }
        project.variable("AWS_REGION", "us-east-1");
        Self { project, table: "s3://lake/tables/numbers".into(), bucket: Some(bucket) }
    }

    /// Gives the source files of [`EACH`] rows, with keys that no others have.
    fn write(&self, files: Range<u64>) {
        for file in files {
            let keys = file * EACH..(file + 1) * EACH;
            let lines: String = keys.map(|id| format!("{id},n{}\n", id % 1000)).collect();
            self.project.write(&format!("data/numbers/part-{file:05}.csv"), format!("id,name\n{lines}"));
        }
    }

    /// Gives the source [`ROWS`] more for each of the rounds.
    fn grow(&self, rounds: Range<u64>) {
        self.write(rounds.start * FILES..rounds.end * FILES);
    }

    /// Loads one round more; answers with the table's version then.
    fn load(&self, round: u64) -> u64 {
        self.grow(round..round + 1);
        let summary = self.project.load();
        let stream = &summary["streams"]["numbers"];
        assert_eq!(stream["rows"], ROWS, "{summary}");
        stream["table_version"].as_u64().unwrap()
    }

    fn python(&self, script: &str, arguments: &[&str]) -> Server {
        let mut command: Command = python_command(script);
        command.args(arguments);
        if let Some(bucket) = &self.bucket {
            command.args(["--s3", &bucket.address]).envs(CREDENTIALS);
        }
        Server::of(&mut command)
    }

    fn reader(&self) -> Server {
        self.python("read_table.py", &["--serve", "--key", "id"])
    }

    fn other(&self) -> Other {
        Other(self.python("other_client.py", &[&self.table]))
    }

    /// All three engines count this many rows, and as many keys.
    #[track_caller]
    fn has(&self, rows: u64) {
        let seen = self.reader().ask(&format!("all {}", self.table));
        assert_eq!(seen.as_object().unwrap().len(), ENGINES.len(), "{seen}");
        assert_eq!(rows_and_keys(&seen), (rows, rows), "{seen}");
    }

    /// Reads until it is over and once after that; answers with how many rows each read saw. `changes` counts
    /// those that saw another number than the one before.
    fn watch(&self, engine: &str, over: &AtomicBool, changes: &AtomicUsize) -> Vec<u64> {
        let reader = self.reader();
        let mut reads = Vec::new();
        loop {
            let last = over.load(Relaxed);
            let seen = reader.ask(&format!("{engine} {}", self.table));
            assert!(seen[engine]["error"].is_null(), "read {} of {engine}: {seen}", reads.len());
            let (rows, keys) = rows_and_keys(&seen);
            assert_eq!(rows, keys, "read {} of {engine} saw a row twice", reads.len());
            if reads.last() != Some(&rows) {
                changes.fetch_add(1, Relaxed);
            }
            reads.push(rows);
            if last {
                return reads;
            }
        }
    }

    /// How many receipts of staged files are durable.
    fn receipts(&self) -> usize {
        let applications = std::fs::read_dir(self.project.path("lake/numbers/_tidegate"));
        let folders = applications.into_iter().flatten().flatten().map(|entry| entry.path().join("receipts"));
        let generations = folders.flat_map(std::fs::read_dir).flatten().flatten();
        generations.flat_map(|entry| std::fs::read_dir(entry.path())).flatten().count()
    }
}

/// A client on delta-rs, in a process of its own.
struct Other(Server);

impl Other {
    #[track_caller]
    fn does(&self, what: &str) -> Value {
        let answer = self.0.ask(what);
        assert!(answer.get("error").is_none(), "{what}: {answer}");
        answer
    }

    /// The files that it deleted.
    #[track_caller]
    fn vacuum(&self, hours: u32) -> Vec<String> {
        serde_json::from_value(self.does(&format!("vacuum {hours}"))).unwrap()
    }

    /// By version, how many rows it has.
    #[track_caller]
    fn versions(&self) -> BTreeMap<u64, u64> {
        serde_json::from_value(self.does("versions")).unwrap()
    }

    /// Adds, compacts and vacuums in turn until it is over; answers with how many rows it added.
    ///
    /// A VACUUM deletes what no version of its retention names, and a file that is written and not committed
    /// is named by none: the retention must be longer than any write takes. That is the limit that Delta sets
    /// for all its writers (therefore a week by default, and enforced). A staged file that is gone is noticed
    /// before it is committed; between that look and the commit nothing could protect it, and nothing in
    /// Delta lets a writer ask for that. So this one spares an hour, far longer than these runs, and what it
    /// must not touch is younger than that.
    fn meddle(&self, over: &AtomicBool) -> u64 {
        let mut added = 0;
        while !over.load(Relaxed) {
            self.does(&format!("append {} {HANDFUL}", OTHERS + added));
            added += HANDFUL;
            self.does("compact");
            self.vacuum(1);
            thread::sleep(Duration::from_millis(100));
        }
        added
    }
}

/// Ends the watching also when what is watched fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Does `round` after round until every engine saw the table change `enough` times; answers with how often it
/// was done, and what each engine saw.
fn watched(
    shared: &Shared,
    enough: usize,
    mut round: impl FnMut(u64),
) -> (u64, Vec<(&'static str, Vec<u64>)>) {
    const MOST: u64 = 20;
    let over = AtomicBool::new(false);
    let changes = [const { AtomicUsize::new(0) }; ENGINES.len()];
    thread::scope(|scope| {
        let watchers: Vec<_> = ENGINES
            .iter()
            .zip(&changes)
            .map(|(engine, changes)| {
                let over = &over;
                (*engine, scope.spawn(move || shared.watch(engine, over, changes)))
            })
            .collect();
        let ending = Over(&over);
        let mut done = 0;
        while changes.iter().any(|changes| changes.load(Relaxed) < enough) {
            assert!(done < MOST, "after {MOST} rounds engines saw only {changes:?} changes");
            assert!(!watchers.iter().any(|(_, watcher)| watcher.is_finished()), "a reader stopped");
            round(done);
            done += 1;
        }
        drop(ending);
        (done, watchers.into_iter().map(|(engine, watcher)| (engine, watcher.join().unwrap())).collect())
    })
}

/// Loads while everybody else is at work, until every engine has seen `enough` versions; answers with how many
/// rounds were loaded and how many rows others added.
fn everybody_at_once(shared: &Shared, enough: usize) -> (u64, u64) {
    shared.load(0);
    let over = AtomicBool::new(false);
    let (added, rounds, seen) = thread::scope(|scope| {
        let meddler = scope.spawn(|| shared.other().meddle(&over));
        let ending = Over(&over);
        let (rounds, seen) = watched(shared, enough, |round| {
            shared.load(round + 1);
        });
        drop(ending);
        (meddler.join().unwrap(), rounds + 1, seen)
    });
    let versions = shared.other().versions();
    for (engine, reads) in seen {
        assert!(reads.is_sorted(), "{engine} saw rows vanish: {reads:?}");
        for rows in &reads {
            assert!(versions.values().any(|version| version == rows), "{engine} saw {rows} rows: no version");
        }
        let mut distinct = reads.clone();
        distinct.dedup();
        println!("{engine}: {} reads saw {} of {} versions", reads.len(), distinct.len(), versions.len());
    }
    assert!(added > 0);
    shared.has(rounds * ROWS + added);
    (rounds, added)
}

#[test]
fn everybody_reads_and_writes_a_table_that_is_loaded() {
    let shared = Shared::on_a_folder(OFTEN);
    // Of somebody who died long ago, so that the VACUUM during the load has something to find.
    std::fs::create_dir_all(&shared.table).unwrap();
    let left = std::fs::File::create(shared.project.path("lake/numbers/part-left.parquet")).unwrap();
    left.set_modified(SystemTime::now() - Duration::from_secs(7200)).unwrap();
    let (rounds, added) = everybody_at_once(&shared, 20);
    assert!(!shared.project.path("lake/numbers/part-left.parquet").exists(), "VACUUM did its work");

    // Between two runs nothing is staged, so nothing has to be spared.
    let other = shared.other();
    other.does("compact");
    assert!(!other.vacuum(0).is_empty());
    shared.load(rounds);
    shared.has((rounds + 1) * ROWS + added);
    assert_eq!(shared.project.load()["streams"]["numbers"]["rows"], 0, "nothing is left to load");
}

#[test]
fn everybody_reads_and_writes_a_table_in_a_bucket() {
    everybody_at_once(&Shared::in_a_bucket(OFTEN), 5);
}

#[test]
fn a_table_that_is_replaced_while_it_is_compacted_is_always_whole() {
    const FILES: u64 = 300;
    let shared = Shared::on_a_folder(OFTEN);
    shared.write(0..FILES);
    shared.project.load();
    let over = AtomicBool::new(false);
    let (rounds, seen) = thread::scope(|scope| {
        scope.spawn(|| {
            let other = shared.other();
            while !over.load(Relaxed) {
                other.does("compact");
            }
        });
        let _ending = Over(&over);
        watched(&shared, 5, |round| {
            shared.write((round + 1) * FILES..(round + 2) * FILES);
            shared.project.run(&["run", "p.yaml", "--yes-grant", "--full-refresh"]).expect_code(0);
        })
    });
    for (engine, reads) in seen {
        let whole = |rows: &u64| *rows > 0 && rows.is_multiple_of(FILES * EACH);
        assert!(reads.is_sorted() && reads.iter().all(whole), "{engine}: {reads:?}");
    }
    shared.has((rounds + 1) * FILES * EACH);
}

/// Loads two rounds in one run, kills it once `ripe`, lets VACUUM take what it left, and loads again; answers
/// with the files that VACUUM took.
fn comes_back_from_a_vacuum(shared: &Shared, ripe: impl Fn() -> bool) -> Vec<String> {
    shared.grow(0..2);
    let mut command = shared.project.start(&["run", "p.yaml", "--yes-grant"]);
    while !ripe() {
        assert!(command.try_wait().unwrap().is_none(), "the load was over too early");
        thread::sleep(Duration::from_millis(1));
    }
    kill_process_group(Pid::from_child(&command), Signal::KILL).unwrap();
    command.wait().unwrap();
    let gone = shared.other().vacuum(0);
    let summary = shared.project.load();
    let notes = summary["streams"]["numbers"]["notes"].to_string();
    assert!(notes.contains("went on with a run that was interrupted"), "{summary}");
    shared.has(2 * ROWS);
    assert_eq!(shared.project.load()["streams"]["numbers"]["rows"], 0, "nothing is left to load");
    gone
}

#[test]
fn staged_files_that_a_vacuum_took_are_read_again() {
    let shared = Shared::on_a_folder(ONCE);
    let gone = comes_back_from_a_vacuum(&shared, || shared.receipts() >= 2);
    assert!(gone.len() >= 2, "nothing was committed, so all that was staged is gone: {gone:?}");
}

#[test]
fn a_vacuum_in_the_middle_of_an_interrupted_load_takes_nothing_that_counts() {
    let shared = Shared::on_a_folder(OFTEN);
    let third = shared.project.path("lake/numbers/_delta_log/00000000000000000003.json");
    comes_back_from_a_vacuum(&shared, || third.exists());
}

#[test]
fn a_log_that_another_client_shortened_still_says_what_was_loaded() {
    let shared = Shared::on_a_folder(OFTEN);
    let loaded = shared.load(0);
    let left = shared.other().does("forget").as_u64().unwrap();
    assert!(left < loaded, "{left} entries are left after version {loaded}");
    assert_eq!(shared.project.load()["streams"]["numbers"]["rows"], 0, "nothing is left to load");
    shared.load(1);
    shared.has(2 * ROWS);
}

/// Loads some rounds, restores the table to the version that `pick` chooses, given how many rows each has and
/// which one the first run made, and adds rows of another writer to that. Loading stops until it is told to go
/// on from there; answers with how many rows the table has then.
fn restored(shared: &Shared, pick: impl Fn(&BTreeMap<u64, u64>, u64) -> u64) -> u64 {
    let first = shared.load(0);
    shared.grow(1..3);
    shared.project.load();
    shared.load(3);
    let other = shared.other();
    let versions = other.versions();
    let target = pick(&versions, first);
    stops_after_a_restore(shared, &other, target);
    versions[&target] + HANDFUL
}

fn stops_after_a_restore(shared: &Shared, other: &Other, target: u64) {
    other.does(&format!("restore {target}"));
    other.does(&format!("append {OTHERS} {HANDFUL}"));
    let before = other.versions().len();
    let stopped = shared.project.run(&["run", "p.yaml", "--yes-grant"]).expect_code(1);
    let told = ["TG0505", "restored", "state rewind"];
    assert!(told.iter().all(|part| stopped.stderr.contains(part)), "{}", stopped.stderr);
    assert_eq!(other.versions().len(), before, "nothing was committed");
    shared.project.run(&["state", "rewind", "p.yaml", "--yes"]).expect_code(0);
}

/// Loading brings what the restore took, and that only.
fn goes_on(shared: &Shared, rows: u64) {
    let summary = shared.project.load();
    assert_eq!(summary["streams"]["numbers"]["rows"], 4 * ROWS + HANDFUL - rows, "{summary}");
    shared.has(4 * ROWS + HANDFUL);
    assert_eq!(shared.project.load()["streams"]["numbers"]["rows"], 0, "nothing is left to load");
}

#[test]
fn a_table_restored_to_before_its_first_row_is_loaded_again() {
    let shared = Shared::on_a_folder(OFTEN);
    let rows = restored(&shared, |_, _| 0);
    goes_on(&shared, rows);
}

#[test]
fn a_table_restored_to_between_two_runs_is_loaded_from_there() {
    let shared = Shared::on_a_folder(OFTEN);
    let rows = restored(&shared, |_, first| first);
    goes_on(&shared, rows);
    // Again, over the first one.
    let version = shared.other().versions().into_iter().find(|(_, rows)| *rows == ROWS).unwrap().0;
    stops_after_a_restore(&shared, &shared.other(), version);
    goes_on(&shared, rows);
}

/// The plan of a load that is over is gone, so its middle cannot be gone on from.
#[test]
fn a_table_restored_to_the_middle_of_a_run_is_loaded_anew() {
    let shared = Shared::on_a_folder(OFTEN);
    let rows = restored(&shared, |versions, first| {
        let middle = versions.range(first + 1..).find(|(_, rows)| (ROWS + 1..3 * ROWS).contains(*rows));
        *middle.expect("a run of several commits").0
    });
    let stopped = shared.project.run(&["run", "p.yaml", "--yes-grant"]).expect_code(1);
    assert!(
        stopped.stderr.contains("TG0407") && stopped.stderr.contains("--full-refresh"),
        "{}",
        stopped.stderr
    );
    shared.has(rows);
    shared.project.run(&["run", "p.yaml", "--yes-grant", "--full-refresh"]).expect_code(0);
    shared.has(4 * ROWS);
    assert_eq!(shared.project.load()["streams"]["numbers"]["rows"], 0, "nothing is left to load");
}
