//! Stories of streams that land in a folder of this machine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "a test looks at files as a stranger would")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use common::{Source, application, batch, copy, identity, ids, list, log, memory, open, schema, table};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tidegate_ingestion::{Coordinator, Identity, Location, NewPlan, Staged};
use tidegate_model::{ApplicationId, Code, PipelineName, Reject, StreamName, WriteMode};

const NUMBERS: [&[i64]; 2] = [&[1, 2, 3, 4, 5], &[6, 7]];

async fn put(store: &Arc<dyn ObjectStore>, path: &str, content: String) {
    store.put(&Path::from(format!("lake/numbers/{path}")), Bytes::from(content).into()).await.unwrap();
}

/// Reads the first split, all of it, and leaves the second: what a worker had done when it died.
async fn interrupted(store: &Arc<dyn ObjectStore>) {
    let mut coordinator = open(store).await.unwrap();
    coordinator.begin(Source::incremental(&NUMBERS).plan()).await.unwrap();
    let mut stager = coordinator.stage().unwrap().open(0, None);
    stager.write(&batch(NUMBERS[0])).await.unwrap();
    stager.checkpoint(b"5", true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_lands_in_a_folder_and_goes_on_from_there() {
    for name in ["numbers", "public.numbers", "Zahlen ü", "a#b?c=d"] {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a b ü");
        let location = Location::open("./lake", &folder, &BTreeMap::new()).await.unwrap();
        let stream = StreamName::new(name).unwrap();
        let application = ApplicationId::new(&PipelineName::new("p").unwrap(), &stream);
        let table = location.table(&stream).unwrap();
        assert_eq!(table.to_string(), format!("./lake/{name}"));

        let mut coordinator =
            Coordinator::open(table.clone(), application.clone(), identity()).await.unwrap();
        assert!(coordinator.table_schema().unwrap().is_none());
        coordinator.begin(Source::incremental(&[&[1, 2, 3]]).plan()).await.unwrap();
        let mut stager = coordinator.stage().unwrap().open(0, None);
        stager.write(&batch(&[1, 2, 3])).await.unwrap();
        assert_eq!(stager.checkpoint(b"3", false).await.unwrap(), None);
        let staged = stager.finish().await.unwrap();
        assert_eq!((staged.rows, staged.rejected, staged.skipped), (3, 0, 0));
        let committed = coordinator.commit(true).await.unwrap().unwrap();
        let numbers = (committed.number, committed.table_version, committed.rows, committed.files);
        assert_eq!(numbers, (1, 1, 3, 1));

        let reopened = Coordinator::open(table, application, identity()).await.unwrap();
        assert_eq!(reopened.table_schema().unwrap().unwrap(), schema());
        assert_eq!(reopened.state().high_water.as_deref(), Some("3"));
        assert_eq!(reopened.state().bookmark.as_deref(), Some(&b"bookmark"[..]));
        let mut left: Vec<_> = std::fs::read_dir(folder.join("lake").join(name))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left[..2], ["_delta_log", "_tidegate"]);
        assert!(left.len() == 3 && left[2].starts_with("data-"), "{left:?}");
        assert_eq!(std::fs::read_dir(folder.join("lake")).unwrap().count(), 1, "the probe is gone");
        let stranger = Coordinator::open(
            location.table(&stream).unwrap(),
            ApplicationId::new(&PipelineName::new("q").unwrap(), &stream),
            identity(),
        );
        assert_eq!(stranger.await.unwrap_err().code, Code::WrongOwner);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_durable_is_not_read_again() {
    let store = memory();
    interrupted(&store).await;
    let mut coordinator = open(&store).await.unwrap();
    let generation = coordinator.resume().await.unwrap().unwrap();
    assert_eq!((generation.token(), generation.splits().len()), (&b"token"[..], 2));
    let pending = coordinator.pending().await.unwrap();
    assert_eq!(pending[0].from.as_deref(), Some(&b"5"[..]));
    assert!(pending[0].follows.is_some() && pending[1].from.is_none());
    assert_eq!(coordinator.commit(true).await.unwrap_err().code, Code::StagedFileLost);

    Source::incremental(&NUMBERS).run(&store).await.unwrap();
    assert_eq!(ids(&store).await, [1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_generation_leaves_nothing_visible() {
    let store = memory();
    interrupted(&store).await;
    let mut coordinator = open(&store).await.unwrap();
    coordinator.resume().await.unwrap().unwrap();
    coordinator.abandon().await.unwrap();
    assert!(coordinator.resume().await.unwrap().is_none());
    assert!(list(&store, "_tidegate/tidegate~p~numbers/receipts").await.is_empty());
    Source::incremental(&NUMBERS).run(&store).await.unwrap();
    assert_eq!(ids(&store).await, [1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_that_is_partly_committed_cannot_be_abandoned() {
    let store = memory();
    interrupted(&store).await;
    let mut coordinator = open(&store).await.unwrap();
    coordinator.resume().await.unwrap();
    coordinator.commit(false).await.unwrap().unwrap();
    let seen = open(&store).await.unwrap().describe();
    assert_eq!((seen.number, seen.interrupted), (Some(1), Some((0, 2))));
    assert_eq!(coordinator.abandon().await.unwrap_err().code, Code::GenerationGone);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_staged_file_that_is_lost_is_read_again() {
    let store = memory();
    interrupted(&store).await;
    for path in list(&store, "").await.into_iter().filter(|path| path.as_ref().ends_with(".parquet")) {
        store.delete(&path).await.unwrap();
    }
    let mut coordinator = open(&store).await.unwrap();
    coordinator.resume().await.unwrap();
    assert_eq!(coordinator.pending().await.unwrap()[0].from, None);
    Source::incremental(&NUMBERS).run(&store).await.unwrap();
    assert_eq!(ids(&store).await, [1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_outside_of_the_window_are_skipped() {
    let store = memory();
    Source::incremental(&NUMBERS).run(&store).await.unwrap();
    let mut coordinator = open(&store).await.unwrap();
    let mut plan = Source::incremental(&[&[]]).plan();
    plan.upper_bound = Some("9".into());
    let generation = coordinator.begin(plan).await.unwrap();
    assert_eq!(generation.since(), Some("7"));
    let mut stager = coordinator.stage().unwrap().open(0, None);
    stager.write(&batch(&[10, 6, 8, 7, 9])).await.unwrap();
    let staged = stager.finish().await.unwrap();
    assert_eq!((staged.rows, staged.skipped, staged.recognised), (2, 2, 1));
    coordinator.commit(true).await.unwrap();
    assert_eq!(ids(&store).await, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(open(&store).await.unwrap().state().high_water.as_deref(), Some("9"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_are_kept_beside_the_table() {
    let store = memory();
    let mut coordinator = open(&store).await.unwrap();
    coordinator.begin(Source::incremental(&[&[1]]).plan()).await.unwrap();
    let mut stager = coordinator.stage().unwrap().open(0, None);
    let reject = Reject {
        origin: "a.csv".into(),
        position: 17,
        reason: "not a number".into(),
        raw: Some("x,y".into()),
    };
    stager.reject(std::slice::from_ref(&reject)).await.unwrap();
    assert_eq!(stager.finish().await.unwrap(), Staged { rejected: 1, ..Staged::default() });
    let committed = coordinator.commit(true).await.unwrap().unwrap();
    assert_eq!((committed.rows, committed.files, committed.rejected), (0, 0, 1));
    let kept = list(&store, "_tidegate/tidegate~p~numbers/rejects").await;
    let content = store.get(&kept[0]).await.unwrap().bytes().await.unwrap();
    assert_eq!(serde_json::from_slice::<Reject>(&content).unwrap(), reject);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_commit_in_between_is_kept() {
    for source in [Source::incremental(&NUMBERS), Source::replacing(&NUMBERS)] {
        let store = memory();
        let mut coordinator = open(&store).await.unwrap();
        coordinator.begin(source.plan()).await.unwrap();
        for (index, rows) in NUMBERS.iter().enumerate() {
            let mut stager = coordinator.stage().unwrap().open(index, None);
            stager.write(&batch(rows)).await.unwrap();
            stager.finish().await.unwrap();
        }
        // Another engine touches the table after we looked at it.
        put(
            &store,
            "_delta_log/00000000000000000001.json",
            r#"{"commitInfo":{"operation":"NOTHING"}}"#.into(),
        )
        .await;
        let committed = coordinator.commit(true).await.unwrap().unwrap();
        assert_eq!((committed.number, committed.table_version), (1, 2));
        assert_eq!(ids(&store).await, [1, 2, 3, 4, 5, 6, 7]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_of_two_writers_wins() {
    let store = memory();
    let (mut first, mut second) = (open(&store).await.unwrap(), open(&store).await.unwrap());
    for coordinator in [&mut first, &mut second] {
        coordinator.begin(Source::incremental(&[&[1]]).plan()).await.unwrap();
        let mut stager = coordinator.stage().unwrap().open(0, None);
        stager.write(&batch(&[1])).await.unwrap();
        stager.finish().await.unwrap();
    }
    second.commit(true).await.unwrap().unwrap();
    assert_eq!(first.commit(true).await.unwrap_err().code, Code::Superseded);
    assert_eq!(ids(&store).await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn replace_shows_the_new_rows_or_the_old_ones() {
    let store = memory();
    Source::replacing(&NUMBERS).run(&store).await.unwrap();
    let smaller = Source::replacing(&[&[1], &[2]]);
    let mut coordinator = open(&store).await.unwrap();
    coordinator.begin(smaller.plan()).await.unwrap();
    let mut stager = coordinator.stage().unwrap().open(0, None);
    stager.write(&batch(&[1])).await.unwrap();
    stager.finish().await.unwrap();
    assert_eq!(coordinator.commit(false).await.unwrap(), None);
    assert_eq!(ids(&store).await.len(), 7);
    smaller.run(&store).await.unwrap();
    assert_eq!(ids(&store).await, [1, 2]);
    Source::replacing(&[&[]]).run(&store).await.unwrap();
    assert!(ids(&store).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn reset_reads_everything_again_and_keeps_the_rows() {
    let store = memory();
    Source::incremental(&NUMBERS).run(&store).await.unwrap();
    open(&store).await.unwrap().reset().await.unwrap();
    let state = open(&store).await.unwrap();
    assert_eq!((state.state().number, &state.state().high_water), (Some(3), &None));
    assert_eq!(ids(&store).await.len(), 7);
    Source::incremental(&NUMBERS).run(&store).await.unwrap();
    assert_eq!(ids(&store).await.len(), 14);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_not_ours_stops_the_run() {
    let store = memory();
    Source::incremental(&NUMBERS).run(&store).await.unwrap();
    let other = Identity { fingerprint: "source-2".into(), ..identity() };
    let open_as = async |pipeline: &str, identity: &Identity| {
        Coordinator::open(table(&store).await.unwrap(), application(pipeline), identity.clone()).await
    };
    assert_eq!(open_as("p", &other).await.unwrap_err().code, Code::WrongOwner);
    assert_eq!(open_as("q", &identity()).await.unwrap_err().code, Code::WrongOwner);
    let mut adopted =
        Coordinator::adopt(table(&store).await.unwrap(), application("p"), other.clone()).await.unwrap();
    adopted.take_state().await.unwrap();
    assert_eq!(open_as("p", &other).await.unwrap().state().high_water.as_deref(), Some("7"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_state_of_the_same_name_can_be_taken() {
    let store = memory();
    let take = async || {
        let place = table(&store).await.unwrap();
        let mut taker = Coordinator::adopt(place, application("q"), identity()).await.unwrap();
        taker.take_state().await.unwrap_err().code
    };
    assert_eq!(take().await, Code::BadUsage);
    Source::incremental(&NUMBERS).run(&store).await.unwrap();
    assert_eq!(take().await, Code::WrongOwner);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cursor_is_refused_until_everything_is_read_anew() {
    let store = memory();
    Source::incremental(&NUMBERS).run(&store).await.unwrap();
    let by_name = |write| NewPlan {
        cursor: Some("name".into()),
        upper_bound: None,
        write,
        ..Source::incremental(&NUMBERS).plan()
    };
    let mut coordinator = open(&store).await.unwrap();
    assert_eq!(coordinator.check_cursor(None).unwrap_err().code, Code::BadPipeline);
    let refused = coordinator.begin(by_name(WriteMode::Append)).await.unwrap_err();
    assert_eq!(refused.code, Code::BadPipeline, "{refused}");

    coordinator.begin(by_name(WriteMode::Replace)).await.unwrap();
    for (index, rows) in NUMBERS.iter().enumerate() {
        let mut stager = coordinator.stage().unwrap().open(index, None);
        stager.write(&batch(rows)).await.unwrap();
        stager.finish().await.unwrap();
    }
    coordinator.commit(true).await.unwrap();
    let anew = open(&store).await.unwrap();
    anew.check_cursor(Some("name")).unwrap();
    assert_eq!(anew.check_cursor(Some("id")).unwrap_err().code, Code::BadPipeline);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_restored_stops_the_run() {
    let store = memory();
    Source::incremental(&[&[1]]).run(&store).await.unwrap();
    Source::incremental(&[&[2]]).run(&store).await.unwrap();
    // A third run began after the second commit, and then the table lost that commit.
    open(&store).await.unwrap().begin(Source::incremental(&[&[3]]).plan()).await.unwrap();
    let newest = list(&store, "_delta_log").await.pop().unwrap();
    store.delete(&newest).await.unwrap();
    assert_eq!(open(&store).await.unwrap_err().code, Code::WrongOwner);

    let place = table(&store).await.unwrap();
    let mut rewound = Coordinator::adopt(place, application("p"), identity()).await.unwrap();
    rewound.take_state().await.unwrap();
    assert_eq!(open(&store).await.unwrap().state().high_water.as_deref(), Some("1"));
    Source::incremental(&[&[1, 2]]).run(&store).await.unwrap();
    assert_eq!(ids(&store).await, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_restored_to_before_the_first_commit_can_be_rewound_too() {
    let store = memory();
    Source::incremental(&[&[1]]).run(&store).await.unwrap();
    Source::incremental(&[&[2]]).run(&store).await.unwrap();
    for entry in list(&store, "_delta_log").await.split_off(1) {
        store.delete(&entry).await.unwrap();
    }
    assert_eq!(open(&store).await.unwrap_err().code, Code::WrongOwner);

    let place = table(&store).await.unwrap();
    let mut rewound = Coordinator::adopt(place, application("p"), identity()).await.unwrap();
    rewound.take_state().await.unwrap();
    assert_eq!(open(&store).await.unwrap().state().high_water, None);
    Source::incremental(&[&[1, 2]]).run(&store).await.unwrap();
    assert_eq!(ids(&store).await, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_refresh_of_an_incremental_stream_ignores_the_mark() {
    let store = memory();
    Source::incremental(&NUMBERS).run(&store).await.unwrap();
    let mut refresh = Source::incremental(&[&[1, 3]]);
    refresh.write = WriteMode::Replace;
    refresh.run(&store).await.unwrap();
    assert_eq!(ids(&store).await, [1, 3]);
    assert_eq!(open(&store).await.unwrap().state().high_water.as_deref(), Some("3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_we_could_not_keep_right_are_refused() {
    for (what, configuration, partitions) in [
        ("forgets transactions", r#"{"delta.setTransactionRetentionDuration":"interval 1 day"}"#, "[]"),
        ("constraints", r#"{"delta.constraints.positive":"id > 0"}"#, "[]"),
        ("partitioned", "{}", r#"["id"]"#),
    ] {
        let store = memory();
        let columns = r#"{\"type\":\"struct\",\"fields\":[{\"name\":\"id\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}}]}"#;
        let entry = format!(
            "{{\"protocol\":{{\"minReaderVersion\":1,\"minWriterVersion\":2}}}}\n{{\"metaData\":{{\"id\":\"x\",\"format\":{{\"provider\":\"parquet\",\"options\":{{}}}},\"schemaString\":\"{columns}\",\"partitionColumns\":{partitions},\"configuration\":{configuration}}}}}"
        );
        put(&store, "_delta_log/00000000000000000000.json", entry).await;
        let fault = open(&store).await.unwrap_err();
        assert!(fault.message.contains(what), "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_log_gets_checkpoints_and_the_state_survives_without_the_entries() {
    let store = memory();
    for id in 1..=12 {
        Source::incremental(&[&[id]]).run(&store).await.unwrap();
    }
    let entries = list(&store, "_delta_log").await;
    let checkpoint = entries.iter().find(|path| path.as_ref().contains("checkpoint.parquet")).unwrap();
    assert!(checkpoint.as_ref().contains("0000000010"), "{checkpoint}");
    for path in
        entries.iter().filter(|path| path.as_ref() < checkpoint.as_ref() && path.as_ref().ends_with(".json"))
    {
        store.delete(path).await.unwrap();
    }
    let coordinator = open(&store).await.unwrap();
    assert_eq!(coordinator.state().high_water.as_deref(), Some("12"));
    assert_eq!(coordinator.table_version(), Some(12));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committed_generation_leaves_no_plan_and_the_log_says_what_happened() {
    let store = memory();
    Source::incremental(&NUMBERS).run(&store).await.unwrap();
    let ours = |folder: &str| format!("_tidegate/tidegate~p~numbers/{folder}");
    assert!(list(&store, &ours("plans")).await.is_empty());
    assert!(list(&store, &ours("receipts")).await.is_empty());
    let actions = log(&store).await;
    let numbers: Vec<_> = actions.iter().filter_map(|action| action["txn"]["version"].as_i64()).collect();
    assert_eq!(numbers, [1, 2]);
    let stats: Vec<serde_json::Value> = actions
        .iter()
        .filter_map(|action| serde_json::from_str(action["add"]["stats"].as_str()?).ok())
        .collect();
    let first = stats.iter().find(|stats| stats["minValues"]["id"] == 1).unwrap();
    assert_eq!(first["maxValues"]["id"], 4);
    assert_eq!(first["nullCount"]["name"], 1);
    assert_eq!(first["numRecords"], 4);
}

/// Stages the first split of what a coordinator works on.
async fn stage_one(coordinator: &mut Coordinator) {
    let pending = coordinator.pending().await.unwrap().remove(0);
    let mut stager = coordinator.stage().unwrap().open(pending.index, pending.follows.as_deref());
    stager.write(&batch(NUMBERS[0])).await.unwrap();
    stager.finish().await.unwrap();
}

#[tokio::test]
async fn a_plan_that_was_dropped_can_no_longer_be_committed() {
    let store = memory();
    let source = Source::incremental(&NUMBERS);
    let mut first = open(&store).await.unwrap();
    first.begin(source.plan()).await.unwrap();
    let mut refreshing = open(&store).await.unwrap();
    assert!(refreshing.resume_replacement().await.unwrap().is_none());
    stage_one(&mut first).await;
    assert_eq!(first.commit(false).await.unwrap_err().code, Code::Superseded);
    source.run_until_done(&store).await;
    assert_eq!(ids(&store).await, [1, 2, 3, 4, 5, 6, 7], "and nobody is stuck");
}

#[tokio::test]
async fn a_replacement_never_removes_what_somebody_else_committed_meanwhile() {
    let store = memory();
    let source = Source::replacing(&NUMBERS);
    let mut replacing = open(&store).await.unwrap();
    replacing.begin(source.plan()).await.unwrap();
    let mut other =
        Coordinator::open(table(&store).await.unwrap(), application("q"), identity()).await.unwrap();
    other.begin(Source::incremental(&[&[8, 9, 10, 11, 12]]).plan()).await.unwrap();
    stage_one(&mut other).await;
    other.commit(true).await.unwrap();
    for pending in replacing.pending().await.unwrap() {
        let stager = replacing.stage().unwrap().open(pending.index, None);
        stager.finish().await.unwrap();
    }
    assert_eq!(replacing.commit(true).await.unwrap_err().code, Code::WrongOwner);
    assert_eq!(ids(&store).await.len(), 5);
}

#[tokio::test]
async fn a_generation_of_many_splits_says_only_what_changed() {
    let store = memory();
    let splits: Vec<Vec<i64>> = (0..100).map(|split| vec![split]).collect();
    let source = Source { splits, ..Source::incremental(&[]) };
    let mut coordinator = open(&store).await.unwrap();
    coordinator.begin(source.plan()).await.unwrap();
    for pending in coordinator.pending().await.unwrap() {
        let mut stager = coordinator.stage().unwrap().open(pending.index, None);
        stager.write(&batch(&source.splits[pending.index])).await.unwrap();
        stager.finish().await.unwrap();
        // Somebody else takes over in the middle.
        if pending.index == 77 {
            coordinator.commit(false).await.unwrap();
            coordinator = open(&store).await.unwrap();
            let generation = coordinator.resume().await.unwrap().unwrap();
            assert_eq!(generation.splits().len(), 100);
            assert_eq!(coordinator.pending().await.unwrap().len(), 22);
        } else if pending.index > 0 {
            coordinator.commit(false).await.unwrap();
        }
    }
    let ours = |folder: &str| format!("_tidegate/tidegate~p~numbers/{folder}");
    assert!(list(&store, &ours("receipts")).await.len() <= 1, "what is committed needs no receipt");
    let mut sizes = Vec::new();
    for path in list(&store, &ours("intents")).await {
        sizes.push(store.head(&path).await.unwrap().size);
    }
    let (whole, changed) = (sizes.iter().max().unwrap(), sizes.last().unwrap());
    assert!(changed * 4 < *whole, "{sizes:?}");
    coordinator.commit(true).await.unwrap();
    assert_eq!(ids(&store).await, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_rest_of_a_generation_can_be_read_for_another_schema() {
    let store = memory();
    interrupted(&store).await;
    let wider = Arc::new(arrow::datatypes::Schema::new(
        schema()
            .fields()
            .iter()
            .cloned()
            .chain([Arc::new(arrow::datatypes::Field::new("more", arrow::datatypes::DataType::Utf8, true))])
            .collect::<Vec<_>>(),
    ));
    // Nothing is committed: there is nothing to keep.
    let mut coordinator = open(&copy(&store).await).await.unwrap();
    coordinator.resume().await.unwrap().unwrap();
    assert!(coordinator.revise(&wider).await.unwrap().is_none());

    let mut coordinator = open(&store).await.unwrap();
    coordinator.resume().await.unwrap().unwrap();
    coordinator.commit(false).await.unwrap().unwrap();
    let revised = coordinator.revise(&wider).await.unwrap().unwrap();
    assert_eq!(revised.schema().fields(), wider.fields());
    drop(coordinator);
    let mut coordinator = open(&store).await.unwrap();
    assert_eq!(coordinator.resume().await.unwrap().unwrap().id(), revised.id());
    let pending = coordinator.pending().await.unwrap();
    assert_eq!(pending[0].from.as_deref(), Some(&b"5"[..]), "what is committed is not read again");
    for pending in pending {
        let stager = coordinator.stage().unwrap().open(pending.index, pending.follows.as_deref());
        stager.finish().await.unwrap();
    }
    coordinator.commit(true).await.unwrap();
    assert_eq!(ids(&store).await, NUMBERS[0]);
    // Whoever comes next clears the first plan away, and nothing that is committed with it.
    open(&store).await.unwrap().resume().await.unwrap();
    assert!(list(&store, "_tidegate/tidegate~p~numbers/plans").await.is_empty());
    assert_eq!(ids(&store).await, NUMBERS[0]);
}

#[tokio::test]
async fn records_are_kept_as_long_as_the_log() {
    let store = memory();
    for id in 1..=125 {
        Source::incremental(&[&[id]]).run(&store).await.unwrap();
    }
    let intents = async || list(&store, "_tidegate/tidegate~p~numbers/intents").await.len();
    assert_eq!(intents().await, 125);
    // Another client lets the old part of the log go.
    for path in list(&store, "_delta_log").await {
        let version: Option<u64> = path.filename().and_then(|name| name.strip_suffix(".json")?.parse().ok());
        if version.is_some_and(|version| version < 100) {
            store.delete(&path).await.unwrap();
        }
    }
    for id in 126..=130 {
        Source::incremental(&[&[id]]).run(&store).await.unwrap();
    }
    assert!((30..=33).contains(&intents().await), "{}", intents().await);
    assert_eq!(open(&store).await.unwrap().state().high_water.as_deref(), Some("130"));
}

#[tokio::test]
async fn a_writer_that_slept_clears_away_what_it_staged() {
    let store = memory();
    let source = Source::incremental(&NUMBERS);
    let mut asleep = open(&store).await.unwrap();
    asleep.begin(source.plan()).await.unwrap();
    let stage = asleep.stage().unwrap();
    // Another run goes on with its plan and completes it.
    source.run_until_done(&store).await;
    // It wakes up, and stages on.
    let mut stager = stage.open(0, None);
    stager.write(&batch(NUMBERS[0])).await.unwrap();
    stager.finish().await.unwrap();
    let fault = asleep.commit(true).await.unwrap_err();
    assert_eq!(fault.code, Code::StagedFileLost, "the second split is not staged to its end");
    assert_eq!(asleep.superseded_or(fault).await.code, Code::Superseded);
    let ours = |folder: &str| format!("_tidegate/tidegate~p~numbers/{folder}");
    assert!(list(&store, &ours("receipts")).await.is_empty());
    let staged = list(&store, "").await.into_iter().filter(|path| path.as_ref().contains("/data-"));
    let named = log(&store).await.into_iter().filter(|action| !action["add"].is_null()).count();
    assert_eq!(staged.count(), named, "every data file that is left is one that the log names");
    assert_eq!(ids(&store).await, [1, 2, 3, 4, 5, 6, 7]);
}
