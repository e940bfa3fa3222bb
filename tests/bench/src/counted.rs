//! A store that counts what is asked of it, by kind of request.

use std::fmt;
use std::ops::{AddAssign, Range, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Names that S3 lists, or deletes, in one request.
const PAGE: usize = 1000;

/// In the order of [`Requests`].
pub const KINDS: [&str; 5] = ["PUT", "GET", "LIST", "HEAD", "DELETE"];

#[derive(Clone, Copy)]
enum Kind {
    Put,
    Get,
    List,
    Head,
    Delete,
}

/// Requests as S3 would count them, by [`KINDS`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Requests(pub [u64; KINDS.len()]);

impl Sub for Requests {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self(std::array::from_fn(|kind| self.0[kind] - before.0[kind]))
    }
}

impl AddAssign for Requests {
    fn add_assign(&mut self, more: Self) {
        for (sum, more) in self.0.iter_mut().zip(more.0) {
            *sum += more;
        }
    }
}

#[derive(Debug, Clone, Default)]
pub struct Counts(Arc<[AtomicU64; KINDS.len()]>);

impl Counts {
    pub fn so_far(&self) -> Requests {
        Requests(std::array::from_fn(|kind| self.0[kind].load(Relaxed)))
    }

    fn one(&self, kind: Kind) {
        self.0[kind as usize].fetch_add(1, Relaxed);
    }

    /// What comes by the page: a request for the first item, and one for each that begins a page after it.
    fn paged<T: Send + 'static>(&self, kind: Kind, items: BoxStream<'static, T>) -> BoxStream<'static, T> {
        let counts = self.clone();
        let begins_a_page = move |(at, item): (usize, T)| {
            if at > 0 && at % PAGE == 0 {
                counts.one(kind);
            }
            item
        };
        items.enumerate().map(begins_a_page).boxed()
    }
}

#[derive(Debug)]
pub struct Counted {
    inner: Arc<dyn ObjectStore>,
    counts: Counts,
}

impl Counted {
    pub fn new(inner: Arc<dyn ObjectStore>) -> (Self, Counts) {
        let counts = Counts::default();
        (Self { inner, counts: counts.clone() }, counts)
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, counted", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Counted {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.counts.one(Kind::Put);
        self.inner.put_opts(path, payload, options).await
    }

    /// Parts are not counted: nothing that is measured here is large enough to have any.
    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.counts.one(Kind::Put);
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.counts.one(if options.head { Kind::Head } else { Kind::Get });
        self.inner.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.counts.one(Kind::Get);
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.counts.one(Kind::Delete);
        self.inner.delete_stream(self.counts.paged(Kind::Delete, paths))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counts.one(Kind::List);
        self.counts.paged(Kind::List, self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counts.one(Kind::List);
        self.counts.paged(Kind::List, self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.counts.one(Kind::List);
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.counts.one(Kind::Put);
        self.inner.copy_opts(from, to, options).await
    }
}
