//! Every batch that the generator makes survives the contract's layout, before any boundary is crossed.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use proptest::prelude::*;
use tidegate_guest_roundtrip::Config;
use tidegate_guest_roundtrip::generator::{self, Shape};
use tidegate_sdk::{flatten, lift, lower, unflatten};

fn survives(config: &Config) {
    let schema = generator::schema(config.shape, config.seed);
    let crossed = Arc::new(unflatten(&flatten(&schema).unwrap()).unwrap());
    assert_eq!(crossed, schema);
    for index in 0..config.batches {
        let batch = generator::batch(&schema, config, 0, index);
        let crossed = lift(&schema, lower(&batch).unwrap()).unwrap();
        assert_eq!(crossed, batch, "batch {index}");
    }
}

#[test]
fn every_type_survives() {
    survives(&Config { shape: Shape::Every, ..Config::default() });
    survives(&Config { shape: Shape::Every, rows: 0, ..Config::default() });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_types_survive(seed: u64, rows in 0_usize..40) {
        survives(&Config { seed, rows, shape: Shape::Random, batches: 2, ..Config::default() });
    }
}
