//! `tidegate store`: the platform's own small data, in one piece.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use tidegate_infrastructure::{DataDir, SledStore, StoreContents};
use tidegate_model::{Code, Fault, Result, tame};
use tidegate_permission::{Action, Resource};

use super::Context;
use crate::operator::Operator;
use crate::project::data_root;
use crate::render::{Align, Table, bytes, count};
use crate::terminal::Reply;

/// Copy, restore and check what the platform keeps for itself
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tidegate store check\n  \
    tidegate store backup ~/tidegate.backup\n  \
    tidegate store restore ~/tidegate.backup --yes\n\n\
    The store lies in `.tidegate/store` and holds users and encrypted secrets. What people edit, \
    such as grants.yaml, lies in files beside it, and so does the audit: neither is in a backup. What is encrypted in \
    the store is so in a backup, and needs the same key.")]
pub struct Store {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write all of it to one file that only you can read
    Backup {
        /// The file to write; one of that name is replaced
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Put what is in a backup in the place of all that is there
    Restore {
        /// A file that `tidegate store backup` wrote
        #[arg(value_name = "FILE")]
        file: PathBuf,

        /// Without a question
        #[arg(long, short)]
        yes: bool,
    },
    /// Read all of it, and compare it with what was written
    Check,
}

impl Store {
    pub fn execute(&self, cx: &Context) -> Result<Reply> {
        let root = data_root(Path::new("."), cx.data_dir());
        match &self.verb {
            Verb::Backup { file } => backup(&existing(root, Action::StoreBackup)?, file),
            Verb::Restore { file, yes } => restore(cx, root, file, *yes),
            Verb::Check => check(&existing(root, Action::StoreBackup)?),
        }
    }
}

/// The data folder whose store somebody may look at as a whole: to look does not bring one into being.
fn existing(root: PathBuf, action: Action) -> Result<DataDir> {
    let none = Fault::user(Code::BadUsage, format!("there is no store in `{}`", root.display()))
        .help("give the folder that has one: --data-dir DIR");
    if !root.is_dir() {
        return Err(none);
    }
    let data_dir = DataDir::open(root)?;
    if !SledStore::is_there(&data_dir) {
        return Err(none);
    }
    Operator::new(&data_dir, None)?.may(action, &Resource::Store)?;
    Ok(data_dir)
}

fn backup(data_dir: &DataDir, file: &Path) -> Result<Reply> {
    let entries = SledStore::open(data_dir)?.backup(file)?;
    let text = format!("{} written to {}.\n", number(entries), file.display());
    Ok(Reply::new(text, json!({ "file": file, "entries": entries })))
}

fn restore(cx: &Context, root: PathBuf, file: &Path, yes: bool) -> Result<Reply> {
    let data_dir = DataDir::open(root)?;
    if !yes {
        let question = format!("Replace all that is in the store by what is in {}?", file.display());
        cx.terminal.confirm(&question)?;
    }
    Operator::who_restores(&data_dir)?.may(Action::StoreRestore, &Resource::Store)?;
    let entries = SledStore::restore(&data_dir, file)?;
    let text = format!("{} restored from {}.\n", number(entries), file.display());
    Ok(Reply::new(text, json!({ "file": file, "entries": entries })))
}

fn number(entries: u64) -> String {
    if entries == 1 { "1 entry".to_owned() } else { format!("{} entries", count(entries)) }
}

fn check(data_dir: &DataDir) -> Result<Reply> {
    let contents = SledStore::open(data_dir)?.check()?;
    Ok(Reply::new(words(&contents), document(&contents)))
}

fn words(contents: &StoreContents) -> String {
    if contents.tables.is_empty() {
        return "The store is whole, and empty.\n".to_owned();
    }
    let mut table = Table::new([("table", Align::Left), ("entries", Align::Right), ("size", Align::Right)]);
    for (name, found) in &contents.tables {
        table.row(vec![tame(name), count(found.entries), bytes(found.bytes)]);
    }
    format!("The store is whole.\n{}", table.render("  "))
}

fn document(contents: &StoreContents) -> Value {
    let tables: Map<String, Value> = contents
        .tables
        .iter()
        .map(|(name, found)| (name.clone(), json!({ "entries": found.entries, "bytes": found.bytes })))
        .collect();
    json!({ "whole": true, "writes": contents.writes, "tables": tables })
}

#[cfg(test)]
mod tests {
    use tidegate_infrastructure::TableContents;

    use super::*;

    #[test]
    fn what_is_there_is_told_by_the_table() {
        let mut contents = StoreContents::default();
        assert_eq!(words(&contents), "The store is whole, and empty.\n");
        let users = TableContents { entries: 1200, bytes: 60_000 };
        contents.tables.insert("users".into(), users);
        assert_eq!(
            words(&contents),
            "The store is whole.\n  table  entries    size\n  users    1,200  59 KiB\n"
        );
        assert_eq!(document(&contents)["tables"]["users"]["entries"], 1200);
        assert_eq!((number(1), number(2000)), ("1 entry".into(), "2,000 entries".into()));
    }
}
