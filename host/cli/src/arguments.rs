//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use tidegate_model::{Code, Exit, Fault};

use crate::command::{
    audit, check, completions, discover, grant, new, plugin, run, secret, state, store, test, user,
};
use crate::terminal::Terminal;

#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    about = "Runs data connectors that nobody has to trust",
    long_about = "Runs data connectors that nobody has to trust.\n\n\
        A connector is a WebAssembly component. It runs in a sandbox, sees only what you grant it, and what it extracts \
        lands in Delta tables, each row once.",
    after_help = "Examples:\n  \
        tidegate run flights.yaml        extract what is new\n  \
        tidegate discover flights.yaml   see what the source has\n  \
        tidegate plugin inspect files    see what it asks for, and why\n  \
        tidegate new extractor pages     start a connector of your own\n\n\
        Exit status: 0 done, 1 the run failed, 2 usage or configuration, 3 permission denied or waiting for approval.",
    arg_required_else_help = true,
    max_term_width = 100,
    propagate_version = false,
    disable_help_subcommand = true
)]
pub struct Arguments {
    /// Answer with one JSON document on stdout; everything else goes to stderr
    #[arg(long, global = true, display_order = 100)]
    pub json: bool,

    /// Where plugins, secrets, users and the audit are kept [default: `.tidegate` beside the pipeline file, or here for
    /// a command that has none]
    #[arg(long, global = true, display_order = 100, value_name = "DIR", env = "TIDEGATE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,

    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Run(run::Run),
    Check(check::Check),
    Discover(discover::Discover),
    State(state::State),
    New(new::New),
    Test(test::Test),
    Plugin(plugin::Plugin),
    Grant(grant::Grant),
    Secret(secret::Secret),
    User(user::User),
    Audit(audit::Audit),
    Store(store::Store),
    /// Look for what is missing on this machine, and say what mends it
    Doctor,
    Completions(completions::Completions),
}

impl Arguments {
    /// What was typed. An error is the exit status of a command that has said all there is to say: the help
    /// that somebody asked for, or what is wrong with what they typed.
    pub fn read() -> Result<Self, u8> {
        Self::try_parse().map_err(|error| {
            let mut words = std::env::args_os().take_while(|word| word != "--");
            if error.use_stderr() && words.any(|word| word == "--json") {
                return Terminal::new(true).fault(&mistyped(&error.render().to_string()));
            }
            // Nobody is left to tell when the terminal is gone.
            let _ = error.print();
            if error.use_stderr() { Exit::Usage as u8 } else { 0 }
        })
    }
}

/// A mistake on the command line as a program is told of it, from the words that a person would get: what is
/// wrong, then hints and the usage in paragraphs of their own.
fn mistyped(words: &str) -> Fault {
    let mut paragraphs = words
        .split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|paragraph| !paragraph.is_empty());
    let message = paragraphs.next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    Fault::user(Code::BadUsage, message).help(paragraphs.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory};

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    /// Every command below one, with itself.
    fn all(command: &Command) -> Vec<&Command> {
        let below = command.get_subcommands().flat_map(all);
        std::iter::once(command).chain(below).collect()
    }

    #[test]
    fn every_verb_and_argument_says_what_it_is_for() {
        for verb in all(&Arguments::command()) {
            assert!(verb.get_about().is_some(), "{}", verb.get_name());
            for argument in verb.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", verb.get_name(), argument.get_id());
            }
        }
    }

    #[test]
    fn a_mistake_is_told_to_programs_as_every_fault_is() {
        let told = |words: &[&str]| {
            let error = Arguments::try_parse_from(words).unwrap_err();
            mistyped(&error.render().to_string()).to_string()
        };
        for (words, expected) in [
            (
                &["tidegate", "run", "p.yaml", "--full-refesh"][..],
                "TG0104: unexpected argument '--full-refesh' found; tip: a similar argument exists: '--full-refresh'; Usage: tidegate run --full-refresh <PIPELINE.yaml>; For more information, try '--help'.",
            ),
            (
                &["tidegate", "run", "--json"],
                "TG0104: the following required arguments were not provided: <PIPELINE.yaml>; Usage: tidegate run --json <PIPELINE.yaml>; For more information, try '--help'.",
            ),
        ] {
            assert_eq!(told(words), expected);
        }
    }

    #[test]
    fn examples_fit_a_terminal_and_paragraphs_are_broken_by_it() {
        for verb in all(&Arguments::command()) {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            for paragraph in help.split("\n\n").filter(|paragraph| !paragraph.starts_with("Examples:")) {
                assert!(!paragraph.contains('\n'), "{paragraph}");
            }
            for example in help.lines().filter(|line| line.starts_with("  ")) {
                assert!(example.len() <= 78, "{example}");
            }
        }
    }
}
