//! Builds a connector of this workspace for Wasm from a build script, so that whoever embeds or tests it
//! always has the one that belongs to the sources at hand.
//!
//! Never: builds host code, reaches into the outer build's own files, or lets the outer build's flags leak
//! into a component.

#![expect(clippy::disallowed_methods, reason = "build scripts run before there is a host to ask")]
#![expect(clippy::print_stdout, reason = "that is how a build script talks to Cargo")]

mod cargo;
mod inputs;

use std::path::{Path, PathBuf};

/// The target of every component.
const TARGET: &str = "wasm32-wasip2";
/// The workspace's profile for components.
const PROFILE: &str = "guest";

/// Builds the workspace's `package` as a component and returns the path of its `.wasm`.
///
/// For build scripts only: it reads Cargo's variables, and tells Cargo which files to watch. Those are the
/// sources that went into the component, so that an edit of host code does not start it again.
///
/// # Panics
/// With the compiler's words when the component does not build: that is how a build script fails.
pub fn component(package: &str) -> PathBuf {
    let root = workspace_root(&cargo::variable("CARGO_MANIFEST_DIR"));
    let out_dir = cargo::variable("OUT_DIR");
    let target_dir = outer_target_dir(&out_dir).join("guests");
    if let Err(output) = cargo::build(package, &root, &target_dir) {
        panic!("the component `{package}` does not build:\n\n{output}");
    }
    let stem = target_dir.join(TARGET).join(PROFILE).join(package.replace('-', "_"));
    let watched = inputs::of(&stem.with_extension("d"), &root)
        .unwrap_or_else(|error| panic!("Cargo left no list of `{package}`'s sources: {error}"));
    for path in watched {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    // Another checkout that shares the target folder builds a component of the same name in the same place.
    let component = out_dir.join(package).with_extension("wasm");
    std::fs::copy(stem.with_extension("wasm"), &component)
        .unwrap_or_else(|error| panic!("the component `{package}` cannot be copied: {error}"));
    component
}

/// The nearest folder above with a manifest that opens a workspace.
fn workspace_root(from: &Path) -> PathBuf {
    from.ancestors()
        .find(|folder| {
            std::fs::read_to_string(folder.join("Cargo.toml")).is_ok_and(|text| text.contains("[workspace]"))
        })
        .unwrap_or_else(|| panic!("{} is in no workspace", from.display()))
        .to_owned()
}

/// Where the outer build puts everything: `OUT_DIR` is `<there>/<profile>/build/<package>/out`.
fn outer_target_dir(out_dir: &Path) -> PathBuf {
    out_dir
        .ancestors()
        .nth(4)
        .unwrap_or_else(|| panic!("{} is in no target folder", out_dir.display()))
        .to_owned()
}
