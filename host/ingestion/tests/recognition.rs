//! Rows that come again, or late: what a source sends a second time is recognised, what it sends late lands.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use common::{copy, list, memory, open, read, split};
use object_store::ObjectStore;
use tidegate_ingestion::{Coordinator, NewPlan, Staged};
use tidegate_model::{Code, Lookback, Mode, Reject, WriteMode};

type Store = Arc<dyn ObjectStore>;

/// A cursor that repeats, and a text to tell rows apart.
fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("at", DataType::Int64, true),
        Field::new("what", DataType::Utf8, true),
    ]))
}

fn rows(rows: &[(i64, &str)]) -> RecordBatch {
    let at: Int64Array = rows.iter().map(|row| Some(row.0)).collect();
    let what: StringArray = rows.iter().map(|row| Some(row.1)).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(at), Arc::new(what)];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn plan(lookback: Option<u64>, splits: usize) -> NewPlan {
    NewPlan {
        mode: Mode::Incremental,
        write: WriteMode::Append,
        cursor: Some("at".into()),
        lookback: lookback.map(Lookback::Number),
        splits: (0..splits).map(|index| split(&index.to_string())).collect(),
        token: Vec::new(),
        bookmark: None,
        upper_bound: None,
        repeatable: true,
        schema: schema(),
    }
}

/// One generation, each slice a split, all of them open at once.
async fn load(store: &Store, lookback: Option<u64>, splits: &[&[(i64, &str)]]) -> Staged {
    let mut coordinator = open(store).await.unwrap();
    assert!(coordinator.resume().await.unwrap().is_none());
    coordinator.begin(plan(lookback, splits.len())).await.unwrap();
    stage(&mut coordinator, splits).await
}

async fn stage(coordinator: &mut Coordinator, splits: &[&[(i64, &str)]]) -> Staged {
    let mut stagers = Vec::new();
    for pending in coordinator.pending().await.unwrap() {
        let stager = coordinator.stage().unwrap().open(pending.index, pending.follows.as_deref());
        stagers.push((pending.index, stager));
    }
    for (split, stager) in &mut stagers {
        stager.write(&rows(splits[*split])).await.unwrap();
    }
    let mut all = Staged::default();
    for (_, stager) in stagers {
        let staged = stager.finish().await.unwrap();
        all.rows += staged.rows;
        all.skipped += staged.skipped;
        all.recognised += staged.recognised;
    }
    coordinator.commit(true).await.unwrap();
    all
}

/// What the table shows, sorted.
async fn table(store: &Store) -> Vec<String> {
    let mut all = Vec::new();
    for batch in read(store).await {
        let (at, what) = (batch.column(0), batch.column(1));
        for row in 0..batch.num_rows() {
            let show = |column: &ArrayRef| arrow::util::display::array_value_to_string(column, row).unwrap();
            all.push(format!("{} {}", show(at), show(what)));
        }
    }
    all.sort();
    all
}

fn counts(staged: &Staged) -> (u64, u64, u64) {
    (staged.rows, staged.recognised, staged.skipped)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_share_the_mark_are_neither_lost_nor_doubled() {
    let store = memory();
    load(&store, None, &[&[(1, "a"), (2, "b")]]).await;
    let staged = load(&store, None, &[&[(1, "a"), (2, "b"), (2, "c"), (3, "d")]]).await;
    assert_eq!(counts(&staged), (2, 1, 1));
    assert_eq!(table(&store).await, ["1 a", "2 b", "2 c", "3 d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_comes_late_lands_within_the_lookback() {
    let store = memory();
    load(&store, Some(10), &[&[(100, "a"), (95, "b"), (80, "c")]]).await;
    let staged =
        load(&store, Some(10), &[&[(100, "a"), (95, "b"), (92, "late"), (80, "c"), (85, "too late")]]).await;
    assert_eq!(counts(&staged), (1, 2, 2));
    assert_eq!(table(&store).await, ["100 a", "80 c", "92 late", "95 b"]);
    // And is recognised from then on.
    assert_eq!(counts(&load(&store, Some(10), &[&[(100, "a"), (92, "late")]]).await), (0, 2, 0));
    assert_eq!(counts(&load(&store, Some(10), &[&[(92, "late"), (101, "e")]]).await), (1, 1, 0));
    assert_eq!(counts(&load(&store, Some(10), &[&[(95, "b"), (92, "late")]]).await), (0, 2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_key_are_counted() {
    let store = memory();
    load(&store, None, &[&[(1, "same"), (1, "same")]]).await;
    // Three splits meet the row; two are the ones that are known.
    let staged = load(&store, None, &[&[(1, "same")], &[(1, "same")], &[(1, "same")]]).await;
    assert_eq!(counts(&staged), (1, 2, 0));
    assert_eq!(table(&store).await, ["1 same", "1 same", "1 same"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_interrupted_attempt_recognised_is_not_recognised_again() {
    let store = memory();
    load(&store, None, &[&[(1, "same"), (1, "same")]]).await;
    for commits in [false, true] {
        let store = copy(&store).await;
        let mut first = open(&store).await.unwrap();
        first.begin(plan(None, 2)).await.unwrap();
        first.pending().await.unwrap();
        let mut stager = first.stage().unwrap().open(0, None);
        stager.write(&rows(&[(1, "same"), (2, "new")])).await.unwrap();
        stager.finish().await.unwrap();
        if commits {
            first.commit(false).await.unwrap().unwrap();
        }
        // It dies here. The second split holds the row three times.
        let mut second = open(&store).await.unwrap();
        second.resume().await.unwrap().unwrap();
        let staged = stage(&mut second, &[&[], &[(1, "same"), (1, "same"), (1, "same")]]).await;
        assert_eq!(counts(&staged), (2, 1, 0));
        assert_eq!(table(&store).await, ["1 same", "1 same", "1 same", "1 same", "2 new"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_attempts_recognised_is_not_put_together() {
    let store = memory();
    load(&store, None, &[&[(1, "same")]]).await;
    let mut first = open(&store).await.unwrap();
    first.begin(plan(None, 2)).await.unwrap();
    let mut second = open(&store).await.unwrap();
    second.resume().await.unwrap().unwrap();
    for coordinator in [&mut first, &mut second] {
        coordinator.pending().await.unwrap();
    }
    // Neither knows what the other recognises: one does so in one split, the other in the other.
    for (coordinator, split) in [(&mut first, 1), (&mut second, 0)] {
        let mut stager = coordinator.stage().unwrap().open(split, None);
        stager.write(&rows(&[(1, "same")])).await.unwrap();
        stager.write(&rows(&[(2, "new")])).await.unwrap();
        assert_eq!(counts(&stager.finish().await.unwrap()), (1, 1, 0));
    }
    second.commit(false).await.unwrap().unwrap();
    // Both die here. The source has the row twice in the second split.
    let mut third = open(&store).await.unwrap();
    third.resume().await.unwrap().unwrap();
    let staged = stage(&mut third, &[&[], &[(1, "same"), (1, "same"), (2, "new")]]).await;
    assert_eq!(counts(&staged), (3, 0, 0));
    assert_eq!(table(&store).await, ["1 same", "1 same", "1 same", "2 new", "2 new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_keeps_what_it_staged_before_it_asked_what_is_pending() {
    let store = memory();
    load(&store, None, &[&[(1, "a")]]).await;
    let mut coordinator = open(&store).await.unwrap();
    coordinator.begin(plan(None, 1)).await.unwrap();
    let mut stager = coordinator.stage().unwrap().open(0, None);
    stager.write(&rows(&[(1, "a"), (2, "b")])).await.unwrap();
    stager.finish().await.unwrap();
    assert_eq!(coordinator.commit(true).await.unwrap().unwrap().rows, 1);
    assert_eq!(table(&store).await, ["1 a", "2 b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_split_that_failed_recognised_is_still_to_be_recognised() {
    let store = memory();
    load(&store, None, &[&[(1, "a")]]).await;
    let mut coordinator = open(&store).await.unwrap();
    coordinator.begin(plan(None, 1)).await.unwrap();
    coordinator.pending().await.unwrap();
    let mut failed = coordinator.stage().unwrap().open(0, None);
    failed.write(&rows(&[(1, "a")])).await.unwrap();
    drop(failed);
    assert_eq!(counts(&stage(&mut coordinator, &[&[(1, "a"), (2, "b")]]).await), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mark_does_not_move_beyond_the_bound() {
    let store = memory();
    let mut coordinator = open(&store).await.unwrap();
    coordinator.begin(NewPlan { upper_bound: Some("5".into()), ..plan(None, 1) }).await.unwrap();
    let staged = stage(&mut coordinator, &[&[(4, "a"), (9999, "far ahead")]]).await;
    assert_eq!(counts(&staged), (1, 0, 1));
    assert_eq!(open(&store).await.unwrap().state().high_water.as_deref(), Some("4"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wider_lookback_reaches_no_further_than_rows_are_known() {
    let store = memory();
    load(&store, None, &[&[(90, "a"), (100, "b")]]).await;
    assert_eq!(counts(&load(&store, Some(50), &[&[(90, "a"), (100, "b")]]).await), (0, 1, 1));
    assert_eq!(table(&store).await, ["100 b", "90 a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_is_added_does_not_make_old_rows_new() {
    let store = memory();
    load(&store, None, &[&[(1, "a")]]).await;
    let wider = Arc::new(Schema::new(vec![
        Field::new("at", DataType::Int64, true),
        Field::new("more", DataType::Int64, true),
        Field::new("what", DataType::Utf8, true),
    ]));
    let mut coordinator = open(&store).await.unwrap();
    coordinator.begin(NewPlan { schema: wider.clone(), ..plan(None, 1) }).await.unwrap();
    coordinator.pending().await.unwrap();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 1])),
        Arc::new(Int64Array::from(vec![None, Some(7)])),
        Arc::new(StringArray::from(vec!["a", "a"])),
    ];
    let mut stager = coordinator.stage().unwrap().open(0, None);
    stager.write(&RecordBatch::try_new(wider, columns).unwrap()).await.unwrap();
    assert_eq!(counts(&stager.finish().await.unwrap()), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_set_aside_is_not_set_aside_again() {
    let store = memory();
    let reject = Reject { origin: "a.csv".into(), position: 17, reason: "not a number".into(), raw: None };
    for (generation, expected) in [(1, 1), (2, 0), (3, 0)] {
        let mut coordinator = open(&store).await.unwrap();
        coordinator.begin(plan(None, 1)).await.unwrap();
        coordinator.pending().await.unwrap();
        let mut stager = coordinator.stage().unwrap().open(0, None);
        let kept = stager.reject(std::slice::from_ref(&reject)).await.unwrap();
        assert_eq!(kept, expected, "generation {generation}");
        assert_eq!(stager.finish().await.unwrap().rejected, expected);
        coordinator.commit(true).await.unwrap();
    }
    assert_eq!(list(&store, "_tidegate/tidegate~p~numbers/rejects").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_window_is_kept_in_a_file_and_old_ones_go() {
    let store = memory();
    let names: Vec<String> = (0..2_000).map(|number| format!("row {number}")).collect();
    let all: Vec<(i64, &str)> = names.iter().map(|name| (7, name.as_str())).collect();
    load(&store, None, &[&all]).await;
    let staged = load(&store, None, &[&all, &[(7, "one more")]]).await;
    assert_eq!(counts(&staged), (1, 2_000, 0));
    let sets = list(&store, "_tidegate/tidegate~p~numbers/seen").await;
    assert_eq!(sets.len(), 2, "one for each state that the table can be rewound to: {sets:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_only_come_again_are_no_reason_to_commit() {
    let store = memory();
    let names: Vec<String> = (0..500).map(|number| format!("row {number}")).collect();
    let all: Vec<(i64, &str)> = names.iter().map(|name| (7, name.as_str())).collect();
    for rows in [&all[..], &all[..3]] {
        let store = copy(&store).await;
        load(&store, None, &[rows]).await;
        let before = open(&store).await.unwrap().describe();
        load(&store, None, &[rows]).await;
        assert_eq!(open(&store).await.unwrap().describe(), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookback_must_fit_its_cursor() {
    let store = memory();
    let mut coordinator = open(&store).await.unwrap();
    let span = Some(Lookback::Span(std::time::Duration::from_secs(60)));
    let fault = coordinator.begin(NewPlan { lookback: span, ..plan(None, 1) }).await.unwrap_err();
    assert_eq!(fault.code, Code::BadPipeline);
    assert!(fault.message.contains("`lookback: 1m`"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_is_where_recognition_begins_anew() {
    let store = memory();
    load(&store, None, &[&[(1, "a"), (2, "b")]]).await;
    let mut refresh = open(&store).await.unwrap();
    refresh.begin(NewPlan { write: WriteMode::Replace, ..plan(None, 1) }).await.unwrap();
    stage(&mut refresh, &[&[(2, "b"), (2, "c")]]).await;
    assert_eq!(counts(&load(&store, None, &[&[(2, "b"), (2, "c"), (2, "d")]]).await), (1, 2, 0));
    assert_eq!(table(&store).await, ["2 b", "2 c", "2 d"]);
}
