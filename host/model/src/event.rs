//! What a worker says while it works: one JSON document a line on its standard output.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Code, Fault, Mode, Permission, Result, StreamName, suggestion};

/// Everything anybody can learn about a run while it runs. Monitoring exports these; the terminal draws them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum WorkerEvent {
    /// The component is loaded.
    Ready {
        compiled_from_cache: bool,
        milliseconds: u64,
        /// What the kernel could not confine the worker from, in words.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unconfined: Vec<String>,
    },
    /// A message from the component, or from the sandbox about it. `stream`: while it read that one.
    Log {
        level: String,
        stream: Option<StreamName>,
        message: String,
    },
    /// What a stream's generation will read. No splits: nothing is new.
    Planned {
        stream: StreamName,
        splits: u64,
        estimated_rows: Option<u64>,
        estimated_bytes: Option<u64>,
        /// An interrupted generation goes on.
        resumed: bool,
        notes: Vec<String>,
    },
    /// So far, over all splits of the stream in this run.
    Progress {
        stream: StreamName,
        rows: u64,
        bytes: u64,
        rejected: u64,
        splits_done: u64,
    },
    /// One transaction of the sink.
    Committed {
        stream: StreamName,
        number: u64,
        table_version: u64,
        rows: u64,
        files: u64,
        milliseconds: u64,
    },
    Done {
        stream: StreamName,
        summary: StreamSummary,
    },
    /// In a rehearsal: the least that would have been enough.
    Used {
        permissions: Vec<Permission>,
        /// More different things were used than are kept: it may be too little.
        complete: bool,
        /// What nobody could grant.
        denials: u64,
    },
    /// The run goes on with the other streams, and what this one committed before stays.
    StreamFailed {
        stream: StreamName,
        fault: Fault,
    },
    /// The answer to `Task::Spec`, `Check`, `Discover` or `Conform`.
    Answer(Answer),
    /// The last event of a run.
    Finished {
        summary: RunSummary,
    },
    /// The last event of a run that failed.
    Failed {
        /// The first one, where several streams failed.
        fault: Fault,
        /// If the run came so far that its streams were worked on.
        summary: Option<RunSummary>,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "value")]
pub enum Answer {
    Spec {
        /// As the component gives it: a JSON Schema.
        config_schema: Value,
        /// The same, in words for people.
        config: Vec<ConfigKey>,
        secrets: Vec<String>,
    },
    Checked,
    Streams(Vec<StreamInfo>),
    Conformance(Vec<Conformance>),
}

/// A key of a connector's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigKey {
    pub name: String,
    /// What its value is, such as `string`, or the words to choose from.
    #[serde(rename = "type")]
    pub kind: String,
    pub required: bool,
    pub description: String,
}

/// One case of the conformance suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conformance {
    pub case: String,
    /// Why it failed; none when it passed.
    pub failure: Option<String>,
    /// What was seen, such as `3 streams`.
    pub detail: String,
}

/// A stream as `discover` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamInfo {
    pub name: String,
    pub columns: Vec<Column>,
    pub modes: Vec<String>,
    pub key: Vec<String>,
    pub cursors: Vec<String>,
    pub estimated_rows: Option<u64>,
    pub estimated_bytes: Option<u64>,
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    /// An Arrow type, as Arrow's documentation writes it, such as `timestamp[us]`.
    #[serde(rename = "type")]
    pub data_type: String,
    pub nullable: bool,
}

impl StreamInfo {
    /// Whether the stream can be read as a pipeline says: with this mode, and with columns that there are.
    pub fn admits(&self, mode: Mode, cursor: Option<&str>, key: &[String]) -> Result<()> {
        let fault =
            |message: String| Fault::user(Code::BadPipeline, format!("stream `{}` {message}", self.name));
        if !self.modes.iter().any(|known| known == mode.as_str()) {
            return Err(fault(format!("cannot be read with mode `{mode}`"))
                .help(format!("write one of: {}", self.modes.join(", "))));
        }
        let columns: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let absent = |column: &str| !columns.contains(&column);
        if let Some(cursor) = cursor.filter(|cursor| absent(cursor)) {
            let cursors = self.cursors.iter().map(String::as_str);
            let known = if self.cursors.is_empty() { columns } else { cursors.collect() };
            return Err(
                fault(format!("has no column `{cursor}` to be its cursor")).help(suggestion(cursor, known))
            );
        }
        match key.iter().find(|column| absent(column)) {
            Some(column) => {
                Err(fault(format!("has no column `{column}` to be in its key"))
                    .help(suggestion(column, columns)))
            }
            None => Ok(()),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSummary {
    /// Committed by this run.
    pub rows: u64,
    /// Of Arrow memory, before encoding.
    pub bytes: u64,
    pub rejected: u64,
    /// Rows the source sent that lie further back than the mark less the lookback: they count as loaded and
    /// are left out.
    pub skipped: u64,
    /// Rows the source sent again that were recognised and left out.
    pub recognised: u64,
    pub files: u64,
    pub commits: u64,
    pub columns: u64,
    pub table_version: Option<u64>,
    /// Where the table is, as a person would type it.
    pub location: String,
    pub milliseconds: u64,
    pub notes: Vec<String>,
}

/// What one instance, or all of a run, used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Instances made.
    pub instances: u64,
    /// The largest one's memory.
    pub peak_memory: u64,
    /// Spent running guest code and host functions it called.
    pub cpu_microseconds: u64,
    /// Calls from the guest to the host.
    pub calls: u64,
    /// Across the boundary, both ways.
    pub bytes: u64,
    pub rows: u64,
}

impl Counters {
    /// Sums what adds up and keeps the larger peak.
    pub fn add(&mut self, other: &Self) {
        self.instances += other.instances;
        self.peak_memory = self.peak_memory.max(other.peak_memory);
        self.cpu_microseconds += other.cpu_microseconds;
        self.calls += other.calls;
        self.bytes += other.bytes;
        self.rows += other.rows;
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Since somebody pressed Enter, as all times here: the start of both processes is in it, and the time
    /// somebody took to answer a question is not.
    pub milliseconds: u64,
    /// Committed, by the streams that were brought up to date.
    pub rows: u64,
    pub bytes: u64,
    /// Of the worker process: resident bytes at its largest.
    pub peak_memory: u64,
    pub cpu_microseconds: u64,
    /// Of all sandboxed instances.
    pub sandbox: Counters,
    /// Until the first row arrived from the component.
    pub first_row_milliseconds: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stream_does_not_have_is_said_with_what_it_has() {
        let column =
            |name: &str| Column { name: name.to_owned(), data_type: "int64".to_owned(), nullable: true };
        let stream = StreamInfo {
            name: "weather".into(),
            columns: vec![column("year"), column("time_hour")],
            modes: vec!["full".into()],
            key: Vec::new(),
            cursors: vec!["time_hour".into()],
            estimated_rows: None,
            estimated_bytes: None,
            notes: Vec::new(),
        };
        let told = |mode, cursor, key: &[&str]| {
            let key: Vec<String> = key.iter().map(|column| (*column).to_owned()).collect();
            stream.admits(mode, cursor, &key).map_or_else(|fault| fault.to_string(), |()| "fine".to_owned())
        };
        assert_eq!(told(Mode::Full, Some("time_hour"), &["year"]), "fine");
        for (mode, cursor, key, expected) in [
            (Mode::Incremental, None, "year", "cannot be read with mode `incremental`; write one of: full"),
            (
                Mode::Full,
                Some("timehour"),
                "year",
                "has no column `timehour` to be its cursor; did you mean `time_hour`? known here: time_hour",
            ),
            (
                Mode::Full,
                None,
                "yaer",
                "has no column `yaer` to be in its key; did you mean `year`? known here: year, time_hour",
            ),
        ] {
            assert_eq!(told(mode, cursor, &[key]), format!("TG0106: stream `weather` {expected}"));
        }
    }
}
