//! Faults on their way between a guest and the host.

use tidegate_model::{Code, Domain, Fault, Retry};
use wasmtime::component::ResourceTableError;

use crate::bindings::types;
use crate::guest::Guest;

/// Why a host function did not do what the guest asked.
#[derive(Debug)]
pub enum Refusal {
    /// The guest is told, and may go on.
    Told(types::Fault),
    /// The guest is ended: it broke a limit, or the host cannot go on.
    Ended(Fault),
}

pub(crate) type Asked<T> = std::result::Result<T, Refusal>;

impl Refusal {
    pub(crate) fn told(domain: types::FaultDomain, code: &str, message: impl Into<String>) -> Self {
        Self::Told(types::Fault {
            domain,
            retry: types::Retry::No,
            code: code.to_owned(),
            message: message.into(),
        })
    }

    /// The guest called a function with something that it does not take.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::told(types::FaultDomain::Internal, "invalid", message)
    }

    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Self::told(types::FaultDomain::External, "limit", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::told(types::FaultDomain::User, "not-found", message)
    }

    /// The world outside did not answer as it should; trying again may help.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::Told(types::Fault {
            domain: types::FaultDomain::External,
            retry: types::Retry::After(1000),
            code: "unavailable".to_owned(),
            message: message.into(),
        })
    }
}

impl types::Host for Guest {
    fn convert_fault(&mut self, refusal: Refusal) -> wasmtime::Result<types::Fault> {
        match refusal {
            Refusal::Told(fault) => Ok(fault),
            Refusal::Ended(fault) => Err(wasmtime::Error::new(fault)),
        }
    }
}

/// A handle that is not one, a list that is out of bounds: the guest is broken.
impl From<wasmtime::Error> for Refusal {
    fn from(error: wasmtime::Error) -> Self {
        Self::Ended(crate::trap::in_words(&error))
    }
}

impl From<ResourceTableError> for Refusal {
    fn from(error: ResourceTableError) -> Self {
        match error {
            ResourceTableError::Full => Self::Ended(crate::trap::too_many_handles()),
            other => Self::from(wasmtime::Error::from(other)),
        }
    }
}

/// What the host itself says to a guest when it refuses.
impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        let code = match fault.code {
            Code::AuditUnavailable | Code::Bug => return Self::Ended(fault),
            Code::NotGranted
            | Code::AboveCeiling
            | Code::ConnectorDenied
            | Code::NoSecret
            | Code::Revoked => "denied",
            Code::LimitExceeded => "limit",
            Code::BadBatch | Code::BadConfig | Code::BadPipeline => "invalid",
            _ => "unavailable",
        };
        let domain = match fault.domain {
            Domain::User => types::FaultDomain::User,
            Domain::External => types::FaultDomain::External,
            Domain::Internal => types::FaultDomain::Internal,
        };
        let retry = match fault.retry {
            Retry::No => types::Retry::No,
            Retry::After(milliseconds) => types::Retry::After(milliseconds),
        };
        Self::Told(types::Fault { domain, retry, code: code.to_owned(), message: fault.message })
    }
}

/// What a guest says of itself when an export returns a fault. `asked` is the export that was called, and
/// `denial` the last thing that the host refused this instance: it knows which grant would help.
pub(crate) fn from_guest(asked: &str, fault: &types::Fault, denial: Option<&Fault>) -> Fault {
    if let Some(cause) =
        denial.filter(|denial| matches!(denial.code, Code::NoSecret | Code::AuditUnavailable))
    {
        // Nothing that a guest could have mended or could name better.
        return cause.clone();
    }
    let connector_code = clean_code(&fault.code);
    let message = clipped(&fault.message, 4096);
    let mut told = match fault.domain {
        types::FaultDomain::User if connector_code == "denied" => Fault::user(Code::ConnectorDenied, message),
        types::FaultDomain::User if connector_code == "not-found" && asked == "start" => {
            Fault::user(Code::NoStream, message)
        }
        types::FaultDomain::User => Fault::user(Code::BadConfig, message),
        types::FaultDomain::External if connector_code == "limit" => {
            Fault::external(Code::LimitExceeded, message)
        }
        types::FaultDomain::External => Fault::external(Code::SourceFailed, message),
        types::FaultDomain::Internal => Fault::internal(Code::ConnectorFailed, message),
    };
    if connector_code == "denied" {
        told.help = denial.and_then(|denial| denial.help.clone());
    }
    if let types::Retry::After(milliseconds) = fault.retry {
        told.retry = Retry::After(milliseconds);
    }
    told.connector_code = Some(connector_code);
    told
}

/// At most 64 bytes of lower-case letters, digits and dashes.
fn clean_code(code: &str) -> String {
    let plain = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-';
    code.chars().filter(plain).take(64).collect()
}

/// The text, cut at a character's boundary when it is longer than `max` bytes.
pub(crate) fn clipped(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(max)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(domain: types::FaultDomain, code: &str) -> types::Fault {
        types::Fault { domain, retry: types::Retry::After(5), code: code.into(), message: "m".into() }
    }

    #[test]
    fn what_a_guest_says_becomes_a_code_of_ours() {
        use types::FaultDomain::{External, Internal, User};
        for (asked, domain, code, expected) in [
            ("check", User, "bad", Code::BadConfig),
            ("check", User, "denied", Code::ConnectorDenied),
            ("start", User, "not-found", Code::NoStream),
            ("discover", User, "not-found", Code::BadConfig),
            ("read", External, "unavailable", Code::SourceFailed),
            ("read", External, "limit", Code::LimitExceeded),
            ("read", Internal, "oops", Code::ConnectorFailed),
        ] {
            let told = from_guest(asked, &fault(domain, code), None);
            assert_eq!(told.code, expected, "{asked} {code}");
            assert_eq!(told.connector_code.as_deref(), Some(code));
            assert_eq!(told.retry, Retry::After(5));
        }
    }

    #[test]
    fn a_denial_keeps_the_grant_that_would_help() {
        let denial = Fault::user(Code::NotGranted, "no").help("add this");
        let told = from_guest("read", &fault(types::FaultDomain::User, "denied"), Some(&denial));
        assert_eq!(told.help.as_deref(), Some("add this"));
    }

    #[test]
    fn texts_of_any_length_and_shape_are_tamed() {
        let wild = types::Fault {
            message: "é".repeat(10_000),
            ..fault(types::FaultDomain::User, &"X\u{1b}[31ma-1".repeat(100))
        };
        let told = from_guest("check", &wild, None);
        assert!(told.message.len() <= 4096 + 3);
        assert!(told.connector_code.is_some_and(|code| code.len() <= 64 && !code.contains('\u{1b}')));
    }
}
