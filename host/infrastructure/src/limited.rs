use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tidegate_model::{Code, Fault, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

use crate::ending::Ending;
use crate::files::reason;
use crate::pipes::Tail;
use crate::spawner;

/// What a process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessLimits {
    /// Bytes of address space; memory beyond it is not given.
    pub address_space: u64,
    /// Of processors, all threads together; whole seconds count. It is killed when they are used up.
    pub cpu: Duration,
    /// From its start. It is killed when they are over.
    pub wall: Duration,
    /// Bytes on its standard output.
    pub output: u64,
}

impl ProcessLimits {
    /// Puts memory and processor limits on a child; no core file either.
    fn apply_to(&self, child: Pid) -> Result<()> {
        for (resource, limit) in self.rlimits() {
            prlimit(Some(child), resource, limit).map_err(refused)?;
        }
        Ok(())
    }

    fn rlimits(&self) -> [(Resource, Rlimit); 3] {
        let most = |value| Rlimit { current: Some(value), maximum: Some(value) };
        let seconds = self.cpu.as_secs().max(1);
        // A second between the two limits, so that it is SIGXCPU that ends the process: SIGKILL could mean
        // anything.
        let cpu = Rlimit { current: Some(seconds), maximum: Some(seconds.saturating_add(1)) };
        [(Resource::As, most(self.address_space)), (Resource::Cpu, cpu), (Resource::Core, most(0))]
    }
}

/// What a limited process left.
#[derive(Debug)]
pub struct Output {
    pub ending: Ending,
    pub stdout: Vec<u8>,
    /// The last 64 KiB of what it said.
    pub stderr: String,
}

/// Runs a process with limits, without any environment, gives it `stdin` and waits for its end. It gets its
/// input only when the limits stand, so a program that starts by reading does nothing unlimited with it. The
/// process dies with this future.
///
/// An error means that it could not be started or limited; how it ended is in the [`Output`].
pub async fn run_limited(
    program: &Path,
    arguments: &[&str],
    stdin: Vec<u8>,
    limits: &ProcessLimits,
) -> Result<Output> {
    let mut command = command(program);
    command.args(arguments).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut spawned = spawner::spawn(command).await.map_err(|error| {
        Fault::external(Code::WorkerLost, format!("cannot start {}: {}", program.display(), reason(&error)))
    })?;
    let child = &mut spawned.child;
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(pid) = pid {
        limits.apply_to(pid)?;
    }
    let (mut input, output, errors) = match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
        (Some(input), Some(output), Some(errors)) => (input, output, errors),
        _ => return Err(Fault::internal(Code::Bug, "a child process without pipes")),
    };
    let feed = async move {
        // A process that does not want its input says so by its ending.
        let _ = input.write_all(&stdin).await;
        drop(input);
    };
    let collect = async move {
        let mut stdout = Vec::new();
        let read = output.take(limits.output.saturating_add(1)).read_to_end(&mut stdout).await;
        (read, stdout)
    };
    let work = async {
        let (_, (read, stdout), tail) = tokio::join!(feed, collect, Tail::of(errors));
        read?;
        if u64::try_from(stdout.len()).is_ok_and(|size| size > limits.output) {
            child.kill().await?;
            return Ok(Output { ending: Ending::TooMuchOutput, stdout: Vec::new(), stderr: tail.text() });
        }
        Ok(Output { ending: child.wait().await?.into(), stdout, stderr: tail.text() })
    };
    match timeout(limits.wall, work).await {
        Ok(output) => output.map_err(|error: io::Error| {
            Fault::external(Code::WorkerLost, format!("{}: {}", program.display(), reason(&error)))
        }),
        Err(_) => {
            // Should the kill fail, the handle's drop tries again.
            let _ = child.kill().await;
            Ok(Output { ending: Ending::TimedOut, stdout: Vec::new(), stderr: String::new() })
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "an owner of starting processes")]
fn command(program: &Path) -> Command {
    Command::new(program)
}

fn refused(errno: rustix::io::Errno) -> Fault {
    Fault::external(Code::WorkerLost, format!("cannot limit a process: {}", reason(&errno.into())))
}
