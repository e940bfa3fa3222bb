//! Versions of what lies in a store, and the way from one to the next.

use tidegate_model::Result;

use super::backup::Entry;

/// What an entry of one version is in the next: another, or none any more.
pub(super) type Step = fn(Entry) -> Result<Option<Entry>>;

/// The versions that a program knows: from 1 on, each with the step from the one before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Formats {
    steps: &'static [Step],
}

impl Formats {
    /// There is one version so far.
    pub(super) const OURS: Self = Self { steps: &[] };

    #[cfg(test)]
    pub(super) const fn new(steps: &'static [Step]) -> Self {
        Self { steps }
    }

    pub(super) fn newest(self) -> u32 {
        u32::try_from(self.steps.len()).unwrap_or(u32::MAX) + 1
    }

    pub(super) fn is_newer(self, format: u32) -> bool {
        format > self.newest()
    }

    /// Brings an entry from a version to the newest.
    pub(super) fn migrate(self, from: u32, entry: Entry) -> Result<Option<Entry>> {
        let known = from.saturating_sub(1) as usize;
        let mut entry = Some(entry);
        for step in self.steps.iter().skip(known) {
            entry = entry.map(step).transpose()?.flatten();
        }
        Ok(entry)
    }
}
