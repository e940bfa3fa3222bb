//! What has been extracted so far, as others see it.

use serde::Serialize;

use crate::document::{Identity, Progress};

/// What the last commit says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Number of the last commit of this stream; none before the first.
    pub number: Option<u64>,
    /// The cursor's greatest value among the rows of complete generations.
    pub high_water: Option<String>,
    /// What the connector gave with its last complete generation.
    pub bookmark: Option<Vec<u8>>,
}

impl State {
    pub(crate) fn of(number: u64, progress: &Progress) -> Self {
        Self {
            number: (number > 0).then_some(number),
            high_water: progress.high_water.clone(),
            bookmark: progress.bookmark.clone(),
        }
    }
}

/// The state for a person or a program to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Description {
    pub application: String,
    pub location: String,
    /// The table's version; none when there is no table yet.
    pub table_version: Option<u64>,
    pub number: Option<u64>,
    pub identity: Option<Identity>,
    pub high_water: Option<String>,
    /// Bytes of the connector's own bookmark.
    pub bookmark_bytes: Option<u64>,
    /// A generation that is partly committed: how many of its splits to their end, and how many there are.
    pub interrupted: Option<(u64, u64)>,
}
