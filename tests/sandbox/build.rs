//! Builds the components that the tests run.

fn main() {
    for (name, package) in [
        ("ROUNDTRIP", "tidegate-guest-roundtrip"),
        ("OFFTHESHELF", "tidegate-guest-offtheshelf"),
        ("CONTRADICTION", "tidegate-guest-contradiction"),
        ("WIRE", "tidegate-guest-wire"),
        ("FILES", "tidegate-connector-files"),
    ] {
        println!("cargo::rustc-env=COMPONENT_{name}={}", tidegate_build::component(package).display());
    }
}
