//! `hmac-sha256`: a signature of our own kind, for servers that check one.
//!
//! The header carries HMAC-SHA256 (RFC 2104), in lower-case hexadecimal, under the secret as key, of these four lines
//! joined by line feeds, without one at the end:
//!
//! ```text
//! the method, such as GET
//! path and query as they are in the request line, such as /v1/items?page=2
//! seconds since 1970-01-01T00:00:00Z, in decimal
//! SHA-256 of the body, in lower-case hexadecimal
//! ```
//!
//! A second header, named like the first with `-timestamp` after it, carries the third line.

use ::hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use tidegate_infrastructure::clock;
use tidegate_model::{Code, Fault, Result};
use tidegate_permission::Secret;
use url::Position;

use super::dress::set;
use crate::http::Outgoing;

/// The header for the time, beside the one for the signature.
pub(super) fn of_time(header: &str) -> String {
    format!("{header}-timestamp")
}

pub(super) fn sign(request: &mut Outgoing, slot: &str, header: &str, key: &Secret) -> Result<()> {
    let time = clock::now().timestamp().to_string();
    let signature = signature(request, &time, key)?;
    set(request, slot, &of_time(header), &Secret::new(time.into_bytes()))?;
    set(request, slot, header, &Secret::new(signature.into_bytes()))
}

fn signature(request: &Outgoing, time: &str, key: &Secret) -> Result<String> {
    let target = &request.url[Position::BeforePath..Position::AfterQuery];
    let lines = format!("{}\n{target}\n{time}\n{:x}", request.method, Sha256::digest(&request.body));
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose())
        .map_err(|error| Fault::internal(Code::Bug, format!("HMAC takes keys of any length: {error}")))?;
    mac.update(lines.as_bytes());
    Ok(format!("{:x}", mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Computed with another implementation: `printf '...' | openssl dgst -sha256 -hmac key`.
    #[test]
    fn a_signature_that_others_come_to_too() {
        let url = "https://x.org/v1/items?page=2";
        let request = Outgoing::new("POST", url, &[], &b"{}"[..], Duration::from_secs(1)).unwrap();
        let key = Secret::new(b"key-of-the-test".to_vec());
        assert_eq!(
            signature(&request, "1700000000", &key).unwrap(),
            "eeeba048216125ea7387016f5dc8f7889b39bc97292e1f74fa59c6353c410156"
        );
    }
}
