//! Stored files that a kernel may read from anywhere, as Parquet needs it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use reqwest::Client;
use tokio::runtime::Handle;
use url::Url;

/// A request for less fetches this much: a page's header and its data lie together.
const FETCH: u64 = 1 << 20;
/// Pieces kept: a reader goes through as many columns side by side.
const KEPT: usize = 32;

/// A whole stored file. Read on blocking threads only.
pub(crate) enum Object {
    Local(File),
    Remote(Remote),
}

/// A file elsewhere, with the pieces of it that were fetched last.
pub(crate) struct Remote {
    origin: Origin,
    size: u64,
    pieces: Mutex<Vec<(u64, Bytes)>>,
    runtime: Handle,
}

pub(crate) enum Origin {
    Store(Arc<dyn ObjectStore>, Path),
    Web(Client, Url),
}

impl Remote {
    pub(crate) fn new(origin: Origin, size: u64) -> Self {
        Self { origin, size, pieces: Mutex::default(), runtime: Handle::current() }
    }

    /// Bytes that the object holds of its own.
    pub(crate) const HELD: u64 = FETCH * KEPT as u64;

    fn get(&self, start: u64, length: u64) -> io::Result<Bytes> {
        if start.checked_add(length).is_none_or(|end| end > self.size) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "beyond the end of the file"));
        }
        let mut pieces = self.pieces.lock().unwrap_or_else(|broken| broken.into_inner());
        let within = |(at, piece): &(u64, Bytes)| *at <= start && start + length <= at + piece.len() as u64;
        if let Some(found) = pieces.iter().position(within) {
            let (at, piece) = pieces.remove(found);
            let from = usize::try_from(start - at).map_err(io::Error::other)?;
            let to = from + usize::try_from(length).map_err(io::Error::other)?;
            let wanted = piece.slice(from..to);
            pieces.push((at, piece));
            return Ok(wanted);
        }
        let end = (start + length.max(FETCH)).min(self.size);
        let fetched = self.runtime.block_on(self.fetch(start, end))?;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        if fetched.len() < length {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter"));
        }
        if pieces.len() == KEPT {
            pieces.remove(0);
        }
        let wanted = fetched.slice(..length);
        if fetched.len() as u64 <= FETCH {
            pieces.push((start, fetched));
        }
        Ok(wanted)
    }

    async fn fetch(&self, start: u64, end: u64) -> io::Result<Bytes> {
        match &self.origin {
            Origin::Store(store, path) => store.get_range(path, start..end).await.map_err(io::Error::other),
            Origin::Web(client, url) => {
                let range = format!("bytes={start}-{}", end - 1);
                let answer = client.get(url.clone()).header("range", range).send().await;
                let answer = answer.map_err(io::Error::other)?;
                if answer.status() != reqwest::StatusCode::PARTIAL_CONTENT {
                    return Err(io::Error::other(format!(
                        "{} instead of a part of the file",
                        answer.status()
                    )));
                }
                let bytes = answer.bytes().await.map_err(io::Error::other)?;
                Ok(bytes.slice(..bytes.len().min(usize::try_from(end - start).unwrap_or(usize::MAX))))
            }
        }
    }
}

impl Length for Object {
    fn len(&self) -> u64 {
        match self {
            Self::Local(file) => Length::len(file),
            Self::Remote(remote) => remote.size,
        }
    }
}

impl ChunkReader for Object {
    type T = Box<dyn Read + Send>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(match self {
            Self::Local(file) => {
                let mut file = file.try_clone()?;
                file.seek(SeekFrom::Start(start))?;
                Box::new(io::BufReader::new(file))
            }
            Self::Remote(remote) => {
                let length = FETCH.min(remote.size.saturating_sub(start));
                Box::new(remote.get(start, length)?.reader())
            }
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        match self {
            Self::Local(file) => ChunkReader::get_bytes(file, start, length),
            Self::Remote(remote) => Ok(remote.get(start, length as u64)?),
        }
    }
}
