//! Which source a stream's state belongs to.

use sha2::{Digest, Sha256};
use tidegate_ingestion::Identity;
use tidegate_model::{StreamName, WorkOrder};

/// Names the source by what the component asks to reach, not by all of its configuration: reading the same
/// files with another delimiter goes on where the last run stopped, reading other files does not. Nor by what
/// it was granted: a further grant does not make another source.
pub fn of(order: &WorkOrder, stream: &StreamName) -> Identity {
    let mut places: Vec<&str> =
        order.source.iter().filter_map(|permission| permission.target.as_deref()).collect();
    places.sort_unstable();
    let mut hash = Sha256::new();
    for place in places {
        hash.update((place.len() as u64).to_le_bytes());
        hash.update(place);
    }
    let fingerprint = hash.finalize().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    Identity { connector: order.component.name.clone(), fingerprint, stream: stream.to_string() }
}
