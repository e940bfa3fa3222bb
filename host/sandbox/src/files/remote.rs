//! Object stores, and single files on the web.

use std::io::{Error as IoError, Read};
use std::ops::Range;
use std::sync::Arc;

use futures::TryStreamExt;
use globset::GlobMatcher;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{Error as StoreError, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};
use reqwest::{Client, StatusCode};
use tidegate_model::{Code, Fault, Result};
use tokio_util::io::StreamReader;
use url::Url;

use super::Object;
use super::listing::Listing;
use super::object::{Origin, Remote};
use crate::bindings::files::Entry;
use crate::bytes::{Reader, from_async};
use crate::http;
use crate::network::{Network, explain};
use crate::refusal::{Asked, Refusal};

/// Below a prefix of an object store.
pub(super) struct StorePlace {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    location: String,
}

impl StorePlace {
    pub(super) fn new(location: &str) -> Asked<Self> {
        let user = super::files_domain;
        let bad = |why: String| Refusal::told(user(), "invalid", format!("`{location}`: {why}"));
        let url = Url::parse(location).map_err(|error| bad(error.to_string()))?;
        if url.scheme() != "s3" {
            return Err(Refusal::told(
                user(),
                "unsupported",
                format!(
                    "`{}://` is no kind of location; there are folders, `s3://` and `https://`",
                    url.scheme()
                ),
            ));
        }
        let prefix = Path::from_url_path(url.path()).map_err(|error| bad(error.to_string()))?;
        // Region, endpoint and credentials come from the environment of the worker, which no component sees.
        let builder = AmazonS3Builder::from_env().with_url(location);
        let store = builder.build().map_err(|error| bad(error.to_string()))?;
        Ok(Self { store: Arc::new(store), prefix, location: location.to_owned() })
    }

    pub(super) async fn list(&self, glob: Option<&GlobMatcher>) -> Asked<Vec<Entry>> {
        let mut listing = Listing::new(glob);
        let mut found = self.store.list(Some(&self.prefix));
        while let Some(meta) = found.try_next().await.map_err(|error| self.refused(&error))? {
            let below = meta.location.prefix_match(&self.prefix);
            let path: Vec<_> = below.into_iter().flatten().map(|part| part.as_ref().to_owned()).collect();
            listing.add(entry(path.join("/"), meta))?;
        }
        let entries = listing.into_entries();
        if !entries.is_empty() || glob.is_some() || self.prefix.as_ref().is_empty() {
            return Ok(entries);
        }
        // The location may be an object itself: listing is only of what lies below.
        let meta = self.store.head(&self.prefix).await.map_err(|error| self.refused(&error))?;
        Ok(vec![entry(String::new(), meta)])
    }

    pub(super) async fn open(&self, path: &str, range: Option<Range<u64>>) -> Asked<(Reader, Object)> {
        let refused = |error: StoreError| self.refused(&error);
        let mut at = self.prefix.clone();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            at = at.join(part);
        }
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let got = self.store.get_opts(&at, options).await.map_err(refused)?;
        let object = Object::Remote(Remote::new(Origin::Store(self.store.clone(), at), got.meta.size));
        let pieces = got.into_stream().map_err(IoError::other);
        Ok((from_async(StreamReader::new(pieces)), object))
    }

    fn refused(&self, error: &StoreError) -> Refusal {
        let message = format!("`{}`: {error}", self.location);
        let user = super::files_domain();
        match error {
            StoreError::NotFound { .. } => Refusal::not_found(message),
            StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
                Refusal::told(user, "denied", message)
            }
            _ => Refusal::unavailable(message),
        }
    }
}

fn entry(path: String, meta: ObjectMeta) -> Entry {
    Entry {
        path,
        size: meta.size,
        modified: u64::try_from(meta.last_modified.timestamp_millis()).ok(),
        version: meta.e_tag,
    }
}

/// One file, by its address.
pub(super) struct WebPlace {
    network: Network,
    url: Url,
}

impl WebPlace {
    /// A file below a location, each part of whose path is encoded, once.
    pub(super) fn new(network: &Network, location: &str, path: &str) -> Asked<Self> {
        Ok(Self { network: network.clone(), url: below(http::parse(location)?, path)? })
    }

    pub(super) fn url(&self) -> &str {
        self.url.as_str()
    }

    pub(super) async fn entry(&self) -> Result<Entry> {
        let answer = self.network.client(&self.url)?.head(self.url.clone()).send().await;
        let answer = answer.map_err(|error| explain(&self.url, error))?;
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        self.found(answer.status())?;
        Ok(Entry {
            path: String::new(),
            size: header("content-length").and_then(|length| length.parse().ok()).unwrap_or_default(),
            modified: header("last-modified").and_then(date),
            version: header("etag").map(str::to_owned),
        })
    }

    pub(super) async fn open(&self, range: Option<Range<u64>>) -> Result<(Reader, Object)> {
        let url = self.url.clone();
        let client: Client = self.network.client(&url)?;
        let mut request = client.get(url.clone());
        if let Some(range) = &range {
            let last = range.end.saturating_sub(1).max(range.start);
            request = request.header("range", format!("bytes={}-{last}", range.start));
        }
        let answer = request.send().await.map_err(|error| explain(&url, error))?;
        self.found(answer.status())?;
        let size = answer.content_length().unwrap_or_default();
        let partial = answer.status() == StatusCode::PARTIAL_CONTENT;
        let object = Object::Remote(Remote::new(Origin::Web(client, url), size));
        let body = http::body(answer);
        Ok(match range {
            // A server that ignores the range sends the whole file.
            Some(range) if !partial => (skipped(body, &range), object),
            Some(range) => (Box::new(body.take(range.end - range.start)), object),
            None => (body, object),
        })
    }

    fn found(&self, status: StatusCode) -> Result<()> {
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                Err(Fault::user(Code::SourceFailed, format!("`{}` is not there: {status}", self.url)))
            }
            status if status.is_redirection() => Err(Fault::user(
                Code::SourceFailed,
                format!("`{}` answered {status}: it has moved; write the new address", self.url),
            )),
            status => Err(self.fault(&format!("the server answered {status}"))),
        }
    }

    fn fault(&self, why: &str) -> Fault {
        Fault::external(Code::SourceFailed, format!("`{}`: {why}", self.url)).retry_after(1000)
    }
}

fn below(mut url: Url, path: &str) -> Asked<Url> {
    if path.is_empty() {
        return Ok(url);
    }
    if url.query().is_some() {
        return Err(Refusal::invalid("a location with a query is a file; there is nothing below it"));
    }
    url.path_segments_mut()
        .map_err(|()| Refusal::invalid("the URL has no path"))?
        .pop_if_empty()
        .extend(path.split('/'));
    Ok(url)
}

fn skipped(body: Reader, range: &Range<u64>) -> Reader {
    Box::new(Skipping { body: body.take(range.end), left: range.start })
}

/// Reads past what nobody wants before it gives the rest.
struct Skipping {
    body: std::io::Take<Reader>,
    left: u64,
}

impl Read for Skipping {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = std::mem::take(&mut self.left);
        if left > 0 {
            std::io::copy(&mut (&mut self.body).take(left), &mut std::io::sink())?;
        }
        self.body.read(buffer)
    }
}

/// Milliseconds since 1970 of an HTTP date such as `Wed, 21 Oct 2015 07:28:00 GMT`.
fn date(text: &str) -> Option<u64> {
    let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    u64::try_from(date.timestamp_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_a_server_that_knows_no_ranges() {
        let mut text = String::new();
        let whole: Reader = Box::new(&b"0123456789"[..]);
        skipped(whole, &(3..6)).read_to_string(&mut text).unwrap();
        assert_eq!(text, "345");
    }

    #[test]
    fn the_address_of_a_file_below_a_location() {
        for (location, path, expected) in [
            ("https://x.org/data", "", Some("https://x.org/data")),
            ("https://x.org/data", "a/b.csv", Some("https://x.org/data/a/b.csv")),
            ("https://x.org/data/", "b.csv", Some("https://x.org/data/b.csv")),
            ("https://x.org/data", "a%2fb?c#d", Some("https://x.org/data/a%252fb%3Fc%23d")),
            ("https://x.org/data#here", "b.csv", Some("https://x.org/data/b.csv")),
            ("https://x.org/export?id=1", "", Some("https://x.org/export?id=1")),
            ("https://x.org/export?id=1", "b.csv", None),
        ] {
            let url = http::parse(location).and_then(|url| below(url, path)).ok();
            assert_eq!(url.as_ref().map(Url::as_str), expected, "{location} {path}");
        }
    }

    #[test]
    fn dates_of_servers() {
        assert_eq!(date("Wed, 21 Oct 2015 07:28:00 GMT"), Some(1_445_412_480_000));
        assert_eq!(date("yesterday"), None);
    }
}
