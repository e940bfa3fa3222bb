//! Which files there are, and which stream each belongs to.
//!
//! A file directly at the location gives its name to a stream: `airlines.csv.gz` is of the stream `airlines`.
//! What follows a dash and has no letters tells parts of one stream apart: `sales-1.csv` and
//! `sales-2013-02.csv` are both of the stream `sales`. Files in folders are of the stream that the topmost
//! folder names. Files and folders that begin with a dot or an underscore do not count.

use std::collections::BTreeMap;

use tidegate_decode::CsvOptions;
use tidegate_sdk::{Compression, Context, Entry, Fault, Result};

use crate::config::{CompressionName, Config, FormatName};
use crate::lane;

/// A file, and how to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Below the location; empty when the location is the file.
    pub path: String,
    pub size: u64,
    pub modified: Option<u64>,
    pub version: Option<String>,
    pub kind: Kind,
    pub compression: CompressionName,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Csv(CsvOptions),
    Ndjson,
    Json(String),
    Parquet,
}

impl File {
    /// For people.
    pub fn label(&self, location: &str) -> String {
        if self.path.is_empty() { file_name(location).to_owned() } else { self.path.clone() }
    }

    /// Whether it can be read from the middle.
    pub fn is_plain_text(&self) -> bool {
        self.compression == CompressionName::None && matches!(self.kind, Kind::Csv(_) | Kind::Ndjson)
    }

    /// As the host is told.
    pub fn wire_compression(&self) -> Compression {
        match self.compression {
            CompressionName::None => Compression::None,
            CompressionName::Gzip => Compression::Gzip,
            CompressionName::Zstd => Compression::Zstd,
        }
    }
}

/// All streams and their files, each in order of path. Not empty.
pub fn streams(cx: &Context<Config>) -> Result<BTreeMap<String, Vec<File>>> {
    let config = &cx.config;
    let mut streams = BTreeMap::new();
    if config.streams.is_empty() {
        for entry in list(cx, config.glob.as_deref())? {
            let name = stream_name(&entry.path, &config.location);
            let chosen = config.glob.is_some() || entry.path.is_empty();
            if let Some(file) = file(config, entry, chosen)? {
                streams.entry(name).or_insert_with(Vec::new).push(file);
            }
        }
        if streams.is_empty() {
            return Err(none_found(config, config.glob.as_deref()));
        }
        return Ok(streams);
    }
    for (name, selection) in &config.streams {
        let pattern = selection.pattern(name)?;
        let mut files = Vec::new();
        for entry in list(cx, Some(&pattern))? {
            files.extend(file(config, entry, true)?);
        }
        if files.is_empty() {
            return Err(none_found(config, Some(&pattern)).during(format_args!("stream `{name}`")));
        }
        streams.insert(name.clone(), files);
    }
    Ok(streams)
}

fn list(cx: &Context<Config>, pattern: Option<&str>) -> Result<Vec<Entry>> {
    cx.files().list(&cx.config.location, pattern).map_err(|mut fault| {
        if fault.code == "not-found" {
            fault
                .message
                .push_str("; mend `location`: a relative one starts at the folder of the file that says it");
        }
        fault
    })
}

fn none_found(config: &Config, pattern: Option<&str>) -> Fault {
    let location = &config.location;
    let message = match (pattern, config.format) {
        (Some(pattern), _) => format!("no file at `{location}` matches `{pattern}`"),
        (None, Some(format)) => format!(
            "there is no {format:?} file at `{location}`; if files there have other endings, name them with `glob`"
        ),
        (None, None) => format!(
            "there is no CSV, NDJSON, JSON or Parquet file at `{location}`; if files there have other endings, name them with `glob` and say their `format`"
        ),
    };
    Fault::user("not-found", message)
}

/// `None` for a file that does not count. One that was `chosen` by name counts unless it is hidden.
fn file(config: &Config, entry: Entry, chosen: bool) -> Result<Option<File>> {
    let hidden = |part: &str| part.starts_with(['.', '_']);
    if entry.path.split('/').any(hidden) {
        return Ok(None);
    }
    let name = if entry.path.is_empty() { file_name(&config.location) } else { file_name(&entry.path) };
    let endings = Endings::of(name);
    let format = match (config.format, endings.format) {
        (Some(wanted), Some(told)) if wanted != told && !chosen => return Ok(None),
        (Some(wanted), Some(_)) => wanted,
        (Some(wanted), None) if chosen => wanted,
        (None, Some(told)) => told,
        (Some(_), None) => return Ok(None),
        (None, None) if chosen => {
            return Err(Fault::user(
                "invalid",
                format!(
                    "the name of `{name}` does not tell what it is: say `format: csv`, `ndjson`, `json` or `parquet`"
                ),
            ));
        }
        (None, None) => return Ok(None),
    };
    let kind = match format {
        FormatName::Csv => Kind::Csv(config.csv(if endings.tabs { '\t' } else { ',' })?),
        FormatName::Ndjson => Kind::Ndjson,
        FormatName::Json => Kind::Json(config.json_pointer.clone()),
        FormatName::Parquet => Kind::Parquet,
    };
    let compression = config.compression.unwrap_or(endings.compression);
    if kind == Kind::Parquet && compression != CompressionName::None {
        return Err(Fault::user(
            "unsupported",
            format!("`{name}` is a compressed Parquet file: Parquet compresses inside; unpack the file"),
        ));
    }
    lane::check(config.lane, &kind, name)?;
    let Entry { path, size, modified, version } = entry;
    Ok(Some(File { path, size, modified, version, kind, compression }))
}

/// A file of a plan, by the rules of the listing that found it.
pub fn known(config: &Config, path: &str, size: u64) -> Result<File> {
    let entry = Entry { path: path.to_owned(), size, modified: None, version: None };
    file(config, entry, true)?
        .ok_or_else(|| Fault::internal("invalid", format!("{path} was planned, but does not count")))
}

/// The last part of a path or an address.
fn file_name(location: &str) -> &str {
    let path = location.split(['?', '#']).next().unwrap_or(location).trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path)
}

fn stream_name(path: &str, location: &str) -> String {
    if let Some((folder, _)) = path.split_once('/') {
        return folder.to_owned();
    }
    let name = if path.is_empty() { file_name(location) } else { path };
    let stem = Endings::of(name).stem;
    let part = stem.char_indices().find(|(at, character)| {
        let rest = &stem[at + 1..].chars();
        *character == '-'
            && *at > 0
            && rest.clone().any(|c| c.is_ascii_digit())
            && !rest.clone().any(char::is_alphabetic)
    });
    part.map_or(stem, |(at, _)| &stem[..at]).to_owned()
}

/// What the endings of a file's name tell.
struct Endings<'a> {
    stem: &'a str,
    format: Option<FormatName>,
    compression: CompressionName,
    tabs: bool,
}

impl<'a> Endings<'a> {
    fn of(name: &'a str) -> Self {
        let (rest, compression) = match name.rsplit_once('.') {
            Some((rest, ending)) if ending.eq_ignore_ascii_case("gz") => (rest, CompressionName::Gzip),
            Some((rest, ending)) if ending.eq_ignore_ascii_case("zst") => (rest, CompressionName::Zstd),
            _ => (name, CompressionName::None),
        };
        let (stem, ending) = rest.rsplit_once('.').unwrap_or((rest, ""));
        let ending = ending.to_ascii_lowercase();
        let format = match ending.as_str() {
            "csv" | "tsv" => Some(FormatName::Csv),
            "ndjson" | "jsonl" => Some(FormatName::Ndjson),
            "json" => Some(FormatName::Json),
            "parquet" => Some(FormatName::Parquet),
            _ => None,
        };
        Self { stem, format, compression, tabs: ending == "tsv" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_streams() {
        for (path, expected) in [
            ("airlines.csv", "airlines"),
            ("airlines.csv.gz", "airlines"),
            ("sales-1.csv", "sales"),
            ("sales-2013-02.ndjson.zst", "sales"),
            ("sales-eu.csv", "sales-eu"),
            ("sales-eu-01.csv", "sales-eu"),
            ("sales-2013q1.csv", "sales-2013q1"),
            ("covid_19.csv", "covid_19"),
            ("-1.csv", "-1"),
            ("events/2013/01.parquet", "events"),
            ("", "flights"),
        ] {
            assert_eq!(stream_name(path, "https://example.org/x/flights.csv?raw=1"), expected, "{path}");
        }
    }

    fn kind(config: &str, path: &str, chosen: bool) -> String {
        let config: Config = serde_json::from_str(config).unwrap();
        let entry = Entry { path: path.into(), size: 1, modified: None, version: None };
        match file(&config, entry, chosen) {
            Ok(Some(file)) => format!("{:?} {:?}", file.kind, file.compression),
            Ok(None) => "left out".into(),
            Err(fault) => fault.message,
        }
    }

    #[test]
    fn names_and_options_tell_formats() {
        let by_name = r#"{"location": "x"}"#;
        let csv = r#"{"location": "x", "format": "csv", "compression": "none"}"#;
        for (config, path, chosen, expected) in [
            (by_name, "a.ndjson.zst", false, "Ndjson Zstd"),
            (by_name, "a.JSON", false, "Json(\"\") None"),
            (by_name, "README.md", false, "left out"),
            (by_name, "_log/a.csv", true, "left out"),
            (
                by_name,
                "a.dat",
                true,
                "the name of `a.dat` does not tell what it is: say `format: csv`, `ndjson`, `json` or `parquet`",
            ),
            (
                by_name,
                "a.parquet.gz",
                true,
                "`a.parquet.gz` is a compressed Parquet file: Parquet compresses inside; unpack the file",
            ),
            (
                r#"{"location": "x", "lane": "guest"}"#,
                "b/a.parquet",
                false,
                "`a.parquet` is a Parquet file, and `lane: guest` reads none: only the host's kernels decode Parquet. \
                 Leave out `lane`, or say with `glob` which other files to read",
            ),
            (r#"{"location": "x", "lane": "guest"}"#, "a.ndjson", false, "Ndjson None"),
            (csv, "a.json", false, "left out"),
            (csv, "README.md", false, "left out"),
        ] {
            assert_eq!(kind(config, path, chosen), expected, "{path}");
        }
        assert!(kind(csv, "a.dat", true).starts_with("Csv"));
        assert!(kind(by_name, "a.tsv", false).contains("delimiter: 9"));
        let bad = r#"{"location": "x", "delimiter": "é"}"#;
        assert!(kind(bad, "a.csv", false).contains("cannot separate fields"));
    }
}
