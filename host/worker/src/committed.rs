//! What of each split is in the sink for good, told to whoever reads it: a source may forget what lies before
//! it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

#[derive(Debug, Default)]
pub struct Committed(Mutex<HashMap<u32, watch::Sender<Option<Bytes>>>>);

impl Committed {
    /// Where the reader of a split looks.
    pub fn watch(&self, split: u32) -> watch::Receiver<Option<Bytes>> {
        let mut splits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        splits.entry(split).or_insert_with(|| watch::Sender::new(None)).subscribe()
    }

    /// After a commit: the newest checkpoint in it, by split.
    pub fn tell(&self, checkpoints: impl IntoIterator<Item = (u32, Vec<u8>)>) {
        let splits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (split, checkpoint) in checkpoints {
            if let Some(sender) = splits.get(&split) {
                sender.send_replace(Some(checkpoint.into()));
            }
        }
    }
}
