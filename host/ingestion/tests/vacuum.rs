//! A client that deletes what no version names, at the worst moment.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use common::{Source, ids, memory};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tidegate_model::Code;

/// Just before the table's first rows are committed, another client deletes every file that is not named yet
/// and commits a version that says so.
#[derive(Debug)]
struct Vacuumed {
    inner: Arc<dyn ObjectStore>,
    done: AtomicBool,
}

impl fmt::Display for Vacuumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("vacuumed")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Vacuumed {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let first_rows = path.as_ref().ends_with("_delta_log/00000000000000000001.json");
        if first_rows && !self.done.swap(true, Ordering::SeqCst) {
            let all: Vec<ObjectMeta> = self.inner.list(None).try_collect().await?;
            for file in all.iter().filter(|file| file.location.as_ref().ends_with(".parquet")) {
                self.inner.delete(&file.location).await?;
            }
            let said = Bytes::from_static(b"{\"commitInfo\":{\"operation\":\"VACUUM END\"}}\n");
            self.inner.put(path, said.into()).await?;
        }
        self.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn files_that_went_while_a_commit_was_made_again_are_not_named() {
    let plain = memory();
    let store: Arc<dyn ObjectStore> =
        Arc::new(Vacuumed { inner: Arc::clone(&plain), done: AtomicBool::new(false) });
    let source = Source::incremental(&[&[1, 2, 3]]);
    assert_eq!(source.run(&store).await.unwrap_err().code, Code::StagedFileLost);
    assert!(ids(&plain).await.is_empty());
    source.run_until_done(&store).await;
    assert_eq!(ids(&plain).await, [1, 2, 3]);
}
