//! What must not happen to a store, done to it.
#![expect(clippy::disallowed_methods, reason = "a test damages what it tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tidegate_model::Code;

use super::backup::Entry;
use super::format::Formats;
use super::{SledStore, Store, Table, Write};
use crate::DataDir;

const USERS: Table = Table::new("users");
const SECRETS: Table = Table::new("secrets");

fn data_dir(folder: &Path) -> DataDir {
    DataDir::open(folder.join("data")).unwrap()
}

fn open(folder: &Path) -> tidegate_model::Result<SledStore> {
    SledStore::open_as(data_dir(folder).root(), Duration::ZERO, Formats::OURS)
}

/// A store with so many users, and one secret that is large.
fn filled(folder: &Path, users: u32) -> SledStore {
    let store = open(folder).unwrap();
    for number in 0..users {
        store.put(USERS, &number.to_be_bytes(), &number.to_le_bytes().repeat(20)).unwrap();
    }
    store.put(SECRETS, b"large", &vec![7; 100_000]).unwrap();
    store
}

type Everything = Vec<Vec<(Vec<u8>, Vec<u8>)>>;

fn everything(store: &impl Store) -> tidegate_model::Result<Everything> {
    [USERS, SECRETS].iter().map(|table| store.scan(*table, b"", None, usize::MAX)).collect()
}

#[test]
fn one_process_has_it_and_others_wait_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path(), 1);
    let fault = open(folder.path()).unwrap_err();
    assert_eq!(fault.code, Code::StoreUnusable);
    let holder = format!("process {} holds the store in", std::process::id());
    assert!(fault.message.starts_with(&holder), "{fault}");
    let waiting = thread::spawn({
        let data_dir = data_dir(folder.path());
        move || SledStore::open(&data_dir).map(|store| store.get(SECRETS, b"large").unwrap().unwrap().len())
    });
    thread::sleep(Duration::from_millis(300));
    drop(store);
    assert_eq!(waiting.join().unwrap(), Ok(100_000));
}

#[test]
fn only_its_owner_can_look_inside_and_sled_keeps_no_files_of_its_own() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 100));
    let root = folder.path().join("data/store");
    assert_eq!(root.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    // What is there is not brought to the disk.
    assert_eq!(fs::read_dir(root.join("1/blobs")).unwrap().count(), 0);
}

/// From version 1 to 2: users are written in capitals, secrets are no more.
fn step(entry: Entry) -> tidegate_model::Result<Option<Entry>> {
    Ok((entry.table == "users").then(|| Entry { value: entry.value.to_ascii_uppercase(), ..entry }))
}

const NEWER: Formats = Formats::new(&[step]);

#[test]
fn an_older_format_is_brought_forward_and_a_newer_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    let store = open(folder.path()).unwrap();
    store.put(USERS, b"ada", b"lovelace").unwrap();
    store.put(SECRETS, b"s", b"x").unwrap();
    let backup = folder.path().join("backup");
    assert_eq!(store.backup(&backup), Ok(2));
    drop(store);

    let expected = vec![vec![(b"ada".to_vec(), b"LOVELACE".to_vec())], vec![]];
    let store = SledStore::open_as(&root, Duration::ZERO, NEWER).unwrap();
    assert_eq!(everything(&store), Ok(expected.clone()));
    assert_eq!(store.check().unwrap().tables.len(), 1);
    let newer = folder.path().join("newer");
    store.backup(&newer).unwrap();
    drop(store);
    let store = SledStore::open_as(&root, Duration::ZERO, NEWER).unwrap();
    assert_eq!(everything(&store), Ok(expected.clone()), "once");
    drop(store);

    let fault = open(folder.path()).unwrap_err();
    assert_eq!(fault.code, Code::StoreUnusable);
    assert!(fault.message.ends_with("has format 2, and this version of Tidegate knows 1 at most"), "{fault}");
    assert!(
        SledStore::restore(&data_dir(folder.path()), &newer).unwrap_err().message.contains("newer version")
    );
    // A backup of an older version goes the same way.
    assert_eq!(SledStore::restore_as(&root, &backup, NEWER), Ok(1));
    let store = SledStore::open_as(&root, Duration::ZERO, NEWER).unwrap();
    assert_eq!(everything(&store), Ok(expected));
}

#[test]
fn a_backup_replaces_all_of_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    let store = filled(folder.path(), 500);
    let before = everything(&store).unwrap();
    assert_eq!(store.backup(&backup), Ok(501));
    assert_eq!(mode(&backup), 0o600);
    store.put(USERS, b"later", b"1").unwrap();
    store.remove(SECRETS, b"large").unwrap();
    drop(store);
    assert_eq!(SledStore::restore(&data_dir(folder.path()), &backup), Ok(501));
    let store = open(folder.path()).unwrap();
    assert_eq!(everything(&store).unwrap(), before);
    assert_eq!(store.check().unwrap().tables["users"].entries, 500);
    drop(store);
    // Nothing of what was before is left, and the next one goes as well.
    assert_eq!(SledStore::restore(&data_dir(folder.path()), &backup), Ok(501));
    let numbered: Vec<PathBuf> = crate::files::list(folder.path().join("data/store")).unwrap();
    assert!(numbered[0].ends_with("3"), "{numbered:?}");
    assert_eq!(numbered.len(), 4, "{numbered:?}");
    // Into a place where there is none.
    let elsewhere = DataDir::open(folder.path().join("elsewhere")).unwrap();
    assert_eq!(SledStore::restore(&elsewhere, &backup), Ok(501));
    assert_eq!(everything(&SledStore::open(&elsewhere).unwrap()).unwrap(), before);
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn a_backup_that_is_not_whole_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backup");
    let store = open(folder.path()).unwrap();
    store.batch(&[set(USERS, b"ada", b"1"), set(SECRETS, b"s", b"22")]).unwrap();
    store.backup(&path).unwrap();
    store.put(USERS, b"bob", b"2").unwrap();
    let before = everything(&store).unwrap();
    drop(store);
    let whole = fs::read(&path).unwrap();
    let mut bad: Vec<(String, Vec<u8>)> = Vec::new();
    for place in (0..whole.len()).step_by(7) {
        let mut changed = whole.clone();
        changed[place] ^= 0x10;
        bad.push((format!("byte {place} changed"), changed));
        bad.push((format!("{place} bytes of it"), whole[..place].to_vec()));
    }
    bad.push(("one byte more".into(), [whole.as_slice(), b"x"].concat()));
    bad.push(("twice".into(), whole.repeat(2)));
    for (what, bytes) in bad {
        fs::write(&path, bytes).unwrap();
        let fault = SledStore::restore(&data_dir(folder.path()), &path).unwrap_err();
        assert_eq!(fault.code, Code::StoreUnusable, "{what}: {fault}");
    }
    assert_eq!(everything(&open(folder.path()).unwrap()).unwrap(), before);
}

fn set(table: Table, key: &[u8], value: &[u8]) -> Write {
    Write { table, key: key.to_owned(), value: Some(value.to_owned()) }
}

/// Damages a copy of the store, and looks at what it says then. It may be whole, or say that it is not; that it
/// has other entries than it had, and is sure of itself, it may never be.
fn after(store: &Path, damage: impl FnOnce(&Path)) -> Option<Code> {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(store, &copy.path().join("data"));
    damage(&copy.path().join("data/store"));
    let whole = open(store.parent().unwrap()).and_then(|store| everything(&store)).unwrap();
    let seen = open(copy.path()).and_then(|store| {
        let seen = everything(&store)?;
        store.check()?;
        store.put(USERS, b"new", b"1")?;
        Ok(seen)
    });
    match seen {
        Ok(seen) => {
            assert!(seen == whole, "entries were lost, and the store does not know");
            None
        }
        Err(fault) => Some(fault.code),
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &to);
        } else {
            fs::copy(&path, to).unwrap();
        }
    }
}

#[test]
fn damage_is_told_and_never_believed() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 300));
    let data = folder.path().join("data");
    let unusable = Some(Code::StoreUnusable);
    assert_eq!(after(&data, |_| ()), None);
    assert_eq!(after(&data, |store| fs::remove_dir_all(store.join("1")).unwrap()), unusable, "no database");
    assert_eq!(after(&data, |store| fs::remove_file(store.join("1/db")).unwrap()), unusable, "no file");
    assert_eq!(
        after(&data, |store| fs::remove_file(store.join("current")).unwrap()),
        unusable,
        "no `current`"
    );
    assert_eq!(after(&data, |store| fs::write(store.join("current"), "{}").unwrap()), unusable, "a bad one");
    let length = fs::metadata(data.join("store/1/db")).unwrap().len();
    let mut told = 0;
    for tenth in 0..10 {
        let code = after(&data, |store| {
            let file = fs::OpenOptions::new().write(true).open(store.join("1/db")).unwrap();
            file.set_len(length * tenth / 10).unwrap();
        });
        assert!(code.is_none_or(|code| code == Code::StoreUnusable), "{code:?}");
        told += u32::from(code.is_some());
    }
    for place in 0..60 {
        let code = after(&data, |store| {
            let mut bytes = fs::read(store.join("1/db")).unwrap();
            let place = bytes.len() * place / 60;
            let end = (place + 16).min(bytes.len());
            bytes[place..end].iter_mut().for_each(|byte| *byte = !*byte);
            fs::write(store.join("1/db"), bytes).unwrap();
        });
        assert!(code.is_none_or(|code| code == Code::StoreUnusable), "{code:?}");
        told += u32::from(code.is_some());
    }
    println!("{told} of 70 damages were told, the others hit nothing that counts");
    assert!(told > 10, "damage that nobody noticed is no test: {told}");
}
