//! The platform's own store, by the command.

use crate::harness::Project;

use tidegate_infrastructure::{DataDir, SledStore, Store, Table};

const NOTES: Table = Table::new("notes");

#[test]
fn a_backup_brings_back_what_was_there() {
    let project = Project::new();
    let none = project.run(&["store", "check"]).expect_code(2);
    assert!(none.stderr.contains("there is no store in"), "{}", none.stderr);
    assert!(!project.path(".tidegate").exists(), "to look does not bring one into being");
    let data_dir = DataDir::open(project.path(".tidegate")).unwrap();
    let store = SledStore::open(&data_dir).unwrap();
    store.put(NOTES, b"ada", b"1").unwrap();
    drop(store);

    let backup = project.run(&["store", "backup", "b", "--json"]).expect_code(0).json();
    assert_eq!(backup["entries"], 1, "{backup:#}");
    SledStore::open(&data_dir).unwrap().put(NOTES, b"bob", b"2").unwrap();
    let checked = project.run(&["store", "check", "--json"]).expect_code(0).json();
    assert_eq!(checked["tables"]["notes"]["entries"], 2, "{checked:#}");
    project.run(&["store", "restore", "b"]).expect_code(2);
    let restored = project.run(&["store", "restore", "b", "--yes"]).expect_code(0);
    assert_eq!(restored.stdout, "1 entry restored from b.\n");
    assert_eq!(SledStore::open(&data_dir).unwrap().get(NOTES, b"bob"), Ok(None));

    project.write("b", "not a backup");
    let refused = project.run(&["store", "restore", "b", "--yes"]).expect_code(1);
    assert!(refused.stderr.contains("TG0902"), "{}", refused.stderr);
    let audit = project.run(&["audit", "tail"]).expect_code(0);
    for action in ["store.backup store", "store.restore store"] {
        assert!(audit.stdout.contains(action), "{}", audit.stdout);
    }
}
