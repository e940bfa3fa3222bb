use std::io;
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::inherited;
use crate::lifeline::PARENT;

struct Job {
    command: Command,
    runtime: Handle,
    answer: oneshot::Sender<io::Result<Child>>,
}

/// Starts every child process, from a thread that lives as long as this process. The kernel sends the
/// parent-death signal when the *thread* that started a child ends (prctl(2)), and the runtime's threads come
/// and go.
static SPAWNER: LazyLock<io::Result<Sender<Job>>> = LazyLock::new(|| {
    let (jobs, queue) = channel::<Job>();
    thread::Builder::new().name("spawner".into()).spawn(move || {
        for mut job in queue {
            let _runtime = job.runtime.enter();
            inherited::keep_to_ourselves();
            // Whoever asked may be gone; then the child is dropped here, and dies by that.
            let _ = job.answer.send(job.command.spawn());
        }
    })?;
    Ok(jobs)
});

/// Starts a process that dies when its handle is dropped, and that [`crate::die_with_parent`] can bind to
/// this one.
pub(crate) async fn spawn(mut command: Command) -> io::Result<Child> {
    // A group of its own: Ctrl-C on the terminal reaches whoever started it, who decides what that means.
    command.env(PARENT, std::process::id().to_string()).process_group(0).kill_on_drop(true);
    let gone = || io::Error::other("the thread that starts processes is gone");
    let jobs = SPAWNER.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
    let (answer, started) = oneshot::channel();
    jobs.send(Job { command, runtime: Handle::current(), answer }).map_err(|_| gone())?;
    started.await.map_err(|_| gone())?
}
