//! The contract has a version for every content it ever had.
//!
//! `wit/versions.txt` holds one line a version: number and SHA-256 of the interface files. Lines are only
//! ever added.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test reads the repository, and stops where it cannot"
)]

use sha2::{Digest, Sha256};
use tidegate_tidy::{output, read, root};

fn contract() -> (String, String) {
    let mut files: Vec<_> = std::fs::read_dir(root().join("wit"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wit"))
        .collect();
    files.sort();
    let mut hash = Sha256::new();
    for file in &files {
        hash.update(file.file_name().unwrap().as_encoded_bytes());
        hash.update(std::fs::read(file).unwrap());
    }
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let worlds = read("wit/worlds.wit");
    let version = worlds.lines().find_map(|line| line.strip_prefix("package tidegate:connector@")).unwrap();
    (version.trim_end_matches(';').to_owned(), digest)
}

#[test]
fn a_changed_contract_has_a_new_version() {
    let (version, digest) = contract();
    let versions = read("wit/versions.txt");
    let last = versions.lines().last().unwrap_or_default();
    assert_eq!(
        last,
        format!("{version} {digest}"),
        "the interface files changed: raise the version in wit/worlds.wit and add the right-hand line to wit/versions.txt"
    );
    let mut numbers: Vec<_> = versions.lines().filter_map(|line| line.split(' ').next()).collect();
    numbers.dedup();
    assert_eq!(numbers.len(), versions.lines().count(), "wit/versions.txt names a version twice");
}

#[test]
fn a_version_keeps_the_content_it_was_published_with() {
    let Some(commits) = output("git", &["log", "--format=%H", "--", "wit/versions.txt"]) else {
        return; // Not a git checkout: a source archive has no history to hold against.
    };
    let now = read("wit/versions.txt");
    for commit in commits.lines() {
        let then = output("git", &["show", &format!("{commit}:wit/versions.txt")]).unwrap();
        assert!(now.starts_with(&then), "wit/versions.txt changed a line that commit {commit} had");
    }
}
