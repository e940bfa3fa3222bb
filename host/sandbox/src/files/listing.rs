//! Gathering entries up to the limit.

use globset::GlobMatcher;

use super::MAX_ENTRIES;
use crate::bindings::files::Entry;
use crate::refusal::{Asked, Refusal};

/// What a listing found so far.
pub(super) struct Listing<'a> {
    glob: Option<&'a GlobMatcher>,
    entries: Vec<Entry>,
}

impl<'a> Listing<'a> {
    pub(super) fn new(glob: Option<&'a GlobMatcher>) -> Self {
        Self { glob, entries: Vec::new() }
    }

    pub(super) fn add(&mut self, entry: Entry) -> Asked<()> {
        if self.glob.is_some_and(|glob| !glob.is_match(&entry.path)) {
            return Ok(());
        }
        if self.entries.len() == MAX_ENTRIES {
            return Err(Refusal::limit(format!(
                "more than {MAX_ENTRIES} files; name a narrower location or glob"
            )));
        }
        self.entries.push(entry);
        Ok(())
    }

    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }
}
