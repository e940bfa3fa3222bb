//! What can be done to an audit, and what is said of it then.
#![expect(clippy::disallowed_methods, reason = "a test changes what nobody may change, and starts processes")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidegate_model::{CapabilityKind, Code, Fault, Permission, PipelineName};

use super::{Audit, Decision, Entry, Verified};
use crate::principal::Principal;
use crate::vocabulary::{Action, Resource};

/// A data folder with an audit, and a folder for keys.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        fs::create_dir(desk.keys()).unwrap();
        desk
    }

    /// So many lines, of which so many are sealed.
    fn with(lines: u64, sealed: u64) -> Self {
        let desk = Self::new();
        let audit = desk.audit();
        for number in 1..=lines {
            note(&audit, &format!("reason {number}"));
            if number == sealed {
                desk.seal().unwrap();
            }
        }
        desk
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("audit.jsonl")
    }

    fn keys(&self) -> PathBuf {
        self.0.path().join("keys")
    }

    fn audit(&self) -> Audit {
        Audit::at(self.path(), None)
    }

    fn seal(&self) -> Result<(), Fault> {
        self.audit().seal(&self.keys())
    }

    fn verify(&self) -> Result<Verified, Fault> {
        self.audit().verify(&self.keys(), None)
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    fn write(&self, text: impl AsRef<[u8]>) {
        fs::write(self.path(), text).unwrap();
    }

    /// Changes the lines as somebody with an editor would.
    fn edit(&self, change: impl FnOnce(&mut Vec<String>)) {
        let mut lines: Vec<String> = self.text().lines().map(str::to_owned).collect();
        change(&mut lines);
        self.write(lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    }

    /// Writes all lines anew, so that each holds the right number and hash: what nobody but a seal can tell.
    fn forge(&self, change: impl FnOnce(&mut Vec<String>)) {
        self.edit(change);
        let records = self.audit().tail(usize::MAX, false).unwrap();
        let mut before = records[0].prev.clone();
        let mut text = String::new();
        for (number, record) in (1..).zip(records) {
            let line =
                serde_json::to_string(&super::AuditRecord { seq: number, prev: before, ..record }).unwrap();
            before = super::lines::hex(&super::lines::hash(line.as_bytes()));
            text.push_str(&format!("{line}\n"));
        }
        self.write(text);
    }
}

fn note(audit: &Audit, why: &str) {
    let user = Principal::operator();
    audit.record(&Entry::new(&user, Action::StoreBackup, &Resource::Store, Decision::Allow, why)).unwrap();
}

#[test]
fn a_line_says_who_what_and_why_and_what_came_before() {
    let desk = Desk::new();
    let (user, service) = (Principal::operator(), Principal::service(crate::Module::Ingestion));
    let run = tidegate_model::RunId::new("run-1").unwrap();
    let audit = Audit::at(desk.path(), Some(run));
    note(&audit, "first");
    let on_behalf_of = user.to_string();
    let entry = Entry::new(&service, Action::SinkWrite, &Resource::Audit, Decision::Deny, "second");
    let entry = Entry {
        on_behalf_of: Some(&on_behalf_of),
        policy: Some("ceiling/7"),
        took: Some(Duration::from_micros(12)),
        trace: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
        count: 3,
        ..entry
    };
    audit.record(&entry).unwrap();
    let text = desk.text();
    let lines: Vec<&str> = text.lines().collect();
    let second: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
    let expected = serde_json::json!({
        "v": 1, "seq": 2, "prev": super::lines::hex(&super::lines::hash(lines[0].as_bytes())),
        "time": second["time"], "run": "run-1", "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
        "principal": "service:ingestion", "on_behalf_of": user.to_string(),
        "action": "sink.write", "resource": "audit", "decision": "deny", "why": "second",
        "policy": "ceiling/7", "duration_us": 12, "count": 3,
    });
    assert_eq!(second, expected);
    let first: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
    assert!(
        ["on_behalf_of", "policy", "duration_us", "trace", "count", "stray"]
            .iter()
            .all(|key| first.get(key).is_none())
    );
}

#[test]
fn what_is_well_is_said_to_be() {
    for (lines, sealed) in [(1, 1), (5, 3), (5, 5), (3, 0)] {
        let desk = Desk::with(lines, sealed);
        let seen = desk.verify().unwrap();
        assert_eq!((seen.records, seen.sealed, seen.stray), (lines, sealed, 0));
        assert_eq!(seen.key.is_some(), sealed > 0);
        assert!(seen.first <= seen.last && seen.first.is_some());
        // Sealed again it goes to the end, and once more changes nothing.
        desk.seal().unwrap();
        let head = fs::read(desk.0.path().join("audit.head.minisig")).unwrap();
        assert_eq!(desk.verify().unwrap().sealed, lines);
        desk.seal().unwrap();
        assert_eq!(fs::read(desk.0.path().join("audit.head.minisig")).unwrap(), head);
    }
    let desk = Desk::new();
    desk.seal().unwrap();
    assert_eq!(desk.verify(), Ok(Verified::default()));
    assert_eq!(fs::read_dir(desk.keys()).unwrap().count(), 0, "no key without need");
}

type Tampering = fn(&mut Vec<String>);

/// Of seven lines, five are sealed.
#[test]
fn tampering_is_told_with_its_line() {
    let sealed_at = "SEALED";
    let table: &[(&str, Tampering, &str)] = &[
        (
            "a word",
            |l| l[2] = l[2].replace("reason 3", "reason x"),
            "3: line 3 was changed after line 4 was written",
        ),
        (
            "a decision",
            |l| l[0] = l[0].replace("allow", "deny"),
            "1: line 1 was changed after line 2 was written",
        ),
        ("a space", |l| l[3].push(' '), "4: line 4 was changed after line 5 was written"),
        (
            "into no record",
            |l| l[2] = "{}".into(),
            "3: line 3 was changed or put in: it is no record that line 4 knows of",
        ),
        (
            "its hash",
            |l| l[3] = l[3].replace("\"prev\":\"", "\"prev\":\"0"),
            "4: line 4 was changed after the line behind it was written",
        ),
        (
            "its number",
            |l| l[3] = l[3].replace("\"seq\":4", "\"seq\":9"),
            "4: line 4 was changed: it says that it is record 9, and it should be 4",
        ),
        (
            "the last sealed",
            |l| {
                l.truncate(5);
                l[4] = l[4].replace("allow", "deny");
            },
            "5: line 5 is not the one that was sealed at SEALED: it, or all before it, was written anew",
        ),
        (
            "one out",
            |l| {
                l.remove(2);
            },
            "3: record 3 is missing before line 3",
        ),
        (
            "two out",
            |l| {
                l.drain(1..3);
            },
            "2: records 2 to 3 are missing before line 2",
        ),
        (
            "the first out",
            |l| {
                l.remove(0);
            },
            "1: record 1 is missing before line 1",
        ),
        ("one twice", |l| l.insert(3, l[2].clone()), "4: line 4 was put in: record 3 was there before"),
        (
            "one made up",
            |l| l.insert(3, l[2].replace("reason", "excuse")),
            "4: line 4 was put in: record 3 was there before",
        ),
        (
            "an empty one",
            |l| l.insert(3, String::new()),
            "4: line 4 was changed or put in: it is no record that line 5 knows of",
        ),
        (
            "two changed places",
            |l| l.swap(2, 3),
            "3: lines are out of order: record 3 stands at line 4, behind record 4",
        ),
        (
            "far ones too",
            |l| l.swap(1, 5),
            "2: lines are out of order: record 2 stands at line 6, behind record 6",
        ),
        (
            "cut off below the seal",
            |l| l.truncate(4),
            "4: lines were cut off at the end: 5 records were sealed at SEALED, 4 are there",
        ),
        (
            "cut off in a line",
            |l| {
                l.truncate(5);
                let half = l[4].len() / 2;
                l[4].truncate(half);
            },
            "5: lines were cut off at the end: 5 records were sealed at SEALED, 4 are there; the last line is no record",
        ),
        (
            "emptied",
            Vec::clear,
            "0: lines were cut off at the end: 5 records were sealed at SEALED, 0 are there",
        ),
        (
            "behind the seal",
            |l| l[5] = l[5].replace("allow", "deny"),
            "7: line 6 or 7 was changed: the second holds another hash of the first",
        ),
    ];
    for (what, change, expected) in table {
        let desk = Desk::with(7, 5);
        desk.edit(change);
        let fault = desk.verify().expect_err(what);
        assert_eq!(fault.code, Code::AuditBroken, "{what}");
        let place = fault.place.unwrap();
        assert_eq!(place.file, desk.path().display().to_string());
        let time = desk_sealed_at(&desk);
        let told = format!("{}: {}", place.line.unwrap(), fault.message.replace(&time, sealed_at));
        assert_eq!(told, *expected, "{what}");
    }
}

fn desk_sealed_at(desk: &Desk) -> String {
    let head = fs::read_to_string(desk.0.path().join("audit.head")).unwrap();
    serde_json::from_str::<serde_json::Value>(&head).unwrap()["time"].as_str().unwrap().to_owned()
}

#[test]
fn what_only_a_seal_can_tell() {
    let broken = |desk: &Desk| {
        let fault = desk.verify().unwrap_err();
        assert_eq!(fault.code, Code::AuditBroken);
        fault.message
    };
    // Everything written anew, each line right by itself.
    let desk = Desk::with(7, 5);
    desk.forge(|lines| lines[2] = lines[2].replace("allow", "deny"));
    assert!(broken(&desk).contains("was written anew"), "{}", broken(&desk));
    // A new seal does not cover it up.
    let fault = desk.seal().unwrap_err();
    assert_eq!(fault.code, Code::AuditBroken);
    assert!(fault.message.starts_with("what was sealed before"), "{fault}");
    // Lines behind the seal can go, and are said not to be sealed as long as they are there.
    let desk = Desk::with(7, 5);
    assert_eq!(desk.verify().unwrap().records, 7);
    desk.edit(|lines| lines.truncate(5));
    assert_eq!(desk.verify().unwrap().records, 5);
    // The head changed, or removed: the copy with the keys knows.
    let desk = Desk::with(7, 5);
    let head = desk.0.path().join("audit.head.minisig");
    let text = fs::read_to_string(&head).unwrap();
    fs::write(&head, text.replace("\"count\":5", "\"count\":3")).unwrap();
    assert!(broken(&desk).contains("its signature does not fit"), "{}", broken(&desk));
    fs::remove_file(&head).unwrap();
    assert_eq!(desk.verify().unwrap().sealed, 5);
    desk.edit(|lines| lines.truncate(3));
    assert!(broken(&desk).starts_with("lines were cut off"), "{}", broken(&desk));
    // One that a loss of power left empty tells nothing; the copy does.
    let desk = Desk::with(7, 5);
    fs::write(desk.0.path().join("audit.head.minisig"), "").unwrap();
    assert_eq!(desk.verify().unwrap().sealed, 5);
    // An older head with the lines that fit it.
    let desk = Desk::with(5, 3);
    let old = (fs::read(desk.0.path().join("audit.head.minisig")).unwrap(), desk.text());
    desk.seal().unwrap();
    fs::write(desk.0.path().join("audit.head.minisig"), old.0).unwrap();
    desk.edit(|lines| lines.truncate(3));
    assert!(broken(&desk).starts_with("lines were cut off"), "{}", broken(&desk));
    assert!(desk.seal().is_err(), "nor does a new seal make it right");
    // Another audit, with a seal of its own, in the place of this one.
    let (desk, other) = (Desk::with(5, 5), Desk::with(5, 5));
    desk.write(other.text());
    assert_eq!(broken(&desk), "this is not the audit that was sealed here");
    assert!(desk.seal().is_err(), "nor is it sealed as if it were");
    // Begun anew, after all of the old one was removed: with the head and without it, longer and shorter.
    for lines in [1, 9] {
        let desk = Desk::with(5, 5);
        fs::remove_file(desk.path()).unwrap();
        fs::remove_file(desk.0.path().join("audit.head.minisig")).unwrap();
        assert_eq!(broken(&desk), "an audit was sealed here, and is gone");
        (0..lines).for_each(|_| note(&desk.audit(), "anew"));
        assert_eq!(broken(&desk), "this is not the audit that was sealed here");
        let fault = desk.seal().unwrap_err();
        assert_eq!(fault.message, "this is not the audit that was sealed here");
        // As the help says to do, when it was meant to be.
        let help = fault.help.unwrap();
        let copy = help.split("remove ").nth(1).unwrap().split(' ').next().unwrap();
        fs::remove_file(copy).unwrap();
        desk.seal().unwrap();
        assert_eq!(desk.verify().unwrap().sealed, lines);
    }
    // A head that is none.
    for head in ["x", "untrusted comment: x\nRUQ=\ntrusted comment: y\nAA==\n"] {
        let desk = Desk::with(5, 5);
        fs::write(desk.0.path().join("audit.head.minisig"), head).unwrap();
        assert!(broken(&desk).contains("its signature does not fit"), "{}", broken(&desk));
    }
    // All of it removed, but for the head.
    let desk = Desk::with(5, 5);
    fs::remove_file(desk.path()).unwrap();
    assert_eq!(broken(&desk), "an audit was sealed here, and is gone");
    // Another's key.
    let (desk, other) = (Desk::with(5, 5), Desk::with(1, 1));
    let fault = desk.audit().verify(&desk.keys(), Some(&other.keys().join("audit.pub"))).unwrap_err();
    assert_eq!(fault.code, Code::BadUsage);
    let fault = desk.audit().verify(&other.0.path().join("none"), None).unwrap_err();
    assert_eq!(fault.message, "the audit is sealed, and there is no key to verify that with");
    let public = desk.keys().join("audit.pub");
    assert_eq!(desk.audit().verify(&other.keys(), Some(&public)).unwrap().sealed, 5);
}

#[test]
fn a_line_that_was_cut_short_stays_and_breaks_nothing() {
    let whole = Desk::with(3, 0).text();
    let last = whole.trim_end().rfind('\n').unwrap() + 1;
    // At every byte of the last line, its break included: nobody was told that it was written.
    for length in last..whole.len() {
        let desk = Desk::new();
        desk.write(&whole[..length]);
        note(&desk.audit(), "after");
        desk.seal().unwrap();
        let seen = desk.verify().unwrap_or_else(|fault| panic!("{length}: {fault}"));
        let torn = length > last && length < whole.len() - 1;
        let expected = if length < whole.len() - 1 { (3, u64::from(torn)) } else { (4, 0) };
        assert_eq!((seen.records, seen.stray), expected, "{length}");
        assert!(desk.text().starts_with(&whole[..length]), "nothing is taken out");
        if torn {
            desk.edit(|lines| {
                lines.remove(2);
            });
            assert_eq!(
                desk.verify().unwrap_err().message,
                "what stood before line 3, which it knows of, was taken out"
            );
        }
    }
    // Twice in a row, and longer than any record.
    let desk = Desk::with(2, 0);
    for torn in ["{\"v\":1,\"se".to_owned(), "x".repeat(1 << 20)] {
        desk.write(format!("{}{torn}\n{torn}", desk.text()));
        note(&desk.audit(), "after");
    }
    let seen = desk.verify().unwrap();
    assert_eq!((seen.records, seen.stray), (4, 4));
    // And as the last line there is.
    desk.write(format!("{}{{\"v\"", desk.text()));
    assert_eq!(desk.verify().unwrap().stray, 5);
}

#[test]
fn lines_from_before_there_was_a_chain_are_kept_and_covered() {
    let old = r#"{"time":"t","principal":"user:a","action":"x","resource":"y","decision":"deny","why":"z"}"#;
    let desk = Desk::new();
    desk.write(format!("{old}\n").repeat(1000));
    note(&desk.audit(), "new");
    note(&desk.audit(), "newer");
    desk.seal().unwrap();
    let seen = desk.verify().unwrap();
    assert_eq!((seen.records, seen.stray), (2, 1000));
    assert_eq!(desk.audit().tail(1001, false).unwrap().len(), 1001);
    assert_eq!(desk.audit().tail(2, true).unwrap()[1].why, "z");
    desk.edit(|lines| lines[500] = lines[500].replace("deny", "allow"));
    assert_eq!(desk.verify().unwrap_err().code, Code::AuditBroken);
}

#[test]
fn a_record_that_nobody_could_read_is_refused_and_breaks_nothing() {
    let desk = Desk::new();
    let audit = desk.audit();
    note(&audit, "before");
    let methods = vec!["\u{1}".repeat(4000); 31];
    let target = Some("https://example.org".to_owned());
    let permission = Permission { methods, ..Permission::new(CapabilityKind::Http, target) };
    let pipeline = PipelineName::new("p").unwrap();
    let grant = Resource::Grant { pipeline, digest: "d".into(), permission, signed: false, days: None };
    let user = Principal::operator();
    let refused =
        audit.record(&Entry::new(&user, Action::GrantAdd, &grant, Decision::Deny, "no")).unwrap_err();
    assert!(refused.to_string().contains("an audit record of "), "{refused}");
    note(&audit, "after");
    desk.seal().unwrap();
    desk.verify().unwrap();
    assert_eq!(desk.text().lines().count(), 2);
}

#[test]
fn a_writer_notices_what_others_do_to_the_file() {
    // Others append, each with the file open.
    let desk = Desk::new();
    let (one, other) = (desk.audit(), desk.audit());
    for number in 0..6 {
        note(if number % 3 == 0 { &one } else { &other }, "in turn");
    }
    assert_eq!(desk.verify().unwrap().records, 6);
    // Somebody cuts lines off while it is open: the next line shows it, also without any seal.
    desk.edit(|lines| lines.truncate(4));
    note(&one, "after");
    // `one` did not see the last two lines before they were gone.
    note(&other, "after");
    assert_eq!(desk.verify().unwrap_err().code, Code::AuditBroken);
    // Somebody removes it: what follows goes where people look.
    let desk = Desk::with(3, 0);
    let audit = desk.audit();
    note(&audit, "before");
    fs::remove_file(desk.path()).unwrap();
    note(&audit, "after");
    assert_eq!(desk.verify().unwrap().records, 1);
}

const FOLDER: &str = "TIDEGATE_TEST_AUDIT";
const EACH: u64 = 300;

/// Not a test by itself: one of the processes that append at once.
#[test]
fn appender() {
    let Some(path) = std::env::var_os(FOLDER) else { return };
    let audit = Audit::at(Path::new(&path), None);
    for number in 0..EACH {
        note(&audit, &format!("{} {number}", std::process::id()));
    }
}

#[test]
fn processes_that_append_at_once_make_one_chain() {
    let desk = Desk::new();
    let start = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "audit::tests::appender"])
            .env(FOLDER, desk.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut children: Vec<_> = (0..5).map(|_| start()).collect();
    // One of them is killed, in the middle of a line perhaps.
    let begun = Instant::now();
    while fs::read(desk.path()).map_or(0, |bytes| bytes.len()) < 20_000
        && begun.elapsed() < Duration::from_secs(20)
    {
        std::thread::yield_now();
    }
    children[0].kill().unwrap();
    // Meanwhile others seal and verify.
    while children[1..].iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        desk.seal().unwrap();
        desk.verify().unwrap();
    }
    for child in &mut children[1..] {
        assert!(child.wait().unwrap().success());
    }
    children[0].wait().unwrap();
    desk.seal().unwrap();
    let seen = desk.verify().unwrap();
    assert!(seen.records >= 4 * EACH, "{seen:?}");
    assert_eq!(seen.sealed, seen.records);
}

#[test]
fn the_key_is_its_owners_alone_and_made_once() {
    use std::os::unix::fs::PermissionsExt;
    let desk = Desk::with(1, 1);
    let key = desk.keys().join("audit.key");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let made = fs::read(&key).unwrap();
    note(&desk.audit(), "more");
    desk.seal().unwrap();
    assert_eq!(fs::read(&key).unwrap(), made);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    note(&desk.audit(), "more");
    let fault = desk.seal().unwrap_err();
    assert_eq!(fault.help.unwrap(), format!("chmod 600 {}", key.display()));
    // What is signed is the file that minisign's own tool is given.
    let text = fs::read(desk.0.path().join("audit.head")).unwrap();
    let signature = fs::read_to_string(desk.0.path().join("audit.head.minisig")).unwrap();
    let signature = minisign::SignatureBox::from_string(&signature).unwrap();
    let public = minisign::PublicKey::from_file(desk.keys().join("audit.pub")).unwrap();
    minisign::verify(&public, &signature, std::io::Cursor::new(text), true, false, false).unwrap();
}

/// `cargo test ... -p tidegate-permission --lib -- audit::tests::cost --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn cost() {
    const RECORDS: u32 = 50_000;
    let desk = Desk::new();
    let audit = desk.audit();
    let user = Principal::operator();
    let entry = Entry::new(&user, Action::StoreBackup, &Resource::Store, Decision::Allow, "the operator");
    let begun = Instant::now();
    for _ in 0..RECORDS {
        audit.record(&entry).unwrap();
    }
    println!("one writer: {:?} a record", begun.elapsed() / RECORDS);
    let other = desk.audit();
    let begun = Instant::now();
    for number in 0..RECORDS {
        if number % 2 == 0 { &audit } else { &other }.record(&entry).unwrap();
    }
    println!("two writers in turn: {:?} a record", begun.elapsed() / RECORDS);
    let begun = Instant::now();
    desk.seal().unwrap();
    println!("first seal, all of it: {:?}", begun.elapsed());
    note(&audit, "one more");
    let begun = Instant::now();
    desk.seal().unwrap();
    println!("a seal: {:?}", begun.elapsed());
    let begun = Instant::now();
    desk.seal().unwrap();
    println!("a seal of nothing new: {:?}", begun.elapsed());
    let begun = Instant::now();
    let seen = desk.verify().unwrap();
    println!("verify {} records: {:?}", seen.records, begun.elapsed());
}
