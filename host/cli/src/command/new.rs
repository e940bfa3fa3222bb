//! `tidegate new`: a connector project that builds and passes `tidegate test`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use tidegate_model::{Code, Fault, Result, check_connector_name};

use super::Context;
use crate::scaffold;
use crate::terminal::Reply;

/// Start a connector project of your own
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tidegate new extractor pages\n  \
    tidegate new extractor pages --into connectors/pages\n\n\
    The project carries all it needs of Tidegate: it builds anywhere with Rust and the target `wasm32-wasip2`.")]
pub struct New {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A connector that gets data out of a source, in Rust
    Extractor {
        /// Lower-case letters, digits and `-`, starting with a letter
        name: String,

        /// The folder to write; it must not exist [default: the name]
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
    },
}

impl New {
    pub fn execute(&self, _: &Context) -> Result<Reply> {
        let What::Extractor { name, into } = &self.what;
        check(name)?;
        let folder = into.clone().unwrap_or_else(|| PathBuf::from(name));
        if folder.exists() {
            let message = format!("{} is there already", folder.display());
            return Err(Fault::user(Code::BadUsage, message).help("give another name, or --into DIR"));
        }
        let written = scaffold::write(name, &folder)?;
        let component = format!("target/wasm32-wasip2/release/{}.wasm", name.replace('-', "_"));
        let commands = [
            "rustup target add wasm32-wasip2".to_owned(),
            format!("cd {}", folder.display()),
            "cargo build --release".to_owned(),
            format!("tidegate test {component} --config test.yaml"),
        ];
        let mut text = format!("Wrote {} ({written} files). What is next:\n\n", folder.display());
        for command in &commands {
            text.push_str(&format!("  {command}\n"));
        }
        let document = json!({ "name": name, "folder": folder, "files": written, "next": commands });
        Ok(Reply::new(text, document))
    }
}

/// A connector's name is also its Cargo package's and its first pipeline's.
fn check(name: &str) -> Result<()> {
    let Err(rule) = check_connector_name(name) else { return Ok(()) };
    let fault = Fault::user(Code::BadUsage, format!("`{name}` cannot be a connector's name"));
    let near = name.to_lowercase().replace([' ', '.', '_'], "-");
    Err(match check_connector_name(&near) {
        Ok(()) => fault.help(format!("write `{near}`: {rule}")),
        Err(_) => fault.help(rule),
    })
}
