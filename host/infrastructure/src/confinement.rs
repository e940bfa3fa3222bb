//! What the kernel keeps this process from, whatever code comes to run in it.

mod calls;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, fmt, thread};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope, make_bitflags, path_beneath_rules,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use tidegate_model::{Code, Fault, Result};

use crate::files;

/// The last version of Landlock whose rights are asked for. Rights that a later one adds stay as they are until
/// somebody has thought about them.
const KNOWN: ABI = ABI::V6;
/// Threads that ended are still there for a moment.
const PATIENCE: Duration = Duration::from_secs(2);

/// All that a process may still reach, from a moment on that it chooses and cannot take back. What it opened before it
/// keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    /// Files and folders that it may read, with what is below them. Those that are not there are left out.
    pub read: Vec<PathBuf>,
    /// Folders in which it may make, change and remove files and folders, too.
    pub change: Vec<PathBuf>,
    pub network: Network,
}

/// What the standard library and a process's own figures are read from.
const ITSELF: [&str; 4] = ["/proc/self", "/sys/fs/cgroup", "/sys/devices/system/cpu", "/dev/null"];

/// What of the network a process may still reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// It can make no socket.
    None,
    /// These ports over TCP, and name servers over UDP.
    Ports(BTreeSet<u16>),
    All,
}

/// A part of a confinement that a kernel may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Files,
    Ports,
    Signals,
    Calls,
}

impl Part {
    /// As few as there are.
    const ALL: [Self; 4] = [Self::Files, Self::Ports, Self::Signals, Self::Calls];

    /// What this machine does not have of them.
    pub fn lacking() -> Vec<Self> {
        Self::ALL.into_iter().filter(|part| !part.is_there()).collect()
    }

    fn is_there(self) -> bool {
        let strict = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let ruleset = match self {
            Self::Files => strict().handle_access(AccessFs::from_all(ABI::V3)),
            Self::Ports => strict().handle_access(AccessNet::from_all(ABI::V4)),
            Self::Signals => strict().scope(Scope::from_all(ABI::V6)),
            Self::Calls => return calls::are_filtered_here(),
        };
        ruleset.and_then(Ruleset::create).is_ok()
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Files => "files (Landlock, Linux 6.2)",
            Self::Ports => "ports (Landlock, Linux 6.7)",
            Self::Signals => "signals (Landlock, Linux 6.12)",
            Self::Calls => "system calls (seccomp)",
        })
    }
}

impl Confinement {
    /// To what every program needs: enough for one that reads its input, computes and writes its output.
    pub fn to_nothing() -> Self {
        let mut read: Vec<PathBuf> = ITSELF.map(PathBuf::from).into();
        // Where a panic happened is told from it.
        read.extend(env::current_exe());
        Self { read, change: Vec::new(), network: Network::None }
    }

    /// Confines this process, for good, and tells what the kernel could not do of it. No thread but the one that asks
    /// may be there: others would stay as free as they were. Threads that are started later are confined, too.
    ///
    /// Beside files and network: no program can be started and no code be made, no process be signalled or looked
    /// into, no privilege be gained, and no core file is left.
    pub fn enforce(&self) -> Result<Vec<Part>> {
        alone()?;
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        setrlimit(Resource::Core, none).map_err(|errno| refused("no core file", &errno))?;
        self.landlock().map_err(|error| refused("files and ports", &error))?;
        // Last: what stands above it needs calls that it does not have.
        let lacking = Part::lacking();
        if !lacking.contains(&Part::Calls) {
            calls::filter(self.network != Network::None).map_err(|why| refused("system calls", &why))?;
        }
        Ok(lacking)
    }

    /// As much of it as the kernel knows.
    fn landlock(&self) -> std::result::Result<(), RulesetError> {
        let mut ruleset =
            Ruleset::default().handle_access(AccessFs::from_all(KNOWN))?.scope(Scope::from_all(KNOWN))?;
        ruleset = match self.network {
            Network::All => ruleset.handle_access(AccessNet::BindTcp)?,
            Network::None | Network::Ports(_) => ruleset.handle_access(AccessNet::from_all(KNOWN))?,
        };
        let ports = match &self.network {
            Network::Ports(ports) => ports.clone(),
            Network::None | Network::All => BTreeSet::new(),
        };
        let ports =
            ports.into_iter().map(|port| Ok::<_, RulesetError>(NetPort::new(port, AccessNet::ConnectTcp)));
        ruleset
            .create()?
            .add_rules(path_beneath_rules(&self.read, reading()))?
            .add_rules(path_beneath_rules(&self.change, reading() | changing()))?
            .add_rules(ports)?
            .restrict_self()?;
        Ok(())
    }
}

fn reading() -> BitFlags<AccessFs> {
    make_bitflags!(AccessFs::{ReadFile | ReadDir})
}

/// No device, socket, pipe or link.
fn changing() -> BitFlags<AccessFs> {
    make_bitflags!(AccessFs::{WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer})
}

fn alone() -> Result<()> {
    let began = Instant::now();
    loop {
        let threads = files::list("/proc/self/task")?.len();
        if threads == 1 {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            let why = format!("a process that has {threads} threads cannot be confined");
            return Err(Fault::internal(Code::Bug, why));
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn refused(what: &str, why: &dyn fmt::Display) -> Fault {
    Fault::external(Code::WorkerLost, format!("the worker cannot be confined ({what}): {why}"))
}
