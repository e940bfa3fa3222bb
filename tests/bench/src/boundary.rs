//! Batches from a component to the host, beside copying the same number of bytes.

use std::hint::black_box;
use std::time::Instant;

use arrow::array::{Array, RecordBatch};
use futures::StreamExt;
use tidegate_extraction::{Extractor, Output};
use tidegate_guest_roundtrip::generator::{self, Shape};
use tidegate_guest_roundtrip::{Config, STREAM};
use tidegate_sandbox_tests::{Bench, ROUNDTRIP, plan, request};

use crate::Rounds;

const SIZES: [(&str, usize); 3] = [("64 KiB", 64 << 10), ("1 MiB", 1 << 20), ("8 MiB", 8 << 20)];
const SHAPES: [(&str, Shape); 3] =
    [("numbers", Shape::Numbers), ("ASCII text", Shape::Words), ("any text", Shape::Plain)];
/// Bytes of one round.
const VOLUME: usize = 512 << 20;
const ROUNDS: usize = 7;

pub async fn measure(bench: &Bench) {
    println!(
        "Boundary: batches from a component to the host, GB/s, medians of {ROUNDS} rounds of {} MiB",
        VOLUME >> 20
    );
    println!(
        "{:8}{:12}{:>8}{:>8}{:>12}{:>10}{:>10}{:>12}",
        "batch", "of", "memcpy", "again", "new memory", "crossing", "to memcpy", "µs a batch"
    );
    for (size_name, size) in SIZES {
        for (shape_name, shape) in SHAPES {
            let crossing = Crossing::new(bench, shape, size).await;
            let mut rounds: [Rounds; 4] = Default::default();
            for _ in 0..ROUNDS {
                rounds[0].add(memcpy(size));
                rounds[1].add(crossing.rate().await);
                rounds[2].add(copy_to_new_memory(size));
                rounds[3].add(memcpy(size));
            }
            let [memcpy, crossing, new_memory, again] = rounds.map(|rounds| rounds.median());
            println!(
                "{size_name:8}{shape_name:12}{memcpy:8.1}{:8.2}{new_memory:12.1}{crossing:10.2}{:10.2}{:12.1}",
                again / memcpy,
                crossing / memcpy,
                size as f64 / crossing / 1e3
            );
        }
    }
    println!(
        "memcpy: into the same memory every time; again: the same measured twice, as a control, in parts of the first"
    );
    println!(
        "numbers: 4 x int64; text: int64, float64 and utf8 of 0 to 30 characters, the last two with nulls"
    );
    println!(
        "included: the call, limits, copy, full validation of every value, a checkpoint each, the channel, freeing\n"
    );
}

/// A component that sends one batch again and again.
struct Crossing {
    extractor: Extractor,
    split: Vec<u8>,
    /// Of one batch.
    bytes: usize,
}

impl Crossing {
    async fn new(bench: &Bench, shape: Shape, size: usize) -> Self {
        const SAMPLE: usize = 1000;
        let mut config = Config { shape, rows: SAMPLE, repeat: true, splits: 1, ..Config::default() };
        config.rows = size * SAMPLE / bytes(&batch(&config));
        config.batches = (VOLUME / size) as u64;
        let extractor = bench.extractor(ROUNDTRIP, serde_json::to_value(&config).unwrap(), &[]).await;
        let split = plan(&extractor, STREAM).await.unwrap().splits.remove(0).data;
        Self { extractor, split, bytes: bytes(&batch(&config)) }
    }

    /// GB/s from the first batch on: starting an instance and making the batch are not counted.
    async fn rate(&self) -> f64 {
        let mut reading = self.extractor.read(&request(STREAM), &self.split, None);
        let (mut begun, mut crossed) = (None, 0);
        while let Some(output) = reading.next().await {
            if let Output::Batch { .. } = output.unwrap() {
                match begun {
                    None => begun = Some(Instant::now()),
                    Some(_) => crossed += self.bytes,
                }
            }
        }
        gigabytes_a_second(crossed, begun.unwrap())
    }
}

fn batch(config: &Config) -> RecordBatch {
    generator::batch(&generator::schema(config.shape, config.seed), config, 0, 0)
}

fn bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap()).sum()
}

fn memcpy(size: usize) -> f64 {
    let (from, mut to) = (vec![1_u8; size], vec![0_u8; size]);
    let begun = Instant::now();
    for _ in 0..VOLUME / size {
        to.copy_from_slice(black_box(&from));
        black_box(&mut to);
    }
    gigabytes_a_second(VOLUME, begun)
}

/// What no receiver that keeps its batches can do without.
fn copy_to_new_memory(size: usize) -> f64 {
    let from = vec![1_u8; size];
    let begun = Instant::now();
    for _ in 0..VOLUME / size {
        black_box(black_box(&from).to_vec());
    }
    gigabytes_a_second(VOLUME, begun)
}

fn gigabytes_a_second(bytes: usize, begun: Instant) -> f64 {
    bytes as f64 / begun.elapsed().as_secs_f64() / 1e9
}
