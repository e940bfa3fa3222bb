//! Reading the files people write, so that a mistake is told with its line and what was probably meant.

use serde::de::DeserializeOwned;
use serde_saphyr::Error;

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
