//! Files below granted locations.

use crate::bindings::tidegate::connector::files as wit;
use crate::{ByteStream, Result};

pub use wit::{Compression, Entry, OpenOptions};

/// What [`Context::files`](crate::Context::files) gives. Needs a granted capability of kind `files` that
/// covers the location.
#[derive(Debug, Clone, Copy)]
pub struct Files(());

impl Files {
    pub(crate) fn new() -> Self {
        Self(())
    }

    /// The files below a location whose path matches the glob, sorted by path; all of them without one. A
    /// location that is itself a file gives that file, with an empty path.
    pub fn list(&self, location: &str, glob: Option<&str>) -> Result<Vec<Entry>> {
        Ok(wit::list(location, glob)?)
    }

    /// The whole file as it is stored.
    pub fn open(&self, location: &str, path: &str) -> Result<ByteStream> {
        self.open_with(location, path, OpenOptions { range: None, compression: Compression::None })
    }

    pub fn open_with(&self, location: &str, path: &str, options: OpenOptions) -> Result<ByteStream> {
        Ok(ByteStream::new(wit::open(location, path, options)?))
    }
}
