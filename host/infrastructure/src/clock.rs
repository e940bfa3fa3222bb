//! Time, from its one owner: the time of day, and a steady clock that all processes of a machine share. What
//! one process measures of its own work it measures with `std::time::Instant`, which nobody needs to own.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rustix::time::{ClockId, clock_gettime};

/// Now, by the machine's clock: it may jump, and two machines disagree.
#[expect(clippy::disallowed_methods, reason = "the owner of the clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Since a moment that is the same for every process of this machine (`CLOCK_MONOTONIC`; usually its start),
/// so that one process can measure from what another did. Never goes back.
pub fn steady() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    // Neither part is ever negative.
    let part = |number: i64| u64::try_from(number).unwrap_or_default();
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}
