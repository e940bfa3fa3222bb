//! Secrets: kept, named, found before a run, and seen nowhere.

mod forms;
mod memory;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_infrastructure::{DataDir, SledStore, Store};
use tidegate_permission::{EncryptedStore, KeyFile};
use tidegate_sandbox_tests::ROUNDTRIP;

use crate::harness::{Project, Ran};
use forms::forms;

/// What no file may hold. With letters that look different in every encoding.
const SECRETS: [(&str, &str); 3] = [
    ("env", "tide?gate/one+7&%\u{e9}nv-XQ9"),
    ("file", "tide?gate/two+7&%f\u{ef}le-XQ9"),
    ("store", "tide?gate/thr\u{e9}e+7&%-XQ9"),
];

/// A project whose keys are its own.
fn project() -> Project {
    let mut project = Project::new();
    let config = project.path("config").display().to_string();
    project.variable("XDG_CONFIG_HOME", &config);
    project
}

trait Type {
    fn type_in(&self, arguments: &[&str], input: &str) -> Ran;
}

impl Type for Project {
    /// Gives a command something on its standard input.
    fn type_in(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that refuses its arguments does not read it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

#[test]
fn a_secret_is_kept_renewed_and_forgotten_and_never_shown() {
    let project = project();
    let none = project.run(&["secret", "list"]).expect_code(0);
    assert!(none.stdout.starts_with("No secrets are kept in "), "{}", none.stdout);
    assert!(!project.path(".tidegate").exists(), "to look leaves nothing");

    let mut told = String::new();
    for (verb, name, value, version) in [
        ("set", "prod/token", "hunter2\n", 1),
        ("set", "store:prod/key", "hunter22", 1),
        ("rotate", "prod/token", "hunter222", 2),
        ("set", "prod/key", "hunter2222\n", 2),
    ] {
        let ran = project.type_in(&["secret", verb, name, "--json"], value).expect_code(0);
        assert_eq!(ran.json()["version"], version, "{verb} {name}");
        told.push_str(&ran.text());
    }
    let listed = project.run(&["secret", "list", "--json"]).expect_code(0);
    let document = listed.json();
    let names: Vec<&Value> = document["secrets"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["prod/key", "prod/token"]);
    let fields: BTreeSet<_> = listed.json()["secrets"][0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, ["by", "name", "version", "written"].map(String::from).into());

    let changed = project.run(&["secret", "rekey", "--json"]).expect_code(0);
    assert_eq!(changed.json()["secrets"], 2);
    project.run(&["secret", "remove", "prod/key"]).expect_code(0);
    let gone = project.type_in(&["secret", "rotate", "prod/tokn"], "hunter2").expect_code(2);
    assert!(gone.stderr.contains("error[TG0305]: there is no secret `prod/tokn`"), "{}", gone.stderr);
    assert!(gone.stderr.contains("did you mean `prod/token`?"), "{}", gone.stderr);
    let empty = project.type_in(&["secret", "set", "x"], "\n").expect_code(2);
    assert!(empty.stderr.contains("it is empty"), "{}", empty.stderr);
    let argument = project.type_in(&["secret", "set", "x", "hunter2"], "").expect_code(2);
    assert!(argument.stderr.contains("never an argument"), "{}", argument.stderr);
    for ran in [listed, changed, gone, empty, argument] {
        told.push_str(&ran.text());
    }
    assert!(!told.contains("hunter2"), "{told}");
    assert_eq!(traces(&project, "hunter2"), Vec::<String>::new());

    let audit = project.run(&["audit", "tail", "--json"]).expect_code(0).stdout;
    for part in ["secret.write", "secret.list", "secret.rekey", "secret.remove", "secret:store:prod/token"] {
        assert!(audit.contains(part), "no {part} in {audit}");
    }
}

fn position(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// A server of this machine that answers with what it was told, and what that was.
fn echo() -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heard);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut asked, mut piece) = (Vec::new(), [0; 4096]);
            while position(&asked, b"\r\n\r\n").is_none() {
                match stream.read(&mut piece) {
                    Ok(length @ 1..) => asked.extend_from_slice(&piece[..length]),
                    _ => break,
                }
            }
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", asked.len());
            let _ = stream.write_all(&[head.as_bytes(), &asked].concat());
            kept.lock().unwrap().extend_from_slice(&asked);
        }
    });
    (url, heard)
}

/// `check` has the connector call the server, and tell all that comes back.
fn pipeline(project: &Project, url: &str, secret: &str) {
    project.write("roundtrip.wasm", std::fs::read(ROUNDTRIP).unwrap());
    project.write(
        "p.yaml",
        format!(
            "\
pipeline: p
extract:
  connector: ./roundtrip.wasm
  config: {{ url: \"{url}\", dump: true, strict: true, calls: [{{ url: \"{url}/x\" }}] }}
  secrets:
    token: {secret}
  streams:
    roundtrip: {{ mode: full }}
ingest: {{ sink: delta, location: ./lake }}
"
        ),
    );
    project.run(&["grant", "add", "p.yaml", "--yes"]).expect_code(0);
}

#[test]
fn a_run_finds_the_secret_it_binds_before_it_begins_uses_it_and_leaves_nothing_of_it_behind() {
    let mut project = project();
    let [(_, env), (_, file), (_, store)] = SECRETS;
    let (url, heard) = echo();
    let missing = |project: &Project, words: [&str; 2]| {
        for verb in ["run", "check", "discover"] {
            let ran = project.run(&[verb, "p.yaml"]).expect_code(2);
            for part in ["error[TG0305]", "--> p.yaml:6:5", words[0], words[1]] {
                assert!(ran.stderr.contains(part), "{verb}: no {part} in {}", ran.stderr);
            }
        }
        assert!(!project.path("lake").exists());
    };
    let mut told = String::new();
    let mut used = |project: &Project, secret: &str| {
        for arguments in [&["check", "p.yaml"][..], &["run", "p.yaml", "--json"]] {
            let ran = project.run(arguments).expect_code(0);
            told.push_str(&ran.text());
        }
        let header = format!("authorization: Bearer {secret}\r\n");
        assert!(position(&heard.lock().unwrap(), header.as_bytes()).is_some(), "it was never sent");
        std::fs::remove_dir_all(project.path("lake")).unwrap();
    };
    project.variable("RUST_LOG", "tidegate=trace,tidegate_infrastructure=trace,tidegate_worker=trace");

    pipeline(&project, &url, "env:TIDEGATE_TEST_TOKEN");
    missing(&project, ["env:TIDEGATE_TEST_TOKEN: the variable is not set", "export TIDEGATE_TEST_TOKEN"]);
    project.variable("TIDEGATE_TEST_TOKEN", env);
    used(&project, env);

    pipeline(&project, &url, "file:./token.txt");
    missing(&project, ["no secret file:./token.txt", "umask 077"]);
    project.write("token.txt", format!("{file}\n"));
    std::fs::set_permissions(project.path("token.txt"), PermissionsExt::from_mode(0o644)).unwrap();
    missing(&project, ["others than its owner may read or change", "chmod 600"]);
    std::fs::set_permissions(project.path("token.txt"), PermissionsExt::from_mode(0o600)).unwrap();
    used(&project, file);

    pipeline(&project, &url, "store:prod/token");
    missing(&project, ["no secret `prod/token`", "`tidegate secret set prod/token` keeps one"]);
    project.type_in(&["secret", "set", "prod/token"], store).expect_code(0);
    used(&project, store);

    let audit = project.run(&["audit", "tail", "p.yaml", "-n", "500"]).expect_code(0).text();
    for part in ["secret.read secret:store:prod/token", "credential.use"] {
        assert!(audit.contains(part), "no {part} in {audit}");
    }
    // What the server echoed reached the connector without it, and so its log: each time, although it is the last
    // that it says.
    assert_eq!(told.matches("authorization: Bearer ***").count(), SECRETS.len(), "{told}");
    project.write("told.txt", told + &audit);
    for name in ["p.yaml", "grants.yaml", "tidegate.lock", ".tidegate/audit.jsonl"] {
        assert!(project.path(name).exists(), "{name}");
    }
    std::fs::remove_file(project.path("token.txt")).unwrap();
    for (_, secret) in SECRETS {
        assert_eq!(traces(&project, secret), Vec::<String>::new());
    }
    // Such a search finds what is there.
    project.write("deep/trace", format!("x{}", forms(store)[3]));
    assert_eq!(traces(&project, store).len(), 1);
}

/// Files below the project in which one of the forms of a secret stands.
fn traces(project: &Project, secret: &str) -> Vec<String> {
    fn walk(folder: &Path, visit: &mut impl FnMut(&Path)) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, visit) } else { visit(&path) }
        }
    }
    let mut found = Vec::new();
    walk(&project.path(""), &mut |path| {
        let bytes = std::fs::read(path).unwrap();
        for form in forms(secret).iter().filter(|form| position(&bytes, form.as_bytes()).is_some()) {
            found.push(format!("{form} in {}", path.display()));
        }
    });
    found
}

#[test]
fn killed_while_the_key_changes_every_secret_can_be_read() {
    let project = project();
    let names: Vec<String> = (0..5).map(|number| format!("s{number}")).collect();
    for name in &names {
        project.type_in(&["secret", "set", name], &name.repeat(50)).expect_code(0);
    }
    let data_dir = DataDir::open(project.path(".tidegate")).unwrap();
    let key = project.path("config/tidegate/secrets.key");
    let opened = (data_dir, key.clone());
    let secrets = EncryptedStore::new(
        Box::new(move || {
            let store: Arc<dyn Store> = Arc::new(SledStore::open(&opened.0)?);
            Ok((store, KeyFile::at(&opened.1)))
        }),
        "",
    );
    let whole = {
        let start = Instant::now();
        project.run(&["secret", "rekey"]).expect_code(0);
        start.elapsed()
    };
    let mut cut_off = 0;
    for round in 0..20_u32 {
        let mut command: Command = project.command(&["secret", "rekey"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(whole.mul_f64(f64::from(round) / 20.0).max(Duration::from_micros(1)));
        child.kill().unwrap();
        cut_off += usize::from(!child.wait().unwrap().success());
        for name in &names {
            let held = secrets.get(name).unwrap();
            assert_eq!(held.secret.expose(), name.repeat(50).as_bytes(), "round {round}");
        }
    }
    assert!(cut_off > 0, "no kill came before the end");
    let keys = || {
        let text = std::fs::read_to_string(&key).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).count()
    };
    project.run(&["secret", "rekey"]).expect_code(0);
    assert_eq!(keys(), 1, "the last one that is not interrupted leaves one key");
}

#[test]
fn two_commands_at_once_take_turns() {
    let project = project();
    let spawn = |number: usize| {
        let mut command = project.command(&["secret", "set", &format!("s{number}")]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"value").unwrap();
        child
    };
    let children: Vec<_> = (0..6).map(spawn).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let listed = project.run(&["secret", "list", "--json"]).expect_code(0).json();
    assert_eq!(listed["secrets"].as_array().unwrap().len(), 6);
}
