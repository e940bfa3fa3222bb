//! The environments in which Tidegate's processes run: where its files are, what time it is, and how a worker
//! is started, watched and stopped.
//!
//! Goal: everything that reaches the operating system goes through one owner, so that it can be read, limited
//! and replaced in one place. A [`Launcher`] starts a worker somewhere; today that is a child process of this
//! machine.
//!
//! Never: it builds no image per connector (one worker runs them all), and it does not know what a worker
//! does.

pub mod clock;
pub mod files;

mod appended;
mod compiled;
mod config_dir;
mod confinement;
mod data_dir;
mod desk;
mod ending;
mod inherited;
mod launcher;
mod lifeline;
mod limited;
mod local;
mod lock;
mod owned;
mod pipes;
mod private;
mod spawner;
mod store;
mod user;

pub use appended::{AppendedFile, Turn};
pub use compiled::compiled_dir;
pub use config_dir::config_dir;
pub use confinement::{Confinement, Network, Part};
pub use data_dir::DataDir;
pub use desk::Desk;
pub use ending::Ending;
pub use launcher::{Launcher, Worker};
pub use lifeline::die_with_parent;
pub use limited::{Output, ProcessLimits, run_limited};
pub use local::LocalLauncher;
pub use private::{FolderLock, read_private};
pub use store::{
    SledStore, Store, StoreContents, Table, TableContents, Write, check_writes, store_conformance,
};
pub use user::user_name;
