//! Another client of the table: it appends rows of its own, writes small files together, deletes what the log
//! does not name, and goes back to an older version. Each of these happens at one moment.

use std::collections::BTreeSet;

use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use super::invariants::Invariants;
use super::log;
use super::operation::{Process, Purpose};
use super::source::{Row, batch, schema};
use super::store::Ground;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Append,
    Optimize,
    Vacuum,
    /// To so many versions before the newest.
    Restore(usize),
}

pub(super) const STRANGER: Process = Process { writer: usize::MAX, life: 0, purpose: Purpose::Stranger };

/// Does it, if there is something to do. `spared` are the files that are too young to be deleted.
pub(super) fn act(
    deed: Deed,
    ground: &Ground,
    seen: &Invariants,
    spared: &BTreeSet<String>,
    made: &mut u64,
) -> bool {
    let now = seen.now();
    let version = seen.versions.len();
    let commit = |operation: &str, parameters: &Value, adds: &[Value], removes: &[String]| {
        let entry = log::entry(operation, parameters, adds, removes);
        ground.create(STRANGER, &log::path_of(version), entry).unwrap();
        true
    };
    match deed {
        Deed::Append => {
            *made += 1;
            let row = Row { id: -(*made as i64), at: Some(0), text: "another's".into() };
            let add = write(ground, &format!("another-{made}.parquet"), &[row], true);
            commit("APPEND", &json!({}), &[add], &[])
        }
        Deed::Optimize if now.files.len() > 1 => {
            *made += 1;
            let rows: Vec<Row> = now.files.keys().flat_map(|path| seen.rows(path).to_vec()).collect();
            let add = write(ground, &format!("optimized-{made}.parquet"), &rows, false);
            let removes: Vec<String> = now.files.into_keys().collect();
            commit("OPTIMIZE", &json!({}), &[add], &removes)
        }
        Deed::Vacuum => {
            let garbage: Vec<String> = ground
                .paths("")
                .into_iter()
                .filter(|path| !path.starts_with('_') && !now.files.contains_key(path))
                .filter(|path| !spared.contains(path))
                .collect();
            for path in &garbage {
                ground.delete(STRANGER, &format!("{}{path}", super::store::TABLE).into()).unwrap();
            }
            !garbage.is_empty()
        }
        Deed::Restore(back) if back < version => {
            let to = version - 1 - back;
            let then = &seen.versions[to].files;
            if back == 0 || then.keys().any(|path| !seen.objects.contains_key(path)) {
                return false;
            }
            let adds: Vec<Value> = then
                .iter()
                .filter(|(path, _)| !now.files.contains_key(*path))
                .map(|(_, add)| {
                    let mut add = add.clone();
                    add["dataChange"] = Value::Bool(true);
                    add
                })
                .collect();
            let removes: Vec<String> =
                now.files.into_keys().filter(|path| !then.contains_key(path)).collect();
            commit("RESTORE", &json!({ "version": to }), &adds, &removes)
        }
        Deed::Optimize | Deed::Restore(_) => false,
    }
}

fn write(ground: &Ground, path: &str, rows: &[Row], changes_data: bool) -> Value {
    let mut writer = ArrowWriter::try_new(Vec::new(), schema(), None).unwrap();
    writer.write(&batch(rows)).unwrap();
    let content = Bytes::from(writer.into_inner().unwrap());
    let add = log::add(path, content.len(), rows.len(), changes_data);
    ground.create(STRANGER, path, content).unwrap();
    add
}
