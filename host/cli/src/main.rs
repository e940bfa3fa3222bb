//! The `tidegate` command: reads what was typed, asks the modules, and says what they answered.
//!
//! Goal: whoever types a command learns what happened, why, and what to type next, on a terminal and in a
//! program alike.
//!
//! Never: it runs no component. That is the work of a child process, which is this same binary started as
//! `tidegate worker`.

mod arguments;
mod command;
mod consent;
mod desk;
mod operator;
mod plugins;
mod progress;
mod project;
mod render;
mod scaffold;
mod seal;
mod secrets;
mod terminal;
mod trace;
mod work;

use std::ffi::OsStr;
use std::process::ExitCode;

use tidegate_infrastructure::{Confinement, clock};
use tracing_subscriber::EnvFilter;

use arguments::{Arguments, Verb};
use command::Context;
use terminal::Terminal;

fn main() -> ExitCode {
    let began = clock::steady();
    // What this program says to itself. Nobody is offered it: neither the help nor the completions know it.
    let mut words = std::env::args_os().skip(1);
    match (words.next().as_deref().and_then(OsStr::to_str), words.next()) {
        (Some("worker"), None) => return tidegate_worker::main(),
        (Some("compile"), None) => return compile(),
        _ => {}
    }
    let Arguments { json, data_dir, verb } = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(status) => return ExitCode::from(status),
    };
    let terminal = Terminal::new(json);
    let cx = Context { terminal, data_dir, began };
    let answer = match verb {
        Verb::Run(run) => logged(|| run.execute(&cx)),
        Verb::Check(check) => logged(|| check.execute(&cx)),
        Verb::Discover(discover) => logged(|| discover.execute(&cx)),
        Verb::State(state) => logged(|| state.execute(&cx)),
        Verb::New(new) => new.execute(&cx),
        Verb::Test(test) => logged(|| test.execute(&cx)),
        Verb::Plugin(plugin) => logged(|| plugin.execute(&cx)),
        Verb::Grant(grant) => logged(|| grant.execute(&cx)),
        Verb::Secret(secret) => secret.execute(&cx),
        Verb::User(user) => user.execute(&cx),
        Verb::Audit(audit) => audit.execute(&cx),
        Verb::Store(store) => logged(|| store.execute(&cx)),
        Verb::Doctor => command::doctor::execute(&cx),
        Verb::Completions(completions) => completions.execute(),
    };
    seal::now(terminal);
    ExitCode::from(match answer {
        Ok(reply) => terminal.reply(&reply),
        Err(fault) => terminal.fault(&fault),
    })
}

/// The compiler's process: a component on stdin, machine code on stdout, a refusal on stderr. Whoever starts
/// it limits it, and it confines itself to those.
fn compile() -> ExitCode {
    tidegate_infrastructure::die_with_parent();
    let confined = Confinement::to_nothing().enforce();
    match confined.and_then(|_| tidegate_sandbox::compile_main(std::io::stdin(), std::io::stdout())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            Terminal::new(false).say(&fault.message);
            ExitCode::FAILURE
        }
    }
}

/// With `RUST_LOG` in force: diagnosis, on stderr.
fn logged<T>(work: impl FnOnce() -> T) -> T {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    work()
}
