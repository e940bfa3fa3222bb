//! System calls, as a list of those that a worker needs. Any other is as if the kernel did not have it (`ENOSYS`), which
//! is what libraries know how to live with.

use std::path::Path;

use libc::{c_int, c_long};
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule, TargetArch};

type Outcome<T> = Result<T, seccompiler::BackendError>;

/// With any arguments.
const FREE: &[c_long] = &[
    // Memory.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_memfd_create,
    libc::SYS_mincore,
    libc::SYS_mremap,
    libc::SYS_msync,
    libc::SYS_munmap,
    // Threads and time.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    // Files, of those that may be reached.
    libc::SYS_close,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_linkat,
    libc::SYS_lseek,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_sync_file_range,
    libc::SYS_unlinkat,
    libc::SYS_write,
    libc::SYS_writev,
    // Waiting for them, and the line to whoever started this process.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_shutdown,
    libc::SYS_socketpair,
    // Who this is.
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getuid,
];

/// Older forms of those, which newer architectures never had.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_dup2,
    libc::SYS_epoll_wait,
    libc::SYS_getdents,
    libc::SYS_link,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_rmdir,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// What a client of the network needs; a server would need more.
const CLIENT: &[c_long] = &[
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_recvmmsg,
    libc::SYS_sendmmsg,
    libc::SYS_setsockopt,
];

/// Whether there is such a filter, for this kernel and this processor.
pub(super) fn are_filtered_here() -> bool {
    Path::new("/proc/sys/kernel/seccomp/actions_avail").exists()
        && TargetArch::try_from(std::env::consts::ARCH).is_ok()
}

/// From now on, for this thread and those that it starts.
pub(super) fn filter(network: bool) -> Result<(), seccompiler::Error> {
    let program = program(network).map_err(seccompiler::Error::Backend)?;
    seccompiler::apply_filter(&program)
}

fn program(network: bool) -> Outcome<BpfProgram> {
    let mut rules: Vec<(c_long, Vec<SeccompRule>)> = Vec::new();
    rules.extend(FREE.iter().chain(OLDER).map(|call| (*call, Vec::new())));
    rules.extend(narrowed()?);
    if network {
        rules.extend(CLIENT.iter().map(|call| (*call, Vec::new())));
        rules.push((libc::SYS_socket, sockets()?));
    }
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules.into_iter().collect(), missing, SeccompAction::Allow, arch)?.try_into()
}

/// Calls that can do more than is needed of them.
fn narrowed() -> Outcome<Vec<(c_long, Vec<SeccompRule>)>> {
    /// Makes something that is not a thread of this process.
    const NOT_A_THREAD: c_int = libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET;
    let thread = bits(libc::CLONE_THREAD);
    let itself = u64::from(std::process::id());
    let no_code = || rule([condition(2, Qword, MaskedEq(bits(libc::PROT_EXEC)), 0)]);
    let of_a_file = [libc::FIONBIO, libc::FIONREAD, libc::FIOCLEX, libc::TCGETS, libc::TIOCGWINSZ];
    Ok(vec![
        // Threads. `clone3` keeps its flags where no filter can read them; libraries know what to do without it.
        (libc::SYS_clone, vec![rule([condition(0, Qword, MaskedEq(thread | bits(NOT_A_THREAD)), thread)])?]),
        // Memory that is code. All that is needed was mapped before.
        (libc::SYS_mmap, vec![no_code()?]),
        (libc::SYS_mprotect, vec![no_code()?]),
        // A panic ends this process by a signal to itself.
        (libc::SYS_tgkill, vec![rule([condition(0, Dword, Eq, itself)])?]),
        // Names of threads and of memory.
        (
            libc::SYS_prctl,
            [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA]
                .into_iter()
                .map(|option| rule([condition(0, Dword, Eq, bits(option))]))
                .collect::<Outcome<_>>()?,
        ),
        // Limits are read, not set.
        (libc::SYS_prlimit64, vec![rule([condition(0, Dword, Eq, 0), condition(2, Qword, Eq, 0)])?]),
        (
            libc::SYS_ioctl,
            of_a_file
                .into_iter()
                .map(|request| rule([condition(1, Dword, Eq, request)]))
                .collect::<Outcome<_>>()?,
        ),
    ])
}

/// Connections and name servers; and asking the kernel which addresses this machine has, which `getaddrinfo` does to
/// sort what it found. None to another process of this machine.
fn sockets() -> Outcome<Vec<SeccompRule>> {
    /// Beside the type, an argument has flags.
    const TYPE: u64 = 0xf;
    let mut rules = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM] {
            rules.push(rule([
                condition(0, Dword, Eq, bits(family)),
                condition(1, Dword, MaskedEq(TYPE), bits(kind)),
            ])?);
        }
    }
    rules.push(rule([
        condition(0, Dword, Eq, bits(libc::AF_NETLINK)),
        condition(2, Dword, Eq, bits(libc::NETLINK_ROUTE)),
    ])?);
    Ok(rules)
}

fn rule<const N: usize>(conditions: [Outcome<SeccompCondition>; N]) -> Outcome<SeccompRule> {
    SeccompRule::new(conditions.into_iter().collect::<Outcome<_>>()?)
}

fn condition(
    argument: u8,
    length: seccompiler::SeccompCmpArgLen,
    operator: seccompiler::SeccompCmpOp,
    value: u64,
) -> Outcome<SeccompCondition> {
    SeccompCondition::new(argument, length, operator, value)
}

fn bits(flag: c_int) -> u64 {
    u64::from(flag.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_can_be_made_and_fits() {
        let (alone, client) = (program(false).unwrap(), program(true).unwrap());
        assert!(alone.len() < client.len(), "a client may do more");
        // The kernel takes no longer one.
        assert!(client.len() < 4096, "{} instructions", client.len());
    }
}
