//! May X do Y to Z? Stories about workers, operators and what is written down.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at files from outside")]

use std::collections::BTreeMap;
use std::path::Path;

use tidegate_infrastructure::DataDir;
use tidegate_model::{
    Binding, CapabilityKind, CommitEvery, ComponentRef, Limits, Permission, PipelineName, RunId, RunTask,
    SchemaChange, SinkKind, SinkOrder, StreamName, StreamOrder, Task, WorkOrder, WriteMode,
};
use tidegate_permission::{Action, Audit, Authorizer, Ceiling, Decision, Module, Principal, Resource, Role};

fn pipeline(name: &str) -> PipelineName {
    PipelineName::new(name).unwrap()
}

fn permission(text: &str) -> Permission {
    let (kind, target) = text.split_once(' ').map_or((text, None), |(kind, target)| (kind, Some(target)));
    let kind = CapabilityKind::ALL.into_iter().find(|known| known.as_str() == kind).unwrap();
    Permission::new(kind, target.map(str::to_owned))
}

fn order(data_dir: &Path, permissions: &[&str], task: Task) -> WorkOrder {
    WorkOrder {
        run: RunId::new("run-1").unwrap(),
        began: std::time::Duration::ZERO,
        pipeline: pipeline("flights"),
        component: ComponentRef {
            name: "files".into(),
            version: semver::Version::new(0, 1, 0),
            digest: format!("sha256:{}", "ab".repeat(32)),
            path: "files.wasm".into(),
            publisher: None,
        },
        config: serde_json::json!({}),
        secrets: std::collections::BTreeMap::new(),
        document: None,
        permissions: permissions.iter().map(|text| permission(text)).collect(),
        grants: None,
        ceiling: Default::default(),
        on_behalf_of: None,
        rehearsal: false,
        trace: None,
        columns: BTreeMap::new(),
        limits: Limits::default(),
        base: ".".into(),
        source: Vec::new(),
        data_dir: data_dir.to_owned(),
        task,
    }
}

fn run_task() -> Task {
    let stream =
        StreamOrder { mode: tidegate_model::Mode::Full, cursor: None, lookback: None, key: Vec::new() };
    Task::Run(RunTask {
        streams: [(StreamName::new("weather").unwrap(), stream)].into(),
        sink: SinkOrder {
            kind: SinkKind::Delta,
            location: "./lake".into(),
            options: BTreeMap::new(),
            write: WriteMode::Append,
            schema_change: SchemaChange::default(),
            commit_every: CommitEvery::default(),
        },
        full_refresh: false,
    })
}

fn binding() -> Binding {
    let (secret, place) = ("env:TOKEN".parse().unwrap(), "bearer".parse().unwrap());
    Binding { slot: "token".into(), secret, place }
}

fn stream(of: &str, name: &str) -> Resource {
    Resource::Stream { pipeline: pipeline(of), stream: StreamName::new(name).unwrap() }
}

fn location(text: &str) -> Resource {
    Resource::Location(text.into())
}

fn endpoint(method: &str, url: &str) -> Resource {
    Resource::Endpoint { method: method.into(), url: url.into() }
}

fn address(endpoint: &str, ip: &str) -> Resource {
    Resource::Address { endpoint: endpoint.into(), ip: ip.parse().unwrap() }
}

#[test]
fn a_component_may_do_exactly_what_its_order_permits() {
    let folder = tempfile::tempdir().unwrap();
    let granted = [
        "files ./data",
        "files https://files.example.org/exports",
        "http https://api.example.org/v1",
        "http http://localhost:8080",
        "http http://10.0.0.7",
        "decode",
    ];
    let order = order(folder.path(), &granted, run_task());
    let authorizer = Authorizer::for_worker(&order).unwrap();
    let plugin = Principal::plugin(&order.component, &order.pipeline);
    let yes = "";
    let uncovered = "no grant covers it";
    for (action, resource, expected) in [
        (Action::FilesRead, location("./data/a.csv"), yes),
        (Action::FilesList, location("data"), yes),
        (Action::FilesRead, Resource::below("./data/", "a.csv"), yes),
        (Action::FilesRead, Resource::below("./data", "../x"), "it climbs (`..`) after it went down"),
        (Action::FilesRead, location("./lake"), uncovered),
        (Action::FilesRead, location("/etc/passwd"), uncovered),
        (Action::FilesRead, location("https://files.example.org/exports/a.csv"), yes),
        (Action::FilesRead, location("https://api.example.org/v1/a.csv"), uncovered),
        (Action::HttpRequest, endpoint("POST", "https://api.example.org/v1/x?page=2"), yes),
        (Action::HttpRequest, endpoint("GET", "https://api.example.org/v2"), uncovered),
        (Action::HttpRequest, endpoint("GET", "https://files.example.org/exports/a"), yes),
        (Action::HttpRequest, endpoint("POST", "https://files.example.org/exports/a"), uncovered),
        (Action::HttpRequest, endpoint("GET", "http://169.254.169.254/latest"), uncovered),
        (Action::HttpConnect, address("https://api.example.org", "93.184.216.34"), yes),
        (Action::HttpConnect, address("https://files.example.org", "93.184.216.34"), yes),
        (Action::HttpConnect, address("https://api.example.org:444", "93.184.216.34"), uncovered),
        // A name of the open internet that turns out to be inside the house.
        (
            Action::HttpConnect,
            address("https://api.example.org", "127.0.0.1"),
            "loopback addresses need a grant for that very address",
        ),
        (
            Action::HttpConnect,
            address("https://api.example.org", "169.254.169.254"),
            "cloud metadata addresses need a grant for that very address",
        ),
        (
            Action::HttpConnect,
            address("https://api.example.org", "::ffff:8.8.8.8"),
            "IPv4-mapped addresses need a grant for that very address",
        ),
        (Action::HttpConnect, address("http://localhost:8080", "127.0.0.1"), yes),
        (Action::HttpConnect, address("http://localhost:8080", "::1"), yes),
        (Action::HttpConnect, address("http://localhost:8081", "127.0.0.1"), uncovered),
        (
            Action::HttpConnect,
            address("http://localhost:8080", "10.0.0.7"),
            "private network addresses need a grant for that very address",
        ),
        (Action::HttpConnect, address("http://10.0.0.7", "10.0.0.7"), yes),
        (
            Action::HttpConnect,
            address("http://10.0.0.7", "10.0.0.8"),
            "private network addresses need a grant for that very address",
        ),
        (Action::DecodeUse, Resource::Decoder, yes),
        (Action::SinkWrite, Resource::Sink("./lake".into()), "no rule allows it"),
        (Action::FilesRead, Resource::Sink("./data".into()), "no rule allows it"),
    ] {
        let answer = authorizer.decide(&plugin, action, &resource);
        let why = answer.as_ref().err().map_or("", |fault| fault.message.rsplit(": ").next().unwrap());
        assert_eq!(why, expected, "{action} {resource}");
    }
}

#[test]
fn modules_may_do_what_the_order_needs() {
    let folder = tempfile::tempdir().unwrap();
    let order = order(folder.path(), &["files ./data"], run_task());
    let authorizer = Authorizer::for_worker(&order).unwrap();
    let extraction = Principal::service(Module::Extraction);
    let ingestion = Principal::service(Module::Ingestion);
    for (who, action, resource, expected) in [
        (&extraction, Action::PluginLoad, Resource::Plugin(order.component.digest.clone()), true),
        (&extraction, Action::PluginLoad, Resource::Plugin("sha256:other".into()), false),
        (&extraction, Action::SinkWrite, Resource::Sink("./lake".into()), false),
        (&extraction, Action::FilesRead, location("./data/a.csv"), false),
        (&ingestion, Action::SinkWrite, Resource::Sink("./lake".into()), true),
        (&ingestion, Action::SinkWrite, Resource::Sink("./other".into()), false),
        (&ingestion, Action::StateWrite, stream("flights", "weather"), true),
        (&ingestion, Action::StateRead, stream("flights", "weather"), false),
        (&ingestion, Action::StateReset, stream("flights", "weather"), false),
        (&ingestion, Action::StateWrite, stream("flights", "planes"), false),
        (&ingestion, Action::StateWrite, stream("other", "weather"), false),
        (&ingestion, Action::FilesRead, location("./data"), false),
    ] {
        assert_eq!(authorizer.decide(who, action, &resource).is_ok(), expected, "{who} {action} {resource}");
    }
}

#[test]
fn the_operator_does_what_people_do_below_the_ceiling() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = DataDir::open(folder.path()).unwrap();
    let operator = Principal::operator();
    let grant = |text| Resource::Grant {
        pipeline: pipeline("flights"),
        digest: "sha256:ab".into(),
        permission: permission(text),
        signed: false,
        days: None,
    };
    let developer = Ceiling::developer().unwrap();
    let strict = Ceiling::strict().unwrap();
    for (ceiling, action, resource, expected) in [
        (&developer, Action::GrantAdd, grant("files ./data"), ""),
        (&developer, Action::GrantAdd, grant("http http://localhost"), ""),
        (&developer, Action::GrantAdd, grant("http http://169.254.169.254"), "TG0302"),
        (&strict, Action::GrantAdd, grant("files ./data"), "TG0302"),
        (&strict, Action::GrantRevoke, grant("files ./data"), ""),
        (&developer, Action::RunStart, Resource::Pipeline(pipeline("flights")), ""),
        (&developer, Action::StateReset, stream("flights", "weather"), ""),
        (&developer, Action::StateWrite, stream("flights", "weather"), "TG0301"),
        (&developer, Action::FilesRead, location("./data"), "TG0301"),
        (&developer, Action::SinkWrite, Resource::Sink("./lake".into()), "TG0301"),
    ] {
        let authorizer = Authorizer::for_operator(&data_dir, ceiling, &[Role::Admin], None).unwrap();
        let answer = authorizer.decide(&operator, action, &resource);
        let code = answer.err().map_or(String::new(), |fault| fault.code.to_string());
        assert_eq!(code, expected, "{action} {resource}");
    }
    let plugin = Principal::plugin(&order(folder.path(), &[], Task::Check).component, &pipeline("flights"));
    let authorizer = Authorizer::for_operator(&data_dir, &developer, &[Role::Admin], None).unwrap();
    assert!(authorizer.decide(&plugin, Action::RunStart, &Resource::Pipeline(pipeline("flights"))).is_err());
}

/// One of each kind.
fn every_resource() -> Vec<Resource> {
    vec![
        location("./data/a.csv"),
        location("https://api.example.org/v1/a.csv"),
        endpoint("GET", "https://api.example.org/v1/x"),
        address("https://api.example.org/", "93.184.216.34"),
        Resource::Decoder,
        Resource::Plugin(format!("sha256:{}", "ab".repeat(32))),
        Resource::Pipeline(pipeline("flights")),
        Resource::Sink("./lake".into()),
        stream("flights", "weather"),
        Resource::Grant {
            pipeline: pipeline("flights"),
            digest: "sha256:ab".into(),
            permission: permission("files ./data"),
            signed: false,
            days: None,
        },
        Resource::Socket { host: "db.example.org".into(), port: 5432 },
        Resource::Credential { binding: binding(), endpoint: "https://api.example.org/v1/x".into() },
        Resource::Secret("env:TOKEN".parse().unwrap()),
        Resource::Publisher("0123456789abcdef".into()),
        Resource::User("alice".into()),
        Resource::Store,
        Resource::Audit,
    ]
}

#[test]
fn what_no_rule_names_is_denied() {
    let folder = tempfile::tempdir().unwrap();
    let allowed = |authorizer: &Authorizer, component: &ComponentRef| {
        let services = [Module::Extraction, Module::Ingestion];
        let mut principals = vec![
            Principal::operator(),
            Principal::plugin(component, &pipeline("flights")),
            Principal::plugin(component, &pipeline("other")),
        ];
        principals.extend(services.map(Principal::service));
        let mut allowed = Vec::new();
        for who in &principals {
            for action in Action::ALL {
                for resource in every_resource() {
                    if authorizer.decide(who, *action, &resource).is_ok() {
                        let kind = resource.to_string().split(':').next().unwrap().to_owned();
                        let who = who.to_string().split(':').next().unwrap().to_owned();
                        allowed.push(format!("{who} {action} {kind}"));
                    }
                }
            }
        }
        allowed
    };
    let nothing = order(folder.path(), &[], Task::Check);
    assert_eq!(
        allowed(&Authorizer::for_worker(&nothing).unwrap(), &nothing.component),
        ["service plugin.load plugin"]
    );
    let granted = ["files ./data", "http https://api.example.org", "tcp db.example.org:5432", "decode"];
    let mut all = order(folder.path(), &granted, run_task());
    let target = Some("https://api.example.org".to_owned());
    let credential = Permission::new(CapabilityKind::Credential, target);
    all.permissions.push(Permission { binding: Some(binding()), ..credential });
    assert_eq!(
        allowed(&Authorizer::for_worker(&all).unwrap(), &all.component),
        [
            "plugin files.list location",
            "plugin files.read location",
            "plugin http.request endpoint",
            "plugin http.connect address",
            "plugin tcp.connect socket",
            "plugin credential.use credential",
            "plugin decode.use decoder",
            "service plugin.load plugin",
            "service secret.read secret",
            "service secret.write secret",
            "service sink.write sink",
            "service state.write stream",
        ]
    );
    let data_dir = DataDir::open(folder.path()).unwrap();
    let developer = Ceiling::developer().unwrap();
    let operators = |role| Authorizer::for_operator(&data_dir, &developer, &[role], None).unwrap();
    assert_eq!(
        allowed(&operators(Role::Viewer), &all.component),
        [
            "user state.read stream",
            "user grant.list store",
            "user plugin.list store",
            "user secret.list store",
            "user user.list store",
        ]
    );
    assert_eq!(
        allowed(&operators(Role::Author), &all.component),
        [
            "user plugin.load plugin",
            "user run.start pipeline",
            "user state.read stream",
            "user state.reset stream",
            "user grant.list store",
            "user grant.add grant",
            "user grant.revoke grant",
            "user plugin.list store",
            "user plugin.install plugin",
            "user secret.list store",
            "user user.list store",
            "user audit.read audit",
        ]
    );
    assert_eq!(
        allowed(&operators(Role::Admin), &all.component),
        [
            "user plugin.load plugin",
            "user run.start pipeline",
            "user state.read stream",
            "user state.reset stream",
            "user grant.list store",
            "user grant.add grant",
            "user grant.revoke grant",
            "user plugin.list store",
            "user plugin.install plugin",
            "user plugin.remove plugin",
            "user plugin.revoke plugin",
            "user publisher.trust publisher",
            "user secret.read secret",
            "user secret.write secret",
            "user secret.list store",
            "user secret.remove secret",
            "user secret.rekey store",
            "user user.list store",
            "user user.write user",
            "user user.remove user",
            "user store.backup store",
            "user store.restore store",
            "user audit.read audit",
        ]
    );
}

#[test]
fn a_denial_prints_the_grant_that_would_allow_it() {
    let folder = tempfile::tempdir().unwrap();
    let order = order(folder.path(), &["files ./data"], Task::Check);
    let authorizer = Authorizer::for_worker(&order).unwrap();
    let plugin = Principal::plugin(&order.component, &order.pipeline);
    let fault = authorizer.decide(&plugin, Action::FilesRead, &location("./other: x")).unwrap_err();
    let digest = &order.component.digest;
    assert_eq!(
        fault.help.unwrap(),
        format!(
            "a connector gets what it requests and is granted; the grant that covers this:
  - pipeline: flights
    connector: files@0.1.0
    digest: {digest}
    allow:
      - {{ kind: files, target: ./data }}
      - {{ kind: files, target: \"./other: x\" }}"
        )
    );
    assert_eq!(
        fault.message,
        "plugin:files@0.1.0 (sha256:abababababab) may not files.read on location:./other: x: no grant covers it"
    );
    // What nobody could grant is not offered.
    let metadata = endpoint("GET", "http://169.254.169.254/latest");
    assert_eq!(authorizer.decide(&plugin, Action::HttpRequest, &metadata).unwrap_err().help, None);
}

#[test]
fn everything_is_written_down_and_repeats_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let order = order(folder.path(), &["http https://api.example.org", "files ./data"], Task::Check);
    let audit = Audit::at(folder.path().join("audit.jsonl"), None);
    let authorizer = Authorizer::for_worker(&order).unwrap();
    let plugin = Principal::plugin(&order.component, &order.pipeline);
    for page in 0..1000 {
        let url = format!("https://api.example.org/v1?token=secret&page={page}");
        authorizer.decide(&plugin, Action::HttpRequest, &endpoint("GET", &url)).unwrap();
    }
    for _ in 0..3 {
        authorizer.decide(&plugin, Action::FilesRead, &location("./other")).unwrap_err();
    }
    let before = audit.tail(100, false).unwrap();
    assert_eq!(before.len(), 4, "the first time, and each denial");
    drop(authorizer);

    let records = audit.tail(100, false).unwrap();
    let told: Vec<_> =
        records.iter().map(|r| (r.action.as_str(), r.decision, r.why.as_str(), r.count)).collect();
    let denied = ("files.read", Decision::Deny, "no grant covers it", 1);
    assert_eq!(
        told,
        [
            ("http.request", Decision::Allow, "grant for pipeline flights", 1),
            denied,
            denied,
            denied,
            ("http.request", Decision::Allow, "asked again", 999),
        ]
    );
    assert_eq!(records[0].resource, "endpoint:GET https://api.example.org/v1");
    assert_eq!(records[0].run.as_deref(), Some("run-1"));
    assert!(!std::fs::read_to_string(folder.path().join("audit.jsonl")).unwrap().contains("secret"));
    assert_eq!(audit.tail(2, true).unwrap().len(), 2);
    assert_eq!(audit.tail(1, false).unwrap()[0].count, 999);
}

#[test]
fn a_component_that_goes_on_asking_does_not_fill_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let order = order(folder.path(), &["files ./data"], Task::Check);
    let authorizer = Authorizer::for_worker(&order).unwrap();
    let plugin = Principal::plugin(&order.component, &order.pipeline);
    for number in 0..10_500 {
        authorizer.decide(&plugin, Action::FilesRead, &location(&format!("./other/{number}"))).unwrap_err();
        authorizer.decide(&plugin, Action::FilesRead, &location(&format!("./data/{}", number % 10))).unwrap();
    }
    // A flood of one kind hides nothing of another.
    authorizer.decide(&plugin, Action::FilesList, &location("./secrets")).unwrap_err();
    drop(authorizer);
    let records = Audit::at(folder.path().join("audit.jsonl"), None).tail(usize::MAX, false).unwrap();
    let count = |decision| records.iter().filter(|r| r.decision == decision).map(|r| r.count).sum::<u64>();
    assert_eq!((count(Decision::Deny), count(Decision::Allow)), (10_501, 10_500));
    // Of those that are only counted, a line at the first and whenever they have doubled, and one at the end.
    assert_eq!(records.len(), 10_000 + 10 + 10 + 10 + 1);
    assert!(records.iter().any(|r| r.resource == "location:./secrets" && r.count == 1));
}

#[test]
fn nor_does_one_that_is_allowed_to_ask() {
    let folder = tempfile::tempdir().unwrap();
    let order = order(folder.path(), &["files ./data"], Task::Check);
    let authorizer = Authorizer::for_worker(&order).unwrap();
    let plugin = Principal::plugin(&order.component, &order.pipeline);
    let ask = |path: &str| authorizer.decide(&plugin, Action::FilesRead, &Resource::below("./data", path));
    ask(&"x".repeat(1 << 20)).unwrap();
    for number in 1..10_500 {
        ask(&number.to_string()).unwrap();
    }
    drop(authorizer);
    let records = Audit::at(folder.path().join("audit.jsonl"), None).tail(usize::MAX, false).unwrap();
    assert_eq!(records.iter().map(|record| record.count).sum::<u64>(), 10_500);
    assert_eq!(records.len(), 10_000 + 10);
    assert!(records.iter().all(|record| record.resource.len() < 5000));
}

#[test]
fn what_cannot_be_written_down_is_not_allowed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("audit.jsonl")).unwrap();
    let order = order(folder.path(), &["files ./data"], Task::Check);
    let authorizer = Authorizer::for_worker(&order).unwrap();
    let plugin = Principal::plugin(&order.component, &order.pipeline);
    for path in ["./data", "./other"] {
        let fault = authorizer.decide(&plugin, Action::FilesRead, &location(path)).unwrap_err();
        assert_eq!(fault.code.to_string(), "TG0303");
        assert!(fault.message.ends_with("audit.jsonl: Is a directory"), "{fault}");
    }
}

#[test]
fn torn_lines_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let record =
        r#"{"time":"t","principal":"user:a","action":"x","resource":"y","decision":"deny","why":"z"}"#;
    std::fs::write(&path, format!("{record}\n{{\"time\":\"t\",\"prin\n{record}\n")).unwrap();
    let records = Audit::at(&path, None).tail(10, true).unwrap();
    assert_eq!(records.iter().map(|r| r.count).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(Audit::at(folder.path().join("absent"), None).tail(10, false).unwrap(), []);
}

#[test]
fn what_is_forbidden_stays_so_whatever_is_granted() {
    let folder = tempfile::tempdir().unwrap();
    let granted = ["http http://10.0.0.7", "http http://localhost:8080"];
    let forbids = r#"@id("ceiling.quiet") @why("{class} is quiet") @code("ceiling")
        forbid (principal, action == Action::"http.connect", resource) when { resource.class == "loopback" };"#;
    let mut order = order(folder.path(), &granted, Task::Check);
    order.ceiling = Ceiling::from_file("org.cedar", forbids.to_owned()).unwrap().text().clone();
    let authorizer = Authorizer::for_worker(&order).unwrap();
    let plugin = Principal::plugin(&order.component, &order.pipeline);
    let connect = |endpoint: &str, ip: &str| {
        authorizer
            .decide(&plugin, Action::HttpConnect, &address(endpoint, ip))
            .map_err(|fault| fault.to_string())
    };
    assert_eq!(connect("http://10.0.0.7", "10.0.0.7"), Ok(()));
    let told = connect("http://localhost:8080", "127.0.0.1").unwrap_err();
    assert!(told.starts_with("TG0302") && told.contains("ceiling: loopback is quiet"), "{told}");
}

#[test]
fn an_answer_can_be_explained() {
    let folder = tempfile::tempdir().unwrap();
    let order = order(folder.path(), &["files ./data"], run_task());
    let authorizer = Authorizer::for_worker(&order).unwrap();
    let plugin = Principal::plugin(&order.component, &order.pipeline);
    let told = |who: &Principal, action, resource: &Resource| {
        let explained = authorizer.explain(who, action, resource);
        format!(
            "{} {} {}",
            explained.allowed,
            explained.policy.unwrap_or_default(),
            explained.place.unwrap_or_default()
        )
    };
    let ingestion = Principal::service(Module::Ingestion);
    assert_eq!(told(&plugin, Action::FilesRead, &location("./data/x")), "true grant.flights.0.0 the order");
    assert_eq!(told(&plugin, Action::FilesRead, &location("./lake")), "false  ");
    let sink = Resource::Sink("./lake".into());
    let sinks = told(&ingestion, Action::SinkWrite, &sink);
    assert!(sinks.starts_with("true module.ingestion-writes policies/modules.cedar:"), "{sinks}");
    assert!(!folder.path().join("audit.jsonl").exists(), "a question about questions is not recorded");
}

#[test]
fn what_is_taken_back_is_denied_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let order = order(folder.path(), &["files ./data", "decode"], Task::Check);
    let authorizer = Authorizer::for_worker(&order).unwrap();
    let plugin = Principal::plugin(&order.component, &order.pipeline);
    let read = || authorizer.decide(&plugin, Action::FilesRead, &location("./data/x")).is_ok();
    assert!(read() && read());
    authorizer.narrow(&order, &order.permissions[1..]).unwrap();
    assert!(!read(), "it was allowed before, and that counts no more");
    assert!(authorizer.decide(&plugin, Action::DecodeUse, &Resource::Decoder).is_ok());
}
