//! Servers that nobody should trust. What an honest one says is tried with PostgreSQL itself, in
//! `tests/sandbox`.

use tokio::io::AsyncReadExt;

use super::*;

const PASSWORD: &str = "open sesame";
/// A server that is not answered for so long hangs up: it may have said too little to be.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

type Say = Box<dyn Fn(&[u8]) -> Vec<u8>>;

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind], &length[..], body].concat()
}

fn asks(request: u32, rest: &[u8]) -> Vec<u8> {
    message(b'R', &[&request.to_be_bytes(), rest].concat())
}

fn says(bytes: Vec<u8>) -> Say {
    Box::new(move |_| bytes.clone())
}

fn offers(mechanisms: &str) -> Say {
    says(asks(request::SASL, format!("{mechanisms}\0\0").as_bytes()))
}

/// A challenge that goes on from the client's nonce.
fn challenges(rest: &'static str) -> Say {
    Box::new(move |said| {
        let said = String::from_utf8_lossy(said);
        let (_, nonce) = said.rsplit_once("r=").unwrap();
        asks(request::SASL_CONTINUE, format!("r={nonce}{rest}").as_bytes())
    })
}

fn error(code: &str, words: &str) -> Vec<u8> {
    message(b'E', format!("SFATAL\0VFATAL\0C{code}\0M{words}\0Fauth.c\0\0").as_bytes())
}

/// What comes of a server of this machine that says this, one after the other, each when it was answered; and all
/// that it was told. It then hangs up.
async fn played(peer: Peer, script: Vec<Say>) -> (String, String) {
    played_at(true, peer, script).await
}

async fn played_at(local: bool, peer: Peer, script: Vec<Say>) -> (String, String) {
    let (mut ours, mut theirs) = tokio::io::duplex(64 << 10);
    let (user, password) = ("reader".to_owned(), Secret::new(PASSWORD.as_bytes().to_vec()));
    let login = Login { user, password, peer, local };
    let client = async move {
        match authenticate(&mut ours, &login).await {
            Ok(()) => "let in".to_owned(),
            Err(Refusal::Told(fault)) => format!("{}: {}", fault.code, fault.message),
            Err(Refusal::Ended(fault)) => panic!("{fault}"),
        }
    };
    let server = async move {
        let mut all = String::new();
        let mut last = Vec::new();
        for say in script {
            theirs.write_all(&say(&last)).await.unwrap();
            let mut head = [0; 5];
            let heard = tokio::time::timeout(PATIENCE, theirs.read_exact(&mut head)).await;
            if !matches!(heard, Ok(Ok(_))) {
                break;
            }
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            last = vec![0; length - 4];
            theirs.read_exact(&mut last).await.unwrap();
            all += &String::from_utf8_lossy(&last);
        }
        all
    };
    tokio::join!(client, server)
}

fn bound() -> Option<Vec<u8>> {
    Some(vec![7; 32])
}

#[tokio::test]
async fn what_breaks_the_protocol_is_told_and_bounded() {
    let huge = [&b"R"[..], &u32::MAX.to_be_bytes()].concat();
    let table: Vec<(Vec<Say>, &str)> = vec![
        (vec![says(asks(request::OK, b""))], "let in"),
        (
            vec![says(huge)],
            "invalid: the server does not keep to PostgreSQL's protocol: a message that says it has 4294967295 bytes",
        ),
        (
            vec![says(b"R\0\0\0\x03".to_vec())],
            "invalid: the server does not keep to PostgreSQL's protocol: a message that says it has 3 bytes",
        ),
        (
            vec![says(message(b'R', &[0; 3000]))],
            "invalid: the server does not keep to PostgreSQL's protocol: a message that says it has 3004 bytes",
        ),
        (
            vec![says(message(b'E', &[b'x'; 40_000]))],
            "invalid: the server does not keep to PostgreSQL's protocol: a message that says it has 40004 bytes",
        ),
        (
            vec![says(message(b'R', &[0, 0]))],
            "invalid: the server does not keep to PostgreSQL's protocol: a request without a word",
        ),
        (
            vec![says(b"HTTP/1.1 400 Bad Request\r\n".to_vec())],
            "invalid: the server does not keep to PostgreSQL's protocol: a message of kind `H`",
        ),
        (
            vec![says(message(b'D', b"early rows"))],
            "invalid: the server does not keep to PostgreSQL's protocol: a message of kind `D`",
        ),
        (
            vec![says(message(b'N', b"SNOTICE\0\0").repeat(20))],
            "invalid: the server does not keep to PostgreSQL's protocol: an authentication of more than 16 messages",
        ),
        (vec![says(asks(7, b""))], "unsupported: the server asks for authentication of kind 7"),
        (
            vec![says(asks(u32::MAX, b""))],
            "unsupported: the server asks for authentication of kind 4294967295",
        ),
        (
            vec![says(asks(request::SASL_FINAL, b"v="))],
            "invalid: the server does not keep to PostgreSQL's protocol: authentication request 12 out of turn",
        ),
        (
            vec![says(asks(request::MD5, b"abc"))],
            "invalid: the server does not keep to PostgreSQL's protocol: a salt for MD5 that has not four bytes",
        ),
        (
            vec![says(asks(request::MD5, b"salt")), says(asks(request::MD5, b"salt"))],
            "invalid: the server does not keep to PostgreSQL's protocol: authentication request 5 out of turn",
        ),
        (
            vec![says(asks(request::MD5, b"salt")), offers("SCRAM-SHA-256")],
            "invalid: the server does not keep to PostgreSQL's protocol: authentication request 10 out of turn",
        ),
        (vec![offers("GS2-KRB5")], "unsupported: the server offers no mechanism that there is"),
        (vec![offers("")], "unsupported: the server offers no mechanism that there is"),
        (
            vec![says(message(b'R', b"\0\0\0\x0a")), says(vec![])],
            "unsupported: the server offers no mechanism",
        ),
        (vec![says(vec![])], "unavailable: the connection broke during the authentication: "),
        (
            vec![says(b"R\0\0\0\x20\0\0".to_vec())],
            "unavailable: the connection broke during the authentication: ",
        ),
        (
            vec![says(error("28P01", "password authentication failed"))],
            "denied: the server says: FATAL 28P01: password authentication failed",
        ),
        (
            vec![says(error("53300", "too many connections"))],
            "unavailable: the server says: FATAL 53300: too many connections",
        ),
        (
            vec![says(error("57P03", "starting up\u{1b}[2J\nTG0301"))],
            "unavailable: the server says: FATAL 57P03: starting up\u{fffd}[2J TG0301",
        ),
    ];
    for (number, (script, expected)) in table.into_iter().enumerate() {
        let (told, answered) = played(Peer::Anybody, script).await;
        assert!(told.starts_with(expected), "row {number}: {told}");
        assert!(told.len() < 1500, "row {number}: {told}");
        assert!(!answered.contains(PASSWORD), "row {number}");
    }
}

#[tokio::test]
async fn scram_is_carried_to_its_end_or_nobody_is_believed() {
    let begun = || offers("SCRAM-SHA-256");
    let answered = || challenges("x,s=c2FsdA==,i=4096");
    let invalid = "invalid: the server does not keep to PostgreSQL's protocol: ";
    let table: Vec<(Vec<Say>, String)> = vec![
        (
            vec![begun(), says(asks(request::OK, b""))],
            format!("{invalid}authentication request 0 out of turn"),
        ),
        (
            vec![begun(), answered(), says(asks(request::OK, b""))],
            format!("{invalid}authentication request 0 out of turn"),
        ),
        (
            vec![begun(), says(asks(request::CLEARTEXT, b""))],
            format!("{invalid}authentication request 3 out of turn"),
        ),
        (
            vec![begun(), says(asks(request::MD5, b"salt"))],
            format!("{invalid}authentication request 5 out of turn"),
        ),
        (vec![begun(), begun()], format!("{invalid}authentication request 10 out of turn")),
        (
            vec![begun(), challenges("x,s=c2FsdA==,i=1")],
            format!("{invalid}1 rounds of SCRAM's hash; it must be 4096 to 1000000"),
        ),
        (vec![begun(), challenges("x,s=c2FsdA==,i=4095")], format!("{invalid}4095 rounds")),
        (vec![begun(), challenges("x,s=c2FsdA==,i=4000000000")], format!("{invalid}4000000000 rounds")),
        (
            vec![begun(), challenges("x,s=c2FsdA==,i=99999999999")],
            format!("{invalid}a challenge of SCRAM that is none"),
        ),
        (
            vec![begun(), challenges("x,s=c2FsdA==,i=4096,m=more")],
            format!("{invalid}a challenge of SCRAM that is none"),
        ),
        (vec![begun(), challenges("x,s=c2FsdA==")], format!("{invalid}a challenge of SCRAM that is none")),
        (vec![begun(), challenges("x,s=?,i=4096")], format!("{invalid}its challenge: ")),
        (
            vec![begun(), says(asks(request::SASL_CONTINUE, b"r=theirs,s=c2FsdA==,i=4096"))],
            format!("{invalid}its challenge: invalid nonce"),
        ),
        (
            vec![begun(), says(asks(request::SASL_CONTINUE, b"\xff"))],
            format!("{invalid}a challenge of SCRAM that is none"),
        ),
        (
            vec![begun(), answered(), says(asks(request::SASL_FINAL, b"v=AAAA"))],
            "denied: the server cannot prove that it knows the password".to_owned(),
        ),
        (
            vec![begun(), answered(), says(asks(request::SASL_FINAL, b"e=other-error"))],
            "denied: the server cannot prove".to_owned(),
        ),
    ];
    for (number, (script, expected)) in table.into_iter().enumerate() {
        let (told, answered) = played(Peer::Anybody, script).await;
        assert!(told.starts_with(&expected), "row {number}: {told}");
        assert!(!answered.contains(PASSWORD), "row {number}");
    }
}

#[tokio::test]
async fn how_much_a_server_is_told_depends_on_who_it_is() {
    let somebody = |end_point| Peer::Somebody { end_point };
    let verified = |end_point| Peer::Verified { end_point };
    let both = "SCRAM-SHA-256-PLUS\0SCRAM-SHA-256";
    for (peer, mechanisms, first) in [
        (Peer::Anybody, both, "SCRAM-SHA-256\0n,,"),
        (somebody(bound()), both, "SCRAM-SHA-256-PLUS\0p=tls-server-end-point,,"),
        (verified(bound()), both, "SCRAM-SHA-256-PLUS\0p=tls-server-end-point,,"),
        // It could have had channel binding, and says so: an honest server that offered it would know.
        (somebody(bound()), "SCRAM-SHA-256", "SCRAM-SHA-256\0y,,"),
        (somebody(None), "SCRAM-SHA-256", "SCRAM-SHA-256\0y,,"),
        (verified(None), both, "SCRAM-SHA-256\0n,,"),
        // Nothing to bind to, and nobody verified: nothing is said.
        (somebody(None), both, ""),
        (Peer::Anybody, "SCRAM-SHA-256-PLUS", ""),
    ] {
        let (_, answered) = played(peer.clone(), vec![offers(mechanisms)]).await;
        // The length of what follows the name is not text.
        let said: String = answered.replace("\0\0\0", "").chars().filter(|c| *c as u32 != 32).collect();
        let (name, gs2) = first.split_once('\0').unwrap_or_default();
        assert!(said.starts_with(name) && said.contains(gs2), "{peer:?} {mechanisms}: {answered:?}");
        assert_eq!(first.is_empty(), answered.is_empty(), "{peer:?} {mechanisms}: {answered:?}");
    }
    for (peer, told_it) in [
        (Peer::Anybody, false),
        (somebody(bound()), false),
        (verified(None), true),
        (verified(bound()), true),
    ] {
        let script = vec![says(asks(request::CLEARTEXT, b"")), says(asks(request::OK, b""))];
        let (told, answered) = played(peer.clone(), script).await;
        assert_eq!(answered.contains(PASSWORD), told_it, "{peer:?}: {told}");
        assert_eq!(told == "let in", told_it, "{peer:?}: {told}");
    }
    for (peer, local, answers) in [
        (Peer::Anybody, false, false),
        (somebody(bound()), false, false),
        (verified(None), false, true),
        (Peer::Anybody, true, true),
    ] {
        let script = vec![says(asks(request::MD5, b"salt")), says(asks(request::OK, b""))];
        let (told, answered) = played_at(local, peer.clone(), script).await;
        assert_eq!(answered.starts_with("md5"), answers, "{peer:?} {local}: {told}");
        assert_eq!(told == "let in", answers, "{peer:?} {local}: {told}");
    }
}

#[tokio::test]
async fn what_was_answered_does_not_come_back() {
    let repeats: Say = Box::new(|said| {
        let said = String::from_utf8_lossy(said);
        error("28P01", &format!("you said {}", said.trim_end_matches('\0')))
    });
    let script = vec![says(asks(request::CLEARTEXT, b"")), repeats];
    let (told, _) = played(Peer::Verified { end_point: None }, script).await;
    assert_eq!(told, "denied: the server says: FATAL 28P01: you said ***");
    let repeats: Say = Box::new(|said| error("28P01", &String::from_utf8_lossy(said).replace('\0', "")));
    let script = vec![says(asks(request::MD5, b"salt")), repeats];
    let (told, answered) = played(Peer::Anybody, script).await;
    assert_eq!(told, "denied: the server says: FATAL 28P01: ***");
    assert!(answered.starts_with("md5"));
    let repeats: Say = Box::new(|said| error("28P01", &String::from_utf8_lossy(said)));
    let script = vec![offers("SCRAM-SHA-256"), challenges("x,s=c2FsdA==,i=4096"), repeats];
    let (told, _) = played(Peer::Anybody, script).await;
    assert!(told.ends_with("x,p=***"), "{told}");
}

#[tokio::test]
async fn what_comes_after_is_left_for_the_component() {
    let (mut ours, mut theirs) = tokio::io::duplex(1024);
    theirs.write_all(&[asks(request::OK, b""), b"Z\0\0\0\x05I".to_vec()].concat()).await.unwrap();
    drop(theirs);
    let password = Secret::new(PASSWORD.as_bytes().to_vec());
    let login = Login { user: "reader".to_owned(), password, peer: Peer::Anybody, local: false };
    assert!(authenticate(&mut ours, &login).await.is_ok());
    let mut rest = Vec::new();
    ours.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"Z\0\0\0\x05I");
}

#[tokio::test]
async fn a_secret_that_is_no_password_is_not_tried() {
    for bad in [&b""[..], b"a\0b"] {
        let (mut ours, _theirs) = tokio::io::duplex(1024);
        let login = Login {
            user: "reader".to_owned(),
            password: Secret::new(bad.to_vec()),
            peer: Peer::Anybody,
            local: false,
        };
        assert!(authenticate(&mut ours, &login).await.is_err());
    }
}
