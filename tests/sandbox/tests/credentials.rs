//! Credentials that the host adds: what a server gets, and what it takes to get them there.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, reason = "for tests")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_model::{CapabilityKind, Code, Fault, Permission};
use tidegate_permission::Vault;
use tidegate_sandbox_tests::{Asked, Bench, ROUNDTRIP, Safe, Said, Server, credential};

const SECRET: &str = "tide gate/secret+42=";

/// What a server was asked, less what every request has.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn note(&self, asked: &Asked) {
        let usual = ["host", "user-agent", "accept", "accept-encoding", "content-length"];
        let headers = asked.headers.iter().filter(|(name, _)| !usual.contains(&name.as_str()));
        let mut headers: Vec<_> = headers.map(|(name, value)| format!("{name}={value}")).collect();
        headers.sort();
        let line = asked.line.trim_end_matches(" HTTP/1.1");
        self.0.lock().unwrap().push([line.to_owned(), headers.join(" ")].join(" ").trim_end().to_owned());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// A server that keeps what it was asked, and never says it.
fn silent() -> (String, Seen) {
    let seen = Seen::default();
    let noting = seen.clone();
    let port = Server::start(move |asked| {
        noting.note(asked);
        Said::new(200, "fine")
    })
    .port;
    (format!("http://127.0.0.1:{port}"), seen)
}

/// What becomes of a component that makes these calls: what it says, and how it ends.
async fn run(
    permissions: Vec<Permission>,
    vault: Arc<dyn Vault>,
    config: Value,
) -> (Vec<String>, Result<(), Fault>) {
    Bench::default().checked(ROUNDTRIP, config, permissions, vault).await
}

fn http(target: &str) -> Permission {
    Permission::new(CapabilityKind::Http, Some(target.to_owned()))
}

async fn told(permissions: Vec<Permission>, safe: &Arc<Safe>, calls: Vec<Value>) -> Vec<String> {
    run(permissions, safe.clone(), json!({ "calls": calls })).await.0
}

/// To a request that carries none, and what it was sent by a run before.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_was_sent_it_tells_to_no_request() {
    let last = Arc::new(Mutex::new(format!("Bearer {SECRET}")));
    let port = Server::start(move |asked| {
        let mut last = last.lock().unwrap();
        let sent = asked.headers.iter().find(|(name, _)| name == "authorization");
        let (told, now) = (last.clone(), sent.map_or("nothing".to_owned(), |(_, value)| value.clone()));
        if sent.is_some() {
            last.clone_from(&now);
        }
        Said::new(200, format!("{told}, and now {}", sent.is_some()))
    })
    .port;
    let url = format!("http://127.0.0.1:{port}");
    let permissions = vec![http(&url), credential("token", "bearer", &format!("{url}/v1"))];
    let safe = Arc::new(Safe::with([("token", SECRET)]));
    let calls = ["last", "v1/items", "last"].map(|path| json!({ "url": format!("{url}/{path}") })).to_vec();
    let stars = "*".repeat(SECRET.len());
    assert_eq!(
        told(permissions, &safe, calls).await,
        [
            format!("200 Bearer {stars}, and now false"),
            format!("200 Bearer {stars}, and now true"),
            format!("200 Bearer {stars}, and now false"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_use_a_secret_as_the_server_sees_it() {
    for (place, expected) in [
        ("bearer", "GET /v1/items?page=2 authorization=Bearer tide gate/secret+42="),
        // printf 'alice:tide gate/secret+42=' | base64
        ("basic alice", "GET /v1/items?page=2 authorization=Basic YWxpY2U6dGlkZSBnYXRlL3NlY3JldCs0Mj0="),
        ("header X-Api-Key", "GET /v1/items?page=2 x-api-key=tide gate/secret+42="),
        ("header cookie", "GET /v1/items?page=2 cookie=tide gate/secret+42="),
        ("query key", "GET /v1/items?page=2&key=tide%20gate%2Fsecret%2B42%3D"),
    ] {
        let (url, seen) = silent();
        let safe = Arc::new(Safe::with([("token", SECRET)]));
        let permissions = vec![http(&url), credential("token", place, &format!("{url}/v1"))];
        let calls = vec![
            json!({ "url": format!("{url}/v1/items?page=2") }),
            // Beside the binding, above it, and below something that only begins like it.
            json!({ "url": format!("{url}/v2/items") }),
            json!({ "url": format!("{url}/") }),
            json!({ "url": format!("{url}/v10") }),
        ];
        assert_eq!(told(permissions, &safe, calls).await, ["200 fine"; 4], "{place}");
        assert_eq!(seen.take(), [expected, "GET /v2/items", "GET /", "GET /v10"], "{place}");
        assert_eq!(safe.diary(), ["taken token"], "{place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_slots_at_one_endpoint_are_all_added() {
    let (url, seen) = silent();
    let safe = Arc::new(Safe::with([("a", "first-of-two"), ("b", "second-of-two"), ("c", "elsewhere")]));
    let permissions = vec![
        http(&url),
        credential("a", "header x-app", &url),
        credential("b", "query key", &url),
        credential("c", "bearer", "https://other.example"),
    ];
    let config =
        json!({ "dump": true, "calls": [{ "url": format!("{url}/x") }, { "url": format!("{url}/x") }] });
    let (said, _) = run(permissions, safe.clone(), config).await;
    assert_eq!(said[0], "bound: a b c");
    assert_eq!(seen.take(), ["GET /x?key=second-of-two x-app=first-of-two"; 2]);
    // Each was taken once; the third too, to be looked for in what comes back.
    assert_eq!(safe.diary(), ["taken a", "taken b", "taken c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sent() {
    let (url, seen) = silent();
    let elsewhere = "http://198.51.100.7";
    let both = |one: &str, two: &str| vec![credential("a", one, &url), credential("b", two, &url)];
    let plain = json!({ "url": format!("{url}/x") });
    let with = |name: &str| json!({ "url": format!("{url}/x"), "headers": [[name, "mine"]] });
    for (what, credentials, call, expected) in [
        (
            "a header of the component's own beside the host's",
            vec![credential("a", "header x-api-key", &url)],
            with("X-API-Key"),
            "invalid: the header `x-api-key` is the host's to set: the credential `a` goes there",
        ),
        (
            "the time of a signature",
            vec![credential("a", "hmac-sha256 x-sign", &url)],
            with("x-sign-timestamp"),
            "invalid: the header `x-sign-timestamp` is the host's to set: the credential `a` goes there",
        ),
        (
            "a parameter beside the host's",
            vec![credential("a", "query key", &url)],
            json!({ "url": format!("{url}/x?k%65y=mine") }),
            "invalid: the query's `key` is the host's to set: the credential `a` goes there",
        ),
        (
            "authorization by itself, with a slot and without",
            vec![credential("a", "bearer", &url)],
            with("Authorization"),
            "invalid: the header `authorization` is the host's to set",
        ),
        ("the same without", vec![], with("Authorization"), "invalid: the header `authorization`"),
        (
            "two of one place",
            both("bearer", "basic alice"),
            plain.clone(),
            "invalid: the credentials `a` and `b` are both the header `authorization` of",
        ),
        (
            "plain http to another machine",
            vec![http(elsewhere), credential("a", "bearer", elsewhere)],
            json!({ "url": elsewhere }),
            "ceiling: a secret is not sent over plain http to another machine; use https",
        ),
        (
            "a secret that the vault does not have",
            vec![credential("missing", "bearer", &url)],
            plain.clone(),
            "denied: there is no secret for `missing`",
        ),
        (
            "a secret that no header can carry",
            vec![credential("lines", "bearer", &url)],
            plain.clone(),
            "denied: the secret for `lines` cannot be sent: it has a line break",
        ),
        (
            "an empty one",
            vec![credential("empty", "bearer", &url)],
            plain.clone(),
            "denied: the secret for `empty` has 0 bytes",
        ),
        (
            "one that would frame the request",
            vec![credential("a", "header transfer-encoding", &url)],
            plain.clone(),
            "denied: the secret for `a` cannot be sent: `transfer-encoding` is no header that can carry it",
        ),
        (
            "a token from a server that others can listen to",
            vec![credential("a", "oauth2-client http://198.51.100.7/token me", &url)],
            plain.clone(),
            "invalid: the token URL of `a`: a secret is not sent over plain http",
        ),
    ] {
        let safe = Arc::new(Safe::with([
            ("a", SECRET),
            ("b", SECRET),
            ("lines", "two\r\nlines: of a secret"),
            ("empty", ""),
        ]));
        let permissions = credentials.into_iter().chain([http(&url)]).collect();
        let said = told(permissions, &safe, vec![call]).await;
        assert!(said[0].contains(expected), "{what}: {said:?}");
        assert!(!said[0].contains(SECRET) && !said[0].contains("of a secret"), "{what}: {said:?}");
        assert_eq!(seen.take(), [""; 0], "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_missing_is_what_the_run_fails_with() {
    let (url, seen) = silent();
    let permissions = vec![http(&url), credential("token", "bearer", &url)];
    let config = json!({ "strict": true, "calls": [{ "url": url }] });
    let fault = run(permissions, Arc::new(Safe::default()), config).await.1.unwrap_err();
    assert_eq!((fault.code, fault.help.as_deref()), (Code::NoSecret, Some("put one there")), "{fault}");
    assert_eq!(seen.take(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_the_order_does_not_permit_is_not_used() {
    let (url, seen) = silent();
    let bench = Bench::default();
    let reference = Bench::reference(ROUNDTRIP);
    let safe = Arc::new(Safe::with([("token", SECRET)]));
    let config = json!({ "calls": [{ "url": url }] });
    let (mut setup, mut lines) = bench.setup_with(&reference, config, vec![http(&url)], safe.clone());
    // Somebody put it into the worker's hands; the authorizer knows nothing of it.
    setup.credentials = vec![credential("token", "bearer", &url)];
    let component = bench.sandbox.load(&reference).await.unwrap();
    tidegate_extraction::Extractor::new(component, setup).check().await.unwrap();
    let line = lines.recv().await.unwrap().message;
    assert!(line.starts_with("denied: ") && line.contains("may not credential.use on"), "{line}");
    assert_eq!(seen.take(), [""; 0]);
    assert_eq!(safe.diary(), [""; 0]);
}

/// A server of data and of tokens: each token is good for one more request than there are in `uses`.
fn token_server(safe: &Arc<Safe>, uses: usize, expires_in: u64) -> String {
    let state = Mutex::new((0_u32, 0_usize));
    let safe = safe.clone();
    let port = Server::start(move |asked| {
        let mut state = state.lock().unwrap();
        let (tokens, used) = &mut *state;
        if asked.path() == "/token" {
            (*tokens, *used) = (*tokens + 1, 0);
            let form = String::from_utf8(asked.body.clone()).unwrap();
            let by = asked.header("authorization").unwrap_or("nobody");
            safe.note(format!("token for {by}: {form}"));
            let mut answer = json!({
                "access_token": format!("access-token-{tokens}"), "token_type": "Bearer", "expires_in": expires_in,
            });
            if form.contains("grant_type=refresh_token") {
                answer["refresh_token"] = format!("refresh-token-{}", *tokens + 1).into();
            }
            return Said::new(200, answer.to_string());
        }
        *used += 1;
        let by = asked.header("authorization").unwrap_or("nobody").to_owned();
        let good = by == format!("Bearer access-token-{tokens}") && *used <= uses;
        safe.note(format!("asked by {by}: {}", if good { "data" } else { "401" }));
        // It says what it got, as servers do that are debugged in production.
        Said::new(if good { 200 } else { 401 }, format!("hello {by}"))
    })
    .port;
    format!("http://localhost:{port}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_secret_is_traded_for_tokens_and_sent_to_no_other_server() {
    let safe = Arc::new(Safe::with([("app", "s3cret of:me")]));
    let url = token_server(&safe, 2, 3600);
    let place = format!("oauth2-client {url}/token my:app read write");
    let permissions = vec![http(&format!("{url}/data")), credential("app", &place, &format!("{url}/data"))];
    let calls = vec![json!({ "url": format!("{url}/data") }); 3];
    let said = told(permissions, &safe, calls).await;
    assert_eq!(said, ["200 hello Bearer **************"; 3]);
    // printf 'my%%3Aapp:s3cret%%20of%%3Ame' | base64
    let token = "token for Basic bXklM0FhcHA6czNjcmV0JTIwb2YlM0FtZQ==: grant_type=client_credentials&scope=read%20write";
    assert_eq!(
        safe.diary(),
        [
            "taken app",
            token,
            "asked by Bearer access-token-1: data",
            "asked by Bearer access-token-1: data",
            // A token that is no longer accepted is exchanged once, and the request made again.
            "asked by Bearer access-token-1: 401",
            token,
            "asked by Bearer access-token-2: data",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_refresh_token_is_kept_before_anything_is_done_with_it() {
    for (secret, client, kept) in [
        ("refresh-token-1", "nobody", "refresh-token-2"),
        (
            r#"{"refresh_token":"refresh-token-1","client_secret":"of-the-app"}"#,
            "Basic bWU6b2YtdGhlLWFwcA==",
            r#"{"refresh_token":"refresh-token-2","client_secret":"of-the-app"}"#,
        ),
    ] {
        let safe = Arc::new(Safe::with([("login", secret)]));
        let url = token_server(&safe, 1, 3600);
        let place = format!("oauth2-refresh {url}/token me");
        let permissions = vec![http(&format!("{url}/data")), credential("login", &place, &url)];
        let call = json!({ "url": format!("{url}/data") });
        assert_eq!(
            told(permissions, &safe, vec![call.clone(), call]).await,
            ["200 hello Bearer **************"; 2]
        );
        let form = |number: u32| {
            let public = if client == "nobody" { "&client_id=me" } else { "" };
            format!(
                "token for {client}: grant_type=refresh_token&refresh_token=refresh-token-{number}{public}"
            )
        };
        let again = kept.replace("token-2", "token-3");
        assert_eq!(
            safe.diary(),
            [
                "taken login".to_owned(),
                form(1),
                format!("rotated login to {kept}"),
                "asked by Bearer access-token-1: data".to_owned(),
                "asked by Bearer access-token-1: 401".to_owned(),
                form(2),
                format!("rotated login to {again}"),
                "asked by Bearer access-token-2: data".to_owned(),
            ]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_get_one_token() {
    let safe = Arc::new(Safe::with([("app", "secret-of-the-app")]));
    let url = token_server(&safe, 100, 3600);
    let permissions =
        vec![http(&format!("{url}/data")), credential("app", &format!("oauth2-client {url}/token me"), &url)];
    let calls = vec![json!({ "url": format!("{url}/data") }); 16];
    let config = json!({ "at_once": true, "calls": calls });
    let (said, _) = run(permissions, safe.clone(), config).await;
    assert_eq!(said, ["200 hello Bearer **************"; 16]);
    let tokens = safe.diary().iter().filter(|line| line.starts_with("token for")).count();
    assert_eq!(tokens, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_about_to_end_is_not_used_and_a_useless_one_not_tried_twice() {
    let safe = Arc::new(Safe::with([("app", "secret-of-the-app")]));
    for (uses, expires_in, expected) in
        [(9, 0, "token data token data"), (0, 3600, "token 401 token 401 401 token 401")]
    {
        let url = token_server(&safe, uses, expires_in);
        let place = format!("oauth2-client {url}/token me");
        let permissions = vec![http(&format!("{url}/data")), credential("app", &place, &url)];
        let before = safe.diary().len();
        told(permissions, &safe, vec![json!({ "url": format!("{url}/data") }); 2]).await;
        let diary = safe.diary()[before..].join("\n");
        let short: Vec<_> = diary
            .lines()
            .filter_map(|line| match line {
                line if line.starts_with("token for") => Some("token"),
                line => line.strip_prefix("asked by Bearer ")?.split(' ').nth(1),
            })
            .collect();
        let expected = expected.split(' ').collect::<Vec<_>>();
        assert!(short.starts_with(&expected), "{short:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_server_that_refuses_is_told_of_without_the_secret() {
    let mischievous =
        json!({ "error": "secret-of-the-app", "error_description": "you sent secret-of-the-app" });
    for (status, body, expected) in [
        (400, mischievous.to_string(), "/token answered 400 BLACK"),
        (401, r#"{"error":"invalid_client"}"#.to_owned(), "/token answered 401 invalid_client"),
        (302, "moved".to_owned(), "/token answered 302"),
        (200, "secret-of-the-app".to_owned(), "/token answered with something else (line 1)"),
        (200, "x".repeat(70 << 10), "/token answered with more than 65536 bytes"),
        (
            200,
            r#"{"access_token":"x","token_type":"mac"}"#.to_owned(),
            "/token gave a token of the unknown type `mac`",
        ),
    ] {
        let port = Server::start(move |_| {
            Said::new(status, body.clone()).with("location", "http://169.254.169.254/")
        })
        .port;
        let url = format!("http://127.0.0.1:{port}");
        let safe = Arc::new(Safe::with([("app", "secret-of-the-app")]));
        let place = format!("oauth2-client {url}/token me");
        let permissions = vec![http(&format!("{url}/data")), credential("app", &place, &url)];
        let said = told(permissions, &safe, vec![json!({ "url": format!("{url}/data") })]).await;
        let expected = expected.replace("BLACK", &"*".repeat("secret-of-the-app".len()));
        let expected = format!("unavailable: no access token for `app`: {url}{expected}");
        assert_eq!(said, [expected]);
    }
}

/// The token URL is the host's alone: a component that was not granted it cannot ask it.
#[tokio::test(flavor = "multi_thread")]
async fn a_component_cannot_send_to_the_token_url_by_itself() {
    let safe = Arc::new(Safe::with([("app", "secret-of-the-app")]));
    let url = token_server(&safe, 9, 3600);
    let place = format!("oauth2-client {url}/token me");
    let permissions = vec![http(&format!("{url}/data")), credential("app", &place, &format!("{url}/data"))];
    let call = json!({ "url": format!("{url}/token"), "method": "POST" });
    let said = told(permissions, &safe, vec![call]).await;
    assert!(said[0].starts_with("denied: "), "{said:?}");
    assert_eq!(safe.diary(), [""; 0]);
}

/// Servers of others, that check signatures in their own way.
struct Checking(Child, Value);

impl Checking {
    fn start() -> Self {
        let python = std::env::var_os("TIDEGATE_TEST_PYTHON").expect(
            "TIDEGATE_TEST_PYTHON names the Python with tests/python/requirements.txt: `tests/run` sets it",
        );
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../python/signature_server.py");
        let mut child = Command::new(python).arg(script).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let known = serde_json::from_str(&line).unwrap();
        Self(child, known)
    }

    fn get(&self, key: &str) -> &str {
        self.1[key].as_str().unwrap()
    }
}

impl Drop for Checking {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_that_others_check() {
    let checking = tokio::task::spawn_blocking(Checking::start).await.unwrap();
    let (s3, hmac) = (checking.get("s3"), checking.get("hmac"));
    let safe = Arc::new(Safe::with([
        ("aws", checking.get("secret_access_key")),
        ("forged", "not-the-secret-access-key"),
        ("hmac", checking.get("hmac_secret")),
    ]));
    let aws = |slot: &str| {
        credential(slot, &format!("aws-sigv4 us-east-1 s3 {}", checking.get("access_key_id")), s3)
    };
    let object = format!("{s3}/lake/a%20b+c.txt");
    let (put, odd) = (format!("{s3}/lake/new.txt"), format!("{s3}/lake?prefix=a+b&list-type=2&prefix-=%2F"));
    for (what, credentials, call, expected) in [
        ("S3, an object", vec![aws("aws")], json!({ "url": object }), "200 of the lake"),
        (
            "S3, a new one",
            vec![aws("aws")],
            json!({ "url": put, "method": "PUT", "body": 1000, "headers": [["x-amz-meta-a", "b  c"]] }),
            "200 ",
        ),
        ("S3, what it got", vec![aws("aws")], json!({ "url": put }), "200 xxxxxxxxxx"),
        ("S3, a query in no order", vec![aws("aws")], json!({ "url": odd }), "200 <?xml"),
        ("S3, with another secret", vec![aws("forged")], json!({ "url": object }), "403 "),
        ("S3, without one", vec![], json!({ "url": object }), "403 "),
        (
            "HMAC",
            vec![credential("hmac", "hmac-sha256 x-signature", hmac)],
            json!({ "url": format!("{hmac}/v1/items?page=2&q=a%20b") }),
            "200 signed",
        ),
        (
            "HMAC of a body",
            vec![credential("hmac", "hmac-sha256 x-signature", hmac)],
            json!({ "url": format!("{hmac}/v1"), "method": "POST", "body": 100_000 }),
            "200 signed",
        ),
        (
            "HMAC, with another secret",
            vec![credential("forged", "hmac-sha256 x-signature", hmac)],
            json!({ "url": hmac }),
            "403 wrong: the signature",
        ),
    ] {
        let permissions = credentials.into_iter().chain([http(s3), http(hmac)]).collect();
        let said = told(permissions, &safe, vec![call]).await;
        assert!(said[0].starts_with(expected), "{what}: {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_not_held_up_by_a_token_server_for_longer_than_it_may_take() {
    let port = Server::start(|_| Said::new(200, "").after(20_000)).port;
    let url = format!("http://127.0.0.1:{port}");
    let safe = Arc::new(Safe::with([("app", "secret-of-the-app")]));
    let place = format!("oauth2-client {url}/token me");
    let permissions = vec![http(&format!("{url}/data")), credential("app", &place, &url)];
    let began = std::time::Instant::now();
    let call = json!({ "url": format!("{url}/data"), "timeout": 200 });
    let said = told(permissions, &safe, vec![call]).await;
    assert!(said[0].ends_with("its credential was not there in time"), "{said:?}");
    assert!(began.elapsed() < Duration::from_secs(15));
}
