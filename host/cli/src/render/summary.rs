//! The end of a run, told.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidegate_model::{
    ComponentRef, Permission, PipelineName, RunId, RunSummary, StreamName, StreamSummary, list, short_digest,
    tame,
};

use super::{Align, Paint, Table, bytes, clip, count, duration, plural, rate, wrap};

const WIDTH: usize = 80;

type Count = fn(&StreamSummary) -> u64;

/// What a source sent that did not become rows, under the names that people read.
const ASIDE: [(&str, Count); 3] = [
    ("rejected", |stream| stream.rejected),
    ("older", |stream| stream.skipped),
    ("known", |stream| stream.recognised),
];

/// All that there is to say about a run that ended well.
pub struct Story<'a> {
    pub run: &'a RunId,
    pub pipeline: &'a PipelineName,
    pub component: &'a ComponentRef,
    pub permissions: &'a [Permission],
    pub streams: &'a BTreeMap<StreamName, StreamSummary>,
    pub total: &'a RunSummary,
}

impl Story<'_> {
    pub fn document(&self) -> Value {
        json!({
            "run": self.run,
            "pipeline": self.pipeline,
            "connector": {
                "name": self.component.name,
                "version": self.component.version,
                "digest": self.component.digest,
            },
            "permissions": self.permissions,
            "nothing_new": self.nothing_new(),
            "streams": self.streams,
            "summary": self.total,
        })
    }

    pub fn text(&self, paint: Paint) -> String {
        if self.nothing_new() { self.quiet(paint) } else { self.full(paint) }
    }

    fn nothing_new(&self) -> bool {
        self.streams.values().all(|stream| stream.rows == 0 && stream.rejected == 0)
    }

    fn quiet(&self, paint: Paint) -> String {
        let names = self.names();
        let verb = if names.len() == 1 { "is" } else { "are" };
        let told = format!("Nothing new: {} {verb} up to date.", list(&names));
        let mut text = format!("\n{}\n", paint.bold(&wrap(&told, WIDTH, "")));
        let were = |number| if number == 1 { "was" } else { "were" };
        let (older, known) = (self.sum(|stream| stream.skipped), self.sum(|stream| stream.recognised));
        if older > 0 {
            let what = format!(
                "{} older than the mark of the last run {} left out.\n",
                plural(older, "row"),
                were(older)
            );
            text.push_str(&what);
        }
        if known > 0 {
            let what = format!("{} that came again {} recognised.\n", plural(known, "row"), were(known));
            text.push_str(&what);
        }
        text.push_str(&format!("\n{}", self.facts(paint)));
        text
    }

    fn full(&self, paint: Paint) -> String {
        let done = format!("{} in {}", plural(self.total.rows, "row"), duration(self.total.milliseconds));
        let mut text = format!("\n{}  {done}\n\n", paint.bold(self.pipeline.as_str()));
        text.push_str(&self.table());
        text.push_str(&self.rejects(paint));
        text.push_str(&self.notes(paint));
        text.push_str(&format!("\n{}", self.facts(paint)));
        text.push_str(&self.look(paint));
        text
    }

    fn sum(&self, field: Count) -> u64 {
        self.streams.values().map(field).sum()
    }

    /// Columns that would hold nothing but zeros stay away.
    fn table(&self) -> String {
        let mut shown = ASIDE.to_vec();
        shown.retain(|(_, field)| self.sum(*field) > 0);
        let mut columns = vec![("stream", Align::Left), ("rows", Align::Right)];
        columns.extend(shown.iter().map(|(name, _)| (*name, Align::Right)));
        columns.extend([("size", Align::Right), ("rows/s", Align::Right), ("version", Align::Right)]);
        let mut table = Table::new(columns);
        for (name, stream) in self.streams {
            let mut cells = vec![clip(name.as_str(), 28), count(stream.rows)];
            cells.extend(shown.iter().map(|(_, field)| count(field(stream))));
            cells.extend([
                bytes(stream.bytes),
                count(rate(stream.rows, stream.milliseconds)),
                stream.table_version.map_or_else(|| "-".to_owned(), |version| version.to_string()),
            ]);
            table.row(cells);
        }
        if self.streams.len() > 1 {
            let mut cells = vec!["total".to_owned(), count(self.sum(|stream| stream.rows))];
            cells.extend(shown.iter().map(|(_, field)| count(self.sum(*field))));
            cells.extend([
                bytes(self.sum(|stream| stream.bytes)),
                count(rate(self.total.rows, self.total.milliseconds)),
                String::new(),
            ]);
            table.row(cells);
        }
        table.render("  ")
    }

    fn rejects(&self, paint: Paint) -> String {
        let mut text = String::new();
        for (name, stream) in self.streams.iter().filter(|(_, stream)| stream.rejected > 0) {
            let told = format!(
                "{name}: {} could not become rows; they are kept with their place and the reason below {}/_tidegate",
                plural(stream.rejected, "record"),
                stream.location,
            );
            text.push_str(&format!(
                "  {} {}\n",
                paint.yellow("rejected"),
                wrap(&told, WIDTH - 11, "           ")
            ));
        }
        if text.is_empty() { text } else { format!("\n{text}") }
    }

    fn notes(&self, paint: Paint) -> String {
        let mut text = String::new();
        for (name, stream) in self.streams {
            for note in &stream.notes {
                let told = tame(&format!("{name}: {note}"));
                text.push_str(&format!("  {} {}\n", paint.yellow("note"), wrap(&told, WIDTH - 7, "       ")));
            }
        }
        if text.is_empty() { text } else { format!("\n{text}") }
    }

    fn facts(&self, paint: Paint) -> String {
        let component = self.component;
        let sandbox = &self.total.sandbox;
        let mut lines = vec![
            (
                "connector",
                format!("{} {} ({})", component.name, component.version, short_digest(&component.digest)),
            ),
            ("granted", self.granted()),
            (
                "sandbox",
                format!(
                    "{}, the largest {}; {} and {} across the boundary",
                    plural(sandbox.instances, "instance"),
                    bytes(sandbox.peak_memory),
                    plural(sandbox.calls, "call"),
                    bytes(sandbox.bytes),
                ),
            ),
            (
                "worker",
                format!(
                    "{} of memory at its peak, {} of processor time",
                    bytes(self.total.peak_memory),
                    duration(self.total.cpu_microseconds / 1000),
                ),
            ),
        ];
        if let Some(milliseconds) = self.total.first_row_milliseconds {
            lines.push(("first row", format!("after {}", duration(milliseconds))));
        }
        let hanging = " ".repeat(13);
        lines
            .into_iter()
            .map(|(label, words)| {
                format!("  {}  {}\n", paint.dim(&format!("{label:<9}")), wrap(&words, WIDTH - 13, &hanging))
            })
            .collect()
    }

    fn granted(&self) -> String {
        if self.permissions.is_empty() {
            return "nothing".to_owned();
        }
        self.permissions.iter().map(Permission::to_string).collect::<Vec<_>>().join(", ")
    }

    /// Where the data is, and a line to type that shows the largest table.
    fn look(&self, paint: Paint) -> String {
        let largest = self.streams.values().max_by_key(|stream| stream.rows);
        let Some(largest) = largest.filter(|stream| stream.rows > 0) else { return String::new() };
        let hanging = " ".repeat(13);
        let tables = self.streams.values().filter(|stream| stream.table_version.is_some());
        let tables: Vec<&str> = tables.map(|stream| stream.location.as_str()).collect();
        format!(
            "  {}  {}\n\nLook at it (once: pip install polars deltalake):\n\n  {}\n",
            paint.dim(&format!("{:<9}", "tables")),
            tables.join(&format!("\n{hanging}")),
            paint.bold(&look_at(&largest.location)),
        )
    }

    fn names(&self) -> Vec<String> {
        self.streams.keys().map(StreamName::to_string).collect()
    }
}

/// A shell command that prints a Delta table. The location goes into a Python string inside single quotes of
/// the shell.
fn look_at(location: &str) -> String {
    let python = location.replace('\\', "\\\\").replace('"', "\\\"").replace('\'', "'\\''");
    format!("python3 -c 'import polars as pl; print(pl.read_delta(\"{python}\"))'")
}

#[cfg(test)]
mod tests {
    use tidegate_model::{CapabilityKind, Counters};

    use super::*;

    fn tell(streams: &[(&str, StreamSummary)]) -> String {
        let streams: BTreeMap<_, _> = streams
            .iter()
            .map(|(name, summary)| (StreamName::new(*name).unwrap(), summary.clone()))
            .collect();
        let rows = streams.values().map(|stream| stream.rows).sum();
        let total = RunSummary {
            milliseconds: 1_900,
            rows,
            bytes: 3 << 20,
            peak_memory: 98 << 20,
            cpu_microseconds: 1_200_000,
            sandbox: Counters {
                instances: 6,
                peak_memory: 34 << 20,
                cpu_microseconds: 400_000,
                calls: 312,
                bytes: 180_000,
                rows,
            },
            first_row_milliseconds: (rows > 0).then_some(48),
        };
        Story {
            run: &RunId::new("r1").unwrap(),
            pipeline: &PipelineName::new("flights").unwrap(),
            component: &ComponentRef {
                name: "files".into(),
                version: semver::Version::new(0, 1, 0),
                digest: format!("sha256:{}", "0123456789abcdef".repeat(4)),
                path: "files.wasm".into(),
                publisher: None,
            },
            permissions: &[
                Permission::new(CapabilityKind::Files, Some("./data".into())),
                Permission::new(CapabilityKind::Decode, None),
            ],
            streams: &streams,
            total: &total,
        }
        .text(Paint::PLAIN)
    }

    fn weather() -> StreamSummary {
        StreamSummary {
            rows: 26_115,
            bytes: 3 << 20,
            columns: 15,
            files: 1,
            commits: 1,
            table_version: Some(2),
            location: "lake/weather".into(),
            milliseconds: 400,
            ..StreamSummary::default()
        }
    }

    #[test]
    fn a_first_run() {
        let airlines = StreamSummary {
            rows: 16,
            bytes: 900,
            table_version: Some(2),
            location: "lake/airlines".into(),
            milliseconds: 100,
            ..StreamSummary::default()
        };
        assert_eq!(
            tell(&[("weather", weather()), ("airlines", airlines)]),
            "
flights  26,131 rows in 1.9 s

  stream      rows     size  rows/s  version
  airlines      16    900 B     160        2
  weather   26,115  3.0 MiB  65,287        2
  total     26,131  3.0 MiB  13,753

  connector  files 0.1.0 (sha256:0123456789ab)
  granted    files ./data, decode
  sandbox    6 instances, the largest 34 MiB; 312 calls and 176 KiB across the
             boundary
  worker     98 MiB of memory at its peak, 1.2 s of processor time
  first row  after 48 ms
  tables     lake/airlines
             lake/weather

Look at it (once: pip install polars deltalake):

  python3 -c 'import polars as pl; print(pl.read_delta(\"lake/weather\"))'
"
        );
    }

    #[test]
    fn a_run_with_rejects_older_rows_and_a_note() {
        let stream = StreamSummary {
            rejected: 2,
            skipped: 1_000,
            recognised: 0,
            notes: vec![
                "`wind_gust` is text because of \"NA\" (line 3); add NA to null_tokens to read it as float64"
                    .into(),
            ],
            ..weather()
        };
        let text = tell(&[("weather", stream)]);
        assert_eq!(
            text.split("\n\n").skip(1).take(3).collect::<Vec<_>>().join("\n\n"),
            "  stream     rows  rejected  older     size  rows/s  version
  weather  26,115         2  1,000  3.0 MiB  65,287        2

  rejected weather: 2 records could not become rows; they are kept with their
           place and the reason below lake/weather/_tidegate

  note weather: `wind_gust` is text because of \"NA\" (line 3); add NA to
       null_tokens to read it as float64"
        );
    }

    #[test]
    fn a_second_run_says_that_nothing_is_new() {
        let stream = StreamSummary { rows: 0, commits: 0, milliseconds: 12, ..weather() };
        assert_eq!(
            tell(&[("weather", stream.clone()), ("planes", stream)]),
            "
Nothing new: planes and weather are up to date.

  connector  files 0.1.0 (sha256:0123456789ab)
  granted    files ./data, decode
  sandbox    6 instances, the largest 34 MiB; 312 calls and 176 KiB across the
             boundary
  worker     98 MiB of memory at its peak, 1.2 s of processor time
"
        );
    }

    #[test]
    fn the_line_to_type_survives_quotes() {
        assert_eq!(
            look_at("it's \"here\""),
            r#"python3 -c 'import polars as pl; print(pl.read_delta("it'\''s \"here\""))'"#
        );
    }
}
