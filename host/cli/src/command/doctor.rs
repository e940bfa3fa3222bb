//! `tidegate doctor`: what is missing on this machine, and the command that mends it.

use std::num::NonZero;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};
use tidegate_infrastructure::{DataDir, Part, files};
use tidegate_model::{Result, list};
use tidegate_permission::Ceiling;

use super::Context;
use crate::project::data_root;
use crate::render::{Paint, bytes, wrap};
use crate::terminal::Reply;

/// What one look found.
struct Finding {
    what: &'static str,
    state: State,
    seen: String,
    /// What to type, or to do, where something is missing.
    remedy: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    /// Needed by some: authors, or for speed.
    Missing,
    /// Nothing runs without it.
    Broken,
}

impl Finding {
    fn good(what: &'static str, seen: impl Into<String>) -> Self {
        Self { what, state: State::Good, seen: seen.into(), remedy: None }
    }

    fn missing(what: &'static str, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what, state: State::Missing, seen: seen.into(), remedy: Some(remedy.into()) }
    }

    fn broken(what: &'static str, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what, state: State::Broken, seen: seen.into(), remedy: Some(remedy.into()) }
    }
}

pub fn execute(cx: &Context) -> Result<Reply> {
    let root = data_root(Path::new("."), cx.data_dir());
    let findings = [
        kernel(),
        confinement(),
        processors(),
        memory(),
        address_space(),
        open_files(),
        data_dir(&root),
        ceiling(),
        hard_links(),
        wasm_target(),
    ];
    let success = findings.iter().all(|finding| finding.state != State::Broken);
    let text = words(&findings, cx.terminal.paint());
    Ok(Reply { exit: u8::from(!success), ..Reply::new(text, document(&findings)) })
}

/// The sandbox opens granted files with openat2(2), which Linux has since 5.6.
fn kernel() -> Finding {
    let Ok(release) = files::read_to_string("/proc/sys/kernel/osrelease") else {
        return Finding::broken("kernel", "/proc cannot be read", "run on Linux, with /proc mounted");
    };
    let release = release.trim();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let seen = format!("Linux {release}");
    if version >= (5, 6) {
        Finding::good("kernel", seen)
    } else {
        Finding::broken("kernel", seen, "use a Linux kernel of version 5.6 or newer")
    }
}

/// A worker confines itself before it runs a component, so that whoever gets out of the sandbox finds little.
fn confinement() -> Finding {
    const WHAT: &str = "confinement";
    let lacking: Vec<String> = Part::lacking().iter().map(ToString::to_string).collect();
    if lacking.is_empty() {
        return Finding::good(
            WHAT,
            "workers reach only files, ports and system calls that their order needs",
        );
    }
    Finding::missing(
        WHAT,
        format!("workers are not confined in {}; the sandbox holds without it", list(&lacking)),
        "use a newer kernel with Landlock and seccomp (`lsm=landlock,...` on its command line)",
    )
}

fn processors() -> Finding {
    let count = std::thread::available_parallelism().map_or(1, NonZero::get);
    Finding::good("processors", format!("{count}; as many splits are read at once"))
}

/// What `/proc/meminfo` says is available, against the memory a worker of default limits may come to use.
fn memory() -> Finding {
    const ENOUGH: u64 = 512 << 20;
    let available = files::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    match available {
        Some(size) if size >= ENOUGH => Finding::good("memory", format!("{} available", bytes(size))),
        Some(size) => Finding::missing(
            "memory",
            format!("{} available", bytes(size)),
            "free some, or write `limits: { memory: 64MiB, parallelism: 1 }` under `extract`",
        ),
        None => Finding::missing("memory", "/proc/meminfo cannot be read", "mount /proc"),
    }
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Instances are laid out far apart, so that one cannot reach another: that reserves addresses, not memory.
fn address_space() -> Finding {
    match getrlimit(Resource::As).current {
        None => Finding::good("address space", "unlimited"),
        Some(limit) => Finding::broken(
            "address space",
            format!("limited to {}; sandboxes reserve more than that", bytes(limit)),
            "ulimit -v unlimited",
        ),
    }
}

fn open_files() -> Finding {
    const ENOUGH: u64 = 1024;
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < ENOUGH => {
            Finding::missing("open files", format!("limited to {limit}"), format!("ulimit -n {ENOUGH}"))
        }
        Some(limit) => Finding::good("open files", format!("up to {limit}")),
        None => Finding::good("open files", "unlimited"),
    }
}

fn data_dir(root: &Path) -> Finding {
    let probe = || {
        let folder = DataDir::open(root)?;
        let probe = folder.cache_dir()?.join("doctor");
        files::write_atomic(&probe, b"can this be written?", files::Access::Owner)?;
        files::remove(&probe)
    };
    match probe() {
        Ok(()) => Finding::good("data folder", format!("{} can be written", root.display())),
        Err(fault) => Finding::broken(
            "data folder",
            fault.message,
            "give another one: --data-dir DIR, or TIDEGATE_DATA_DIR",
        ),
    }
}

/// Whose word is above all grants here.
fn ceiling() -> Finding {
    match Ceiling::of_this_machine() {
        Ok(ceiling) => Finding::good("ceiling", ceiling.text().name.clone()),
        Err(fault) => Finding::broken("ceiling", fault.to_string(), "mend the policy file, or remove it"),
    }
}

/// A local table's commit is put in place by a hard link, which fails when somebody was faster.
fn hard_links() -> Finding {
    match files::can_link(".") {
        Ok(()) => Finding::good("hard links", "this folder can hold local tables"),
        Err(fault) => Finding::missing(
            "hard links",
            format!("not in this folder: {}", fault.message),
            "keep tables on a file system with hard links, or in an object store",
        ),
    }
}

/// Only authors of connectors need a compiler. Looks where rustup, or a distribution, puts a target's
/// standard library.
fn wasm_target() -> Finding {
    const WHAT: &str = "wasm32-wasip2 (for authors)";
    let Some(rustc) = on_path("rustc") else {
        let install = "install Rust from https://rustup.rs, then: rustup target add wasm32-wasip2";
        return Finding::missing(WHAT, "there is no Rust compiler", install);
    };
    let beside = rustc.canonicalize().ok().and_then(|rustc| Some(rustc.parent()?.parent()?.to_owned()));
    let rustup = std::env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".rustup")));
    let toolchains = rustup.map(|home| files::list(home.join("toolchains")).unwrap_or_default());
    let installed = beside
        .into_iter()
        .chain(toolchains.into_iter().flatten())
        .any(|toolchain| toolchain.join("lib/rustlib/wasm32-wasip2/lib").is_dir());
    if installed {
        Finding::good(WHAT, "installed")
    } else {
        Finding::missing(WHAT, "not installed", "rustup target add wasm32-wasip2")
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn document(findings: &[Finding]) -> Value {
    let findings: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let state = match finding.state {
                State::Good => "good",
                State::Missing => "missing",
                State::Broken => "broken",
            };
            json!({ "what": finding.what, "state": state, "seen": finding.seen, "remedy": finding.remedy })
        })
        .collect();
    json!({ "findings": findings })
}

fn words(findings: &[Finding], paint: Paint) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.state {
            State::Good => paint.green("ok     "),
            State::Missing => paint.yellow("missing"),
            State::Broken => paint.red("broken "),
        };
        let told = wrap(&format!("{}: {}", finding.what, finding.seen), 71, "         ");
        text.push_str(&format!("{mark}  {told}\n"));
        if let Some(remedy) = &finding.remedy {
            text.push_str(&format!("         {}\n", wrap(remedy, 71, "         ")));
        }
    }
    let verdict = if findings.iter().any(|finding| finding.state == State::Broken) {
        "Tidegate cannot run here until what is broken is mended."
    } else {
        "Tidegate can run here."
    };
    text.push_str(&format!("\n{verdict}\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_of_memory_is_understood() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), Some(2 << 20));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
    }

    #[test]
    fn a_remedy_follows_what_it_mends() {
        let findings = [
            Finding::good("kernel", "Linux 6.1"),
            Finding::broken("open files", "limited to 4", "ulimit -n 1024"),
        ];
        assert_eq!(
            words(&findings, Paint::PLAIN),
            "\
ok       kernel: Linux 6.1
broken   open files: limited to 4
         ulimit -n 1024

Tidegate cannot run here until what is broken is mended.
"
        );
    }
}
