//! A connector's documentation, made from the component alone.

use serde_json::{Value, json};
use tidegate_infrastructure::DataDir;
use tidegate_model::{
    CONTRACT_VERSION, Capability, CapabilityKind, ConfigKey, Limits, Manifest, Result, StreamInfo, tame,
};
use tidegate_permission::Risk;
use tidegate_sandbox::Inspection;

use super::Context;
use super::spec::{self, Spec};
use crate::plugins;
use crate::terminal::Reply;

/// Memory of an instance where a pipeline says nothing, in MiB.
const USUAL_MEMORY: u64 = 256;

pub fn docs(cx: &Context, data_dir: &DataDir, what: &str) -> Result<Reply> {
    let plugin = plugins::find(what, data_dir)?;
    let spec = spec::spec(cx, &plugin, data_dir)?;
    let streams = spec::streams(cx, &plugin, &spec, data_dir)?;
    let text = markdown(&plugin.inspection, &spec, streams.as_deref());
    let document =
        json!({ "name": plugin.component.name, "digest": plugin.component.digest, "markdown": text });
    Ok(Reply::new(text, document))
}

fn markdown(inspection: &Inspection, spec: &Spec, streams: Option<&[StreamInfo]>) -> String {
    let manifest = &inspection.manifest;
    let Manifest { name, version, title, description, publisher, license, .. } = manifest;
    let mut text = format!("# {} {version}\n\n", prose(name));
    for line in [title, description].into_iter().filter(|line| !line.is_empty()) {
        text.push_str(&format!("{}\n\n", prose(line)));
    }
    text.push_str(&format!(
        "- Digest: `{}`\n- Contract: {}, of which this host speaks {CONTRACT_VERSION}\n",
        inspection.digest,
        prose(&inspection.contract)
    ));
    for (label, words) in [("Publisher, as it says itself", publisher), ("Licence", license)] {
        if !words.is_empty() {
            text.push_str(&format!("- {label}: {}\n", prose(words)));
        }
    }
    text.push_str("\n## What it asks for\n\n");
    text.push_str(&requests(&manifest.capabilities));
    text.push_str("\n## Configuration\n\n");
    text.push_str(&configuration(spec));
    text.push_str("\n## Secrets\n\n");
    text.push_str(&secrets(&slots(manifest, spec)));
    text.push_str("\n## Streams\n\n");
    text.push_str(&match streams {
        Some(streams) => listed(streams),
        None => "They depend on the source. With a pipeline file, `tidegate discover PIPELINE.yaml` shows them with their columns.\n".to_owned(),
    });
    text.push_str(&format!(
        "\n## Limits\n\nAn instance may use {USUAL_MEMORY} MiB of memory; `limits: {{ memory: 512MiB }}` in `extract` changes that, between {} and {} MiB. As many splits are read at once as there are processors; `parallelism` changes that.\n",
        Limits::MIN_MEMORY >> 20,
        Limits::MAX_MEMORY >> 20
    ));
    let example = example(manifest, spec, streams);
    text.push_str(&format!("\n## A pipeline to begin with\n\n```yaml\n{example}```\n"));
    text
}

fn requests(capabilities: &[Capability]) -> String {
    if capabilities.is_empty() {
        return "Nothing: it reaches nothing but its output.\n".to_owned();
    }
    let mut text = "| What | For | Needed | Risk | Why |\n|---|---|---|---|---|\n".to_owned();
    for capability in capabilities {
        let Capability { kind, target, place, required, reason, .. } = capability;
        let place = place.as_deref().map(|place| format!(" as {}", code(place))).unwrap_or_default();
        text.push_str(&format!(
            "| {kind}{place} | {} | {} | {} | {} |\n",
            target.as_deref().map(code).unwrap_or_default(),
            if *required { "yes" } else { "no" },
            Risk::of(*kind, target.as_deref()),
            cell(reason),
        ));
    }
    text
}

fn configuration(spec: &Spec) -> String {
    if spec.config.is_empty() {
        return "None.\n".to_owned();
    }
    let mut text = "| Key | Type | Required | Default | What it is |\n|---|---|---|---|---|\n".to_owned();
    for ConfigKey { name, kind, required, description } in &spec.config {
        text.push_str(&format!(
            "| {} | {} | {} | {} | {} |\n",
            code(name),
            cell(kind),
            if *required { "yes" } else { "no" },
            property(spec, name, "default").map(|value| code(&value.to_string())).unwrap_or_default(),
            cell(description),
        ));
    }
    text
}

fn property<'a>(spec: &'a Spec, key: &str, what: &str) -> Option<&'a Value> {
    spec.config_schema.get("properties")?.get(key)?.get(what).filter(|value| !value.is_null())
}

/// The slots that it names, with those of its request.
fn slots<'a>(manifest: &'a Manifest, spec: &'a Spec) -> Vec<(&'a str, bool)> {
    let mut slots: Vec<(&str, bool)> = manifest
        .capabilities
        .iter()
        .filter(|capability| capability.kind == CapabilityKind::Credential)
        .map(|capability| (capability.id.as_str(), capability.required))
        .collect();
    for name in &spec.secrets {
        if !slots.iter().any(|(slot, _)| slot == name) {
            slots.push((name, false));
        }
    }
    slots
}

fn secrets(slots: &[(&str, bool)]) -> String {
    if slots.is_empty() {
        return "None.\n".to_owned();
    }
    let mut text = "The host uses them; the connector never sees one. `extract.secrets` binds each slot to a reference: `env:NAME`, `file:PATH` or `store:NAME`.\n\n".to_owned();
    for (slot, required) in slots {
        text.push_str(&format!("- {} ({})\n", code(slot), if *required { "required" } else { "optional" }));
    }
    text
}

fn listed(streams: &[StreamInfo]) -> String {
    if streams.is_empty() {
        return "None.\n".to_owned();
    }
    let mut text = "| Stream | Columns |\n|---|---|\n".to_owned();
    for stream in streams {
        let columns: Vec<String> =
            stream.columns.iter().map(|column| format!("{} {}", column.name, column.data_type)).collect();
        text.push_str(&format!("| {} | {} |\n", code(&stream.name), cell(&columns.join(", "))));
    }
    text
}

/// A pipeline file that can be read, with whatever must be filled in.
fn example(manifest: &Manifest, spec: &Spec, streams: Option<&[StreamInfo]>) -> String {
    let Manifest { name, version, .. } = manifest;
    let mut text = format!(
        "pipeline: {name}\nextract:\n  connector: {name}@{}.{}\n  config: {}\n",
        version.major,
        version.minor,
        flow(spec.config.iter().filter(|key| key.required).map(|key| (&*key.name, sample(key, spec)))),
    );
    let needed: Vec<(&str, bool)> =
        slots(manifest, spec).into_iter().filter(|(_, required)| *required).collect();
    if !needed.is_empty() {
        let variable = |slot: &str| {
            slot.chars()
                .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
                .collect::<String>()
        };
        let bound = needed.iter().map(|(slot, _)| (*slot, json!(format!("env:{}", variable(slot)))));
        text.push_str(&format!("  secrets: {}\n", flow(bound)));
    }
    let stream = streams.and_then(<[StreamInfo]>::first).map_or("STREAM", |stream| &stream.name);
    text.push_str(&format!(
        "  streams:\n    {}: {{ mode: full }}\ningest:\n  sink: delta\n  location: ./lake\n",
        json!(stream)
    ));
    text
}

/// `{ "location": "./data" }`: what YAML calls a flow mapping, in which JSON can be written.
fn flow<'a>(entries: impl Iterator<Item = (&'a str, Value)>) -> String {
    let entries: Vec<String> = entries.map(|(key, value)| format!("{}: {value}", json!(key))).collect();
    if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
}

/// A value of the right kind: the default, the first of the words to choose from, or one to write over.
fn sample(key: &ConfigKey, spec: &Spec) -> Value {
    if let Some(default) = property(spec, &key.name, "default") {
        return default.clone();
    }
    match key.kind.as_str() {
        "integer" | "number" => json!(1),
        "boolean" => json!(true),
        "object" => json!({}),
        list if list.starts_with("list") => json!([]),
        "string" => json!(match key.name.as_str() {
            "location" | "path" => "./data".to_owned(),
            name if name.contains("url") => "https://example.org".to_owned(),
            name => name.to_uppercase(),
        }),
        words => json!(words.split(" | ").next().unwrap_or_default()),
    }
}

/// A stranger's words as text: no tag, no link, no heading comes of them.
fn prose(text: &str) -> String {
    let mut escaped = String::new();
    for character in tame(text).replace('\n', " ").chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '~' => {
                escaped.push('\\');
                escaped.push(character);
            }
            other => escaped.push(other),
        }
    }
    escaped
}

fn cell(text: &str) -> String {
    prose(text)
}

/// A stranger's word as code.
fn code(text: &str) -> String {
    let text = tame(text).replace(['\n', '`'], " ").replace('|', "\\|");
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use tidegate_model::{Pipeline, World};

    use super::*;

    fn inspection(capabilities: &Value) -> Inspection {
        let manifest: Manifest = serde_json::from_value(json!({
            "contract": "0.3", "name": "pages", "version": "1.2.3", "world": "extractor",
            "description": "Reads <b>pages</b> | all", "publisher": "Acme", "capabilities": capabilities,
        }))
        .unwrap();
        assert_eq!(manifest.world, World::Extractor);
        Inspection {
            manifest,
            imports: Vec::new(),
            exports: Vec::new(),
            digest: format!("sha256:{}", "ab".repeat(32)),
            size: 1,
            contract: "0.3.0".to_owned(),
        }
    }

    fn key(name: &str, kind: &str, required: bool) -> ConfigKey {
        ConfigKey { name: name.into(), kind: kind.into(), required, description: "What | it is".into() }
    }

    #[test]
    fn it_says_all_that_an_administrator_asks_and_its_example_is_a_pipeline() {
        let asked = json!([
            { "id": "api", "kind": "http", "target": "{config.base_url}", "required": true, "reason": "reads <i>pages</i>" },
            { "id": "api-token", "kind": "credential", "target": "{config.base_url}", "place": "bearer",
              "required": true, "reason": "logs in" },
        ]);
        let spec = Spec {
            config: vec![
                key("base_url", "string", true),
                key("size", "integer", true),
                key("order", "up | down", true),
                key("tags", "list of string", true),
                key("depth", "integer", false),
            ],
            config_schema: json!({ "properties": { "depth": { "default": 3 } } }),
            secrets: vec!["api-token".into(), "other".into()],
        };
        let text = markdown(&inspection(&asked), &spec, None);
        for expected in [
            "# pages 1.2.3\n",
            "Reads &lt;b>pages&lt;/b> \\| all\n",
            "- Publisher, as it says itself: Acme\n",
            "| http | `{config.base_url}` | yes | sensitive | reads &lt;i>pages&lt;/i> |\n",
            "| credential as `bearer` | `{config.base_url}` | yes | sensitive | logs in |\n",
            "| `depth` | integer | no | `3` | What \\| it is |\n",
            "- `api-token` (required)\n- `other` (optional)\n",
            "`tidegate discover PIPELINE.yaml`",
            "between 2 and 512 MiB",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        let yaml = text.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
        let pipeline =
            Pipeline::parse("example.yaml", yaml).unwrap_or_else(|fault| panic!("{fault}\n{yaml}"));
        assert_eq!(pipeline.extract.connector.to_string(), "pages@1.2");
        assert_eq!(pipeline.extract.config["base_url"], "https://example.org");
        assert_eq!(pipeline.extract.config["order"], "up");
        assert_eq!(pipeline.extract.secrets["api-token"].to_string(), "env:API_TOKEN");
    }

    #[test]
    fn one_that_wants_nothing_says_so() {
        let text = markdown(&inspection(&json!([])), &Spec::default(), Some(&[]));
        assert_eq!(text.matches("None.\n").count(), 3, "{text}");
        assert!(text.contains("Nothing: it reaches nothing but its output."), "{text}");
        let yaml = text.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
        Pipeline::parse("example.yaml", yaml).unwrap();
    }
}
