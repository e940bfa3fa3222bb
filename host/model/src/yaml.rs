//! Reading the files people write, so that a mistake is told with its line and what was probably meant.

use std::cell::Cell;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_saphyr::{Error, Location, Spanned, with_deserializer_from_str};

use crate::{Code, Fault, Result, suggestion};

/// Parses YAML 1.2 that somebody wrote. `file` is only for the message.
pub fn from_yaml<T: DeserializeOwned>(file: &str, text: &str) -> Result<T> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| fault(file, &error))
}

fn fault(file: &str, error: &Error) -> Fault {
    let error = error.without_snippet();
    let place = error.location().map(|at| (at.line(), at.column()));
    let (line, column) = place.unzip();
    let fault = match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            Fault::user(Code::UnknownKey, format!("unknown key `{field}`")).help(suggestion(field, expected))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            Fault::user(Code::BadFile, format!("unknown value `{variant}`"))
                .help(suggestion(variant, expected))
        }
        other => Fault::user(Code::BadFile, one_line(other)),
    };
    fault.at(file, line, column)
}

/// The library's message without the location that we tell separately.
fn one_line(error: &Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let first = first.split(" at line ").next().unwrap_or(first);
    first.trim_start_matches("error: ").to_owned()
}

/// A value, and the line it was written at, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<T> {
    pub line: u64,
    pub value: T,
}

impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for Placed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::deserialize(deserializer)?;
        Ok(Self { line: referenced.line(), value })
    }
}

/// Line and column, from 1, of the key that a path of keys leads to, or of the last one on the way that is
/// there.
pub fn place_of_key(text: &str, path: &[&str]) -> Option<(u64, u64)> {
    let found = Cell::new(None);
    // What ends the search early ends it with a fault, and what was found until then counts.
    let _ = with_deserializer_from_str(text, |yaml| Search { path, found: &found }.deserialize(yaml));
    found.get().map(|at: Location| (at.line(), at.column()))
}

struct Search<'a> {
    path: &'a [&'a str],
    found: &'a Cell<Option<Location>>,
}

impl<'de> DeserializeSeed<'de> for Search<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Search<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((wanted, rest)) = self.path.split_first() else { return Ok(()) };
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            if key.value == *wanted {
                self.found.set(Some(key.referenced));
                return map.next_value_seed(Search { path: rest, found: self.found });
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_where_it_was_written() {
        let text = "\
pipeline: flights
extract:
  config: { location: ./data, \"null_tokens\": [a, b] }
  streams:
    weather:
      mode: full
";
        for (path, expected) in [
            (&["extract", "config", "location"][..], Some((3, 13))),
            (&["extract", "config", "null_tokens"], Some((3, 31))),
            (&["extract", "streams", "weather", "mode"], Some((6, 7))),
            // The nearest above: there is no such key, or it lies in a list.
            (&["extract", "streams", "wether"], Some((4, 3))),
            (&["extract", "config", "null_tokens", "x"], Some((3, 31))),
            (&["ingest"], None),
            (&[], None),
        ] {
            assert_eq!(place_of_key(text, path), expected, "{path:?}");
        }
        assert_eq!(place_of_key("a: [", &["b"]), None);
    }
}
