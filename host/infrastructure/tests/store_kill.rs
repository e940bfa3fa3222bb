//! `kill -9` loses no acknowledged write, and tears no batch.
//!
//! What this proves: nothing that was acknowledged is only in the process's memory, and what a process leaves
//! half done is told from what it finished. What it does not: that the disk has it. When a process is killed,
//! what it gave to the system survives without any flush; only a loss of power would show one that is missing.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test starts processes, and stops where it cannot go on"
)]

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tidegate_infrastructure::{DataDir, SledStore, Store, Table, Write};

const NUMBERS: Table = Table::new("numbers");
const LARGE: Table = Table::new("large");
const FOLDER: &str = "TIDEGATE_TEST_STORE";
const KILLS: u64 = 30;
/// Keys that each write sets, in two tables. A batch that is torn leaves different numbers in them.
const WIDTH: u8 = 12;

fn open(folder: &Path) -> SledStore {
    SledStore::open(&DataDir::open(folder).unwrap()).unwrap()
}

/// The last number written, by each key.
fn numbers(store: &SledStore) -> Vec<u64> {
    let all = |table| store.scan(table, b"", None, usize::MAX).unwrap();
    all(NUMBERS)
        .into_iter()
        .chain(all(LARGE))
        .map(|(_, value)| u64::from_le_bytes(value[..8].try_into().unwrap()))
        .collect()
}

/// One number, everywhere; and a trace of it that stays.
fn writes(number: u64) -> Vec<Write> {
    let mut value = number.to_le_bytes().to_vec();
    let small = (0..WIDTH).map(|key| Write { table: NUMBERS, key: vec![key], value: Some(value.clone()) });
    let mut writes: Vec<Write> = small.collect();
    // Of a few pieces, and of another length each time.
    value.resize(8 + (number as usize % 5) * 4000, 7);
    writes.push(Write { table: LARGE, key: b"l".to_vec(), value: Some(value) });
    writes.push(Write {
        table: Table::new("trace"),
        key: number.to_be_bytes().to_vec(),
        value: Some(number.to_le_bytes().to_vec()),
    });
    writes
}

/// Not a test by itself: the process that is killed.
#[test]
fn writer() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let store = open(Path::new(&folder));
    let mut number = numbers(&store).first().copied().unwrap_or(0);
    loop {
        number += 1;
        store.batch(&writes(number)).unwrap();
        // Not `println`, which the test harness would keep for itself.
        let mut pipe = std::io::stdout();
        writeln!(pipe, "\nwritten {number}").and_then(|()| pipe.flush()).unwrap();
    }
}

fn start(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer", "--nocapture", "--test-threads", "1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let (mut acknowledged, mut unacknowledged) = (0, 0);
    for round in 0..KILLS {
        let mut child = start(folder.path());
        let pipe = BufReader::new(child.stdout.take().unwrap());
        let reader = thread::spawn(move || {
            let lines = pipe.lines().map_while(Result::ok);
            lines.filter_map(|line| line.strip_prefix("written ")?.parse::<u64>().ok()).last()
        });
        // From the moment it starts to well into its work.
        thread::sleep(Duration::from_millis(10 + round * round % 173 + round * 3));
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged = reader.join().unwrap().unwrap_or(acknowledged);

        let store = open(folder.path());
        store.check().unwrap();
        let numbers = numbers(&store);
        let last = numbers.first().copied().unwrap_or(0);
        assert!(last >= acknowledged, "{acknowledged} was acknowledged, and {last} is there");
        assert!(last <= acknowledged + 1, "{last} is there, of which nobody asked for more than one ahead");
        assert!(numbers.iter().all(|number| *number == last), "a batch is torn: {numbers:?}");
        let traces = store.scan(Table::new("trace"), b"", None, usize::MAX).unwrap();
        assert_eq!(traces.len() as u64, last, "every one of them left its trace");
        unacknowledged += u64::from(last > acknowledged);
        acknowledged = last;
    }
    assert!(acknowledged > KILLS, "only {acknowledged} writes came between {KILLS} kills");
    println!(
        "{KILLS} kills, {acknowledged} writes acknowledged, {unacknowledged} kills between write and word"
    );
}

/// Writes acknowledged and reads, each second: `cargo test ... --test store_kill -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn speed() {
    use std::time::Instant;
    let folder = tempfile::tempdir().unwrap();
    let rate = |count: u64, begun: Instant| count as f64 / begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let store = open(folder.path());
    println!("open a new store: {:?}", begun.elapsed());
    for (size, count) in [(100, 2000_u64), (10_000, 500)] {
        let value = vec![7; size];
        let begun = Instant::now();
        for number in 0..count {
            store.put(NUMBERS, &number.to_be_bytes(), &value).unwrap();
        }
        println!("{size} bytes, one writer: {:.0} acknowledged writes/s", rate(count, begun));
        let begun = Instant::now();
        thread::scope(|scope| {
            for writer in 0..8 {
                let (store, value) = (&store, &value);
                scope.spawn(move || {
                    for number in (writer * count)..((writer + 1) * count) {
                        store.put(NUMBERS, &number.to_be_bytes(), value).unwrap();
                    }
                });
            }
        });
        println!("{size} bytes, eight writers: {:.0} acknowledged writes/s", rate(8 * count, begun));
        let begun = Instant::now();
        for number in 0..8 * count {
            assert!(store.get(NUMBERS, &number.to_be_bytes()).unwrap().is_some());
        }
        println!("{size} bytes: {:.0} reads/s", rate(8 * count, begun));
    }
    drop(store);
    let begun = Instant::now();
    let store = open(folder.path());
    println!("open it again: {:?}", begun.elapsed());
    let begun = Instant::now();
    println!("check {:?}: {:?}", store.check().unwrap().tables, begun.elapsed());
}
