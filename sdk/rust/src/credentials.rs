//! Secrets that the host uses in the connector's name.

use crate::bindings::tidegate::connector::credentials as wit;

/// What [`Context::credentials`](crate::Context::credentials) gives: whether a slot has a secret. There is no way to
/// see one, and no need to ask before a request: the host adds what is bound to the address that is asked. A slot is a
/// capability of kind `credential`; its `id` is the slot's name.
#[derive(Debug, Clone, Copy)]
pub struct Credentials(());

impl Credentials {
    pub(crate) fn new() -> Self {
        Self(())
    }

    /// All slots that have a secret and may use it.
    pub fn all_bound(&self) -> Vec<String> {
        wit::bound()
    }

    /// Whether this slot has a secret and may use it.
    pub fn bound(&self, slot: &str) -> bool {
        wit::bound().iter().any(|bound| bound == slot)
    }
}
