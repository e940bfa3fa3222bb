//! Records that could not become rows.

use serde::{Deserialize, Serialize};

/// Kept aside beside the table, so that somebody can mend it or look for it at the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// Where it came from, such as a file's path.
    pub origin: String,
    /// Line, byte or record number there.
    pub position: u64,
    pub reason: String,
    /// The record's own text, at most 4 KiB, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
}

impl Reject {
    /// Bytes in memory, roughly.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.origin.len() + self.reason.len() + self.raw.as_ref().map_or(0, String::len)
    }
}
