//! The crate graph points one way, and every crate says what it is for and what it never does.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test reads the repository, and stops where it cannot"
)]

use std::collections::{BTreeMap, BTreeSet};

use tidegate_tidy::{output, read};

/// Each crate of the host, and the crates of the project it may use. What is not here is an arrow that turned
/// round.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("infrastructure", &["model"]),
    ("permission", &["model", "infrastructure"]),
    ("sandbox", &["model", "infrastructure", "permission", "decode"]),
    ("extraction", &["model", "sandbox", "decode"]),
    ("ingestion", &["model"]),
    ("worker", &["model", "infrastructure", "permission", "sandbox", "extraction", "ingestion", "decode"]),
    ("cli", &["model", "infrastructure", "permission", "sandbox", "ingestion", "worker"]),
];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let text = output("cargo", &["metadata", "--format-version", "1", "--no-deps", "--offline"]).unwrap();
    let metadata: serde_json::Value = serde_json::from_str(&text).unwrap();
    let ours = |name: &str| name.strip_prefix("tidegate-").map(str::to_owned);
    let mut graph = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let manifest = package["manifest_path"].as_str().unwrap();
        if !manifest.contains("/host/") {
            continue;
        }
        let uses = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dependency| dependency["kind"].is_null())
            .filter_map(|dependency| ours(dependency["name"].as_str().unwrap()))
            .collect();
        graph.insert(ours(package["name"].as_str().unwrap()).unwrap(), uses);
    }
    graph
}

#[test]
fn arrows_point_one_way() {
    let graph = dependencies();
    for (name, uses) in &graph {
        let (_, allowed) = ALLOWED.iter().find(|(known, _)| known == name).unwrap_or_else(|| {
            panic!("host/{name} is new: say in this test what it may use, and in ARCHITECTURE.md why")
        });
        for used in uses {
            assert!(allowed.contains(&used.as_str()), "host/{name} must not use {used}: see ARCHITECTURE.md");
        }
    }
    assert_eq!(graph.len(), ALLOWED.len(), "a crate is named in this test that is not there");
}

#[test]
fn every_crate_has_a_charter() {
    for (name, _) in ALLOWED {
        let file = if *name == "cli" { "main.rs" } else { "lib.rs" };
        let text = read(format!("host/{name}/src/{file}"));
        let charter: String =
            text.lines().take_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join(" ");
        for part in ["Goal:", "Never:"] {
            assert!(charter.contains(part), "host/{name}: its crate documentation has no `{part}`");
        }
    }
}
