//! Which connectors there are: those that come with this binary, and those that somebody installed.
//!
//! A pipeline names a connector and a requirement on its version. It gets the newest current version that
//! fits; ours before others of the same version. A version that was rolled back or replaced is not current: no
//! requirement leads to it, an exact one neither, until it is installed again.

mod meant;
mod shelf;
mod vouched;

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use tidegate_infrastructure::{DataDir, files};
use tidegate_model::{
    Code, ComponentRef, ConnectorRequirement, Fault, PublisherRef, Result, list, nearest, short_digest,
};
use tidegate_permission::{Action, Installed, Publisher, Resource};
use tidegate_sandbox::{Inspection, LARGEST_COMPONENT, Mismatch, digest, examine, inspect};

use crate::operator::Operator;
use crate::project::absolute;

pub use meant::meant;
pub use shelf::Shelf;
pub use vouched::{Vouched, signature, signature_beside, trust};

/// First-party connectors, built for Wasm by the build script, and their digests.
const EMBEDDED: [(&[u8], &str); 1] =
    [(include_bytes!(env!("TIDEGATE_CONNECTOR_FILES")), env!("TIDEGATE_CONNECTOR_FILES_DIGEST"))];

/// A component that can be used, looked at but not run.
pub struct Plugin {
    pub component: ComponentRef,
    pub inspection: Inspection,
    pub origin: Origin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It came with this binary.
    FirstParty,
    /// Somebody installed it.
    Installed(Box<Installed>),
    /// A path led to it.
    File,
}

impl Origin {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::FirstParty => "first party",
            Self::Installed(_) => "installed",
            Self::File => "file",
        }
    }

    pub fn record(&self) -> Option<&Installed> {
        match self {
            Self::Installed(record) => Some(record),
            Self::FirstParty | Self::File => None,
        }
    }
}

/// The component that a pipeline asks for, not validated: the worker does that, before it compiles it for the
/// first time. `folder` is where a path starts. Whether it may be loaded is a question of its own:
/// [`may_load`].
pub fn resolve(requirement: &ConnectorRequirement, folder: &Path, data_dir: &DataDir) -> Result<Plugin> {
    let (name, version) = match requirement {
        ConnectorRequirement::File(path) => return open(&folder.join(path)),
        ConnectorRequirement::Installed { name, version, .. } => (name, version),
    };
    let shelf = Shelf::of(data_dir)?;
    let records = shelf.records()?;
    let mut own = first_party(data_dir)?;
    let fits = |found: &str, of: &semver::Version| found == name && version.matches(of);
    let ours = own
        .iter()
        .enumerate()
        .filter(|(_, plugin)| fits(&plugin.component.name, &plugin.component.version))
        .max_by_key(|(_, plugin)| plugin.component.version.clone())
        .map(|(at, plugin)| (at, plugin.component.version.clone()));
    // The newest comes first; of two files of one version the later.
    let theirs = records.iter().find(|record| record.is_current() && fits(&record.name, &record.version));
    match (ours, theirs) {
        (Some((at, version)), Some(record)) if version >= record.version => Ok(own.swap_remove(at)),
        (_, Some(record)) => open_installed(&shelf, record),
        (Some((at, _)), None) => Ok(own.swap_remove(at)),
        (None, None) => Err(unresolved(requirement, name, version, &own, &records, &shelf)),
    }
}

/// Installed components that a requirement fits too, older than this version; the newest first.
pub fn older(
    requirement: &ConnectorRequirement,
    than: &semver::Version,
    data_dir: &DataDir,
) -> Result<Vec<Plugin>> {
    let ConnectorRequirement::Installed { name, version, .. } = requirement else { return Ok(Vec::new()) };
    let shelf = Shelf::of(data_dir)?;
    let records = shelf.records()?;
    let fits = |record: &&Installed| {
        record.is_current()
            && record.name == *name
            && version.matches(&record.version)
            && record.version < *than
    };
    records.iter().filter(fits).map(|record| open_installed(&shelf, record)).collect()
}

/// Whether somebody who runs a command may load this component; the answer is no for one that was revoked.
pub fn may_load(operator: &Operator, plugin: &Plugin) -> Result<()> {
    operator.may(Action::PluginLoad, &Resource::Plugin(plugin.component.digest.clone())).map_err(|fault| {
        match fault.code {
            Code::PluginRevoked => fault.help(format!(
                "nothing runs it any more; `tidegate plugin rollback {}` makes the version before it the current one, and a newer one can be installed",
                plugin.component.name
            )),
            _ => fault,
        }
    })
}

fn unresolved(
    requirement: &ConnectorRequirement,
    name: &str,
    version: &semver::VersionReq,
    own: &[Plugin],
    records: &[Installed],
    shelf: &Shelf,
) -> Fault {
    let fault = |message| Fault::user(Code::NoConnector, message);
    let named: Vec<&Installed> = records.iter().filter(|record| record.name == name).collect();
    let mut versions: Vec<&semver::Version> = own
        .iter()
        .filter(|plugin| plugin.component.name == name)
        .map(|plugin| &plugin.component.version)
        .chain(named.iter().filter(|record| record.is_current()).map(|record| &record.version))
        .collect();
    versions.sort_by_key(|version| Reverse(*version));
    let newest = versions.first().map(|newest| format!("write `{name}@{newest}`"));
    if let Some(record) = named.iter().find(|record| !record.is_current() && version.matches(&record.version))
    {
        let again = format!(
            "`tidegate plugin install {}` makes it the current one again",
            shelf.file(&record.digest).display()
        );
        return fault(format!("`{name}` {} was rolled back or replaced", record.version))
            .help([newest, Some(again)].into_iter().flatten().collect::<Vec<_>>().join("; "));
    }
    if let Some(newest) = newest {
        let there: Vec<String> = versions.iter().map(ToString::to_string).collect();
        return fault(format!("no version of `{name}` that is there fits `{requirement}`"))
            .help(format!("it is there in version {}: {newest}", list(&there)));
    }
    // Slow, and only for somebody who is stuck.
    let stray = shelf
        .strays()
        .unwrap_or_default()
        .into_iter()
        .find(|path| open(path).is_ok_and(|plugin| plugin.component.name == name));
    if let Some(path) = stray {
        return fault(format!("`{name}` lies in the plugins folder, and nobody installed it"))
            .help(format!("tidegate plugin install {}", path.display()));
    }
    let names = own.iter().map(|plugin| plugin.component.name.as_str());
    let names = names.chain(records.iter().map(|record| record.name.as_str()));
    let fault = fault(format!("there is no connector `{name}`"));
    match nearest(name, names) {
        Some(near) => fault.help(format!("did you mean `{near}`? `tidegate plugin list` shows them all")),
        None => fault.help(format!(
            "install one with `tidegate plugin install {name}.wasm`, or write its path, such as `./{name}.wasm`"
        )),
    }
}

/// What somebody means who types a path, a name or a digest: `./pages.wasm`, `files`, `files@0.1`,
/// `sha256:12ab34cd`. Validated, code and all; refused where its request and its imports do not agree.
pub fn find(what: &str, data_dir: &DataDir) -> Result<Plugin> {
    let (plugin, bytes) = lookup(what, data_dir)?;
    inspect(&bytes).map_err(|fault| refused(fault, &plugin.component.path))?;
    Ok(plugin)
}

/// The same to look at: what does not agree is given beside it.
pub fn find_to_see(what: &str, data_dir: &DataDir) -> Result<(Plugin, Vec<Mismatch>, Vec<u8>)> {
    let (plugin, bytes) = lookup(what, data_dir)?;
    let (_, mismatches) = examine(&bytes).map_err(|fault| refused(fault, &plugin.component.path))?;
    Ok((plugin, mismatches, bytes))
}

fn lookup(what: &str, data_dir: &DataDir) -> Result<(Plugin, Vec<u8>)> {
    let path = Path::new(what);
    if path.exists() && !path.is_dir() {
        return open_to_see(path);
    }
    let plugin = if what.starts_with("sha256:") {
        let shelf = Shelf::of(data_dir)?;
        open_installed(&shelf, &meant::by_digest(what, &shelf.records()?)?)?
    } else {
        let requirement = ConnectorRequirement::try_from(what.to_owned())
            .map_err(|why| Fault::user(Code::BadUsage, why))?;
        resolve(&requirement, Path::new("."), data_dir)?
    };
    let bytes = read(&plugin.component.path)?;
    Ok((plugin, bytes))
}

/// Those that came with this binary.
pub fn first_party(data_dir: &DataDir) -> Result<Vec<Plugin>> {
    EMBEDDED.map(|(bytes, digest)| embedded(bytes, digest, data_dir)).into_iter().collect()
}

/// A component's bytes, of no more than a component can have.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = files::read_at_most(path, LARGEST_COMPONENT).map_err(|fault| {
        Fault::user(Code::NoConnector, fault.message).help("check the path of the component")
    })?;
    bytes.ok_or_else(|| {
        let message = format!("this is not a component: it has more than {} MiB", LARGEST_COMPONENT >> 20);
        refused(Fault::user(Code::NotAComponent, message), path)
    })
}

/// An installed component, which must still be the file that was installed.
pub fn open_installed(shelf: &Shelf, record: &Installed) -> Result<Plugin> {
    let path = shelf.file(&record.digest);
    let bytes = read(&path)?;
    let found = digest(&bytes);
    if found != record.digest {
        let message = format!(
            "`{}` {} is not the file that was installed: its digest is {}",
            record.name,
            record.version,
            short_digest(&found)
        );
        return Err(Fault::user(Code::DigestMismatch, message)
            .help(format!(
                "`tidegate plugin verify` looks at all of them; install it again from {}",
                record.origin
            ))
            .at(path.display().to_string(), None, None));
    }
    let inspection = Inspection::read(&bytes, found).map_err(|fault| refused(fault, &path))?;
    let origin = Origin::Installed(Box::new(record.clone()));
    // Not what the record says of it: whoever can write there could say anything.
    let vouched = Vouched::of(record.signature.as_deref(), &bytes, &inspection, &trust()?)
        .map_err(|fault| refused(fault, &path))?;
    let publisher = vouched.signer().map(|signer| signer.publisher.clone());
    let publisher = publisher.map(|Publisher { name, key_id }| PublisherRef { name, key: key_id });
    let component = ComponentRef { publisher, ..reference(&inspection, absolute(&path)?) };
    Ok(Plugin { component, inspection, origin })
}

/// A component at a path.
fn open(path: &Path) -> Result<Plugin> {
    let bytes = read(path)?;
    let inspection = Inspection::read(&bytes, digest(&bytes)).map_err(|fault| refused(fault, path))?;
    let path = absolute(path)?;
    Ok(Plugin { component: reference(&inspection, path), inspection, origin: Origin::File })
}

/// A component at a path, whether its request agrees with its imports or not.
fn open_to_see(path: &Path) -> Result<(Plugin, Vec<u8>)> {
    let bytes = read(path)?;
    let (inspection, _) = Inspection::look(&bytes, digest(&bytes)).map_err(|fault| refused(fault, path))?;
    let path = absolute(path)?;
    Ok((Plugin { component: reference(&inspection, path), inspection, origin: Origin::File }, bytes))
}

/// A file that cannot be used, by whatever is known of it: something to do about it comes with every such
/// fault.
pub fn refused(fault: Fault, path: &Path) -> Fault {
    let fault = fault.at(path.display().to_string(), None, None);
    match (fault.code, &fault.help) {
        (Code::NotAComponent, None) => fault.help(
            "give a component, as `cargo build --target wasm32-wasip2` makes it: a file that ends in `.wasm`",
        ),
        (Code::ForbiddenImport, None) => {
            fault.help(format!("`tidegate plugin inspect {}` shows all that does not agree", path.display()))
        }
        _ => fault,
    }
}

/// Workers open components by path, so ours are written out where the platform keeps what can be made again.
fn embedded(bytes: &[u8], digest: &str, data_dir: &DataDir) -> Result<Plugin> {
    let inspection = Inspection::read(bytes, format!("sha256:{digest}"))?;
    let path = data_dir.cache_dir()?.join(format!("{digest}.wasm"));
    if !path.exists() {
        files::write_atomic(&path, bytes, files::Access::Owner)?;
    }
    Ok(Plugin { component: reference(&inspection, path), inspection, origin: Origin::FirstParty })
}

pub fn reference(inspection: &Inspection, path: PathBuf) -> ComponentRef {
    ComponentRef {
        name: inspection.manifest.name.clone(),
        version: inspection.manifest.version.clone(),
        digest: inspection.digest.clone(),
        path,
        publisher: None,
    }
}
