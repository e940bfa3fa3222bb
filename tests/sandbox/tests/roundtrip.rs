//! Every Arrow type crosses, unchanged, through a real component; and reading goes on from every checkpoint.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "for tests")]

use arrow::array::RecordBatch;
use serde_json::json;
use tidegate_extraction::Reopened;
use tidegate_guest_roundtrip::generator::{self, Shape};
use tidegate_guest_roundtrip::{Config, STREAM};
use tidegate_sandbox_tests::{Bench, ROUNDTRIP, drain, plan, request};

async fn sent(bench: &Bench, config: &Config) -> Vec<Vec<RecordBatch>> {
    let extractor = bench.extractor(ROUNDTRIP, serde_json::to_value(config).unwrap(), &[]).await;
    let mut splits = Vec::new();
    for split in plan(&extractor, STREAM).await.unwrap().splits {
        let read = drain(extractor.read(&request(STREAM), &split.data, None)).await;
        assert_eq!(read.fault, None, "{config:?}");
        splits.push(read.batches);
    }
    splits
}

fn made(config: &Config) -> Vec<Vec<RecordBatch>> {
    let schema = generator::schema(config.shape, config.seed);
    let split =
        |split| (0..config.batches).map(|index| generator::batch(&schema, config, split, index)).collect();
    (0..config.splits).map(split).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_arrives_as_it_was_made() {
    let bench = Bench::default();
    for shape in [Shape::Plain, Shape::Every] {
        let config = Config { shape, ..Config::default() };
        assert_eq!(sent(&bench, &config).await, made(&config), "{shape:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_schemas_arrive_as_they_were_made() {
    let bench = Bench::default();
    for seed in 0..60 {
        let rows = [0, 1, 7, 8, 9, 64, 65, 300][seed as usize % 8];
        let config = Config { shape: Shape::Random, seed, rows, batches: 2, splits: 1, ..Config::default() };
        let expected: Vec<Vec<_>> = made(&config)
            .into_iter()
            .map(|split| split.into_iter().filter(|b| b.num_rows() > 0).collect())
            .collect();
        assert_eq!(sent(&bench, &config).await, expected, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_goes_on_from_every_checkpoint() {
    let bench = Bench::default();
    let extractor = bench.extractor(ROUNDTRIP, json!({ "batches": 5, "splits": 1 }), &[]).await;
    let split = plan(&extractor, STREAM).await.unwrap().splits.remove(0).data;
    let whole = drain(extractor.read(&request(STREAM), &split, None)).await;
    assert_eq!(whole.checkpoints.len(), 5);
    for (state, batches) in &whole.checkpoints {
        let rest = drain(extractor.read(&request(STREAM), &split, Some(state))).await;
        assert_eq!(rest.batches, whole.batches[*batches..]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_says_what_it_is_and_has() {
    let bench = Bench::default();
    let extractor = bench.extractor(ROUNDTRIP, json!({ "shape": "every" }), &[]).await;
    assert_eq!(extractor.spec().await.unwrap().config_schema["additionalProperties"], json!(false));
    extractor.check().await.unwrap();
    let streams = extractor.discover().await.unwrap();
    assert_eq!(streams[0].name, STREAM);
    assert_eq!(streams[0].schema, generator::schema(Shape::Every, 1));
    let counters = extractor.counters();
    assert_eq!(counters.instances, 3);
    assert!(counters.peak_memory > 0 && counters.cpu_microseconds > 0 && counters.calls > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_is_found_again_or_gone() {
    let bench = Bench::default();
    let extractor = bench.extractor(ROUNDTRIP, json!({}), &[]).await;
    let token = plan(&extractor, STREAM).await.unwrap().token;
    match extractor.reopen(&request(STREAM), &token).await.unwrap() {
        Reopened::Same(session) => session.end().await.unwrap(),
        Reopened::Gone(why) => panic!("{why}"),
    }
    let other = extractor.with_config(json!({ "seed": 2 }));
    match other.reopen(&request(STREAM), &token).await.unwrap() {
        Reopened::Gone(why) => assert_eq!(why, "made from another seed"),
        Reopened::Same(_) => panic!("not the same"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_stops_reading_stops_the_component() {
    let bench = Bench::default();
    let extractor = bench.extractor(ROUNDTRIP, json!({ "batches": 1000000, "splits": 1 }), &[]).await;
    let split = plan(&extractor, STREAM).await.unwrap().splits.remove(0).data;
    let mut reading = extractor.read(&request(STREAM), &split, None);
    for _ in 0..10 {
        assert!(futures::StreamExt::next(&mut reading).await.unwrap().is_ok());
    }
    assert!(reading.counters().unwrap().rows < 3000, "backpressure holds it back");
    let before = extractor.counters().instances;
    drop(reading);
    for _ in 0..100 {
        if extractor.counters().instances > before {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the instance is still there");
}
