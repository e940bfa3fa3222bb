//! What is done to a component that misbehaves. Left the attack, right the outcome; and a neighbour goes on
//! as if nothing was.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "for tests")]

use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use tidegate_extraction::Output;
use tidegate_guest_roundtrip::STREAM;
use tidegate_model::{CapabilityKind, Fault};
use tidegate_sandbox_tests::{Bench, ROUNDTRIP, drain, plan, request};

async fn outcome(bench: &Bench, config: Value) -> Result<(), Fault> {
    let extractor = bench.extractor(ROUNDTRIP, config.clone(), &[]).await;
    match config["during"].as_str() {
        Some("check") => extractor.check().await,
        Some("discover") => extractor.discover().await.map(|_| ()),
        Some("plan") => plan(&extractor, STREAM).await.map(|_| ()),
        _ => {
            let split = plan(&extractor, STREAM).await?.splits.remove(0).data;
            match drain(extractor.read(&request(STREAM), &split, None)).await.fault {
                Some(fault) => Err(fault),
                None => Ok(()),
            }
        }
    }
}

fn told(outcome: Result<(), Fault>) -> String {
    outcome.map_or_else(|fault| fault.to_string(), |()| "fine".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mischief_ends_the_instance_and_nothing_else() {
    let bench = Bench::default();
    for (mischief, expected) in [
        (
            "spin",
            "TG0403: the connector was stopped: it computed for 0.3 s without asking the host for anything",
        ),
        ("panic", "TG0402: the connector crashed: it panicked or aborted; it said last: panicked at"),
        ("allocate", "TG0403: the connector needs more memory than the 64 MiB one instance may have"),
        ("recurse", "TG0402: the connector crashed: it reached outside of its memory, or its stack did"),
        ("fault", "TG0401: the source is broken, as told"),
        ("long-fault", "TG0401: xxxxxxxx"),
        ("look-around", "fine"),
        ("hoard", "TG0403: the connector holds more than 4096 handles at once"),
    ] {
        for during in ["check", "discover", "plan", "read"] {
            let told = told(outcome(&bench, json!({ "mischief": mischief, "during": during })).await);
            assert!(told.starts_with(expected), "{mischief} during {during}: {told}");
            assert!(told.len() < 5000, "{mischief} during {during}: {} bytes", told.len());
        }
    }
    outcome(&bench, json!({})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_the_contract_is_not_taken() {
    let bench = Bench::default();
    for (lie, expected) in [
        ("other-stream", "TG0402: `roundtrip` is read, not `another`"),
        ("open-twice", "TG0402: `output.open` was called already"),
        ("open-again", "TG0402: `output.open` was called already"),
        ("upsert", "TG0105: this version of Tidegate writes new rows only"),
        ("cyclic-schema", "TG0406: the schema is not valid: field 0 cannot be a child of field 0"),
        (
            "duplicate-column",
            "TG0406: the schema is not valid: two fields beside each other are called `text`",
        ),
        (
            "bad-text",
            "TG0406: the connector sent a batch that does not fit its schema: column `text`: Invalid argument error: Invalid UTF8 sequence",
        ),
        (
            "falling-offsets",
            "TG0406: the connector sent a batch that does not fit its schema: column `text`: Invalid argument error: Offset invariant failure",
        ),
        (
            "far-offsets",
            "TG0406: the connector sent a batch that does not fit its schema: column `text`: Invalid argument error: Last offset 16777215",
        ),
        (
            "short-buffer",
            "TG0406: the connector sent a batch that does not fit its schema: column `text`: a buffer of 8 bytes where 12 are needed",
        ),
        (
            "missing-node",
            "TG0406: the connector sent a batch that does not fit its schema: column `text`: a node is missing",
        ),
        (
            "extra-buffer",
            "TG0406: the connector sent a batch that does not fit its schema: it has more nodes or buffers than the schema",
        ),
        (
            "wrong-null-count",
            "TG0406: the connector sent a batch that does not fit its schema: column `text`: 0 nulls where 1 were announced",
        ),
        (
            "endless-rows",
            "TG0406: the connector sent a batch that does not fit its schema: 18446744073709551615 rows are more than 1048576",
        ),
        (
            "uneven-column",
            "TG0406: the connector sent a batch that does not fit its schema: column `text`: 2 values where 1 belong",
        ),
        (
            "aliased-batch",
            "TG0406: the connector sent a batch that does not fit its schema: 75497580 bytes in 27 buffers are too many",
        ),
        ("huge-checkpoint", "TG0403: a checkpoint of 66560 bytes is larger than 64 KiB"),
        ("many-rejects", "TG0403: 70000 rejects in one call are more than 65536"),
    ] {
        let told = told(outcome(&bench, json!({ "mischief": { "lie": lie } })).await);
        assert!(told.starts_with(expected), "{lie}: {told}");
    }
    for during in ["check", "discover", "plan"] {
        let config = json!({ "mischief": { "lie": "open-twice" }, "during": during });
        let told = told(outcome(&bench, config).await);
        assert_eq!(told, "TG0402: `output.open` belongs to `read`", "{during}");
    }
}

/// Whoever takes what is read decides how much there is of it: a flood waits, and ends when nobody wants
/// more.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_into_the_output_is_held_back() {
    let bench = Bench::default();
    for flood in ["checkpoint-flood", "reject-flood"] {
        let extractor = bench.extractor(ROUNDTRIP, json!({ "mischief": { "lie": flood } }), &[]).await;
        let mut reading = extractor.read(&request(STREAM), b"0", None);
        for taken in 0..100 {
            match reading.next().await.unwrap().unwrap() {
                Output::Open { .. } => assert_eq!(taken, 0),
                Output::Checkpoint(state) => assert_eq!(state.len(), 64 << 10),
                Output::Rejects(rejects) => assert!(rejects.iter().all(|reject| reject.reason.len() <= 4100)),
                Output::Batch { .. } => panic!("{flood}: a batch"),
            }
        }
        assert!(reading.counters().unwrap().calls < 150, "{flood}: nothing held it back");
        drop(reading);
        tokio::time::timeout(Duration::from_secs(5), async {
            while extractor.counters().instances == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{flood}: the instance is still there"));
    }
}

/// While reading more may be copied in one call, so that a batch fits; the line is then cut.
#[tokio::test(flavor = "multi_thread")]
async fn a_shout_is_not_even_copied() {
    let bench = Bench::default();
    for during in ["check", "discover", "plan"] {
        let told = told(outcome(&bench, json!({ "mischief": "shout", "during": during })).await);
        assert_eq!(
            told,
            "TG0403: the connector broke the contract: too much data is being copied between the host and the guest: fuel allocated for hostcalls has been exhausted"
        );
    }
    let (extractor, mut lines) =
        bench.listened(ROUNDTRIP, json!({ "mischief": "shout", "batches": 1 }), &[]).await;
    assert_eq!(drain(extractor.read(&request(STREAM), b"0", None)).await.fault, None);
    assert!(lines.recv().await.unwrap().message.len() <= (64 << 10) + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_takes_too_long_is_ended_though_it_computes_nothing() {
    let bench = Bench::with(|settings| settings.call = Duration::from_millis(200));
    for (during, export) in [("check", "check"), ("discover", "discover"), ("plan", "plan")] {
        let told = told(outcome(&bench, json!({ "mischief": "sleep", "during": during })).await);
        assert_eq!(told, format!("TG0403: the connector's `{export}` took longer than 0.2 s"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_neighbour_finishes_beside_a_spinning_one() {
    let bench = Bench::with(|settings| settings.compute = Duration::from_secs(3));
    let (spinning, neighbour) =
        tokio::join!(outcome(&bench, json!({ "mischief": "spin", "during": "check" })), async {
            for _ in 0..5 {
                outcome(&bench, json!({})).await.unwrap();
            }
            tokio::time::Instant::now()
        });
    assert!(spinning.is_err());
    assert!(neighbour.elapsed() > Duration::from_millis(100), "it did not have to wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_log_lines_is_cut() {
    let bench = Bench::with(|settings| settings.compute = Duration::from_secs(60));
    let config = json!({ "mischief": "chatter", "during": "check" });
    let (extractor, mut lines) = bench.listened(ROUNDTRIP, config, &[]).await;
    let check = tokio::time::timeout(Duration::from_secs(1), extractor.check()).await;
    assert!(check.is_err(), "it chatters until somebody stops it");
    drop(extractor);
    let mut bytes = 0;
    while let Some(line) = lines.recv().await {
        bytes += line.message.len();
    }
    assert!(bytes <= 1 << 20, "{bytes} bytes got through");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_granted_is_not_reached() {
    let bench = Bench::default();
    let config = json!({ "mischief": "reach", "during": "check", "location": "./data" });
    let fault = outcome(&bench, config.clone()).await.unwrap_err();
    assert_eq!(fault.connector_code.as_deref(), Some("denied"), "{fault}");
    assert!(fault.help.as_deref().is_some_and(|help| help.contains("./data")), "{fault}");

    let granted = [(CapabilityKind::Files, "./data")];
    let extractor = bench.extractor(ROUNDTRIP, config, &granted).await;
    let missing = extractor.check().await.unwrap_err();
    assert_eq!(missing.connector_code.as_deref(), Some("not-found"), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_location_is_not_left_by_links_or_absurd_texts() {
    let bench = Bench::default();
    let data = bench.folder.path().join("data");
    std::fs::create_dir_all(data.join("sub")).unwrap();
    std::os::unix::fs::symlink("..", data.join("up")).unwrap();
    let granted = [(CapabilityKind::Files, "./data")];
    for (location, expected) in [
        ("./data/sub".to_owned(), None),
        ("./data/up".to_owned(), Some("denied")),
        ("./data/up/data".to_owned(), Some("denied")),
        (".".to_owned(), Some("denied")),
        (format!("./data/{}", "x".repeat(8 << 20)), Some("limit")),
    ] {
        let config = json!({ "mischief": "reach", "during": "check", "location": location });
        let outcome = bench.extractor(ROUNDTRIP, config, &granted).await.check().await;
        let code = outcome.err().and_then(|fault| fault.connector_code);
        assert_eq!(code.as_deref(), expected, "{location:.40}");
    }
    let audit = std::fs::metadata(bench.folder.path().join(".tidegate/audit.jsonl")).unwrap();
    assert!(audit.len() < 10_000, "{} bytes", audit.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_the_users_to_mend() {
    let bench = Bench::default();
    let fault = outcome(&bench, json!({ "sede": 1, "during": "check" })).await.unwrap_err();
    assert!(fault.to_string().starts_with("TG0105"), "{fault}");
    assert!(fault.message.contains("sede"), "{fault}");
}
