//! What the tests share: a source of numbers, a run as a worker makes it, and a reader that knows nothing of
//! ours.
#![allow(dead_code, reason = "each test file uses its part of this")]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tidegate_ingestion::{Coordinator, Identity, Location, NewPlan, Split, Table, reconcile};
use tidegate_model::{ApplicationId, Code, Mode, PipelineName, Result, SchemaChange, StreamName, WriteMode};
use url::Url;

pub fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

/// Another store with the same files.
pub async fn copy(store: &Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
    let copy = memory();
    let files: Vec<_> = store.list(None).try_collect().await.unwrap();
    for file in files {
        let content = store.get(&file.location).await.unwrap().bytes().await.unwrap();
        copy.put(&file.location, content.into()).await.unwrap();
    }
    copy
}

pub async fn table(store: &Arc<dyn ObjectStore>) -> Result<Table> {
    let url = Url::parse("memory:///lake").unwrap();
    Location::on_store(Arc::clone(store), url).await?.table(&StreamName::new("numbers").unwrap())
}

pub fn application(pipeline: &str) -> ApplicationId {
    ApplicationId::new(&PipelineName::new(pipeline).unwrap(), &StreamName::new("numbers").unwrap())
}

pub fn identity() -> Identity {
    Identity { connector: "test".into(), fingerprint: "source-1".into(), stream: "numbers".into() }
}

pub async fn open(store: &Arc<dyn ObjectStore>) -> Result<Coordinator> {
    Coordinator::open(table(store).await?, application("p"), identity()).await
}

pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
    ]))
}

pub fn batch(ids: &[i64]) -> RecordBatch {
    let names: StringArray = ids.iter().map(|id| (id % 3 != 0).then(|| format!("n{id}"))).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(ids.to_vec())), Arc::new(names)];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// Splits of numbers, read two rows at a time; a checkpoint is a row number.
#[derive(Clone)]
pub struct Source {
    pub splits: Vec<Vec<i64>>,
    pub write: WriteMode,
    pub mode: Mode,
    pub repeatable: bool,
}

impl Source {
    pub fn incremental(splits: &[&[i64]]) -> Self {
        let splits = splits.iter().map(|split| split.to_vec()).collect();
        Self { splits, write: WriteMode::Append, mode: Mode::Incremental, repeatable: true }
    }

    pub fn replacing(splits: &[&[i64]]) -> Self {
        Self { write: WriteMode::Replace, mode: Mode::Full, ..Self::incremental(splits) }
    }

    pub fn plan(&self) -> NewPlan {
        NewPlan {
            mode: self.mode,
            write: self.write,
            cursor: (self.mode == Mode::Incremental).then(|| "id".into()),
            lookback: None,
            splits: (0..self.splits.len()).map(|index| split(&format!("split {index}"))).collect(),
            token: b"token".to_vec(),
            bookmark: Some(b"bookmark".to_vec()),
            upper_bound: self.splits.iter().flatten().max().map(ToString::to_string),
            repeatable: self.repeatable,
            schema: schema(),
        }
    }

    /// One run, as a worker makes it.
    pub async fn run(&self, store: &Arc<dyn ObjectStore>) -> Result<Coordinator> {
        let mut coordinator = open(store).await?;
        if coordinator.resume().await?.is_none() {
            let table = coordinator.table_schema()?;
            reconcile(table.as_deref(), &schema(), SchemaChange::default(), self.write)?;
            coordinator.begin(self.plan()).await?;
        }
        for pending in coordinator.pending().await? {
            let stage = coordinator.stage()?;
            let mut stager = stage.open(pending.index, pending.follows.as_deref());
            let from = pending.from.map_or(0, |state| String::from_utf8(state).unwrap().parse().unwrap());
            let rows = &self.splits[pending.index];
            for start in (from..rows.len()).step_by(2) {
                let end = (start + 2).min(rows.len());
                stager.write(&batch(&rows[start..end])).await?;
                let closed = stager.checkpoint(end.to_string().as_bytes(), start % 4 == 2).await?;
                if closed.is_some() {
                    coordinator.commit(false).await?;
                }
            }
            stager.finish().await?;
        }
        coordinator.commit(true).await?;
        Ok(coordinator)
    }

    /// Runs until one is through, as a scheduler would.
    pub async fn run_until_done(&self, store: &Arc<dyn ObjectStore>) -> Coordinator {
        for _ in 0..5 {
            match self.run(store).await {
                Ok(coordinator) => return coordinator,
                Err(fault) if matches!(fault.code, Code::StagedFileLost | Code::Superseded) => {}
                Err(fault) => panic!("{fault}"),
            }
        }
        panic!("no run went through");
    }
}

pub fn split(label: &str) -> Split {
    Split { data: Vec::new(), label: label.into(), estimated_rows: None, estimated_bytes: None }
}

/// The table's batches by its log alone: what any reader of Delta sees.
pub async fn read(store: &Arc<dyn ObjectStore>) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    for path in visible(store).await {
        let content =
            store.get(&Path::from(format!("lake/numbers/{path}"))).await.unwrap().bytes().await.unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(content).unwrap().build().unwrap();
        batches.extend(reader.map(Result::unwrap));
    }
    batches
}

/// Sorted.
pub async fn ids(store: &Arc<dyn ObjectStore>) -> Vec<i64> {
    let mut ids = Vec::new();
    for batch in read(store).await {
        ids.extend(batch.column_by_name("id").unwrap().as_primitive::<Int64Type>().values().iter());
    }
    ids.sort_unstable();
    ids
}

/// Every action of the log, in order.
pub async fn log(store: &Arc<dyn ObjectStore>) -> Vec<Value> {
    let mut actions = Vec::new();
    for path in list(store, "_delta_log").await.into_iter().filter(|path| path.as_ref().ends_with(".json")) {
        let content = store.get(&path).await.unwrap().bytes().await.unwrap();
        let lines = std::str::from_utf8(&content).unwrap().lines();
        actions.extend(lines.map(|line| serde_json::from_str::<Value>(line).unwrap()));
    }
    actions
}

async fn visible(store: &Arc<dyn ObjectStore>) -> Vec<String> {
    let mut files = BTreeMap::new();
    for action in log(store).await {
        if let Some(add) = action["add"]["path"].as_str() {
            assert!(files.insert(add.to_owned(), ()).is_none(), "{add} was added twice");
        }
        if let Some(remove) = action["remove"]["path"].as_str() {
            assert!(files.remove(remove).is_some(), "{remove} was removed and not there");
        }
    }
    files.into_keys().collect()
}

/// Paths below a folder of the table, sorted.
pub async fn list(store: &Arc<dyn ObjectStore>, folder: &str) -> Vec<Path> {
    let prefix = Path::parse(format!("lake/numbers/{folder}")).unwrap();
    let mut found: Vec<Path> =
        store.list(Some(&prefix)).map_ok(|file| file.location).try_collect().await.unwrap();
    found.sort();
    found
}
