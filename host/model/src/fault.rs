//! One error for the whole platform. A fault may be born in a guest, cross the sandbox, then a process, and
//! be read by a person in a terminal: it must mean the same in all these places.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Code, Exit};

pub type Result<T, E = Fault> = std::result::Result<T, E>;

/// Whose problem a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Domain {
    /// Whoever wrote the pipeline or gave the command can mend it.
    User,
    /// Something outside failed: a source, a sink, a disk.
    External,
    /// A component or Tidegate itself is at fault.
    Internal,
}

/// Whether trying the same again can help.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    #[default]
    No,
    /// After so many milliseconds.
    After(u64),
}

/// Where in a file somebody wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub file: String,
    /// From 1.
    pub line: Option<u64>,
    /// From 1, in characters.
    pub column: Option<u64>,
}

/// What happened, why, and what to type next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub code: Code,
    pub domain: Domain,
    #[serde(default)]
    pub retry: Retry,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// The code a connector gave, when the fault is its own, such as `not-found`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector_code: Option<String>,
}

impl Fault {
    fn new(domain: Domain, code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            domain,
            retry: Retry::No,
            message: message.into(),
            help: None,
            place: None,
            connector_code: None,
        }
    }

    /// Somebody can mend this by changing what they wrote.
    pub fn user(code: Code, message: impl Into<String>) -> Self {
        Self::new(Domain::User, code, message)
    }

    /// The world outside did not do its part.
    pub fn external(code: Code, message: impl Into<String>) -> Self {
        Self::new(Domain::External, code, message)
    }

    /// A component's mistake, or our own.
    pub fn internal(code: Code, message: impl Into<String>) -> Self {
        Self::new(Domain::Internal, code, message)
    }

    /// What to do about it, as a sentence or a command.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub fn at(mut self, file: impl Into<String>, line: Option<u64>, column: Option<u64>) -> Self {
        self.place = Some(Place { file: file.into(), line, column });
        self
    }

    #[must_use]
    pub fn retry_after(mut self, milliseconds: u64) -> Self {
        self.retry = Retry::After(milliseconds);
        self
    }

    /// Says what was being done when it happened, before the message.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    pub fn exit(&self) -> Exit {
        self.code.exit()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        if let Some(place) = &self.place {
            write!(f, " ({place})")?;
        }
        if let Some(help) = &self.help {
            write!(f, "; {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}
