//! What a series of stopped runs met.

use std::collections::BTreeMap;
use std::fmt;

use super::attempt::Victim;
use super::phase::{Garbage, Phase};

#[derive(Debug, Default)]
pub struct Tally {
    /// By victim.
    met: BTreeMap<Phase, [u32; 3]>,
    /// How often engines read the whole table, and found every row once.
    pub verified: u32,
    /// Sleepers that held the audit, so that others had to wait until they woke up.
    pub with_the_audit: u32,
    /// The most that lay there when a run had gone through after kills, and after a sleeper woke up.
    left: [Garbage; 2],
}

impl Tally {
    pub fn met(&mut self, victim: Victim, phase: Phase) {
        self.met.entry(phase).or_default()[victim as usize] += 1;
    }

    pub fn killed_left(&mut self, garbage: Garbage) {
        self.left[0] = self.left[0].most(garbage);
    }

    pub fn sleepers_left(&mut self, garbage: Garbage) {
        self.left[1] = self.left[1].most(garbage);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "    {:32}{:>16}{:>14}{:>8}", "met", "worker killed", "all killed", "asleep")?;
        for phase in Phase::ALL {
            let [worker, tree, sleeper] = self.met.get(&phase).copied().unwrap_or_default();
            writeln!(f, "    {phase:32}{worker:16}{tree:14}{sleeper:8}")?;
        }
        writeln!(f, "    {} times the whole table was read, each row once", self.verified)?;
        writeln!(f, "    {} sleepers held the audit meanwhile", self.with_the_audit)?;
        for (left, whom) in self.left.iter().zip(["kills", "sleepers woke up"]) {
            let Garbage { data, plans, receipts, half } = left;
            writeln!(
                f,
                "    at most left after {whom}: {data} data files, {plans} plans, {receipts} receipts, {half} half files"
            )?;
        }
        Ok(())
    }
}
