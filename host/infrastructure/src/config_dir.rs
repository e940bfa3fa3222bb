//! Where keys are kept.

use std::env;
use std::path::PathBuf;

use tidegate_model::{Code, Fault, Result};

use crate::files;
use crate::owned::refuse_others;

/// The folder for keys of whoever runs this process, and for whom they trust: `$TIDEGATE_CONFIG_DIR`, else
/// `$XDG_CONFIG_HOME/tidegate`, else `~/.config/tidegate`. Created when it is not there.
///
/// It lies outside of every data folder on purpose: whoever gets hold of a data folder, or of a copy of one,
/// must not have the keys with it. For the same reason a folder that others may write to is refused.
pub fn config_dir() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("TIDEGATE_CONFIG_DIR")
        .or_else(|| set("XDG_CONFIG_HOME").map(|config| config.join("tidegate")))
        .or_else(|| set("HOME").map(|home| home.join(".config/tidegate")))
        .ok_or_else(|| {
            Fault::user(Code::Storage, "there is no place for keys: neither HOME nor XDG_CONFIG_HOME is set")
                .help("set TIDEGATE_CONFIG_DIR to a folder of your own")
        })?;
    files::create_private_dir(&folder)?;
    refuse_others(&folder, "what lies there is trusted")?;
    Ok(folder)
}
