//! Workers of every temper, played by shell scripts.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests play the parts of others")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::json;
use tidegate_infrastructure::{Desk, Launcher, LocalLauncher, Worker, die_with_parent};
use tidegate_model::{Code, ComponentRef, Limits, PipelineName, RunId, Task, WorkOrder, WorkerEvent};

use zeroize::Zeroizing;

/// Says how often it was asked, and what; remembers it, too.
#[derive(Debug, Default)]
struct Echo(Mutex<Vec<String>>);

#[async_trait]
impl Desk for Echo {
    async fn answer(&self, question: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut asked = self.0.lock().unwrap();
        asked.push(String::from_utf8_lossy(question).into_owned());
        format!("{}: {}", asked.len(), asked[asked.len() - 1]).into_bytes().into()
    }
}

const CHECKED: &str = r#"{"event":"answer","kind":"checked"}"#;

fn order(config: serde_json::Value) -> WorkOrder {
    WorkOrder {
        run: RunId::new("run-1").unwrap(),
        began: std::time::Duration::ZERO,
        pipeline: PipelineName::new("flights").unwrap(),
        component: ComponentRef {
            name: "files".into(),
            version: semver::Version::new(0, 1, 0),
            digest: "sha256:00".into(),
            path: "files.wasm".into(),
            publisher: None,
        },
        config,
        secrets: std::collections::BTreeMap::new(),
        document: None,
        permissions: Vec::new(),
        grants: None,
        ceiling: Default::default(),
        on_behalf_of: None,
        rehearsal: false,
        trace: None,
        columns: std::collections::BTreeMap::new(),
        source: Vec::new(),
        limits: Limits::default(),
        base: ".".into(),
        data_dir: ".tidegate".into(),
        task: Task::Check,
    }
}

async fn start(script: &str) -> Worker {
    start_at(script, Arc::default()).await
}

async fn start_at(script: &str, desk: Arc<Echo>) -> Worker {
    let launcher: Box<dyn Launcher> = Box::new(LocalLauncher::of("/bin/sh", ["-c", script]));
    launcher.launch(&order(json!({})), desk).await.unwrap()
}

/// What a worker says, in short.
async fn told(mut worker: Worker) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(event) = worker.next().await {
        told.push(match event {
            WorkerEvent::Log { level, message, .. } => format!("{level}: {message}"),
            WorkerEvent::Answer(answer) => format!("{answer:?}"),
            WorkerEvent::Failed { fault, .. } => fault.to_string(),
            other => format!("{other:?}"),
        });
    }
    told
}

fn is_alive(pid: &str) -> bool {
    // A zombie is dead; it only waits to be asked about.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn dies_soon(pid: &str) -> bool {
    let start = Instant::now();
    while is_alive(pid) && start.elapsed() < Duration::from_secs(5) {
        sleep(Duration::from_millis(10));
    }
    !is_alive(pid)
}

#[tokio::test]
async fn what_workers_do_and_how_it_is_told() {
    const AGAIN: &str = "what was committed stays; run it again to go on from there";
    let nonsense =
        "TG0701: the worker said something that is no event (expected value at line 1 column 1): hello";
    for (script, expected) in [
        (format!("read -r order; echo '{CHECKED}'"), vec!["Checked".to_owned()]),
        (
            format!(
                r#"echo '{{"event":"log","level":"info","stream":null,"message":"one"}}'; echo '{CHECKED}'"#
            ),
            vec!["info: one".into(), "Checked".into()],
        ),
        // Its last event is its last event.
        (format!("echo '{CHECKED}'; echo '{CHECKED}'; exit 7"), vec!["Checked".into()]),
        ("exit 0".into(), vec![format!("TG0701: the worker ended without saying how the run went; {AGAIN}")]),
        ("exit 3".into(), vec![format!("TG0701: the worker exited with status 3; {AGAIN}")]),
        ("kill -9 $$".into(), vec![format!("TG0701: the worker was killed by signal 9 (SIGKILL); {AGAIN}")]),
        (
            "echo oh no >&2; kill -SEGV $$".into(),
            vec![
                "stderr: oh no".into(),
                format!(
                    "TG0701: the worker was killed by signal 11 (SIGSEGV); {AGAIN}. Its last words:\noh no"
                ),
            ],
        ),
        ("echo hello; sleep 60".into(), vec![nonsense.into()]),
        (
            "head -c 17000000 /dev/zero; sleep 60".into(),
            vec!["TG0701: what the worker says cannot be read: file too large".into()],
        ),
    ] {
        assert_eq!(told(start(&script).await).await, expected, "{script}");
    }
}

#[tokio::test]
async fn the_order_arrives_whole_and_the_environment_not_at_all() {
    let config = json!({ "long": "x".repeat(1 << 20) });
    let script =
        r#"size=$(head -n 1 | wc -c); echo "$size$HOME" >&2; echo '{"event":"answer","kind":"checked"}'"#;
    let launcher = LocalLauncher::of("/bin/sh", ["-c", script]);
    let worker = launcher.launch(&order(config.clone()), Arc::new(Echo::default())).await.unwrap();
    // And the break of its line.
    let size = serde_json::to_vec(&order(config)).unwrap().len() + 1;
    assert_eq!(told(worker).await, [format!("stderr: {size}"), "Checked".into()]);

    let launcher = LocalLauncher::of("/bin/sh", ["-c", script]).pass_environment(&["HOM*"]);
    let told = told(launcher.launch(&order(json!({})), Arc::new(Echo::default())).await.unwrap()).await;
    assert!(told[0].ends_with(&std::env::var("HOME").unwrap()), "{told:?}");
}

#[tokio::test]
async fn a_worker_that_stays_after_its_last_event_is_killed() {
    let start_of_it = Instant::now();
    let mut worker = start(&format!("echo $$ >&2; echo '{CHECKED}'; exec sleep 60")).await;
    let Some(WorkerEvent::Log { message: pid, .. }) = worker.next().await else { panic!("no pid") };
    assert!(matches!(worker.wait().await, Some(WorkerEvent::Answer(_))));
    assert!(start_of_it.elapsed() < Duration::from_secs(20));
    assert!(!is_alive(&pid));
    assert_eq!(worker.next().await, None);
}

#[tokio::test]
async fn cancelling_and_dropping_kill() {
    for by_drop in [false, true] {
        // It also floods, so that it is killed while its watcher waits for us to read.
        let mut worker = start(
            r#"echo $$ >&2; while :; do echo '{"event":"log","level":"info","stream":null,"message":"x"}'; done"#,
        )
        .await;
        let pid = loop {
            match worker.next().await.unwrap() {
                WorkerEvent::Log { level, message, .. } if level == "stderr" => break message,
                _ => {}
            }
        };
        assert!(is_alive(&pid));
        if by_drop {
            drop(worker);
            assert!(tokio::task::spawn_blocking(move || dies_soon(&pid)).await.unwrap());
        } else {
            worker.cancel();
            let Some(WorkerEvent::Failed { fault, .. }) = worker.wait().await else {
                panic!("not cancelled")
            };
            assert_eq!(fault.code, Code::Cancelled);
            assert!(!is_alive(&pid));
        }
    }
}

#[tokio::test]
async fn a_worker_that_cannot_be_started_is_no_worker() {
    let launcher = LocalLauncher::of("/no/such/program", ["worker"]);
    let fault = launcher.launch(&order(json!({})), Arc::new(Echo::default())).await.unwrap_err();
    assert_eq!(
        fault.to_string(),
        "TG0701: cannot start a worker, /no/such/program: No such file or directory"
    );
}

#[tokio::test]
async fn a_worker_asks_on_its_standard_input_and_is_answered_line_by_line() {
    let desk = Arc::new(Echo::default());
    let ask = "echo $1 >&0; read -r answer; echo \"$answer\" >&2";
    let script = format!("ask() {{ {ask}; }}; read -r order; ask one; ask two; echo '{CHECKED}'");
    let told = told(start_at(&script, desk.clone()).await).await;
    assert_eq!(told, ["stderr: 1: one", "stderr: 2: two", "Checked"], "an answer is no event");
    assert_eq!(*desk.0.lock().unwrap(), ["one", "two"]);
}

#[tokio::test]
async fn a_worker_that_asks_without_end_is_not_listened_to_any_more() {
    let desk = Arc::new(Echo::default());
    let script = format!(
        "read -r order; head -c 300000 /dev/zero >&0; read -r answer || echo hung up >&2; echo '{CHECKED}'"
    );
    assert_eq!(told(start_at(&script, desk.clone()).await).await, ["stderr: hung up", "Checked"]);
    assert!(desk.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn nobody_answers_for_a_worker_that_is_gone() {
    let desk = Arc::new(Echo::default());
    // What it leaves behind holds its end of the line.
    let script = format!("exec 3<&0; sleep 60 <&3 >/dev/null 2>&1 & echo $! >&2; echo '{CHECKED}'");
    let told = told(start_at(&script, desk.clone()).await).await;
    let start = Instant::now();
    while Arc::strong_count(&desk) > 1 && start.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(Arc::strong_count(&desk), 1);
    Command::new("kill").arg(told[0].trim_start_matches("stderr: ")).status().unwrap();
}

#[tokio::test]
async fn a_child_inherits_no_open_files() {
    // This very process may have inherited some; make sure that there is one.
    let leak = std::fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let told = told(start(&format!("ls /proc/self/fd | tr '\\n' ' ' >&2; echo '{CHECKED}'")).await).await;
    // `ls` itself has the folder open as its fourth.
    assert_eq!(told, ["stderr: 0 1 2 3 ", "Checked"]);
}

#[tokio::test]
async fn a_terminal_that_interrupts_us_does_not_reach_the_worker() {
    let script = format!("set -- $(cat /proc/$$/stat); echo $(($5 - $$)) >&2; echo '{CHECKED}'");
    assert_eq!(told(start(&script).await).await, ["stderr: 0", "Checked"], "its process group is its own");
}

#[test]
fn a_worker_dies_with_whoever_started_it() {
    let mut platform = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "part_of_the_platform", "--nocapture"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(platform.stderr.take().unwrap()).lines();
    let pid = lines.find_map(|line| line.unwrap().strip_prefix("worker ").map(str::to_owned)).unwrap();
    assert!(is_alive(&pid));
    platform.kill().unwrap();
    platform.wait().unwrap();
    assert!(dies_soon(&pid));
}

#[tokio::test]
#[ignore = "started by `a_worker_dies_with_whoever_started_it`"]
async fn part_of_the_platform() {
    let this = std::env::current_exe().unwrap();
    let script =
        format!("exec {} --ignored --exact part_of_the_worker --nocapture >/dev/null", this.display());
    let mut worker = start(&script).await;
    while let Some(event) = worker.next().await {
        if let WorkerEvent::Log { message, .. } = event {
            eprintln!("{message}");
        }
    }
}

#[test]
#[ignore = "started by `part_of_the_platform`"]
fn part_of_the_worker() {
    die_with_parent();
    eprintln!("worker {}", std::process::id());
    sleep(Duration::from_secs(60));
}
