//! A connector author's first ten minutes.

use std::process::Command;

use crate::harness::Project;

#[test]
fn a_new_extractor_builds_and_passes_the_conformance_suite() {
    let project = Project::new();
    project.run(&["new", "extractor", "pages"]).expect_code(0);
    let target = std::env::var("CARGO_TARGET_DIR")
        .map_or_else(|_| project.path("target"), Into::into)
        .join("scaffold");
    let built = Command::new("cargo")
        .args(["build", "--release"])
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("RUSTFLAGS")
        .current_dir(project.path("pages"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let component = target.join("wasm32-wasip2/release/pages.wasm");
    let ran =
        project.run(&["test", component.to_str().unwrap(), "--config", "pages/test.yaml"]).expect_code(0);
    assert!(ran.stdout.contains("resume"), "{}", ran.stdout);
    let again = project.run(&["new", "extractor", "pages"]).expect_code(2);
    assert!(again.stderr.contains("pages"), "{}", again.stderr);
}

#[test]
fn our_own_connector_passes_the_conformance_suite() {
    let project = Project::new();
    project.write(
        "data/cities.csv",
        (0..20_000).fold("id,name\n".to_owned(), |text, id| format!("{text}{id},city\n")),
    );
    project.write("config.yaml", "location: ./data\nformat: csv\n");
    let ran = project.run(&["test", "files", "--config", "config.yaml"]).expect_code(0);
    assert!(ran.stdout.contains("resume"), "{}", ran.stdout);
}
