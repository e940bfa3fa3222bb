//! Where the command speaks. Results go to stdout and nothing else does; questions, progress and faults go to
//! stderr.

use std::io::{self, IsTerminal, Write};

use serde_json::{Value, json};
use tidegate_model::{Code, Fault, Result};
use zeroize::Zeroizing;

use crate::render::{self, Paint};

/// What a command answers: the same in two forms.
pub struct Reply {
    pub text: String,
    pub document: Value,
    /// The exit status. A suite that failed was still run, and is answered, not faulted.
    pub exit: u8,
}

impl Reply {
    pub fn new(text: impl Into<String>, document: Value) -> Self {
        Self { text: text.into(), document, exit: 0 }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    json: bool,
    out: Paint,
    err: Paint,
}

impl Terminal {
    pub fn new(json: bool) -> Self {
        Self { json, out: Paint::of(&io::stdout()), err: Paint::of(&io::stderr()) }
    }

    /// The paint of results.
    pub fn paint(self) -> Paint {
        self.out
    }

    /// The paint of what is said on the way.
    pub fn side_paint(self) -> Paint {
        self.err
    }

    /// Whether somebody watches.
    pub fn draws(self) -> bool {
        !self.json && io::stderr().is_terminal()
    }

    /// Whether somebody can be asked.
    pub fn asks(self) -> bool {
        self.draws() && io::stdin().is_terminal()
    }

    /// Something to know on the way.
    pub fn say(self, text: &str) {
        // Nobody is left to tell when stderr is gone.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Yes or no, no being the answer to anything that is not a yes.
    pub fn ask(self, question: &str) -> Result<bool> {
        self.say(&format!("{} [y/N] ", self.err.bold(question)));
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map_err(|error| {
            Fault::external(Code::Storage, format!("the terminal cannot be read: {error}"))
        })?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }

    /// Something that must not be seen while it is typed. Where no terminal is the standard input it is that
    /// input's first line, so that a program can give it without showing it to others.
    pub fn secret(self, question: &str) -> Result<Zeroizing<String>> {
        let unreadable =
            |error: io::Error| Fault::external(Code::Storage, format!("it cannot be read: {error}"));
        // Whatever else is redirected: what is typed on a terminal would be shown.
        if io::stdin().is_terminal() {
            return rpassword::prompt_password(question).map(Zeroizing::new).map_err(unreadable);
        }
        let mut line = Zeroizing::new(String::new());
        io::stdin().read_line(&mut line).map_err(unreadable)?;
        Ok(Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned()))
    }

    /// Has somebody say yes; where nobody is there to ask, `--yes` must have been given.
    pub fn confirm(self, question: &str) -> Result<()> {
        if !self.asks() {
            let fault = Fault::user(Code::BadUsage, "this needs a yes, and nobody is there to ask");
            return Err(fault.help("add --yes"));
        }
        if self.ask(question)? { Ok(()) } else { Err(Fault::user(Code::Cancelled, "nothing was changed")) }
    }

    /// Gives the result; the exit status.
    pub fn reply(self, reply: &Reply) -> u8 {
        if self.json {
            print(&format!("{:#}\n", reply.document));
        } else {
            print(&reply.text);
        }
        reply.exit
    }

    /// Says what went wrong; the exit status.
    pub fn fault(self, fault: &Fault) -> u8 {
        let exit = fault.exit() as u8;
        if self.json {
            print(&format!("{:#}\n", json!({ "error": fault, "exit": exit })));
        }
        self.say(&render::fault(fault, self.err));
        exit
    }
}

/// A reader who had enough (`| head`) is no error.
fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
