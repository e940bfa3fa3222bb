//! What one instance uses: memory it holds, calls it makes, bytes it moves, time it takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tidegate_model::{Code, Counters, Fault, Result};

/// Calls an instance may make in its life. A call costs the host well under a microsecond, a useful one far
/// more.
const MAX_CALLS: u64 = 100_000_000;
/// Bytes an instance may move across the boundary in its life.
const MAX_BYTES: u64 = 16 << 40;
/// Time a guest may compute without asking the host for anything, when nobody says otherwise.
pub(crate) const COMPUTE: Duration = Duration::from_secs(60);
/// Time that may pass without a call to the host, and outside of `output`, where waiting is the sink's doing.
const MAX_SILENCE: Duration = Duration::from_secs(600);
/// Time that may pass in a call without anything read, answered, decoded or written, however often it asks.
const MAX_IDLENESS: Duration = Duration::from_secs(3600);

/// Bytes held by one instance: its memories and tables, and what lives in the host on its behalf.
#[derive(Debug)]
pub(crate) struct Ledger {
    limit: u64,
    used: AtomicU64,
    peak: AtomicU64,
    refused: AtomicBool,
}

/// Bytes taken from a ledger until this is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    ledger: Arc<Ledger>,
    bytes: u64,
}

impl Ledger {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: 0.into(), peak: 0.into(), refused: false.into() })
    }

    /// Takes `bytes` if there is room for them.
    pub(crate) fn add(&self, bytes: u64) -> bool {
        let taken = self
            .used
            .fetch_update(Relaxed, Relaxed, |used| used.checked_add(bytes).filter(|sum| *sum <= self.limit));
        match taken {
            Ok(before) => {
                self.peak.fetch_max(before + bytes, Relaxed);
                true
            }
            Err(_) => {
                self.refused.store(true, Relaxed);
                false
            }
        }
    }

    pub(crate) fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Relaxed);
    }

    pub(crate) fn charge(self: &Arc<Self>, bytes: u64) -> Result<Charge> {
        if self.add(bytes) {
            return Ok(Charge { ledger: self.clone(), bytes });
        }
        Err(self.exceeded())
    }

    /// Whether the instance was ever refused memory: the likely cause when it then gives up.
    pub(crate) fn was_exceeded(&self) -> bool {
        self.refused.load(Relaxed)
    }

    pub(crate) fn exceeded(&self) -> Fault {
        let limit = self.limit >> 20;
        Fault::internal(
            Code::LimitExceeded,
            format!("the connector needs more memory than the {limit} MiB one instance may have, its batches in the host included"),
        )
        .help("raise `extract.limits.memory`, at most 512MiB, or let the connector work in smaller pieces")
    }
}

impl Charge {
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<()> {
        if !self.ledger.add(bytes) {
            return Err(self.ledger.exceeded());
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.ledger.give_back(self.bytes);
    }
}

/// Counts, and the rules over them. Shared by the instance, which counts, and whoever watches it.
#[derive(Debug)]
pub(crate) struct Meter {
    born: Instant,
    /// Time the guest may compute without asking the host for anything.
    compute: Duration,
    calls: AtomicU64,
    bytes: AtomicU64,
    rows: AtomicU64,
    /// Microseconds on a thread of the host.
    busy: AtomicU64,
    /// Of those, since the last call to the host.
    computing: AtomicU64,
    /// Microseconds of wall time from `born` to the last call.
    last_call: AtomicU64,
    /// The same, to when it last got on.
    last_progress: AtomicU64,
    in_output: AtomicBool,
}

impl Meter {
    pub(crate) fn new(compute: Duration) -> Arc<Self> {
        Arc::new(Self {
            born: Instant::now(),
            compute,
            calls: 0.into(),
            bytes: 0.into(),
            rows: 0.into(),
            busy: 0.into(),
            computing: 0.into(),
            last_call: 0.into(),
            last_progress: 0.into(),
            in_output: false.into(),
        })
    }

    /// The guest calls the host, or the host the guest.
    pub(crate) fn called(&self) {
        self.calls.fetch_add(1, Relaxed);
        self.computing.store(0, Relaxed);
        self.last_call.store(micros(self.born.elapsed()), Relaxed);
    }

    /// It got on: bytes came in or went out. Asking alone is not that.
    pub(crate) fn progressed(&self) {
        self.last_progress.store(micros(self.born.elapsed()), Relaxed);
    }

    pub(crate) fn moved(&self, bytes: u64, rows: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
        self.rows.fetch_add(rows, Relaxed);
    }

    /// The instance ran for so long without yielding.
    pub(crate) fn ran(&self, time: Duration) {
        self.busy.fetch_add(micros(time), Relaxed);
        self.computing.fetch_add(micros(time), Relaxed);
    }

    /// While it waits for room in the output, no clock runs.
    pub(crate) fn waits_for_output(&self, waiting: bool) {
        self.in_output.store(waiting, Relaxed);
        self.last_call.store(micros(self.born.elapsed()), Relaxed);
        self.progressed();
    }

    /// The rule that is broken, if one is.
    pub(crate) fn breach(&self) -> Option<Fault> {
        let since = |then: &AtomicU64| micros(self.born.elapsed()).saturating_sub(then.load(Relaxed));
        let in_output = self.in_output.load(Relaxed);
        let words = if self.computing.load(Relaxed) > micros(self.compute) {
            format!("it computed for {} s without asking the host for anything", self.compute.as_secs_f32())
        } else if !in_output && since(&self.last_call) > micros(MAX_SILENCE) {
            format!("nothing was heard of it for {} s", MAX_SILENCE.as_secs())
        } else if !in_output && since(&self.last_progress) > micros(MAX_IDLENESS) {
            format!("it read, decoded and wrote nothing for {} s", MAX_IDLENESS.as_secs())
        } else if self.calls.load(Relaxed) > MAX_CALLS {
            format!("it called the host more than {MAX_CALLS} times")
        } else if self.bytes.load(Relaxed) > MAX_BYTES {
            format!("it moved more than {} TiB across the boundary", MAX_BYTES >> 40)
        } else {
            return None;
        };
        Some(Fault::internal(Code::LimitExceeded, format!("the connector was stopped: {words}")))
    }

    pub(crate) fn counters(&self, ledger: &Ledger) -> Counters {
        Counters {
            instances: 1,
            peak_memory: ledger.peak.load(Relaxed),
            cpu_microseconds: self.busy.load(Relaxed),
            calls: self.calls.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            rows: self.rows.load(Relaxed),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_gives_what_it_has_and_no_more() {
        let ledger = Ledger::new(100);
        let held = ledger.charge(60).unwrap();
        assert_eq!(ledger.charge(41).unwrap_err().code, Code::LimitExceeded);
        assert!(ledger.was_exceeded());
        drop(held);
        assert!(ledger.charge(100).is_ok());
        assert_eq!(Meter::new(COMPUTE).counters(&ledger).peak_memory, 100);
    }

    #[test]
    fn an_overflowing_request_is_refused() {
        let ledger = Ledger::new(u64::MAX);
        let _held = ledger.charge(2).unwrap();
        assert!(ledger.charge(u64::MAX).is_err());
    }

    #[test]
    fn every_rule_of_the_meter_is_told_in_words() {
        let breach = |prepare: fn(&mut Meter)| {
            let mut meter = Arc::into_inner(Meter::new(COMPUTE)).unwrap();
            prepare(&mut meter);
            meter.breach().map(|fault| fault.message).unwrap_or_default()
        };
        assert_eq!(breach(|_| ()), "");
        assert!(breach(|m| m.ran(Duration::from_secs(61))).contains("computed for 60 s"));
        assert!(breach(|m| m.moved(MAX_BYTES + 1, 0)).contains("16 TiB"));
        assert!(breach(|m| m.calls.store(MAX_CALLS + 1, Relaxed)).contains("100000000 times"));
        let silent = breach(|m| m.born -= 2 * MAX_SILENCE);
        assert!(silent.contains("nothing was heard of it for 600 s"), "{silent}");
        let idle = breach(|m| {
            m.born -= 2 * MAX_IDLENESS;
            m.called();
        });
        assert!(idle.contains("wrote nothing for 3600 s"), "{idle}");
        let fresh = breach(|m| {
            m.ran(Duration::from_secs(61));
            m.called();
        });
        assert_eq!(fresh, "");
    }
}
