//! A thousand components at once, all of them waiting for a server that is in no hurry.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout, reason = "for tests")]

use std::sync::Arc;

use serde_json::json;
use tidegate_model::CapabilityKind;
use tidegate_sandbox_tests::{Bench, ROUNDTRIP};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

const INSTANCES: usize = 1000;
/// Bytes that one may cost while it waits: what it has in its memory, its stack, its connection, and what the host
/// keeps of it.
const MOST: u64 = 2 << 20;

/// Answers nobody before it is told to. Its permits are those who wait.
async fn in_no_hurry(go: watch::Receiver<bool>) -> (String, Arc<Semaphore>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let waiting = Arc::new(Semaphore::new(0));
    let arrived = Arc::clone(&waiting);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut go, arrived) = (go.clone(), Arc::clone(&arrived));
            tokio::spawn(async move {
                let mut request = vec![0; 1024];
                let _ = stream.read(&mut request).await;
                drop(request);
                arrived.add_permits(1);
                let _ = go.wait_for(|go| *go).await;
                let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nfine";
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    (url, waiting)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_instances_wait_in_little_memory_and_all_of_them_finish() {
    let (go, told) = watch::channel(false);
    let (url, waiting) = in_no_hurry(told).await;
    let bench = Bench::with(|settings| settings.instances = u32::try_from(INSTANCES).unwrap());
    let config = json!({ "url": url, "calls": [{ "url": url }] });
    let (extractor, mut lines) = bench.listened(ROUNDTRIP, config, &[(CapabilityKind::Http, &url)]).await;
    let fine = tokio::spawn(async move {
        let mut fine = 0;
        while let Some(line) = lines.recv().await {
            fine += usize::from(line.message == "200 fine");
        }
        fine
    });
    let extractor = Arc::new(extractor);
    let before = resident();
    let mut checks = JoinSet::new();
    for _ in 0..INSTANCES {
        let extractor = Arc::clone(&extractor);
        checks.spawn(async move { extractor.check().await });
    }
    let all = u32::try_from(INSTANCES).unwrap();
    tokio::select! {
        all = waiting.acquire_many(all) => all.unwrap().forget(),
        ended = checks.join_next() => panic!("one did not wait: {ended:?}"),
    }
    let each = (resident() - before) / INSTANCES as u64;
    go.send(true).unwrap();
    let ended = checks.join_all().await;
    drop(extractor);
    let fine = fine.await.unwrap();
    println!("{INSTANCES} instances that wait: {} KiB each; {fine} were answered", each >> 10);
    assert!(ended.iter().all(Result::is_ok), "{:?}", ended.iter().find(|ended| ended.is_err()));
    assert_eq!(fine, INSTANCES);
    assert!(each < MOST, "{each} bytes each");
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").trim().parse().unwrap();
    kibibytes << 10
}
