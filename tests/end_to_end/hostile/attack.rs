//! One attack, and what came of it.

use std::process::Command;

use serde_json::Value;
use tidegate_sandbox_tests::ROUNDTRIP;

use crate::harness::{Project, Ran, python_command};

/// What a component does, or is done to it.
pub struct Attack {
    what: String,
    /// The command that lets it.
    verb: &'static str,
    config: Value,
    /// How what comes of it begins.
    ends: &'static str,
    /// Rows that are in the table after it; of those that load.
    rows: Option<u64>,
    /// What the audit says was denied.
    denied: Option<&'static str>,
    secret: Option<&'static str>,
    grant: Vec<String>,
    lied_to: bool,
}

/// What came of it.
pub struct Outcome {
    /// `TG0402: the connector crashed: ...`; of a command that went well, what the component said last.
    told: String,
    rows: u64,
    denials: String,
    all: String,
}

impl Attack {
    pub fn new(what: impl Into<String>, verb: &'static str, config: Value) -> Self {
        Self {
            what: what.into(),
            verb,
            config,
            ends: "",
            rows: None,
            denied: None,
            secret: None,
            grant: Vec::new(),
            lied_to: false,
        }
    }

    /// Where tests/python/name_server.py is the only name server.
    pub fn lied_to(self) -> Self {
        Self { lied_to: true, ..self }
    }

    pub fn ends(self, ends: &'static str) -> Self {
        Self { ends, ..self }
    }

    pub fn leaves(self, rows: u64) -> Self {
        Self { rows: Some(rows), ..self }
    }

    pub fn denied(self, denied: &'static str) -> Self {
        Self { denied: Some(denied), ..self }
    }

    /// The host adds this to what it sends; it must come back in no form that anybody sees.
    pub fn with_secret(self, secret: &'static str) -> Self {
        Self { secret: Some(secret), ..self }
    }

    /// Granted with these words, not all that it asks for.
    pub fn granted(self, words: &[&str]) -> Self {
        Self { grant: words.iter().map(|word| (*word).to_owned()).collect(), ..self }
    }

    pub fn carry_out(&self) -> Outcome {
        let mut project = Project::new();
        let secrets = if self.secret.is_some() { "  secrets: { token: env:HOSTILE_SECRET }\n" } else { "" };
        let text = format!(
            "pipeline: p\nextract:\n  connector: ./evil.wasm\n  config: {}\n{secrets}  streams:\n    roundtrip: {{ mode: full }}\n  limits: {{ memory: 64MiB }}\ningest: {{ sink: delta, location: ./lake }}\n",
            self.config
        );
        project.write("p.yaml", text);
        project.write("evil.wasm", std::fs::read(ROUNDTRIP).unwrap());
        project.write("data/inside.csv", "id\n1\n");
        if let Some(secret) = self.secret {
            project.variable("HOSTILE_SECRET", secret);
        }
        let grant: Vec<&str> = self.grant.iter().map(String::as_str).collect();
        project.run(&[&["grant", "add", "p.yaml", "--yes"], grant.as_slice()].concat()).expect_code(0);
        let command = project.command(&[self.verb, "p.yaml"]);
        let ran = Ran::of(&mut if self.lied_to { among_liars(&command) } else { command });
        let denials = project.run(&["audit", "tail", "p.yaml", "--denied"]).expect_code(0).stdout;
        let rows = if self.rows.is_some() && project.path("lake/roundtrip").exists() {
            project.read("roundtrip", "text")["duckdb"]["rows"].as_u64().unwrap()
        } else {
            0
        };
        Outcome { told: told(&ran.stderr), rows, denials, all: ran.text() }
    }

    /// What is not as it should be, if anything is.
    pub fn escapes(&self, outcome: &Outcome) -> Option<String> {
        let Outcome { told, rows, denials, all } = outcome;
        let what = format!("{} ({})", self.what, self.verb);
        if !told.starts_with(self.ends) || self.ends.is_empty() {
            let told: String = told.chars().take(400).collect();
            return Some(format!("{what}\n  ends  {told}\n  not   {}", self.ends));
        }
        if self.rows.is_some_and(|expected| expected != *rows) {
            return Some(format!("{what}: {rows} rows"));
        }
        if self.denied.is_some_and(|denied| !denials.contains(denied)) {
            return Some(format!("{what}: not denied:\n{denials}"));
        }
        if self.secret.is_some_and(|secret| all.contains(secret) || denials.contains(secret)) {
            return Some(format!("{what}: the secret is told: {all}"));
        }
        if all.contains('\u{1b}') || all.contains('\u{202e}') {
            return Some(format!("{what}: it wrote to the terminal: {all:?}"));
        }
        None
    }
}

impl Outcome {
    /// A bug, or a worker that was lost: whatever the component did, the host should have coped with it.
    pub fn host_failed(&self) -> bool {
        self.told.starts_with("TG09") || self.told.contains("worker")
    }
}

/// Whether this machine lets its users have a network of their own.
pub fn can_be_lied_to() -> bool {
    among_liars(Command::new("true").current_dir("/")).output().is_ok_and(|output| output.status.success())
}

/// The same command where every name is somebody else's to resolve.
fn among_liars(command: &Command) -> Command {
    let server = python_command("name_server.py");
    let mut wrapped = Command::new("unshare");
    wrapped.args(["--map-root-user", "--net", "--mount"]);
    wrapped.arg(server.get_program()).args(server.get_args());
    wrapped.arg(command.get_program()).args(command.get_args());
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    wrapped.current_dir(command.get_current_dir().unwrap());
    wrapped
}

/// The first fault, or what the component said last.
fn told(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().collect();
    let fault = lines.iter().position(|line| line.starts_with("error["));
    match fault {
        Some(at) => {
            let text = lines[at].trim_start_matches("error[").replacen("]: ", ": ", 1);
            text.replacen("stream `roundtrip`: ", "", 1)
        }
        None => {
            let said = lines.iter().rev().find_map(|line| line.strip_prefix("info: ")).unwrap_or("fine");
            said.trim_start_matches("roundtrip: ").to_owned()
        }
    }
}
