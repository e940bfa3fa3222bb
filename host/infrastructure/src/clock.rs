//! The time of day, from its one owner. Durations are measured with `std::time::Instant`, which nobody needs
//! to own.

use chrono::{DateTime, Utc};

/// Now, by the machine's clock: it may jump, and two machines disagree.
#[expect(clippy::disallowed_methods, reason = "the owner of the clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}
