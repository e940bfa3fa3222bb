//! `tidegate completions`: what the shell needs to complete ours.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;
use tidegate_model::{Code, Fault, Result};

use crate::arguments::Arguments;
use crate::terminal::Reply;

/// Print a shell's completion script
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    eval \"$(tidegate completions bash)\"\n  \
    tidegate completions zsh > ~/.zfunc/_tidegate\n  \
    tidegate completions fish > ~/.config/fish/completions/tidegate.fish")]
pub struct Completions {
    /// Whose script
    shell: Shell,
}

impl Completions {
    pub fn execute(&self) -> Result<Reply> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "tidegate", &mut script);
        let script = String::from_utf8(script)
            .map_err(|_| Fault::internal(Code::Bug, "the completion script is not text"))?;
        let document = json!({ "shell": self.shell.to_string(), "script": script });
        Ok(Reply::new(script, document))
    }
}
