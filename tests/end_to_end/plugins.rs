//! How connectors arrive: installed, signed, replaced, gone back from, revoked; and what never arrives.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;
use tidegate_sandbox_tests::{CONTRADICTION, FILES};

use crate::harness::{Project, Ran};

/// A project whose user trusts nobody yet.
fn project() -> Project {
    let mut project = Project::with_streams("cities: { mode: full }");
    project.write("data/cities.csv", "id,name\n1,Bern\n2,Basel\n");
    let config = project.path("config").display().to_string();
    project.variable("TIDEGATE_CONFIG_DIR", &config);
    project.edit("files@0.1", "pages@*");
    project
}

/// The `files` connector under another name, made by exchanging text of the same length.
fn component(changes: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = fs::read(FILES).unwrap();
    for (from, to) in [(r#""name":"files""#, r#""name":"pages""#)].iter().chain(changes) {
        assert_eq!(from.len(), to.len(), "offsets must stay");
        let mut found = 0;
        for at in 0..=bytes.len() - from.len() {
            if &bytes[at..at + from.len()] == from.as_bytes() {
                bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
                found += 1;
            }
        }
        assert!(found > 0, "`{from}` is not in the component");
    }
    bytes
}

const ASKS_FOR_FILES: &str = r#""kind":"files","target":"{config.location}","#;
const NEWER: (&str, &str) = (r#""version":"0.1.0""#, r#""version":"0.2.0""#);
/// Another file, which says the same but for this.
const RETITLED: (&str, &str) = (r#""title":"Files""#, r#""title":"Pages""#);
/// It can do without the decoders.
const MODEST: (&str, &str) =
    (r#""required":true,"reason":"decodes them"#, r#""required":false,"reason":"decodes the"#);

#[track_caller]
fn install(project: &Project, file: &str, bytes: &[u8], more: &[&str]) -> Value {
    project.write(file, bytes);
    project.run(&[&["plugin", "install", file, "--json"], more].concat()).expect_code(0).json()
}

#[track_caller]
fn states(project: &Project) -> Vec<(String, String)> {
    let list = project.run(&["plugin", "list", "--json"]).expect_code(0).json();
    let text = |plugin: &Value, key: &str| plugin[key].as_str().unwrap().to_owned();
    list["plugins"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|plugin| plugin["name"] == "pages")
        .map(|plugin| (text(plugin, "version"), text(plugin, "state")))
        .collect()
}

#[track_caller]
fn says(ran: &Ran, parts: &[&str]) {
    // Lines are broken to fit a terminal: where is not what is asked here.
    let unbroken = ran.text().split_whitespace().collect::<Vec<_>>().join(" ");
    for part in parts {
        assert!(unbroken.contains(part) || ran.text().contains(part), "no `{part}` in\n{}", ran.text());
    }
}

/// The version that the pipeline runs with.
#[track_caller]
fn runs_with(project: &Project) -> String {
    project.load();
    let lock = fs::read_to_string(project.path("tidegate.lock")).unwrap();
    let line = lock.lines().find(|line| line.trim_start().starts_with("version:")).unwrap();
    line.split(':').nth(1).unwrap().trim().trim_matches('"').to_owned()
}

#[test]
fn what_is_installed_runs_and_an_update_can_be_gone_back_from() {
    let project = project();
    let missing = project.run(&["run", "p.yaml"]).expect_code(2);
    says(&missing, &["TG0201", "tidegate plugin install pages.wasm"]);

    let first = install(&project, "pages.wasm", &component(&[MODEST]), &[]);
    assert_eq!(first["installed"], true, "{first:#}");
    assert_eq!(first["record"]["installed_from"], "pages.wasm");
    assert_eq!(first["signature"]["signed"], false);
    assert_eq!(first["before"], Value::Null);
    assert_eq!(runs_with(&project), "0.1.0");
    let again = install(&project, "pages.wasm", &component(&[MODEST]), &[]);
    assert_eq!(again["installed"], false);
    assert_eq!(again["record"]["installed_at"], first["record"]["installed_at"]);

    project.write("newer.wasm", component(&[NEWER]));
    let told = project.run(&["plugin", "install", "newer.wasm"]).expect_code(0);
    says(
        &told,
        &["not signed", "asks for more than pages 0.1.0", "(`kernels`) was optional, and is required now"],
    );
    assert_eq!(runs_with(&project), "0.2.0");
    let shown = project.run(&["plugin", "inspect", "pages", "--json"]).expect_code(0).json();
    assert_eq!(shown["record"]["asks_more_than"], first["record"]["digest"], "{shown:#}");

    let back = project.run(&["plugin", "rollback", "pages"]).expect_code(0);
    says(&back, &["leads to 0.1.0", "no more to 0.2.0"]);
    assert_eq!(runs_with(&project), "0.1.0");
    project.edit("pages@*", "pages@=0.2.0");
    says(
        &project.run(&["run", "p.yaml"]).expect_code(2),
        &["TG0201", "`pages` 0.2.0 was rolled back or replaced", "write `pages@0.1.0`"],
    );
    project.edit("pages@=0.2.0", "pages@*");
    says(
        &project.run(&["plugin", "rollback", "pages"]).expect_code(2),
        &["TG0210", "no version of `pages` to go back to"],
    );
    install(&project, "newer.wasm", &component(&[NEWER]), &[]);
    assert_eq!(runs_with(&project), "0.2.0");

    says(
        &project.run(&["plugin", "remove", "pages@0.2.0"]).expect_code(2),
        &["`p` ran with last", "--force"],
    );
    project.run(&["plugin", "remove", "pages@0.2.0", "--force"]).expect_code(0);
    assert_eq!(states(&project), [("0.1.0".to_owned(), "current".to_owned())]);
    says(&project.run(&["plugin", "remove", "pages@0.2.0"]).expect_code(2), &["did you mean `pages@0.1.0`?"]);
    let audit = fs::read_to_string(project.path(".tidegate/audit.jsonl")).unwrap();
    for action in ["plugin.install", "plugin.remove", "plugin.load"] {
        assert!(audit.contains(action), "no {action} in\n{audit}");
    }
}

#[test]
fn another_file_of_the_same_version_needs_a_word_and_can_be_gone_back_from() {
    let project = project();
    install(&project, "pages.wasm", &component(&[]), &[]);
    project.write("other.wasm", component(&[RETITLED]));
    let refused = project.run(&["plugin", "install", "other.wasm"]).expect_code(2);
    says(&refused, &["TG0210", "another file is installed as pages 0.1.0", "from pages.wasm", "--replace"]);
    install(&project, "other.wasm", &component(&[RETITLED]), &["--replace"]);
    assert_eq!(install(&project, "other.wasm", &component(&[RETITLED]), &[])["installed"], false);
    let state = |state: &str| ("0.1.0".to_owned(), state.to_owned());
    let mut found = states(&project);
    found.sort();
    assert_eq!(found, [state("current"), state("superseded")]);
    let title = |title: &str| {
        let shown = project.run(&["plugin", "inspect", "pages", "--json"]).expect_code(0).json();
        assert_eq!(shown["manifest"]["title"], title);
    };
    title("Pages");
    says(&project.run(&["plugin", "remove", "pages@0.1.0"]).expect_code(2), &["several files", "sha256:"]);
    project.run(&["plugin", "rollback", "pages"]).expect_code(0);
    title("Files");

    let own = component(&[(r#""name":"pages""#, r#""name":"files""#), RETITLED]);
    project.write("files.wasm", own);
    let taken = project.run(&["plugin", "install", "files.wasm", "--replace"]).expect_code(2);
    says(&taken, &["comes with this binary as files 0.1.0"]);
    let same = install(&project, "files.wasm", &fs::read(FILES).unwrap(), &[]);
    assert_eq!(same["first_party"], true);
}

#[test]
fn what_was_tampered_with_is_found_and_does_not_run() {
    let project = project();
    let record = install(&project, "pages.wasm", &component(&[]), &[]);
    says(&project.run(&["plugin", "verify"]).expect_code(0), &["1 component as on record"]);
    let digest = record["record"]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    let file = format!(".tidegate/plugins/{digest}.wasm");
    project.write(&file, component(&[RETITLED]));
    says(
        &project.run(&["run", "p.yaml", "--yes-grant"]).expect_code(2),
        &["TG0207", "not the file that was installed"],
    );
    let wrong = project.run(&["plugin", "verify", "pages"]).expect_code(1);
    says(&wrong, &["WRONG", "the file was changed"]);
    install(&project, "pages.wasm", &component(&[]), &[]);
    project.run(&["plugin", "verify"]).expect_code(0);

    project.write(".tidegate/plugins/dropped.wasm", component(&[NEWER]));
    assert_eq!(runs_with(&project), "0.1.0", "what nobody installed is not there");
    says(&project.run(&["plugin", "verify"]).expect_code(1), &["dropped.wasm", "nobody installed it"]);
    says(&project.run(&["plugin", "list"]).expect_code(0), &["tidegate plugin install", "dropped.wasm"]);
    project.run(&["plugin", "install", ".tidegate/plugins/dropped.wasm"]).expect_code(0);
    assert!(!project.path(".tidegate/plugins/dropped.wasm").exists());
    assert_eq!(runs_with(&project), "0.2.0");

    let record = project.path(format!(".tidegate/plugins/{digest}.json"));
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace("\"required\": true", "\"required\": false")).unwrap();
    says(&project.run(&["plugin", "verify"]).expect_code(1), &["the record says something else"]);
}

#[test]
fn what_is_revoked_never_runs_again_however_it_arrives() {
    let project = project();
    let bytes = component(&[]);
    install(&project, "pages.wasm", &bytes, &[]);
    project.load();
    let revoked = project.run(&["plugin", "revoke", "pages@0.1.0", "--reason", "leaks rows"]).expect_code(0);
    says(&revoked, &["Revoked pages@0.1.0", "Nothing runs it any more"]);
    says(
        &project.run(&["plugin", "revoke", "pages@0.1.0"]).expect_code(0),
        &["is revoked already", "leaks rows"],
    );
    for arguments in [
        &["run", "p.yaml", "--yes-grant"][..],
        &["check", "p.yaml", "--yes-grant"],
        &["discover", "p.yaml", "--yes-grant"],
        &["grant", "add", "p.yaml", "--yes"],
        &["plugin", "install", "pages.wasm"],
        &["test", "pages.wasm"],
    ] {
        let denied = project.run(arguments).expect_code(3);
        says(&denied, &["TG0208", "leaks rows"]);
    }
    project.edit("pages@*", "./pages.wasm");
    says(&project.run(&["run", "p.yaml", "--yes-grant"]).expect_code(3), &["TG0208"]);
    says(
        &project.run(&["plugin", "inspect", "pages"]).expect_code(3),
        &["REVOKED: it was revoked by", "leaks rows"],
    );
    says(&project.run(&["plugin", "verify"]).expect_code(1), &["WRONG", "leaks rows"]);
    assert_eq!(states(&project), [("0.1.0".to_owned(), "revoked".to_owned())]);
    let denied = project.run(&["audit", "tail", "--denied"]).expect_code(0);
    says(&denied, &["plugin.load", "leaks rows"]);

    let digest = format!("sha256:{}", "0".repeat(64));
    let stranger = project.run(&["plugin", "revoke", &digest]).expect_code(0);
    says(&stranger, &["Revoked sha256:000000000000"]);
    says(&project.run(&["plugin", "revoke", "sha256:00"]).expect_code(2), &["too short"]);
}

#[test]
fn a_worker_refuses_what_was_revoked_after_its_order_was_made() {
    let project = project();
    project.write("pages.wasm", component(&[]));
    let digest =
        project.run(&["plugin", "inspect", "pages.wasm", "--json"]).expect_code(0).json()["digest"].clone();
    let order = serde_json::json!({
        "run": "r", "began": { "secs": 0, "nanos": 0 }, "pipeline": "p",
        "component": { "name": "pages", "version": "0.1.0", "digest": digest, "path": project.path("pages.wasm") },
        "config": {}, "secrets": {}, "document": null, "permissions": [], "source": [], "limits": {},
        "base": project.path(""), "data_dir": project.path(".tidegate"), "task": "spec",
    });
    let answer = || {
        let mut worker =
            project.command(&["worker"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut worker.stdin.take().unwrap(), format!("{order}\n").as_bytes())
            .unwrap();
        let output = worker.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(answer().contains("location"), "{}", answer());
    project.run(&["plugin", "revoke", digest.as_str().unwrap()]).expect_code(0);
    assert!(answer().contains("TG0208"), "{}", answer());
}

#[test]
fn hostile_uploads_are_refused_with_a_reason() {
    let project = project();
    let good = component(&[]);
    let large = vec![0; 65 << 20];
    let contradiction = fs::read(CONTRADICTION).unwrap();
    let mut broken = good.clone();
    let middle = broken.len() / 2;
    broken[middle..middle + 64].fill(0xff);
    let greedy = component(&[("wasi:cli/stdin@", "wasi:http/type@")]);
    let unasked = component(&[(ASKS_FOR_FILES, &format!("{:<43},", r#""kind":"decode""#))]);
    for (name, bytes, code, reason) in [
        ("empty", &b""[..], "TG0202", "its first bytes"),
        ("text", b"hello", "TG0202", "its first bytes"),
        ("module", b"\0asm\x01\0\0\0", "TG0202", "a core WebAssembly module"),
        ("truncated", &good[..good.len() / 2], "TG0202", "not valid"),
        ("large", &large, "TG0202", "more than 64 MiB"),
        ("broken", &broken, "TG0202", "not valid"),
        ("section", b"\0asm\x0d\0\x01\0", "TG0204", "is missing"),
        ("greedy", &greedy, "TG0205", ", which no component may have"),
        ("unasked", &unasked, "TG0205", "imports `files` but does not request it"),
        ("contradiction", &contradiction, "TG0204", "has no such key"),
    ] {
        let file = format!("{name}.wasm");
        project.write(&file, bytes);
        let refused = project.run(&["plugin", "install", &file]).expect_code(2);
        says(&refused, &[code, reason, &file, "help: "]);
    }
    let endless = project.run(&["plugin", "install", "/dev/zero"]).expect_code(2);
    says(&endless, &["TG0202", "more than 64 MiB"]);
    assert_eq!(files_in(&project.path(".tidegate/plugins")), 0);
    says(&project.run(&["plugin", "verify"]).expect_code(0), &["Nothing is installed"]);

    let seen = project.run(&["plugin", "inspect", "greedy.wasm"]).expect_code(2);
    says(&seen, &["MISMATCH: it imports wasi:http/type@", "Nothing runs it.", "It imports"]);
    let seen = project.run(&["plugin", "inspect", "greedy.wasm", "--json"]).expect_code(2).json();
    assert_eq!(seen["mismatches"][0]["mismatch"], "forbidden", "{seen:#}");
    assert_eq!(seen["risks"][0]["risk"], "ordinary");
    let seen = project.run(&["plugin", "inspect", "unasked.wasm", "--json"]).expect_code(2).json();
    assert_eq!(seen["mismatches"][0]["mismatch"], "imported_not_requested", "{seen:#}");
    assert_eq!(seen["mismatches"][0]["what"], "files");
}

fn files_in(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, |entries| {
        entries.flatten().filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')).count()
    })
}

#[test]
fn a_signature_counts_when_its_key_is_trusted_and_it_fits() {
    let project = project();
    project.write("pages.wasm", component(&[]));
    let made = project.run(&["plugin", "keygen", "acme", "--no-password", "--json"]).expect_code(0).json();
    let key = made["key_id"].as_str().unwrap();
    says(&project.run(&["plugin", "keygen", "acme", "--no-password"]).expect_code(2), &["there already"]);
    project.run(&["plugin", "sign", "pages.wasm", "--key", "acme.key"]).expect_code(0);

    let stranger = project.run(&["plugin", "install", "pages.wasm"]).expect_code(0);
    says(&stranger, &[&format!("not counted as signed: the key {key} is not one that you trust")]);
    says(&project.run(&["plugin", "trust", "list"]).expect_code(0), &["No publisher is trusted"]);
    project.run(&["plugin", "trust", "add", "acme.pub", "--name", "Acme Data"]).expect_code(0);
    says(&project.run(&["plugin", "trust", "list"]).expect_code(0), &["Acme Data", key]);
    let known = install(&project, "pages.wasm", &component(&[]), &[]);
    assert_eq!(known["installed"], false);
    assert_eq!(known["signature"]["publisher"]["name"], "Acme Data", "{known:#}");
    assert_eq!(known["signature"]["states_capabilities"], true);
    assert_eq!(known["record"]["signed_by"]["publisher"]["key_id"], key);
    says(&project.run(&["plugin", "list"]).expect_code(0), &["Acme Data"]);
    says(&project.run(&["plugin", "verify"]).expect_code(0), &["signed by Acme Data"]);

    // A signature of another file, and one whose statement was changed.
    project.write("newer.wasm", component(&[NEWER]));
    let signature = fs::read_to_string(project.path("pages.wasm.minisig")).unwrap();
    project.write("newer.wasm.minisig", &signature);
    says(&project.run(&["plugin", "install", "newer.wasm"]).expect_code(3), &["TG0209", "was changed"]);
    project.write("newer.wasm.minisig", signature.replace("0.1.0", "0.2.0"));
    says(&project.run(&["plugin", "install", "newer.wasm"]).expect_code(3), &["TG0209", "was changed"]);
    says(&project.run(&["plugin", "inspect", "newer.wasm"]).expect_code(3), &["was changed"]);

    project.run(&["plugin", "trust", "remove", "Acme Data"]).expect_code(0);
    says(&project.run(&["plugin", "verify"]).expect_code(1), &["WRONG", "not trusted any more"]);
    says(&project.run(&["plugin", "list"]).expect_code(0), &["untrusted: Acme Data"]);
    says(&project.run(&["plugin", "trust", "remove", "Acme"]).expect_code(2), &["no publisher `Acme`"]);
    let audit = fs::read_to_string(project.path(".tidegate/audit.jsonl")).unwrap();
    assert!(audit.contains(&format!("publisher:{key}")), "{audit}");
}

/// The stock tool, in both directions. `tests/run` installs it.
#[test]
fn stock_minisign_reads_our_signatures_and_we_read_its() {
    let project = project();
    let minisign = |arguments: &[&str]| {
        let output = Command::new("minisign")
            .args(arguments)
            .current_dir(project.path(""))
            .stdin(Stdio::null())
            .output()
            .expect("minisign, which `tests/run` installs");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    project.write("pages.wasm", component(&[]));
    assert!(minisign(&["-G", "-W", "-p", "stock.pub", "-s", "stock.key"]).0);
    assert!(minisign(&["-S", "-W", "-s", "stock.key", "-m", "pages.wasm"]).0);
    project.run(&["plugin", "trust", "add", "stock.pub", "--name", "Stock"]).expect_code(0);
    let installed = project.run(&["plugin", "install", "pages.wasm"]).expect_code(0);
    says(&installed, &["signed by Stock", "the signature does not state capabilities"]);

    // Its key signs with our statement, and it reads that.
    project.run(&["plugin", "sign", "pages.wasm", "--key", "stock.key"]).expect_code(0);
    let (good, told) = minisign(&["-V", "-m", "pages.wasm", "-p", "stock.pub"]);
    assert!(good, "{told}");
    assert!(told.contains(r#"tidegate:1 {"name":"pages","version":"0.1.0","digest":"sha256:"#), "{told}");
    let known = install(&project, "pages.wasm", &component(&[]), &[]);
    assert_eq!(known["signature"]["states_capabilities"], true, "{known:#}");

    // A key of ours under a password, which it asks for in the same way.
    let with_input = |arguments: &[&str], input: &str| {
        project.write("input", input);
        let input = fs::File::open(project.path("input")).unwrap();
        project.command(arguments).stdin(input).output().unwrap().status.code()
    };
    assert_eq!(with_input(&["plugin", "keygen", "ours"], "correct horse\n"), Some(0));
    assert_eq!(with_input(&["plugin", "sign", "pages.wasm", "--key", "ours.key"], "battery\n"), Some(2));
    assert_eq!(
        with_input(&["plugin", "sign", "pages.wasm", "--key", "ours.key"], "correct horse\n"),
        Some(0)
    );
    let (good, told) = minisign(&["-V", "-m", "pages.wasm", "-p", "ours.pub"]);
    assert!(good, "{told}");
    project.write("pages.wasm", component(&[RETITLED]));
    assert!(!minisign(&["-V", "-m", "pages.wasm", "-p", "ours.pub"]).0);
}

#[test]
fn a_killed_installation_leaves_all_of_a_component_or_none_of_it() {
    let project = project();
    project.write("pages.wasm", component(&[]));
    let arguments = ["plugin", "install", "pages.wasm"];
    project.run(&arguments).expect_code(0);
    let list = project.run(&["plugin", "list", "--json"]).expect_code(0).json();
    let digest = list["plugins"][1]["digest"].as_str().unwrap().to_owned();
    let remove = || project.run(&["plugin", "remove", &digest]).expect_code(0);
    remove();
    // It is compiled by now, so this is how long the others take.
    let began = Instant::now();
    project.run(&arguments).expect_code(0);
    let whole = began.elapsed();
    remove();
    let (mut all, mut none) = (0, 0);
    const KILLS: u32 = 20;
    for kill in 0..KILLS {
        let mut child = project.start(&arguments);
        // The last ones come when it is about to be done, where it writes.
        std::thread::sleep(whole * (kill + 1) / KILLS);
        child.kill().unwrap();
        child.wait().unwrap();
        let verified = project.run(&["plugin", "verify", "--json"]).expect_code(0).json();
        match (verified["verified"].as_u64(), states(&project).len()) {
            (Some(1), 1) => {
                all += 1;
                remove();
            }
            (Some(0), 0) => none += 1,
            other => panic!("{other:?}: {verified:#}"),
        }
    }
    println!("of {KILLS} killed installations {all} were complete and {none} had not begun to be");
    assert!(none > 0, "no kill came in time");
    project.run(&arguments).expect_code(0);
    assert_eq!(runs_with(&project), "0.1.0");
}

#[test]
fn documentation_comes_from_the_component_alone() {
    let project = Project::new();
    let text = project.run(&["plugin", "inspect", "files", "--docs"]).expect_code(0).stdout;
    for part in [
        "# files 0.1.0",
        "| `location` |",
        "reads the files you point it at",
        "## Streams",
        "tidegate discover",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    // Its example is a pipeline: with data in place it runs.
    let yaml = text.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    project.write("data/cities.csv", "id,name\n1,Bern\n");
    project.write("p.yaml", yaml.replace("STREAM", "cities"));
    project.load();
}
