//! What a connector implements, and the words it is written in.

use std::any::Any;
use std::fmt;

use arrow_schema::SchemaRef;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::exports::tidegate::connector::extraction as wit;
use crate::{Context, Fault, Output, Result};

pub use wit::{Mode, Modes};

/// A source of streams.
///
/// The host calls [`discover`](Self::discover) for what there is. For one generation of one stream it asks
/// for a [`plan`](Self::plan), which cuts the stream into splits, and has each split read by
/// [`read`](Self::read) in an instance of its own, several at once. Instances share nothing: what a split
/// needs to know is in its data.
pub trait Extractor: Default + 'static {
    /// What the pipeline file's `config` holds. With `#[serde(deny_unknown_fields)]`: a key that
    /// is not known is the user's mistake, and the contract wants it told.
    type Config: DeserializeOwned + JsonSchema;

    /// Can the source be reached? Reads no rows.
    fn check(&self, _cx: &Context<Self::Config>) -> Result<()> {
        Ok(())
    }

    /// The streams there are.
    fn discover(&self, cx: &Context<Self::Config>) -> Result<Vec<Stream>>;

    /// Cuts a generation into splits: unless told, one split that is all of the stream.
    fn plan(&self, cx: &Context<Self::Config>, request: &StreamRequest) -> Result<Plan> {
        if self.discover(cx)?.iter().any(|stream| stream.name == request.stream) {
            Ok(Plan::whole())
        } else {
            Err(request.unknown_stream())
        }
    }

    /// After a restart: finds the generation again whose plan had this token. Unless told, a
    /// generation without a token is whatever the source has now, and any other is gone.
    fn reopen(
        &self,
        _cx: &Context<Self::Config>,
        _request: &StreamRequest,
        token: &[u8],
    ) -> Result<Reopened> {
        Ok(if token.is_empty() {
            Reopened::same()
        } else {
            Reopened::Gone("the connector cannot find an earlier generation again".into())
        })
    }

    /// Reads one split from its beginning, or from where a checkpoint was taken.
    fn read(&self, cx: &Context<Self::Config>, split: Split, out: &mut Output) -> Result<()>;
}

/// A stream that a source has.
#[derive(Debug, Clone)]
pub struct Stream {
    pub name: String,
    pub schema: SchemaRef,
    pub modes: Modes,
    /// Columns that identify a row.
    pub key: Vec<String>,
    /// Columns that incremental reading can follow.
    pub cursors: Vec<String>,
    pub estimated_rows: Option<u64>,
    pub estimated_bytes: Option<u64>,
    /// What a person should know about how the schema was found.
    pub notes: Vec<String>,
}

impl Stream {
    /// A stream that can be read as a whole.
    pub fn new(name: impl Into<String>, schema: impl Into<SchemaRef>) -> Self {
        Self {
            name: name.into(),
            schema: schema.into(),
            modes: Modes::FULL,
            key: Vec::new(),
            cursors: Vec::new(),
            estimated_rows: None,
            estimated_bytes: None,
            notes: Vec::new(),
        }
    }

    #[must_use]
    pub fn with_key<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.key = columns.into_iter().map(Into::into).collect();
        self
    }

    /// It can also be read from where the last generation ended, by any of these columns.
    #[must_use]
    pub fn with_cursors<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.modes |= Modes::INCREMENTAL;
        self.cursors = columns.into_iter().map(Into::into).collect();
        self
    }

    #[must_use]
    pub fn with_estimate(mut self, rows: u64) -> Self {
        self.estimated_rows = Some(rows);
        self
    }
}

/// What is asked of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamRequest {
    pub stream: String,
    pub mode: Mode,
    /// Incremental: the column whose values only rise. Without one the source tells what is new in its own
    /// way.
    pub cursor: Option<String>,
    pub key: Vec<String>,
    /// Incremental: rows with a cursor below this were extracted before; those at it and above may be new.
    /// Numbers in decimal, dates as ISO 8601, timestamps as RFC 3339.
    pub since: Option<String>,
    /// The bookmark of the last complete generation.
    pub bookmark: Option<Vec<u8>>,
}

impl StreamRequest {
    /// The bookmark, as it was given to [`Plan::with_bookmark`].
    pub fn bookmark<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.bookmark.as_deref().map(|bytes| state(bytes, "bookmark")).transpose()
    }

    /// The fault of a request for a stream that is not there.
    pub fn unknown_stream(&self) -> Fault {
        Fault::user("not-found", format!("there is no stream `{}`", self.stream))
    }
}

/// A part of a stream, to be read.
#[derive(Debug, Clone)]
pub struct Split {
    pub request: StreamRequest,
    /// As the plan gave it.
    pub data: Vec<u8>,
    /// The state of the checkpoint to go on from.
    pub from: Option<Vec<u8>>,
}

impl Split {
    pub fn stream(&self) -> &str {
        &self.request.stream
    }

    /// The data, as it was given to [`PlannedSplit::new`].
    pub fn data<T: DeserializeOwned>(&self) -> Result<T> {
        state(&self.data, "split")
    }

    /// The state to go on from, as it was given to [`Output::checkpoint`].
    pub fn from<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.from.as_deref().map(|bytes| state(bytes, "checkpoint")).transpose()
    }
}

/// What the SDK writes as states: JSON, which later versions of a connector can still read.
pub(crate) fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| Fault::internal("invalid", format!("this state is not JSON: {error}")))
}

fn state<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        Fault::internal("invalid", format!("this {what} was written by another version: {error}"))
    })
}

/// A part of a stream, as planned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlannedSplit {
    /// At most 64 KiB.
    pub data: Vec<u8>,
    /// For people, such as a file's name; at most 200 bytes.
    pub label: String,
    pub estimated_rows: Option<u64>,
    pub estimated_bytes: Option<u64>,
}

impl PlannedSplit {
    pub fn new(label: impl Into<String>, data: &impl Serialize) -> Result<Self> {
        Ok(Self { data: encode(data)?, label: label.into(), ..Self::default() })
    }

    #[must_use]
    pub fn with_estimate(mut self, rows: Option<u64>, bytes: Option<u64>) -> Self {
        (self.estimated_rows, self.estimated_bytes) = (rows, bytes);
        self
    }
}

/// How a generation is read.
#[derive(Default)]
pub struct Plan {
    /// At most 10,000. None: there is nothing new.
    pub splits: Vec<PlannedSplit>,
    /// What [`Extractor::reopen`] needs to find this generation again; at most 64 KiB.
    pub token: Vec<u8>,
    /// For the next generation's request; at most 1 MiB.
    pub bookmark: Option<Vec<u8>>,
    /// The cursor's greatest value that belongs to this generation, where the source can tell.
    pub upper_bound: Option<String>,
    /// A split that is read twice gives the same rows in the same order.
    pub repeatable: bool,
    held: Option<Box<dyn Any>>,
}

impl Plan {
    pub fn new(splits: impl IntoIterator<Item = PlannedSplit>) -> Self {
        Self { splits: splits.into_iter().collect(), ..Self::default() }
    }

    /// One split without data.
    pub fn whole() -> Self {
        Self::new([PlannedSplit::default()])
    }

    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    pub fn with_token(mut self, token: &impl Serialize) -> Result<Self> {
        self.token = encode(token)?;
        Ok(self)
    }

    pub fn with_bookmark(mut self, bookmark: &impl Serialize) -> Result<Self> {
        self.bookmark = Some(encode(bookmark)?);
        Ok(self)
    }

    /// Keeps something alive until the generation is committed, such as the connection that exported a
    /// snapshot.
    #[must_use]
    pub fn holding(mut self, value: impl Any) -> Self {
        self.held = Some(Box::new(value));
        self
    }

    pub(crate) fn take_held(&mut self) -> Option<Box<dyn Any>> {
        self.held.take()
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("splits", &self.splits)
            .field("repeatable", &self.repeatable)
            .finish_non_exhaustive()
    }
}

/// Whether an earlier generation can still be read.
pub enum Reopened {
    /// The splits of the plan that was made then can still be read and mean the same. May hold something, as
    /// a plan may.
    Same(Option<Box<dyn Any>>),
    /// They cannot, and why.
    Gone(String),
}

impl Reopened {
    pub fn same() -> Self {
        Self::Same(None)
    }
}
