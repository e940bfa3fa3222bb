//! A vault that remembers what was done with it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use tidegate_model::{Code, Fault, Result};
use tidegate_permission::{Secret, Vault};

/// Holds secrets in memory, and writes down each time that one is taken or exchanged.
#[derive(Debug, Default)]
pub struct Safe {
    secrets: Mutex<BTreeMap<String, String>>,
    diary: Mutex<Vec<String>>,
}

impl Safe {
    pub fn with<const N: usize>(secrets: [(&str, &str); N]) -> Self {
        let secrets = secrets.map(|(slot, value)| (slot.to_owned(), value.to_owned()));
        Self { secrets: Mutex::new(secrets.into()), diary: Mutex::default() }
    }

    /// What was done so far, in order.
    pub fn diary(&self) -> Vec<String> {
        self.diary.lock().unwrap().clone()
    }

    /// Somebody else writes into the same diary, so that the order of both can be seen.
    pub fn note(&self, what: impl Into<String>) {
        self.diary.lock().unwrap().push(what.into());
    }
}

#[async_trait]
impl Vault for Safe {
    async fn secret(&self, slot: &str) -> Result<Secret> {
        self.note(format!("taken {slot}"));
        let found = self.secrets.lock().unwrap().get(slot).cloned();
        found.map(|value| Secret::new(value.into_bytes())).ok_or_else(|| {
            Fault::user(Code::NoSecret, format!("there is no secret for `{slot}`")).help("put one there")
        })
    }

    async fn rotate(&self, slot: &str, value: Secret) -> Result<()> {
        let value = String::from_utf8(value.expose().to_vec()).unwrap();
        self.note(format!("rotated {slot} to {value}"));
        self.secrets.lock().unwrap().insert(slot.to_owned(), value);
        Ok(())
    }
}
