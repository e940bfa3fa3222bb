//! The Delta table itself: what its log says, and how a commit is written to it.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use deltalake_core::kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};
use deltalake_core::kernel::transaction::{CommitData, TransactionError};
use deltalake_core::kernel::{Action, MetadataExt, Protocol, StructType, Transaction, new_metadata};
use deltalake_core::logstore::{CommitOrBytes, LogStoreRef, commit_uri_from_version};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::table::state::DeltaTableState;
use deltalake_core::{DeltaTable, checkpoints};
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::{Value, json};
use tidegate_model::{ApplicationId, Code, Fault, Result};
use uuid::Uuid;

use crate::rules::{Rule, Rules};
use crate::store::Table;

/// A checkpoint of the log every so many versions, so that reading it stays cheap.
const CHECKPOINT_EVERY: u64 = 10;

/// Entries that are older than the table's `delta.logRetentionDuration` go every so many versions.
const CLEAN_EVERY: u64 = 100;

/// What a table may ask of its writers that we give. Appending whole files breaks none of them.
const WRITER_FEATURES: [&str; 5] =
    ["appendOnly", "invariants", "timestampNtz", "v2Checkpoint", "checkpointProtection"];
const READER_FEATURES: [&str; 2] = ["timestampNtz", "v2Checkpoint"];

#[derive(Debug)]
pub(crate) struct Delta {
    log: LogStoreRef,
    table: DeltaTable,
    shown: String,
    rules: Rules,
    /// The version up to which nobody restored the table after our last commit.
    sound: u64,
}

/// Somebody restored the table to an older version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Restored {
    /// The version that did.
    pub at: u64,
    /// What it says it restored.
    to: Target,
}

#[derive(Debug, Clone, Copy)]
enum Target {
    Version(u64),
    /// Milliseconds since 1970.
    Time(i64),
    Unclear,
}

/// What became of one attempt to write a commit.
pub(crate) enum Written {
    Yes,
    /// Somebody wrote that version, perhaps we ourselves.
    Taken,
    /// No answer: it may be there or not.
    Unknown(Fault),
}

impl Delta {
    pub(crate) async fn open(table: &Table) -> Result<Self> {
        let log = table.log_store();
        let mut delta = Self {
            table: DeltaTable::new(Arc::clone(&log)),
            log,
            shown: table.to_string(),
            rules: table.rules,
            sound: 0,
        };
        delta.reload().await?;
        Ok(delta)
    }

    /// Goes to the newest version, if there is a table by now.
    pub(crate) async fn reload(&mut self) -> Result<()> {
        if self.state().is_none()
            && !self.log.is_delta_table_location().await.map_err(|error| self.fault(&error))?
        {
            return Ok(());
        }
        self.table.update_state().await.map_err(|error| self.fault(&error))?;
        self.refuse_what_we_cannot_keep()
    }

    fn state(&self) -> Option<&DeltaTableState> {
        self.table.state.as_ref()
    }

    fn existing(&self) -> Result<&DeltaTableState> {
        self.state().ok_or_else(|| Fault::internal(Code::Bug, "there is no table yet"))
    }

    pub(crate) fn version(&self) -> Option<u64> {
        self.state().map(DeltaTableState::version)
    }

    pub(crate) fn schema(&self) -> Result<Option<SchemaRef>> {
        self.state().map(|state| schema_from(state.schema().as_ref())).transpose()
    }

    /// Whether the table has any rows' files.
    pub(crate) fn is_empty(&self) -> bool {
        self.state().is_none_or(|state| state.log_data().num_files() == 0)
    }

    /// The last number committed under an application id; 0 when there is none.
    pub(crate) async fn transaction(&self, application: &str) -> Result<u64> {
        match self.state() {
            Some(state) => self.number_of(state, application).await,
            None => Ok(0),
        }
    }

    async fn number_of(&self, state: &DeltaTableState, application: &str) -> Result<u64> {
        let found = state
            .transaction_version(self.log.as_ref(), application)
            .await
            .map_err(|error| self.fault(&error))?;
        let number = found.unwrap_or(0);
        u64::try_from(number).map_err(|_| {
            Fault::external(Code::BadState, format!("`{}` has the transaction number {number}", self.shown))
        })
    }

    /// Whether somebody restored the table after the last commit under an application id. A restored table
    /// keeps its `txn`, so that alone does not tell.
    pub(crate) async fn restored(&mut self, application: &str) -> Result<Option<Restored>> {
        let Some(newest) = self.version() else { return Ok(None) };
        for at in ((self.sound + 1)..=newest).rev() {
            let Some(entry) = self.entry(at).await? else { break };
            if let Some(to) = entry.restores {
                return Ok(Some(Restored { at, to }));
            }
            if entry.transactions.iter().any(|(id, _)| id == application) {
                break;
            }
        }
        self.sound = newest;
        Ok(None)
    }

    /// The last number that was committed under an application id when the rows were committed that a
    /// restored table shows; 0 when there was none.
    pub(crate) async fn restored_number(&self, restored: Restored, application: &str) -> Result<u64> {
        let mut restored = restored;
        loop {
            let shown = self.target(restored).await?;
            // The version that is shown may itself show an older one.
            let mut older = None;
            for at in (1..=shown).rev() {
                let Some(entry) = self.entry(at).await? else { break };
                if let Some(to) = entry.restores {
                    older = Some(Restored { at, to });
                    break;
                }
                if entry.transactions.iter().any(|(id, _)| id == application) {
                    break;
                }
            }
            let Some(next) = older else {
                let mut table = DeltaTable::new(Arc::clone(&self.log));
                table.load_version(shown).await.map_err(|error| self.fault(&error))?;
                let state = table.state.as_ref().ok_or_else(|| self.fault(&"it has no such version"))?;
                return self.number_of(state, application).await;
            };
            restored = next;
        }
    }

    /// The version whose rows a restored table shows.
    async fn target(&self, restored: Restored) -> Result<u64> {
        match restored.to {
            Target::Version(version) if version < restored.at => return Ok(version),
            Target::Time(time) => {
                for at in (0..restored.at).rev() {
                    let Some(entry) = self.entry(at).await? else { break };
                    if entry.timestamp.is_some_and(|written| written <= time) {
                        return Ok(at);
                    }
                }
            }
            Target::Version(_) | Target::Unclear => {}
        }
        Err(Fault::user(
            Code::BadState,
            format!("version {} of `{}` does not say which version it restored", restored.at, self.shown),
        )
        .help("`tidegate state reset PIPELINE.yaml` forgets what was extracted, or load everything anew with `--full-refresh` after that"))
    }

    /// The first number under an application id that the log still has the commit of. None: it has all of
    /// them, or none.
    pub(crate) async fn oldest_number(&self, application: &str) -> Result<Option<u64>> {
        let Some(newest) = self.version() else { return Ok(None) };
        if self.entry(0).await?.is_some() {
            return Ok(None);
        }
        let log = self.log.object_store(None);
        let folder = self.log.log_path().clone();
        let listed: Vec<_> =
            log.list(Some(&folder)).try_collect().await.map_err(|error| self.fault(&error))?;
        let versions = listed
            .iter()
            .filter_map(|file| file.location.filename()?.strip_suffix(".json")?.parse::<u64>().ok());
        let Some(oldest) = versions.min() else { return Ok(None) };
        for at in oldest..=newest {
            let Some(entry) = self.entry(at).await? else { continue };
            if let Some((_, number)) = entry.transactions.iter().find(|(id, _)| id == application) {
                return Ok(Some(*number));
            }
        }
        Ok(None)
    }

    /// What a version says of itself. None: the log no longer has it.
    async fn entry(&self, version: u64) -> Result<Option<Entry>> {
        let content = self.log.read_commit_entry(version).await.map_err(|error| self.fault(&error))?;
        content.map(|content| Entry::read(&content).map_err(|error| self.fault(&error))).transpose()
    }

    /// Creates the table, empty, in a commit of its own, so that every commit of rows has a snapshot to build
    /// on. The loser of a race takes what is there.
    pub(crate) async fn create(&mut self, schema: &Schema) -> Result<()> {
        let columns = schema_to(schema)?;
        let metadata = new_metadata(&columns, Vec::<String>::new(), Vec::<(String, String)>::new())
            .map_err(|error| self.fault(&error))?;
        let protocol = protocol(needs_ntz(schema), None)?;
        let operation = DeltaOperation::Create {
            mode: SaveMode::ErrorIfExists,
            location: self.log.root_url().clone(),
            protocol: protocol.clone(),
            metadata: metadata.clone(),
        };
        let actions = vec![Action::Protocol(protocol), Action::Metadata(metadata)];
        match self.put(0, CommitData::new(actions, operation, HashMap::new(), Vec::new())).await? {
            Written::Yes | Written::Taken => {}
            Written::Unknown(fault) => {
                if !self.log.is_delta_table_location().await.map_err(|error| self.fault(&error))? {
                    return Err(fault);
                }
            }
        }
        self.reload().await
    }

    /// The actions that give the table a schema, none when it has it already.
    pub(crate) fn evolve(&self, schema: &Schema) -> Result<Vec<Action>> {
        let state = self.existing()?;
        let mut actions = Vec::new();
        if needs_ntz(schema) && !supports_ntz(state.protocol()) {
            actions.push(Action::Protocol(protocol(true, Some(state.protocol()))?));
        }
        if schema_from(state.schema().as_ref())?.as_ref() != schema {
            let metadata = state.metadata().clone().with_schema(&schema_to(schema)?);
            actions.push(Action::Metadata(metadata.map_err(|error| self.fault(&error))?));
        }
        Ok(actions)
    }

    /// The actions that remove every file of the snapshot.
    pub(crate) fn clear(&self) -> Result<Vec<Action>> {
        let state = self.existing()?;
        Ok(state.log_data().iter().map(|file| Action::Remove(file.remove_action(true))).collect())
    }

    /// Writes the version after this snapshot's, with the number under which it is known, or does not.
    pub(crate) async fn write(
        &mut self,
        actions: Vec<Action>,
        application: &ApplicationId,
        number: u64,
        replaces: bool,
    ) -> Result<Written> {
        let version = self.existing()?.version() + 1;
        let transaction = i64::try_from(number)
            .map(|number| Transaction::new(application, number))
            .map_err(|_| Fault::internal(Code::Bug, "commit numbers ran out"))?;
        let mode = if replaces { SaveMode::Overwrite } else { SaveMode::Append };
        let operation = DeltaOperation::Write { mode, partition_by: None, predicate: None };
        let info = [("isBlindAppend".to_owned(), json!(!replaces))].into();
        let written = self.put(version, CommitData::new(actions, operation, info, vec![transaction])).await?;
        if matches!(written, Written::Yes) {
            self.sound = version;
        }
        Ok(written)
    }

    /// Invariant 7: put-if-absent of one log entry, rows and `txn` together. Not deltalake's own commit loop:
    /// that one rebases on conflict, and we rebuild.
    async fn put(&self, version: u64, commit: CommitData) -> Result<Written> {
        let entry = commit.get_bytes().map_err(|error| Fault::internal(Code::Bug, error.to_string()))?;
        if !self.rules.hold(Rule::VersionOnce) {
            let path = commit_uri_from_version(Some(version));
            let put = self.log.object_store(None).put(&path, entry.into()).await;
            return put.map(|_| Written::Yes).map_err(|error| self.fault(&error));
        }
        let written =
            self.log.write_commit_entry(version, CommitOrBytes::LogBytes(entry), Uuid::new_v4()).await;
        Ok(match written {
            Ok(()) => Written::Yes,
            Err(TransactionError::VersionAlreadyExists(_)) => Written::Taken,
            Err(error) => Written::Unknown(
                Fault::external(Code::SinkFailed, error.to_string())
                    .context(format!("cannot write version {version} of `{}`", self.shown)),
            ),
        })
    }

    /// Readers go on without a checkpoint, only slower, so a failure is no more than logged.
    pub(crate) async fn checkpoint(&self) {
        let Some(state) = self.state() else { return };
        let version = state.version();
        if version == 0 || version % CHECKPOINT_EVERY != 0 {
            return;
        }
        if let Err(error) = checkpoints::create_checkpoint(&self.table, None).await {
            tracing::warn!(table = self.shown, %error, "could not write a checkpoint of the table's log");
        } else if version % CLEAN_EVERY == 0
            && state.table_config().enable_expired_log_cleanup.unwrap_or(true)
            && let Err(error) = checkpoints::cleanup_metadata(&self.table, None).await
        {
            tracing::warn!(table = self.shown, %error, "could not clean the table's log");
        }
    }

    fn refuse_what_we_cannot_keep(&self) -> Result<()> {
        let Some(state) = self.state() else { return Ok(()) };
        let refuse =
            |what: String| Err(Fault::user(Code::SinkFailed, format!("the table `{}` {what}", self.shown)));
        let configuration = state.metadata().configuration();
        if configuration.contains_key("delta.setTransactionRetentionDuration") {
            // The state would vanish with the transaction that carries it.
            return refuse(
                "forgets transactions (delta.setTransactionRetentionDuration): remove that property".into(),
            );
        }
        if !state.metadata().partition_columns().is_empty() {
            return refuse("is partitioned, which is not supported".into());
        }
        let constrained = configuration.keys().any(|key| key.starts_with("delta.constraints."));
        let invariant =
            state.schema().fields().any(|field| field.metadata().contains_key("delta.invariants"));
        if constrained || invariant {
            return refuse("has constraints of its own, which are not checked here".into());
        }
        let protocol = state.protocol();
        let unknown = |features: Option<&[_]>, known: &[&str]| -> Vec<String> {
            let names = features.unwrap_or_default().iter().map(ToString::to_string);
            names.filter(|name: &String| !known.contains(&name.as_str())).collect()
        };
        let mut missing = unknown(protocol.reader_features(), &READER_FEATURES);
        missing.extend(unknown(protocol.writer_features(), &WRITER_FEATURES));
        if !missing.is_empty() {
            return refuse(format!("needs what is not supported: {}", missing.join(", ")));
        }
        // Between 2 and 7 lie constraints, change feeds, generated columns, column mapping and identity
        // columns.
        if (3..7).contains(&protocol.min_writer_version()) {
            return refuse(format!("needs writer version {}", protocol.min_writer_version()));
        }
        Ok(())
    }

    fn fault(&self, error: &impl Display) -> Fault {
        Fault::external(Code::SinkFailed, error.to_string()).context(format!("table `{}`", self.shown))
    }
}

/// What matters of one version's entry in the log.
struct Entry {
    /// Application ids and numbers.
    transactions: Vec<(String, u64)>,
    restores: Option<Target>,
    /// Milliseconds since 1970.
    timestamp: Option<i64>,
}

impl Entry {
    fn read(content: &[u8]) -> Result<Self, serde_json::Error> {
        let mut entry = Self { transactions: Vec::new(), restores: None, timestamp: None };
        for line in content.split(|&byte| byte == b'\n') {
            // Most lines name files, and are long.
            let says = |word: &[u8]| line.windows(word.len()).take(16).any(|window| window == word);
            if !says(b"\"txn\"") && !says(b"\"commitInfo\"") {
                continue;
            }
            let action: Value = serde_json::from_slice(line)?;
            if let (Some(id), Some(number)) =
                (action["txn"]["appId"].as_str(), action["txn"]["version"].as_u64())
            {
                entry.transactions.push((id.to_owned(), number));
            }
            let info = &action["commitInfo"];
            entry.timestamp = entry.timestamp.or(info["timestamp"].as_i64());
            if info["operation"].as_str() == Some("RESTORE") {
                entry.restores = Some(Target::read(&info["operationParameters"]));
            }
        }
        Ok(entry)
    }
}

impl Target {
    /// Writers differ in whether they write numbers as text.
    fn read(parameters: &Value) -> Self {
        let number = |key: &str| {
            let value = &parameters[key];
            value.as_i64().or_else(|| value.as_str()?.parse().ok())
        };
        if let Some(version) = number("version").and_then(|version| u64::try_from(version).ok()) {
            return Self::Version(version);
        }
        number("datetime").map_or(Self::Unclear, Self::Time)
    }
}

pub(crate) fn schema_to(schema: &Schema) -> Result<StructType> {
    schema
        .try_into_kernel()
        .map_err(|error: arrow::error::ArrowError| Fault::user(Code::SchemaRefused, error.to_string()))
}

pub(crate) fn schema_from(schema: &StructType) -> Result<SchemaRef> {
    let schema: Schema = schema
        .try_into_arrow()
        .map_err(|error: arrow::error::ArrowError| Fault::external(Code::BadState, error.to_string()))?;
    Ok(Arc::new(schema))
}

fn needs_ntz(schema: &Schema) -> bool {
    fn within(data_type: &arrow::datatypes::DataType) -> bool {
        use arrow::datatypes::DataType as D;
        match data_type {
            D::Timestamp(_, None) => true,
            D::List(item) | D::Map(item, _) => within(item.data_type()),
            D::Struct(fields) => fields.iter().any(|field| within(field.data_type())),
            _ => false,
        }
    }
    schema.fields().iter().any(|field| within(field.data_type()))
}

fn supports_ntz(protocol: &Protocol) -> bool {
    let features = protocol.writer_features().unwrap_or_default();
    features.iter().any(|feature| feature.to_string() == "timestampNtz")
}

/// The oldest protocol that a table can have, or, with timestamps that know no zone, the one with features by
/// name. A table that moves to named features must name what its version implied.
fn protocol(ntz: bool, before: Option<&Protocol>) -> Result<Protocol> {
    let document = if ntz {
        let names = |features: Option<Vec<String>>, implied: &[&str]| -> Vec<String> {
            let mut names =
                features.unwrap_or_else(|| implied.iter().map(|name| (*name).to_owned()).collect());
            names.push("timestampNtz".into());
            names
        };
        let text = |features: &[_]| -> Vec<String> { features.iter().map(ToString::to_string).collect() };
        let implied: &[&str] = if before.is_some() { &["appendOnly", "invariants"] } else { &[] };
        json!({
            "minReaderVersion": 3,
            "minWriterVersion": 7,
            "readerFeatures": names(before.and_then(Protocol::reader_features).map(text), &[]),
            "writerFeatures": names(before.and_then(Protocol::writer_features).map(text), implied),
        })
    } else {
        json!({ "minReaderVersion": 1, "minWriterVersion": 2 })
    };
    serde_json::from_value(document).map_err(|error| Fault::internal(Code::Bug, error.to_string()))
}
