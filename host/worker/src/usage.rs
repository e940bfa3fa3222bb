//! What this process used, as the kernel counts it.

use rustix::time::{ClockId, clock_gettime};
use tidegate_infrastructure::files;

/// The largest resident size so far, in bytes; 0 where the kernel does not tell.
pub fn peak_memory() -> u64 {
    let Ok(status) = files::read_to_string("/proc/self/status") else { return 0 };
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .map_or(0, |kibibytes| kibibytes * 1024)
}

/// Processor time of all threads, in microseconds.
pub fn cpu_microseconds() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000
}
