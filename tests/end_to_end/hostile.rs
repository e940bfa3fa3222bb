//! Hostile components and hostile servers against the whole platform: its own settings, a real worker, real servers.
//!
//! Each table has the attack on its left and what comes of it on its right: what the command says, or what the
//! component is told. A neighbour lands the same rows again and again meanwhile, and must not notice. How many
//! attacks there were stands in SECURITY.md, and is compared with it.

mod attack;
mod component;
mod crowd;
mod neighbour;
mod server;

use attack::Attack;
use neighbour::Neighbour;

use serde_json::{Value, json};

/// Tries them all, and says how it went.
fn try_all(by: &str, attacks: &[Attack]) {
    let neighbour = Neighbour::start();
    let mut escaped = Vec::new();
    let mut failures = 0;
    for attack in attacks {
        let outcome = attack.carry_out();
        failures += usize::from(outcome.host_failed());
        if let Some(why) = attack.escapes(&outcome) {
            escaped.push(why);
        }
    }
    let loads = neighbour.stop();
    let contained = attacks.len() - escaped.len();
    let row = format!("| {by} | {} | {contained} | {failures} |", attacks.len());
    println!("{row} {loads} loads of a neighbour beside them");
    assert!(escaped.is_empty(), "{row}\n{}", escaped.join("\n"));
    assert_eq!(failures, 0, "{row}");
    let told = include_str!("../../SECURITY.md");
    assert!(told.contains(&row), "SECURITY.md has another row than\n{row}");
}

#[test]
fn components_that_misbehave_in_every_export() {
    try_all("a component that crashes, fills up or lies, in each export", &component::mischief());
}

#[test]
fn components_that_break_the_contract() {
    try_all("a component that breaks the contract while it sends rows", &component::lies());
}

#[test]
fn components_that_reach_for_what_they_were_not_granted() {
    try_all("a component that reaches for what it was not granted", &component::reaches());
}

#[test]
fn a_component_that_never_stops_computing() {
    let endless = Attack::new("spins", "check", json!({ "mischief": "spin", "during": "check" }))
        .ends("TG0403: the connector's `check` took longer than 60 s");
    try_all("a component that computes for ever", &[endless]);
}

#[test]
fn servers_that_mean_harm() {
    try_all("a server that means harm", &server::attacks());
}

/// Needs a network of its own, which not every machine lets its users have.
#[test]
fn name_servers_that_lie() {
    if !attack::can_be_lied_to() {
        println!("no namespaces for this user: not tried");
        return;
    }
    try_all("a name server that lies", &server::lies());
}

/// The address of a place that was granted, and calls below it.
fn calls(url: &str, paths: &[&str]) -> Value {
    let calls: Vec<Value> = paths.iter().map(|path| json!({ "url": format!("{url}{path}") })).collect();
    json!({ "url": url, "calls": calls })
}
