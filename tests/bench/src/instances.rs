//! How long a component takes to be there.

use std::time::Instant;

use serde_json::json;
use tidegate_sandbox::{Surroundings, inspect};
use tidegate_sandbox_tests::{Bench, FILES, ROUNDTRIP};

use crate::Rounds;

const INSTANCES: usize = 2000;
const LOADS: usize = 50;

pub async fn measure(bench: &Bench) {
    println!("Instances: milliseconds, {INSTANCES} instances one after the other, {LOADS} loads");
    println!("{:42}{:>8}{:>8}", "", "p50", "p99");
    let reference = Bench::reference(ROUNDTRIP);
    let component = bench.sandbox.load(&reference).await.unwrap();
    let around = Surroundings::new(bench.setup(&reference, json!({}), &[]).0);
    let (mut alone, mut asked) = (Rounds::default(), Rounds::default());
    for _ in 0..INSTANCES {
        let begun = Instant::now();
        let instance = component.instantiate(&around, None).await.unwrap();
        alone.add(milliseconds(begun));
        drop(instance);

        let begun = Instant::now();
        component.instantiate(&around, None).await.unwrap().spec().await.unwrap();
        asked.add(milliseconds(begun));
    }
    line("instantiate", &alone);
    line("instantiate, ask for `spec`, drop", &asked);

    for (name, path) in [("roundtrip", ROUNDTRIP), ("files", FILES)] {
        let reference = Bench::reference(path);
        bench.sandbox.load(&reference).await.unwrap();
        let wasm = std::fs::read(path).unwrap();
        let (mut loads, mut inspections) = (Rounds::default(), Rounds::default());
        for _ in 0..LOADS {
            let begun = Instant::now();
            assert!(bench.sandbox.load(&reference).await.unwrap().from_cache());
            loads.add(milliseconds(begun));

            let begun = Instant::now();
            inspect(&wasm).unwrap();
            inspections.add(milliseconds(begun));
        }
        let size = wasm.len() as f64 / 1e6;
        line(&format!("load `{name}` ({size:.1} MB), compiled before"), &loads);
        line("  inspect it, as before a first run", &inspections);
    }
    println!(
        "load: read it and its compiled code, verify both digests and what it asks for, make it executable"
    );
    println!("inspect: digest, full validation, what it asks for");
}

fn milliseconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

fn line(name: &str, rounds: &Rounds) {
    println!("{name:42}{:8.3}{:8.3}", rounds.median(), rounds.percentile(99));
}
