//! A check that cannot fail proves nothing: each rule of the protocol is broken once, and the schedules must
//! notice.

use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::operation::lock;
use super::{THREADS, scenarios, schedule, within_runtime};
use crate::rules::Rule;

/// So many schedules may pass before somebody notices.
const PATIENCE: u64 = 1500;

/// The rule after another, so that a new one cannot be forgotten here.
fn next(rule: Option<Rule>) -> Option<Rule> {
    match rule {
        None => Some(Rule::OneChain),
        Some(Rule::OneChain) => Some(Rule::ReceiptsFromBefore),
        Some(Rule::ReceiptsFromBefore) => Some(Rule::FileIsThere),
        Some(Rule::FileIsThere) => Some(Rule::NumberOfItsOwn),
        Some(Rule::NumberOfItsOwn) => Some(Rule::BuiltOnPredecessor),
        Some(Rule::BuiltOnPredecessor) => Some(Rule::VersionOnce),
        Some(Rule::VersionOnce) => Some(Rule::AskAfterSilence),
        Some(Rule::AskAfterSilence) => Some(Rule::RebuiltAfterConflict),
        Some(Rule::RebuiltAfterConflict) => Some(Rule::SingleCommit),
        Some(Rule::SingleCommit) => Some(Rule::SoleOwner),
        Some(Rule::SoleOwner) => Some(Rule::SameSource),
        Some(Rule::SameSource) => Some(Rule::NotRestored),
        Some(Rule::NotRestored) => Some(Rule::MarkAtTheEnd),
        Some(Rule::MarkAtTheEnd) => Some(Rule::MarkWithinBound),
        Some(Rule::MarkWithinBound) => Some(Rule::Recognition),
        Some(Rule::Recognition) => Some(Rule::FenceBeforeGarbage),
        Some(Rule::FenceBeforeGarbage) => Some(Rule::CommittedIsKept),
        Some(Rule::CommittedIsKept) => Some(Rule::OneLineage),
        Some(Rule::OneLineage) => None,
    }
}

#[test]
fn every_broken_rule_is_noticed() {
    let rules: Vec<Rule> = std::iter::successors(next(None), |rule| next(Some(*rule))).collect();
    let (turn, table) = (AtomicUsize::new(0), Mutex::new(vec![None; rules.len()]));
    let work = || {
        let _guard = within_runtime();
        loop {
            let index = turn.fetch_add(1, Ordering::Relaxed);
            let Some(rule) = rules.get(index) else { return };
            let noticed = (0..PATIENCE).find_map(|seed| {
                let violation = schedule::run(seed, Some(*rule)).violation;
                let violation = violation
                    .or_else(|| scenarios::beside_each_other(seed, Some(*rule)).err())
                    .or_else(|| scenarios::told_apart_otherwise(seed, Some(*rule)).err())?;
                (violation.invariant != scenarios::AS_TOLD).then_some((seed + 1, violation.invariant))
            });
            lock(&table)[index] = noticed;
        }
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(work);
        }
    });
    let table = lock(&table);
    let mut shown = String::new();
    for (rule, noticed) in rules.iter().zip(table.iter()) {
        let rule = format!("{rule:?}");
        match noticed {
            Some((seeds, invariant)) => writeln!(shown, "{rule:<24}{seeds:>6} {invariant}").unwrap(),
            None => writeln!(shown, "{rule:<24}     - not noticed").unwrap(),
        }
    }
    println!("rule, schedules until it was missed, and by which invariant:\n{shown}");
    assert!(table.iter().all(Option::is_some), "a rule can be broken and nobody notices:\n{shown}");
}
