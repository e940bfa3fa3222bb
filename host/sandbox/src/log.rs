//! What a component says, within limits.

use std::time::{Duration, Instant};

use tidegate_model::tame;
use tokio::sync::mpsc;

use crate::bindings::log;
use crate::credential::Credentials;
use crate::guest::Guest;
use crate::refusal::clipped;
use crate::wasi::Printed;

const MAX_LINE: usize = 64 << 10;
const MAX_A_MINUTE: usize = 1 << 20;
/// What a line costs besides its text.
const LINE: usize = 64;

/// One message of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// `error`, `warn`, `info` or `debug`.
    pub level: &'static str,
    /// The stream whose split was being read.
    pub stream: Option<String>,
    /// Without control characters but line breaks and tabs.
    pub message: String,
}

/// Passes lines on, a megabyte a minute, and says how many it dropped.
pub(crate) struct Logger {
    sender: mpsc::Sender<LogLine>,
    stream: Option<String>,
    printed: Printed,
    /// Where there are any.
    credentials: Option<Credentials>,
    minute: Instant,
    said: usize,
    dropped: u64,
}

impl Logger {
    pub(crate) fn new(
        sender: mpsc::Sender<LogLine>,
        stream: Option<String>,
        printed: Printed,
        credentials: Option<Credentials>,
    ) -> Self {
        Self { sender, stream, printed, credentials, minute: Instant::now(), said: 0, dropped: 0 }
    }

    pub(crate) fn say(&mut self, level: &'static str, message: &str) {
        if self.minute.elapsed() > Duration::from_secs(60) {
            self.minute = Instant::now();
            self.said = 0;
            self.confess();
        }
        let message = clipped(message, MAX_LINE);
        let message = tame(&self.hidden(&message).unwrap_or(message));
        if level == "error" {
            self.printed.logged_error(&message);
        }
        self.said += message.len() + LINE;
        if self.said > MAX_A_MINUTE || !self.send(level, message) {
            self.dropped += 1;
        }
    }

    fn hidden(&self, message: &str) -> Option<String> {
        self.credentials.as_ref()?.hide(message)
    }

    /// Says how many lines were dropped, if any were.
    pub(crate) fn confess(&mut self) {
        let dropped = self.dropped;
        if dropped > 0
            && self.send("warn", format!("{dropped} lines of the connector were dropped: it says too much"))
        {
            self.dropped = 0;
        }
    }

    fn send(&self, level: &'static str, message: String) -> bool {
        self.sender.try_send(LogLine { level, stream: self.stream.clone(), message }).is_ok()
    }
}

impl log::Host for Guest {
    async fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Error => "error",
            log::Level::Warn => "warn",
            log::Level::Info => "info",
            log::Level::Debug => "debug",
        };
        self.logger.say(level, &message);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let (sender, mut receiver) = mpsc::channel(100);
        let mut logger = Logger::new(sender, None, crate::wasi::context().1, None);
        for _ in 0..40 {
            logger.say("info", &"x".repeat(100_000));
        }
        logger.confess();
        let lines: Vec<_> = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
        assert!(lines.iter().map(|line| line.message.len()).sum::<usize>() <= MAX_A_MINUTE + 100);
        assert!(lines.last().unwrap().message.starts_with("25 lines"), "{}", lines.last().unwrap().message);
    }

    #[test]
    fn lines_that_say_nothing_are_not_free() {
        let (sender, mut receiver) = mpsc::channel(100_000);
        let mut logger = Logger::new(sender, None, crate::wasi::context().1, None);
        for _ in 0..100_000 {
            logger.say("info", "");
        }
        let passed = std::iter::from_fn(|| receiver.try_recv().ok()).count();
        assert_eq!(passed, MAX_A_MINUTE / LINE);
    }
}
