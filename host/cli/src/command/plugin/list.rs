use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate_infrastructure::DataDir;
use tidegate_model::{Capability, CapabilityKind, Result, short_digest, tame};
use tidegate_permission::{Installed, Revocations, State, Trust};

use super::Context;
use crate::plugins::{self, Plugin, Shelf};
use crate::render::{Align, Table, clip};
use crate::terminal::Reply;

/// Runs nothing and reads no component but those of this binary: it tells what the records say.
pub fn list(cx: &Context, data_dir: &DataDir) -> Result<Reply> {
    let shelf = Shelf::of(data_dir)?;
    let trust = plugins::trust()?;
    let revocations = Revocations::of(data_dir);
    let mut table = Table::new(
        ["name", "version", "state", "publisher", "digest", "asks for", "installed"]
            .map(|head| (head, Align::Left)),
    );
    let mut documents = Vec::new();
    let mut row = |name: &str, version: String, cells: [String; 3], digest: &str, asks: &[Capability]| {
        let [state, publisher, installed] = cells;
        table.row(vec![
            clip(&tame(name), 20),
            version,
            state,
            clip(&tame(&publisher), 24),
            short_digest(digest).to_owned(),
            kinds(asks),
            tame(&installed),
        ]);
    };
    for plugin in plugins::first_party(data_dir)? {
        let Plugin { component, inspection, origin } = &plugin;
        let state = state(None, revocations.find(&component.digest)?.is_some());
        let cells = [state.to_owned(), "this binary".to_owned(), origin.as_str().to_owned()];
        row(
            &component.name,
            component.version.to_string(),
            cells,
            &component.digest,
            &inspection.manifest.capabilities,
        );
        documents.push(json!({
            "name": component.name,
            "version": component.version,
            "digest": component.digest,
            "path": component.path,
            "origin": origin.as_str(),
            "state": state,
            "size": inspection.size,
            "contract": inspection.contract,
            "capabilities": inspection.manifest.capabilities,
        }));
    }
    for record in shelf.records()? {
        let state = state(Some(&record.state), revocations.find(&record.digest)?.is_some());
        let at = record.installed_at.format("%Y-%m-%d");
        let installed = format!("{at} by {}", record.installed_by.trim_start_matches("user:"));
        let cells = [state.to_owned(), publisher(&record, &trust), installed];
        row(&record.name, record.version.to_string(), cells, &record.digest, &record.capabilities);
        documents.push(document(&record, state, &shelf, &trust));
    }
    let strays = shelf.strays()?;
    let mut text = table.render("");
    for stray in &strays {
        text.push_str(&format!(
            "{} {} lies here and was never installed: tidegate plugin install {}\n",
            cx.terminal.paint().yellow("note"),
            stray.file_name().unwrap_or_default().to_string_lossy(),
            stray.display()
        ));
    }
    Ok(Reply::new(text, json!({ "plugins": documents, "not_installed": strays })))
}

fn document(record: &Installed, state: &str, shelf: &Shelf, trust: &Trust) -> Value {
    json!({
        "name": record.name,
        "version": record.version,
        "digest": record.digest,
        "path": shelf.file(&record.digest),
        "origin": "installed",
        "state": state,
        "size": record.size,
        "contract": record.contract,
        "capabilities": record.capabilities,
        "publisher": record.publisher(trust),
        "installed_by": record.installed_by,
        "installed_at": record.installed_at,
        "installed_from": record.installed_from,
        "asks_more_than": record.asks_more_than,
    })
}

/// A revocation is above what the record says.
fn state(state: Option<&State>, revoked: bool) -> &'static str {
    match state {
        _ if revoked => "revoked",
        None | Some(State::Current) => "current",
        Some(State::Superseded { .. }) => "superseded",
    }
}

fn publisher(record: &Installed, trust: &Trust) -> String {
    match (record.publisher(trust), &record.signed_by, &record.signature) {
        (Some(publisher), ..) => publisher.name,
        (None, Some(signer), _) => format!("untrusted: {}", signer.publisher.name),
        (None, None, Some(_)) => "signed, not trusted".to_owned(),
        (None, None, None) => "not signed".to_owned(),
    }
}

/// Each kind once: `files, decode`.
fn kinds(capabilities: &[Capability]) -> String {
    let kinds: BTreeSet<CapabilityKind> = capabilities.iter().map(|capability| capability.kind).collect();
    let words: Vec<&str> = kinds.into_iter().map(CapabilityKind::as_str).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}
