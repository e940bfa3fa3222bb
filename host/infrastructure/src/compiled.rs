//! Where compiled components are kept.

use std::env;
use std::path::PathBuf;

use tidegate_model::{Code, Fault, Result};

use crate::files;
use crate::owned::refuse_others;

/// The folder for compiled components of whoever runs this process: below `TIDEGATE_CACHE_DIR`, else
/// `XDG_CACHE_HOME`, else `~/.cache`.
///
/// It lies outside of every project on purpose. What is in it is run as native code, and a project's folder
/// may come from a repository or an archive that brings its own. For the same reason a folder that somebody
/// else owns or may write to is refused.
pub fn compiled_dir() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("TIDEGATE_CACHE_DIR")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("tidegate")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/tidegate")))
        .ok_or_else(|| {
            Fault::user(
                Code::Storage,
                "there is no place for compiled components: neither HOME nor XDG_CACHE_HOME is set",
            )
            .help("set TIDEGATE_CACHE_DIR to a folder of your own")
        })?;
    let folder = base.join("compiled");
    files::create_private_dir(&folder)?;
    refuse_others(&folder, "what lies there is run as it is")?;
    Ok(folder)
}
