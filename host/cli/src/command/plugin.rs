//! `tidegate plugin`: how connectors arrive, what they are, who vouches for them, and how they go.

mod docs;
mod inspect;
mod install;
mod list;
mod sign;
mod spec;
mod trust;
mod verify;
mod withdraw;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use tidegate_infrastructure::DataDir;
use tidegate_model::Result;
use tidegate_permission::Action;

use super::Context;
use crate::operator::Operator;
use crate::project::{absolute, data_root};
use crate::terminal::Reply;

/// Install connectors, look at them, and prove where they came from
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tidegate plugin inspect ./pages.wasm     what it asks for, and why\n  \
    tidegate plugin install ./pages.wasm     pipelines can name it from now on\n  \
    tidegate plugin verify                   is everything still what it was?\n  \
    tidegate plugin rollback pages           the version before it again\n  \
    tidegate plugin revoke pages@1.2.0 --reason \"leaks rows\"\n\n\
    A component is known by its digest. Who signed it counts only when you trust their key.")]
pub struct Plugin {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The connectors that pipelines can name, and what was installed before
    List,
    /// What a component is, what it asks for and why, what it imports, and how it is configured
    #[command(after_help = "Examples:\n  \
        tidegate plugin inspect files\n  \
        tidegate plugin inspect ./target/wasm32-wasip2/release/pages.wasm --json\n  \
        tidegate plugin inspect files --docs > files.md\n\n\
        It exits 2 when what the component imports is not what it requests, and 3 when it was revoked.")]
    Inspect {
        /// A component, `pages.wasm`; an installed connector, `files` or `files@0.1`; or a digest
        #[arg(value_name = "FILE.wasm|NAME|DIGEST")]
        what: String,

        /// Its documentation as Markdown, from the component alone
        #[arg(long)]
        docs: bool,
    },
    /// Check a component, make it ready, and let pipelines name it
    #[command(after_help = "Examples:\n  \
        tidegate plugin install pages.wasm\n  \
        tidegate plugin install pages.wasm --signature pages.wasm.minisig\n  \
        tidegate plugin install pages.wasm --replace\n\n\
        A signature that lies beside the file as FILE.wasm.minisig is taken without being named.")]
    Install(install::Install),
    /// Compare installed components with their records, signatures and revocations
    #[command(after_help = "Examples:\n  \
        tidegate plugin verify\n  \
        tidegate plugin verify pages --json\n\n\
        It exits 1 when something is wrong, and names it.")]
    Verify {
        /// Only the connector of this name [default: all]
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
    /// Take an installed version away
    #[command(after_help = "Examples:\n  \
        tidegate plugin remove pages@1.0.0\n  \
        tidegate plugin remove sha256:12ab34cd56ef\n\n\
        A version that a pipeline ran with last, by the tidegate.lock here, is kept unless --force is given.")]
    Remove {
        /// Name and version, or the beginning of the digest
        #[arg(value_name = "NAME@VERSION|DIGEST")]
        what: String,

        /// Though a pipeline ran with it last
        #[arg(long)]
        force: bool,
    },
    /// Go back to the version that was in use before
    #[command(after_help = "Examples:\n  \
        tidegate plugin rollback pages\n\n\
        The version in use is kept, and no pipeline gets it any more, whatever version it asks for. \
        To go forward again, install its file again.")]
    Rollback {
        /// The connector's name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Say that a component must never run again
    #[command(after_help = "Examples:\n  \
        tidegate plugin revoke pages@1.2.0 --reason \"leaks rows\"\n  \
        tidegate plugin revoke sha256:<64 digits>\n\n\
        A digest need not be installed: what is revoked is refused however it arrives.")]
    Revoke {
        /// Name and version of an installed connector, or a digest
        #[arg(value_name = "NAME@VERSION|DIGEST")]
        what: String,

        /// Why, for whoever meets it
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Sign a component, so that others can tell it is yours
    #[command(after_help = "Examples:\n  \
        tidegate plugin sign pages.wasm --key ~/publisher.key\n  \
        minisign -V -m pages.wasm -p publisher.pub\n\n\
        The signature is in the format of minisign, and states what the component requests. \
        Without a terminal, the key's password is read from standard input.")]
    Sign {
        /// The component
        #[arg(value_name = "FILE.wasm")]
        file: PathBuf,

        /// The secret key, as `keygen` or minisign wrote it
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Make a key to sign with
    #[command(after_help = "Examples:\n  \
        tidegate plugin keygen ~/publisher            a key to sign with\n  \
        tidegate plugin keygen ci --no-password       for machines\n\n\
        Without a terminal, the password is read from standard input.")]
    Keygen {
        /// Where to write, without an ending
        #[arg(value_name = "FILE")]
        stem: PathBuf,

        /// Do not protect the secret key by a password
        #[arg(long)]
        no_password: bool,
    },
    /// Whose signatures count
    #[command(after_help = "Examples:\n  \
        tidegate plugin trust add acme.pub --name \"Acme Data\"\n  \
        tidegate plugin trust list\n  \
        tidegate plugin trust remove \"Acme Data\"\n\n\
        Trust is yours, not a project's: it is kept in ~/.config/tidegate/publishers.")]
    Trust {
        #[command(subcommand)]
        verb: trust::Verb,
    },
}

impl Plugin {
    pub fn execute(&self, cx: &Context) -> Result<Reply> {
        let data_dir = DataDir::open(absolute(&data_root(Path::new("."), cx.data_dir()))?)?;
        match &self.verb {
            Verb::List => {
                Operator::may_look(&data_dir, Action::PluginList)?;
                list::list(cx, &data_dir)
            }
            Verb::Inspect { what, docs: false } => inspect::inspect(cx, &data_dir, what),
            Verb::Inspect { what, docs: true } => docs::docs(cx, &data_dir, what),
            Verb::Install(install) => install.execute(cx, &data_dir),
            Verb::Verify { name } => {
                Operator::may_look(&data_dir, Action::PluginList)?;
                verify::verify(cx, &data_dir, name.as_deref())
            }
            Verb::Remove { what, force } => withdraw::remove(&data_dir, what, *force),
            Verb::Rollback { name } => withdraw::rollback(&data_dir, name),
            Verb::Revoke { what, reason } => withdraw::revoke(&data_dir, what, reason.as_deref()),
            Verb::Sign { file, key } => sign::sign(cx, file, key),
            Verb::Keygen { stem, no_password } => sign::keygen(cx, stem, *no_password),
            Verb::Trust { verb } => trust::execute(&data_dir, verb),
        }
    }
}
