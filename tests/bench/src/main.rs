//! What the sandbox costs: each figure stands beside the same work without it, measured in the same run, in
//! turn. Arguments choose: `boundary`, `lanes`, `instances`; all of these without. `http` is what it
//! costs to police requests, `decisions` how long an answer of the authorizer takes. `commits` is another measurement: what a commit costs as tables grow.
//!
//! Never: asserts a time. It asserts that both sides did the same work.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement that cannot be made may stop"
)]

mod boundary;
mod commits;
mod counted;
mod decisions;
mod instances;
mod lanes;
mod policed;

use tidegate_sandbox_tests::Bench;

#[tokio::main]
async fn main() {
    // On a thread of the runtime, where a worker too takes its batches.
    tokio::spawn(async {
        let only: Vec<String> = std::env::args().skip(1).collect();
        if only.iter().any(|one| one == "commits") {
            Box::pin(commits::measure()).await;
            return;
        }
        let bench = Bench::default();
        let wanted = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
        if wanted("boundary") {
            boundary::measure(&bench).await;
        }
        if wanted("lanes") {
            lanes::measure(&bench).await;
        }
        if only.iter().any(|one| one == "decisions") {
            decisions::measure(&bench);
        }
        if only.iter().any(|one| one == "http") {
            policed::measure(&bench).await;
        }
        if wanted("instances") {
            instances::measure(&bench).await;
        }
    })
    .await
    .unwrap();
}

/// What the rounds of one measurement gave.
#[derive(Debug, Default)]
struct Rounds(Vec<f64>);

impl Rounds {
    fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    fn median(&self) -> f64 {
        self.percentile(50)
    }

    /// The nearest one that was measured.
    fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[(sorted.len() - 1) * percent / 100]
    }

    /// How far apart the extremes are, as a part of the median.
    fn spread(&self) -> f64 {
        (self.percentile(100) - self.percentile(0)) / self.median()
    }
}
