//! `file:PATH`

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tidegate_infrastructure::read_private;
use tidegate_model::{Code, Fault, Result};

use super::{Held, Secret, SecretSource};

/// Files that hold one secret each and that only their owner can read.
#[derive(Debug, Clone)]
pub struct SecretFiles {
    base: PathBuf,
}

impl SecretFiles {
    /// Relative paths start at `base`.
    pub fn below(base: impl Into<PathBuf>) -> Self {
        Self { base: base.into() }
    }
}

#[async_trait]
impl SecretSource for SecretFiles {
    async fn read(&self, name: &str) -> Result<Held> {
        // Without a `.` in the middle, which people would have to read over.
        let path: PathBuf = self.base.join(Path::new(name)).components().collect();
        let shown = path.display();
        // A line break at the end belongs to the file, not to the secret.
        let text = read_private(&path, Secret::LONGEST + 2)
            .map_err(|fault| Fault { code: Code::NoSecret, ..fault }.context(format!("file:{name}")))?
            .ok_or_else(|| {
                Fault::user(Code::NoSecret, format!("there is no secret file:{name}: no file {shown}"))
                    .help(format!("write it there for you alone: (umask 077 && cat > {shown})"))
            })?;
        let secret = Secret::from_text(text).map_err(|fault| fault.context(format!("file:{name}")))?;
        Ok(Held { secret, revision: None })
    }
}
