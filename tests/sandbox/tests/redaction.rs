//! Secrets that come back: what a component sees of answers to requests that carried one.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "for tests")]

use std::io::Write;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::json;
use tidegate_model::{CapabilityKind, Permission};
use tidegate_sandbox_tests::{Asked, Bench, ROUNDTRIP, Safe, Said, Server, credential};

/// With characters that every encoding writes in another way.
const SECRET: &str = "Tide/gate \"secret\"+42=?~";

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// All ways in which the servers of these tests write it.
fn forms() -> Vec<String> {
    let pair = format!("alice:{SECRET}");
    vec![
        SECRET.to_owned(),
        STANDARD.encode(SECRET),
        STANDARD_NO_PAD.encode(SECRET),
        URL_SAFE.encode(SECRET),
        URL_SAFE_NO_PAD.encode(SECRET),
        STANDARD.encode(&pair),
        STANDARD.encode(format!("Bearer {SECRET}")),
        percent(SECRET),
        hex(SECRET),
        hex(SECRET).to_uppercase(),
        json!(SECRET).to_string(),
    ]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// Says what it was told in every form, in headers and bodies.
fn echo() -> String {
    let port = Server::start(|asked: &Asked| {
        let forms = forms();
        match asked.path().split('?').next().unwrap_or_default() {
            "/all" => Said::new(200, forms.join("\n")),
            "/headers" => {
                let said = forms.iter().fold(Said::new(200, ""), |said, form| said.with("x-echo", form));
                said.with("www-authenticate", format!("Basic realm=\"{SECRET}\""))
            }
            "/names" => Said::new(200, "").with("x-plain", "1").with("x-tidegatesecretname", "1"),
            "/challenge" => Said::new(401, "who are you?").with("www-authenticate", "Basic realm=\"all\""),
            "/moved" => {
                Said::new(302, SECRET).with("location", format!("http://localhost/?key={}", percent(SECRET)))
            }
            "/packed" => Said::new(200, gzip(forms.join("\n").as_bytes())).with("content-encoding", "gzip"),
            "/other" => Said::new(200, SECRET).with("content-encoding", "br"),
            "/twice" => Said::new(200, gzip(&gzip(SECRET.as_bytes())))
                .with("content-encoding", "gzip")
                .with("content-encoding", "gzip"),
            // Across the pieces in which a body arrives, whatever their size.
            "/long" => Said::new(200, format!("{}{SECRET}", "x".repeat(1000)).repeat(500)),
            "/cut" => Said::new(200, "half of it").with("content-length", "9999"),
            "/seen" => {
                let headers: Vec<_> =
                    asked.headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
                Said::new(200, headers.join(" "))
            }
            _ => Said::new(404, ""),
        }
    })
    .port;
    format!("http://127.0.0.1:{port}")
}

async fn told(permissions: Vec<Permission>, secret: &str, calls: &[String]) -> Vec<String> {
    let bench = Bench::default();
    let reference = Bench::reference(ROUNDTRIP);
    let calls: Vec<_> = calls.iter().map(|url| json!({ "url": url })).collect();
    let config = json!({ "dump": true, "calls": calls });
    let safe = Arc::new(Safe::with([("token", secret)]));
    let (setup, mut lines) = bench.setup_with(&reference, config, permissions, safe);
    let component = bench.sandbox.load(&reference).await.unwrap();
    let extractor = tidegate_extraction::Extractor::new(component, setup);
    extractor.check().await.unwrap();
    drop(extractor);
    let mut told = Vec::new();
    while let Some(line) = lines.recv().await {
        told.push(line.message);
    }
    // What is bound.
    told.remove(0);
    told
}

/// No form of it, but for what is too short to tell anything.
#[track_caller]
fn assert_gone(what: &str, told: &str) {
    for form in forms() {
        // The first and last characters of base64 in the middle of something may stay.
        for piece in form.trim_matches('"').as_bytes().chunks(12).filter(|piece| piece.len() == 12).skip(1) {
            let piece = std::str::from_utf8(piece).unwrap();
            assert!(!told.contains(piece), "{what}: {piece} of {form} in\n{told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_echoed_is_black_in_every_form() {
    let url = echo();
    let http = Permission::new(CapabilityKind::Http, Some(url.clone()));
    for place in ["bearer", "basic alice", "header x-api-key", "query key"] {
        let paths = ["/all", "/headers", "/packed", "/long", "/moved"];
        let calls = paths.map(|path| format!("{url}{path}"));
        let told = told(vec![http.clone(), credential("token", place, &url)], SECRET, &calls).await;
        assert_eq!(told.len(), paths.len());
        for (path, told) in paths.iter().zip(&told) {
            assert!(told.contains(&"*".repeat(SECRET.len())), "{place} {path}: nothing is black in\n{told}");
            assert_gone(&format!("{place} {path}"), told);
        }
        // What is left is what the server said.
        let black = "*".repeat(SECRET.len());
        let long = format!("{}{black}", "x".repeat(1000)).repeat(500);
        assert!(long.starts_with(told[3].split("; ").nth(1).unwrap().trim_end_matches('…')), "{place}");
        assert!(
            told[4].starts_with("302 ") && told[4].contains("location=http://localhost/?key=***"),
            "{}",
            told[4]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_not_passed_on() {
    let url = echo();
    let http = Permission::new(CapabilityKind::Http, Some(url.clone()));
    let calls = ["/other", "/twice"].map(|path| format!("{url}{path}"));
    let told_with = told(vec![http.clone(), credential("token", "bearer", &url)], SECRET, &calls).await;
    for told in &told_with {
        assert!(told.starts_with("unavailable: ") && told.contains("the answer is encoded"), "{told}");
    }
    // Where none was sent, a body is the server's own affair.
    let told_without = told(vec![http], SECRET, &calls[..1]).await;
    assert!(told_without[0].ends_with(SECRET), "{told_without:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_and_a_broken_body_give_nothing_away() {
    let url = echo();
    let http = Permission::new(CapabilityKind::Http, Some(url.clone()));
    let calls = ["/challenge", "/cut", "/names"].map(|path| format!("{url}{path}"));
    let secret = "tidegateSecretName";
    let told = told(vec![http, credential("token", "query key", &url)], secret, &calls).await;
    assert!(told[0].starts_with("401 ") && told[0].ends_with("who are you?"), "{}", told[0]);
    assert!(told[1].starts_with("unavailable: ") && told[1].contains("/cut: "), "{}", told[1]);
    assert!(told[2].contains("x-plain=1"), "{}", told[2]);
    for told in &told {
        assert!(!told.to_lowercase().contains(&secret.to_lowercase()), "{told}");
    }
}

/// A component that was granted two servers sends to the one what it should only tell the other: there is nothing to
/// send.
#[tokio::test(flavor = "multi_thread")]
async fn another_granted_server_gets_no_credential() {
    let (url, other) = (echo(), echo());
    let http = |url: &str| Permission::new(CapabilityKind::Http, Some(url.to_owned()));
    let permissions = vec![http(&url), http(&other), credential("token", "bearer", &url)];
    let calls = [format!("{url}/all"), format!("{other}/seen")];
    let told = told(permissions, SECRET, &calls).await;
    assert_gone("the bound server", &told[0]);
    assert!(told[1].contains("accept=") && !told[1].contains("authorization"), "{}", told[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_told_of_without_the_query() {
    let url = "http://127.0.0.1:1";
    let http = Permission::new(CapabilityKind::Http, Some(url.to_owned()));
    let permissions = vec![http, credential("token", "query key", url)];
    let told = told(permissions, "short", &[format!("{url}/x?page=1")]).await;
    assert!(told[0].starts_with("unavailable: 127.0.0.1: ") && !told[0].contains("short"), "{told:?}");
}
