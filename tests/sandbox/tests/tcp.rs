//! `tcp` through a component: what may be dialled, what is bounded, and what servers can do that mean harm.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "for tests")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_model::{CapabilityKind, Permission};
use tidegate_sandbox_tests::{Bench, Kept, PASSWORD, WIRE, credential};

/// Does this with each connection, on a thread of its own, and hangs up. Lives as long as the process.
fn server(serve: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync + Clone + 'static) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(&mut stream));
        }
    });
    format!("localhost:{port}")
}

/// Says back what it is told.
fn echo() -> String {
    server(|stream| std::io::copy(&mut stream.try_clone()?, stream).map(drop))
}

/// Reads a startup message, and does this then.
fn postgres(serve: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync + Clone + 'static) -> String {
    server(move |stream| {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let rest = u32::from_be_bytes(length) as usize - 4;
        stream.read_exact(&mut vec![0; rest])?;
        serve(stream)
    })
}

fn asks(request: u32, rest: &[u8]) -> Vec<u8> {
    let length = u32::try_from(rest.len() + 8).unwrap().to_be_bytes();
    [b"R", &length[..], &request.to_be_bytes(), rest].concat()
}

/// What a component is told that may connect to `endpoint`, with a password for it, and does these steps; and
/// the audit.
async fn played(endpoint: &str, steps: Vec<Value>) -> (Vec<String>, String) {
    let bench = Bench::default();
    let config = json!({ "endpoint": endpoint, "user": "scram", "database": "postgres", "steps": steps });
    let may = vec![
        Permission::new(CapabilityKind::Tcp, Some(endpoint.to_owned())),
        credential("password", "postgres scram", endpoint),
        credential("token", "bearer", endpoint),
    ];
    let kept = Kept::default().with("password", PASSWORD).with("token", PASSWORD);
    let (extractor, mut lines) = bench.trusted(WIRE, config, may, kept).await;
    extractor.check().await.unwrap();
    drop(extractor);
    let mut told = Vec::new();
    while let Some(line) = lines.recv().await {
        assert!(!line.message.contains(PASSWORD), "{}", line.message);
        told.push(line.message);
    }
    let audit = bench.audit();
    assert!(!audit.contains(PASSWORD), "{audit}");
    (told, audit)
}

async fn told(endpoint: &str, steps: Vec<Value>) -> Vec<String> {
    played(endpoint, steps).await.0
}

fn connect(tls: &str) -> Value {
    json!({ "connect": { "tls": tls } })
}

fn login() -> Vec<Value> {
    vec![connect("off"), json!({ "startup": { "user": "scram" } }), json!({ "authenticate": "password" })]
}

fn matches(told: &[String], expected: &[&str]) {
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}\n  instead of {expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_granted_is_dialled_and_nothing_else() {
    let endpoint = echo();
    let (_, port) = endpoint.split_once(':').unwrap();
    let to = |endpoint: &str| json!({ "connect": { "endpoint": endpoint, "tls": "off", "timeout": 2000 } });
    let steps = vec![
        to(&endpoint),
        json!({ "send": "ahoy" }),
        json!({ "read": 100 }),
        to(&format!("LOCALHOST:{port}")),
        to("localhost:1"),
        to(&format!("127.0.0.1:{port}")),
        to("169.254.169.254:80"),
        to("db.example.org:5432"),
        to("localhost"),
        to("localhost:0"),
        to(&format!("tcp://localhost:{port}")),
        to(&"x".repeat(600)),
    ];
    let (told, audit) = played(&endpoint, steps).await;
    matches(
        &told,
        &[
            "connected",
            "sent 4",
            "read ahoy",
            "connected",
            "denied: ",
            "denied: ",
            "denied: ",
            "denied: ",
            "invalid: `localhost` is not an endpoint",
            "invalid: `localhost:0` is not an endpoint",
            "invalid: `tcp://localhost:",
            "limit: an endpoint of 600 bytes",
            "heard ahoy",
        ],
    );
    for line in [
        format!(r#""action":"tcp.connect","resource":"socket:localhost:{port}","decision":"allow""#),
        format!(
            r#""action":"tcp.dial","resource":"address:127.0.0.1 of localhost:{port}","decision":"allow""#
        ),
        r#""action":"tcp.connect","resource":"socket:169.254.169.254:80","decision":"deny""#.to_owned(),
        r#""action":"tcp.connect","resource":"socket:db.example.org:5432","decision":"deny""#.to_owned(),
    ] {
        assert!(audit.contains(&line), "{line} is not in\n{audit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn special_addresses_are_refused_even_where_they_are_granted() {
    for host in
        ["169.254.169.254", "[fd00:ec2::254]", "0.0.0.0", "2852039166", "[::ffff:127.0.0.1]", "100.64.0.1"]
    {
        let (told, audit) = played(&format!("{host}:5432"), vec![connect("off")]).await;
        assert!(told[0].starts_with("denied: "), "{host}: {told:?}");
        assert!(audit.contains(r#""action":"tcp.dial""#), "{audit}");
    }
    let endpoint = echo().replace("localhost", "127.1");
    assert_eq!(told(&endpoint, vec![connect("off")]).await[0], "connected");
    let nobody = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    assert!(told(&nobody.to_string(), vec![connect("off")]).await[0].starts_with("unavailable: 127.0.0.1:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_connections_are_open_and_no_more() {
    let mut steps = vec![connect("off"); 17];
    steps.extend([json!("close"), connect("off")]);
    let told = told(&echo(), steps).await;
    assert!(told[..16].iter().all(|line| line == "connected"), "{told:?}");
    assert_eq!(told[16..19], ["limit: 16 connections are open already; close one", "closed", "connected"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_still_is_waited_for_and_no_longer() {
    let silent = server(|_| {
        thread::sleep(Duration::from_secs(20));
        Ok(())
    });
    let began = Instant::now();
    let handshake = json!({ "connect": { "tls": "require", "timeout": 500 } });
    let told = told(
        &silent,
        vec![connect("off"), json!({ "read": 1 }), json!({ "send": "still there" }), handshake],
    )
    .await;
    matches(&told, &["connected", "unavailable: localhost:", "sent 11", "unavailable: localhost:", "heard "]);
    assert!(told[1].ends_with("sent nothing for 2 s"), "{told:?}");
    assert!(told[3].ends_with("no TLS handshake in time"), "{told:?}");
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_connection_moves_is_bounded_and_whole() {
    let sink = server(|stream| {
        let read = std::io::copy(&mut (&mut *stream).take(20 << 20), &mut std::io::sink())?;
        stream.write_all(read.to_string().as_bytes())
    });
    let flood = vec![connect("off"), json!({ "flood": 20 << 20 }), json!("read-all"), json!({ "send": "x" })];
    let told = told(&sink, flood).await;
    matches(&told, &["connected", "sent 20971520", "read 8 bytes to the end", "", "heard 20971520"]);
    // More than the memory that it has: the instance is told and goes on.
    let spring = server(|stream| stream.write_all(&vec![b'x'; 4 << 20]));
    let lines = self::told(&spring, vec![connect("off"), json!("read-all")]).await;
    assert_eq!(lines[1], "read 4194304 bytes to the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_mean_harm_are_bounded_and_told() {
    let plaintext = server(|stream| {
        stream.read_exact(&mut [0; 8])?;
        stream.write_all(b"SE\0\0\0\x0cinjected")?;
        thread::sleep(Duration::from_secs(1));
        Ok(())
    });
    // Bytes that wait to be read when the encryption begins; whether the component took a part of them or not.
    let raw = |pause: u64| {
        vec![
            connect("off"),
            json!({ "send": "\u{0}\u{0}\u{0}\u{8}\u{4}\u{d2}\u{16}\u{2f}" }),
            json!({ "pause": pause }),
            json!({ "start-tls": { "tls": "require" } }),
            json!({ "send": "x" }),
        ]
    };
    let lines = told(&plaintext, raw(300)).await;
    assert!(lines[3].contains("sent something before the encryption began"), "{lines:?}");
    assert!(lines[4].starts_with("unavailable: the connection is closed"), "{lines:?}");
    let lines = told(
        &plaintext,
        vec![connect("off"), json!("ask-for-tls"), json!({ "start-tls": { "tls": "require" } })],
    )
    .await;
    assert!(lines[2].starts_with("invalid: encrypting: "), "{lines:?}");
    let lines = told(&plaintext, raw(0)).await;
    assert!(lines[3].starts_with("invalid: ") || lines[3].starts_with("unavailable: "), "{lines:?}");

    let invalid = "invalid: the server does not keep to PostgreSQL's protocol: ";
    let table: Vec<(String, String)> = vec![
        (postgres(|stream| stream.write_all(b"R\xff\xff\xff\xff")), format!("{invalid}a message that says it has 4294967295 bytes")),
        (postgres(|stream| stream.write_all(b"E\x7f\xff\xff\xff")), format!("{invalid}a message that says it has 2147483647 bytes")),
        (postgres(|stream| stream.write_all(b"R\0\0\0\0")), format!("{invalid}a message that says it has 0 bytes")),
        (
            postgres(|stream| {
                stream.write_all(&asks(3, b""))?;
                let mut password = Vec::new();
                stream.read_to_end(&mut password)?;
                assert_eq!(password, b"");
                Ok(())
            }),
            "denied: the server wants the password itself, which is told to a server only on a connection with `verify-full`".to_owned(),
        ),
        (
            postgres(|stream| {
                stream.write_all(&asks(10, b"SCRAM-SHA-256\0\0"))?;
                let mut said = [0; 256];
                let read = stream.read(&mut said)?;
                let said = String::from_utf8_lossy(&said[..read]).into_owned();
                let (_, nonce) = said.rsplit_once("r=").unwrap_or_default();
                stream.write_all(&asks(11, format!("r={nonce}x,s=c2FsdA==,i=1").as_bytes()))
            }),
            format!("{invalid}1 rounds of SCRAM's hash; it must be 4096 to 1000000"),
        ),
        (
            postgres(|stream| loop {
                stream.write_all(b"N\0\0\0\x05\0")?;
            }),
            format!("{invalid}an authentication of more than 16 messages"),
        ),
        (
            postgres(|stream| loop {
                stream.write_all(&asks(5, b"salt"))?;
            }),
            format!("{invalid}authentication request 5 out of turn"),
        ),
        (postgres(|_| Ok(())), "unavailable: the connection broke during the authentication: ".to_owned()),
        (echo(), format!("{invalid}a message of kind `")),
    ];
    for (endpoint, expected) in table {
        let lines = told(&endpoint, login()).await;
        assert!(lines[2].starts_with(&expected), "{lines:?}\n  instead of {expected}");
        assert_eq!(lines[3], "heard ", "nothing of the authentication is for the component");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authentication_begins_as_it_must() {
    let willing = postgres(|stream| {
        stream.write_all(&[asks(0, b""), b"Z\0\0\0\x05I".to_vec()].concat())?;
        thread::sleep(Duration::from_secs(1));
        Ok(())
    });
    let authenticate = |slot: &str| json!({ "authenticate": slot });
    let startup = |user: &str| json!({ "startup": { "user": user } });
    let begins = "invalid: an authentication begins when the startup message for user `scram` was sent";
    for (steps, expected) in [
        (vec![startup("scram"), authenticate("password")], "let in"),
        (vec![authenticate("password")], begins),
        (vec![startup("postgres"), authenticate("password")], begins),
        (
            vec![startup("scram"), json!({ "send": "p\u{0}\u{0}\u{0}\u{4}" }), authenticate("password")],
            begins,
        ),
        (vec![startup("scram"), startup("scram"), authenticate("password")], begins),
        (vec![startup("scram"), json!({ "read": 1 }), authenticate("password")], "invalid: authenticating: "),
        (vec![startup("scram"), authenticate("password"), authenticate("password")], begins),
        (
            vec![startup("scram"), authenticate("other")],
            "denied: the slot `other` has no secret for localhost:",
        ),
        (
            vec![startup("scram"), authenticate("token")],
            "invalid: nothing can be authenticated with a secret used as `bearer`",
        ),
        (vec![json!({ "start-tls": { "tls": "off" } })], "invalid: `start-tls` with `off` encrypts nothing"),
        (
            vec![json!({ "start-tls": { "tls": "require", "authorities": "x" } })],
            "invalid: `authorities` verify nobody without `verify-full`",
        ),
        (
            vec![json!({ "start-tls": { "tls": "verify-full", "authorities": "x" } })],
            "invalid: the authorities to be trusted: there is no certificate in them",
        ),
    ] {
        let all = [vec![connect("off")], steps.clone()].concat();
        let lines = told(&willing, all).await;
        assert!(lines[steps.len()].starts_with(expected), "{steps:?}\n  {lines:?}\n  instead of {expected}");
    }
}
