//! What people get wrong: a clear error with a code, the right exit status, nothing half-visible.

use tidegate_sandbox_tests::CONTRADICTION;

use crate::harness::{Project, Ran, python, rows_and_keys};

const STREAM: &str = "cities: { mode: full }";

fn run(project: &Project) -> Ran {
    project.run(&["run", "p.yaml", "--yes-grant"])
}

/// The run fails with this status and says all of this; no table appeared.
#[track_caller]
fn refuses(project: &Project, code: i32, says: &[&str]) {
    let ran = run(project).expect_code(code);
    for part in says {
        assert!(ran.stderr.contains(part), "expected `{part}` in\n{}", ran.stderr);
    }
    let log = project.path("lake/cities/_delta_log");
    let visible = std::fs::read_dir(log)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| std::fs::read_to_string(entry.path()).is_ok_and(|text| text.contains("\"add\"")));
    assert!(!visible, "rows are visible after a refused run");
}

fn edited(from: &str, to: &str) -> Project {
    let project = Project::with_streams(STREAM);
    project.write("data/cities.csv", "id,name\n1,Bern\n");
    project.edit(from, to);
    project
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_what_was_meant() {
    refuses(
        &edited("connector:", "conector:"),
        2,
        &["TG0102", "conector", "p.yaml:3", "did you mean `connector`"],
    );
}

#[test]
fn a_pipeline_that_is_not_there() {
    let project = Project::new();
    let ran = project.run(&["run", "nowhere.yaml"]).expect_code(2);
    assert!(ran.stderr.contains("TG0103") && ran.stderr.contains("nowhere.yaml"), "{}", ran.stderr);
}

#[test]
fn an_option_the_connector_does_not_know_is_named_with_its_line_and_what_was_meant() {
    for (from, to, says) in [
        ("format: csv", "fromat: csv", ["TG0102", "unknown key `fromat`", "p.yaml:4:31", "`format`?"]),
        ("format: csv", "format: csvv", ["TG0105", "unknown value `csvv`", "p.yaml:4:31", "`csv`?"]),
        // Before anything else is missed that such a key would give.
        ("location: ./data", "locaton: ./data", ["TG0102", "`locaton`", "p.yaml:4:13", "`location`?"]),
        (
            "format: csv",
            "streams: { cities: { pth: x } }",
            ["TG0102", "unknown key `pth`", "p.yaml:4:52", "`path`?"],
        ),
    ] {
        refuses(&edited(from, to), 2, &says);
    }
}

#[test]
fn a_limit_that_nothing_could_keep_is_the_pipeline_file_s_mistake() {
    for (limits, says) in [
        ("memory: 1MiB", ["TG0106", "p.yaml:7:13", "the least is 2MiB"]),
        ("parallelism: 0", ["TG0106", "p.yaml:7:13", "at least 1"]),
    ] {
        refuses(&edited("ingest:", &format!("  limits: {{ {limits} }}\ningest:")), 2, &says);
    }
}

#[test]
fn a_component_whose_request_its_configuration_contradicts_is_refused_wherever_it_is_met() {
    let project = edited("files@0.1", CONTRADICTION);
    let says =
        ["TG0204", "`config.adress`", "has no such key", "contradiction.wasm", "did you mean `address`?"];
    for arguments in [
        &["plugin", "inspect", CONTRADICTION][..],
        &["test", CONTRADICTION],
        &["run", "p.yaml", "--yes-grant"],
        &["discover", "p.yaml", "--yes-grant"],
    ] {
        let ran = project.run(arguments).expect_code(2);
        for part in says {
            assert!(ran.stderr.contains(part), "{arguments:?}: expected `{part}` in\n{}", ran.stderr);
        }
        assert_eq!(ran.stdout, "");
    }
}

#[test]
fn a_run_that_failed_tells_every_fault_and_every_stream_that_landed() {
    let project = Project::with_streams(
        "cities: { mode: full }\ncitis: { mode: full }\ntowns: { mode: incremental, cursor: nubmer }",
    );
    project.write("data/cities.csv", "id,name\n1,Bern\n2,Basel\n");
    project.write("data/towns.csv", "id,number\n1,1\n");
    let document = project.run(&["run", "p.yaml", "--yes-grant", "--json"]).expect_code(2).json();
    let mut faults: Vec<_> = document["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| [&error["stream"], &error["code"]].map(|text| text.as_str().unwrap().to_owned()))
        .collect();
    faults.sort();
    assert_eq!(faults, [["citis", "TG0405"], ["towns", "TG0106"]], "{document:#}");
    assert_eq!(document["exit"], 2, "{document:#}");
    let cities = &document["streams"]["cities"];
    assert_eq!((&cities["rows"], &cities["complete"]), (&2.into(), &true.into()), "{document:#}");
    assert!(cities["table_version"].is_u64(), "{document:#}");
    assert_eq!(document["summary"]["rows"], 2, "{document:#}");
    assert_eq!(rows_and_keys(&project.read("cities", "id")), (2, 2));

    let told = run(&project).expect_code(2).stderr;
    for part in ["error[TG0405]", "did you mean `cities`?", "error[TG0106]", "`nubmer`", "cities (2 rows)"] {
        assert!(told.contains(part), "expected `{part}` in\n{told}");
    }
}

#[test]
fn a_missing_folder() {
    let project = edited("./data", "./dta");
    let ran = run(&project);
    assert!(ran.code == Some(1) || ran.code == Some(2), "{:?}", ran.code);
    assert!(ran.stderr.contains("TG04") || ran.stderr.contains("TG01"), "{}", ran.stderr);
    assert!(ran.stderr.contains("./dta"), "{}", ran.stderr);
}

#[test]
fn a_stream_that_the_source_does_not_have() {
    refuses(&edited("cities: {", "citeis: {"), 2, &["TG0405", "citeis", "cities"]);
}

#[test]
fn an_unreadable_file() {
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::os::unix::process::CommandExt;
    let project = edited("pipeline: p", "pipeline: p");
    let mode = |path: &str, mode| {
        std::fs::set_permissions(project.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("data/cities.csv", 0o0);
    let mut command = project.command(&["run", "p.yaml", "--yes-grant"]);
    if std::fs::read(project.path("data/cities.csv")).is_ok() {
        // Root reads everything, so somebody else runs it, with a cache of its own.
        const NOBODY: u32 = 65_534;
        chown(project.path(""), Some(NOBODY), Some(NOBODY)).unwrap();
        command.uid(NOBODY).gid(NOBODY).env("TIDEGATE_CACHE_DIR", project.path("cache"));
        if command.output().is_err() {
            return; // The binary lies where only root can go.
        }
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{said}");
    assert!(said.contains("cities.csv") && said.to_lowercase().contains("permission"), "{said}");
    assert!(!project.path("lake/cities/_delta_log").exists());
}

#[test]
fn a_broken_row_costs_that_row_and_is_kept_with_its_line() {
    let project = Project::with_streams(STREAM);
    let mut text = String::from("id,name\n");
    for id in 0..5_000 {
        text.push_str(&if id == 2_500 {
            "2500,too,many,fields\n".to_owned()
        } else {
            format!("{id},city\n")
        });
    }
    project.write("data/cities.csv", text);
    let summary = project.load();
    assert_eq!(summary["streams"]["cities"]["rows"], 4_999);
    assert_eq!(summary["streams"]["cities"]["rejected"], 1);
    assert_eq!(rows_and_keys(&project.read("cities", "id")), (4_999, 4_999));
    let kept = find(&project.path("lake/cities/_tidegate"), "rejects");
    assert!(
        kept.contains("too,many,fields") && kept.contains("cities.csv") && kept.contains("2502"),
        "{kept}"
    );
}

/// The text of all files below folders of this name.
fn find(folder: &std::path::Path, name: &str) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            text.push_str(&find(&path, name));
        } else if path.components().any(|part| part.as_os_str() == name) {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
    text
}

#[test]
fn a_parquet_file_cut_short() {
    let project = edited("format: csv", "format: parquet");
    std::fs::remove_file(project.path("data/cities.csv")).unwrap();
    python("write_files.py", &[&project.path("made").display().to_string()]);
    let whole = std::fs::read(project.path("made/parquet/cities.parquet")).unwrap();
    project.write("data/cities.parquet", &whole[..whole.len() / 2]);
    let ran = run(&project);
    assert!(matches!(ran.code, Some(1 | 2)), "{:?}\n{}", ran.code, ran.stderr);
    assert!(ran.stderr.contains("cities.parquet") && ran.stderr.contains("TG0"), "{}", ran.stderr);
}

#[test]
fn a_type_that_differs_between_files_is_told() {
    let project = Project::with_streams("cities: { mode: full }");
    project.write("data/cities/a.csv", "id,name\n1,Bern\n");
    project.write("data/cities/b.csv", "id,name\nx2,Basel\n");
    let ran = run(&project).expect_code(0);
    assert!(ran.text().contains("id"), "{}", ran.text());
    let seen = project.read("cities", "id");
    assert_eq!(rows_and_keys(&seen), (2, 2));
    assert_eq!(seen["duckdb"]["columns"]["id"], "VARCHAR");
}

#[test]
fn a_type_change_that_the_pipeline_freezes() {
    let project = edited(
        "location: ./lake\n",
        "location: ./lake\n  schema_change: { columns: freeze, data_type: freeze }\n",
    );
    project.load();
    project.write("data/cities.csv", "id,name\none,Bern\n");
    let ran = run(&project).expect_code(1);
    assert!(ran.stderr.contains("TG0502") && ran.stderr.contains("id"), "{}", ran.stderr);
    project.write("data/cities.csv", "id,name,canton\n2,Bern,BE\n");
    let ran = run(&project).expect_code(1);
    assert!(ran.stderr.contains("TG0502") && ran.stderr.contains("canton"), "{}", ran.stderr);
    assert_eq!(rows_and_keys(&project.read("cities", "id")), (1, 1));
}

#[test]
fn a_new_column_is_followed_when_the_pipeline_says_so() {
    let project = edited("pipeline: p", "pipeline: p");
    project.load();
    project.write("data/cities.csv", "id,name,canton\n2,Basel,BS\n");
    project.load();
    let seen = project.read("cities", "id");
    assert_eq!(rows_and_keys(&seen), (2, 2));
    assert_eq!(seen["duckdb"]["nulls"]["canton"], 1);
}

#[test]
fn a_component_that_is_none() {
    let project = edited("files@0.1", "./hello.wasm");
    project.write("hello.wasm", "hello");
    refuses(&project, 2, &["TG0202", "hello.wasm"]);
    project.write("hello.wasm", b"\0asm\x01\0\0\0");
    refuses(&project, 2, &["TG0202", "component"]);
}

#[test]
fn no_such_connector() {
    refuses(&edited("files@0.1", "flies@0.1"), 2, &["TG0201", "files"]);
    refuses(&edited("files@0.1", "files@7"), 2, &["TG0201", "0.1.0"]);
}

#[test]
fn a_component_for_another_contract() {
    let project = edited("files@0.1", "./other.wasm");
    project.run(&["plugin", "list"]).expect_code(0);
    project.run(&["check", "p.yaml"]).expect_code(2);
    // A real component, with the version in its import and export names moved on.
    let other = edited("pipeline: p", "pipeline: p");
    run(&other).expect_code(0);
    let plugins = std::fs::read_dir(other.path(".tidegate/cache")).unwrap();
    let built =
        plugins.flatten().find(|entry| entry.path().extension().is_some_and(|e| e == "wasm")).unwrap();
    let mut bytes = std::fs::read(built.path()).unwrap();
    let (from, to) = (b"@0.3.0", b"@9.2.0");
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(from.len()).position(|window| window == from) {
        at += found;
        // Only the contract's own names: WASI's have other versions.
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    project.write("other.wasm", bytes);
    refuses(&project, 2, &["TG0203", "9.2", "0.3"]);
}

#[test]
fn a_full_disk() {
    let project = Project::with_streams(STREAM);
    let lake = project.path("lake");
    std::fs::create_dir_all(&lake).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
        .arg(&lake)
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        eprintln!("not tried: mounting a small tmpfs needs root");
        return;
    }
    let mut text = String::from("id,name\n");
    for id in 0..200_000_u64 {
        text.push_str(&format!("{id},{:x}\n", id.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    }
    project.write("data/cities.csv", text);
    let ran = run(&project);
    let log = std::fs::read_dir(lake.join("cities/_delta_log")).into_iter().flatten().flatten().count();
    let _ = std::process::Command::new("umount").arg(&lake).status();
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("TG0501") && ran.stderr.contains("space"), "{}", ran.stderr);
    assert!(log <= 1, "at most the empty table was created");
}
