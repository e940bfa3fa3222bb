//! The files of a new connector project: the template, and all it needs of Tidegate, carried by this binary.

use std::path::Path;

use include_dir::{Dir, include_dir};
use tidegate_infrastructure::files::{self, Access};
use tidegate_model::{Code, Fault, Result};

static TEMPLATE: Dir = include_dir!("$CARGO_MANIFEST_DIR/../../sdk/template");
static SDK: Dir = include_dir!("$CARGO_MANIFEST_DIR/../../sdk/rust");
static WIT: Dir = include_dir!("$CARGO_MANIFEST_DIR/../../wit");
/// Of all that is vendored.
const LICENSE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../LICENSE"));
/// The workspace's manifest, which says which versions the SDK was tested with.
const WORKSPACE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"));

/// Stands for the connector's name in a template.
const NAME: &str = "{{name}}";
/// Stands for the same name as Rust's compiler writes it into a component's file name.
const CRATE: &str = "{{crate}}";
/// Ends the name of a template whose real name would mean something in our own sources, such as `Cargo.toml`.
const SUFFIX: &str = ".template";

/// Writes a project; how many files.
pub fn write(name: &str, folder: &Path) -> Result<usize> {
    let project = all_files(&TEMPLATE).into_iter().map(|(path, bytes)| {
        let path = path.strip_suffix(SUFFIX).unwrap_or(&path).to_owned();
        Ok((path, fill(text(&bytes)?, name).into_bytes()))
    });
    let sdk = all_files(&SDK).into_iter().map(|(path, bytes)| {
        let bytes = if path == "Cargo.toml" { standalone(text(&bytes)?).into_bytes() } else { bytes };
        // The SDK finds the contract at ../../wit, here as there.
        Ok((format!("vendor/sdk/rust/{path}"), bytes))
    });
    let wit = all_files(&WIT).into_iter().map(|(path, bytes)| Ok((format!("vendor/wit/{path}"), bytes)));
    let license = std::iter::once(Ok(("vendor/LICENSE".to_owned(), LICENSE.as_bytes().to_owned())));
    let files = project.chain(sdk).chain(wit).chain(license).collect::<Result<Vec<_>>>()?;
    for (path, bytes) in &files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            files::create_dir_all(parent)?;
        }
        files::write_atomic(&path, bytes, Access::Usual)?;
    }
    Ok(files.len())
}

fn fill(template: &str, name: &str) -> String {
    template.replace(NAME, name).replace(CRATE, &name.replace('-', "_"))
}

/// Path and content of each file, however deep.
fn all_files(folder: &Dir) -> Vec<(String, Vec<u8>)> {
    let here = folder.files().map(|file| (file.path().display().to_string(), file.contents().to_owned()));
    here.chain(folder.dirs().flat_map(all_files)).collect()
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| Fault::internal(Code::Bug, "a template is not text"))
}

/// A member's manifest without its workspace: each `key.workspace = true` becomes what the workspace says of
/// `key`.
fn standalone(manifest: &str) -> String {
    let inherited = |line: &str| {
        let key = line.strip_suffix(".workspace = true")?;
        WORKSPACE.lines().find(|line| line.split_once(" = ").is_some_and(|(known, _)| known == key))
    };
    let mut text: String = manifest
        .lines()
        .filter(|line| !["[lints]", "workspace = true"].contains(line))
        .map(|line| format!("{}\n", inherited(line).unwrap_or(line)))
        .collect();
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendored_sdk_stands_alone() {
        let manifest = standalone(text(SDK.get_file("Cargo.toml").unwrap().contents()).unwrap());
        assert!(!manifest.contains("workspace"), "{manifest}");
        assert!(!manifest.contains("path ="), "{manifest}");
        assert!(manifest.contains("\nversion = \"0.1.0\"\n"), "{manifest}");
    }

    #[test]
    fn a_project_has_its_name_and_no_placeholder() {
        let folder = tempfile::tempdir().unwrap();
        write("my-pages", folder.path()).unwrap();
        let read = |path: &str| files::read_to_string(folder.path().join(path)).unwrap();
        assert!(read("Cargo.toml").contains("name = \"my-pages\""));
        assert!(read("pipeline.yaml").contains("release/my_pages.wasm"));
        for (path, bytes) in all_files(&TEMPLATE) {
            let written = read(path.strip_suffix(SUFFIX).unwrap_or(&path));
            assert_eq!(written, fill(text(&bytes).unwrap(), "my-pages"));
            assert!(!written.contains(NAME) && !written.contains(CRATE), "{written}");
        }
        assert!(folder.path().join("vendor/wit/worlds.wit").exists());
        assert_eq!(read("vendor/LICENSE"), LICENSE);
    }
}
