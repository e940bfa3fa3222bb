//! Which connectors there are: those that come with this binary, and the components in `.tidegate/plugins`.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use tidegate_infrastructure::{DataDir, files};
use tidegate_model::{Code, ComponentRef, ConnectorRequirement, Fault, Result, list, nearest};
use tidegate_sandbox::{Inspection, digest, inspect};

/// First-party connectors, built for Wasm by the build script, and their digests.
const EMBEDDED: [(&[u8], &str); 1] =
    [(include_bytes!(env!("TIDEGATE_CONNECTOR_FILES")), env!("TIDEGATE_CONNECTOR_FILES_DIGEST"))];

/// A component that can be used, looked at but not run.
pub struct Plugin {
    pub component: ComponentRef,
    pub inspection: Inspection,
    pub origin: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It came with this binary.
    FirstParty,
    /// It lies in the plugins folder.
    Installed,
    /// A path led to it.
    File,
}

impl Origin {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FirstParty => "first party",
            Self::Installed => "installed",
            Self::File => "file",
        }
    }
}

/// The component that a pipeline asks for, not validated: the worker does that, before it compiles it for the
/// first time. `folder` is where a path starts.
pub fn resolve(requirement: &ConnectorRequirement, folder: &Path, data_dir: &DataDir) -> Result<Plugin> {
    let (name, version) = match requirement {
        ConnectorRequirement::File(path) => return open(&folder.join(path)),
        ConnectorRequirement::Installed { name, version, .. } => (name, version),
    };
    let mut all = installed(data_dir)?;
    if let Some(position) = all
        .iter()
        .position(|plugin| plugin.component.name == *name && version.matches(&plugin.component.version))
    {
        return Ok(all.swap_remove(position));
    }
    let versions: Vec<String> = all
        .iter()
        .filter(|plugin| plugin.component.name == *name)
        .map(|plugin| plugin.component.version.to_string())
        .collect();
    let fault = |message| Fault::user(Code::NoConnector, message);
    if let Some(newest) = versions.first() {
        return Err(fault(format!("no version of `{name}` that is there fits `{requirement}`"))
            .help(format!("it is there in version {}: write `{name}@{newest}`", list(&versions))));
    }
    let names = all.iter().map(|plugin| plugin.component.name.as_str());
    let fault = fault(format!("there is no connector `{name}`"));
    Err(match nearest(name, names) {
        Some(near) => fault.help(format!("did you mean `{near}`? `tidegate plugin list` shows them all")),
        None => fault.help(format!(
            "put a component into {}, or write its path, such as `./{name}.wasm`",
            data_dir.root().join("plugins").display()
        )),
    })
}

/// What somebody means who types a path or a name: `./pages.wasm`, `files`, `files@0.1`. Validated, code and
/// all.
pub fn find(what: &str, data_dir: &DataDir) -> Result<Plugin> {
    let path = Path::new(what);
    let plugin = if path.exists() {
        open(path)?
    } else {
        let requirement = ConnectorRequirement::try_from(what.to_owned())
            .map_err(|why| Fault::user(Code::BadUsage, why))?;
        resolve(&requirement, Path::new("."), data_dir)?
    };
    let path = &plugin.component.path;
    inspect(&files::read(path)?).map_err(|fault| refused(fault, path))?;
    Ok(plugin)
}

/// All of them, by name, the newest version first, ours before others of the same version.
pub fn installed(data_dir: &DataDir) -> Result<Vec<Plugin>> {
    let mut plugins = EMBEDDED
        .map(|(bytes, digest)| embedded(bytes, digest, data_dir))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let folder = data_dir.plugins_dir()?;
    for path in
        files::list(&folder)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "wasm"))
    {
        plugins.push(Plugin { origin: Origin::Installed, ..open(&path)? });
    }
    plugins.sort_by(|a, b| {
        let order =
            |plugin: &Plugin| (plugin.component.name.clone(), Reverse(plugin.component.version.clone()));
        order(a).cmp(&order(b))
    });
    Ok(plugins)
}

/// A component at a path.
fn open(path: &Path) -> Result<Plugin> {
    let bytes = files::read(path).map_err(|fault| {
        Fault::user(Code::NoConnector, fault.message).help("check the path of the component")
    })?;
    let inspection = Inspection::read(&bytes, digest(&bytes)).map_err(|fault| refused(fault, path))?;
    let path = crate::project::absolute(path)?;
    Ok(Plugin { component: reference(&inspection, path), inspection, origin: Origin::File })
}

/// A file that cannot be used, by whatever is known of it: something to do about it comes with every such
/// fault.
fn refused(fault: Fault, path: &Path) -> Fault {
    let fault = fault.at(path.display().to_string(), None, None);
    match (fault.code, &fault.help) {
        (Code::NotAComponent, None) => fault.help(
            "give a component, as `cargo build --target wasm32-wasip2` makes it: a file that ends in `.wasm`",
        ),
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

fn reference(inspection: &Inspection, path: PathBuf) -> ComponentRef {
    ComponentRef {
        name: inspection.manifest.name.clone(),
        version: inspection.manifest.version.clone(),
        digest: inspection.digest.clone(),
        path,
    }
}
