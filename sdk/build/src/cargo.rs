//! The Cargo inside Cargo.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{PROFILE, TARGET};

/// Variables of the outer Cargo that the inner one keeps: where things are fetched and stored, and how many
/// jobs may run. Everything else of Cargo's and rustc's would steer the component's build by accident.
const KEPT: [&str; 6] =
    ["CARGO_HOME", "CARGO_MAKEFLAGS", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR", "CARGO_SOURCE_"];

/// A path that Cargo gives to build scripts.
pub(crate) fn variable(name: &str) -> PathBuf {
    env::var_os(name).unwrap_or_else(|| panic!("{name} is not set: this is for build scripts")).into()
}

/// Builds, or gives what Cargo and the compiler wrote. A target that the toolchain lacks is installed first, as
/// `rust-toolchain.toml` asks: not every rustup does that by itself.
pub(crate) fn build(package: &str, root: &Path, target_dir: &Path) -> Result<(), String> {
    let lacks_target = |text: &String| text.contains("target may not be installed");
    match build_once(package, root, target_dir) {
        Err(text) if lacks_target(&text) => match install_target(root) {
            Ok(()) => build_once(package, root, target_dir),
            Err(why) => Err(format!(
                "this machine's Rust has no {TARGET} target ({why}); type: rustup target add {TARGET}\n\n{text}"
            )),
        },
        done => done,
    }
}

fn install_target(root: &Path) -> Result<(), String> {
    let output = Command::new("rustup")
        .args(["target", "add", TARGET])
        .current_dir(root)
        .output()
        .map_err(|error| format!("rustup cannot be started: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(said.trim().to_owned()) }
}

fn build_once(package: &str, root: &Path, target_dir: &Path) -> Result<(), String> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os().filter(|(name, _)| !is_kept(name)) {
        command.env_remove(name);
    }
    let output = command
        .args(["build", "--locked", "--profile", PROFILE, "--target", TARGET, "--package", package])
        .arg("--manifest-path")
        .arg(root.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(root))
        .env("CARGO_TERM_COLOR", "never")
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot start Cargo: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Vector instructions, which every host of ours has; and no path of this machine inside the component, so
/// that it is the same wherever it is built.
fn flags(root: &Path) -> OsString {
    let mut flags = OsString::from("-Ctarget-feature=+simd128");
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    for (path, name) in [(home.as_deref(), "/cargo"), (Some(root), "/tidegate")] {
        if let Some(path) = path {
            flags.push("\x1f--remap-path-prefix=");
            flags.push(path);
            flags.push("=");
            flags.push(name);
        }
    }
    flags
}

fn is_kept(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    KEPT.iter().any(|kept| name.starts_with(kept))
        || !(name.starts_with("CARGO") || name.starts_with("RUSTC") || name == "RUSTFLAGS")
}
