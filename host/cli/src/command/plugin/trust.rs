use std::path::Path;

use clap::Subcommand;
use serde_json::{Value, json};
use tidegate_infrastructure::{DataDir, clock, files};
use tidegate_model::{Fault, Result, tame};
use tidegate_permission::{Action, PublicKey, Resource, Trusted};

use crate::operator::Operator;
use crate::plugins;
use crate::render::{Align, Table};
use crate::terminal::Reply;

/// Bytes of a public key's file.
const LONGEST_KEY: u64 = 4 << 10;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// The publishers whose signatures count
    List,
    /// Let a publisher's signatures count
    Add {
        /// The public key: a file, or its second line
        #[arg(value_name = "FILE.pub|KEY")]
        key: String,

        /// What you call the publisher
        #[arg(long, value_name = "TEXT")]
        name: String,
    },
    /// Let a publisher's signatures count no longer
    Remove {
        /// The publisher's name, or the key's identifier
        #[arg(value_name = "NAME|KEY-ID")]
        who: String,
    },
}

pub fn execute(data_dir: &DataDir, verb: &Verb) -> Result<Reply> {
    match verb {
        Verb::List => {
            Operator::may_look(data_dir, Action::PluginList)?;
            list()
        }
        Verb::Add { key, name } => add(data_dir, key, name),
        Verb::Remove { who } => remove(data_dir, who),
    }
}

fn list() -> Result<Reply> {
    let trust = plugins::trust()?;
    let documents: Vec<Value> = trust.list().iter().map(document).collect();
    if trust.list().is_empty() {
        let text = "No publisher is trusted. To trust one: tidegate plugin trust add FILE.pub --name NAME\n";
        return Ok(Reply::new(text, json!({ "publishers": documents })));
    }
    let mut table = Table::new(["publisher", "key", "since", "by"].map(|head| (head, Align::Left)));
    for trusted in trust.list() {
        table.row(vec![
            tame(&trusted.name),
            trusted.key.id(),
            trusted.added_at.format("%Y-%m-%d").to_string(),
            tame(&trusted.added_by),
        ]);
    }
    Ok(Reply::new(table.render(""), json!({ "publishers": documents })))
}

fn add(data_dir: &DataDir, key: &str, name: &str) -> Result<Reply> {
    let key = read(key)?;
    let operator = Operator::new(data_dir, None)?;
    operator.may(Action::PublisherTrust, &Resource::Publisher(key.id()))?;
    let mut trust = plugins::trust()?;
    let trusted = trust.add(name, key, operator.principal(), clock::now())?;
    let text = format!("The key {} is trusted as `{}`.\n", trusted.key.id(), tame(&trusted.name));
    Ok(Reply::new(text, json!({ "added": document(trusted) })))
}

fn read(key: &str) -> Result<PublicKey> {
    let path = Path::new(key);
    if !path.exists() {
        return PublicKey::parse(key).map_err(|fault| Fault {
            message: format!("`{}` is neither a file nor a publisher's public key", tame(key)),
            ..fault
        });
    }
    let text = files::read_at_most(path, LONGEST_KEY)?.and_then(|bytes| String::from_utf8(bytes).ok());
    PublicKey::parse(&text.unwrap_or_default())
        .map_err(|fault| fault.at(path.display().to_string(), None, None))
}

fn remove(data_dir: &DataDir, who: &str) -> Result<Reply> {
    let mut trust = plugins::trust()?;
    let trusted = trust.find(who)?.clone();
    Operator::new(data_dir, None)?.may(Action::PublisherTrust, &Resource::Publisher(trusted.key.id()))?;
    trust.remove(&trusted.key)?;
    let text = format!(
        "The key {} (`{}`) is not trusted any more. What it signed stays installed, and does not count as signed.\n",
        trusted.key.id(),
        tame(&trusted.name)
    );
    Ok(Reply::new(text, json!({ "removed": document(&trusted) })))
}

fn document(trusted: &Trusted) -> Value {
    json!({
        "name": trusted.name,
        "key_id": trusted.key.id(),
        "key": trusted.key,
        "added_by": trusted.added_by,
        "added_at": trusted.added_at,
    })
}

#[cfg(test)]
mod tests {
    use tidegate_model::Code;

    use super::*;

    #[test]
    fn what_is_no_key_is_told_as_it_was_typed() {
        let refused = read("acme.pub").unwrap_err();
        assert_eq!(refused.code, Code::BadUsage);
        assert!(refused.message.contains("`acme.pub` is neither a file nor"), "{refused}");
    }
}
