//! The end of a command: what it decided, and what its workers did, is signed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tidegate_infrastructure::{DataDir, config_dir};
use tidegate_permission::Audit;

use crate::render;
use crate::terminal::Terminal;

/// The audits that somebody decided something in. Of the process, since a command ends in one place only, and
/// decides in many.
static DECIDED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Has the audit of a data folder sealed when the command ends, whatever its end is.
pub fn at_the_end(data_dir: &DataDir) {
    DECIDED.lock().unwrap_or_else(PoisonError::into_inner).insert(data_dir.audit_path());
}

/// Seals them. What a command did is done, so that it could not be sealed is said and changes nothing: the next
/// seal covers it.
pub fn now(terminal: Terminal) {
    let decided = std::mem::take(&mut *DECIDED.lock().unwrap_or_else(PoisonError::into_inner));
    if decided.is_empty() {
        return;
    }
    let seal = |audit: &PathBuf, keys: &Path| Audit::at(audit, None).seal(keys);
    let outcome = config_dir().and_then(|keys| decided.iter().try_for_each(|audit| seal(audit, &keys)));
    if let Err(fault) = outcome {
        terminal.say(&render::fault(&fault.context("the audit is not sealed"), terminal.side_paint()));
    }
}
