//! Nothing runs that nobody granted, and what is refused says how it would be allowed.

use crate::harness::Project;

fn project() -> Project {
    let project = Project::with_streams("cities: { mode: full }");
    project.write("data/cities.csv", "id,name\n1,Bern\n");
    project
}

#[test]
fn without_a_grant_and_a_terminal_a_run_exits_3_and_the_printed_grant_works() {
    let project = project();
    let ran = project.run(&["run", "p.yaml"]).expect_code(3);
    assert!(ran.stderr.contains("TG0301"), "{}", ran.stderr);
    assert!(!project.path("lake").exists());
    let text = ran.text();
    let grant: Vec<&str> = text
        .lines()
        .skip_while(|line| line.trim() != "grants:")
        .take_while(|line| !line.trim().is_empty())
        .collect();
    let indent = grant[0].len() - grant[0].trim_start().len();
    let yaml: String = grant.iter().map(|line| format!("{}\n", &line[indent..])).collect();
    project.write("grants.yaml", yaml);
    project.run(&["run", "p.yaml"]).expect_code(0);
}

#[test]
fn a_grant_for_one_place_is_none_for_another() {
    let project = project();
    project.load();
    project.edit("./data", "./other");
    project.write("other/cities.csv", "id,name\n1,Bern\n");
    project.run(&["run", "p.yaml"]).expect_code(3);
}

#[test]
fn a_revoked_grant_is_gone() {
    let project = project();
    project.load();
    project.run(&["grant", "list", "p.yaml"]).expect_code(0);
    project.run(&["grant", "revoke", "p.yaml"]).expect_code(0);
    project.run(&["run", "p.yaml"]).expect_code(3);
}

#[test]
fn the_audit_tells_who_asked_for_what() {
    let project = project();
    project.run(&["run", "p.yaml"]).expect_code(3);
    project.load();
    let audit = std::fs::read_to_string(project.path(".tidegate/audit.jsonl")).unwrap();
    for line in audit.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    for part in ["\"deny\"", "\"allow\"", "files.read", "plugin:files@"] {
        assert!(audit.contains(part), "no {part} in\n{audit}");
    }
    let denied = project.run(&["audit", "tail", "--denied"]).expect_code(0);
    assert!(denied.stdout.contains("DENY"), "{}", denied.stdout);
}
