//! The ways back: an older version, none at all, never again.

use std::path::Path;

use serde_json::json;
use tidegate_infrastructure::{DataDir, clock};
use tidegate_model::{Code, Fault, Result, list, short_digest, suggestion, tame};
use tidegate_permission::{Action, Installed, Lock, Resource, Revocation, Revocations, State};

use crate::operator::Operator;
use crate::plugins::{self, Shelf, meant};
use crate::terminal::Reply;

/// Characters of a reason.
const LONGEST_REASON: usize = 500;

pub fn remove(data_dir: &DataDir, what: &str, force: bool) -> Result<Reply> {
    let shelf = Shelf::of(data_dir)?;
    let found = meant(what, &shelf.records()?)?;
    let [record] = found.as_slice() else {
        let digests: Vec<String> =
            found.iter().map(|record| short_digest(&record.digest).to_owned()).collect();
        return Err(Fault::user(Code::BadUsage, format!("several files are installed as `{what}`"))
            .help(format!("name one by its digest: {}", list(&digests))));
    };
    let name = format!("{} {}", record.name, record.version);
    let users = users(data_dir, &record.digest)?;
    if !users.is_empty() && !force {
        return Err(Fault::user(Code::BadUsage, format!("{name} is what {} ran with last", list(&users)))
            .help("run them with another version first, or add --force"));
    }
    Operator::new(data_dir, None)?.may(Action::PluginRemove, &Resource::Plugin(record.digest.clone()))?;
    shelf.remove(&record.digest)?;
    Ok(Reply::new(
        format!("Removed {} ({}).\n", tame(&name), short_digest(&record.digest)),
        json!({ "removed": record }),
    ))
}

/// The pipelines that ran with a component last, by the lock files here and beside the data folder.
fn users(data_dir: &DataDir, digest: &str) -> Result<Vec<String>> {
    let here = Path::new(".");
    let beside = data_dir.root().parent().unwrap_or(here);
    let mut users = Vec::new();
    for folder in [here, beside] {
        let lock = Lock::load(folder.join("tidegate.lock"))?;
        users.extend(lock.pipelines_of(digest).into_iter().map(|name| format!("`{name}`")));
    }
    users.sort();
    users.dedup();
    Ok(users)
}

/// What a name without a version leads to goes, and what it led to before comes back: the file whose place it
/// took, if there is one, else the newest that is left.
pub fn rollback(data_dir: &DataDir, name: &str) -> Result<Reply> {
    let shelf = Shelf::of(data_dir)?;
    let records = shelf.records()?;
    let own = plugins::first_party(data_dir)?.into_iter().map(|plugin| plugin.component);
    let own = own.filter(|component| component.name == name).max_by(|a, b| a.version.cmp(&b.version));
    let mut current = records.iter().filter(|record| record.name == name && record.is_current());
    let Some(top) = current.next() else {
        if own.is_some() {
            return Err(Fault::user(Code::NoPlugin, format!("`{name}` comes with this binary"))
                .help("an older one comes with an older Tidegate"));
        }
        let names = records.iter().map(|record| record.name.as_str());
        return Err(Fault::user(Code::NoPlugin, format!("no version of `{name}` is in use"))
            .help(suggestion(name, names)));
    };
    if let Some(own) = own.as_ref().filter(|own| own.version >= top.version) {
        let message = format!("`{name}` leads to {}, which comes with this binary", own.version);
        return Err(Fault::user(Code::NoPlugin, message).help(
            "an older one comes with an older Tidegate; `tidegate plugin remove` takes installed ones away",
        ));
    }
    let revocations = Revocations::of(data_dir);
    let is_fine = |record: &Installed| Ok::<_, Fault>(revocations.find(&record.digest)?.is_none());
    let mut replaced = None;
    for record in &records {
        let took = matches!(&record.state, State::Superseded { by: Some(by), .. } if *by == top.digest);
        if took && is_fine(record)? {
            replaced = Some(record);
        }
    }
    // What is revoked is nothing to go back to, and leaves with the one in use.
    let mut leaving = vec![top];
    let mut left = replaced;
    while left.is_none()
        && let Some(record) = current.next()
    {
        if is_fine(record)? {
            left = Some(record);
        } else {
            leaving.push(record);
        }
    }
    let to = match (left, &own) {
        (Some(record), Some(own)) if own.version >= record.version => (&own.version, &own.digest),
        (Some(record), _) => (&record.version, &record.digest),
        (None, Some(own)) => (&own.version, &own.digest),
        (None, None) => {
            return Err(Fault::user(
                Code::NoPlugin,
                format!("there is no version of `{name}` to go back to but {}", top.version),
            )
            .help(format!("`tidegate plugin remove {name}@{}` takes it away", top.version)));
        }
    };
    let operator = Operator::new(data_dir, None)?;
    for record in &leaving {
        operator.may(Action::PluginRemove, &Resource::Plugin(record.digest.clone()))?;
    }
    if let Some(record) = replaced {
        operator.may(Action::PluginInstall, &Resource::Plugin(record.digest.clone()))?;
        shelf.revive(record)?;
    }
    for record in &leaving {
        shelf.supersede(record, None)?;
    }
    let (version, digest) = to;
    let text = format!(
        "`{}` leads to {version} ({}) again, and no more to {} ({}).\nTo go forward again: tidegate plugin install {}\n",
        tame(name),
        short_digest(digest),
        top.version,
        short_digest(&top.digest),
        shelf.file(&top.digest).display(),
    );
    Ok(Reply::new(
        text,
        json!({
            "name": name,
            "from": { "version": top.version, "digest": top.digest },
            "to": { "version": version, "digest": digest },
        }),
    ))
}

pub fn revoke(data_dir: &DataDir, what: &str, reason: Option<&str>) -> Result<Reply> {
    let reason = reason.map(checked).transpose()?;
    let revocations = Revocations::of(data_dir);
    let operator = Operator::new(data_dir, None)?;
    let by = operator.principal();
    let mut text = String::new();
    let mut documents = Vec::new();
    for (digest, component) in condemned(data_dir, what)? {
        operator.may(Action::PluginRevoke, &Resource::Plugin(digest.clone()))?;
        let revocation = Revocation::new(&digest, component, reason.clone(), by, clock::now());
        let already = revocations.find(&digest)?;
        revocations.add(&revocation)?;
        let shown = revocation.component.clone().unwrap_or_else(|| digest.clone());
        text.push_str(&match &already {
            Some(first) => format!("{} is revoked already: {}\n", tame(&shown), tame(&first.in_words())),
            None => {
                format!("Revoked {} ({}). Nothing runs it any more.\n", tame(&shown), short_digest(&digest))
            }
        });
        text.push_str(&format!("  kept in {}\n", revocations.path(&digest)?.display()));
        documents.push(json!({ "revoked": already.is_none(), "revocation": already.unwrap_or(revocation) }));
    }
    Ok(Reply::new(text, json!({ "revocations": documents })))
}

/// Digests with the names that are known of them. A whole digest need not be known.
fn condemned(data_dir: &DataDir, what: &str) -> Result<Vec<(String, Option<String>)>> {
    let records = Shelf::of(data_dir)?.records()?;
    let own = plugins::first_party(data_dir)?.into_iter().map(|plugin| plugin.component);
    let named = |name: &str, version: &semver::Version| format!("{name}@{version}");
    let known: Vec<(String, String)> = own
        .map(|component| (component.digest, named(&component.name, &component.version)))
        .chain(
            records
                .iter()
                .map(|record: &Installed| (record.digest.clone(), named(&record.name, &record.version))),
        )
        .collect();
    let meant: Vec<_> = known
        .iter()
        .filter(|(digest, name)| name == what || digest == what)
        .map(|(digest, name)| (digest.clone(), Some(name.clone())))
        .collect();
    if !meant.is_empty() {
        return Ok(meant);
    }
    let whole = what.len() == "sha256:".len() + 64;
    if what.starts_with("sha256:") && whole {
        Revocations::of(data_dir).path(what)?;
        return Ok(vec![(what.to_owned(), None)]);
    }
    let found = plugins::meant(what, &records)?;
    Ok(found
        .into_iter()
        .map(|record| {
            let name = named(&record.name, &record.version);
            (record.digest, Some(name))
        })
        .collect())
}

/// A reason is shown in one line wherever the component is refused.
fn checked(reason: &str) -> Result<String> {
    let line = tame(reason).replace('\n', " ");
    let line = line.trim();
    if line.is_empty() || line.chars().count() > LONGEST_REASON {
        return Err(Fault::user(Code::BadUsage, "a reason is a line of at most 500 characters")
            .help("say it shorter after --reason"));
    }
    Ok(line.to_owned())
}
