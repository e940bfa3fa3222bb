//! When rows that are staged become visible.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tidegate_model::CommitEvery;

/// How long splits have to close their files once an epoch ends. Who comes later is part of the next one.
const CLOSING: Duration = Duration::from_millis(100);

/// Counts what is durable and not yet committed, and tells stagers when to close their files.
#[derive(Debug)]
pub struct Epoch {
    every: CommitEvery,
    number: AtomicU64,
    durable: AtomicU64,
}

/// The committing side's view of time.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    closing: Option<Instant>,
    read_before: u64,
}

impl Epoch {
    pub fn new(every: CommitEvery) -> Self {
        Self { every, number: AtomicU64::new(0), durable: AtomicU64::new(0) }
    }

    /// Which epoch this is. A file that was begun in another one is closed at its next checkpoint.
    pub fn number(&self) -> u64 {
        self.number.load(Relaxed)
    }

    /// So many bytes have become durable with their receipts.
    pub fn durable(&self, bytes: u64) {
        // A receipt without rows still makes progress.
        self.durable.fetch_add(bytes.max(1), Relaxed);
    }

    pub fn pace(&self) -> Pace {
        Pace { began: Instant::now(), closing: None, read_before: 0 }
    }

    /// Asked from time to time: is a commit due? `read` is what the source has sent so far, in bytes of Arrow
    /// memory.
    pub fn due(&self, pace: &mut Pace, read: u64) -> bool {
        let over = pace.began.elapsed() >= Duration::from_secs(self.every.seconds)
            || read.saturating_sub(pace.read_before) >= self.every.bytes;
        if pace.closing.is_none() && over {
            pace.closing = Some(Instant::now());
            self.number.fetch_add(1, Relaxed);
        }
        let due =
            pace.closing.is_some_and(|since| since.elapsed() >= CLOSING) && self.durable.swap(0, Relaxed) > 0;
        if due {
            *pace = Pace { began: Instant::now(), closing: None, read_before: read };
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_ends_by_bytes_and_commits_what_was_closed_in_time() {
        let epoch = Epoch::new(CommitEvery { bytes: 100, seconds: 3600 });
        let mut pace = epoch.pace();
        assert!(!epoch.due(&mut pace, 99));
        assert_eq!(epoch.number(), 0);
        assert!(!epoch.due(&mut pace, 100), "files need a moment to close");
        assert_eq!(epoch.number(), 1, "and are told to");
        std::thread::sleep(CLOSING);
        assert!(!epoch.due(&mut pace, 150), "nothing is durable yet");
        epoch.durable(10);
        assert!(epoch.due(&mut pace, 150));
        assert!(!epoch.due(&mut pace, 249), "the next epoch counts from there");
        assert_eq!(epoch.number(), 1);
    }
}
