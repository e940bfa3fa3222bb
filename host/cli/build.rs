//! Builds the first-party connectors for Wasm, so that the binary carries them.

use sha2::{Digest, Sha256};

#[expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a build script, on the file it just built"
)]
fn main() {
    let files = tidegate_build::component("tidegate-connector-files");
    println!("cargo::rustc-env=TIDEGATE_CONNECTOR_FILES={}", files.display());
    // Known here, it need not be computed at every start.
    let digest = Sha256::digest(std::fs::read(&files).expect("the connector that was just built"));
    println!("cargo::rustc-env=TIDEGATE_CONNECTOR_FILES_DIGEST={digest:x}");
    // What `tidegate new` writes is embedded too; a new file there is seen only when this script runs again.
    for folder in ["../../sdk/rust", "../../sdk/template", "../../wit"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
