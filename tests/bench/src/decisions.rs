//! How long an answer of the authorizer takes.

use std::time::Instant;

use serde_json::json;
use tidegate_model::CapabilityKind;
use tidegate_permission::{Action, Resource};
use tidegate_sandbox_tests::{Bench, ROUNDTRIP};

use crate::Rounds;

const QUESTIONS: usize = 5000;

pub fn measure(bench: &Bench) {
    let reference = Bench::reference(ROUNDTRIP);
    let grants = [
        (CapabilityKind::Files, "./data"),
        (CapabilityKind::Http, "https://api.example.org/v1"),
        (CapabilityKind::Decode, ""),
    ];
    let (setup, _lines) = bench.setup(&reference, json!({}), &grants);
    let (authorizer, who) = (&setup.authorizer, &setup.principal);
    let asked = |number: usize| Resource::Endpoint {
        method: "GET".to_owned(),
        url: format!("https://api.example.org/v1/pages/{number}"),
    };
    let (mut judged, mut recorded, mut again) = (Rounds::default(), Rounds::default(), Rounds::default());
    for number in 0..QUESTIONS {
        let resource = asked(number);
        let begun = Instant::now();
        assert!(authorizer.explain(who, Action::HttpRequest, &resource).allowed);
        judged.add(microseconds(begun));

        let begun = Instant::now();
        authorizer.decide(who, Action::HttpRequest, &resource).unwrap();
        recorded.add(microseconds(begun));

        let begun = Instant::now();
        authorizer.decide(who, Action::HttpRequest, &resource).unwrap();
        again.add(microseconds(begun));
    }
    println!(
        "Decisions: microseconds, {QUESTIONS} different questions of a component with three permissions"
    );
    println!("{:42}{:>8}{:>8}", "", "p50", "p99");
    for (name, rounds) in [
        ("the policies alone", &judged),
        ("asked for the first time, and recorded", &recorded),
        ("asked again", &again),
    ] {
        println!("{name:42}{:8.1}{:8.1}", rounds.median(), rounds.percentile(99));
    }
}

fn microseconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e6
}
