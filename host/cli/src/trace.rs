//! The trace that a command belongs to: its records in the audit, and its workers' too, carry it.

use std::sync::OnceLock;

use uuid::Uuid;

/// What starts a command as a part of something larger says so here, as W3C Trace Context has it.
const VARIABLE: &str = "TRACEPARENT";

/// 32 hexadecimal digits, the same for all of a process: those of `TRACEPARENT`, else new ones.
pub fn id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        let parent = std::env::var(VARIABLE).unwrap_or_default();
        trace_of(&parent).map_or_else(|| Uuid::new_v4().simple().to_string(), str::to_owned)
    })
}

/// `4bf9...4736` of `00-4bf9...4736-00f0...02b7-01`.
fn trace_of(parent: &str) -> Option<&str> {
    let mut parts = parent.trim().split('-');
    let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_one = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(span, 16);
    Some(trace).filter(|trace| is_one && trace.bytes().any(|b| b != b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_goes_on_where_there_is_one() {
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        for (parent, expected) in [
            (format!("00-{trace}-{span}-01"), Some(trace)),
            (format!("00-{trace}-{span}"), Some(trace)),
            (format!("ff-{trace}-{span}-01"), None),
            (format!("00-{}-{span}-01", "0".repeat(32)), None),
            (format!("00-{}-{span}-01", trace.to_uppercase()), None),
            (format!("00-{trace}x-{span}-01"), None),
            (String::new(), None),
        ] {
            assert_eq!(trace_of(&parent), expected, "{parent}");
        }
        assert_eq!(id().len(), 32);
    }
}
