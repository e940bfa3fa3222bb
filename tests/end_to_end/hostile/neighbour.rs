//! Somebody else's pipeline, which goes on beside the attacks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde_json::json;
use tidegate_sandbox_tests::ROUNDTRIP;

use crate::harness::Project;

pub struct Neighbour {
    over: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Neighbour {
    /// Begins to load, again and again.
    pub fn start() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let project = Project::new();
            project.write("roundtrip.wasm", std::fs::read(ROUNDTRIP).unwrap());
            let config = json!({ "rows": 100, "batches": 3, "splits": 2 });
            project.write(
                "p.yaml",
                format!(
                    "pipeline: neighbour\nextract:\n  connector: ./roundtrip.wasm\n  config: {config}\n  streams:\n    roundtrip: {{ mode: full }}\ningest: {{ sink: delta, location: ./lake, write: replace }}\n"
                ),
            );
            let mut loads = 0;
            loop {
                let ran = project.load();
                assert_eq!(ran["streams"]["roundtrip"]["rows"], 600, "{ran:#}");
                loads += 1;
                if watched.load(Ordering::Relaxed) {
                    return loads;
                }
            }
        });
        Self { over, thread }
    }

    /// How many loads there were. Each had all of its rows.
    pub fn stop(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|_| panic!("the neighbour's load failed"))
    }
}
