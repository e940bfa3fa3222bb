//! What somebody finds who got out of the sandbox: system calls made from inside a real worker that is at work.

mod inside;

use std::net::TcpListener;
use std::process::Child;
use std::time::Duration;

use inside::Argument::{Bytes, Number, Text};
use inside::{Argument, Inside};
use libc::{EACCES, ENOSYS, EXDEV};
use rustix::process::Pid;
use serde_json::{Value, json};
use tidegate_sandbox_tests::ROUNDTRIP;

use crate::harness::{Project, worker_of};

/// A component at work, the command that runs it, and its worker.
struct AtWork {
    project: Project,
    command: Child,
    worker: Pid,
}

impl AtWork {
    fn start(verb: &str, config: &Value) -> Self {
        let project = Project::new();
        project.write(
            "p.yaml",
            format!(
                "pipeline: p\nextract:\n  connector: ./roundtrip.wasm\n  config: {config}\n  streams:\n    roundtrip: {{ mode: full }}\ningest: {{ sink: delta, location: ./lake }}\n"
            ),
        );
        project.write("roundtrip.wasm", std::fs::read(ROUNDTRIP).unwrap());
        project.write("data/rows.csv", "id\n1\n");
        project.run(&["grant", "add", "p.yaml", "--yes"]).expect_code(0);
        let mut command = project.start(&[verb, "p.yaml"]);
        for _ in 0..600 {
            std::thread::sleep(Duration::from_millis(50));
            // The one that asks for the specification is gone by now, or soon.
            if let Some(worker) = worker_of(command.id()).filter(|worker| has_threads(*worker)) {
                std::thread::sleep(Duration::from_millis(500));
                if worker_of(command.id()) == Some(worker) {
                    return Self { project, command, worker };
                }
            }
        }
        let _ = command.kill();
        let _ = command.wait();
        panic!("no worker: {}", std::fs::read_to_string(project.path("start.log")).unwrap());
    }

    /// Tries each, and gives what is not as it should be.
    fn try_all(&self, attempts: &[Attempt<'_>]) -> Vec<String> {
        let inside = Inside::of(self.worker);
        let wrong = attempts.iter().filter_map(|Attempt { what, number, arguments, expected }| {
            let answer = inside.call(*number, arguments);
            let as_expected = match (&answer, expected) {
                (Ok(_), None) => true,
                (Err(error), Some(expected)) => error == expected,
                _ => false,
            };
            (!as_expected).then(|| format!("{what}: {answer:?}, not {expected:?}"))
        });
        wrong.collect()
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let _ = self.command.kill();
        let _ = self.command.wait();
    }
}

fn has_threads(process: Pid) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero()));
    threads.is_ok_and(|threads| threads.count() > 2)
}

/// One call, and the error that it must end with; `None`: it is what the worker needs, so the others do not fail
/// because nothing works.
struct Attempt<'a> {
    what: String,
    number: libc::c_long,
    arguments: Vec<Argument<'a>>,
    expected: Option<i32>,
}

impl<'a> Attempt<'a> {
    fn new(
        what: impl Into<String>,
        number: libc::c_long,
        arguments: Vec<Argument<'a>>,
        expected: impl Into<Option<i32>>,
    ) -> Self {
        Self { what: what.into(), number, arguments, expected: expected.into() }
    }

    fn open(path: &'a str, flags: i32, expected: impl Into<Option<i32>>) -> Self {
        let arguments = vec![Number(AT_FDCWD), Text(path), Number(flags.into()), Number(0o600)];
        Self::new(format!("open {path} {flags:o}"), libc::SYS_openat, arguments, expected)
    }

    /// A call that is not there, whatever its arguments.
    fn gone(what: &str, number: libc::c_long, arguments: &[i64]) -> Self {
        let arguments = arguments.iter().map(|number| Number(*number)).collect();
        Self::new(what, number, arguments, ENOSYS)
    }
}

const AT_FDCWD: i64 = libc::AT_FDCWD as i64;

/// What no worker may do, whatever its order.
fn never(parent: i64) -> Vec<Attempt<'static>> {
    let signal = i64::from(libc::SIGKILL);
    let shell = || Text("/bin/sh");
    let fork = i64::from(libc::SIGCHLD);
    let thread_in = |space: i32| i64::from(libc::CLONE_THREAD | libc::CLONE_SIGHAND | libc::CLONE_VM | space);
    let executable = i64::from(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC);
    let anonymous = i64::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let socket = |family: i32, kind: i32| [i64::from(family), i64::from(kind), 0];
    vec![
        // Programs and processes.
        Attempt::new("start a program", libc::SYS_execve, vec![shell(), Number(0), Number(0)], ENOSYS),
        Attempt::new("start an open one", libc::SYS_execveat, vec![Number(3), shell(), Number(0)], ENOSYS),
        Attempt::gone("fork", libc::SYS_fork, &[]),
        Attempt::gone("vfork", libc::SYS_vfork, &[]),
        Attempt::gone("fork by clone", libc::SYS_clone, &[fork, 0, 0, 0, 0]),
        Attempt::gone("fork by clone3", libc::SYS_clone3, &[0, 88]),
        Attempt::gone(
            "a thread in another network",
            libc::SYS_clone,
            &[thread_in(libc::CLONE_NEWNET), 0, 0, 0, 0],
        ),
        Attempt::gone("kill its parent", libc::SYS_kill, &[parent, signal]),
        Attempt::gone("kill a thread of it", libc::SYS_tgkill, &[parent, parent, signal]),
        Attempt::gone("look into its parent", libc::SYS_ptrace, &[libc::PTRACE_ATTACH.into(), parent, 0, 0]),
        Attempt::gone("read its parent's memory", libc::SYS_process_vm_readv, &[parent, 0, 0, 0, 0, 0]),
        Attempt::gone("write it", libc::SYS_process_vm_writev, &[parent, 0, 0, 0, 0, 0]),
        Attempt::gone("take its parent's files", libc::SYS_pidfd_open, &[parent, 0]),
        Attempt::gone("take one of them", libc::SYS_pidfd_getfd, &[3, 0, 0]),
        // Code that was not there.
        Attempt::gone("memory for code", libc::SYS_mmap, &[0, 4096, executable, anonymous, -1, 0]),
        Attempt::gone("turn memory into code", libc::SYS_mprotect, &[0, 4096, executable]),
        Attempt::gone("do so with a key", libc::SYS_pkey_mprotect, &[0, 4096, executable, -1]),
        Attempt::gone("have all memory be code", libc::SYS_personality, &[0x0040_0000]),
        // Privileges, and ways around the rules.
        Attempt::gone("become root", libc::SYS_setuid, &[0]),
        Attempt::gone("take capabilities", libc::SYS_capset, &[0, 0]),
        Attempt::gone("be dumpable for others", libc::SYS_prctl, &[libc::PR_SET_DUMPABLE.into(), 1, 0, 0, 0]),
        Attempt::gone(
            "live on without a parent",
            libc::SYS_prctl,
            &[libc::PR_SET_PDEATHSIG.into(), 0, 0, 0, 0],
        ),
        Attempt::gone("leave the session", libc::SYS_setsid, &[]),
        Attempt::gone("a core file after all", libc::SYS_setrlimit, &[libc::RLIMIT_CORE.into(), 0]),
        Attempt::gone("limits of others", libc::SYS_prlimit64, &[parent, 0, 0, 0]),
        Attempt::gone("a namespace of its own", libc::SYS_unshare, &[libc::CLONE_NEWUSER.into()]),
        Attempt::gone("somebody else's", libc::SYS_setns, &[3, 0]),
        Attempt::new("another root", libc::SYS_chroot, vec![Text("/tmp")], ENOSYS),
        Attempt::gone("mount", libc::SYS_mount, &[0, 0, 0, 0, 0]),
        Attempt::gone("mount anew", libc::SYS_open_tree, &[0, 0, 0]),
        Attempt::gone("open by handle", libc::SYS_open_by_handle_at, &[0, 0, 0]),
        Attempt::gone("a device", libc::SYS_mknodat, &[AT_FDCWD, 0, 0, 0]),
        Attempt::gone("the mode of any file", libc::SYS_fchmodat, &[AT_FDCWD, 0, 0o777]),
        Attempt::gone("its owner", libc::SYS_fchownat, &[AT_FDCWD, 0, 0, 0, 0]),
        Attempt::gone("a link with any target", libc::SYS_symlinkat, &[0, AT_FDCWD, 0]),
        // Large parts of the kernel.
        Attempt::gone("io_uring", libc::SYS_io_uring_setup, &[1, 0]),
        Attempt::gone("bpf", libc::SYS_bpf, &[0, 0, 0]),
        Attempt::gone("performance counters", libc::SYS_perf_event_open, &[0, 0, 0, 0, 0]),
        Attempt::gone("faults of its own", libc::SYS_userfaultfd, &[0]),
        Attempt::gone("keys of the kernel", libc::SYS_keyctl, &[0, 0, 0, 0, 0]),
        Attempt::gone("a module", libc::SYS_init_module, &[0, 0, 0]),
        Attempt::gone("another kernel", libc::SYS_kexec_load, &[0, 0, 0, 0]),
        Attempt::gone("the clock", libc::SYS_clock_settime, &[0, 0]),
        Attempt::gone("a call of another table", 0x4000_0000 | libc::SYS_execve, &[0, 0, 0]),
        // Sockets that no order needs.
        Attempt::gone(
            "a socket to this machine's own",
            libc::SYS_socket,
            &socket(libc::AF_UNIX, libc::SOCK_STREAM),
        ),
        Attempt::gone("raw packets", libc::SYS_socket, &socket(libc::AF_INET, libc::SOCK_RAW)),
        Attempt::gone("frames", libc::SYS_socket, &socket(libc::AF_PACKET, libc::SOCK_RAW)),
        Attempt::gone("a virtual machine's", libc::SYS_socket, &socket(libc::AF_VSOCK, libc::SOCK_STREAM)),
        Attempt::gone("listen", libc::SYS_listen, &[0, 1]),
        Attempt::gone("accept", libc::SYS_accept4, &[0, 0, 0, 0]),
    ]
}

#[test]
fn a_worker_of_files_reaches_its_files_and_nothing_else() {
    // It sleeps while it reads, so the sink is open.
    let work = AtWork::start("run", &json!({ "mischief": "sleep", "during": "read", "location": "./data" }));
    let path = |name: &str| work.project.path(name).display().to_string();
    let parent = i64::from(work.command.id());
    let settings = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mine = |name: &str| settings.join(name).display().to_string();
    let (read, write, new) = (libc::O_RDONLY, libc::O_WRONLY, libc::O_WRONLY | libc::O_CREAT);
    let outside = [
        ("/etc/passwd".to_owned(), read),
        ("/etc/hosts".to_owned(), read),
        ("/".to_owned(), read),
        ("/home".to_owned(), read),
        ("/proc".to_owned(), read),
        (format!("/proc/{parent}/environ"), read),
        (format!("/proc/{parent}/mem"), read),
        ("/proc/sys/kernel/core_pattern".to_owned(), read),
        ("/dev/tty".to_owned(), read),
        (path("."), read),
        (path("p.yaml"), read),
        (path("p.yaml"), write),
        (path("grants.yaml"), read),
        (path("grants.yaml"), write),
        (path("roundtrip.wasm"), write),
        (path(".tidegate"), read),
        (path(".tidegate/audit.jsonl"), read),
        (path(".tidegate/audit.jsonl"), write | libc::O_TRUNC),
        (path("new"), new),
        (path(".tidegate/new"), new),
        (path("data/rows.csv"), write),
        (path("data/new.csv"), new),
        (mine("tidegate"), read),
        (mine("tidegate/audit.key"), read),
        (mine("compiled"), read),
        (mine("compiled/new"), new),
        ("/tmp/new".to_owned(), new),
    ];
    let needed =
        [(path("data"), read), (path("data/rows.csv"), read), (path("lake"), read), (path("lake/x"), new)];
    let mut attempts = never(parent);
    attempts.extend(outside.iter().map(|(path, flags)| Attempt::open(path, *flags, EACCES)));
    for (what, family) in [("IPv4", libc::AF_INET), ("IPv6", libc::AF_INET6), ("netlink", libc::AF_NETLINK)] {
        let arguments = [i64::from(family), i64::from(libc::SOCK_DGRAM), 0];
        attempts.push(Attempt::gone(&format!("a socket of {what}"), libc::SYS_socket, &arguments));
    }
    let (data, lake, here) = (path("data/rows.csv"), path("lake/stolen"), path("stolen"));
    let rename = |from, to| vec![Number(AT_FDCWD), Text(from), Number(AT_FDCWD), Text(to), Number(0)];
    attempts.extend([
        Attempt::new("move what it reads", libc::SYS_renameat2, rename(&data, &lake), EACCES),
        Attempt::new("link it to where it writes", libc::SYS_linkat, rename(&data, &lake), EXDEV),
        Attempt::new("remove it", libc::SYS_unlinkat, vec![Number(AT_FDCWD), Text(&data), Number(0)], EACCES),
        Attempt::new(
            "a folder beside",
            libc::SYS_mkdirat,
            vec![Number(AT_FDCWD), Text(&here), Number(0o700)],
            EACCES,
        ),
    ]);
    let tried = attempts.len();
    attempts.extend(needed.iter().map(|(path, flags)| Attempt::open(path, *flags, None)));
    told(tried, &work.try_all(&attempts), "a worker that needs files");
    let status = std::fs::read_to_string(format!("/proc/{}/status", work.worker.as_raw_nonzero())).unwrap();
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "{status}");
    }
}

#[test]
fn a_worker_of_the_network_reaches_the_ports_that_were_granted() {
    let (granted, other) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{}", port(&granted));
    // Nobody answers.
    let work = AtWork::start("check", &json!({ "url": url, "calls": [{ "url": url }] }));
    let mut attempts = never(i64::from(work.command.id()));
    let tried = attempts.len() + 2;
    let tcp = || [libc::AF_INET, libc::SOCK_STREAM, 0].map(|number| Number(number.into())).into();
    attempts.push(Attempt::new("a socket", libc::SYS_socket, tcp(), None));
    attempts.push(Attempt::new(
        "names",
        libc::SYS_openat,
        vec![Number(AT_FDCWD), Text("/etc/hosts"), Number(0)],
        None,
    ));
    assert_eq!(work.try_all(&attempts), [""; 0]);

    let inside = Inside::of(work.worker);
    let socket = || inside.call(libc::SYS_socket, &tcp()).unwrap();
    let to = |call, address: Vec<u8>| inside.call(call, &[Number(socket()), Bytes(address), Number(16)]);
    let address = |port: u16| {
        let mut bytes = vec![0; 16];
        bytes[..2].copy_from_slice(&u16::try_from(libc::AF_INET).unwrap().to_ne_bytes());
        bytes[2..4].copy_from_slice(&port.to_be_bytes());
        bytes[4..8].copy_from_slice(&[127, 0, 0, 1]);
        bytes
    };
    assert_eq!(to(libc::SYS_connect, address(port(&granted))), Ok(0), "what was granted is reached");
    let mut wrong = Vec::new();
    for (what, answer) in [
        ("another port", to(libc::SYS_connect, address(port(&other)))),
        ("a port of its own", to(libc::SYS_bind, address(0))),
    ] {
        if answer != Err(EACCES) {
            wrong.push(format!("{what}: {answer:?}"));
        }
    }
    drop(inside);
    told(tried, &wrong, "a worker that needs the network");
}

/// Says how it went, which stands in SECURITY.md.
fn told(tried: usize, wrong: &[String], who: &str) {
    let row = format!("| {who} | {tried} | {} |", tried - wrong.len());
    println!("{row}");
    assert!(wrong.is_empty(), "{row}\n{}", wrong.join("\n"));
    let security = include_str!("../../SECURITY.md");
    assert!(security.contains(&row), "SECURITY.md has another row than\n{row}");
}
