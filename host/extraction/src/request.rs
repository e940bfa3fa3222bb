//! What is asked of an extractor, and what it answers, in the host's words.

use arrow::datatypes::SchemaRef;
use serde_json::Value;
use tidegate_decode::type_name;
use tidegate_model::{Column, Mode, StreamInfo};
use tidegate_sandbox as wit;

/// One generation of one stream, as the extractor is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub stream: String,
    pub mode: Mode,
    pub cursor: Option<String>,
    pub key: Vec<String>,
    /// Rows with a cursor below this count as loaded; those at it and above may be new.
    pub since: Option<String>,
    /// The bookmark of the last complete generation.
    pub bookmark: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn to_wit(&self, config: &Value) -> wit::Request {
        wit::Request {
            config: config.to_string(),
            stream: self.stream.clone(),
            mode: match self.mode {
                Mode::Full => wit::Mode::Full,
                Mode::Incremental => wit::Mode::Incremental,
            },
            cursor: self.cursor.clone(),
            key: self.key.clone(),
            since: self.since.clone(),
            bookmark: self.bookmark.clone(),
        }
    }
}

/// What a component says of its configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectorSpec {
    /// JSON Schema of the configuration.
    pub config_schema: Value,
    pub secrets: Vec<SecretSlot>,
}

/// A name under which a credential is bound. Its value never reaches the component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretSlot {
    pub name: String,
    pub description: String,
    pub required: bool,
}

/// A stream that a source has.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamDescription {
    pub name: String,
    pub schema: SchemaRef,
    pub modes: Vec<Mode>,
    /// Columns that identify a row, where the source knows.
    pub key: Vec<String>,
    /// Columns that incremental reading can follow.
    pub cursors: Vec<String>,
    pub estimated_rows: Option<u64>,
    pub estimated_bytes: Option<u64>,
    pub notes: Vec<String>,
}

impl StreamDescription {
    /// As `discover` shows it.
    pub fn info(&self) -> StreamInfo {
        let column = |field: &arrow::datatypes::FieldRef| Column {
            name: field.name().clone(),
            data_type: type_name(field.data_type()),
            nullable: field.is_nullable(),
        };
        StreamInfo {
            name: self.name.clone(),
            columns: self.schema.fields().iter().map(column).collect(),
            modes: self.modes.iter().map(Mode::to_string).collect(),
            key: self.key.clone(),
            cursors: self.cursors.clone(),
            estimated_rows: self.estimated_rows,
            estimated_bytes: self.estimated_bytes,
            notes: self.notes.clone(),
        }
    }
}

/// How a generation is read. No splits: there is nothing new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub splits: Vec<Split>,
    /// With it, `reopen` finds the same generation again.
    pub token: Vec<u8>,
    /// For the next generation's request, once this one is complete.
    pub bookmark: Option<Vec<u8>>,
    /// The cursor's greatest value that belongs to this generation.
    pub upper_bound: Option<String>,
    /// A split that is read twice gives the same rows in the same order, even from a new session.
    pub repeatable: bool,
}

/// A piece of a generation that is read on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    pub data: Vec<u8>,
    /// For people.
    pub label: String,
    pub estimated_rows: Option<u64>,
    pub estimated_bytes: Option<u64>,
}
