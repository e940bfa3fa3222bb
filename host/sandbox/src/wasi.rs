//! What a language's standard library insists on, present and empty: no environment, no arguments, no files,
//! no input; standard output goes nowhere, and standard error is kept for the fault that may follow. Clocks and
//! random numbers are real.

use std::sync::{Arc, Mutex};

use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, io, random};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::random::{WasiRandom, WasiRandomView};
use wasmtime_wasi::{WasiCtx, WasiView};

use crate::guest::Guest;
use crate::refusal::clipped;

/// Bytes of standard error; after those it is closed.
const MAX_PRINTED: usize = 64 << 10;
/// Random bytes in one call; more is a trap.
const MAX_RANDOM: u64 = 64 << 10;

/// Every interface of WASI 0.2 that a component may import. There is nothing behind the ones of the file
/// system.
pub(crate) const INTERFACES: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:clocks/wall-clock",
    "wasi:clocks/monotonic-clock",
    "wasi:filesystem/types",
    "wasi:filesystem/preopens",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
];

/// The interfaces of WASI's own HTTP: for clients that know nothing of Tidegate. They give what `http` gives.
pub(crate) const HTTP: &[&str] = &["wasi:http/types", "wasi:http/outgoing-handler"];

/// What a component complained of.
#[derive(Clone)]
pub(crate) struct Printed {
    err: MemoryOutputPipe,
    /// The last error it logged.
    error: Arc<Mutex<String>>,
}

impl Printed {
    pub(crate) fn logged_error(&self, message: &str) {
        *self.error.lock().unwrap_or_else(|broken| broken.into_inner()) = clipped(message, 4096);
    }

    /// What it said last, on standard error or as an error in its log; at most `max` bytes.
    pub(crate) fn last_words(&self, max: usize) -> String {
        let error = self.error.lock().unwrap_or_else(|broken| broken.into_inner());
        let printed = self.err.contents();
        let words = if printed.is_empty() { error.as_bytes() } else { &printed };
        let from = words.len().saturating_sub(max);
        String::from_utf8_lossy(&words[from..]).trim().to_owned()
    }
}

pub(crate) fn context() -> (WasiCtx, Printed) {
    let printed = Printed { err: MemoryOutputPipe::new(MAX_PRINTED), error: Arc::default() };
    let context = WasiCtx::builder().stderr(printed.err.clone()).max_random_size(MAX_RANDOM).build();
    (context, printed)
}

struct HasTable;

impl HasData for HasTable {
    type Data<'a> = &'a mut ResourceTable;
}

fn table(guest: &mut Guest) -> &mut ResourceTable {
    guest.ctx().table
}

pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    io::error::add_to_linker::<_, HasTable>(linker, table)?;
    io::poll::add_to_linker::<_, HasTable>(linker, table)?;
    io::streams::add_to_linker::<_, HasTable>(linker, table)?;
    clocks::wall_clock::add_to_linker::<_, WasiClocks>(linker, Guest::clocks)?;
    clocks::monotonic_clock::add_to_linker::<_, WasiClocks>(linker, Guest::clocks)?;
    filesystem::types::add_to_linker::<_, WasiFilesystem>(linker, Guest::filesystem)?;
    filesystem::preopens::add_to_linker::<_, WasiFilesystem>(linker, Guest::filesystem)?;
    random::random::add_to_linker::<_, WasiRandom>(linker, Guest::random)?;
    random::insecure::add_to_linker::<_, WasiRandom>(linker, Guest::random)?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(linker, Guest::random)?;
    cli::exit::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::environment::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::stdin::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::stdout::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::stderr::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    Ok(())
}
