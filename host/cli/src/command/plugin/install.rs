use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use tidegate_infrastructure::{DataDir, clock, files};
use tidegate_model::{Code, ConnectorRequirement, Fault, Manifest, Result, short_digest, tame};
use tidegate_permission::{Action, Change, Installed, Principal, Resource, State, request_difference};
use tidegate_sandbox::{Inspection, digest, inspect};

use super::{Context, spec};
use crate::operator::Operator;
use crate::plugins::{self, Origin, Plugin, Shelf, Vouched};
use crate::project::absolute;
use crate::render::{Paint, bytes};
use crate::terminal::Reply;

#[derive(Debug, Args)]
pub struct Install {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,

    /// Its signature [default: FILE.wasm.minisig, if there is one]
    #[arg(long, value_name = "FILE.minisig")]
    signature: Option<PathBuf>,

    /// In place of another file of the same name and version; that one is kept, and can be gone back to
    #[arg(long)]
    replace: bool,
}

/// What there was before a component came.
struct Before {
    /// The digest that its name led to.
    digest: String,
    version: semver::Version,
    changes: Vec<Change>,
}

impl Before {
    fn is_asked_more(&self) -> bool {
        self.changes.iter().any(Change::asks_more)
    }
}

impl Install {
    pub fn execute(&self, cx: &Context, data_dir: &DataDir) -> Result<Reply> {
        let wasm = plugins::read(&self.file)?;
        let digest = digest(&wasm);
        let operator = Operator::new(data_dir, None)?;
        operator.may(Action::PluginInstall, &Resource::Plugin(digest.clone()))?;

        // Cheap questions first: nothing of the component is run or compiled before they are answered.
        let inspection = inspect(&wasm).map_err(|fault| plugins::refused(fault, &self.file))?;
        let signature = self.signature()?;
        let trust = plugins::trust()?;
        let vouched = Vouched::of(signature.as_deref(), &wasm, &inspection, &trust)
            .map_err(|fault| fault.at(self.file.display().to_string(), None, None))?;
        let component = plugins::reference(&inspection, absolute(&self.file)?);
        let plugin = Plugin { component, inspection, origin: Origin::File };
        plugins::may_load(&operator, &plugin)?;
        let shelf = Shelf::of(data_dir)?;
        let records = shelf.records()?;
        if let Some(reply) = first_party(&plugin, data_dir)? {
            return Ok(reply);
        }
        let known = shelf.record(&digest)?;
        let rivals = self.rivals(&plugin.inspection, &records, known.as_ref())?;
        let before = before(&plugin.inspection.manifest, data_dir)?;
        spec::spec(cx, &plugin, data_dir).map_err(|fault| plugins::refused(fault, &self.file))?;

        let news = known.is_none();
        let record = match known {
            Some(known) => known_again(known, signature, &vouched),
            None => {
                self.record(&plugin.inspection, signature, &vouched, before.as_ref(), operator.principal())?
            }
        };
        let vouched = Vouched::of(record.signature.as_deref(), &wasm, &plugin.inspection, &trust)?;
        shelf.keep(&record, &wasm)?;
        for rival in rivals.iter().filter(|rival| rival.is_current()) {
            shelf.supersede(rival, Some(&record.digest))?;
        }
        let stray = absolute(&self.file)?;
        if shelf.holds(&stray) && stray != shelf.file(&record.digest) {
            files::remove(stray)?;
        }
        Ok(reply(&record, &vouched, before.as_ref(), news, cx.terminal.paint()))
    }

    fn signature(&self) -> Result<Option<String>> {
        match &self.signature {
            Some(path) => plugins::signature(path).map(Some),
            None => plugins::signature_beside(&self.file),
        }
    }

    /// Other files of the same name and version, which `--replace` puts aside. A file that took their place
    /// already needs no word again.
    fn rivals(
        &self,
        inspection: &Inspection,
        records: &[Installed],
        known: Option<&Installed>,
    ) -> Result<Vec<Installed>> {
        let Manifest { name, version, .. } = &inspection.manifest;
        let is_rival = |record: &&Installed| {
            record.name == *name && record.version == *version && record.digest != inspection.digest
        };
        let rivals: Vec<Installed> = records.iter().filter(is_rival).cloned().collect();
        match rivals.first() {
            Some(rival) if !self.replace && !known.is_some_and(Installed::is_current) => {
                let message = format!(
                    "another file is installed as {name} {version}: {}, by {} from {}",
                    short_digest(&rival.digest),
                    rival.installed_by,
                    tame(&rival.installed_from),
                );
                Err(Fault::user(Code::NoPlugin, message)
                    .help("give this one another version, or put it in the place of that one with --replace"))
            }
            _ => Ok(rivals),
        }
    }

    fn record(
        &self,
        inspection: &Inspection,
        signature: Option<String>,
        vouched: &Vouched,
        before: Option<&Before>,
        by: &Principal,
    ) -> Result<Installed> {
        let Inspection { manifest, digest, size, contract, .. } = inspection;
        Ok(Installed {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            digest: digest.clone(),
            size: *size,
            contract: contract.clone(),
            world: manifest.world,
            capabilities: manifest.capabilities.clone(),
            state: State::Current,
            installed_by: by.to_string(),
            installed_at: clock::now(),
            installed_from: self.file.display().to_string(),
            origin: absolute(&self.file)?.display().to_string(),
            signature,
            signed_by: vouched.signer().cloned(),
            asks_more_than: before
                .filter(|before| before.is_asked_more())
                .map(|before| before.digest.clone()),
        })
    }
}

/// What is known of how it came stays. A signature may come later than its file; one that says nothing does not
/// take the place of one that counts.
fn known_again(known: Installed, signature: Option<String>, vouched: &Vouched) -> Installed {
    let known = Installed { state: State::Current, ..known };
    match (vouched.signer(), &known.signed_by) {
        (Some(signer), _) => Installed { signature, signed_by: Some(signer.clone()), ..known },
        (None, None) if signature.is_some() => Installed { signature, ..known },
        (None, _) => known,
    }
}

/// What comes with this binary needs no installation, and nobody can take its place under its version.
fn first_party(plugin: &Plugin, data_dir: &DataDir) -> Result<Option<Reply>> {
    let Plugin { component, .. } = plugin;
    let own = plugins::first_party(data_dir)?;
    let same = own
        .iter()
        .find(|own| own.component.name == component.name && own.component.version == component.version);
    let name = format!("{} {}", component.name, component.version);
    match same {
        None => Ok(None),
        Some(own) if own.component.digest == component.digest => Ok(Some(Reply::new(
            format!("{name} comes with this binary: nothing is to be installed.\n"),
            json!({ "installed": false, "first_party": true, "digest": component.digest }),
        ))),
        Some(_) => Err(Fault::user(Code::NoPlugin, format!("another file comes with this binary as {name}"))
            .help("give this one another name or version")),
    }
}

/// What the name led to before, and how this request differs from that one's.
fn before(manifest: &Manifest, data_dir: &DataDir) -> Result<Option<Before>> {
    let any = ConnectorRequirement::try_from(manifest.name.clone())
        .map_err(|why| Fault::internal(Code::Bug, why))?;
    match plugins::resolve(&any, Path::new("."), data_dir) {
        Ok(old) => Ok(Some(Before {
            changes: request_difference(&old.inspection.manifest, manifest),
            digest: old.component.digest,
            version: old.component.version,
        })),
        // The first of its name; or the one before cannot be read any more, which must not keep the next away.
        Err(fault) if matches!(fault.code, Code::NoConnector | Code::DigestMismatch) => Ok(None),
        Err(fault) => Err(fault),
    }
}

fn reply(record: &Installed, vouched: &Vouched, before: Option<&Before>, news: bool, paint: Paint) -> Reply {
    let name = format!("{} {}", record.name, record.version);
    let head = if news { "Installed" } else { "Installed already:" };
    let mut text = format!(
        "{head} {} ({}), {}\n  {}\n",
        paint.bold(&name),
        short_digest(&record.digest),
        bytes(record.size),
        said(vouched, paint),
    );
    let before = before.filter(|before| before.digest != record.digest);
    if let Some(before) = before.filter(|before| !before.changes.is_empty()) {
        let asks = if before.is_asked_more() {
            paint.yellow("It asks for more than")
        } else {
            "It asks for less than".to_owned()
        };
        text.push_str(&format!("{asks} {} {}, which was in use:\n", record.name, before.version));
        for change in &before.changes {
            text.push_str(&format!("  {change}\n"));
        }
    }
    if let Some(before) = before.filter(|before| before.version > record.version) {
        text.push_str(&format!(
            "{} {} stays the one that `{}` without a version leads to.\n",
            record.name, before.version, record.name
        ));
    }
    let document = json!({
        "installed": news,
        "record": record,
        "signature": vouched.document(),
        "before": before.map(|before| json!({
            "version": before.version,
            "digest": before.digest,
            "changes": before.changes,
            "asks_more": before.is_asked_more(),
        })),
    });
    Reply::new(text, document)
}

fn said(vouched: &Vouched, paint: Paint) -> String {
    let words = tame(&vouched.in_words());
    match vouched {
        Vouched::By { .. } => paint.green(&words),
        Vouched::Unsigned | Vouched::Stranger { .. } => paint.yellow(&words),
    }
}
