//! Names that travel far: into paths, logs, transaction identifiers.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn new(text: impl Into<String>) -> Result<Self, String> {
                let text = text.into();
                let check: fn(&str) -> Result<(), String> = $check;
                check(&text).map(|()| Self(text))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A pipeline: lower-case letters, digits, `-` and `_`, at most 63, starting with a letter or digit.
    PipelineName,
    |text| {
        let mut bytes = text.bytes();
        let starts = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let goes_on = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b));
        if starts && goes_on && text.len() <= 63 {
            Ok(())
        } else {
            Err(format!(
                "`{text}` is not a pipeline name: use lower-case letters, digits, `-` and `_`, at most 63, starting with a letter or digit"
            ))
        }
    }
);

name!(
    /// A stream, as its connector calls it: 1 to 200 bytes, one path segment, no control characters.
    /// It becomes a folder of the sink, dots and all.
    StreamName,
    |text| {
        let fits = !text.is_empty() && text.len() <= 200;
        let plain = !text.chars().any(|c| c.is_control() || c == '/' || c == '\\');
        if fits && plain && !text.starts_with('_') && text != "." && text != ".." {
            Ok(())
        } else {
            Err(format!(
                "`{text}` is not a stream name: it must be 1 to 200 bytes without slashes or control characters, and must not start with `_`"
            ))
        }
    }
);

name!(
    /// One run of one pipeline: unique, random.
    RunId,
    |text| {
        if !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            Ok(())
        } else {
            Err(format!("`{text}` is not a run identifier"))
        }
    }
);

/// Refuses, in words, what no connector can be called: in its own request, before the `@` in a pipeline, as a
/// new project.
pub fn check_connector_name(text: &str) -> Result<(), &'static str> {
    let starts = text.starts_with(|first: char| first.is_ascii_lowercase());
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if starts && text.len() <= 63 && text.chars().all(plain) {
        Ok(())
    } else {
        Err("a connector's name is 1 to 63 lower-case letters, digits and `-`, starting with a letter")
    }
}

/// Names a pipeline's stream in the sink's own transactions and in paths: `tidegate~flights~weather`. Two
/// different pairs never give the same text: what is not a letter, digit, `-`, `_` or `.` is percent-encoded,
/// `~` included.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ApplicationId(String);

impl ApplicationId {
    pub fn new(pipeline: &PipelineName, stream: &StreamName) -> Self {
        let mut text = format!("tidegate~{pipeline}~");
        for byte in stream.as_str().bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
                text.push(char::from(byte));
            } else {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn application_ids_are_one_path_segment_and_distinct() {
        let id = |stream: &str| {
            let pipeline = PipelineName::new("flights").unwrap();
            ApplicationId::new(&pipeline, &StreamName::new(stream).unwrap()).0
        };
        assert_eq!(id("public.weather"), "tidegate~flights~public.weather");
        assert_eq!(id("a~b c"), "tidegate~flights~a%7Eb%20c");
        assert_eq!(id("a%7Eb"), "tidegate~flights~a%257Eb");
    }

    #[test]
    fn names_that_would_escape_their_place_are_refused() {
        for bad in ["", "../up", "a/b", "_delta_log", "..", "tab\there", "back\\slash"] {
            assert!(StreamName::new(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "-x", "Flights", "a b", &"x".repeat(64)] {
            assert!(PipelineName::new(bad).is_err(), "{bad:?}");
            assert!(check_connector_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_connector_s_name_does_for_a_pipeline_and_a_package_too() {
        for good in ["files", "my-pages-2", "a-", &"x".repeat(63)] {
            assert_eq!(check_connector_name(good), Ok(()));
            assert!(PipelineName::new(good).is_ok(), "{good}");
        }
        for bad in ["my_pages", "2files", "a\nb", "é"] {
            assert!(check_connector_name(bad).is_err(), "{bad:?}");
        }
    }
}
