//! The table's log as a reader sees it that knows nothing of ours.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

/// Files by path, each with the action that added it.
pub(super) type Files = BTreeMap<String, Value>;

/// One version's actions.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    pub adds: Files,
    pub removes: Vec<String>,
    pub transactions: Vec<(String, u64)>,
    pub operation: String,
    /// What was there is removed.
    pub overwrites: bool,
    /// The version that this one goes back to.
    pub restores: Option<usize>,
}

impl Entry {
    pub(super) fn parse(content: &Bytes) -> Self {
        let mut entry = Self::default();
        for line in std::str::from_utf8(content).unwrap().lines() {
            let action: Value = serde_json::from_str(line).unwrap();
            if let Some(path) = action["add"]["path"].as_str() {
                entry.adds.insert(path.to_owned(), action["add"].clone());
            } else if let Some(path) = action["remove"]["path"].as_str() {
                entry.removes.push(path.to_owned());
            } else if let Some(application) = action["txn"]["appId"].as_str() {
                entry.transactions.push((application.to_owned(), action["txn"]["version"].as_u64().unwrap()));
            } else if let Some(operation) = action["commitInfo"]["operation"].as_str() {
                operation.clone_into(&mut entry.operation);
                let parameters = &action["commitInfo"]["operationParameters"];
                entry.overwrites = parameters["mode"] == "Overwrite";
                let version = parameters["version"].as_u64();
                entry.restores = version.filter(|_| operation == "RESTORE").map(|version| version as usize);
            }
        }
        entry
    }
}

/// The version that a path of the log is the entry of.
pub(super) fn version_of(path: &str) -> Option<usize> {
    path.strip_prefix("_delta_log/")?.strip_suffix(".json")?.parse().ok()
}

pub(super) fn path_of(version: usize) -> String {
    format!("_delta_log/{version:020}.json")
}

pub(super) fn add(path: &str, size: usize, rows: usize, changes_data: bool) -> Value {
    json!({
        "path": path,
        "partitionValues": {},
        "size": size,
        "modificationTime": 0,
        "dataChange": changes_data,
        "stats": json!({ "numRecords": rows }).to_string(),
    })
}

/// An entry as another client writes it.
pub(super) fn entry(operation: &str, parameters: &Value, adds: &[Value], removes: &[String]) -> Bytes {
    let changes_data = operation != "OPTIMIZE";
    let mut lines =
        vec![json!({ "commitInfo": { "operation": operation, "operationParameters": parameters } })];
    lines.extend(removes.iter().map(
        |path| json!({ "remove": { "path": path, "deletionTimestamp": 0, "dataChange": changes_data } }),
    ));
    lines.extend(adds.iter().map(|add| json!({ "add": add })));
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    Bytes::from(lines.join("\n"))
}
