//! What a component was built from.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// The sources that Cargo lists beside what it built (in the form of a Makefile), the manifests they belong
/// to, and the lock file.
pub(crate) fn of(list: &Path, root: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let sources = parse(&std::fs::read_to_string(list)?);
    let mut inputs = BTreeSet::from([root.join("Cargo.lock")]);
    for source in sources {
        let manifest = source.ancestors().map(|folder| folder.join("Cargo.toml")).find(|path| path.exists());
        // Sources outside of packages, such as the contract, have the workspace's manifest above them, which
        // changes for many reasons.
        inputs.extend(manifest.filter(|path| path.parent() != Some(root)));
        inputs.insert(source);
    }
    Ok(inputs)
}

/// `built: source source`, spaces in paths escaped.
fn parse(list: &str) -> Vec<PathBuf> {
    const SPACE: &str = "\0";
    list.lines()
        .filter_map(|line| line.split_once(": "))
        .flat_map(|(_, sources)| {
            let sources = sources.replace("\\ ", SPACE);
            sources.split_whitespace().map(|source| source.replace(SPACE, " ").into()).collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_from_a_makefile_with_escaped_spaces() {
        let list = "/t/a.wasm: /w/src/lib.rs /w/my\\ code/b.rs\n";
        assert_eq!(parse(list), [PathBuf::from("/w/src/lib.rs"), PathBuf::from("/w/my code/b.rs")]);
    }
}
