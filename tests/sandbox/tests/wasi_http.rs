//! `wasi:http` through a client of the registry that knows nothing of Tidegate: the same rules, the same credentials.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "for tests")]

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tidegate_model::{CapabilityKind, Code, Fault, Permission};
use tidegate_sandbox::inspect;
use tidegate_sandbox_tests::{Asked, Bench, OFFTHESHELF, Safe, Said, Server, credential};

const SECRET: &str = "a-token-of-forty-two-characters";

/// Says what it was asked, and how often.
fn server() -> (String, Arc<Mutex<usize>>) {
    let count = Arc::new(Mutex::new(0));
    let counting = count.clone();
    let port = Server::start(move |asked: &Asked| {
        *counting.lock().unwrap() += 1;
        let body = String::from_utf8_lossy(&asked.body);
        match asked.path() {
            "/moved" => Said::new(302, "moved").with("location", "http://169.254.169.254/"),
            "/wordy" => Said::new(200, "").with("x-words", "w".repeat(70 << 10)),
            "/packed" => Said::new(200, SECRET).with("content-encoding", "gzip"),
            "/long" => Said::new(200, format!("{}{SECRET}", "x".repeat(100_000)).repeat(20)),
            _ => {
                let told = ["host", "user-agent", "accept", "accept-encoding", "content-length"];
                let headers = asked.headers.iter().filter(|(name, _)| !told.contains(&name.as_str()));
                let headers: Vec<_> = headers.map(|(name, value)| format!("{name}={value}")).collect();
                Said::new(200, format!("{} {} {body}", asked.line, headers.join(" ")))
                    .with("x-echo", headers.join(" "))
            }
        }
    })
    .port;
    (format!("http://127.0.0.1:{port}"), count)
}

async fn told(
    permissions: Vec<Permission>,
    vault: Safe,
    url: &str,
    calls: Value,
) -> (Vec<String>, Result<(), Fault>) {
    let config = json!({ "url": url, "calls": calls });
    Bench::default().checked(OFFTHESHELF, config, permissions, Arc::new(vault)).await
}

fn http(url: &str) -> Permission {
    Permission::new(CapabilityKind::Http, Some(url.to_owned()))
}

#[test]
fn it_imports_wasi_http_and_requests_http() {
    let bytes = std::fs::read(OFFTHESHELF).unwrap();
    let inspected = inspect(&bytes).unwrap();
    let imported = |name: &str| inspected.imports.iter().any(|import| import.starts_with(name));
    assert!(imported("wasi:http/outgoing-handler@0.2.") && imported("wasi:http/types@0.2."));
    assert!(!imported("tidegate:connector/http"));

    // The same component without the request is refused, and so is one that would serve.
    let exchanged = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len(), "offsets must stay");
        let mut bytes = bytes.clone();
        // Wherever it stands: a linker may keep a copy.
        let places: Vec<usize> =
            (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from.as_bytes())).collect();
        assert!(!places.is_empty(), "no `{from}`");
        for at in places {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
        inspect(&bytes).unwrap_err()
    };
    let unasked =
        exchanged(r#""kind":"http","target":"{config.url}","#, r#""kind":"decode"                      ,"#);
    assert_eq!(unasked.code, Code::ForbiddenImport, "{unasked}");
    assert!(unasked.message.contains("imports `http` but does not request it"), "{unasked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_registry_is_answered() {
    let (url, _) = server();
    let calls = json!([
        { "url": format!("{url}/plain?page=2"), "headers": [["x-mine", "1"]] },
        { "url": format!("{url}/post"), "body": "all of it" },
        { "url": format!("{url}/moved") },
        { "url": format!("{url}/lengthy"), "headers": [["content-length", "4"]], "body": "four" },
    ]);
    let (told, ended) = told(vec![http(&url)], Safe::default(), &url, calls).await;
    assert_eq!(ended, Ok(()));
    assert!(told[0].ends_with("; GET /plain?page=2 HTTP/1.1 x-mine=1 "), "{}", told[0]);
    assert!(told[1].ends_with("; POST /post HTTP/1.1  all of it"), "{}", told[1]);
    assert!(
        told[2].starts_with("302 ") && told[2].contains("location=http://169.254.169.254/"),
        "{}",
        told[2]
    );
    assert!(told[3].ends_with(" four"), "{}", told[3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_rules_hold() {
    let (url, count) = server();
    let (port, with) = (url.rsplit(':').next().unwrap(), |name: &str| json!([[name, "mine"]]));
    let table = [
        (json!({ "url": url.replace("/127", "/x@127") }), "invalid: a URL must not carry a user"),
        (json!({ "url": "http://127.0.0.1:1/" }), "HttpRequestDenied"),
        (json!({ "url": "http://169.254.169.254/latest" }), "HttpRequestDenied"),
        (json!({ "url": format!("http://0x7f.1:{port}/other") }), "HttpRequestDenied"),
        (json!({ "url": url, "headers": with("authorization") }), "Forbidden"),
        (json!({ "url": url, "headers": with("host") }), "Forbidden"),
        (json!({ "url": url, "headers": with("cookie") }), "Forbidden"),
        (json!({ "url": url, "headers": with("x-forwarded-for") }), "Forbidden"),
        (json!({ "url": url, "headers": with("transfer-encoding") }), "Forbidden"),
        (json!({ "url": "ftp://127.0.0.1/" }), "HttpProtocolError"),
    ];
    let (calls, expected): (Vec<_>, Vec<_>) = table.into_iter().unzip();
    let (told, _) = told(vec![http(&format!("{url}/granted"))], Safe::default(), &url, json!(calls)).await;
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for ((call, expected), told) in calls.iter().zip(expected).zip(&told) {
        assert!(told.contains(expected), "{call}\n  is told {told}\n  instead of {expected}");
    }
    assert_eq!(*count.lock().unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_gets_credentials_that_it_never_sees() {
    let (url, count) = server();
    let permissions = || vec![http(&url), credential("token", "bearer", &format!("{url}/api"))];
    let calls = json!([
        { "url": format!("{url}/api") },
        { "url": format!("{url}/other") },
        { "url": format!("{url}/wordy") },
    ]);
    let (said, _) = told(permissions(), Safe::with([("token", SECRET)]), &url, calls).await;
    let black = "*".repeat(SECRET.len());
    assert!(said[0].contains(&format!("x-echo=authorization=Bearer {black}")), "{}", said[0]);
    assert!(said[0].ends_with(&format!("; GET /api HTTP/1.1 authorization=Bearer {black} ")), "{}", said[0]);
    assert!(!said[1].contains("authorization"), "{}", said[1]);
    assert!(said[2].contains("larger than 64 KiB"), "{}", said[2]);
    assert!(said.iter().all(|line| !line.contains(SECRET)), "{said:?}");

    let permissions = || vec![http(&url), credential("token", "bearer", &url)];
    let calls = json!([{ "url": format!("{url}/packed") }, { "url": format!("{url}/long") }]);
    let (said, _) = told(permissions(), Safe::with([("token", SECRET)]), &url, calls).await;
    assert!(said[0].contains("the answer is encoded though nobody asked for that"), "{}", said[0]);
    assert!(said[1].starts_with("200 ") && !said[1].contains(SECRET), "{:.200}", said[1]);

    // Without the secret nothing is sent, not even without it.
    let before = *count.lock().unwrap();
    let (said, _) = told(permissions(), Safe::default(), &url, json!([{ "url": url }])).await;
    assert!(said[0].contains("HttpRequestDenied"), "{said:?}");
    assert_eq!(*count.lock().unwrap(), before);
}
