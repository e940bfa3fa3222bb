//! `http` through a component, against a server that answers.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "for tests")]

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use tidegate_model::CapabilityKind;
use tidegate_sandbox_tests::{Asked, Bench, FILES, ROUNDTRIP, Said, Server, drain, plan, request};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn parquet(rows: i64) -> Vec<u8> {
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let batch = RecordBatch::try_from_iter([("id", id)]).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn server() -> Server {
    Server::start(|asked: &Asked| match asked.path() {
        "/echo" => {
            let headers =
                asked.headers.iter().filter(|(name, _)| !matches!(name.as_str(), "host" | "user-agent"));
            let headers: Vec<_> = headers.map(|(name, value)| format!("{name}={value}")).collect();
            Said::new(200, format!("{}; {}; {} bytes", asked.line, headers.join(" "), asked.body.len()))
        }
        "/packed" => Said::new(200, gzip(b"unpacked")).with("content-encoding", "gzip"),
        "/moved" => Said::new(302, "moved").with("location", "http://169.254.169.254/"),
        "/slow" => Said::new(200, "at last").after(400),
        "/wordy" => Said::new(200, "").with("x-words", "w".repeat(70 << 10)),
        _ => Said::new(404, "not here"),
    })
}

/// What a component is told that makes these calls and may call `granted`.
async fn told(granted: &str, calls: Vec<Value>, at_once: bool) -> Vec<String> {
    let bench = Bench::default();
    let config = json!({ "url": granted, "calls": calls, "at_once": at_once });
    let grants = [(CapabilityKind::Http, granted)];
    let (extractor, mut lines) = bench.listened(ROUNDTRIP, config, &grants).await;
    extractor.check().await.unwrap();
    drop(extractor);
    let mut told = Vec::new();
    while let Some(line) = lines.recv().await {
        told.push(line.message);
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_component_asks_and_what_comes_back() {
    let granted = format!("http://127.0.0.1:{}/", server().port);
    let at = |path: &str| format!("{granted}{path}");
    let with = |name: &str, value: &str| json!({ "url": at("echo"), "headers": [[name, value]] });
    let table = [
        (json!({ "url": at("echo") }), "200 GET /echo HTTP/1.1; accept-encoding=gzip accept=*/*; 0 bytes"),
        (
            json!({ "url": at("echo"), "method": "POST", "body": 1000 }),
            "200 POST /echo HTTP/1.1; accept-encoding=gzip accept=*/* content-length=1000; 1000 bytes",
        ),
        (with("x-mine", "1"), "200 GET /echo HTTP/1.1; x-mine=1 accept-encoding=gzip accept=*/*; 0 bytes"),
        (json!({ "url": at("packed") }), "200 unpacked"),
        (json!({ "url": at("nowhere") }), "404 not here"),
        // What would speak for somebody else, or to somebody else.
        (with("authorization", "Bearer x"), "invalid: the header `authorization` is the host's to set"),
        (with("Host", "other.example"), "invalid: the header `host` is the host's to set"),
        (with("Cookie", "a=b"), "invalid: the header `cookie` is the host's to set"),
        (with("X-Forwarded-For", "10.0.0.1"), "invalid: the header `x-forwarded-for` is the host's to set"),
        (
            with("transfer-encoding", "chunked"),
            "invalid: the header `transfer-encoding` is the host's to set",
        ),
        (
            with("x-mine", "1\r\nhost: other.example"),
            "invalid: the header `x-mine` has a value that cannot be sent",
        ),
        (
            json!({ "url": at("echo"), "method": "CONNECT" }),
            "invalid: the method must be upper-case letters, such as `GET`",
        ),
        (
            json!({ "url": at("echo"), "method": "GET / HTTP/1.1\r\nx:" }),
            "invalid: the method must be upper-case letters, such as `GET`",
        ),
        // A redirect is an answer, and where it leads is another question.
        (json!({ "url": at("moved") }), "302 moved"),
        (json!({ "url": "http://169.254.169.254/" }), "denied: "),
        (json!({ "url": "http://127.0.0.1:1/" }), "denied: "),
        (json!({ "url": "http://localhost.example/" }), "denied: "),
        (
            json!({ "url": granted.replace("127.0.0.1", "127.0.0.1@other.example") }),
            "invalid: a URL must not carry a user or password",
        ),
        (
            json!({ "url": "file:///etc/passwd" }),
            "invalid: only absolute `http` and `https` URLs can be sent to",
        ),
        // Too much, too long.
        (
            json!({ "url": at("echo"), "method": "POST", "body": (16 << 20) + 1 }),
            "limit: a body of 16777217 bytes is larger than 16 MiB",
        ),
        (with("x-mine", &"m".repeat(64 << 10)), "limit: headers of 65542 bytes are larger than 64 KiB"),
        (json!({ "url": at(&"u".repeat(16 << 10)) }), "limit: a URL of 164"),
        (json!({ "url": at("echo"), "method": "M".repeat(33) }), "invalid: the method must be"),
        (json!({ "url": at("wordy") }), "limit: the answer's headers are larger than 64 KiB"),
        (json!({ "url": at("slow"), "timeout": 50 }), "unavailable: 127.0.0.1: no answer in time"),
    ];
    let (calls, expected): (Vec<Value>, Vec<&str>) = table.into_iter().unzip();
    let told = told(&granted, calls.clone(), false).await;
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for ((call, expected), told) in calls.iter().zip(expected).zip(told) {
        assert!(told.starts_with(expected), "{call}\n  is told {told}\n  instead of {expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_requests_are_in_flight_and_no_more() {
    let granted = format!("http://localhost:{}/", server().port);
    let calls = vec![json!({ "url": format!("{granted}slow") }); 17];
    let began = std::time::Instant::now();
    let told = told(&granted, calls, true).await;
    assert_eq!(told[..16], ["200 at last"; 16]);
    assert_eq!(told[16..], ["limit: 16 requests are in flight already; wait for one"]);
    assert!(began.elapsed().as_millis() < 16 * 400, "one after the other");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_granted_nothing_sent() {
    let port = server().port;
    let call = json!({ "url": format!("http://127.0.0.1:{port}/echo") });
    let told = told("http://127.0.0.1:1/", vec![call], false).await;
    assert!(told[0].starts_with("denied: "), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_on_the_web_is_read_like_one_on_disk() {
    let mut csv = b"id,name\n".to_vec();
    for row in 0..50_000 {
        writeln!(csv, "{row},n{row}").unwrap();
    }
    let (packed, parquet) = (gzip(&csv), parquet(50_000));
    let port = Server::start(move |asked| match asked.path() {
        "/t.csv" => Server::file(&csv, asked),
        "/t.csv.gz" => Server::file(&packed, asked),
        "/t.parquet" => Server::file(&parquet, asked),
        _ => Said::new(404, ""),
    })
    .port;
    for file in ["t.csv", "t.csv.gz", "t.parquet"] {
        assert_eq!(
            read(&format!("http://localhost:{port}/{file}")).await,
            ("t".to_owned(), 50_000),
            "{file}"
        );
    }
}

/// The stream that is at a location, and its rows. Another location beside it is denied.
async fn read(location: &str) -> (String, usize) {
    let bench = Bench::default();
    let grants = [(CapabilityKind::Files, location), (CapabilityKind::Decode, "")];
    let extractor = bench.extractor(FILES, json!({ "location": location }), &grants).await;
    let streams = extractor.discover().await.unwrap();
    let name = &streams[0].name;
    let mut rows = 0;
    for split in plan(&extractor, name).await.unwrap().splits {
        let read = drain(extractor.read(&request(name), &split.data, None)).await;
        assert_eq!(read.fault, None);
        rows += read.rows();
    }
    let other = extractor.with_config(json!({ "location": location.replace("/t", "/other") }));
    let denied = other.discover().await.unwrap_err();
    assert_eq!(denied.connector_code.as_deref(), Some("denied"), "{denied}");
    (name.clone(), rows)
}
