//! The record of a run, by the command and its worker together: whole, sealed, and never silently another.

use std::fs;

use crate::harness::Project;

fn ran() -> Project {
    let project = Project::with_streams("cities: { mode: full }");
    project.write("data/cities.csv", "id,name\n1,Bern\n");
    project.load();
    project
}

#[test]
fn what_a_run_recorded_is_sealed_and_one_byte_of_it_matters() {
    let project = ran();
    let path = project.path(".tidegate/audit.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    for who in ["\"user:", "\"plugin:files@", "\"service:ingestion"] {
        assert!(text.contains(who), "{who} wrote nothing\n{text}");
    }
    let seen = project.run(&["audit", "verify", "--json"]).expect_code(0).json();
    let records = text.lines().count();
    assert_eq!(seen["verified"]["records"], records, "{seen:#}");
    assert_eq!(seen["verified"]["sealed"], records, "{seen:#}");
    let again = project.run(&["audit", "verify", "p.yaml"]).expect_code(0);
    assert!(again.stdout.contains("nothing is amiss.\nSealed with the key "), "{}", again.stdout);
    assert!(!again.stdout.contains("not sealed yet"), "{}", again.stdout);

    let line = text.lines().position(|line| line.contains("files.read")).unwrap();
    fs::write(&path, text.replacen("files.read", "files.reed", 1)).unwrap();
    let broken = project.run(&["audit", "verify", "--json"]).expect_code(1).json();
    assert_eq!(broken["error"]["code"], "TG0304", "{broken:#}");
    assert_eq!(broken["error"]["place"]["line"], line + 1, "{broken:#}");
    // It is told each time, whatever is recorded after it.
    project.run(&["run", "p.yaml"]).expect_code(0);
    project.run(&["audit", "verify"]).expect_code(1);
}

#[test]
fn a_run_and_its_worker_are_of_one_trace() {
    let mut project = Project::with_streams("cities: { mode: full }");
    project.write("data/cities.csv", "id,name\n1,Bern\n");
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    project.variable("TRACEPARENT", &format!("00-{trace}-00f067aa0ba902b7-01"));
    project.load();
    let text = fs::read_to_string(project.path(".tidegate/audit.jsonl")).unwrap();
    for line in text.lines() {
        assert!(line.contains(&format!("\"trace\":\"{trace}\"")), "{line}");
    }
}

#[test]
fn an_audit_that_was_taken_away_with_its_folder_is_missed() {
    let project = ran();
    fs::rename(project.path(".tidegate"), project.path("away")).unwrap();
    let gone = project.run(&["audit", "verify"]).expect_code(1);
    assert!(gone.stderr.contains("an audit was sealed here, and is gone"), "{}", gone.stderr);
    fs::rename(project.path("away"), project.path(".tidegate")).unwrap();
    project.run(&["audit", "verify"]).expect_code(0);
}

#[test]
fn a_denied_run_is_sealed_too_and_a_cut_is_seen() {
    let project = Project::with_streams("cities: { mode: full }");
    project.write("data/cities.csv", "id,name\n1,Bern\n");
    project.run(&["run", "p.yaml"]).expect_code(3);
    project.run(&["audit", "tail"]).expect_code(0);
    let path = project.path(".tidegate/audit.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, &text[..=text.trim_end().rfind('\n').unwrap()]).unwrap();
    let cut = project.run(&["audit", "verify"]).expect_code(1);
    assert!(cut.stderr.contains("lines were cut off at the end"), "{}", cut.stderr);
}

#[test]
fn a_key_that_cannot_be_had_is_said_and_stops_nothing() {
    let mut project = Project::with_streams("cities: { mode: full }");
    project.write("data/cities.csv", "id,name\n1,Bern\n");
    project.write("taken", "a file where a folder should be");
    let taken = project.path("taken").display().to_string();
    project.variable("XDG_CONFIG_HOME", &taken);
    let ran = project.run(&["run", "p.yaml", "--yes-grant"]).expect_code(0);
    assert!(ran.stderr.contains("the audit is not sealed: "), "{}", ran.stderr);
}
