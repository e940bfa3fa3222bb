//! A connector for tests: sends batches of every Arrow type, made from a seed, so that whoever receives them
//! can make them again with [`generator`] and compare. Or it misbehaves, as its configuration says.
//!
//! Never: part of anything that is delivered.

mod call;
pub mod generator;
mod lie;
mod mischief;
mod search;

use std::hint::black_box;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_sdk::Level;
use tidegate_sdk::prelude::*;

pub use call::Call;
use generator::Shape;
pub use lie::Lie;
pub use mischief::{Mischief, Phase};
pub use search::{Wanted, marker};

/// The only stream's name.
pub const STREAM: &str = "roundtrip";

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub seed: u64,
    pub shape: Shape,
    /// Rows of a batch.
    pub rows: usize,
    /// Batches of a split. A checkpoint follows each.
    pub batches: u64,
    pub splits: u64,
    /// Send each split's first batch again and again, so that making batches takes no time.
    pub repeat: bool,
    /// Misbehave in this way,
    pub mischief: Option<Mischief>,
    /// at this point; while reading: after the first batch.
    pub during: Phase,
    /// Some location to reach for.
    pub location: Option<String>,
    /// Some address that may be called.
    pub url: Option<String>,
    /// What `check` calls, one after the other,
    pub calls: Vec<Call>,
    /// or all at once.
    pub at_once: bool,
    /// Tell all that comes in, which slots are bound and the headers of answers; and mark the memory.
    pub dump: bool,
    /// A refusal of a call is one of `check`.
    pub strict: bool,
    /// What to look for in all of the memory, once the calls are made.
    pub search: Vec<Wanted>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            shape: Shape::default(),
            rows: 100,
            batches: 3,
            splits: 2,
            repeat: false,
            mischief: None,
            during: Phase::default(),
            location: None,
            url: None,
            calls: Vec::new(),
            at_once: false,
            dump: false,
            strict: false,
            search: Vec::new(),
        }
    }
}

#[derive(Default)]
struct Roundtrip;

impl Extractor for Roundtrip {
    type Config = Config;

    fn check(&self, cx: &Context<Config>) -> Result<()> {
        let marker = cx.config.dump.then(marker);
        call::make(cx)?;
        // It is there until the last answer.
        black_box(marker);
        if !cx.config.search.is_empty() {
            cx.log(Level::Info, format!("found {:?}", search::in_memory(&cx.config.search)));
        }
        mischief::during(Phase::Check, &cx.config)
    }

    fn discover(&self, cx: &Context<Config>) -> Result<Vec<Stream>> {
        mischief::during(Phase::Discover, &cx.config)?;
        if let Some(Mischief::Lie(_)) = cx.config.mischief {
            return Ok(vec![Stream::new(STREAM, lie::schema())]);
        }
        let Config { rows, batches, splits, shape, seed, .. } = cx.config;
        let schema = generator::schema(shape, seed);
        let rows = rows as u64 * batches * splits;
        Ok(vec![Stream::new(STREAM, schema).with_key(["id"]).with_cursors(["id"]).with_estimate(rows)])
    }

    fn plan(&self, cx: &Context<Config>, request: &StreamRequest) -> Result<Plan> {
        mischief::during(Phase::Plan, &cx.config)?;
        if request.stream != STREAM {
            return Err(request.unknown_stream());
        }
        let rows = cx.config.rows as u64 * cx.config.batches;
        let split = |number: u64| {
            Ok(PlannedSplit::new(format!("split {number}"), &number)?.with_estimate(Some(rows), None))
        };
        let splits = (0..cx.config.splits).map(split).collect::<Result<Vec<_>>>()?;
        Plan::new(splits).repeatable().with_token(&cx.config.seed)
    }

    fn reopen(&self, cx: &Context<Config>, _: &StreamRequest, token: &[u8]) -> Result<Reopened> {
        Ok(if token == cx.config.seed.to_string().as_bytes() {
            Reopened::same()
        } else {
            Reopened::Gone("made from another seed".into())
        })
    }

    fn read(&self, cx: &Context<Config>, split: Split, out: &mut Output) -> Result<()> {
        if let Some(Mischief::Lie(lie)) = cx.config.mischief {
            return lie.tell();
        }
        let number: u64 = split.data()?;
        let first: u64 = split.from()?.unwrap_or(0);
        let schema = generator::schema(cx.config.shape, cx.config.seed);
        out.open(&schema, &Changes::Append)?;
        let repeated = cx.config.repeat.then(|| generator::batch(&schema, &cx.config, number, 0));
        for index in first..cx.config.batches {
            match &repeated {
                Some(batch) => out.write(batch)?,
                None => out.write(&generator::batch(&schema, &cx.config, number, index))?,
            }
            out.checkpoint(&(index + 1))?;
            mischief::during(Phase::Read, &cx.config)?;
        }
        Ok(())
    }
}

export_extractor!(Roundtrip, {
    name: "roundtrip",
    title: "Round trip",
    capabilities: [
        {
            id: "reach",
            kind: files,
            target: "{config.location}",
            required: false,
            reason: "tries what happens when it may not",
        },
        {
            id: "call",
            kind: http,
            target: "{config.url}",
            required: false,
            reason: "tries what comes back",
        },
        {
            id: "token",
            kind: credential,
            target: "{config.url}",
            place: "bearer",
            required: false,
            reason: "tries to see it",
        },
        {
            id: "key",
            kind: credential,
            target: "{config.url}",
            place: "header x-key",
            required: false,
            reason: "tries to see it",
        },
        {
            id: "parameter",
            kind: credential,
            target: "{config.url}",
            place: "query key",
            required: false,
            reason: "tries to see it",
        },
        {
            id: "password",
            kind: credential,
            target: "{config.url}",
            place: "basic alice",
            required: false,
            reason: "tries to see it",
        },
    ],
});
