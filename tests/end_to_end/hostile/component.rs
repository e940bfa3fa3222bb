//! What components try.

use serde_json::{Value, json};

use super::attack::Attack;
use super::calls;

/// The command that calls an export.
fn verb(during: &str) -> &'static str {
    match during {
        "check" => "check",
        "discover" => "discover",
        _ => "run",
    }
}

pub fn mischief() -> Vec<Attack> {
    let mut attacks = Vec::new();
    for (mischief, ends) in [
        ("panic", "TG0402: the connector crashed: it panicked or aborted"),
        ("allocate", "TG0403: the connector needs more memory than the 64 MiB one instance may have"),
        ("recurse", "TG0402: the connector crashed: it reached outside of its memory, or its stack did"),
        ("fault", "TG0401: the source is broken, as told"),
        ("long-fault", "TG0401: xxxxxxxx"),
        ("hoard", "TG0403: the connector holds more than 4096 handles at once"),
        ("dice", "TG040"),
        ("look-around", "fine"),
        ("whisper", "x"),
        ("forge", "fine"),
    ] {
        for during in ["check", "discover", "plan", "read"] {
            let config = json!({ "mischief": mischief, "during": during });
            attacks.push(Attack::new(format!("{mischief} during {during}"), verb(during), config).ends(ends));
        }
    }
    for during in ["check", "discover", "plan"] {
        let config = json!({ "mischief": "shout", "during": during });
        let ends = "TG0403: the connector broke the contract: too much data is being copied";
        attacks
            .push(Attack::new(format!("a line of 40 MiB during {during}"), verb(during), config).ends(ends));
    }
    // A batch may be as large; of a line, the beginning is kept.
    let config = json!({ "mischief": "shout", "during": "read" });
    attacks.push(Attack::new("a line of 40 MiB during read", "run", config).ends("xxxxxxxx"));
    attacks
}

pub fn lies() -> Vec<Attack> {
    let unfit = "TG0406: the connector sent a batch that does not fit its schema";
    let invalid = "TG0406: the schema is not valid";
    [
        ("other-stream", "TG0402: `roundtrip` is read, not `another`", 0),
        ("open-twice", "TG0402: `output.open` was called already", 0),
        ("open-again", "TG0402: `output.open` was called already", 0),
        ("upsert", "TG0105: this version of Tidegate writes new rows only", 0),
        ("cyclic-schema", invalid, 0),
        ("duplicate-column", invalid, 0),
        ("bad-text", unfit, 0),
        ("falling-offsets", unfit, 0),
        ("far-offsets", unfit, 0),
        ("short-buffer", unfit, 0),
        ("missing-node", unfit, 0),
        ("extra-buffer", unfit, 0),
        ("wrong-null-count", unfit, 0),
        ("endless-rows", unfit, 0),
        ("uneven-column", unfit, 0),
        ("aliased-batch", unfit, 0),
        ("changing-schema", unfit, 0),
        ("huge-checkpoint", "TG0403: a checkpoint of 66560 bytes is larger than 64 KiB", 0),
        ("many-rejects", "TG0403: 70000 rejects in one call are more than 65536", 0),
        ("closed-writer", "TG0402: ", 0),
        ("invented-writer", "TG0402: ", 0),
        // Rows that it says are its own are its own; of two splits, two each.
        ("false-checkpoint", "fine", 0),
        ("kept-writer", "fine", 4),
        ("empty-batches", "fine", 4),
    ]
    .into_iter()
    .map(|(lie, ends, rows)| {
        Attack::new(lie, "run", json!({ "mischief": { "lie": lie } })).ends(ends).leaves(rows)
    })
    .collect()
}

pub fn reaches() -> Vec<Attack> {
    // Nobody listens there: whatever gets so far is refused by the system, not by us.
    let url = "http://127.0.0.1:9/v1";
    let other = |what: &str, target: &str| {
        let config: Value = json!({ "url": url, "calls": [{ "url": target }] });
        Attack::new(what, "check", config)
    };
    let mut attacks: Vec<Attack> = [
        ("above the granted path", "http://127.0.0.1:9/v2"),
        ("out of it by dots", "http://127.0.0.1:9/v1/../v2"),
        ("by encoded dots", "http://127.0.0.1:9/v1/%2e%2e/v2"),
        ("by a backslash", "http://127.0.0.1:9/v1\\..\\v2"),
        ("another port", "http://127.0.0.1:10/v1"),
        ("the same host by another name", "http://localhost:9/v1"),
        ("the same address in one number", "http://2130706433:9/v2"),
        ("another scheme", "https://127.0.0.1:9/v1"),
        ("a name that begins like it", "http://127.0.0.1.example:9/v1"),
        ("the metadata of a cloud", "http://169.254.169.254/latest/meta-data"),
        ("the same in octal", "http://0251.0376.0251.0376/latest"),
        ("the same in IPv6", "http://[::ffff:169.254.169.254]/latest"),
        ("the network inside", "http://10.0.0.1/"),
        ("another service of this machine", "http://127.0.0.1:22/"),
    ]
    .into_iter()
    .map(|(what, target)| other(what, target).ends("denied: ").denied("http.request"))
    .collect();
    attacks.extend([
        other("a user in front of the host", "http://127.0.0.1:9@example.org/v1")
            .ends("invalid: a URL must not carry a user or password"),
        other("a file", "file:///etc/passwd").ends("invalid: only absolute `http` and `https` URLs"),
        Attack::new("a header of the host's", "check", with_header(url, "authorization", "Bearer x"))
            .ends("invalid: the header `authorization` is the host's to set"),
        Attack::new("a second host", "check", with_header(url, "host", "example.org"))
            .ends("invalid: the header `host` is the host's to set"),
        Attack::new("a header in a header", "check", with_header(url, "x-mine", "1\r\nhost: example.org"))
            .ends("invalid: the header `x-mine` has a value that cannot be sent"),
        Attack::new("a method with a request in it", "check", {
            let mut config = calls(url, &[""]);
            config["calls"][0]["method"] = json!("GET / HTTP/1.1\r\nx:");
            config
        })
        .ends("invalid: the method must be upper-case letters"),
        Attack::new("a folder of which a part is granted", "check", {
            json!({ "mischief": "reach", "during": "check", "location": "./data" })
        })
        .granted(&["--narrow", "reach=./data/inner"])
        .ends("TG0")
        .denied("files.list location:./data"),
        Attack::new("everything, by a location that is everywhere", "check", {
            json!({ "mischief": "reach", "during": "check", "location": "/" })
        })
        .granted(&["--narrow", "reach=/nowhere"])
        .ends("TG0")
        .denied("files.list location:/"),
    ]);
    attacks
}

fn with_header(url: &str, name: &str, value: &str) -> Value {
    let mut config = calls(url, &[""]);
    config["calls"][0]["headers"] = json!([[name, value]]);
    config
}
