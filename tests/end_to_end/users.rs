//! What people may do, by their role.

use std::collections::BTreeSet;

use tidegate_infrastructure::user_name;

use crate::harness::{Project, Ran};

fn project() -> Project {
    let project = Project::with_streams("cities: { mode: full }");
    project.write("data/cities.csv", "id,name\n1,Bern\n");
    project
}

/// `tidegate user` on the folder that the pipeline's runs use.
fn user(project: &Project, arguments: &[&str]) -> Ran {
    project.run(&[&["user"], arguments].concat())
}

#[test]
fn who_there_is_is_kept_and_told() {
    let project = project();
    let me = user_name();
    let nobody = user(&project, &["list"]).expect_code(0);
    assert_eq!(nobody.stdout, "Nobody was added: whoever runs a command is an admin.\n");
    assert!(!project.path(".tidegate/store").exists(), "to look brings no store into being");

    let first = user(&project, &["set", "alice", "--role", "operator"]).expect_code(2);
    assert!(first.stderr.contains("nobody would be an admin"), "{}", first.stderr);
    assert!(first.stderr.contains(&format!("tidegate user set {me} --role admin")), "{}", first.stderr);
    user(&project, &["set", &me, "--role", "admin"]).expect_code(0);
    let added = user(&project, &["set", "alice", "--role", "author", "--role", "operator"]).expect_code(0);
    assert!(added.stdout.starts_with("alice is operator and author in "), "{}", added.stdout);
    let wrong = user(&project, &["set", "alice", "--role", "boss"]).expect_code(2);
    assert!(wrong.stderr.contains("write viewer, operator, author or admin"), "{}", wrong.stderr);

    let listed = user(&project, &["list", "--json"]).expect_code(0).json();
    let names: BTreeSet<&str> =
        listed["users"].as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap()).collect();
    assert_eq!(names, BTreeSet::from(["alice", me.as_str()]));
    let gone = user(&project, &["remove", "alise"]).expect_code(2);
    assert!(gone.stderr.contains("did you mean `alice`"), "{}", gone.stderr);
    user(&project, &["remove", "alice"]).expect_code(0);
    let audit = project.run(&["audit", "tail"]).expect_code(0);
    for part in ["user.write", "user.remove", "user:alice"] {
        assert!(audit.stdout.contains(part), "no {part} in\n{}", audit.stdout);
    }
}

/// A table of roles and of what each may do: what comes of a command is 3 where it is denied.
#[test]
fn each_does_what_its_role_says_and_no_more() {
    let me = user_name();
    let commands: [(&str, &[&str]); 9] = [
        ("list", &["user", "list"]),
        ("plugins", &["plugin", "list"]),
        ("grants", &["grant", "list"]),
        ("why", &["grant", "explain", "p.yaml", "run.start"]),
        ("run", &["run", "p.yaml"]),
        ("grant", &["grant", "add", "p.yaml", "--yes", "--expires", "30d"]),
        ("tell", &["audit", "tail"]),
        ("keep", &["store", "backup", "store.backup"]),
        ("add", &["user", "set", "eve", "--role", "admin"]),
    ];
    for (roles, service, may) in [
        ("", false, ""),
        ("viewer", false, "list plugins grants why"),
        ("operator", false, "list plugins grants why run tell keep"),
        ("author", false, "list plugins grants why run grant tell"),
        ("admin", false, "list plugins grants why run grant tell keep add"),
        // What people decide is theirs, whatever the role.
        ("admin", true, "list plugins grants why run tell keep"),
        ("author", true, "list plugins grants why run tell"),
    ] {
        let project = project();
        // Granted beforehand, by an admin.
        project.run(&["grant", "add", "p.yaml", "--yes"]).expect_code(0);
        user(&project, &["set", "boss", "--role", "admin"]).expect_code(0);
        if !roles.is_empty() {
            // Whoever types this is not in the list any more: a store of the test's own puts them there.
            let store = tidegate_infrastructure::SledStore::open(
                &tidegate_infrastructure::DataDir::open(project.path(".tidegate")).unwrap(),
            )
            .unwrap();
            let roles = [roles.parse().unwrap()].into();
            tidegate_permission::Users::of(&store)
                .set(&me, roles, service, &tidegate_permission::Principal::operator())
                .unwrap();
        }
        for (name, command) in commands {
            let ran = project.run(command);
            let expected = if may.split(' ').any(|one| one == name) { 0 } else { 3 };
            assert_eq!(ran.code, Some(expected), "{roles}: {name}\n{}", ran.text());
            if expected == 3 && service && ["grant", "add"].contains(&name) {
                assert!(ran.stderr.contains("a service account does what people decided"), "{}", ran.stderr);
            } else if expected == 3 {
                let words = format!("tidegate user set {me} --role ROLE");
                assert!(ran.stderr.contains(&words), "{roles}: {name}\n{}", ran.stderr);
            }
        }
        if service {
            let audit = std::fs::read_to_string(project.path(".tidegate/audit.jsonl")).unwrap();
            let denial = format!("\"principal\":\"account:{me}\",\"action\":\"grant.add\"");
            assert!(audit.contains(&denial), "no {denial} in {audit}");
            let run = format!("\"on_behalf_of\":\"account:{me}\"");
            assert!(audit.contains(&run), "no {run} in {audit}");
        }
    }
}
