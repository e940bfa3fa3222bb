//! The platform's own encrypted store, where a data folder has it.

use std::path::Path;
use std::sync::Arc;

use tidegate_infrastructure::{DataDir, SledStore, Store};
use tidegate_model::Result;
use tidegate_permission::{EncryptedStore, KeyFile};

use crate::project::{absolute, data_root};

/// The store of a data folder. It is opened, and its key looked for, when something is asked of it and no
/// sooner.
pub fn store(data_dir: &DataDir) -> Result<EncryptedStore> {
    let option = option(data_dir)?;
    let data_dir = data_dir.clone();
    let open = move || -> Result<_> {
        let store: Arc<dyn Store> = Arc::new(SledStore::open(&data_dir)?);
        Ok((store, KeyFile::of_this_user()?))
    };
    Ok(EncryptedStore::new(Box::new(open), option))
}

/// Whether there is one, so that to look does not bring one into being.
pub fn is_there(data_dir: &DataDir) -> bool {
    SledStore::is_there(data_dir)
}

/// What somebody in the working directory must type beside `tidegate secret VERB` to mean this data folder.
fn option(data_dir: &DataDir) -> Result<String> {
    if absolute(&data_root(Path::new("."), None))? == data_dir.root() {
        return Ok(String::new());
    }
    Ok(format!(" --data-dir {}", data_dir.root().display()))
}
