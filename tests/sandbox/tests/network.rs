//! The policed sender, reached through a component: which addresses it goes to, and what it makes of answers.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "for tests")]

use std::net::SocketAddr;

use serde_json::json;
use tidegate_model::CapabilityKind;
use tidegate_sandbox_tests::{Bench, ROUNDTRIP};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers every request with the same bytes.
async fn server(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

/// What becomes of listing a location that is granted.
async fn reach(location: &str) -> String {
    let bench = Bench::default();
    let config = json!({ "mischief": "reach", "during": "check", "location": location });
    let extractor = bench.extractor(ROUNDTRIP, config, &[(CapabilityKind::Files, location)]).await;
    match extractor.check().await {
        Ok(()) => "reached".to_owned(),
        Err(fault) => format!("{}: {}", fault.connector_code.unwrap_or_default(), fault.message),
    }
}

const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\netag: \"a\"\r\nconnection: close\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_address_is_reached_by_number_and_by_name() {
    let port = server(FINE).await.port();
    assert_eq!(reach(&format!("http://127.0.0.1:{port}/x.csv")).await, "reached");
    assert_eq!(reach(&format!("http://localhost:{port}/x.csv")).await, "reached");
}

#[tokio::test(flavor = "multi_thread")]
async fn special_addresses_are_refused_in_every_notation() {
    for host in [
        "169.254.169.254",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
        "0.0.0.0",
        "0xa9fea9fe",
        "2852039166",
        "0251.0376.0251.0376",
        "100.64.0.1",
        "224.0.0.1",
    ] {
        let told = reach(&format!("http://{host}/latest/meta-data")).await;
        assert!(told.starts_with("denied: "), "{host}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let port = server("HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.port();
    let told = reach(&format!("http://127.0.0.1:{port}/")).await;
    assert!(told.contains("302") && told.contains("moved"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_are_the_sources_failure() {
    let missing =
        server("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.port();
    assert!(reach(&format!("http://127.0.0.1:{missing}/x")).await.contains("404"));
    let nonsense = server("SSH-2.0-OpenSSH_9.2\r\n").await.port();
    assert!(reach(&format!("http://127.0.0.1:{nonsense}/x")).await.starts_with("unavailable: "));
    assert!(reach("http://127.0.0.1:1/x").await.starts_with("unavailable: "));
}
