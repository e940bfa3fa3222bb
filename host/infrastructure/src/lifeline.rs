use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// Tells a child who started it, see [`die_with_parent`].
pub(crate) const PARENT: &str = "TIDEGATE_PARENT";

/// Invariant 3: binds this process's life to that of whoever started it. A worker never outlives its run,
/// even when the platform is killed with SIGKILL. The first thing a child process does.
///
/// A parent that died before this call cannot kill us any more; so we look whether it is still the one that
/// started us. Does nothing in a process that no launcher started.
pub fn die_with_parent() {
    let Some(parent) = std::env::var(PARENT).ok().and_then(|pid| Pid::from_raw(pid.parse().ok()?)) else {
        return;
    };
    let bound = set_parent_process_death_signal(Some(Signal::KILL));
    if bound.is_err() || getppid() != Some(parent) {
        std::process::exit(1);
    }
}
