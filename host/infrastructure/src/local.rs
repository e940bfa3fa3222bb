use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidegate_model::{Code, Fault, Result, SecretRef, WorkOrder, WorkerEvent};
use tokio::io::BufReader;
use tokio::process::{ChildStderr, ChildStdout, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::desk::{self, Desk};
use crate::ending::Ending;
use crate::files::reason;
use crate::launcher::{Launcher, Worker, is_final};
use crate::pipes::{Tail, next_line};
use crate::spawner::{self, Spawned};

/// What a worker may know of the environment: credentials and settings of object stores, certificates, our
/// own settings, and where temporary files go.
const WORKER_ENVIRONMENT: &[&str] = &[
    "AWS_*",
    "HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "TIDEGATE_*",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
];

/// How a worker's C allocator is set. Batches are made on one thread and freed on another; one arena for all
/// threads, trimmed above 4 MiB, halves the peak memory of a large load (10 million rows: 136 MB against 307)
/// and costs a tenth of its time.
const ALLOCATOR: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "1"), ("MALLOC_TRIM_THRESHOLD_", "4194304")];

/// Longest line a worker may say.
const LONGEST_EVENT: usize = 16 << 20;
/// Longest line of a worker's log; what is longer is cut into several.
const LONGEST_LOG: usize = 16 << 10;
/// Events that wait for a slow reader before the worker has to.
const WAITING_EVENTS: usize = 64;
/// How long a worker may take to end after its last event, and what is left in its log to arrive after its
/// end.
const GRACE: Duration = Duration::from_secs(2);

/// Starts workers as child processes on this machine. Standard input is one end of a pair of sockets: the order
/// is its first line, then it goes both ways ([`Desk`]). Events are on standard output, the log is on standard
/// error.
#[derive(Debug, Clone)]
pub struct LocalLauncher {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
}

impl LocalLauncher {
    /// Starts this very program again, as `tidegate worker`.
    pub fn of_this_program() -> Result<Self> {
        let program = env::current_exe().map_err(|error| {
            Fault::external(
                Code::WorkerLost,
                format!("cannot find the program that is running: {}", reason(&error)),
            )
        })?;
        Ok(Self::of(program, ["worker"]).pass_environment(WORKER_ENVIRONMENT).with(&ALLOCATOR))
    }

    /// Starts some other program that speaks as a worker does, without any environment.
    pub fn of(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
        }
    }

    /// Lets the worker have those of our environment's variables that one of the patterns names, but none that
    /// an order binds a secret to: a worker asks for those ([`Desk`]). A `*` at the end of a pattern stands for
    /// the rest of a name.
    #[must_use]
    pub fn pass_environment(mut self, patterns: &[&str]) -> Self {
        self.environment.extend(env::vars_os().filter(|(name, _)| {
            name.to_str().is_some_and(|name| patterns.iter().any(|pattern| names(pattern, name)))
        }));
        self
    }

    /// Gives the worker these variables, whatever ours are.
    fn with(mut self, variables: &[(&str, &str)]) -> Self {
        self.environment.extend(variables.iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    #[expect(clippy::disallowed_methods, reason = "an owner of starting processes")]
    fn command(&self, order: &WorkOrder, line: Stdio) -> Command {
        let mut command = Command::new(&self.program);
        let known = self.environment.iter().filter(|(name, _)| !is_secret(name, order));
        command
            .args(&self.arguments)
            .env_clear()
            .envs(known.map(|(name, value)| (name, value)))
            .stdin(line)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// Whether a variable holds one of the component's secrets. Those of object stores stay: the sink is reached
/// with them.
fn is_secret(name: &OsStr, order: &WorkOrder) -> bool {
    let bound = |secret: &SecretRef| matches!(secret, SecretRef::Env(bound) if name == bound.as_str());
    !name.as_encoded_bytes().starts_with(b"AWS_") && order.secrets.values().any(bound)
}

fn names(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

#[async_trait]
impl Launcher for LocalLauncher {
    async fn launch(&self, order: &WorkOrder, desk: Arc<dyn Desk>) -> Result<Worker> {
        let text = serde_json::to_vec(order).map_err(|error| {
            Fault::internal(Code::Bug, format!("a work order that cannot be written: {error}"))
        })?;
        let cannot = |error: &io::Error| {
            let program = self.program.display();
            Fault::external(Code::WorkerLost, format!("cannot start a worker, {program}: {}", reason(error)))
        };
        let (line, theirs) = desk::line().map_err(|error| cannot(&error))?;
        let mut spawned =
            spawner::spawn(self.command(order, theirs)).await.map_err(|error| cannot(&error))?;
        let child = &mut spawned.child;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(Fault::internal(Code::Bug, "a child process without pipes"));
        };
        tracing::debug!(pid = child.id(), "worker started");
        let (events, receiver) = mpsc::channel(WAITING_EVENTS);
        let (worker, cancelled) = Worker::new(receiver);
        let attended = tokio::spawn(desk::attend(line, text, desk));
        let watch = Watch { spawned, stdout, stderr, events, cancelled, attended };
        tokio::spawn(watch.until_the_end());
        Ok(worker)
    }
}

/// One worker, watched from start to end.
struct Watch {
    spawned: Spawned,
    stdout: ChildStdout,
    stderr: ChildStderr,
    events: mpsc::Sender<WorkerEvent>,
    cancelled: watch::Receiver<bool>,
    /// Its line.
    attended: JoinHandle<()>,
}

/// How a worker stopped talking.
enum Silence {
    /// It said all it had to say.
    Final(WorkerEvent),
    /// Its output ended before.
    Early,
    /// It spoke in a way we do not understand.
    Nonsense(Fault),
}

impl Watch {
    async fn until_the_end(self) {
        let Self { mut spawned, stdout, stderr, events, mut cancelled, attended } = self;
        let child = &mut spawned.child;
        let log = tokio::spawn(follow_log(stderr, events.clone()));
        let silence = tokio::select! {
            biased;
            // An error: nobody holds the worker any more, which means the same.
            _ = cancelled.wait_for(|cancelled| *cancelled) => None,
            silence = follow_events(stdout, &events) => Some(silence),
        };
        let ending = match silence {
            Some(Silence::Final(_) | Silence::Early) => timeout(GRACE, child.wait()).await.ok(),
            Some(Silence::Nonsense(_)) | None => None,
        };
        let ending = match ending {
            Some(ending) => ending,
            None => {
                // Should it fail, the child's handle kills once more when it is dropped.
                let _ = child.start_kill();
                child.wait().await
            }
        };
        // Whatever it started may still hold its end, and is owed nothing.
        attended.abort();
        let mut log = log;
        let tail = match timeout(GRACE, &mut log).await {
            Ok(tail) => tail.unwrap_or_default(),
            // Something the worker started holds its log open.
            Err(_) => {
                log.abort();
                Tail::default()
            }
        };
        let last = match silence {
            Some(Silence::Final(event)) => event,
            Some(Silence::Nonsense(fault)) => failed(fault),
            Some(Silence::Early) => failed(lost(ending.map(Ending::from), &tail)),
            None => failed(Fault::user(Code::Cancelled, "the run was cancelled")),
        };
        // Nobody listens: then nobody misses it.
        let _ = events.send(last).await;
    }
}

/// Passes events on until the final one, and gives that back.
async fn follow_events(stdout: ChildStdout, events: &mpsc::Sender<WorkerEvent>) -> Silence {
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        match next_line(&mut stdout, &mut line, LONGEST_EVENT).await {
            Ok(true) => {}
            Ok(false) => return Silence::Early,
            Err(error) => {
                let why = format!("what the worker says cannot be read: {}", reason(&error));
                return Silence::Nonsense(Fault::internal(Code::WorkerLost, why));
            }
        }
        match serde_json::from_slice::<WorkerEvent>(&line) {
            Ok(event) if is_final(&event) => return Silence::Final(event),
            Ok(event) => {
                if events.send(event).await.is_err() {
                    return Silence::Early;
                }
            }
            Err(error) => {
                let line = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
                let why = format!("the worker said something that is no event ({error}): {line}");
                return Silence::Nonsense(Fault::internal(Code::WorkerLost, why));
            }
        }
    }
}

/// Passes the log on by the line, as events of level `stderr`, and gives back its tail.
async fn follow_log(stderr: ChildStderr, events: mpsc::Sender<WorkerEvent>) -> Tail {
    let mut stderr = BufReader::with_capacity(LONGEST_LOG, stderr);
    let mut tail = Tail::default();
    let mut line = Vec::new();
    loop {
        match next_line(&mut stderr, &mut line, LONGEST_LOG).await {
            Ok(true) => {}
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {}
            Ok(false) | Err(_) => return tail,
        }
        tail.push(&line);
        tail.push(b"\n");
        let message = String::from_utf8_lossy(&line).into_owned();
        // Nobody listens: the tail is kept all the same.
        let _ = events.send(WorkerEvent::Log { level: "stderr".into(), stream: None, message }).await;
    }
}

fn failed(fault: Fault) -> WorkerEvent {
    WorkerEvent::Failed { fault, summary: None }
}

fn lost(ending: io::Result<Ending>, tail: &Tail) -> Fault {
    let how = match ending {
        Ok(Ending::Success) => "ended without saying how the run went".to_owned(),
        Ok(ending) => ending.to_string(),
        Err(error) => format!("was lost: {}", reason(&error)),
    };
    let said = tail.text();
    let fault = Fault::external(Code::WorkerLost, format!("the worker {how}"));
    let again = "what was committed stays; run it again to go on from there";
    match said.is_empty() {
        true => fault.help(again),
        false => fault.help(format!("{again}. Its last words:\n{said}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_does_not_get_a_secret_with_its_environment() {
        let order = |secrets: serde_json::Value| {
            let order = serde_json::json!({
                "run": "r", "began": { "secs": 0, "nanos": 0 }, "pipeline": "p",
                "component": { "name": "c", "version": "0.1.0", "digest": "sha256:00", "path": "c.wasm" },
                "config": {}, "secrets": secrets, "document": null, "permissions": [], "source": [],
                "limits": {}, "base": "/", "data_dir": "/", "task": "check",
            });
            serde_json::from_value::<WorkOrder>(order).unwrap()
        };
        let bound = order(serde_json::json!({ "token": "env:TIDEGATE_TOKEN", "key": "env:AWS_SECRET_KEY" }));
        for (name, secret) in [
            ("TIDEGATE_TOKEN", true),
            ("TIDEGATE_TOKENS", false),
            ("TIDEGATE_CACHE_DIR", false),
            ("AWS_SECRET_KEY", false),
        ] {
            assert_eq!(is_secret(OsStr::new(name), &bound), secret, "{name}");
        }
        let elsewhere = order(serde_json::json!({ "token": "store:TIDEGATE_TOKEN" }));
        assert!(!is_secret(OsStr::new("TIDEGATE_TOKEN"), &elsewhere));
    }

    #[test]
    fn environment_patterns() {
        for (pattern, name, expected) in [
            ("AWS_*", "AWS_REGION", true),
            ("AWS_*", "MY_AWS_REGION", false),
            ("TMPDIR", "TMPDIR", true),
            ("TMPDIR", "TMPDIR2", false),
        ] {
            assert_eq!(names(pattern, name), expected, "{pattern} {name}");
        }
    }
}
