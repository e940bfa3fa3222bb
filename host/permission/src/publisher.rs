//! Who publishes components: keys, what they sign, and which of them this user trusts.

mod key;
mod secret_key;
mod signature;
mod statement;
mod trust;

use serde::{Deserialize, Serialize};
use tidegate_model::{Code, Fault};

pub use key::PublicKey;
pub(crate) use key::identifier;
pub use secret_key::SecretKey;
pub(crate) use signature::signature_box;
pub use signature::{Endorsement, Signature};
pub use trust::{Trust, Trusted};

/// Whoever signed a component, as the trust store knows them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publisher {
    /// The name that somebody gave them when they began to trust the key.
    pub name: String,
    /// Sixteen hexadecimal digits, upper-case, as minisign prints them.
    pub key_id: String,
}

fn bad_signature(message: impl Into<String>) -> Fault {
    Fault::user(Code::BadSignature, message)
}
