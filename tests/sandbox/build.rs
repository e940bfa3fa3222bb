//! Builds the components that the tests run.

fn main() {
    for (name, package) in [
        ("ROUNDTRIP", "tidegate-guest-roundtrip"),
        ("CONTRADICTION", "tidegate-guest-contradiction"),
        ("FILES", "tidegate-connector-files"),
    ] {
        println!("cargo::rustc-env=COMPONENT_{name}={}", tidegate_build::component(package).display());
    }
}
