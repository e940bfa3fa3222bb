//! How far behind its mark an incremental stream is read again.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// For a cursor of dates or times a span such as `30m`, `2h` or `1d`; for one of numbers a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Lookback {
    Span(Duration),
    Number(u64),
}

const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// As it stands in a pipeline file.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Span(String),
}

impl TryFrom<Written> for Lookback {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let text = match written {
            Written::Number(number) => return Ok(Self::Number(number)),
            Written::Span(text) => text,
        };
        let seconds = UNITS.iter().find_map(|(unit, scale)| {
            let number: u64 = text.strip_suffix(unit)?.trim().parse().ok()?;
            number.checked_mul(*scale)
        });
        seconds.map(|seconds| Self::Span(Duration::from_secs(seconds))).ok_or_else(|| {
            format!("`{text}` is not a lookback: write a span such as 30m, 2h or 1d, or for a cursor of numbers a number")
        })
    }
}

impl From<Lookback> for Written {
    fn from(lookback: Lookback) -> Self {
        match lookback {
            Lookback::Number(number) => Self::Number(number),
            Lookback::Span(_) => Self::Span(lookback.to_string()),
        }
    }
}

impl fmt::Display for Lookback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = match self {
            Self::Number(number) => return write!(f, "{number}"),
            Self::Span(span) => span.as_secs(),
        };
        let whole = UNITS.iter().find(|(_, scale)| seconds % scale == 0);
        let (unit, scale) = whole.unwrap_or(&("s", 1));
        write!(f, "{}{unit}", seconds / scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookbacks_are_read_as_people_write_them() {
        for (text, shown) in
            [("\"90m\"", "90m"), ("\"2 h\"", "2h"), ("\"48h\"", "2d"), ("100", "100"), ("\"0s\"", "0d")]
        {
            let lookback: Lookback = serde_json::from_str(text).unwrap();
            assert_eq!(lookback.to_string(), shown);
            let again = serde_json::to_string(&lookback).unwrap();
            assert_eq!(serde_json::from_str::<Lookback>(&again).unwrap(), lookback);
        }
        assert!(serde_json::from_str::<Lookback>("\"a while\"").is_err());
        assert!(serde_json::from_str::<Lookback>("-1").is_err());
    }
}
