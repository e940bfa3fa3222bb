//! Nothing runs that nobody granted, and what is refused says how it would be allowed.

use std::process::Child;

use rustix::process::{Signal, kill_process, test_kill_process};
use tidegate_sandbox_tests::ROUNDTRIP;

use crate::harness::{Project, flights, rows_and_keys, worker_of};

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

/// A load that goes on for a while, once it has begun to write.
fn loading() -> (Project, Child) {
    let project = Project::with_streams("flights: { mode: full }");
    flights(&project, 1_500_000, 12);
    project.edit("  streams:", "  limits: { parallelism: 1 }\n  streams:");
    project.run(&["grant", "add", "p.yaml", "--yes"]).expect_code(0);
    let running = project.start(&["run", "p.yaml"]);
    let began = std::time::Instant::now();
    while !project.path("lake/flights").exists() {
        assert!(began.elapsed().as_secs() < 60, "the run never began to write");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    (project, running)
}

/// What a run said that ends because something is not permitted.
fn refused(project: &Project, mut running: Child) -> String {
    let ended = running.wait().unwrap();
    let said = std::fs::read_to_string(project.path("start.log")).unwrap();
    assert_eq!(ended.code(), Some(3), "{said}");
    said
}

#[test]
fn what_is_taken_back_ends_the_run_that_uses_it() {
    let (project, running) = loading();
    project.run(&["grant", "revoke", "p.yaml"]).expect_code(0);
    let said = refused(&project, running);
    assert!(said.contains("TG0306") && said.contains("files ./data"), "{said}");

    // What was committed stays, and once it is granted again the rest follows.
    project.load();
    assert_eq!(rows_and_keys(&project.read("flights", "id")), (1_500_000, 1_500_000));
}

#[test]
fn what_nobody_can_grant_is_explained_by_the_ceiling_and_can_be_read() {
    let mut project = project();
    project.run(&["grant", "add", "p.yaml", "--yes"]).expect_code(0);
    project.variable("TIDEGATE_CEILING", "strict");
    let told =
        project.run(&["grant", "explain", "p.yaml", "files.read", "./data/cities.csv"]).expect_code(0).stdout;
    assert!(told.starts_with("refused") && told.contains("by       ceiling.local-files, strict:"), "{told}");
    let diff = project.run(&["grant", "diff", "p.yaml"]).expect_code(0).stdout;
    assert!(diff.contains("! read files below ./data") && !diff.contains("approves it"), "{diff}");
    let policies = project.run(&["grant", "policies"]).expect_code(0).stdout;
    for part in ["// ==== policies/roles.cedar", "// ==== strict", "ceiling.local-files", "role.viewer"] {
        assert!(policies.contains(part), "no {part} in\n{policies}");
    }
}

#[test]
fn a_component_that_is_revoked_stops() {
    let (project, running) = loading();
    let digest =
        project.run(&["plugin", "inspect", "files", "--json"]).expect_code(0).json()["digest"].clone();
    project.run(&["plugin", "revoke", digest.as_str().unwrap(), "--reason", "leaks rows"]).expect_code(0);
    let said = refused(&project, running);
    assert!(said.contains("TG0208") && said.contains("leaks rows"), "{said}");
}

/// As one would be that is in somebody else's hands: it does not ask, and would not listen.
#[test]
fn a_worker_that_does_not_end_when_something_is_taken_back_is_killed() {
    let (project, running) = loading();
    let worker = worker_of(running.id()).unwrap();
    kill_process(worker, Signal::STOP).unwrap();
    project.run(&["grant", "revoke", "p.yaml"]).expect_code(0);
    let said = refused(&project, running);
    assert!(said.contains("TG0306") && said.contains("files ./data"), "{said}");
    assert!(test_kill_process(worker).is_err(), "it is still there");
}

/// Nobody knows then what is still granted. A connector that only waits is ended too, whatever it is asked.
#[test]
fn grants_that_cannot_be_read_any_more_end_what_uses_them() {
    for (command, during) in [("run", "read"), ("check", "check"), ("discover", "discover")] {
        let project = Project::new();
        project.write("roundtrip.wasm", std::fs::read(ROUNDTRIP).unwrap());
        project.write(
            "p.yaml",
            format!(
                "pipeline: p\nextract:\n  connector: ./roundtrip.wasm\n  config: {{ mischief: sleep, during: {during} }}\n  streams:\n    roundtrip: {{ mode: full }}\ningest: {{ sink: delta, location: ./lake }}\n"
            ),
        );
        let running = project.start(&[command, "p.yaml"]);
        let began = std::time::Instant::now();
        let audit = || std::fs::read_to_string(project.path(".tidegate/audit.jsonl")).unwrap_or_default();
        while !audit().contains("service:extraction") {
            assert!(began.elapsed().as_secs() < 60, "{command} never began");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        project.write("grants.yaml", "grants: [");
        let said = refused(&project, running);
        assert!(said.contains("TG0306") && said.contains("cannot be read any more"), "{command}: {said}");
    }
}

#[test]
fn a_grant_that_would_mean_something_else_is_refused() {
    let project = project();
    for (arguments, expected) in [
        (["--expires", "2020-01-01"], "that is over already"),
        (["--expires", "0d"], "that is over already"),
        (["--columns", "citys=id"], "did you mean `cities`"),
    ] {
        let refused =
            project.run(&[&["grant", "add", "p.yaml", "--yes"], &arguments[..]].concat()).expect_code(2);
        assert!(refused.stderr.contains(expected), "{arguments:?}: {}", refused.stderr);
    }
    assert!(!project.path("grants.yaml").exists());
}

/// An update, and the end of a grant, give back nothing that was narrowed.
#[test]
fn columns_stay_narrowed_until_somebody_grants_anew() {
    let project = project();
    project.run(&["grant", "add", "p.yaml", "--yes", "--columns", "cities=id"]).expect_code(0);
    let path = project.path("grants.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let digest = text.lines().find(|line| line.contains("digest:")).unwrap().to_owned();
    let other = format!("    digest: sha256:{}", "ab".repeat(32));
    std::fs::write(&path, text.replace(&digest, &other)).unwrap();
    let ran = project.load();
    assert_eq!(ran["streams"]["cities"]["columns"], 1, "{ran:#}");
}

#[test]
fn a_part_can_be_granted_and_the_rest_is_shown() {
    let project = project();
    let refused = project.run(&["grant", "add", "p.yaml", "--yes", "--only", "sorce"]).expect_code(2);
    assert!(refused.stderr.contains("did you mean `source`"), "{}", refused.stderr);
    // Where nobody can be asked, what is to be added is what was chosen.
    let unasked = project.run(&["grant", "add", "p.yaml", "--only", "source"]).expect_code(3).stderr;
    let (_, grant) = unasked.split_once("add this to").unwrap();
    assert!(grant.contains("kind: files") && !grant.contains("kind: decode"), "{grant}");
    project.run(&["grant", "add", "p.yaml", "--yes", "--only", "source", "--expires", "90d"]).expect_code(0);
    let diff = project.run(&["grant", "diff", "p.yaml"]).expect_code(0);
    assert!(
        diff.stdout.contains("  read files below ./data (`source`, ordinary, granted)"),
        "{}",
        diff.stdout
    );
    assert!(
        diff.stdout.contains("+ use the host's decoders (`kernels`, ordinary, asked for)"),
        "{}",
        diff.stdout
    );
    let list = project.run(&["grant", "list", "p.yaml", "--json"]).expect_code(0).json();
    assert_eq!(list["grants"][0]["allow"].as_array().unwrap().len(), 1, "{list:#}");
    assert!(list["grants"][0]["expires"].is_string(), "{list:#}");
}

#[test]
fn what_was_narrowed_is_widened_by_its_name_only() {
    let project = project();
    let allowed = || {
        let list = project.run(&["grant", "list", "p.yaml", "--json"]).expect_code(0).json();
        let allow = list["grants"].as_array().unwrap().last().unwrap()["allow"].clone();
        allow.as_array().unwrap().iter().find_map(|one| one["target"].as_str().map(str::to_owned)).unwrap()
    };
    project.run(&["grant", "add", "p.yaml", "--yes", "--narrow", "source=./data/cities.csv"]).expect_code(0);
    assert_eq!(allowed(), "./data/cities.csv");
    let again = project.run(&["grant", "add", "p.yaml", "--yes"]).expect_code(0);
    assert!(
        again.stderr.contains("a part of `source` is granted; `--only source` grants all"),
        "{}",
        again.stderr
    );
    assert_eq!(allowed(), "./data/cities.csv");
    project.run(&["grant", "add", "p.yaml", "--yes", "--only", "source"]).expect_code(0);
    assert_eq!(allowed(), "./data");
}

#[test]
fn an_answer_names_its_policy_and_line() {
    let project = project();
    project.run(&["grant", "add", "p.yaml", "--yes"]).expect_code(0);
    for (question, verdict, place) in [
        (&["files.read", "./data/cities.csv"][..], "allowed", "grants.yaml:"),
        (&["files.read", "/etc/passwd"], "refused", "no policy"),
        (&["http.request", "https://example.org"], "refused", "no policy"),
        (&["sink.write", "./lake"], "allowed", "policies/modules.cedar:"),
        (&["sink.write", "./elsewhere"], "refused", "no policy"),
        (&["run.start"], "allowed", "policies/roles.cedar:"),
    ] {
        let words = [&["grant", "explain", "p.yaml"], question].concat();
        let told = project.run(&words).expect_code(0).stdout;
        assert!(told.starts_with(verdict) && told.contains(place), "{question:?}: {told}");
    }
    let unknown = project.run(&["grant", "explain", "p.yaml", "file.read", "x"]).expect_code(2);
    assert!(unknown.stderr.contains("did you mean `files.read`"), "{}", unknown.stderr);
}

#[test]
fn a_ceiling_is_above_every_grant() {
    let mut project = project();
    project.load();
    let ceiling = "@id(\"none\")\n@why(\"nothing is read here\")\n@code(\"ceiling\")\nforbid (principal, action == Action::\"grant.add\", resource) when { resource.kind == \"files\" };\n";
    project.write("org.cedar", ceiling);
    let path = project.path("org.cedar").display().to_string();
    project.variable("TIDEGATE_CEILING", &path);
    let refused = project.run(&["run", "p.yaml"]).expect_code(3);
    assert!(
        refused.stderr.contains("TG0302") && refused.stderr.contains("nothing is read here"),
        "{}",
        refused.stderr
    );
    project.write("org.cedar", "forbid (principal, action, resource);");
    let broken = project.run(&["run", "p.yaml"]).expect_code(2);
    assert!(broken.stderr.contains("TG0307"), "{}", broken.stderr);
}

#[test]
fn a_rehearsal_needs_somebody_who_watches() {
    let project = project();
    let refused = project.run(&["run", "p.yaml", "--permissions", "audit"]).expect_code(2);
    assert!(refused.stderr.contains("TG0104") && refused.stderr.contains("terminal"), "{}", refused.stderr);
}

#[test]
fn a_column_that_was_not_granted_never_lands() {
    let project = project();
    project.write("data/cities.csv", "id,name\n1,Bern\nx,Basel\n3,Graz\n");
    project.run(&["grant", "add", "p.yaml", "--yes", "--columns", "cities=id"]).expect_code(0);
    let ran = project.run(&["run", "p.yaml", "--json"]).expect_code(0).json();
    assert_eq!(ran["streams"]["cities"]["columns"], 1, "{ran:#}");
    let denied = project.run(&["audit", "tail", "p.yaml", "--denied"]).expect_code(0).stdout;
    assert!(denied.contains("column:cities.name"), "{denied}");
    let text = std::fs::read_to_string(project.path("grants.yaml")).unwrap();
    let line = 1 + text.lines().position(|line| line.contains("cities: [id]")).unwrap();
    let place = format!("grant.p.columns.cities, grants.yaml:{line}");
    for (column, verdict, by) in [
        ("cities.id", "allowed", "grant.p.columns, grants"),
        ("cities.name", "refused", &place),
        ("other.name", "allowed", "grant.p.columns, grants"),
    ] {
        let told = project.run(&["grant", "explain", "p.yaml", "column.read", column]).expect_code(0).stdout;
        assert!(told.starts_with(verdict) && told.contains(by), "{column}: {told}");
    }
    // Something else that is missing is granted beside it, and widens nothing.
    let grants = std::fs::read_to_string(project.path("grants.yaml")).unwrap();
    project.write("grants.yaml", grants.replace("      - { kind: decode }\n", ""));
    project.load();
    let kept = std::fs::read_to_string(project.path("grants.yaml")).unwrap();
    assert!(kept.contains("kind: decode") && kept.contains("cities: [id]"), "{kept}");

    project.edit("{ mode: full }", "{ mode: incremental, cursor: name }");
    let refused = project.run(&["run", "p.yaml"]).expect_code(3);
    assert!(refused.stderr.contains("needs its column `name`"), "{}", refused.stderr);
}
