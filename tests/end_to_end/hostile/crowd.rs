//! Many runs at once, a third of them hostile.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_sandbox_tests::ROUNDTRIP;

use crate::harness::{Project, worker_of};

const ROWS: u64 = 20 * 100 * 2;

/// Of so many runs; the long form is in tests/bench.
fn size() -> usize {
    std::env::var("TIDEGATE_TEST_CROWD").ok().and_then(|text| text.parse().ok()).unwrap_or(24)
}

/// One that computes for ever costs a minute of a processor: not in the short form.
fn mischief(number: usize, size: usize) -> Value {
    let mut kinds = vec![
        json!("panic"),
        json!("allocate"),
        json!("recurse"),
        json!("hoard"),
        json!("whisper"),
        json!("long-fault"),
        json!({ "lie": "bad-text" }),
        json!({ "lie": "aliased-batch" }),
    ];
    if size >= 100 {
        kinds.push(json!("spin"));
    }
    kinds[number % kinds.len()].clone()
}

struct Run {
    project: Project,
    evil: Option<Value>,
}

impl Run {
    fn new(number: usize, size: usize) -> Self {
        let evil = number.is_multiple_of(3).then(|| mischief(number / 3, size));
        let mut config = json!({ "rows": 100, "batches": 20, "splits": 2 });
        if let Some(evil) = &evil {
            config["mischief"] = evil.clone();
        }
        let project = Project::new();
        std::os::unix::fs::symlink(ROUNDTRIP, project.path("roundtrip.wasm")).unwrap();
        project.write(
            "p.yaml",
            format!(
                "pipeline: p\nextract:\n  connector: ./roundtrip.wasm\n  config: {config}\n  streams:\n    roundtrip: {{ mode: full }}\n  limits: {{ memory: 64MiB }}\ningest: {{ sink: delta, location: ./lake }}\n"
            ),
        );
        Self { project, evil }
    }

    fn start(&self) -> Child {
        let mut command = self.project.command(&["run", "p.yaml", "--yes-grant", "--json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }
}

/// What is seen of processes while they are there.
#[derive(Default)]
struct Seen {
    workers: BTreeSet<i32>,
    at_once: usize,
    /// Most bytes of their own that all of them had, and that any had.
    memory: u64,
    largest: u64,
}

struct Watcher {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Watcher {
    fn start(commands: Vec<u32>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut seen = Seen::default();
            while !stop.load(Ordering::Relaxed) {
                let workers: Vec<i32> = commands
                    .iter()
                    .filter_map(|pid| worker_of(*pid))
                    .map(|pid| pid.as_raw_nonzero().get())
                    .collect();
                let sizes: Vec<u64> = workers.iter().map(|pid| own_memory(*pid)).collect();
                seen.at_once = seen.at_once.max(workers.len());
                seen.memory = seen.memory.max(sizes.iter().sum());
                seen.largest = seen.largest.max(sizes.iter().copied().max().unwrap_or(0));
                seen.workers.extend(workers);
                sleep(Duration::from_millis(50));
            }
            seen
        });
        Self { over, thread }
    }

    fn stop(self) -> Seen {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Bytes of a process that it shares with nobody; 0 when it is gone.
fn own_memory(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kibibytes| kibibytes.parse::<u64>().ok()).unwrap_or(0) << 10
}

#[test]
fn every_good_run_finishes_in_a_crowd_of_which_a_third_is_hostile() {
    let size = size();
    let began = Instant::now();
    let alone = Run::new(1, size).start().wait_with_output().unwrap();
    let alone = (alone.status.success()).then(|| began.elapsed()).expect("a good run alone");
    let runs: Vec<Run> = (0..size).map(|number| Run::new(number, size)).collect();

    let began = Instant::now();
    let children: Vec<Child> = runs.iter().map(Run::start).collect();
    let watcher = Watcher::start(children.iter().map(Child::id).collect());
    let waiting: Vec<_> = children
        .into_iter()
        .map(|child| std::thread::spawn(move || (child.wait_with_output().unwrap(), began.elapsed())))
        .collect();
    let ended: Vec<_> = waiting.into_iter().map(JoinHandle::join).collect();
    let seen = watcher.stop();

    let (mut good, mut contained, mut slowest, mut fastest) = (0, 0, Duration::ZERO, Duration::MAX);
    for (run, ended) in runs.iter().zip(ended) {
        let (output, took) = ended.unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        match &run.evil {
            None => {
                assert_eq!(told["streams"]["roundtrip"]["rows"], ROWS, "{told:#}");
                good += 1;
                slowest = slowest.max(took);
                fastest = fastest.min(took);
            }
            // It talks too much, and nothing more.
            Some(evil) if evil == "whisper" => contained += usize::from(output.status.success()),
            Some(evil) => {
                let code = told["error"]["code"].as_str().unwrap_or_default();
                assert!(code.starts_with("TG04"), "{evil}: {told:#}");
                contained += 1;
            }
        }
    }
    let alive: Vec<_> = seen.workers.iter().filter(|pid| own_memory(**pid) > 0).collect();
    let mib = |bytes: u64| bytes >> 20;
    println!(
        "{size} runs at once, up to {} workers seen: {good} good ones finished, {contained} hostile ones contained\n\
         memory of all workers {} MiB at most, of one {} MiB\n\
         a good run: {:.1} s alone, {:.1} to {:.1} s in the crowd",
        seen.at_once,
        mib(seen.memory),
        mib(seen.largest),
        alone.as_secs_f64(),
        fastest.as_secs_f64(),
        slowest.as_secs_f64(),
    );
    assert_eq!(good + contained, size);
    assert!(alive.is_empty(), "workers that survived their runs: {alive:?}");
}
