//! One file for each verb. A verb reads its arguments, asks the modules below, and answers with a `Reply`.

pub mod audit;
pub mod check;
pub mod completions;
pub mod discover;
pub mod doctor;
pub mod explain;
pub mod grant;
pub mod new;
pub mod plugin;
pub mod run;
pub mod secret;
pub mod state;
pub mod store;
pub mod test;
pub mod user;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::terminal::Terminal;

/// What every verb knows.
pub struct Context {
    pub terminal: Terminal,
    /// As `--data-dir` says.
    pub data_dir: Option<PathBuf>,
    /// When this process began, by the machine's steady clock.
    pub began: Duration,
}

impl Context {
    pub fn data_dir(&self) -> Option<&Path> {
        self.data_dir.as_deref()
    }
}
