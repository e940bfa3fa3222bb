use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minisign::SignatureBox;
use tidegate_model::{Code, Fault, Manifest, Result};

use super::bad_signature;
use super::key::{PublicKey, identifier};
use super::secret_key::SecretKey;
use super::statement::Statement;

/// Bytes of an ed25519 signature.
const BYTES: usize = 64;

/// A detached signature in the format of minisign: `FILE.wasm.minisig`.
pub struct Signature {
    inner: SignatureBox,
    text: String,
}

/// What a signature that fits says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endorsement {
    /// The file, and what the component is called and requests.
    FileAndRequest,
    /// The file and no more: it was made by a tool that knows nothing of components.
    FileOnly,
}

/// A signature as it stands in a file, if it is one.
pub(crate) fn signature_box(text: &str) -> Option<SignatureBox> {
    // The library takes the length of what signs the comment for granted.
    let last = text.lines().nth(3).unwrap_or_default();
    let whole = STANDARD.decode(last.trim()).is_ok_and(|bytes| bytes.len() == BYTES);
    whole.then(|| SignatureBox::from_string(text).ok()).flatten()
}

impl Signature {
    /// Signs a component: its bytes, and a statement of name, version, digest and requested capabilities.
    pub fn make(key: &SecretKey, wasm: &[u8], manifest: &Manifest, digest: &str) -> Result<Self> {
        let public = key.public()?;
        let comment = Statement::of(manifest, digest)?.to_comment()?;
        let untrusted = format!("signature of {} {} by {}", manifest.name, manifest.version, public.id());
        let public = public.to_minisign()?;
        minisign::sign(Some(&public), key.inner(), Cursor::new(wasm), Some(&comment), Some(&untrusted))
            .map(|inner| Self { text: inner.to_string(), inner })
            .map_err(|error| Fault::internal(Code::Bug, format!("the component cannot be signed: {error}")))
    }

    pub fn parse(text: &str) -> Result<Self> {
        let none = || {
            bad_signature("this is not a signature")
                .help("give the `.minisig` file that `tidegate plugin sign` or `minisign -S` wrote")
        };
        let inner = signature_box(text).ok_or_else(none)?;
        Ok(Self { inner, text: text.to_owned() })
    }

    /// As it stands in its file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whose it says it is: sixteen hexadecimal digits. Anybody can say so; [`verify`](Self::verify) tells.
    pub fn key_id(&self) -> String {
        identifier(self.inner.keynum())
    }

    /// Refuses a signature that is not this key's, not of these bytes, or that states something else than
    /// what the component says of itself.
    pub fn verify(
        &self,
        key: &PublicKey,
        wasm: &[u8],
        manifest: &Manifest,
        digest: &str,
    ) -> Result<Endorsement> {
        minisign::verify(&key.to_minisign()?, &self.inner, Cursor::new(wasm), true, false, false).map_err(
            |_| {
                bad_signature(format!(
                    "the signature is not one of this file by the key {}: the file or the signature was changed",
                    key.id()
                ))
                .help("get both from the publisher again, and do not run this file")
            },
        )?;
        let comment = self.inner.trusted_comment().unwrap_or_default();
        match Statement::parse(&comment)? {
            None => Ok(Endorsement::FileOnly),
            Some(stated) => {
                stated.must_be(&Statement::of(manifest, digest)?)?;
                Ok(Endorsement::FileAndRequest)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest(version: &str) -> Manifest {
        serde_json::from_value(json!({
            "contract": "0.3", "name": "pages", "version": version, "world": "extractor",
        }))
        .unwrap()
    }

    fn told(signature: &str, key: &PublicKey, wasm: &[u8], version: &str, digest: &str) -> String {
        let verdict = Signature::parse(signature)
            .and_then(|signature| signature.verify(key, wasm, &manifest(version), digest));
        match verdict {
            Ok(endorsement) => format!("{endorsement:?}"),
            Err(fault) => {
                assert_eq!(fault.code, Code::BadSignature);
                fault.message
            }
        }
    }

    /// A component's bytes under a key of stock minisign 0.11, made with it.
    const STOCK_KEY: &str = "RWSeDpbofQkcWAIIjLeRp7N8cG7tEF1mwTdpii307BTCfI9nxG13ejOi";
    const STOCK_SIGNATURE: &str = "\
        untrusted comment: signature from minisign secret key\n\
        RUSeDpbofQkcWOpBs2qduHQ7yeyeMhTuv/H38NQPEX4tQ0FMSk0pzFFD9celPjoIQR7y3FxoVW0zR/MI6D5HiKNdVx7qfEDzlAM=\n\
        trusted comment: timestamp:1795851018\tfile:c.wasm\thashed\n\
        xJ/EmdAFVjH95bcg/er/o8qlSPrQ8mcC2VpOTWaIClqZAQmOHrEQEDNH6FW60S3XanlNzrDDkogHwlJq51NUDw==\n";

    #[test]
    fn what_fits_is_told_from_what_does_not() {
        let (text, public) = SecretKey::generate(None).unwrap();
        let key = SecretKey::open(&text, None).unwrap();
        assert_eq!(key.public().unwrap(), public);
        assert_eq!(format!("{key:?}"), "SecretKey");
        let (_, stranger) = SecretKey::generate(None).unwrap();
        let stock = PublicKey::parse(STOCK_KEY).unwrap();
        let wasm = b"a component\n";
        let good = Signature::make(&key, wasm, &manifest("1.0.0"), "sha256:1").unwrap().text().to_owned();
        assert_eq!(Signature::parse(&good).unwrap().key_id(), public.id());
        let exchanged = good.replace("pages\",\"version\":\"1", "pages\",\"version\":\"2");
        assert_ne!(exchanged, good);
        let changed = "the file or the signature was changed";
        for (signature, key, wasm, version, digest, expected) in [
            (good.as_str(), &public, &wasm[..], "1.0.0", "sha256:1", "FileAndRequest"),
            (STOCK_SIGNATURE, &stock, wasm, "1.0.0", "sha256:1", "FileOnly"),
            (&good, &stranger, wasm, "1.0.0", "sha256:1", changed),
            (&good, &public, b"b component\n", "1.0.0", "sha256:1", changed),
            (&exchanged, &public, wasm, "2.0.0", "sha256:1", changed),
            (STOCK_SIGNATURE, &stock, b"x", "1.0.0", "sha256:1", changed),
            (&good, &public, wasm, "2.0.0", "sha256:1", "states the version 1.0.0"),
            (&good, &public, wasm, "1.0.0", "sha256:2", "states the digest sha256:1"),
            ("", &public, wasm, "1.0.0", "sha256:1", "this is not a signature"),
            ("a\nb\nc\nd\n", &public, wasm, "1.0.0", "sha256:1", "this is not a signature"),
        ] {
            let told = told(signature, key, wasm, version, digest);
            assert!(told.contains(expected), "{expected}: {told}");
        }
    }

    #[test]
    fn no_cut_of_a_signature_is_one() {
        let (text, public) = SecretKey::generate(None).unwrap();
        let key = SecretKey::open(&text, None).unwrap();
        let good = Signature::make(&key, b"x", &manifest("1.0.0"), "sha256:1").unwrap().text().to_owned();
        let whole = good.trim_end().len();
        for cut in 0..whole {
            let told = told(&good[..cut], &public, b"x", "1.0.0", "sha256:1");
            assert!(!told.starts_with("File"), "{cut}: {told}");
        }
    }

    #[test]
    fn a_key_opens_with_its_password_and_no_other() {
        let (text, public) = SecretKey::generate(Some("correct horse")).unwrap();
        assert!(SecretKey::is_encrypted(&text));
        assert_eq!(SecretKey::open(&text, Some("correct horse")).unwrap().public().unwrap(), public);
        let wrong = SecretKey::open(&text, Some("battery")).unwrap_err();
        assert!(wrong.message.contains("password does not open"), "{wrong}");
        for (text, password) in [(text.as_str(), None), ("", None), ("a\nb", Some("x")), ("a\n!", None)] {
            assert!(SecretKey::open(text, password).unwrap_err().message.contains("not a secret key"));
        }
        assert!(SecretKey::generate(Some("")).unwrap_err().message.contains("empty"));
        assert_eq!(PublicKey::parse(&public.to_file()).unwrap(), public);
        assert!(PublicKey::parse(&text).is_err() && PublicKey::parse("").is_err());
    }
}
