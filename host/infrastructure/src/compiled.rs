//! Where compiled components are kept.

use std::env;
use std::path::{Path, PathBuf};

use tidegate_model::{Code, Fault, Result};

use crate::files;

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
    refuse_others(&folder)?;
    Ok(folder)
}

fn refuse_others(folder: &Path) -> Result<()> {
    let (owner, mode) = files::owner_and_mode(folder)?;
    if owner == rustix::process::geteuid().as_raw() && mode & 0o022 == 0 {
        return Ok(());
    }
    Err(Fault::user(
        Code::Storage,
        format!("others may write to `{}`, and what lies there is run as it is", folder.display()),
    )
    .help(format!("remove it, or: chmod 700 {}", folder.display())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, fine) in [(0o700, true), (0o755, true), (0o775, false), (0o777, false)] {
            #[expect(clippy::disallowed_methods, reason = "a test makes what it tests")]
            std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(refuse_others(folder.path()).is_ok(), fine, "{mode:o}");
        }
    }
}
