//! What a connector can see and reach.

use crate::bindings::tidegate::connector::log;
use crate::{Credentials, Files, Http, Tcp};

pub use log::Level;

/// The configuration, and the ways out that were granted.
#[derive(Debug)]
pub struct Context<C> {
    pub config: C,
}

impl<C> Context<C> {
    pub(crate) fn new(config: C) -> Self {
        Self { config }
    }

    pub fn files(&self) -> Files {
        Files::new()
    }

    pub fn http(&self) -> Http {
        Http::new()
    }

    /// Which secrets are bound. The host uses them by itself; see [`Credentials`].
    pub fn credentials(&self) -> Credentials {
        Credentials::new()
    }

    pub fn tcp(&self) -> Tcp {
        Tcp::new()
    }

    /// Tells whoever runs the pipeline. The host keeps 1 MiB a minute.
    pub fn log(&self, level: Level, message: impl AsRef<str>) {
        log::write(level, message.as_ref());
    }

    pub fn info(&self, message: impl AsRef<str>) {
        self.log(Level::Info, message);
    }

    pub fn warn(&self, message: impl AsRef<str>) {
        self.log(Level::Warn, message);
    }
}
