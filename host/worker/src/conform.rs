//! The conformance suite: what production would find out about an extractor, found out before.
//!
//! Each case stands alone and says what it saw; a case that cannot even begin, because an earlier one failed,
//! says so.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Map, Value, json};
use tidegate_decode::type_name;
use tidegate_extraction::{Output, Plan, Reopened, Request, Session, Split, StreamDescription};
use tidegate_model::{Conformance, Domain, Fault, Mode};

use crate::work::Work;

/// Rows read of a stream at most: the suite looks at behaviour, not at volume.
const ROWS: usize = 200_000;
/// Checkpoints that reading is resumed from, at most, of each split: the first ones, the last one, and some
/// between.
const RESUMES: usize = 12;
/// Streams looked at closely.
const STREAMS: usize = 5;

/// What a case answers: what it saw, or why the extractor fails it.
type Verdict = Result<String, String>;

pub async fn suite(work: &Work<'_>) -> Vec<Conformance> {
    let mut cases = Cases(Vec::new());
    cases.add("spec", spec(work).await);
    cases.add("bad config gets a fault", bad_config(work).await);
    cases.add("check", work.extractor.check().await.map(|()| "the source answers".to_owned()).map_err(say));
    let streams = match work.extractor.discover().await {
        Ok(streams) => streams,
        Err(fault) => {
            cases.add("discover", Err(say(fault)));
            return cases.0;
        }
    };
    cases.add("discover", discovered(&streams));
    cases.add("discover is stable", again(work, &streams).await);
    cases.add("unknown stream gets a fault", unknown_stream(work).await);
    for stream in streams.iter().take(STREAMS) {
        one_stream(work, stream, &mut cases).await;
    }
    cases.add("stays well within its memory", memory(work));
    cases.0
}

struct Cases(Vec<Conformance>);

impl Cases {
    fn add(&mut self, case: impl Into<String>, verdict: Verdict) {
        let (failure, detail) = match verdict {
            Ok(detail) => (None, detail),
            Err(failure) => (Some(failure), String::new()),
        };
        self.0.push(Conformance { case: case.into(), failure, detail });
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` wants")]
fn say(fault: Fault) -> String {
    fault.to_string()
}

async fn spec(work: &Work<'_>) -> Verdict {
    let spec = work.extractor.spec().await.map_err(say)?;
    let keys = spec.config_schema["properties"].as_object().map_or(0, Map::len);
    Ok(format!("{} of configuration, {}", count(keys, "key"), count(spec.secrets.len(), "secret")))
}

/// An unknown key must be refused, as a fault of the user that names it.
async fn bad_config(work: &Work<'_>) -> Verdict {
    let key = "no-connector-has-such-a-key";
    let mut config = work.order.config.clone();
    match &mut config {
        Value::Object(keys) => keys.insert(key.to_owned(), json!(1)),
        other => return Err(format!("the configuration under test is not an object: {other}")),
    };
    match work.extractor.with_config(config).check().await {
        Ok(()) => Err(format!("`check` accepted a configuration with the unknown key `{key}`")),
        Err(fault) if fault.domain != Domain::User => {
            Err(format!("the fault is not of domain `user`: {fault}"))
        }
        Err(fault) if !fault.message.contains(key) => {
            Err(format!("the fault does not name the key: {fault}"))
        }
        Err(fault) => Ok(fault.message),
    }
}

fn discovered(streams: &[StreamDescription]) -> Verdict {
    if let Some(stream) = streams.iter().find(|stream| stream.modes.is_empty()) {
        return Err(format!("stream `{}` can be read in no mode", stream.name));
    }
    match streams.len() {
        0 => Err("the source has no streams: point the configuration at one that has some".into()),
        some => Ok(count(some, "stream")),
    }
}

async fn again(work: &Work<'_>, streams: &[StreamDescription]) -> Verdict {
    let second = work.extractor.discover().await.map_err(say)?;
    let same = second.len() == streams.len()
        && second.iter().zip(streams).all(|(a, b)| a.name == b.name && a.schema == b.schema);
    if same {
        Ok("twice the same".into())
    } else {
        Err("a second `discover` gave other streams or schemas".into())
    }
}

async fn unknown_stream(work: &Work<'_>) -> Verdict {
    let request = request("no-source-has-such-a-stream", Mode::Full);
    let answer = match work.extractor.start(&request).await {
        Ok(session) => session.plan().await.map(|_| ()),
        Err(fault) => Err(fault),
    };
    match answer {
        Ok(()) => Err("a plan was made for a stream that does not exist".into()),
        Err(fault) if fault.domain == Domain::User => Ok(fault.message),
        Err(fault) => Err(format!("the fault is not of domain `user`: {fault}")),
    }
}

fn request(stream: &str, mode: Mode) -> Request {
    Request { stream: stream.to_owned(), mode, cursor: None, key: Vec::new(), since: None, bookmark: None }
}

async fn one_stream(work: &Work<'_>, stream: &StreamDescription, cases: &mut Cases) {
    let name = &stream.name;
    let mode = if stream.modes.contains(&Mode::Full) { Mode::Full } else { Mode::Incremental };
    let request = request(name, mode);
    let (session, plan) = match plan(work, &request).await {
        Ok(planned) => planned,
        Err(failure) => return cases.add(format!("{name}: start"), Err(failure)),
    };
    cases.add(format!("{name}: start"), Ok(count(plan.splits.len(), "split")));
    cases.add(format!("{name}: reopen"), reopen(work, &request, &plan).await);
    if let Some(split) = plan.splits.first() {
        one_split(work, stream, &request, split, cases).await;
    }
    cases.add(format!("{name}: end"), ended(session).await.map(|()| "the session ended".to_owned()));
}

async fn one_split(
    work: &Work<'_>,
    stream: &StreamDescription,
    request: &Request,
    split: &Split,
    cases: &mut Cases,
) {
    let name = &stream.name;
    let whole = match read(work, request, &split.data, None).await {
        Ok(whole) => whole,
        Err(failure) => return cases.add(format!("{name}: read"), Err(failure)),
    };
    cases.add(
        format!("{name}: read"),
        Ok(format!("{}, {}", count(whole.rows, "row"), count(whole.checkpoints.len(), "checkpoint"))),
    );
    cases.add(format!("{name}: schema stability"), stable(stream, &whole));
    cases.add(
        format!("{name}: resume from each checkpoint gives the same rows"),
        resumes(work, request, &split.data, &whole).await,
    );
    cases.add(format!("{name}: stop in mid-stream"), stop(work, request, &split.data, &whole).await);
}

/// The session lives on: it may hold what the splits need.
async fn plan(work: &Work<'_>, request: &Request) -> Result<(Session, Plan), String> {
    let session = work.extractor.start(request).await.map_err(say)?;
    let plan = session.plan().await.map_err(say)?;
    Ok((session, plan))
}

async fn ended(session: Session) -> Result<(), String> {
    session.end().await.map_err(say)
}

async fn reopen(work: &Work<'_>, request: &Request, plan: &Plan) -> Verdict {
    match work.extractor.reopen(request, &plan.token).await.map_err(say)? {
        Reopened::Same(session) => ended(session).await.map(|()| "the same generation".into()),
        Reopened::Gone(why) if plan.repeatable => {
            Err(format!("the plan says `repeatable`, but reopening it answers `gone`: {why}"))
        }
        Reopened::Gone(why) => Ok(format!("gone, as it may be: {why}")),
    }
}

/// What one reading of a split gave.
struct Whole {
    schema: Option<SchemaRef>,
    batches: Vec<RecordBatch>,
    rows: usize,
    /// Each checkpoint, and how many rows came before it.
    checkpoints: Vec<(Bytes, usize)>,
    /// Stopped early because there was more than the suite wants.
    cut: bool,
}

impl Whole {
    /// The rows from `from` on, `limit` at most, as one batch; none when there are none.
    fn rows(&self, from: usize, limit: usize) -> Result<Option<RecordBatch>, String> {
        let Some(schema) = &self.schema else { return Ok(None) };
        let all = concat_batches(schema, &self.batches).map_err(|error| error.to_string())?;
        let from = from.min(all.num_rows());
        let length = limit.min(all.num_rows() - from);
        Ok((length > 0).then(|| all.slice(from, length)))
    }
}

async fn read(
    work: &Work<'_>,
    request: &Request,
    split: &[u8],
    from: Option<&[u8]>,
) -> Result<Whole, String> {
    let mut whole = Whole { schema: None, batches: Vec::new(), rows: 0, checkpoints: Vec::new(), cut: false };
    let mut outputs = work.extractor.read(request, split, from);
    while let Some(output) = outputs.next().await {
        match output.map_err(say)? {
            Output::Open { schema, .. } => whole.schema = Some(schema),
            Output::Batch { batch, .. } => {
                whole.rows += batch.num_rows();
                whole.batches.push(batch);
            }
            Output::Rejects(_) => {}
            Output::Checkpoint(state) => whole.checkpoints.push((state, whole.rows)),
        }
        if whole.rows >= ROWS {
            whole.cut = true;
            break;
        }
    }
    Ok(whole)
}

fn stable(stream: &StreamDescription, whole: &Whole) -> Verdict {
    let Some(schema) = &whole.schema else { return Ok("no rows, no schema".into()) };
    for field in schema.fields() {
        match stream.schema.field_with_name(field.name()) {
            Err(_) => {
                return Err(format!(
                    "`read` has a column `{}` that `discover` did not announce",
                    field.name()
                ));
            }
            Ok(announced) if announced.data_type() != field.data_type() => {
                return Err(format!(
                    "column `{}` was announced as {} and arrives as {}",
                    field.name(),
                    type_name(announced.data_type()),
                    type_name(field.data_type())
                ));
            }
            Ok(_) => {}
        }
    }
    Ok(format!("{} columns, as announced", schema.fields().len()))
}

async fn resumes(work: &Work<'_>, request: &Request, split: &[u8], whole: &Whole) -> Verdict {
    let step = whole.checkpoints.len().div_ceil(RESUMES).max(1);
    let last = whole.checkpoints.len().saturating_sub(1);
    let chosen = whole.checkpoints.iter().enumerate().filter(|(at, _)| at % step == 0 || *at == last);
    let mut tried = 0;
    for (at, (state, before)) in chosen {
        let rest = read(work, request, split, Some(state)).await?;
        // Either reading may have stopped early; what both have must agree.
        let both =
            if whole.cut || rest.cut { rest.rows.min(whole.rows - before) } else { whole.rows - before };
        let expected = whole.rows(*before, both)?;
        let resumed = rest.rows(0, if rest.cut || whole.cut { both } else { usize::MAX })?;
        if expected != resumed {
            return Err(format!(
                "after checkpoint {at} ({before} rows) there were {both} rows more at first, and {} other or differing ones when reading went on from it",
                rest.rows
            ));
        }
        tried += 1;
    }
    match tried {
        0 => Ok("it takes no checkpoints: an interrupted split is read from its beginning".into()),
        some => Ok(format!("{} tried", count(some, "checkpoint"))),
    }
}

/// Whoever reads may stop at any moment; reading again must then work.
async fn stop(work: &Work<'_>, request: &Request, split: &[u8], whole: &Whole) -> Verdict {
    {
        let mut outputs = work.extractor.read(request, split, None);
        for _ in 0..3 {
            if outputs.next().await.transpose().map_err(say)?.is_none() {
                break;
            }
        }
    }
    let second = read(work, request, split, None).await?;
    if whole.cut || second.rows == whole.rows {
        Ok("and read again to the end".into())
    } else {
        Err(format!("{} rows at first, {} after a reading that was stopped", whole.rows, second.rows))
    }
}

/// More data than the suite reads takes more memory, so something must be left.
fn memory(work: &Work<'_>) -> Verdict {
    let used = work.extractor.counters();
    let limit = work.order.limits.memory.unwrap_or(tidegate_sandbox::DEFAULT_MEMORY);
    let (peak, most) = (used.peak_memory.div_ceil(1 << 20), limit >> 20);
    if used.peak_memory > limit / 10 * 9 {
        return Err(format!("an instance came to {peak} of {most} MiB: hold less at a time"));
    }
    let instances = usize::try_from(used.instances).unwrap_or(usize::MAX);
    Ok(format!("{peak} of {most} MiB at its peak, over {}", count(instances, "instance")))
}

/// `1 split`, `2 splits`
fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
