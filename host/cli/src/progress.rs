//! A run while it runs: a bar for each stream where somebody watches, a line for each step elsewhere.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tidegate_model::{StreamName, StreamSummary, WorkerEvent, list, tame};

use crate::render::{bytes, clip, count, duration, plural, rate};
use crate::terminal::Terminal;

/// How often a bar is drawn anew when nothing happens.
const TICK: Duration = Duration::from_millis(100);
const NAME_WIDTH: usize = 16;

pub struct Progress {
    terminal: Terminal,
    /// None: lines.
    bars: Option<MultiProgress>,
    /// Turns until the worker is ready.
    start: ProgressBar,
    streams: BTreeMap<StreamName, Stream>,
}

struct Stream {
    bar: ProgressBar,
    since: Instant,
    splits: u64,
}

impl Progress {
    pub fn new(terminal: Terminal) -> Self {
        let bars = terminal.draws().then(MultiProgress::new);
        let start = match &bars {
            Some(bars) => bars.add(ProgressBar::new_spinner().with_message("starting the connector")),
            None => ProgressBar::hidden(),
        };
        start.enable_steady_tick(TICK);
        Self { terminal, bars, start, streams: BTreeMap::new() }
    }

    pub fn on(&mut self, event: &WorkerEvent) {
        match event {
            WorkerEvent::Ready { compiled_from_cache, milliseconds, unconfined } => {
                self.start.finish_and_clear();
                if !unconfined.is_empty() {
                    let what = list(unconfined);
                    self.line(&format!(
                        "note: this kernel cannot confine the worker's {what}; see `tidegate doctor`"
                    ));
                }
                if !compiled_from_cache {
                    self.line(&format!(
                        "compiled the connector in {}; next time it is ready",
                        duration(*milliseconds)
                    ));
                }
            }
            WorkerEvent::Log { level, stream, message } => {
                let of = stream.as_ref().map(|stream| format!(" {stream}:")).unwrap_or_default();
                let message = tame(message.trim_end()).replace('\n', "\n  | ");
                self.line(&format!("{}:{of} {message}", tame(level)));
            }
            WorkerEvent::Planned { stream, splits, estimated_bytes, resumed, .. } => {
                self.planned(stream, *splits, *estimated_bytes, *resumed);
            }
            WorkerEvent::Progress { stream, rows, bytes, rejected, splits_done } => {
                self.advance(stream, *rows, *bytes, *rejected, *splits_done);
            }
            WorkerEvent::Done { stream, summary } => self.done(stream, summary),
            WorkerEvent::StreamFailed { stream, .. } => self.failed(stream),
            WorkerEvent::Committed { .. }
            | WorkerEvent::Used { .. }
            | WorkerEvent::Answer(_)
            | WorkerEvent::Finished { .. }
            | WorkerEvent::Failed { .. } => {}
        }
    }

    /// Leaves what is finished standing and takes the rest away.
    pub fn close(&self) {
        self.start.finish_and_clear();
        for stream in self.streams.values() {
            if !stream.bar.is_finished() {
                stream.bar.finish_and_clear();
            }
        }
    }

    fn planned(&mut self, name: &StreamName, splits: u64, estimated_bytes: Option<u64>, resumed: bool) {
        let bar = match &self.bars {
            Some(bars) => bars.add(bar(name, splits)),
            None => ProgressBar::hidden(),
        };
        if self.bars.is_none() && splits > 0 {
            let goes_on = if resumed { ", going on where it was interrupted" } else { "" };
            let size = estimated_bytes.map(|size| format!(", about {}", bytes(size))).unwrap_or_default();
            self.line(&format!("{name}: {}{size}{goes_on}", plural(splits, "split")));
        }
        if resumed {
            bar.set_message("going on");
        }
        self.streams.insert(name.clone(), Stream { bar, since: Instant::now(), splits });
    }

    fn advance(&self, name: &StreamName, rows: u64, size: u64, rejected: u64, splits_done: u64) {
        let Some(stream) = self.streams.get(name) else { return };
        let milliseconds = stream.since.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        let rejects = if rejected > 0 { format!("  {} rejected", count(rejected)) } else { String::new() };
        stream.bar.set_position(splits_done.min(stream.splits));
        stream.bar.set_message(format!(
            "{:>11} rows  {:>8}/s{rejects}",
            count(rows),
            bytes(rate(size, milliseconds))
        ));
    }

    fn done(&mut self, name: &StreamName, summary: &StreamSummary) {
        let told = match summary.rows {
            0 if summary.rejected == 0 => "nothing new".to_owned(),
            rows => format!("{:>11} rows  in {}", count(rows), duration(summary.milliseconds)),
        };
        match (&self.bars, self.streams.get(name)) {
            (Some(_), Some(stream)) => {
                stream.bar.set_position(stream.splits);
                stream.bar.finish_with_message(told);
            }
            _ => self.line(&format!("{name}: {}", told.trim_start())),
        }
    }

    /// Why is told at the end of the run.
    fn failed(&self, name: &StreamName) {
        match (&self.bars, self.streams.get(name)) {
            (Some(_), Some(stream)) => stream.bar.abandon_with_message("failed"),
            _ => self.line(&format!("{name}: failed")),
        }
    }

    fn line(&self, text: &str) {
        match &self.bars {
            // Above the bars.
            Some(bars) => {
                let _ = bars.println(text);
            }
            None => self.terminal.say(&format!("{text}\n")),
        }
    }
}

fn bar(name: &StreamName, splits: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("  {prefix} {bar:20} {pos:>3}/{len:3} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(splits).with_style(style.progress_chars("━━ "));
    bar.set_prefix(format!("{:NAME_WIDTH$}", clip(name.as_str(), NAME_WIDTH)));
    bar.enable_steady_tick(TICK);
    bar
}
