//! `tidegate plugin`: what is installed, what a component asks for, and how it is configured.

use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tidegate_infrastructure::DataDir;
use tidegate_model::{Answer, Capability, ConfigKey, Result, Task, WorkerEvent, World, short_digest, tame};
use tidegate_permission::{Action, Resource};

use super::Context;
use crate::operator::Operator;
use crate::plugins::{self, Plugin as Installed};
use crate::progress::Progress;
use crate::project::{absolute, data_root};
use crate::render::{Align, Paint, Table, bytes, clip, wrap};
use crate::terminal::Reply;
use crate::work::{self, End};

/// Look at connectors before you let them do anything
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tidegate plugin list\n  \
    tidegate plugin inspect files\n  \
    tidegate plugin inspect ./target/wasm32-wasip2/release/pages.wasm --json")]
pub struct Plugin {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The connectors that pipelines can name
    List,
    /// What a component is, what it asks for and why, and how it is configured
    Inspect {
        /// A component, `pages.wasm`, or an installed connector, `files` or `files@0.1`
        #[arg(value_name = "FILE.wasm|NAME")]
        what: String,
    },
}

impl Plugin {
    pub fn execute(&self, cx: &Context) -> Result<Reply> {
        match &self.verb {
            Verb::List => list(cx),
            Verb::Inspect { what } => inspect(cx, what),
        }
    }
}

fn data_dir(cx: &Context) -> Result<DataDir> {
    DataDir::open(absolute(&data_root(Path::new("."), cx.data_dir()))?)
}

fn list(cx: &Context) -> Result<Reply> {
    let installed = plugins::installed(&data_dir(cx)?)?;
    let mut table = Table::new([
        ("name", Align::Left),
        ("version", Align::Left),
        ("from", Align::Left),
        ("digest", Align::Left),
        ("asks for", Align::Left),
    ]);
    for plugin in &installed {
        let kinds: Vec<&str> = plugin
            .inspection
            .manifest
            .capabilities
            .iter()
            .map(|capability| capability.kind.as_str())
            .collect();
        table.row(vec![
            clip(&tame(&plugin.component.name), 20),
            plugin.component.version.to_string(),
            plugin.origin.as_str().to_owned(),
            short_digest(&plugin.component.digest).to_owned(),
            kinds.join(", "),
        ]);
    }
    let documents: Vec<Value> = installed.iter().map(document).collect();
    Ok(Reply::new(table.render(""), json!({ "plugins": documents })))
}

fn inspect(cx: &Context, what: &str) -> Result<Reply> {
    let data_dir = data_dir(cx)?;
    let plugin = plugins::find(what, &data_dir)?;
    let spec = spec(cx, &plugin, &data_dir)?;
    let mut document = document(&plugin);
    document["config"] = json!(spec.config);
    document["config_schema"] = spec.config_schema;
    document["secrets"] = json!(spec.secrets);
    Ok(Reply::new(words(&plugin, &spec.config, cx.terminal.paint()), document))
}

/// What a component says of its configuration. Of a kind that nobody runs yet: nothing.
#[derive(Default)]
struct Spec {
    config: Vec<ConfigKey>,
    config_schema: Value,
    secrets: Vec<String>,
}

/// Asks the component, in a worker and without any permission. The worker refuses one whose request does not
/// agree with what it answers.
fn spec(cx: &Context, plugin: &Installed, data_dir: &DataDir) -> Result<Spec> {
    if plugin.inspection.manifest.world != World::Extractor {
        return Ok(Spec::default());
    }
    let order = work::order_without_pipeline(plugin.component.clone(), "inspection", data_dir, Task::Spec)?;
    let digest = Resource::Plugin(order.component.digest.clone());
    Operator::new(data_dir, Some(&order.run)).may(Action::PluginLoad, &digest)?;
    let mut progress = Progress::new(cx.terminal);
    let end = work::carry_out(&order, |event: &WorkerEvent| progress.on(event));
    progress.close();
    match end? {
        End::Answered(Answer::Spec { config, config_schema, secrets }) => {
            Ok(Spec { config, config_schema, secrets })
        }
        _ => Err(work::out_of_place()),
    }
}

fn document(plugin: &Installed) -> Value {
    json!({
        "name": plugin.component.name,
        "version": plugin.component.version,
        "digest": plugin.component.digest,
        "path": plugin.component.path,
        "origin": plugin.origin.as_str(),
        "size": plugin.inspection.size,
        "contract": plugin.inspection.contract,
        "imports": plugin.inspection.imports,
        "exports": plugin.inspection.exports,
        "manifest": plugin.inspection.manifest,
    })
}

fn words(plugin: &Installed, config: &[ConfigKey], paint: Paint) -> String {
    let inspection = &plugin.inspection;
    let manifest = &inspection.manifest;
    let name = format!("{} {}", manifest.name, manifest.version);
    let mut text = paint.bold(&tame(&name));
    for line in [&manifest.title, &manifest.description].into_iter().filter(|line| !line.is_empty()) {
        text.push_str(&format!("\n{}", wrap(&tame(line), 80, "")));
    }
    text.push_str("\n\n");
    for (label, words) in [
        ("digest", inspection.digest.clone()),
        ("size", bytes(inspection.size)),
        ("contract", inspection.contract.clone()),
        ("publisher", manifest.publisher.clone()),
        ("license", manifest.license.clone()),
        ("from", plugin.origin.as_str().to_owned()),
    ] {
        if !words.is_empty() {
            text.push_str(&format!("  {}  {}\n", paint.dim(&format!("{label:<9}")), tame(&words)));
        }
    }
    text.push_str(&format!("\n{}\n", paint.bold("It asks to")));
    if manifest.capabilities.is_empty() {
        text.push_str("  nothing: it reaches nothing but its output\n");
    }
    for capability in &manifest.capabilities {
        text.push_str(&request(capability));
    }
    text.push_str(&format!("\n{}\n", paint.bold("It is configured with")));
    if config.is_empty() {
        text.push_str("  nothing\n");
    }
    for key in config {
        text.push_str(&configured(key));
    }
    text.push_str(&format!("\n{}\n", paint.bold("It imports")));
    for import in &inspection.imports {
        text.push_str(&format!("  {}\n", tame(import)));
    }
    text
}

/// What is asked for, with the pattern as the author wrote it: no pipeline fills it here.
fn request(capability: &Capability) -> String {
    let need = if capability.required { "required" } else { "optional" };
    let target = capability.target.as_deref().map(|target| format!(" {target}")).unwrap_or_default();
    let what = tame(&format!("{}{target} ({need})", capability.kind));
    format!("  {what}\n    {}\n", wrap(&tame(&capability.reason), 76, "    "))
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
