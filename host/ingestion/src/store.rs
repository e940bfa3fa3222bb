//! Where tables are: a folder, or a bucket of an object store that honours put-if-absent.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path as FilePath, PathBuf, absolute};
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use tidegate_model::{Code, Fault, Result, StreamName};
use url::Url;
use uuid::Uuid;

#[cfg(test)]
use crate::rules::Rule;
use crate::rules::Rules;

/// Bytes of an upload's part: the least that S3 takes. What waits to be sent is held in memory.
const PART: usize = 5 << 20;

/// A folder or an object store's prefix that holds tables, known to honour conditional writes.
#[derive(Debug, Clone)]
pub struct Location {
    /// All of the file system, or all of the bucket.
    store: Arc<dyn ObjectStore>,
    root: Path,
    url: Url,
    /// As a person would type it.
    shown: String,
    ids: Ids,
}

/// One table's place in a [`Location`].
#[derive(Debug, Clone)]
pub struct Table {
    whole: Arc<dyn ObjectStore>,
    /// Only what lies below the table.
    store: Arc<dyn ObjectStore>,
    url: Url,
    shown: String,
    pub(crate) ids: Ids,
    pub(crate) rules: Rules,
}

/// Where names come from that nobody else may have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ids {
    /// The next one, where they must be the same each time: a simulation is replayed from its seed.
    #[cfg(test)]
    pub(crate) counted: Option<Arc<std::sync::atomic::AtomicU64>>,
}

impl Ids {
    pub(crate) fn next(&self) -> Uuid {
        #[cfg(test)]
        if let Some(counter) = &self.counted {
            return Uuid::from_u64_pair(counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed), 0);
        }
        Uuid::new_v4()
    }
}

impl Location {
    /// Opens `location`: a folder, relative ones starting at `base`, or a URL such as `s3://bucket/prefix`
    /// with `options` in object_store's words. Credentials come from the environment.
    pub async fn open(location: &str, base: &FilePath, options: &BTreeMap<String, String>) -> Result<Self> {
        let opened = match (Self::folder_of(location, base), Url::parse(location)) {
            (Some(folder), _) => Self::folder(&folder, location)?,
            (None, Ok(url)) if url.scheme() == "s3" || url.scheme() == "s3a" => {
                Self::s3(location, url, options)?
            }
            (None, Ok(url)) if url.scheme() == "file" => return Err(unusable(location, "it has no path")),
            (None, other) => {
                let scheme = other.map_or_else(|_| String::new(), |url| url.scheme().to_owned());
                return Err(unusable(location, &format!("`{scheme}` is not supported"))
                    .help("write a folder, or an URL such as s3://bucket/prefix"));
            }
        };
        opened.probe().await?;
        Ok(opened)
    }

    /// The folder of this machine that a location names, relative ones starting at `base`; `None` where it names
    /// none.
    pub fn folder_of(location: &str, base: &FilePath) -> Option<PathBuf> {
        match Url::parse(location) {
            Ok(url) if url.scheme() == "file" => url.to_file_path().ok(),
            // A single letter is a drive, not a scheme.
            Ok(url) if url.scheme().len() > 1 && location.contains("://") => None,
            _ => Some(base.join(location)),
        }
    }

    /// A location in a store that the caller made; the URL's path is below the store's root.
    pub async fn on_store(store: Arc<dyn ObjectStore>, url: Url) -> Result<Self> {
        let shown = url.to_string();
        let root = Path::from_url_path(url.path()).map_err(|error| unusable(&shown, &error.to_string()))?;
        let opened =
            Self { store, root, url, shown: shown.trim_end_matches('/').to_owned(), ids: Ids::default() };
        opened.probe().await?;
        Ok(opened)
    }

    fn folder(folder: &FilePath, shown: &str) -> Result<Self> {
        let folder = absolute(folder).map_err(|error| unusable(shown, &error.to_string()))?;
        let url = Url::from_directory_path(&folder).map_err(|()| unusable(shown, "it is not absolute"))?;
        // What was written survives the death of this process, as the kernel has it. It is not flushed to the
        // disk, so a power cut may lose what was written in the seconds before.
        let root = Path::from_absolute_path(&folder).map_err(|error| unusable(shown, &error.to_string()))?;
        let shown = shown.trim_end_matches('/').to_owned();
        Ok(Self { store: Arc::new(LocalFileSystem::new()), root, url, shown, ids: Ids::default() })
    }

    fn s3(location: &str, mut url: Url, options: &BTreeMap<String, String>) -> Result<Self> {
        let mut builder = AmazonS3Builder::from_env().with_url(location);
        for (key, value) in options {
            let known = AmazonS3ConfigKey::from_str(&key.to_ascii_lowercase())
                .map_err(|_| unusable(location, &format!("object_store knows no option `{key}`")))?;
            if is_secret(known) {
                return Err(unusable(location, &format!("`{key}` is a credential"))
                    .help(format!("set {} in the environment instead", key.to_ascii_uppercase())));
            }
            builder = builder.with_config(known, value);
        }
        let store = builder
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .build()
            .map_err(|error| unusable(location, &error.to_string()))?;
        let root = Path::from_url_path(url.path()).map_err(|error| unusable(location, &error.to_string()))?;
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let shown = location.trim_end_matches('/').to_owned();
        Ok(Self { store: Arc::new(store), root, url, shown, ids: Ids::default() })
    }

    /// With names that are the same each time, for a simulation that is replayed.
    #[cfg(test)]
    pub(crate) fn with_counted_ids(mut self, first: u64) -> Self {
        self.ids.counted = Some(Arc::new(first.into()));
        self
    }

    /// The commit rests on put-if-absent: a store that writes the same key twice would let two
    /// writers both believe that they committed.
    async fn probe(&self) -> Result<()> {
        let key = self.root.clone().join(format!(".tidegate-probe-{}", self.ids.next()));
        let first = create(self.store.as_ref(), &key, Bytes::from_static(b"?")).await;
        let second = create(self.store.as_ref(), &key, Bytes::from_static(b"?")).await;
        let removed = self.store.delete(&key).await;
        match (first, second) {
            (Err(error), _) => Err(sink(&error, format!("cannot write to `{}`", self.shown))),
            (Ok(()), Err(Error::AlreadyExists { .. } | Error::Precondition { .. })) => {
                removed.map_err(|error| sink(&error, format!("cannot delete from `{}`", self.shown)))
            }
            (Ok(()), _) => Err(Fault::user(
                Code::UnsafeStore,
                format!(
                    "`{}` overwrote a file although it was told not to: two runs could destroy each other's work",
                    self.shown
                ),
            )
            .help("use a store with conditional writes (S3, MinIO, Cloudflare R2, a local folder)")),
        }
    }

    /// The table of a stream.
    pub fn table(&self, stream: &StreamName) -> Result<Table> {
        let bad = |reason: String| unusable(&self.shown, &reason);
        // The libraries below disagree on whether it is an escape.
        if self.root.as_ref().contains('%') || stream.as_str().contains('%') {
            return Err(bad("a percent sign in its path or in the stream's name".into()));
        }
        let below = Path::parse(format!("{}/{stream}", self.root)).map_err(|error| bad(error.to_string()))?;
        let mut url = self.url.clone();
        url.path_segments_mut()
            .map_err(|()| bad("it cannot have folders".into()))?
            .pop_if_empty()
            .push(stream.as_str())
            .push("");
        Ok(Table {
            whole: Arc::clone(&self.store),
            store: Arc::new(PrefixStore::new(Arc::clone(&self.store), below)),
            url,
            shown: format!("{}/{stream}", self.shown),
            ids: self.ids.clone(),
            rules: Rules::default(),
        })
    }
}

impl Table {
    /// With a rule of the protocol that does not hold, to see that somebody notices.
    #[cfg(test)]
    pub(crate) fn breaking(mut self, rule: Option<Rule>) -> Self {
        self.rules.broken = rule;
        self
    }

    pub(crate) fn log_store(&self) -> LogStoreRef {
        default_logstore(
            Arc::clone(&self.store),
            Arc::clone(&self.whole),
            &self.url,
            &StorageConfig::default(),
        )
    }

    /// Puts a file if there is none of that name. `false`: there is one, with other content. An answer that
    /// was lost shows as a file that is there already, and is ours: what we write this way is unique.
    pub(crate) async fn put_new(&self, path: &Path, content: Bytes) -> Result<bool> {
        match create(self.store.as_ref(), path, content.clone()).await {
            Ok(()) => Ok(true),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                Ok(self.get(path).await?.is_some_and(|present| present == content))
            }
            Err(error) => Err(self.fault(&error, "write", path)),
        }
    }

    pub(crate) async fn get(&self, path: &Path) -> Result<Option<Bytes>> {
        let got = match self.store.get(path).await {
            Ok(got) => got.bytes().await,
            Err(error) => Err(error),
        };
        match got {
            Ok(content) => Ok(Some(content)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.fault(&error, "read", path)),
        }
    }

    pub(crate) async fn head(&self, path: &Path) -> Result<Option<ObjectMeta>> {
        match self.store.head(path).await {
            Ok(found) => Ok(Some(found)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.fault(&error, "look at", path)),
        }
    }

    pub(crate) async fn list(&self, folder: &Path) -> Result<Vec<ObjectMeta>> {
        let listed: Result<_, _> = self.store.list(Some(folder)).try_collect().await;
        match listed {
            Ok(found) => Ok(found),
            Err(Error::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(self.fault(&error, "list", folder)),
        }
    }

    /// What comes after a path in a folder, by name.
    pub(crate) async fn list_after(&self, folder: &Path, path: &Path) -> Result<Vec<ObjectMeta>> {
        let listed: Result<_, _> = self.store.list_with_offset(Some(folder), path).try_collect().await;
        match listed {
            Ok(found) => Ok(found),
            Err(Error::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(self.fault(&error, "list", folder)),
        }
    }

    /// Names of the folders in a folder.
    pub(crate) async fn folders(&self, folder: &Path) -> Result<Vec<String>> {
        match self.store.list_with_delimiter(Some(folder)).await {
            Ok(found) => Ok(found
                .common_prefixes
                .iter()
                .filter_map(|prefix| prefix.filename().map(str::to_owned))
                .collect()),
            Err(Error::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(self.fault(&error, "list", folder)),
        }
    }

    /// Deletes what nobody needs any more, and answers whether all of it is gone. What stays behind harms
    /// nobody, so a failure is only logged.
    pub(crate) async fn discard(&self, paths: Vec<Path>) -> bool {
        let mut gone = true;
        let mut deleted = self.store.delete_stream(stream::iter(paths).map(Ok).boxed());
        while let Some(answer) = deleted.next().await {
            match answer {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => {
                    gone = false;
                    tracing::warn!(table = self.shown, %error, "could not delete");
                }
            }
        }
        gone
    }

    pub(crate) fn writer(&self, path: &Path) -> BufWriter {
        BufWriter::with_capacity(Arc::clone(&self.store), path.clone(), PART).with_max_concurrency(2)
    }

    pub(crate) fn fault(&self, error: &Error, verb: &str, path: &Path) -> Fault {
        sink(error, format!("cannot {verb} `{}/{path}`", self.shown))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

async fn create(store: &dyn ObjectStore, path: &Path, content: Bytes) -> object_store::Result<()> {
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    store.put_opts(path, content.into(), options).await.map(|_| ())
}

fn is_secret(key: AmazonS3ConfigKey) -> bool {
    matches!(
        key,
        AmazonS3ConfigKey::AccessKeyId | AmazonS3ConfigKey::SecretAccessKey | AmazonS3ConfigKey::Token
    )
}

fn unusable(location: &str, reason: &str) -> Fault {
    Fault::user(Code::BadPipeline, format!("cannot use `{location}` as a sink: {reason}"))
}

fn sink(error: &Error, what: String) -> Fault {
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        let text = inner.to_string();
        if !reason.contains(&text) {
            reason = format!("{reason}: {text}");
        }
        source = inner.source();
    }
    Fault::external(Code::SinkFailed, reason).context(what)
}
