//! `env:NAME`

use std::env;
use std::os::unix::ffi::OsStringExt;

use async_trait::async_trait;
use tidegate_model::{Code, Fault, Result};

use super::{Held, Secret, SecretSource};

/// The environment of this process. Workers have another one, without what is read here.
#[derive(Debug, Clone, Copy)]
pub struct Environment;

#[async_trait]
impl SecretSource for Environment {
    async fn read(&self, name: &str) -> Result<Held> {
        let value = env::var_os(name).ok_or_else(|| {
            Fault::user(Code::NoSecret, format!("there is no secret env:{name}: the variable is not set"))
                .help(format!("set it before the command, such as: read -rs {name} && export {name}"))
        })?;
        let secret = Secret::new(value.into_vec());
        secret.check().map_err(|fault| {
            fault.context(format!("env:{name}")).help(format!("give the variable {name} another value"))
        })?;
        Ok(Held { secret, revision: None })
    }
}
