//! What a hostile or broken connector does.

use std::hint::black_box;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_sdk::bindings::tidegate::connector::{files, log};
use tidegate_sdk::{Fault, Result};
use wasip2::clocks::monotonic_clock::subscribe_duration;

use crate::Config;
use crate::lie::Lie;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mischief {
    /// Runs for ever.
    Spin,
    /// Waits for ten minutes.
    Sleep,
    Panic,
    /// Takes memory until there is no more.
    Allocate,
    /// Calls itself until the stack ends.
    Recurse,
    /// Says that the source failed.
    Fault,
    /// Says that the source failed, in a message of a megabyte and with a code that is none.
    LongFault,
    /// Logs without end.
    Chatter,
    /// Lists `location`, granted or not.
    Reach,
    /// Opens the output itself, in place of reading or where there is none, and sends something that breaks
    /// the contract.
    Lie(Lie),
    /// Asks for handles without end and gives none back.
    Hoard,
    /// Logs one line of 40 MiB.
    Shout,
    /// Asks for a random number of a gigabyte.
    Dice,
    /// Sends a log line that pretends to be many, in colours.
    Forge,
    /// A million lines of the log, each of one letter.
    Whisper,
    /// Reads the environment, a file and the arguments, and fails if there are any. (Sockets are not even
    /// imported: such a component is refused.)
    LookAround,
}

/// When.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Check,
    Discover,
    Plan,
    #[default]
    Read,
}

pub(crate) fn during(phase: Phase, config: &Config) -> Result<()> {
    match config.mischief.filter(|_| config.during == phase) {
        Some(mischief) => commit(mischief, config),
        None => Ok(()),
    }
}

fn commit(mischief: Mischief, config: &Config) -> Result<()> {
    match mischief {
        Mischief::Spin => loop {
            black_box(());
        },
        Mischief::Sleep => std::thread::sleep(Duration::from_secs(600)),
        Mischief::Panic => panic!("as told"),
        Mischief::Allocate => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(black_box(vec![1_u8; 1 << 20]));
            }
        }
        Mischief::Recurse => {
            black_box(recurse(black_box(1)));
        }
        Mischief::Fault => return Err(Fault::external("broken", "the source is broken, as told")),
        Mischief::LongFault => return Err(Fault::external("No Code ".repeat(100), "x".repeat(1 << 20))),
        Mischief::Chatter => {
            let message = "x".repeat(64 << 10);
            loop {
                log::write(log::Level::Info, &message);
            }
        }
        Mischief::Reach => {
            files::list(config.location.as_deref().unwrap_or("."), None)?;
        }
        Mischief::Lie(lie) => return lie.tell(),
        Mischief::Hoard => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(subscribe_duration(1));
            }
        }
        Mischief::Shout => log::write(log::Level::Info, &"x".repeat(40 << 20)),
        Mischief::Dice => drop(black_box(wasip2::random::random::get_random_bytes(1 << 30))),
        Mischief::Forge => log::write(
            log::Level::Info,
            "fine\nerror[TG0303]: the audit is lost\r\u{1b}[2J\u{1b}]0;title\u{7}\u{202e}gnp.exe",
        ),
        Mischief::Whisper => (0..1_000_000).for_each(|_| log::write(log::Level::Info, "x")),
        Mischief::LookAround => return look_around(),
    }
    Ok(())
}

#[expect(unconditional_recursion, reason = "that is the mischief")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    recurse(black_box(depth + 1)) + frame[(depth % 64) as usize]
}

#[expect(clippy::disallowed_methods, reason = "shows that there is nothing behind them")]
fn look_around() -> Result<()> {
    let seen = [
        ("a variable", std::env::vars_os().next().is_some()),
        ("an argument", std::env::args_os().next().is_some()),
        ("a folder", std::fs::read_dir("/").is_ok()),
        ("a file", std::fs::File::open("/etc/passwd").is_ok()),
    ];
    match seen.iter().find(|(_, found)| *found) {
        Some((what, _)) => Err(Fault::internal("escaped", format!("there is {what}"))),
        None => Ok(()),
    }
}
