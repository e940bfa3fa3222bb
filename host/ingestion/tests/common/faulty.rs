//! A store in memory in which one write goes wrong, in each of the ways that writes go wrong.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What happens to one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The process dies before it.
    CrashBefore,
    /// The process dies after it.
    CrashAfter,
    /// It is done, and the answer does not arrive.
    AnswerLost,
    /// It is not done, and the store says so.
    Refused,
    /// The process stands still before it, while others go on.
    Pause,
}

pub type Others = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

pub struct Faulty {
    inner: Arc<dyn ObjectStore>,
    failure: Failure,
    /// Which write, from 0.
    at: usize,
    writes: AtomicUsize,
    dead: AtomicBool,
    /// What others do while this process stands still.
    others: Option<Others>,
}

impl Faulty {
    pub fn new(inner: Arc<dyn ObjectStore>, failure: Failure, at: usize) -> Self {
        Self { inner, failure, at, writes: AtomicUsize::new(0), dead: AtomicBool::new(false), others: None }
    }

    pub fn meanwhile(mut self, others: Others) -> Self {
        self.others = Some(others);
        self
    }

    /// Whether there were as many writes.
    pub fn happened(&self) -> bool {
        self.writes.load(Ordering::SeqCst) > self.at
    }

    fn alive(&self) -> Result<()> {
        if self.dead.load(Ordering::SeqCst) { Err(failed("the process is dead")) } else { Ok(()) }
    }

    fn is_it(&self) -> bool {
        self.writes.fetch_add(1, Ordering::SeqCst) == self.at
    }
}

fn failed(what: &'static str) -> Error {
    Error::Generic { store: "faulty", source: what.into() }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at write {}", self.failure, self.at)
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.alive()?;
        if !self.is_it() {
            return self.inner.put_opts(path, payload, options).await;
        }
        match self.failure {
            Failure::CrashBefore => {
                self.dead.store(true, Ordering::SeqCst);
                Err(failed("the process died"))
            }
            Failure::CrashAfter => {
                self.dead.store(true, Ordering::SeqCst);
                self.inner.put_opts(path, payload, options).await?;
                Err(failed("the process died"))
            }
            Failure::AnswerLost => {
                self.inner.put_opts(path, payload, options).await?;
                Err(failed("no answer"))
            }
            Failure::Refused => Err(failed("not now")),
            Failure::Pause => {
                if let Some(others) = &self.others {
                    others().await;
                }
                self.inner.put_opts(path, payload, options).await
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.alive()?;
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.alive()?;
        self.inner.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.alive()?;
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.alive() {
            Ok(()) => self.inner.delete_stream(paths),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.alive() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.alive()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.alive()?;
        self.inner.copy_opts(from, to, options).await
    }
}
