//! From a request to a grant and back.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at files from outside")]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;
use tidegate_model::{CapabilityKind, ComponentRef, Manifest, Permission, PipelineName, PublisherRef};
use tidegate_permission::{Ceiling, Choice, Grant, Grants, Principal, Review};

fn component(digit: &str) -> ComponentRef {
    ComponentRef {
        name: "files".into(),
        version: semver::Version::new(0, 1, 0),
        digest: format!("sha256:{}", digit.repeat(64)),
        path: "files.wasm".into(),
        publisher: None,
    }
}

fn pipeline() -> PipelineName {
    PipelineName::new("flights").unwrap()
}

fn manifest() -> Manifest {
    serde_json::from_value(json!({
        "contract": "0.3", "name": "files", "version": "0.1.0", "world": "extractor",
        "capabilities": [
            { "id": "source", "kind": "files", "target": "{config.location}", "required": true,
              "reason": "reads the files you point it at" },
            { "id": "kernels", "kind": "decode", "reason": "reads faster\u{1b}[2J" },
            { "id": "hook", "kind": "http", "target": "{config.hook}", "reason": "tells a hook" },
        ],
    }))
    .unwrap()
}

fn review(grants: &Grants, config: &serde_json::Value, digit: &str) -> Review {
    Review::of(
        &manifest(),
        &component(digit),
        &pipeline(),
        config,
        &BTreeMap::new(),
        grants,
        &Ceiling::developer().unwrap(),
    )
    .unwrap()
}

fn load(folder: &Path) -> Grants {
    Grants::load(folder.join("grants.yaml")).unwrap()
}

#[test]
fn from_the_first_question_to_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({ "location": "./data" });
    let mut grants = load(folder.path());
    let asked = review(&grants, &config, "a");
    assert_eq!(
        asked.in_words(),
        [
            "read files below ./data: reads the files you point it at (`source`, required)",
            "use the host's decoders: reads faster\u{fffd}[2J (`kernels`, optional)",
            "send HTTP requests to a place that is not configured: tells a hook (`hook`, optional, not used by this configuration)",
        ]
    );
    assert!(asked.effective().is_empty());
    let fault = asked.require(&grants).unwrap_err();
    assert_eq!(fault.code.to_string(), "TG0301");
    assert_eq!(fault.message, "files@0.1.0 is not granted to read files below ./data for pipeline `flights`");
    let digest = component("a").digest;
    assert_eq!(
        fault.help.unwrap(),
        format!(
            "to allow it, add this to {}:
grants:
  - pipeline: flights
    connector: files@0.1.0
    digest: {digest}
    allow:
      - {{ kind: files, target: ./data }}
      - {{ kind: decode }}",
            folder.path().join("grants.yaml").display()
        )
    );

    grants.add(asked.grant_to_add()).unwrap();
    let asked = review(&load(folder.path()), &config, "a");
    assert!(asked.missing_required().is_empty());
    let permissions: Vec<_> = asked.require(&grants).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(permissions, ["files ./data", "decode"]);

    // Another place is another grant, and so is another build.
    assert_eq!(review(&grants, &json!({ "location": "./other" }), "a").missing_required().len(), 1);
    let rebuilt = review(&grants, &config, "b");
    assert_eq!(
        rebuilt.require(&grants).unwrap_err().message,
        "files@0.1.0 is not granted to read files below ./data for pipeline `flights`; \
         the component changed since it was granted: sha256:aaaaaaaaaaaa -> sha256:bbbbbbbbbbbb"
    );
    grants.add(rebuilt.grant_to_add()).unwrap();
    assert_eq!(
        load(folder.path()).list(),
        [rebuilt.grant_to_add()],
        "the old build's grant is of no use any more"
    );
}

#[test]
fn what_is_printed_works_when_it_is_pasted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grants.yaml");
    let mut text = String::new();
    for location in ["./data", "s3://bucket/a b?c={d}", "true", "./naïve, ☃ #1: \"x\" 'y'\\"] {
        let config = json!({ "location": location, "hook": "https://x.org/a?b=[1]&c=%20" });
        let grants = load(folder.path());
        let asked = review(&grants, &config, "a");
        text.push_str(&grants.addition(&asked.grant_to_add()));
        std::fs::write(&path, &text).unwrap();
        let grants = load(folder.path());
        assert_eq!(review(&grants, &config, "a").require(&grants).unwrap().len(), 3, "{location}");
    }
}

#[test]
fn what_people_wrote_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grants.yaml");
    let digest = component("a").digest;
    let written = format!(
        "# ours\ngrants:\n  # agreed on Monday\n  - {{ pipeline: other, connector: files@0.1.0, digest: '{digest}', allow: [{{kind: decode}}] }}\n\n"
    );
    std::fs::write(&path, &written).unwrap();
    let mut grants = load(folder.path());
    let permission = Permission::new(CapabilityKind::Decode, None);
    let grant = Grant::new(&pipeline(), &component("a"), vec![permission])
        .signed(&Principal::operator(), "2026-01-02T03:04:05Z".parse().unwrap())
        .with_note("for the demo: yes");
    grants.add(grant.clone()).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with(written.trim_end()), "{text}");
    assert!(
        text.ends_with("    granted_at: \"2026-01-02T03:04:05Z\"\n    note: \"for the demo: yes\"\n"),
        "{text}"
    );
    assert_eq!(load(folder.path()).list()[1], grant);

    // At the left margin a pasted entry would not fit: then the file is written anew.
    std::fs::write(&path, written.replace("  - {", "- {")).unwrap();
    let mut grants = load(folder.path());
    grants.add(grant.clone()).unwrap();
    assert_eq!(load(folder.path()).list().len(), 2);

    assert_eq!(grants.revoke(&pipeline(), "postgres").unwrap(), []);
    assert_eq!(grants.revoke(&pipeline(), "files").unwrap(), [grant]);
    assert_eq!(load(folder.path()).list().len(), 1);
    grants.revoke(&PipelineName::new("other").unwrap(), "files@0.1.0").unwrap();
    assert_eq!(load(folder.path()).list(), []);
    assert!(std::fs::read_to_string(&path).unwrap().ends_with("grants: []\n"));
    grants.add(Grant::new(&pipeline(), &component("a"), Vec::new())).unwrap();
    assert_eq!(load(folder.path()).list().len(), 1);
}

#[test]
fn mistakes_are_told_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grants.yaml");
    for (text, expected) in [
        ("", ""),
        ("# nothing yet\n", ""),
        ("grants:\n", ""),
        ("grants: []\n", ""),
        (
            "grant: []\n",
            "TG0102: unknown key `grant` (grants.yaml:1:1); did you mean `grants`? known here: grants",
        ),
        (
            "grants:\n  - pipeline: x\n    connector: y\n    digest: sha256:12\n    allow: []\n",
            "TG0101: the grant of `y` for `x` has no digest of a component: `sha256:12` (grants.yaml); write `sha256:` and 64 lower-case hexadecimal digits; `tidegate plugin inspect` shows it",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        let told = Grants::load(&path).err().map_or(String::new(), |fault| fault.to_string());
        assert_eq!(told.replace(&path.display().to_string(), "grants.yaml"), expected);
    }
}

#[test]
fn a_part_can_be_granted_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({ "location": "./data", "hook": "https://x.org" });
    let mut grants = load(folder.path());
    let asked = review(&grants, &config, "a");
    let choice = |only: &[&str]| Choice {
        only: only.iter().map(|id| (*id).to_owned()).collect(),
        ..Choice::default()
    };
    let narrow = Choice {
        targets: [("hook".to_owned(), "https://x.org/v1".to_owned())].into(),
        methods: [("hook".to_owned(), vec!["GET".to_owned()])].into(),
        ..choice(&["hook", "source"])
    };
    let effective = |grants: &Grants| {
        let permissions: Vec<_> =
            review(grants, &config, "a").effective().iter().map(ToString::to_string).collect();
        permissions.join("; ")
    };
    grants.add(asked.grant_of(&narrow, &component("a")).unwrap()).unwrap();
    assert_eq!(effective(&load(folder.path())), "files ./data; http https://x.org/v1 (GET)");
    let asked = review(&grants, &config, "a");
    assert!(
        asked.in_words()[2]
            .ends_with("(`hook`, optional, sensitive, granted in part: http https://x.org/v1 (GET))"),
        "{:?}",
        asked.in_words()
    );

    // What was granted stays when another part is.
    grants.add(asked.grant_of(&choice(&["kernels"]), &component("a")).unwrap()).unwrap();
    assert_eq!(effective(&load(folder.path())), "files ./data; http https://x.org/v1 (GET); decode");

    // Also when all that is missing is granted: somebody may have narrowed it on purpose. Named, it is all of it.
    let asked = review(&grants, &config, "a");
    let rest = asked.grant_of(&choice(&[]), &component("a")).unwrap();
    assert!(rest.allow.iter().any(|kept| kept.to_string() == "http https://x.org/v1 (GET)"), "{rest:?}");
    let named = asked.grant_of(&choice(&["hook"]), &component("a")).unwrap();
    assert!(named.allow.iter().any(|all| all.to_string() == "http https://x.org"), "{named:?}");

    let wider = Choice {
        targets: [("hook".to_owned(), "https://x.org:8443".to_owned())].into(),
        ..Choice::default()
    };
    let refused = asked.grant_of(&wider, &component("a")).unwrap_err();
    assert!(refused.message.contains("does not cover"), "{refused}");
    let unknown = asked.grant_of(&choice(&["hoook"]), &component("a")).unwrap_err();
    assert!(unknown.to_string().contains("did you mean `hook`"), "{unknown}");

    // Over is over.
    let over = Choice { expires: Some("2020-01-01T00:00:00Z".parse().unwrap()), ..Choice::default() };
    grants.add(asked.grant_of(&over, &component("a")).unwrap()).unwrap();
    assert_eq!(effective(&load(folder.path())), "");
}

#[test]
fn a_grant_can_be_for_a_publisher() {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({ "location": "./data" });
    let signed = |digit: &str, version: semver::Version, key: &str| ComponentRef {
        version,
        publisher: Some(PublisherRef { name: "Example".into(), key: key.into() }),
        ..component(digit)
    };
    let (ours, theirs) = ("0123456789abcdef", "fedcba9876543210");
    let mut grants = load(folder.path());
    let first = signed("a", semver::Version::new(0, 1, 0), ours);
    let of = |grants: &Grants, component: &ComponentRef| {
        let developer = Ceiling::developer().unwrap();
        Review::of(&manifest(), component, &pipeline(), &config, &BTreeMap::new(), grants, &developer)
            .unwrap()
    };
    let choice = Choice { publisher: true, ..Choice::default() };
    assert!(review(&grants, &config, "a").grant_of(&choice, &component("a")).is_err(), "nobody signed it");
    let grant = of(&grants, &first).grant_of(&choice, &first).unwrap();
    grants.add(grant).unwrap();
    let grants = load(folder.path());
    for (component, expected) in [
        (signed("a", semver::Version::new(0, 1, 0), ours), true),
        (signed("b", semver::Version::new(0, 1, 7), ours), true),
        (signed("b", semver::Version::new(0, 2, 0), ours), false),
        (signed("b", semver::Version::new(0, 1, 7), theirs), false),
        (component("a"), false),
    ] {
        assert_eq!(!of(&grants, &component).effective().is_empty(), expected, "{component:?}");
    }
}

#[test]
fn a_decision_names_the_line_of_its_grant() {
    let folder = tempfile::tempdir().unwrap();
    let digest = component("a").digest;
    let text = format!(
        "# ours\ngrants:\n  - pipeline: flights\n    connector: files@0.1.0\n    digest: {digest}\n    allow:\n      - {{ kind: decode }}\n      - kind: files\n        target: ./data\n"
    );
    std::fs::write(folder.path().join("grants.yaml"), text).unwrap();
    let grants = load(folder.path());
    let place = |kind, target: Option<&str>| {
        let permission = Permission::new(kind, target.map(str::to_owned));
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        grants.allowances(&pipeline(), &component("a"), &permission, now).remove(0).place
    };
    assert_eq!(place(CapabilityKind::Decode, None), "grants.yaml:7");
    assert_eq!(place(CapabilityKind::Files, Some("./data")), "grants.yaml:8");
}

#[test]
fn nobody_can_grant_what_is_above_the_ceiling() {
    let folder = tempfile::tempdir().unwrap();
    let grants = load(folder.path());
    let config = json!({ "location": "http://169.254.169.254/latest" });
    let asked = review(&grants, &config, "a");
    assert_eq!(
        asked.require(&grants).unwrap_err().to_string(),
        "TG0302: files@0.1.0 must read files below http://169.254.169.254/latest, and that cannot be granted: \
         cloud metadata addresses are not allowed here; change the pipeline's `extract.config` so that it asks for something else"
    );
    assert_eq!(asked.grant_to_add().allow.len(), 1, "only the decoders");
    let missing = Review::of(
        &manifest(),
        &component("a"),
        &pipeline(),
        &json!({}),
        &BTreeMap::new(),
        &grants,
        &Ceiling::developer().unwrap(),
    );
    assert_eq!(missing.unwrap_err().code.to_string(), "TG0105");
}

#[test]
fn a_grant_that_was_taken_back_while_somebody_thought_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grants.yaml");
    let grant = |pipeline: &str| {
        let allow = vec![Permission::new(CapabilityKind::Decode, None)];
        Grant::new(&PipelineName::new(pipeline).unwrap(), &component("a"), allow)
    };
    let mut grants = Grants::load(&path).unwrap();
    grants.add(grant("old")).unwrap();
    // One looks, and is asked; another takes back what is there, and grants something else; the first says yes.
    let mut asked = Grants::load(&path).unwrap();
    grants.revoke(&PipelineName::new("old").unwrap(), "files").unwrap();
    grants.add(grant("theirs")).unwrap();
    asked.add(grant("mine")).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("pipeline: old") && text.contains("theirs") && text.contains("mine"), "{text}");
    // And who takes back takes back what is there then.
    grants.revoke(&PipelineName::new("mine").unwrap(), "files").unwrap();
    let left: Vec<String> =
        Grants::load(&path).unwrap().list().iter().map(|one| one.pipeline.to_string()).collect();
    assert_eq!(left, ["theirs"]);
}

#[test]
fn what_a_grant_narrows_stays_narrow_whatever_it_calls_the_component() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grants.yaml");
    let digest = component("a").digest;
    let text = format!(
        "grants:\n  - pipeline: flights\n    connector: an-older-name\n    digest: {digest}\n    allow: [{{ kind: decode }}]\n    columns: {{ flights: [id] }}\n"
    );
    std::fs::write(&path, text).unwrap();
    let columns = Grants::load(&path).unwrap().columns(&pipeline(), &component("a"));
    assert_eq!(columns.len(), 1, "{columns:?}");
}
