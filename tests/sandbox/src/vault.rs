//! Secrets for components that are tried.

use std::collections::BTreeMap;

use async_trait::async_trait;
use tidegate_model::{Code, Fault, Result};
use tidegate_permission::{Secret, Vault};

/// Secrets by the slot that they are for.
#[derive(Debug, Default)]
pub struct Kept(BTreeMap<String, Secret>);

impl Kept {
    #[must_use]
    pub fn with(mut self, slot: &str, value: impl Into<Vec<u8>>) -> Self {
        self.0.insert(slot.to_owned(), Secret::new(value.into()));
        self
    }
}

#[async_trait]
impl Vault for Kept {
    async fn secret(&self, slot: &str) -> Result<Secret> {
        let kept = self.0.get(slot).cloned();
        kept.ok_or_else(|| Fault::user(Code::NoSecret, format!("there is no secret for `{slot}`")))
    }

    async fn rotate(&self, slot: &str, _: Secret) -> Result<()> {
        Err(Fault::user(Code::NoSecret, format!("`{slot}` does not change")))
    }
}
