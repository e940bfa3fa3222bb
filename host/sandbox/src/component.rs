//! Loading: from a file nobody trusts to code that can be instantiated.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tidegate_infrastructure::files::{self, Access};
use tidegate_infrastructure::{Ending, ProcessLimits, run_limited};
use tidegate_model::{Code, ComponentRef, Fault, Manifest, Result, World};
use wasmtime::Engine;
use wasmtime::component::{Component as Compiled, HasSelf, Linker};

use crate::bindings::{self, ExtractorPre};
use crate::engine::Ticker;
use crate::guest::{Guest, Surroundings};
use crate::inspect::{Inspection, validate};
use crate::instance::{Instance, LONGEST_CALL};
use crate::meter::COMPUTE;
use crate::output::{self, OutputPort};
use crate::{artifact, engine, http, wasi};

/// What compiling one component may use. A component of 64 MiB stays far below; one made to stall a compiler
/// does not.
const COMPILE: ProcessLimits = ProcessLimits {
    address_space: 6 << 30,
    cpu: Duration::from_secs(600),
    wall: Duration::from_secs(300),
    output: 1 << 30,
};

/// How a [`Sandbox`] works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where compiled components are kept. Nobody but the host may write there: what lies there is run as it
    /// is.
    pub cache: PathBuf,
    pub compiler: Compiler,
    /// Instances at once.
    pub instances: u32,
    /// Time a component may compute without asking the host for anything.
    pub compute: Duration,
    /// Time that an export other than `read` may take in all. Each has a limit of its own too; the shorter
    /// one counts.
    pub call: Duration,
}

/// Who compiles.
#[derive(Debug, Clone)]
pub enum Compiler {
    /// A child process that can be killed and limited: this program, which calls [`compile_main`] when it
    /// gets these arguments.
    Child { program: PathBuf, arguments: Vec<String> },
    /// This process. For components that come from the same hands as the program: in tests.
    InProcess,
}

impl Settings {
    /// The cache of whoever runs this process; otherwise as [`new`](Self::new).
    pub fn of_this_user() -> Result<Self> {
        Self::new(tidegate_infrastructure::compiled_dir()?)
    }

    /// This program as the compiler, with the subcommand `compile`; 64 instances.
    pub fn new(cache: PathBuf) -> Result<Self> {
        let program = std::env::current_exe().map_err(|error| {
            Fault::external(Code::WorkerLost, format!("cannot find this program's own file: {error}"))
        })?;
        let arguments = vec!["compile".to_owned()];
        let compiler = Compiler::Child { program, arguments };
        Ok(Self { cache, compiler, instances: 64, compute: COMPUTE, call: LONGEST_CALL })
    }
}

/// The one place where components run. Cheap to clone.
#[derive(Clone)]
pub struct Sandbox {
    engine: Engine,
    linker: Arc<Linker<Guest>>,
    ticker: Arc<Ticker>,
    settings: Arc<Settings>,
}

/// A component, verified and compiled. Cheap to clone.
#[derive(Clone)]
pub struct Component {
    manifest: Arc<Manifest>,
    pre: ExtractorPre<Guest>,
    ticker: Arc<Ticker>,
    settings: Arc<Settings>,
    from_cache: bool,
}

/// A component's bytes, which are what was approved, and what they ask for.
struct Verified {
    wasm: Vec<u8>,
    manifest: Manifest,
    /// Its code, where it was compiled before.
    kept: Option<Compiled>,
}

impl Sandbox {
    pub fn new(settings: Settings) -> Result<Self> {
        let engine = engine::running(settings.instances)?;
        let linker = linker(&engine).map_err(|error| {
            Fault::internal(Code::Bug, format!("the host's functions do not fit the contract: {error:#}"))
        })?;
        Ok(Self { engine, linker: Arc::new(linker), ticker: Arc::default(), settings: Arc::new(settings) })
    }

    /// Reads the component, verifies its digest and what it asks for, and compiles it unless that was done
    /// before.
    ///
    /// What was compiled before is not validated again. The artifact is found by the digest of these very
    /// bytes and by the engine's version and settings; only [`compiled`](Self::compiled) puts one there,
    /// after it validated the bytes by the rules of that engine. The rules on imports and requests are ours,
    /// may change without the engine, and are applied every time.
    pub async fn load(&self, component: &ComponentRef) -> Result<Component> {
        let Verified { wasm, manifest, kept } = self.verified(component)?;
        let from_cache = kept.is_some();
        let compiled = match kept {
            Some(kept) => kept,
            None => self.compiled(wasm, &self.artifact(&component.digest)?).await?,
        };
        self.linked(manifest, &compiled, from_cache)
    }

    /// Loads a component that was compiled before; `None` for any other. It leaves no thread behind.
    pub fn find(&self, component: &ComponentRef) -> Result<Option<Component>> {
        let Verified { manifest, kept, .. } = self.verified(component)?;
        kept.map(|kept| self.linked(manifest, &kept, true)).transpose()
    }

    fn verified(&self, component: &ComponentRef) -> Result<Verified> {
        let artifact = self.artifact(&component.digest)?;
        // Two large files are read and hashed, so at the same time.
        let (wasm, kept) = thread::scope(|scope| {
            let kept = scope.spawn(|| artifact::open(&self.engine, &artifact));
            let wasm = read_verified(component);
            (wasm, kept.join().ok().flatten())
        });
        let wasm = wasm?;
        let manifest = Inspection::read(&wasm, component.digest.clone())?.manifest;
        if manifest.world != World::Extractor {
            return Err(Fault::user(
                Code::WrongContract,
                format!("`{}` is not an extractor", component.name),
            ));
        }
        Ok(Verified { wasm, manifest, kept })
    }

    fn linked(&self, manifest: Manifest, compiled: &Compiled, from_cache: bool) -> Result<Component> {
        let pre = self.linker.instantiate_pre(compiled).and_then(ExtractorPre::new).map_err(|error| {
            Fault::user(
                Code::WrongContract,
                format!("`{}` does not fit the contract of this version: {error:#}", manifest.name),
            )
        })?;
        let (ticker, settings) = (Arc::clone(&self.ticker), Arc::clone(&self.settings));
        Ok(Component { manifest: Arc::new(manifest), pre, ticker, settings, from_cache })
    }

    /// Where the code of the component with this digest is kept.
    fn artifact(&self, digest: &str) -> Result<PathBuf> {
        let hexadecimal = digest.strip_prefix("sha256:").unwrap_or_default();
        if hexadecimal.len() != 64 || !hexadecimal.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(Fault::internal(Code::Bug, format!("`{digest}` is not a digest")));
        }
        Ok(self.settings.cache.join(format!("{hexadecimal}-{}.cwasm", engine::compatibility(&self.engine))))
    }

    async fn compiled(&self, wasm: Vec<u8>, artifact: &Path) -> Result<Compiled> {
        validate(&wasm)?;
        let sealed = artifact::seal(self.compile(wasm).await?);
        files::create_private_dir(&self.settings.cache)?;
        files::write_atomic(artifact, &sealed, Access::Owner)?;
        artifact::open(&self.engine, artifact).ok_or_else(|| {
            Fault::internal(Code::CompileFailed, "what the compiler made cannot be loaded by this program")
        })
    }

    async fn compile(&self, wasm: Vec<u8>) -> Result<Vec<u8>> {
        let failed = |why: String| {
            Fault::internal(Code::CompileFailed, format!("the component could not be compiled: {why}"))
        };
        match &self.settings.compiler {
            Compiler::InProcess => precompile(&wasm),
            Compiler::Child { program, arguments } => {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                let output = run_limited(program, &arguments, wasm, &COMPILE).await?;
                match output.ending {
                    Ending::Success => Ok(output.stdout),
                    ending => Err(failed(format!("the compiler {ending}; {}", output.stderr.trim()))),
                }
            }
        }
    }
}

impl Component {
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether it did not have to be compiled.
    pub fn from_cache(&self) -> bool {
        self.from_cache
    }

    /// A new instance that shares nothing with others. Only one with a port can read.
    pub async fn instantiate(&self, around: &Surroundings, port: Option<OutputPort>) -> Result<Instance> {
        self.ticker.start(self.pre.engine())?;
        Instance::new(&self.pre, around, &self.settings, port).await
    }
}

fn read_verified(component: &ComponentRef) -> Result<Vec<u8>> {
    let ComponentRef { path, digest: approved, .. } = component;
    let wasm = files::read(path).map_err(|fault| Fault { code: Code::NoConnector, ..fault })?;
    let found = digest(&wasm);
    if found != *approved {
        let path = path.display();
        return Err(Fault::user(
            Code::DigestMismatch,
            format!("{path} is not the component that was approved: its digest is {found}, not {approved}"),
        ));
    }
    Ok(wasm)
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasi::add_to_linker(&mut linker)?;
    bindings::log::add_to_linker::<_, HasSelf<Guest>>(&mut linker, Guest::counted)?;
    bindings::types::add_to_linker::<_, HasSelf<Guest>>(&mut linker, Guest::counted)?;
    bindings::bytes::add_to_linker::<_, HasSelf<Guest>>(&mut linker, Guest::counted)?;
    bindings::batches::add_to_linker::<_, HasSelf<Guest>>(&mut linker, Guest::counted)?;
    bindings::files::add_to_linker::<_, HasSelf<Guest>>(&mut linker, Guest::counted)?;
    bindings::http::add_to_linker::<_, HasSelf<Guest>>(&mut linker, Guest::counted)?;
    bindings::credentials::add_to_linker::<_, HasSelf<Guest>>(&mut linker, Guest::counted)?;
    http::add_to_linker(&mut linker)?;
    bindings::tcp::add_to_linker::<_, HasSelf<Guest>>(&mut linker, Guest::counted)?;
    bindings::decode::add_to_linker::<_, HasSelf<Guest>>(&mut linker, Guest::counted)?;
    output::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// `sha256:` and 64 hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

fn precompile(wasm: &[u8]) -> Result<Vec<u8>> {
    engine::compiling()?.precompile_component(wasm).map_err(|error| {
        Fault::internal(Code::CompileFailed, format!("the component could not be compiled: {error:#}"))
    })
}

/// The whole of the compiling child: a component on `input`, native code on `output`. Whoever starts it
/// limits it.
pub fn compile_main(mut input: impl std::io::Read, mut output: impl std::io::Write) -> Result<()> {
    let io = |error: std::io::Error| {
        Fault::external(Code::WorkerLost, format!("cannot pass on a component: {error}"))
    };
    let mut wasm = Vec::new();
    input.read_to_end(&mut wasm).map_err(io)?;
    output.write_all(&precompile(&wasm)?).and_then(|()| output.flush()).map_err(io)
}
