//! What servers try, over real connections.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::attack::Attack;
use super::calls;

const SECRET: &str = "tide?gate/hostile+7&%-XQ9";

/// Ten megabytes of zeros, packed: what `gzip -9` makes of them, by its parts. RFC 1951 and 1952.
fn bomb() -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..200 {
        packer.write_all(&[0; 1 << 20]).unwrap();
    }
    packer.finish().unwrap()
}

/// Says something of its own for each path, and nothing that HTTP asks for where that is the point.
fn evil() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                // Whoever is attacked hangs up.
                let _ = answer(stream);
            });
        }
    });
    url
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut lines = BufReader::new(stream.try_clone()?);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    let fine = |body: &str| {
        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    let text = match path.as_str() {
        "/moved" => "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 5\r\nconnection: close\r\n\r\nmoved".to_owned(),
        "/challenge" => "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"somebody else's\"\r\nwww-authenticate: Negotiate\r\ncontent-length: 3\r\nconnection: close\r\n\r\nwho".to_owned(),
        "/proxy" => "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm=\"x\"\r\ncontent-length: 3\r\nconnection: close\r\n\r\nwho".to_owned(),
        "/echo" => fine(&head.join(" | ")),
        "/echo-in-headers" => {
            let told = head.iter().find(|line| line.starts_with("authorization")).cloned().unwrap_or_default();
            format!("HTTP/1.1 200 {told}\r\nx-told: {told}\r\ncontent-length: 4\r\nconnection: close\r\n\r\nfine")
        }
        "/nonsense" => "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(),
        "/silence" => return Ok(()),
        "/two" => format!("{}{}", fine("one").replace("connection: close\r\n", ""), fine("two")),
        "/short" => "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nshort".to_owned(),
        "/lengths" => "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nfives".to_owned(),
        "/negative" => "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nx".to_owned(),
        "/huge" => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\nx", u64::MAX),
        "/chunks" => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF1\r\nx\r\n0\r\n\r\n".to_owned(),
        "/not-packed" => "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\nconnection: close\r\n\r\nfine".to_owned(),
        "/continue" => format!("{}{}", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(50), fine("late")),
        "/switch" => "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n".to_owned(),
        "/wordy" => format!("HTTP/1.1 200 OK\r\nx-long: {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(1 << 20)),
        "/many" => {
            let headers: String = (0..5_000).map(|number| format!("x-{number}: 1\r\n")).collect();
            format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n")
        }
        "/terminal" => fine("\u{1b}[2J\u{1b}]0;title\u{7}\u{202e}gnp.exe"),
        "/bomb" => {
            let bomb = bomb();
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", bomb.len())?;
            return stream.write_all(&bomb);
        }
        "/drip" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")?;
            loop {
                stream.write_all(b"x")?;
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        "/drip-headers" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            for number in 0_u64.. {
                write!(stream, "x-{number}: 1\r\n")?;
                std::thread::sleep(Duration::from_millis(20));
            }
            return Ok(());
        }
        _ => fine("fine"),
    };
    stream.write_all(text.as_bytes())
}

pub fn attacks() -> Vec<Attack> {
    let url = evil();
    let hurried = |path: &str| -> Value {
        let mut config = calls(&url, &[path]);
        config["calls"][0]["timeout"] = json!(500);
        config
    };
    let counted = |path: &str| -> Value {
        let mut config = calls(&url, &[path]);
        config["calls"][0]["count"] = json!(true);
        config
    };
    let mut attacks = vec![
        Attack::new("a body that drips", "check", hurried("/drip")).ends("unavailable: "),
        Attack::new("headers that drip", "check", hurried("/drip-headers")).ends("unavailable: "),
        Attack::new("a bomb of two hundred megabytes", "check", counted("/bomb")).ends("200 209715200 bytes"),
        Attack::new("the same, kept by the component", "check", calls(&url, &["/bomb"])).ends("failed: out of memory"),
        Attack::new("a redirect that the component follows", "check", {
            json!({ "url": url, "calls": [{ "url": format!("{url}/moved") }, { "url": "http://169.254.169.254/" }] })
        })
        .ends("denied: ")
        .denied("http.request endpoint:GET http://169.254.169.254/"),
    ];
    attacks.extend(
        [
            ("a redirect to the metadata of a cloud", "/moved", "302 moved"),
            ("a challenge for a credential that there is none of", "/challenge", "401 who"),
            ("a challenge as a proxy", "/proxy", "407 who"),
            ("another protocol", "/nonsense", "unavailable: "),
            ("nothing", "/silence", "unavailable: "),
            ("two answers to one request", "/two", "200 one"),
            ("less than it promised", "/short", "unavailable: "),
            ("two lengths", "/lengths", "unavailable: "),
            ("a negative length", "/negative", "unavailable: "),
            ("a length of all that can be counted", "/huge", "unavailable: "),
            ("a chunk of more than that", "/chunks", "unavailable: "),
            ("what is not packed as it says", "/not-packed", "unavailable: "),
            ("fifty announcements", "/continue", "200 late"),
            ("another protocol, politely", "/switch", "101"),
            ("one header of a megabyte", "/wordy", "unavailable: 127.0.0.1: message head is too large"),
            ("five thousand headers", "/many", "unavailable: 127.0.0.1: message head is too large"),
            ("words for the terminal", "/terminal", "200 "),
        ]
        .map(|(what, path, ends)| Attack::new(what, "check", calls(&url, &[path])).ends(ends)),
    );
    attacks.extend(
        [
            ("an echo of the credential", "/echo", "200 "),
            ("the same in headers", "/echo-in-headers", "200 "),
            ("a challenge to whoever has a credential", "/challenge", "401 "),
        ]
        .map(|(what, path, ends)| {
            let mut config = calls(&url, &[path]);
            config["dump"] = json!(true);
            Attack::new(what, "check", config).with_secret(SECRET).ends(ends)
        }),
    );
    attacks
}

/// Names of tests/python/name_server.py, which are granted.
pub fn lies() -> Vec<Attack> {
    let calling = |name: &str| calls(&format!("http://{name}"), &["/"; 2]);
    [
        // The first time it is what it says.
        ("rebinds.test", "denied: ", Some("address:169.254.169.254 of http://rebinds.test")),
        ("inside.test", "denied: ", Some("address:10.0.0.5 of http://inside.test")),
        ("loops.test", "denied: ", Some("address:127.0.0.1 of http://loops.test")),
        ("mapped.test", "denied: ", Some("address:::ffff:169.254.169.254 of http://mapped.test")),
        ("nowhere.test", "unavailable: ", None),
        // One of three addresses is one that may be dialled.
        ("both.test", "200 this is 93.184.216.34", None),
        ("honest.test", "200 this is 93.184.216.34", None),
    ]
    .map(|(name, ends, denied)| {
        let attack = Attack::new(name, "check", calling(name)).ends(ends).lied_to();
        match denied {
            Some(denied) => attack.denied(denied),
            None => attack,
        }
    })
    .into()
}
