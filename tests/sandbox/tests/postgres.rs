//! A component that signs in to PostgreSQL, the real one, with a password that it never sees.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "for tests")]

use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow::array::AsArray;
use serde_json::{Value, json};
use tidegate_extraction::Extractor;
use tidegate_model::{CapabilityKind, Permission};
use tidegate_sandbox_tests::{
    Bench, Kept, PASSWORD, Postgres, WIRE, credential, drain, impostor, plan, request,
};

/// One cluster for all tests that run at the same time.
fn cluster() -> Arc<Postgres> {
    static RUNNING: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    running.upgrade().unwrap_or_else(|| {
        let started = Arc::new(Postgres::start());
        *running = Arc::downgrade(&started);
        started
    })
}

/// One component that signs in.
struct Visit {
    bench: Bench,
    endpoint: String,
    user: &'static str,
    config: Value,
    kept: Kept,
}

impl Visit {
    fn new(port: u16, user: &'static str) -> Self {
        let endpoint = format!("localhost:{port}");
        let config = json!({ "endpoint": endpoint, "user": user, "database": "postgres", "tls": "off" });
        Self {
            bench: Bench::default(),
            endpoint,
            user,
            config,
            kept: Kept::default().with("password", PASSWORD),
        }
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.config[key] = value.into();
        self
    }

    fn keeping(mut self, slot: &str, value: &str) -> Self {
        self.kept = self.kept.with(slot, value);
        self
    }

    async fn extractor(self) -> (Bench, Extractor, tokio::sync::mpsc::Receiver<tidegate_sandbox::LogLine>) {
        let Self { bench, endpoint, user, config, kept } = self;
        let mut may = vec![
            Permission::new(CapabilityKind::Tcp, Some(endpoint.clone())),
            credential("password", &format!("postgres {user}"), &endpoint),
        ];
        if user == "certified" {
            may.push(credential("certificate", "tls-client", &endpoint));
        }
        let (extractor, lines) = bench.trusted(WIRE, config, may, kept).await;
        (bench, extractor, lines)
    }

    /// What comes of these steps. The password is in nothing of it.
    async fn told(self, steps: Vec<Value>) -> Vec<String> {
        let (bench, extractor, mut lines) = self.with("steps", steps).extractor().await;
        extractor.check().await.unwrap();
        drop(extractor);
        let mut told = Vec::new();
        while let Some(line) = lines.recv().await {
            told.push(line.message);
        }
        let all = format!("{told:?}{}", bench.audit());
        for secret in [PASSWORD, "SCRAM-SHA-256", "PRIVATE KEY"] {
            assert!(!all.contains(secret), "{all}");
        }
        told
    }
}

const WHO: &str = "SELECT current_user, ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

/// In the way that PostgreSQL's own client does it.
fn steps(user: &str, tls: &str, authorities: Option<&str>) -> Vec<Value> {
    let mut steps = vec![json!({ "connect": { "tls": "off" } })];
    if tls != "off" {
        steps.push(json!("ask-for-tls"));
        steps.push(json!({ "start-tls": { "tls": tls, "authorities": authorities } }));
    }
    steps.push(json!({ "startup": { "user": user } }));
    steps.push(json!({ "authenticate": "password" }));
    steps.push(json!({ "query": WHO }));
    steps
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_sign_in() {
    let server = cluster();
    let (authority, stranger) = (server.file("authority.pem"), server.file("stranger.pem"));
    let client = server.file("client.pem") + &server.file("client.key");
    let trusted = Some(authority.as_str());
    let table = [
        ("scram", "off", None, "rows: scram f"),
        ("scram", "require", None, "rows: scram t TLSv1.3"),
        ("scram", "verify-full", trusted, "rows: scram t TLSv1.3"),
        ("encrypted", "verify-full", trusted, "rows: encrypted t TLSv1.3"),
        ("encrypted", "off", None, "denied: the server says: FATAL 28000: no pg_hba.conf entry"),
        ("hashed", "off", None, "rows: hashed f"),
        ("hashed", "require", None, "rows: hashed t TLSv1.3"),
        ("clear", "verify-full", trusted, "rows: clear t TLSv1.3"),
        ("clear", "require", None, "denied: the server wants the password itself"),
        ("clear", "off", None, "denied: the server wants the password itself"),
        ("certified", "verify-full", trusted, "rows: certified t TLSv1.3"),
        ("certified", "require", None, "rows: certified t TLSv1.3"),
        ("welcome", "off", None, "rows: welcome f"),
        ("scram", "verify-full", Some(&stranger), "denied: the certificate of localhost:"),
        ("scram", "verify-full", None, "denied: the certificate of localhost:"),
    ];
    for (user, tls, authorities, expected) in table {
        let visit = Visit::new(server.port, user).keeping("certificate", &client);
        let told = visit.told(steps(user, tls, authorities)).await;
        // After a refusal the steps that follow are refused too.
        let decisive = told.iter().find(|line| line.starts_with("denied") || line.starts_with("rows"));
        let decisive = decisive.map(String::as_str).unwrap_or_default();
        assert!(decisive.starts_with(expected), "{user} {tls}: {told:#?}\n  instead of {expected}");
    }
}

/// A component that brings its own authority along says who may have the password: that is not for it to say.
#[tokio::test(flavor = "multi_thread")]
async fn a_component_cannot_say_whom_to_trust_with_a_password() {
    let server = cluster();
    let authority = server.file("authority.pem");
    for (own, expected) in
        [(false, "rows: clear t TLSv1.3"), (true, "denied: the server wants the password itself")]
    {
        let mut steps = steps("clear", "verify-full", Some(&authority));
        steps[2]["start-tls"]["own"] = own.into();
        let told = Visit::new(server.port, "clear").told(steps).await;
        assert_eq!(told[2], "encrypted", "{told:#?}");
        assert!(told.iter().any(|line| line.starts_with(expected)), "{told:#?}\n  without {expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_told_in_the_server_s_words() {
    let server = cluster();
    for user in ["scram", "hashed", "clear"] {
        let visit = Visit::new(server.port, user).keeping("password", "not-this-9f3b1d");
        let authority = server.file("authority.pem");
        let told = visit.told(steps(user, "verify-full", Some(&authority))).await;
        let words = format!(
            "denied: the server says: FATAL 28P01: password authentication failed for user \"{user}\""
        );
        assert_eq!(told[4], words);
        assert!(told[5].starts_with("unavailable: the connection is closed"), "{told:?}");
        assert!(!told.concat().contains("not-this"), "{told:?}");
    }
    let told = Visit::new(server.port, "certified").told(steps("certified", "require", None)).await;
    assert!(told[2].ends_with(": there is no secret for `certificate`"), "{told:?}");
    let visit = Visit::new(server.port, "certified").keeping("certificate", PASSWORD);
    let told = visit.told(steps("certified", "require", None)).await;
    assert_eq!(
        told[2],
        "invalid: the secret for the client's certificate is not PEM with a certificate and its private key"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_for_a_name() {
    let server = cluster();
    let endpoint = format!("127.0.0.1:{}", server.port);
    let visit =
        Visit { endpoint: endpoint.clone(), ..Visit::new(server.port, "scram") }.with("endpoint", endpoint);
    let told = visit.told(steps("scram", "verify-full", Some(&server.file("authority.pem")))).await;
    assert!(told[2].starts_with("denied: the certificate of 127.0.0.1:"), "{told:?}");
    assert!(told[2].contains("not valid for name"), "{told:?}");
}

/// The server itself finds out that what signs in is not at the other end of its own encryption. Without
/// channel binding it cannot, which shows that this is what does it.
#[tokio::test(flavor = "multi_thread")]
async fn somebody_in_between_cannot_pass_on_a_bound_authentication() {
    let server = cluster();
    let between = impostor(&server).await;
    let authority = server.file("authority.pem");
    for (tls, authorities) in [("require", None), ("verify-full", Some(authority.as_str()))] {
        let told = Visit::new(between, "scram").told(steps("scram", tls, authorities)).await;
        assert_eq!(told[2], "encrypted", "the impostor's certificate is good: {told:?}");
        assert!(told[4].contains("SCRAM channel binding check failed"), "{told:?}");
    }
    let told = Visit::new(between, "hashed").told(steps("hashed", "require", None)).await;
    assert!(told[5].starts_with("rows: hashed t"), "MD5 binds nothing: {told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_become_batches() {
    let server = cluster();
    server.sql("CREATE TABLE IF NOT EXISTS cities (id int, name text)");
    server.sql("TRUNCATE cities; INSERT INTO cities VALUES (1, 'Bern'), (2, 'Zürich'), (3, NULL)");
    server.sql("GRANT SELECT ON cities TO scram");
    let visit = Visit::new(server.port, "scram")
        .with("tls", "verify-full")
        .with("authorities", server.file("authority.pem"))
        .with("query", "SELECT id, name, current_user AS who FROM cities ORDER BY id");
    let (_bench, extractor, _lines) = visit.extractor().await;
    let streams = extractor.discover().await.unwrap();
    assert_eq!(streams[0].name, "query");
    let splits = plan(&extractor, "query").await.unwrap().splits;
    let read = drain(extractor.read(&request("query"), &splits[0].data, None)).await;
    assert_eq!(read.fault, None);
    let column = |index: usize| read.batches[0].column(index).as_string::<i32>().iter().collect::<Vec<_>>();
    assert_eq!(column(0), [Some("1"), Some("2"), Some("3")]);
    assert_eq!(column(1), [Some("Bern"), Some("Zürich"), None]);
    assert_eq!(column(2), [Some("scram"); 3]);
    assert!(
        server.log().contains("connection authorized: user=scram database=postgres SSL enabled"),
        "{}",
        server.log()
    );
}
