//! Looking at a component without running or compiling it.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use tidegate_model::{
    CONTRACT_VERSION, CapabilityKind, Code, Fault, Manifest, Result, World, check_connector_name, tame,
};
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

use crate::component::digest;
use crate::refusal::clipped;
use crate::wasi;

/// Bytes of a component.
pub const LARGEST_COMPONENT: u64 = 64 << 20;
const SECTION: &str = "tidegate:request";
const MAX_REQUEST: usize = 64 << 10;
const PACKAGE: &str = "tidegate:connector/";
/// Interfaces of the contract that need no permission: they give nothing but a way to answer.
const FREE: &[&str] = &["types", "bytes", "batches", "output", "log"];

/// What a component says of itself, and what it can reach.
#[derive(Debug, Clone)]
pub struct Inspection {
    pub manifest: Manifest,
    /// With their versions, such as `tidegate:connector/files@0.3.0`.
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// In bytes.
    pub size: u64,
    /// The contract's version that the component was built for, such as `0.3.0`.
    pub contract: String,
}

/// Where what a component requests is not what it imports. One is enough to refuse it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// It imports something that no component may have.
    Forbidden(String),
    /// It imports something that the contract does not have.
    Unknown(String),
    /// It imports the interface of a capability, and requests none of that kind.
    NotRequested(CapabilityKind),
    /// It requests a capability, and does not import its interface.
    NotImported(CapabilityKind),
}

/// Refuses whatever is not a valid component of this contract that says what it wants.
pub fn inspect(bytes: &[u8]) -> Result<Inspection> {
    let inspection = Inspection::read(bytes, digest(bytes))?;
    validate(bytes)?;
    Ok(inspection)
}

/// Like [`inspect`], with what does not agree beside the answer; see [`Inspection::look`].
pub fn examine(bytes: &[u8]) -> Result<(Inspection, Vec<Mismatch>)> {
    let examined = Inspection::look(bytes, digest(bytes))?;
    validate(bytes)?;
    Ok(examined)
}

impl Inspection {
    /// What a component says of itself, and whether it may import what it imports. The code itself is passed
    /// over, which makes this cheap: it is for components that were validated before, or will be before they
    /// are compiled. `digest` is that of the bytes.
    pub fn read(bytes: &[u8], digest: String) -> Result<Self> {
        let (inspection, mismatches) = Self::look(bytes, digest)?;
        // Invariant 2: what is imported must be requested, or the component is refused before it is compiled.
        match mismatches.first() {
            Some(mismatch) => Err(mismatch.refusal()),
            None => Ok(inspection),
        }
    }

    /// The same for people who want to see what is wrong: where request and imports do not agree, the answer
    /// says so. Nothing with a mismatch may run.
    pub fn look(bytes: &[u8], digest: String) -> Result<(Self, Vec<Mismatch>)> {
        check_kind(bytes)?;
        let Found { imports, exports, requests } =
            Found::in_component(bytes).map_err(|error| invalid(&error))?;
        let manifest = request(&requests)?;
        let contract = contract(&manifest, &imports, &exports)?;
        check_capabilities(&manifest)?;
        let mismatches = mismatches(&manifest, &imports);
        let size = bytes.len() as u64;
        Ok((Self { manifest, imports, exports, digest, size, contract }, mismatches))
    }
}

/// Every type and every instruction, by the rules of the engine.
pub(crate) fn validate(bytes: &[u8]) -> Result<()> {
    Validator::new_with_features(features()).validate_all(bytes).map_err(|error| invalid(&error))?;
    Ok(())
}

fn check_kind(bytes: &[u8]) -> Result<()> {
    if bytes.len() as u64 > LARGEST_COMPONENT {
        return Err(not_a_component(format!("its {} bytes are more than 64 MiB", bytes.len())));
    }
    if Parser::is_core_wasm(bytes) {
        return Err(not_a_component("this is a core WebAssembly module")
            .help("build it for the target wasm32-wasip2, whose linker makes components"));
    }
    if !Parser::is_component(bytes) {
        return Err(not_a_component("its first bytes are not those of a component"));
    }
    Ok(())
}

/// The engine's features; see `engine.rs`.
fn features() -> WasmFeatures {
    let mut features = WasmFeatures::WASM2 | WasmFeatures::COMPONENT_MODEL;
    features |= WasmFeatures::MULTI_MEMORY | WasmFeatures::EXTENDED_CONST;
    features
}

fn not_a_component(why: impl Into<String>) -> Fault {
    Fault::user(Code::NotAComponent, format!("this is not a component: {}", why.into()))
}

fn invalid(error: &wasmparser::BinaryReaderError) -> Fault {
    not_a_component(format!("it is not valid: {error}"))
}

#[derive(Default)]
struct Found<'a> {
    imports: Vec<String>,
    exports: Vec<String>,
    requests: Vec<&'a [u8]>,
}

impl<'a> Found<'a> {
    fn in_component(bytes: &'a [u8]) -> wasmparser::Result<Self> {
        let mut found = Self::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 1 => {
                    for import in section {
                        found.imports.push(import?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section {
                        found.exports.push(export?.name.name.to_owned());
                    }
                }
                Payload::CustomSection(section) if section.name() == SECTION => {
                    found.requests.push(section.data());
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

fn request(sections: &[&[u8]]) -> Result<Manifest> {
    let bad =
        |why: String| Fault::user(Code::BadRequest, format!("the component's capability request: {why}"));
    let section = match sections {
        [section] => *section,
        [] => {
            return Err(bad(format!("the section `{SECTION}` is missing"))
                .help("the SDK's `export_extractor!` writes it"));
        }
        several => return Err(bad(format!("{} sections `{SECTION}` where one belongs", several.len()))),
    };
    if section.len() > MAX_REQUEST {
        return Err(bad(format!("{} bytes are more than 64 KiB", section.len())));
    }
    // Read the contract's version first: another version's request may have other keys.
    let named: Named = serde_json::from_slice(section).map_err(|error| bad(error.to_string()))?;
    if named.contract != CONTRACT_VERSION {
        return Err(wrong_contract(&named.contract));
    }
    let manifest = serde_json::from_slice(section).map_err(|error| bad(error.to_string()))?;
    check_words(&manifest)?;
    Ok(manifest)
}

/// Every record of what a component does carries its version.
const LONGEST_VERSION: usize = 64;

/// People read these words beside the host's own, and must be able to tell them apart.
fn check_words(manifest: &Manifest) -> Result<()> {
    let bad =
        |why: String| Fault::user(Code::BadRequest, format!("the component's capability request: {why}"));
    let Manifest { name, title, description, publisher, license, capabilities, .. } = manifest;
    check_connector_name(name).map_err(|rule| {
        let name = clipped(&name.escape_debug().to_string(), 200);
        bad(format!("`{name}` cannot be its name: {rule}"))
            .help("give it another with `name:` in the SDK's `export_extractor!`")
    })?;
    if manifest.version.to_string().len() > LONGEST_VERSION {
        return Err(bad(format!("its version has more than {LONGEST_VERSION} characters")));
    }
    let own =
        [("title", title), ("description", description), ("publisher", publisher), ("license", license)];
    let asked = capabilities.iter().flat_map(|capability| {
        let target = capability.target.as_ref().map(|target| ("target", target));
        let place = capability.place.as_ref().map(|place| ("place", place));
        [("id", &capability.id), ("reason", &capability.reason)].into_iter().chain(target).chain(place)
    });
    match own.into_iter().chain(asked).find(|(_, text)| tame(text) != **text || text.contains('\n')) {
        Some((what, _)) => Err(bad(format!("a {what} must be one line of plain text"))),
        None => Ok(()),
    }
}

#[derive(Deserialize)]
struct Named {
    contract: String,
}

fn wrong_contract(theirs: &str) -> Fault {
    Fault::user(
        Code::WrongContract,
        format!("the component was built for version {theirs} of the contract; this host speaks {CONTRACT_VERSION}"),
    )
    .help("build it with the SDK of this version")
}

/// `tidegate:connector/files@0.3.0` is `files` of version `0.3.0`.
fn ours(name: &str) -> Option<(&str, &str)> {
    let rest = name.strip_prefix(PACKAGE)?;
    Some(rest.split_once('@').unwrap_or((rest, "")))
}

fn contract(manifest: &Manifest, imports: &[String], exports: &[String]) -> Result<String> {
    let spoken = |version: &str| {
        version.strip_prefix(CONTRACT_VERSION).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let named = imports.iter().chain(exports).filter_map(|name| ours(name));
    if let Some((_, theirs)) = named.clone().find(|(_, version)| !spoken(version)) {
        return Err(wrong_contract(theirs));
    }
    let wanted = match manifest.world {
        World::Extractor => "extraction",
        World::QualityCheck => "checking",
    };
    exports
        .iter()
        .filter_map(|name| ours(name))
        .find(|(interface, _)| *interface == wanted)
        .map(|(_, version)| version.to_owned())
        .ok_or_else(|| {
            Fault::user(
                Code::WrongContract,
                format!("the component says that it is of another kind than it is: it does not export {PACKAGE}{wanted}"),
            )
        })
}

/// What is imported beside what is requested: what nobody may import first, then what is not requested.
fn mismatches(manifest: &Manifest, imports: &[String]) -> Vec<Mismatch> {
    let mut found = Vec::new();
    let mut imported = BTreeSet::new();
    for name in imports {
        if let Some((interface, _)) = ours(name) {
            match CapabilityKind::ALL.into_iter().find(|kind| kind.interface() == interface) {
                Some(kind) => drop(imported.insert(kind)),
                None if FREE.contains(&interface) => {}
                None => found.push(Mismatch::Unknown(name.clone())),
            }
            continue;
        }
        let (interface, version) = name.split_once('@').unwrap_or((name, ""));
        if wasi::HTTP.contains(&interface) && version.starts_with("0.2.") {
            imported.insert(CapabilityKind::Http);
            continue;
        }
        if !wasi::INTERFACES.contains(&interface) || !version.starts_with("0.2.") {
            found.push(Mismatch::Forbidden(name.clone()));
        }
    }
    let requested: BTreeSet<_> = manifest.capabilities.iter().map(|capability| capability.kind).collect();
    found.extend(imported.difference(&requested).copied().map(Mismatch::NotRequested));
    let unused = requested.difference(&imported).copied().filter(|kind| kind.must_be_imported());
    found.extend(unused.map(Mismatch::NotImported));
    found
}

impl Mismatch {
    fn refusal(&self) -> Fault {
        let code = match self {
            Self::NotImported(_) => Code::BadRequest,
            _ => Code::ForbiddenImport,
        };
        Fault::user(code, format!("the component {self}"))
    }
}

/// Goes on after "the component".
impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden(name) => write!(f, "imports {name}, which no component may have"),
            Self::Unknown(name) => write!(f, "imports {name}, which the contract does not have"),
            Self::NotRequested(kind) => write!(f, "imports `{kind}` but does not request it"),
            Self::NotImported(kind) => {
                write!(f, "requests `{kind}` but does not import it: what it asks for is not what it uses")
            }
        }
    }
}

fn check_capabilities(manifest: &Manifest) -> Result<()> {
    let mut seen = BTreeSet::new();
    for capability in &manifest.capabilities {
        let id = &capability.id;
        let wrong = |why: &str| Fault::user(Code::BadRequest, format!("capability `{id}`: {why}"));
        if id.is_empty() || !seen.insert(id) {
            return Err(wrong("its id is empty, or used twice"));
        }
        if capability.reason.trim().is_empty() {
            return Err(wrong("it gives no reason"));
        }
        if capability.kind.has_target() != capability.target.is_some() {
            let kind = capability.kind;
            let must = if kind.has_target() { "needs" } else { "takes no" };
            return Err(wrong(&format!("`{kind}` {must} target")));
        }
        if (capability.kind == CapabilityKind::Credential) != capability.place.is_some() {
            return Err(wrong("a credential, and nothing else, has a `place`"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_cannot_speak_as_the_host() {
        let told = |name: &str, reason: &str| {
            let text = format!(
                r#"{{"contract": "{CONTRACT_VERSION}", "name": {}, "version": "1.0.0", "world": "extractor",
                    "capabilities": [{{"id": "a", "kind": "decode", "reason": {}}}]}}"#,
                serde_json::json!(name),
                serde_json::json!(reason)
            );
            request(&[text.as_bytes()]).map_or_else(|fault| fault.message, |manifest| manifest.name)
        };
        assert_eq!(told("my-files-2", "reads files"), "my-files-2");
        for name in ["", "Files", "a b", "a\nok: granted", "é", &"a".repeat(64)] {
            assert!(told(name, "x").contains("cannot be its name"), "{name}");
        }
        for reason in ["x\n\nIt asks for nothing else.", "x\u{1b}[2J", "\u{202e}x"] {
            assert!(told("files", reason).contains("a reason must be one line"), "{reason:?}");
        }
    }
}
