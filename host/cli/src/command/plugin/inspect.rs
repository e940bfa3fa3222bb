use serde_json::{Value, json};
use tidegate_infrastructure::DataDir;
use tidegate_model::{Capability, ConfigKey, Exit, Result, tame};
use tidegate_permission::{Action, Installed, Resource, Revocation, Revocations, Risk};
use tidegate_sandbox::Mismatch;

use super::Context;
use super::spec::{self, Spec};
use crate::operator::Operator;
use crate::plugins::{self, Origin, Plugin, Vouched};
use crate::render::{Paint, bytes, wrap};
use crate::terminal::Reply;

/// All that is known of a component.
struct Seen {
    plugin: Plugin,
    mismatches: Vec<Mismatch>,
    vouched: Result<Vouched>,
    revocation: Option<Revocation>,
    spec: Option<Spec>,
}

pub fn inspect(cx: &Context, data_dir: &DataDir, what: &str) -> Result<Reply> {
    let (plugin, mismatches, wasm) = plugins::find_to_see(what, data_dir)?;
    let signature = match &plugin.origin {
        Origin::Installed(record) => record.signature.clone(),
        Origin::File => plugins::signature_beside(&plugin.component.path)?,
        Origin::FirstParty => None,
    };
    let vouched = Vouched::of(signature.as_deref(), &wasm, &plugin.inspection, &plugins::trust()?);
    let revocation = Revocations::of(data_dir).find(&plugin.component.digest)?;
    // What must not run is not asked.
    let spec = match mismatches.is_empty() && revocation.is_none() {
        true => Some(spec::spec(cx, &plugin, data_dir)?),
        false => None,
    };
    if revocation.is_some() {
        // That somebody looked at it is on record, as a denial.
        let digest = Resource::Plugin(plugin.component.digest.clone());
        let _ = Operator::new(data_dir, None)?.may(Action::PluginLoad, &digest);
    }
    let seen = Seen { plugin, mismatches, vouched, revocation, spec };
    let exit = match &seen {
        Seen { mismatches, .. } if !mismatches.is_empty() => Exit::Usage as u8,
        Seen { revocation: Some(_), .. } | Seen { vouched: Err(_), .. } => Exit::Denied as u8,
        _ => 0,
    };
    Ok(Reply { exit, ..Reply::new(words(&seen, cx.terminal.paint()), document(&seen)) })
}

fn document(seen: &Seen) -> Value {
    let Plugin { component, inspection, origin } = &seen.plugin;
    let empty = Spec::default();
    let spec = seen.spec.as_ref().unwrap_or(&empty);
    let risks: Vec<Value> = inspection
        .manifest
        .capabilities
        .iter()
        .map(|capability| json!({ "id": capability.id, "kind": capability.kind, "risk": risk(capability) }))
        .collect();
    json!({
        "name": component.name,
        "version": component.version,
        "digest": component.digest,
        "path": component.path,
        "origin": origin.as_str(),
        "size": inspection.size,
        "contract": inspection.contract,
        "imports": inspection.imports,
        "exports": inspection.exports,
        "manifest": inspection.manifest,
        "risks": risks,
        "mismatches": seen.mismatches.iter().map(mismatch).collect::<Vec<_>>(),
        "signature": match &seen.vouched {
            Ok(vouched) => vouched.document(),
            Err(fault) => json!({ "signed": false, "fault": fault }),
        },
        "record": origin.record(),
        "revoked": seen.revocation,
        "config": spec.config,
        "config_schema": spec.config_schema,
        "secrets": spec.secrets,
    })
}

fn mismatch(mismatch: &Mismatch) -> Value {
    let (kind, what) = match mismatch {
        Mismatch::Forbidden(name) => ("forbidden", name.as_str()),
        Mismatch::Unknown(name) => ("unknown", name.as_str()),
        Mismatch::NotRequested(kind) => ("imported_not_requested", kind.as_str()),
        Mismatch::NotImported(kind) => ("requested_not_imported", kind.as_str()),
    };
    json!({ "mismatch": kind, "what": what, "message": format!("it {mismatch}") })
}

fn words(seen: &Seen, paint: Paint) -> String {
    let Plugin { inspection, origin, .. } = &seen.plugin;
    let manifest = &inspection.manifest;
    let name = format!("{} {}", manifest.name, manifest.version);
    let mut text = paint.bold(&tame(&name));
    for line in [&manifest.title, &manifest.description].into_iter().filter(|line| !line.is_empty()) {
        text.push_str(&format!("\n{}", wrap(&tame(line), 80, "")));
    }
    text.push_str("\n\n");
    for trouble in troubles(seen) {
        text.push_str(&format!("{}\n", paint.red(&wrap(&tame(&trouble), 80, ""))));
    }
    if !troubles(seen).is_empty() {
        text.push_str("Nothing runs it.\n\n");
    }
    let signature = match &seen.vouched {
        Ok(_) if *origin == Origin::FirstParty => "none: it came with this binary".to_owned(),
        Ok(vouched) => vouched.in_words(),
        Err(fault) => fault.message.clone(),
    };
    let mut facts = vec![
        ("digest", inspection.digest.clone()),
        ("size", bytes(inspection.size)),
        ("contract", inspection.contract.clone()),
        ("publisher", claimed(&manifest.publisher)),
        ("license", manifest.license.clone()),
        ("signature", signature),
        ("from", origin.as_str().to_owned()),
    ];
    facts.extend(origin.record().map(provenance).into_iter().flatten());
    for (label, words) in facts.into_iter().filter(|(_, words)| !words.is_empty()) {
        text.push_str(&format!("  {}  {}\n", paint.dim(&format!("{label:<9}")), tame(&words)));
    }
    text.push_str(&format!("\n{}\n", paint.bold("It asks to")));
    if manifest.capabilities.is_empty() {
        text.push_str("  nothing: it reaches nothing but its output\n");
    }
    for capability in &manifest.capabilities {
        text.push_str(&request(capability, paint));
    }
    if let Some(spec) = &seen.spec {
        text.push_str(&format!("\n{}\n", paint.bold("It is configured with")));
        if spec.config.is_empty() {
            text.push_str("  nothing\n");
        }
        for key in &spec.config {
            text.push_str(&configured(key));
        }
    }
    text.push_str(&format!("\n{}\n", paint.bold("It imports")));
    for import in &inspection.imports {
        let wrong = seen.mismatches.iter().any(|mismatch| names(mismatch, import));
        let import = tame(import);
        text.push_str(&format!("  {}\n", if wrong { paint.red(&import) } else { import }));
    }
    text
}

/// Why nothing runs it.
fn troubles(seen: &Seen) -> Vec<String> {
    let revoked = seen.revocation.as_ref().map(|revocation| format!("REVOKED: {}", revocation.in_words()));
    let mismatches = seen.mismatches.iter().map(|mismatch| format!("MISMATCH: it {mismatch}"));
    revoked.into_iter().chain(mismatches).collect()
}

/// What the component says of itself is nobody's word but its own.
fn claimed(publisher: &str) -> String {
    if publisher.is_empty() { String::new() } else { format!("{publisher}, as it says itself") }
}

fn provenance(record: &Installed) -> Vec<(&'static str, String)> {
    let at = record.installed_at.format("%Y-%m-%d %H:%M UTC");
    vec![("installed", format!("{at} by {}", record.installed_by)), ("origin", record.origin.clone())]
}

fn names(mismatch: &Mismatch, import: &str) -> bool {
    match mismatch {
        Mismatch::Forbidden(name) | Mismatch::Unknown(name) => name == import,
        Mismatch::NotRequested(kind) => {
            import.split_once('/').is_some_and(|(_, rest)| rest.split('@').next() == Some(kind.interface()))
        }
        Mismatch::NotImported(_) => false,
    }
}

fn risk(capability: &Capability) -> Risk {
    Risk::of(capability.kind, capability.target.as_deref())
}

/// What is asked for, with the pattern as the author wrote it: no pipeline fills it here.
fn request(capability: &Capability, paint: Paint) -> String {
    let need = if capability.required { "required" } else { "optional" };
    let target = capability.target.as_deref().map(|target| format!(" {target}")).unwrap_or_default();
    let place = capability.place.as_deref().map(|place| format!(" as {place}")).unwrap_or_default();
    let what = tame(&format!("{}{target}{place} ({need})", capability.kind));
    let risk = risk(capability);
    let tier = match risk {
        Risk::Ordinary => paint.dim(risk.as_str()),
        Risk::Sensitive => paint.yellow(risk.as_str()),
        Risk::Privileged => paint.red(risk.as_str()),
    };
    format!("  {what}  {tier}\n    {}\n", wrap(&tame(&capability.reason), 76, "    "))
}

fn configured(key: &ConfigKey) -> String {
    let need = if key.required { "required" } else { "optional" };
    let mut text =
        format!("  {}\n", wrap(&tame(&format!("{}: {} ({need})", key.name, key.kind)), 78, "    "));
    if !key.description.is_empty() {
        text.push_str(&format!("    {}\n", wrap(&tame(&key.description), 76, "    ")));
    }
    text
}
