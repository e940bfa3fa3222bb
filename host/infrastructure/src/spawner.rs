use std::convert::Infallible;
use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::inherited;
use crate::lifeline::PARENT;

/// A child process, and the thread that started it. The kernel sends the parent-death signal when the *thread* that
/// started a child ends (prctl(2)), and the runtime's threads come and go; so each child has one of its own, which
/// ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) child: Child,
    // Dropped after the child, which dies by that.
    _starter: Sender<Infallible>,
}

/// Starts a process that dies when its handle is dropped, and that [`crate::die_with_parent`] can bind to
/// this one.
pub(crate) async fn spawn(mut command: Command) -> io::Result<Spawned> {
    // A group of its own: Ctrl-C on the terminal reaches whoever started it, who decides what that means.
    command.env(PARENT, std::process::id().to_string()).process_group(0).kill_on_drop(true);
    let runtime = Handle::current();
    let (answer, started) = oneshot::channel();
    let (starter, dropped) = channel::<Infallible>();
    thread::Builder::new().name("starter".into()).stack_size(256 << 10).spawn(move || {
        let child = {
            let _runtime = runtime.enter();
            inherited::keep_to_ourselves();
            command.spawn()
        };
        // Whoever asked may be gone; then the child is dropped here, and dies by that.
        let _ = answer.send(child);
        // An error: nobody holds the child any more.
        let _ = dropped.recv();
    })?;
    let child = started.await.map_err(|_| io::Error::other("the thread that starts a process is gone"))??;
    Ok(Spawned { child, _starter: starter })
}
