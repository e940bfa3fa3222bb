//! The same decoder on the same file: natively, in the files connector, and in the host on the connector's
//! behalf.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use serde_json::{Map, Value, json};
use tidegate_decode::{CsvOptions, Decoder, Format};
use tidegate_extraction::{Extractor, Output};
use tidegate_model::CapabilityKind;
use tidegate_sandbox_tests::{Bench, FILES, plan, request};

use crate::Rounds;

/// Bytes of a file.
const VOLUME: usize = 50_000_000;
const ROUNDS: usize = 7;
/// The files connector's: bytes read at a time, and bytes in memory of a batch.
const CHUNK: usize = 1 << 20;
const BATCH: usize = 4 << 20;
const STREAM: &str = "flights";

pub async fn measure(bench: &Bench) {
    println!("Sandbox tax: one decoder on one file of {} MB, medians of {ROUNDS} rounds", VOLUME / 1_000_000);
    println!("{:8}{:8}{:>8}{:>8}{:>8}{:>10}{:>10}", "", "", "MB/s", "spread", "tax", "CPU ms", "CPU tax");
    for (name, format) in [("csv", Format::Csv(CsvOptions::default())), ("ndjson", Format::Ndjson)] {
        let file = format!("{STREAM}.{name}");
        let path = bench.folder.path().join(&file);
        std::fs::write(&path, flights(&format)).unwrap();
        let kernel = Lane::new(bench, "kernel", &file).await;
        let guest = Lane::new(bench, "guest", &file).await;
        assert_eq!(kernel.schema, guest.schema);

        let mut sides =
            ["native", "kernel", "guest", "again"].map(|side| (side, Rounds::default(), Rounds::default()));
        for _ in 0..ROUNDS {
            let passes = [
                native(&path, &format, &kernel.schema),
                kernel.pass().await,
                guest.pass().await,
                native(&path, &format, &kernel.schema),
            ];
            for (pass, (_, wall, cpu)) in passes.iter().zip(&mut sides) {
                assert_eq!(pass.rows, passes[0].rows);
                wall.add(pass.wall);
                cpu.add(pass.cpu);
            }
        }
        let (native, native_cpu) = (sides[0].1.median(), sides[0].2.median());
        for (side, wall, cpu) in &sides {
            println!(
                "{name:8}{side:8}{:8.0}{:7.0}%{:8.2}{:10.0}{:10.2}",
                VOLUME as f64 / wall.median() / 1e6,
                100.0 * wall.spread(),
                wall.median() / native,
                1e3 * cpu.median(),
                cpu.median() / native_cpu
            );
        }
    }
    println!(
        "kernel: decoded in the host for a component; guest: decoded in a component; again: native a second time, as a control"
    );
    println!(
        "included in all: reading the file (from the system's cache), dropping the batches; in kernel and guest also an instance,"
    );
    println!(
        "and every batch received by the host; CPU: of all the process's threads; spread: slowest to fastest, of the median\n"
    );
}

/// One reading of the file, in seconds.
struct Pass {
    wall: f64,
    cpu: f64,
    rows: usize,
}

/// When a pass began, by the wall and by what all threads of the process have computed.
struct Clock(Instant, f64);

impl Clock {
    fn start() -> Self {
        Self(Instant::now(), cpu())
    }

    fn pass(&self, rows: usize) -> Pass {
        Pass { wall: self.0.elapsed().as_secs_f64(), cpu: cpu() - self.1, rows }
    }
}

fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The files connector, decoding in one of its ways.
struct Lane {
    extractor: Extractor,
    split: Vec<u8>,
    schema: SchemaRef,
}

impl Lane {
    async fn new(bench: &Bench, lane: &str, file: &str) -> Self {
        let location = format!("./{file}");
        let grants = [(CapabilityKind::Files, location.as_str()), (CapabilityKind::Decode, "")];
        let config = json!({ "location": location, "lane": lane });
        let extractor = bench.extractor(FILES, config, &grants).await;
        let schema = extractor.discover().await.unwrap().remove(0).schema;
        let mut splits = plan(&extractor, STREAM).await.unwrap().splits;
        assert_eq!(splits.len(), 1);
        Self { extractor, split: splits.remove(0).data, schema }
    }

    async fn pass(&self) -> Pass {
        let clock = Clock::start();
        let mut reading = self.extractor.read(&request(STREAM), &self.split, None);
        let mut rows = 0;
        while let Some(output) = reading.next().await {
            if let Output::Batch { batch, .. } = output.unwrap() {
                rows += batch.num_rows();
            }
        }
        clock.pass(rows)
    }
}

fn native(path: &Path, format: &Format, schema: &SchemaRef) -> Pass {
    let clock = Clock::start();
    let mut file = File::open(path).unwrap();
    let mut decoder = Decoder::new(format, schema.clone()).unwrap();
    let mut chunk = vec![0; CHUNK];
    let (mut rows, mut ended) = (0, false);
    while !ended {
        match file.read(&mut chunk).unwrap() {
            0 => {
                decoder.finish();
                ended = true;
            }
            read => decoder.feed(&chunk[..read]),
        }
        while let Some(decoded) = decoder.next(BATCH).unwrap() {
            rows += decoded.batch.num_rows();
        }
    }
    clock.pass(rows)
}

/// About [`VOLUME`] bytes of records in the manner of nycflights13.
fn flights(format: &Format) -> String {
    let mut text = String::with_capacity(VOLUME + 1000);
    for number in 0.. {
        let flight = flight(number);
        if text.is_empty() && *format != Format::Ndjson {
            text += &flight.keys().map(String::as_str).collect::<Vec<_>>().join(",");
            text.push('\n');
        }
        match format {
            Format::Ndjson => text += &Value::from(flight).to_string(),
            _ => text += &flight.values().map(field).collect::<Vec<_>>().join(","),
        }
        text.push('\n');
        if text.len() >= VOLUME {
            break;
        }
    }
    text
}

fn field(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        number => number.to_string(),
    }
}

fn flight(number: u64) -> Map<String, Value> {
    // Golden ratio hashing (Knuth): spread evenly, and the same in every run.
    let any =
        |salt: u64, below: u64| ((number * 15 + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % below;
    let flown = any(0, 40) > 0;
    let pairs = [
        ("id", json!(number)),
        ("year", json!(2013)),
        ("month", json!(1 + number % 12)),
        ("day", json!(1 + number % 28)),
        ("dep_time", json!(flown.then(|| any(1, 2400)))),
        ("dep_delay", json!(flown.then(|| any(2, 300) as i64 - 20))),
        ("arr_time", json!(flown.then(|| any(3, 2400)))),
        ("carrier", json!(["UA", "AA", "B6", "DL", "EV", "MQ", "9E", "WN"][any(4, 8) as usize])),
        ("flight", json!(any(5, 6000))),
        ("tailnum", json!(format!("N{}", 10_000 + any(6, 4000)))),
        ("origin", json!(["EWR", "LGA", "JFK"][any(7, 3) as usize])),
        ("dest", json!(["IAH", "MIA", "BQN", "ATL", "ORD"][any(8, 5) as usize])),
        ("air_time", json!(20 + any(9, 600))),
        ("distance", json!(80.5 + any(10, 4900) as f64)),
        (
            "time_hour",
            json!(format!("2013-{:02}-{:02}T{:02}:00:00Z", 1 + number % 12, 1 + number % 28, any(11, 24))),
        ),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}
