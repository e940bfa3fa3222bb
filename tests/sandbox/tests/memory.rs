//! What of a secret is ever in a component's memory: nothing, in whatever form.
#![allow(clippy::unwrap_used, reason = "for tests")]

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use tidegate_guest_roundtrip::Wanted;
use tidegate_model::{CapabilityKind, Permission};
use tidegate_sandbox_tests::{Bench, ROUNDTRIP, Safe, Said, Server, credential};

const SECRETS: [(&str, &str, &str); 4] = [
    ("token", "bearer", "tide/gate?one+42=\u{e9}xyz"),
    ("key", "header x-key", "tide/gate?two+43=abcd"),
    ("parameter", "query key", "tide/gate?three+44=efgh"),
    ("password", "basic alice", "tide/gate?four+45=ijkl"),
];

/// In which a secret could stand.
fn forms(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = bytes
        .iter()
        .map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect();
    vec![
        secret.to_owned(),
        STANDARD.encode(bytes),
        URL_SAFE_NO_PAD.encode(bytes),
        STANDARD.encode(format!("alice:{secret}")),
        hex.to_uppercase(),
        hex,
        percent,
    ]
}

/// A server that tells in every way what it was told.
fn parrot() -> String {
    let port = Server::start(|asked| {
        let headers: Vec<String> =
            asked.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let told = [asked.line.clone(), headers.join("; ")].join(" | ");
        let mut body = vec![told.clone(), STANDARD.encode(&told)];
        for (_, _, secret) in SECRETS {
            body.extend(forms(secret));
        }
        Said::new(200, body.join("\n")).with("x-told", headers.join("; "))
    })
    .port;
    format!("http://127.0.0.1:{port}")
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_secret_is_ever_in_the_memory_of_a_component() {
    let url = parrot();
    let safe = Arc::new(Safe::with(SECRETS.map(|(slot, _, secret)| (slot, secret))));
    for (slot, place, secret) in SECRETS {
        let target = Some(url.clone());
        let permissions = vec![Permission::new(CapabilityKind::Http, target), credential(slot, place, &url)];
        let mut wanted: Vec<Wanted> = forms(secret).iter().map(|form| Wanted::of(form.as_bytes())).collect();
        // A control: what the component does know is found in this way.
        wanted.push(Wanted::of(b"a-marker-of-ours"));
        let calls = vec![json!({ "url": format!("{url}/a-marker-of-ours") }); 3];
        let config = json!({ "calls": calls, "dump": true, "search": wanted });
        let (told, ended) = Bench::default().checked(ROUNDTRIP, config, permissions, safe.clone()).await;
        assert_eq!(ended, Ok(()), "{told:?}");
        let found = told.last().unwrap();
        let zeros = "0, ".repeat(forms(secret).len());
        assert!(found.starts_with(&format!("found [{zeros}")), "{slot}: {found}");
        assert!(!found.ends_with(", 0]"), "{slot}: the control was not found: {found}");
        for form in forms(secret) {
            assert!(told.iter().all(|line| !line.contains(&form)), "{slot}: {form}");
        }
    }
}
