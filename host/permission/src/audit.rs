//! The record of all decisions: JSON by the line, each line holding the hash of the one before.

mod chain;
mod head;
mod key;
mod lines;
mod record;
#[cfg(test)]
mod tests;
mod verify;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_infrastructure::{AppendedFile, clock};
use tidegate_model::{Code, Fault, Result, RunId};

use chain::Chain;
use lines::Lines;

pub(crate) use record::Entry;
pub use record::{AuditRecord, Decision};
pub use verify::Verified;

/// The audit in a file, to which several processes append at once, and which is never rewritten.
///
/// Every line holds its number, and the hash of the line before it. So nothing between two lines can be
/// changed, taken out, put in or moved without the second of them telling. What the last line cannot tell,
/// [`Audit::seal`] does.
#[derive(Debug, Clone)]
pub struct Audit {
    path: PathBuf,
    run: Option<RunId>,
    chain: Arc<Mutex<Option<Chain>>>,
}

impl Audit {
    /// The audit in that file, for the decisions of a run or of none.
    pub fn at(path: impl Into<PathBuf>, run: Option<RunId>) -> Self {
        Self { path: path.into(), run, chain: Arc::default() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn record(&self, entry: &Entry) -> Result<()> {
        let record = entry.at(clock::now(), self.run.as_ref());
        // Invariant 1: where the record cannot be written, the answer is no.
        self.with_chain(|chain| chain.append(record)).map_err(|fault| Fault {
            code: Code::AuditUnavailable,
            help: fault.help.or_else(|| {
                let help =
                    "nothing is allowed that cannot be recorded: make room for the audit, or let it be written";
                Some(help.into())
            }),
            ..fault
        })
    }

    /// Signs what is recorded so far with this person's key, so that even its last lines cannot be cut off or
    /// changed without [`Audit::verify`] telling. `keys` is the folder of the key, which is made on first use.
    ///
    /// Cheap when nothing was recorded since the last time. Not for workers: they run what nobody trusts, and
    /// must not be able to reach the key.
    pub fn seal(&self, keys: &Path) -> Result<()> {
        head::seal(&self.path, keys)
    }

    /// Whether all of it is what was written, from the first record on. `public` is the key of whoever sealed
    /// it; without, the one in `keys` is taken. A fault with [`Code::AuditBroken`] says what is wrong, and at
    /// which line.
    pub fn verify(&self, keys: &Path, public: Option<&Path>) -> Result<Verified> {
        verify::verify(&self.path, keys, public)
    }

    /// The last `most` records, oldest first. Lines that are no records, such as one that a full disk cut
    /// short, are left out.
    pub fn tail(&self, most: usize, denied_only: bool) -> Result<Vec<AuditRecord>> {
        let Some(file) = AppendedFile::open_to_read(&self.path)? else { return Ok(Vec::new()) };
        let mut last = VecDeque::new();
        let mut lines = Lines::of(&file, 0, u64::MAX);
        while let Some(line) = lines.next()? {
            let Some(record) = AuditRecord::read(&line.bytes) else { continue };
            if most == 0 || (denied_only && record.decision != Decision::Deny) {
                continue;
            }
            if last.len() == most {
                last.pop_front();
            }
            last.push_back(record);
        }
        Ok(last.into())
    }

    /// The file stays open between two records: it is read once, not for each of them.
    fn with_chain<T>(&self, act: impl FnOnce(&mut Chain) -> Result<T>) -> Result<T> {
        // Whoever panicked inside left a chain that looks at the file again.
        let mut place = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chain = match place.take() {
            Some(chain) => chain,
            None => Chain::open(&self.path)?,
        };
        let outcome = act(&mut chain);
        // After a fault the file is opened anew: it may have been put elsewhere, or mended.
        if outcome.is_ok() {
            *place = Some(chain);
        }
        outcome
    }
}
