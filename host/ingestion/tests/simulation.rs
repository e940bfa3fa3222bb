//! Everything that can go wrong at any write, and two writers at every point of each other: after all of it
//! the table has the source's rows, each once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::sync::Arc;

use common::faulty::{Failure, Faulty};
use common::{Source, ids, memory, open};
use object_store::ObjectStore;

const SPLITS: [&[i64]; 3] = [&[1, 2, 3, 4, 5, 6, 7], &[8, 9], &[]];
const ROWS: [i64; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 9];

/// Lets one run fail at every write there is, and looks at what the next ones make of it.
async fn at_every_write(source: &Source, failure: Failure) {
    for at in 0.. {
        let store = memory();
        let faulty = Arc::new(Faulty::new(Arc::clone(&store), failure, at));
        let shared: Arc<dyn ObjectStore> = faulty.clone();
        let first = source.run(&shared).await;
        if !faulty.happened() {
            assert!(at > 10, "only {at} writes");
            break;
        }
        let through = source.run_until_done(&store).await;
        assert_eq!(ids(&store).await, ROWS, "{faulty}, first run: {first:?}");
        assert!(through.state().number.is_some());
        // A run with nothing new changes nothing.
        let again = source.run_until_done(&store).await;
        assert_eq!(ids(&store).await, ROWS, "{faulty}, after one more run");
        if source.mode == tidegate_model::Mode::Incremental {
            assert_eq!(again.state().number, through.state().number);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_any_write() {
    at_every_write(&Source::incremental(&SPLITS), Failure::CrashBefore).await;
    at_every_write(&Source::replacing(&SPLITS), Failure::CrashBefore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_any_write() {
    at_every_write(&Source::incremental(&SPLITS), Failure::CrashAfter).await;
    at_every_write(&Source::replacing(&SPLITS), Failure::CrashAfter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_lost_at_any_write() {
    at_every_write(&Source::incremental(&SPLITS), Failure::AnswerLost).await;
    at_every_write(&Source::replacing(&SPLITS), Failure::AnswerLost).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_refused_at_any_point() {
    at_every_write(&Source::incremental(&SPLITS), Failure::Refused).await;
    at_every_write(&Source::replacing(&SPLITS), Failure::Refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_pauses_at_any_write_while_another_goes_through() {
    for source in [Source::incremental(&SPLITS), Source::replacing(&SPLITS)] {
        for at in 0.. {
            let store = memory();
            let (theirs, them) = (Arc::clone(&store), source.clone());
            let faulty = Faulty::new(Arc::clone(&store), Failure::Pause, at).meanwhile(Box::new(move || {
                let (store, source) = (Arc::clone(&theirs), them.clone());
                Box::pin(async move {
                    source.run_until_done(&store).await;
                })
            }));
            let faulty = Arc::new(faulty);
            let shared: Arc<dyn ObjectStore> = faulty.clone();
            let paused = source.run(&shared).await;
            if !faulty.happened() {
                break;
            }
            assert_eq!(ids(&store).await, ROWS, "{faulty}: {paused:?}");
            source.run_until_done(&store).await;
            assert_eq!(ids(&store).await, ROWS, "{faulty}, after one more run");
            assert!(open(&store).await.unwrap().describe().interrupted.is_none());
        }
    }
}
