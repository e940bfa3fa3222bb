//! The end of a run that failed, told: every fault, and what is in the tables all the same.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidegate_model::{ComponentRef, Fault, PipelineName, RunId, RunSummary, StreamName, StreamSummary, list};

use super::{Paint, fault, plural};

/// What of a stream is in its table.
#[derive(Debug, Clone, PartialEq)]
pub enum Landed {
    /// All that there was.
    Whole(StreamSummary),
    /// What was committed before it failed. The next run goes on from there.
    Part(Part),
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Part {
    pub rows: u64,
    pub files: u64,
    pub commits: u64,
    pub table_version: Option<u64>,
    pub location: String,
}

/// All that there is to say about a run that failed.
pub struct Failure<'a> {
    pub run: &'a RunId,
    pub pipeline: &'a PipelineName,
    pub component: &'a ComponentRef,
    /// Why the run failed: the first fault, where it was its streams that failed.
    pub fault: &'a Fault,
    /// Each stream that failed, in the order of time.
    pub faults: &'a [(StreamName, Fault)],
    pub streams: &'a BTreeMap<StreamName, Landed>,
    /// If the worker lived to tell.
    pub total: Option<&'a RunSummary>,
}

impl Failure<'_> {
    pub fn document(&self) -> Value {
        let streams: serde_json::Map<_, _> =
            self.streams.iter().map(|(name, landed)| (name.to_string(), landed.document())).collect();
        let errors: Vec<Value> = self
            .all()
            .map(|(stream, fault)| {
                let mut error = json!(fault);
                error["stream"] = json!(stream);
                error
            })
            .collect();
        json!({
            "error": self.fault,
            "exit": self.fault.exit() as u8,
            "errors": errors,
            "run": self.run,
            "pipeline": self.pipeline,
            "connector": {
                "name": self.component.name,
                "version": self.component.version,
                "digest": self.component.digest,
            },
            "streams": streams,
            "summary": self.total,
        })
    }

    pub fn text(&self, paint: Paint) -> String {
        let mut text: String = self
            .all()
            .map(|(stream, told)| match stream {
                // Most faults of a stream say which one it is.
                Some(stream) if !told.message.contains(&format!("`{stream}`")) => {
                    fault(&told.clone().context(format!("stream `{stream}`")), paint)
                }
                _ => fault(told, paint),
            })
            .collect();
        let landed: Vec<String> = self
            .streams
            .iter()
            .filter_map(|(name, landed)| Some(format!("{name} ({})", landed.words()?)))
            .collect();
        if !landed.is_empty() {
            text.push_str(&format!("{}: {}\n", paint.bold("committed before, and stays"), list(&landed)));
        }
        text
    }

    /// The faults of streams, after the run's own if it is none of them.
    fn all(&self) -> impl Iterator<Item = (Option<&StreamName>, &Fault)> {
        let of_streams = self.faults.iter().map(|(stream, fault)| (Some(stream), fault));
        let own = self.faults.iter().all(|(_, fault)| fault != self.fault).then_some((None, self.fault));
        own.into_iter().chain(of_streams)
    }
}

impl Landed {
    fn document(&self) -> Value {
        let (mut document, complete) = match self {
            Self::Whole(summary) => (json!(summary), true),
            Self::Part(part) => {
                let Part { rows, files, commits, table_version, location } = part;
                let document = json!({
                    "rows": rows,
                    "files": files,
                    "commits": commits,
                    "table_version": table_version,
                    "location": location,
                });
                (document, false)
            }
        };
        document["complete"] = json!(complete);
        document
    }

    /// None where nothing new is there.
    fn words(&self) -> Option<String> {
        match self {
            Self::Whole(summary) => (summary.rows > 0).then(|| plural(summary.rows, "row")),
            Self::Part(part) => Some(format!("{} so far", plural(part.rows, "row"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::Code;

    use super::*;

    fn name(stream: &str) -> StreamName {
        StreamName::new(stream).unwrap()
    }

    fn told<T>(
        fault: &Fault,
        faults: &[(StreamName, Fault)],
        total: Option<&RunSummary>,
        tell: fn(&Failure) -> T,
    ) -> T {
        let weather =
            Part { rows: 7, files: 1, commits: 1, table_version: Some(3), location: "lake/weather".into() };
        let planes = StreamSummary { rows: 1, table_version: Some(2), ..StreamSummary::default() };
        tell(&Failure {
            run: &RunId::new("r1").unwrap(),
            pipeline: &PipelineName::new("flights").unwrap(),
            component: &ComponentRef {
                name: "files".into(),
                version: semver::Version::new(0, 1, 0),
                digest: "sha256:01".into(),
                path: "files.wasm".into(),
                publisher: None,
            },
            fault,
            faults,
            streams: &[
                (name("airports"), Landed::Whole(StreamSummary::default())),
                (name("planes"), Landed::Whole(planes)),
                (name("weather"), Landed::Part(weather)),
            ]
            .into(),
            total,
        })
    }

    #[test]
    fn every_fault_and_every_row_that_stays_is_told() {
        let first = Fault::external(Code::SourceFailed, "the file ends early");
        let second = Fault::user(Code::NoStream, "the source has no stream `airlins`").help("airlines");
        let faults = [(name("weather"), first.clone()), (name("airlins"), second)];
        assert_eq!(
            told(&first, &faults, None, |failure| failure.text(Paint::PLAIN)),
            "\
error[TG0401]: stream `weather`: the file ends early
error[TG0405]: the source has no stream `airlins`
  help: airlines
committed before, and stays: planes (1 row) and weather (7 rows so far)
"
        );
        let document = told(&first, &faults, Some(&RunSummary::default()), |failure| failure.document());
        assert_eq!((&document["error"]["code"], &document["exit"]), (&json!("TG0401"), &json!(1)));
        assert_eq!(document["errors"][0]["stream"], "weather");
        assert_eq!(document["errors"][1]["code"], "TG0405");
        assert_eq!(document["errors"].as_array().map(Vec::len), Some(2));
        assert_eq!(document["streams"]["planes"]["complete"], true);
        let weather = &document["streams"]["weather"];
        assert_eq!(
            (&weather["rows"], &weather["table_version"], &weather["complete"]),
            (&json!(7), &json!(3), &json!(false))
        );
    }

    #[test]
    fn a_fault_of_the_run_itself_stands_first() {
        let lost = Fault::external(Code::WorkerLost, "the worker was killed");
        let faults = [(name("weather"), Fault::external(Code::SourceFailed, "gone"))];
        let errors = told(&lost, &faults, None, |failure| failure.document()["errors"].clone());
        assert_eq!((&errors[0]["code"], &errors[0]["stream"]), (&json!("TG0701"), &Value::Null));
        assert_eq!((&errors[1]["code"], &errors[1]["stream"]), (&json!("TG0401"), &json!("weather")));
    }
}
