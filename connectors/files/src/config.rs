//! What the pipeline file says under `extract.config`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_decode::CsvOptions;
use tidegate_sdk::{Fault, Result};

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A folder or a file: a path relative to the pipeline file, `s3://bucket/prefix`, or
    /// `https://host/file.csv`.
    pub location: String,
    /// What the files are. By default their names tell: .csv, .tsv, .ndjson, .jsonl, .json, .parquet.
    #[serde(default)]
    pub format: Option<FormatName>,
    /// How the files are compressed. By default their names tell: .gz, .zst.
    #[serde(default)]
    pub compression: Option<CompressionName>,
    /// Which files below the location count, such as `2013/**/*.csv`. By default all whose names tell their
    /// format.
    #[serde(default)]
    pub glob: Option<String>,
    /// Streams by name, and the files of each. By default names of files and folders tell: `airlines.csv` is
    /// the stream `airlines`; `sales-2013-01.csv`, `sales-2013-02.csv` and all files below the folder `sales`
    /// are the stream `sales`.
    #[serde(default)]
    pub streams: BTreeMap<String, Selection>,
    /// CSV: what separates fields; by default a comma, and a tab in .tsv files.
    #[serde(default)]
    pub delimiter: Option<char>,
    /// CSV: the first record of every file names its columns.
    #[serde(default = "yes")]
    pub header: bool,
    /// CSV: unquoted fields that mean null; by default the empty one alone.
    #[serde(default = "empty_token")]
    pub null_tokens: Vec<String>,
    /// JSON: where in the document the array of records is, such as `/data/items`; by default the document is
    /// that array.
    #[serde(default)]
    pub json_pointer: String,
    /// Where bytes become rows: `kernel` is in the host, and faster; `guest` is in the sandbox.
    #[serde(default)]
    pub lane: Lane,
}

/// The files of one stream: either key.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// A pattern, such as `sales/**/*.csv`.
    #[serde(default)]
    pub glob: Option<String>,
    /// One file.
    #[serde(default)]
    pub path: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FormatName {
    Csv,
    Ndjson,
    Json,
    Parquet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CompressionName {
    None,
    Gzip,
    Zstd,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    #[default]
    Kernel,
    Guest,
}

fn yes() -> bool {
    true
}

fn empty_token() -> Vec<String> {
    vec![String::new()]
}

impl Config {
    pub fn csv(&self, usual_delimiter: char) -> Result<CsvOptions> {
        let delimiter = self.delimiter.unwrap_or(usual_delimiter);
        let one_byte = u8::try_from(delimiter).ok().filter(u8::is_ascii);
        Ok(CsvOptions {
            delimiter: one_byte.filter(|byte| !matches!(byte, b'"' | b'\r' | b'\n')).ok_or_else(|| {
                Fault::user(
                    "invalid",
                    format!("`delimiter`: {delimiter:?} cannot separate fields; use one ASCII character, neither a quote nor a line break"),
                )
            })?,
            header: self.header,
            columns: Vec::new(),
            null_tokens: self.null_tokens.clone(),
        })
    }
}

impl Selection {
    /// As a pattern.
    pub fn pattern(&self, stream: &str) -> Result<String> {
        match (&self.glob, &self.path) {
            (Some(glob), None) => Ok(glob.clone()),
            (None, Some(path)) => Ok(literal(path)),
            _ => Err(Fault::user("invalid", format!("`streams.{stream}`: give either `glob` or `path`"))),
        }
    }
}

/// A pattern that matches this path alone.
fn literal(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for character in path.trim_start_matches("./").chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '{' | '}') {
            pattern.extend(['[', character, ']']);
        } else {
            pattern.push(character);
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_a_glob_or_a_path() {
        for (glob, path, expected) in [
            (Some("a/*.csv"), None, Some("a/*.csv")),
            (None, Some("./a[1].csv"), Some("a[[]1[]].csv")),
            (None, None, None),
            (Some("x"), Some("y"), None),
        ] {
            let selection = Selection { glob: glob.map(Into::into), path: path.map(Into::into) };
            assert_eq!(selection.pattern("s").ok().as_deref(), expected);
        }
    }
}
