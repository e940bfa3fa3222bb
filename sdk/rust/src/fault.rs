//! What goes wrong, in the contract's words.

use std::error::Error;
use std::time::Duration;
use std::{fmt, io};

use crate::bindings::tidegate::connector::types as wit;

pub type Result<T, E = Fault> = std::result::Result<T, E>;

/// Whose problem a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultDomain {
    /// The pipeline's author can mend it.
    User,
    /// The source failed, or answered something it should not have.
    External,
    /// The connector is at fault.
    Internal,
}

/// Why something did not work.
///
/// `?` makes one of any error: of domain `external`, because what fails on the way to a source is most often
/// the source. A fault that travelled inside another error (the host refused to open a file, and a parser
/// passed that on) comes out as it went in.
///
/// So that this works for every error type, `Fault` is not itself an [`Error`]; see [`Fault::into_error`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub domain: FaultDomain,
    /// Trying the same again can help, after this long.
    pub retry: Option<Duration>,
    /// Lower-case words joined by dashes; at most 64 bytes.
    pub code: String,
    /// What happened, why, and what to do; the host keeps 4 KiB.
    pub message: String,
}

impl Fault {
    pub fn user(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FaultDomain::User, code, message)
    }

    pub fn external(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FaultDomain::External, code, message)
    }

    pub fn internal(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FaultDomain::Internal, code, message)
    }

    fn new(domain: FaultDomain, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { domain, retry: None, code: code.into(), message: message.into() }
    }

    /// Says that the same may work later.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry = Some(pause);
        self
    }

    /// Puts what was being done before the message: `reading page 3: connection reset`.
    #[must_use]
    pub fn during(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    fn from_wit(fault: &wit::Fault) -> Self {
        Self {
            domain: match fault.domain {
                wit::FaultDomain::User => FaultDomain::User,
                wit::FaultDomain::External => FaultDomain::External,
                wit::FaultDomain::Internal => FaultDomain::Internal,
            },
            retry: match fault.retry {
                wit::Retry::No => None,
                wit::Retry::After(milliseconds) => Some(Duration::from_millis(milliseconds)),
            },
            code: fault.code.clone(),
            message: fault.message.clone(),
        }
    }

    /// For interfaces that insist on an [`Error`].
    pub fn into_error(self) -> Box<dyn Error + Send + Sync> {
        Box::new(Carried(self))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl<E: Error + 'static> From<E> for Fault {
    fn from(error: E) -> Self {
        find_carried(&error).unwrap_or_else(|| Self::external("failed", error.to_string()))
    }
}

/// A fault inside another error.
#[derive(Debug)]
struct Carried(Fault);

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Carried {}

fn find_carried(error: &(dyn Error + 'static)) -> Option<Fault> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(Carried(fault)) = error.downcast_ref() {
            return Some(fault.clone());
        }
        if let Some(fault) = error.downcast_ref::<wit::Fault>() {
            return Some(Fault::from_wit(fault));
        }
        // An io::Error's source is that of the error it wraps, and not that error.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

impl From<Fault> for wit::Fault {
    fn from(fault: Fault) -> Self {
        Self {
            domain: match fault.domain {
                FaultDomain::User => wit::FaultDomain::User,
                FaultDomain::External => wit::FaultDomain::External,
                FaultDomain::Internal => wit::FaultDomain::Internal,
            },
            retry: match fault.retry {
                None => wit::Retry::No,
                Some(pause) => wit::Retry::After(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)),
            },
            code: fault.code,
            message: fault.message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_comes_out_of_other_errors_as_it_went_in() {
        let denied = Fault::user("denied", "no grant covers ./data").retry_after(Duration::from_secs(1));
        let wrapped = io::Error::other(io::Error::other(denied.clone().into_error()));
        assert_eq!(Fault::from(wrapped), denied);
        let parser = arrow_schema::ArrowError::from_external_error(denied.clone().into_error());
        assert_eq!(Fault::from(parser), denied);
    }

    #[test]
    fn any_other_error_is_the_source_s() {
        let fault = Fault::from("x".parse::<u8>().unwrap_err()).during("reading the age");
        assert_eq!(fault.domain, FaultDomain::External);
        assert_eq!(fault.to_string(), "reading the age: invalid digit found in string (failed)");
    }
}
