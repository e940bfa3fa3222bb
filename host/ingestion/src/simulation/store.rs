//! The one store that all share, and each process's own view of it, in which every operation that matters
//! waits for the schedule.

use std::fmt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::oneshot;

use super::operation::{Desk, Later, Operation, Outcome, Process, Thing, Verb, lock};

/// Where the table lies in the store.
pub(super) const TABLE: &str = "lake/numbers/";

/// Something that changed in the store.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub process: Process,
    /// Below the table.
    pub path: String,
    /// None: deleted.
    pub content: Option<Bytes>,
}

/// What is stored, and how it came to that: whoever checks can look at every moment.
#[derive(Default)]
pub(super) struct Ground {
    memory: InMemory,
    history: Mutex<Vec<Event>>,
}

impl Ground {
    pub(super) fn put(
        &self,
        process: Process,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let content = Bytes::from(payload.clone());
        let put = at_once(self.memory.put_opts(path, payload, options))?;
        self.happened(process, path, Some(content));
        Ok(put)
    }

    pub(super) fn create(&self, process: Process, below: &str, content: Bytes) -> Result<PutResult> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        self.put(process, &Path::from(format!("{TABLE}{below}")), content.into(), options)
    }

    pub(super) fn delete(&self, process: Process, path: &Path) -> Result<()> {
        at_once(self.memory.delete(path))?;
        self.happened(process, path, None);
        Ok(())
    }

    /// Paths below the table that begin with `prefix`, sorted.
    pub(super) fn paths(&self, prefix: &str) -> Vec<String> {
        let found: Vec<ObjectMeta> =
            at_once(self.memory.list(Some(&Path::from(TABLE))).try_collect()).unwrap_or_default();
        let mut paths: Vec<String> = found
            .iter()
            .filter_map(|file| file.location.as_ref().strip_prefix(TABLE))
            .filter(|path| path.starts_with(prefix))
            .map(str::to_owned)
            .collect();
        paths.sort();
        paths
    }

    /// What happened since this was asked last.
    pub(super) fn take_history(&self) -> Vec<Event> {
        std::mem::take(&mut *lock(&self.history))
    }

    fn happened(&self, process: Process, path: &Path, content: Option<Bytes>) {
        if let Some(below) = path.as_ref().strip_prefix(TABLE) {
            lock(&self.history).push(Event { process, path: below.to_owned(), content });
        }
    }
}

/// A store in memory never waits.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("a store in memory answers at once")
}

pub(super) struct SimStore {
    pub ground: Arc<Ground>,
    pub desk: Arc<Desk>,
    pub process: Process,
}

impl SimStore {
    /// Waits for the schedule, which may do it, or not, or later, or not tell.
    fn ask<T: Send + 'static>(
        &self,
        verb: Verb,
        path: &Path,
        content: Option<Bytes>,
        work: impl FnOnce(&Ground) -> Result<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T>> {
        // The library writes checkpoints of the log without letting others go on meanwhile.
        let below = below_table(path).filter(|below| Thing::at(below) != Thing::LogCheckpoint);
        let Some(below) = below else {
            let done = work(&self.ground);
            return async { done }.boxed();
        };
        let operation = Operation { verb, thing: Thing::at(below), path: below.to_owned(), content };
        let (tell, told) = oneshot::channel();
        let ground = Arc::clone(&self.ground);
        let act = move |outcome| -> Option<Later> {
            let nobody_hears = match outcome {
                Outcome::Done => tell.send(work(&ground)),
                Outcome::AnswerLost => {
                    let _ = work(&ground);
                    tell.send(Err(failed("no answer")))
                }
                Outcome::Refused => tell.send(Err(failed("not now"))),
                Outcome::Late => {
                    let _ = tell.send(Err(failed("timed out")));
                    return Some(Box::new(move || {
                        let _ = work(&ground);
                    }));
                }
                Outcome::CrashBefore => Ok(()),
                Outcome::CrashAfter => {
                    let _ = work(&ground);
                    Ok(())
                }
            };
            drop(nobody_hears);
            None
        };
        let registered = self.desk.register(self.process, operation, Box::new(act));
        async move {
            match told.await {
                Ok(answer) if registered => answer,
                _ => Err(failed("the process is dead")),
            }
        }
        .boxed()
    }
}

/// What a run does before it knows its table, such as the probe, is not simulated.
fn below_table(path: &Path) -> Option<&str> {
    let path = path.as_ref();
    path.strip_prefix(TABLE).or_else(|| (path == TABLE.trim_end_matches('/')).then_some(""))
}

fn failed(what: &'static str) -> Error {
    Error::Generic { store: "simulated", source: what.into() }
}

impl fmt::Debug for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimStore of {:?}", self.process)
    }
}

impl fmt::Display for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[async_trait::async_trait]
impl ObjectStore for SimStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let (process, at) = (self.process, path.clone());
        let content = Bytes::from(payload.clone());
        self.ask(Verb::Put, path, Some(content), move |ground| ground.put(process, &at, payload, options))
            .await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(failed("the files of a simulation are small"))
    }

    /// The log's entries never change, and are read on threads of the library's own, in any order: reading
    /// them waits for nothing, so that a schedule can be replayed. The lists that name them do wait.
    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let verb = if options.head { Verb::Head } else { Verb::Get };
        let at = path.clone();
        let work = move |ground: &Ground| at_once(ground.memory.get_opts(&at, options));
        match below_table(path).map(Thing::at) {
            None | Some(Thing::Log | Thing::LogCheckpoint) => work(&self.ground),
            Some(Thing::Data) if verb == Verb::Get => work(&self.ground),
            Some(_) => self.ask(verb, path, None, work).await,
        }
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let own =
            Self { ground: Arc::clone(&self.ground), desk: Arc::clone(&self.desk), process: self.process };
        paths
            .and_then(move |path| {
                let (process, at) = (own.process, path.clone());
                let asked = own.ask(Verb::Delete, &path, None, move |ground| ground.delete(process, &at));
                async move { asked.await.map(|()| path) }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let folder = prefix.cloned().unwrap_or_default();
        let below = folder.clone();
        let asked = self.ask(Verb::List, &folder, None, move |ground| {
            at_once(ground.memory.list(Some(&below)).try_collect::<Vec<_>>())
        });
        stream::once(asked).map_ok(|found| stream::iter(found.into_iter().map(Ok))).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let folder = prefix.cloned().unwrap_or_default();
        let below = folder.clone();
        self.ask(Verb::List, &folder, None, move |ground| {
            at_once(ground.memory.list_with_delimiter(Some(&below)))
        })
        .await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(failed("nothing is copied here"))
    }
}
