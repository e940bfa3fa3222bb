//! Folders that only their owner writes to.

use std::path::Path;

use tidegate_model::{Code, Fault, Result};

use crate::files;

/// Refuses a folder that somebody else owns or may write to; `why` that matters.
pub(crate) fn refuse_others(folder: &Path, why: &str) -> Result<()> {
    let (owner, mode) = files::owner_and_mode(folder)?;
    if owner == rustix::process::geteuid().as_raw() && mode & 0o022 == 0 {
        return Ok(());
    }
    Err(Fault::user(Code::Storage, format!("others may write to `{}`, and {why}", folder.display()))
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
            assert_eq!(refuse_others(folder.path(), "it matters").is_ok(), fine, "{mode:o}");
        }
    }
}
