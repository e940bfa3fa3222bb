//! What it costs to police a component's requests, beside a plain client that sends the same ones.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use tidegate_extraction::Extractor;
use tidegate_model::{CapabilityKind, Permission};
use tidegate_sandbox_tests::{Bench, ROUNDTRIP, Safe, credential};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::Rounds;

/// Of one round, one after the other.
const REQUESTS: usize = 2000;
const ROUNDS: usize = 7;
/// Of a small answer, and of the large one that is blacked out.
const SMALL: usize = 1 << 10;
const LARGE: usize = 64 << 20;
const SECRET: &str = "a-token-of-forty-two-characters-or-nearly";

pub async fn measure(bench: &Bench) {
    let url = serve().await;
    println!(
        "HTTP on loopback: requests a second, one after the other, answers of 1 KiB, medians of {ROUNDS} rounds of {REQUESTS}"
    );
    let [policed, dressed] = [false, true].map(|credential| Asking { bench, url: &url, credential });
    let plain = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut rounds: [Rounds; 4] = Default::default();
    for _ in 0..ROUNDS {
        rounds[0].add(asked_plainly(&plain, &url).await);
        rounds[1].add(policed.requests().await);
        rounds[2].add(dressed.requests().await);
        rounds[3].add(asked_plainly(&plain, &url).await);
    }
    let [first, policed, dressed, again] = rounds.map(|rounds| rounds.median());
    println!("{:42}{first:8.0}", "a plain client");
    println!("{:42}{:8.2}", "  the same again, as a control, in parts", again / first);
    println!("{:42}{policed:8.0}{:8.2}", "a component, policed", policed / first);
    println!("{:42}{dressed:8.0}{:8.2}", "a component, policed, with a credential", dressed / first);
    println!(
        "included: entering and leaving the component, decisions, limits, its own reading and a line of log\n"
    );

    println!("One answer of 64 MiB, read by a component: MB/s, medians of {ROUNDS} rounds");
    let [policed, dressed] = [false, true].map(|credential| Asking { bench, url: &url, credential });
    let mut rounds: [Rounds; 2] = Default::default();
    for _ in 0..ROUNDS {
        rounds[0].add(policed.megabytes().await);
        rounds[1].add(dressed.megabytes().await);
    }
    let [clear, searched] = rounds.map(|rounds| rounds.median());
    println!("{:42}{clear:8.0}", "as it comes");
    println!("{:42}{searched:8.0}{:8.2}", "searched for a secret in every form", searched / clear);
}

/// A component that asks.
struct Asking<'a> {
    bench: &'a Bench,
    url: &'a str,
    credential: bool,
}

impl Asking<'_> {
    async fn requests(&self) -> f64 {
        let call = json!({ "url": format!("{}/small", self.url) });
        REQUESTS as f64 / self.seconds(vec![call; REQUESTS], &format!("200 {}", "x".repeat(SMALL))).await
    }

    async fn megabytes(&self) -> f64 {
        let call = json!({ "url": format!("{}/large", self.url), "count": true });
        LARGE as f64 / 1e6 / self.seconds(vec![call], &format!("200 {LARGE} bytes")).await
    }

    /// What it takes to make these calls, whose first answer is known.
    async fn seconds(&self, calls: Vec<Value>, expected: &str) -> f64 {
        let reference = Bench::reference(ROUNDTRIP);
        let mut permissions = vec![Permission::new(CapabilityKind::Http, Some(self.url.to_owned()))];
        if self.credential {
            permissions.push(credential("token", "bearer", self.url));
        }
        let safe = Arc::new(Safe::with([("token", SECRET)]));
        let config = json!({ "strict": true, "calls": calls });
        let (setup, mut lines) = self.bench.setup_with(&reference, config, permissions, safe);
        let extractor = Extractor::new(self.bench.sandbox.load(&reference).await.unwrap(), setup);
        let begun = Instant::now();
        extractor.check().await.unwrap();
        let took = begun.elapsed().as_secs_f64();
        assert_eq!(lines.recv().await.unwrap().message, expected);
        took
    }
}

async fn asked_plainly(client: &reqwest::Client, url: &str) -> f64 {
    let begun = Instant::now();
    for _ in 0..REQUESTS {
        let answer = client.get(format!("{url}/small")).send().await.unwrap();
        assert_eq!(answer.bytes().await.unwrap().len(), SMALL);
    }
    REQUESTS as f64 / begun.elapsed().as_secs_f64()
}

/// A server that keeps its connections, as little of one as there can be.
async fn serve() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    format!("http://127.0.0.1:{port}")
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let said = |length: usize| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        [head.as_bytes(), &vec![b'x'; length]].concat()
    };
    let (small, large) = (said(SMALL), said(LARGE));
    let mut asked = Vec::new();
    loop {
        if stream.read_buf(&mut asked).await? == 0 {
            return Ok(());
        }
        if asked.ends_with(b"\r\n\r\n") {
            let answer = if asked.starts_with(b"GET /large") { &large } else { &small };
            stream.write_all(answer).await?;
            asked.clear();
        }
    }
}
