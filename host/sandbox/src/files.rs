//! `files`: what lies below granted locations.

mod listing;
mod local;
mod object;
mod remote;

use globset::{GlobBuilder, GlobMatcher};
use tidegate_permission::{Action, Resource as Asset};
use wasmtime::component::Resource;

use crate::bindings::files::{self, Compression, Entry, OpenOptions};
use crate::bytes::{ByteStream, on_thread};
use crate::guest::{Guest, Setup};
use crate::refusal::{Asked, Refusal};

use self::local::LocalPlace;
pub(crate) use self::object::{Object, Remote};
use self::remote::{StorePlace, WebPlace};

/// Entries in one answer.
const MAX_ENTRIES: usize = 100_000;
/// Bytes of a location, a path or a glob.
const MAX_TEXT: usize = 4 << 10;
/// Braces in a glob: each may be inside another, and whoever reads them goes as deep.
const MAX_BRACES: usize = 32;

/// A location, understood.
enum Place {
    Local(LocalPlace),
    Store(StorePlace),
    Web(WebPlace),
}

impl Guest {
    /// Where a path below a location is, if this instance may do `action` there. What is decided is what is
    /// opened.
    fn place(&self, action: Action, location: &str, path: &str) -> Asked<Place> {
        check_length("a location", location)?;
        check_path(path)?;
        let asset = Asset::below(location, path);
        match location.split_once("://") {
            None => {
                self.ask(action, &asset)?;
                let Setup { authorizer, principal, base, hidden, .. } = self.around.setup();
                let Some(granted) = authorizer.granted(principal, location) else {
                    // Something below it is granted, it is not.
                    self.ask(action, &Asset::below(location, ""))?;
                    return Err(Refusal::told(files_domain(), "denied", "no grant covers the location"));
                };
                Ok(Place::Local(LocalPlace::new(base, granted, location, hidden)))
            }
            Some(("http" | "https", _)) => {
                let place = WebPlace::new(&self.around.network, location, path)?;
                self.ask(action, &Asset::Location(place.url().to_owned()))?;
                Ok(Place::Web(place))
            }
            Some(_) => {
                self.ask(action, &asset)?;
                Ok(Place::Store(StorePlace::new(location)?))
            }
        }
    }
}

fn check_length(what: &str, text: &str) -> Asked<()> {
    if text.len() > MAX_TEXT {
        return Err(Refusal::limit(format!("{what} of {} bytes is larger than 4 KiB", text.len())));
    }
    Ok(())
}

/// A path that stays below: no `..`, no root, no empty or odd parts.
fn check_path(path: &str) -> Asked<()> {
    check_length("a path", path)?;
    let odd = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains(['\\', '\0']);
    if !path.is_empty() && path.split('/').any(odd) {
        return Err(Refusal::invalid(format!("`{}` is not a path below a location", path.escape_debug())));
    }
    Ok(())
}

fn matcher(glob: Option<&str>) -> Asked<Option<GlobMatcher>> {
    let Some(glob) = glob else {
        return Ok(None);
    };
    check_length("a glob", glob)?;
    if glob.bytes().filter(|byte| *byte == b'{').count() > MAX_BRACES {
        return Err(Refusal::limit(format!("a glob has at most {MAX_BRACES} pairs of braces")));
    }
    GlobBuilder::new(glob)
        .literal_separator(true)
        .build()
        .map(|glob| Some(glob.compile_matcher()))
        .map_err(|error| Refusal::told(files_domain(), "invalid", format!("the glob: {error}")))
}

/// Globs and locations are what people write.
fn files_domain() -> crate::bindings::types::FaultDomain {
    crate::bindings::types::FaultDomain::User
}

impl files::Host for Guest {
    async fn list(&mut self, location: String, glob: Option<String>) -> Asked<Vec<Entry>> {
        let glob = matcher(glob.as_deref())?;
        let mut entries = match self.place(Action::FilesList, &location, "")? {
            Place::Local(place) => on_thread(move || place.list(glob.as_ref())).await??,
            Place::Store(place) => place.list(glob.as_ref()).await?,
            Place::Web(place) => vec![place.entry().await.map_err(|fault| self.deny(fault))?],
        };
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        self.meter.moved(entries.iter().map(|entry| entry.path.len() as u64 + 32).sum(), 0);
        Ok(entries)
    }

    async fn open(
        &mut self,
        location: String,
        path: String,
        options: OpenOptions,
    ) -> Asked<Resource<ByteStream>> {
        let place = self.place(Action::FilesRead, &location, &path)?;
        let range = options.range.map(|(from, to)| from..to.max(from));
        let whole = range.is_none() && options.compression == Compression::None;
        let start = range.as_ref().map_or(0, |range| range.start);
        let (reader, object) = match place {
            Place::Local(place) => {
                let path = path.clone();
                on_thread(move || place.open(&path, range)).await??
            }
            Place::Store(place) => place.open(&path, range).await?,
            Place::Web(place) => place.open(range).await.map_err(|fault| self.deny(fault))?,
        };
        let origin = if path.is_empty() { location } else { path };
        let object = whole.then_some(object);
        let stream = ByteStream::new(self, reader, options.compression, start, origin, object)?;
        Ok(self.table.push(stream)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_absurd_are_refused() {
        let long = "x".repeat(MAX_TEXT + 1);
        assert!(check_path(&long).is_err());
        for glob in [long, "{".repeat(MAX_TEXT), "{a,".repeat(MAX_BRACES + 1)] {
            assert!(matcher(Some(&glob)).is_err(), "{glob}");
        }
        assert!(matcher(Some("**/[a-z]*.{csv,{ndjson,json}}{,.gz}")).is_ok());
        let deep = format!("{}x{}", "{".repeat(MAX_BRACES), "}".repeat(MAX_BRACES));
        let _ = matcher(Some(&deep));
    }
}
