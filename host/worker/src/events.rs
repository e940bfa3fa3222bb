//! What the worker says, one JSON document a line on its standard output, in order, whoever speaks.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tidegate_infrastructure::clock;
use tidegate_model::WorkerEvent;

/// Events that may wait for the one who listens.
const WAITING: usize = 1024;

/// A handle to speak with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Events {
    sender: SyncSender<WorkerEvent>,
    /// By the machine's steady clock.
    began: Duration,
    first_row: Arc<OnceLock<Duration>>,
}

/// What was said so far, to nobody yet.
#[derive(Debug)]
pub struct Unspoken(Receiver<WorkerEvent>);

/// Writes what is said, until every handle is gone.
#[derive(Debug)]
pub struct Speaker(JoinHandle<()>);

impl Events {
    /// `began`: the moment that times are told from, by the machine's steady clock.
    pub fn since(began: Duration) -> (Self, Unspoken) {
        let (sender, receiver) = sync_channel(WAITING);
        (Self { sender, began, first_row: Arc::default() }, Unspoken(receiver))
    }

    /// Whoever started the run may be gone; then nobody needs to hear it. Where too much is waiting, a log
    /// line or a report of progress is dropped: a connector that talks must not fill the memory. All else is
    /// told, and waits for room.
    pub fn send(&self, event: WorkerEvent) {
        let _ = match event {
            WorkerEvent::Log { .. } | WorkerEvent::Progress { .. } => self.sender.try_send(event).is_ok(),
            _ => self.sender.send(event).is_ok(),
        };
    }

    pub fn first_row(&self) {
        self.first_row.get_or_init(|| self.elapsed());
    }

    pub fn time_to_first_row(&self) -> Option<Duration> {
        self.first_row.get().copied()
    }

    pub fn elapsed(&self) -> Duration {
        clock::steady().saturating_sub(self.began)
    }
}

impl Unspoken {
    /// Writes it, and all that follows, from a thread of its own.
    pub fn speak(self, out: impl Write + Send + 'static) -> Speaker {
        Speaker(std::thread::spawn(move || speak(&self.0, out)))
    }
}

impl Speaker {
    /// Waits until everything that was said is written.
    pub fn finish(self) {
        let _ = self.0.join();
    }
}

fn speak(receiver: &Receiver<WorkerEvent>, mut out: impl Write) {
    for event in receiver {
        let written = serde_json::to_writer(&mut out, &event)
            .map_err(std::io::Error::from)
            .and_then(|()| out.write_all(b"\n"))
            .and_then(|()| out.flush());
        if written.is_err() {
            // Nobody listens any more. The launcher ends a worker by killing it, so this is only a matter of
            // moments.
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_from_the_moment_that_somebody_else_took() {
        let before = Duration::from_secs(5);
        let (events, unspoken) = Events::since(clock::steady() - before);
        let speaker = unspoken.speak(std::io::sink());
        assert_eq!(events.time_to_first_row(), None);
        events.first_row();
        let first = events.time_to_first_row();
        assert!(first >= Some(before), "{first:?}");
        events.first_row();
        assert_eq!(events.time_to_first_row(), first, "the first row came once");
        assert!(events.elapsed() >= first.unwrap());
        drop(events);
        speaker.finish();
    }
}
