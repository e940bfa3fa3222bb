//! `tidegate secret`: values that connectors have used and never see.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tidegate_infrastructure::DataDir;
use tidegate_model::{Code, Fault, Result, SecretRef};
use tidegate_permission::{Action, EncryptedStore, Listed, Resource, Revision, Secret as Hidden};
use zeroize::Zeroizing;

use super::Context;
use crate::operator::Operator;
use crate::project::{absolute, data_root};
use crate::render::{Align, Table, plural};
use crate::secrets;
use crate::terminal::Reply;

/// Keep secrets, encrypted, for pipelines to name
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tidegate secret set prod/token              asks for it, without showing it\n  \
    tidegate secret set prod/token < token.txt  less the line break at the end\n  \
    tidegate secret rotate prod/token           a new value for one that is kept\n  \
    tidegate secret list --json | jq '.secrets[].name'\n\n\
    A pipeline file names them, and never holds them: `secrets: { token: store:prod/token }` below `extract`.\n\n\
    They are kept in `.tidegate`, sealed with a key that is in `~/.config/tidegate/secrets.key`, or in the file that \
    TIDEGATE_SECRETS_KEY_FILE names. Without that key nobody can read them: keep a copy.")]
pub struct Secret {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Keep a secret, whether there is one of that name or not
    Set(Named),
    /// Which there are: name, version, when it was written and by whom
    List,
    /// Give one that is there a new value
    Rotate(Named),
    /// Forget one
    Remove {
        /// Its name
        name: String,
    },
    /// Seal all of them with a new key, and forget the old one
    ///
    /// Copies and backups of the store that were made before can only be read with the old key: keep a copy of the
    /// key file with them if you want to.
    Rekey,
}

#[derive(Debug, Args)]
struct Named {
    /// Its name: letters, digits and `-_./`
    name: String,

    /// Refused: everybody on this machine can read the arguments of a command
    #[arg(hide = true)]
    value: Vec<OsString>,
}

impl Secret {
    pub fn execute(&self, cx: &Context) -> Result<Reply> {
        match &self.verb {
            Verb::Set(named) => set(cx, named),
            Verb::List => list(cx),
            Verb::Rotate(named) => rotate(cx, named),
            Verb::Remove { name } => remove(cx, name),
            Verb::Rekey => rekey(cx),
        }
    }
}

fn set(cx: &Context, named: &Named) -> Result<Reply> {
    let (name, resource) = named.check()?;
    let place = Place::open(cx)?;
    place.operator.may(Action::SecretWrite, &resource)?;
    let revision = place.store.set(name, &value(name)?, place.operator.principal())?;
    let text =
        format!("Kept `{name}`, version {}. A pipeline file names it `store:{name}`.\n", revision.version);
    Ok(Reply::new(text, written(name, &revision)))
}

fn rotate(cx: &Context, named: &Named) -> Result<Reply> {
    let (name, resource) = named.check()?;
    let place = Place::open(cx)?;
    place.operator.may(Action::SecretWrite, &resource)?;
    // Before anybody types a value for nothing.
    let before = place.store.revision(name)?;
    let revision = place.store.swap(name, &value(name)?, place.operator.principal(), &before)?;
    let text = format!("Kept a new value of `{name}`, version {}.\n", revision.version);
    Ok(Reply::new(text, written(name, &revision)))
}

fn list(cx: &Context) -> Result<Reply> {
    let root = root(cx)?;
    let mut kept = Vec::new();
    // To look does not bring a store into being.
    if root.is_dir() {
        let place = Place::open(cx)?;
        place.operator.may(Action::SecretList, &Resource::Store)?;
        if secrets::is_there(&place.data_dir) {
            kept = place.store.names()?;
        }
    }
    let text =
        if kept.is_empty() { format!("No secrets are kept in {}.\n", root.display()) } else { table(&kept) };
    let documents: Vec<Value> = kept.iter().map(document).collect();
    Ok(Reply::new(text, json!({ "secrets": documents })))
}

fn remove(cx: &Context, name: &str) -> Result<Reply> {
    let (name, resource) = reference(name)?;
    let place = Place::open(cx)?;
    place.operator.may(Action::SecretRemove, &resource)?;
    place.store.forget(name)?;
    Ok(Reply::new(format!("Forgotten: `{name}`.\n"), json!({ "name": name, "removed": true })))
}

fn rekey(cx: &Context) -> Result<Reply> {
    let place = Place::open(cx)?;
    place.operator.may(Action::SecretRekey, &Resource::Store)?;
    let (number, keys) = place.store.rekey()?;
    let text = format!(
        "{} sealed with a new key, which is in {}. Copies of the store that were made before need the old one.\n",
        plural(number as u64, "secret"),
        keys.display()
    );
    Ok(Reply::new(text, json!({ "secrets": number, "key_file": keys })))
}

/// A data folder, and who works on its secrets.
struct Place {
    data_dir: DataDir,
    operator: Operator,
    store: EncryptedStore,
}

impl Place {
    fn open(cx: &Context) -> Result<Self> {
        let data_dir = DataDir::open(root(cx)?)?;
        let operator = Operator::new(&data_dir, None)?;
        let store = secrets::store(&data_dir)?;
        Ok(Self { data_dir, operator, store })
    }
}

fn root(cx: &Context) -> Result<std::path::PathBuf> {
    absolute(&data_root(Path::new("."), cx.data_dir()))
}

impl Named {
    fn check(&self) -> Result<(&str, Resource)> {
        if !self.value.is_empty() {
            let why =
                "a secret's value is never an argument: others can see it there, and your shell remembers it";
            return Err(Fault::user(Code::BadUsage, why).help(
                "type the name alone, and give the value when you are asked; replace the one you typed, where it is from",
            ));
        }
        reference(&self.name)
    }
}

/// A name, also when it is written as pipeline files do.
fn reference(name: &str) -> Result<(&str, Resource)> {
    let name = name.strip_prefix("store:").unwrap_or(name);
    // Not shown: somebody may have typed the secret itself.
    let secret: SecretRef = format!("store:{name}").parse().map_err(|_| {
        Fault::user(Code::BadUsage, "this cannot be the name of a secret")
            .help("a name is 1 to 200 letters, digits and `-_./`, such as `prod/token`")
    })?;
    Ok((name, Resource::Secret(secret)))
}

/// From whoever sits at the terminal, without showing it; else all of standard input, less one line break.
fn value(name: &str) -> Result<Hidden> {
    let fault = |error: io::Error| {
        Fault::external(Code::Storage, format!("the secret's value cannot be read: {error}"))
    };
    let text = if io::stdin().is_terminal() {
        let question = format!("Value of `{name}` (it is not shown): ");
        Zeroizing::new(rpassword::prompt_password(question).map_err(fault)?.into_bytes())
    } else {
        let most = Hidden::LONGEST + 3;
        let mut text = Zeroizing::new(Vec::with_capacity(most));
        io::stdin().lock().take(most as u64).read_to_end(&mut text).map_err(fault)?;
        text
    };
    Hidden::from_text(text).map_err(|fault| {
        let fault = Fault { code: Code::BadUsage, ..fault };
        fault.help(format!("type it when you are asked, or: tidegate secret set {name} < FILE"))
    })
}

fn table(kept: &[Listed]) -> String {
    let mut table = Table::new([
        ("name", Align::Left),
        ("version", Align::Right),
        ("written", Align::Left),
        ("by", Align::Left),
    ]);
    for Listed { name, revision, by } in kept {
        table.row(vec![name.clone(), revision.version.to_string(), seconds(&revision.written), by.clone()]);
    }
    table.render("")
}

/// `2026-01-02T03:04:05Z`
fn seconds(written: &str) -> String {
    match written.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => written.to_owned(),
    }
}

fn document(Listed { name, revision, by }: &Listed) -> Value {
    json!({ "name": name, "version": revision.version, "written": revision.written, "by": by })
}

fn written(name: &str, revision: &Revision) -> Value {
    json!({ "name": name, "version": revision.version, "written": revision.written })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_told_without_its_value() {
        let kept = |name: &str, version| Listed {
            name: name.into(),
            revision: Revision { version, written: "2026-01-02T03:04:05.678901Z".into() },
            by: "user:alice".into(),
        };
        assert_eq!(
            table(&[kept("prod/token", 12), kept("key", 1)]),
            "\
name        version  written               by
prod/token       12  2026-01-02T03:04:05Z  user:alice
key               1  2026-01-02T03:04:05Z  user:alice
"
        );
    }

    #[test]
    fn a_name_is_checked_and_a_value_is_not_taken() {
        let told = |name: &str, value: &[&str]| {
            let named = Named { name: name.into(), value: value.iter().map(OsString::from).collect() };
            match named.check() {
                Ok((name, resource)) => format!("{name} {resource}"),
                Err(fault) => fault.to_string(),
            }
        };
        for name in ["prod/token", "store:prod/token"] {
            assert_eq!(told(name, &[]), "prod/token secret:store:prod/token");
        }
        for (name, value) in
            [("hunter2!", &[][..]), ("", &[]), ("token=hunter2", &[]), ("token", &["hunter2"])]
        {
            let told = told(name, value);
            assert!(told.starts_with("TG0104: ") && !told.contains("hunter2"), "{told}");
        }
    }
}
