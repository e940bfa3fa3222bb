//! Who vouches for a component, as far as this user trusts them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tidegate_infrastructure::{config_dir, files};
use tidegate_model::{Code, Fault, Result};
use tidegate_permission::{Endorsement, Publisher, Signature, Signer, Trust};
use tidegate_sandbox::Inspection;

/// Bytes of a signature's file.
const LONGEST_SIGNATURE: u64 = 64 << 10;

/// What a signature, or none, says about a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vouched {
    Unsigned,
    /// A trusted publisher signed it.
    By {
        signer: Signer,
        endorsement: Endorsement,
    },
    /// Somebody signed it, or says so: whose key this is, nobody here knows.
    Stranger {
        key_id: String,
    },
}

/// Whom this user trusts.
pub fn trust() -> Result<Trust> {
    Trust::load(config_dir()?.join("publishers"))
}

/// A signature's text.
pub fn signature(path: &Path) -> Result<String> {
    let bytes = files::read_at_most(path, LONGEST_SIGNATURE).map_err(|fault| {
        Fault::user(Code::BadUsage, fault.message).help("check the path after --signature")
    })?;
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
        Fault::user(Code::BadSignature, "this is not a signature: it is too large, or no text")
            .help("give the `.minisig` file that `tidegate plugin sign` or `minisign -S` wrote")
            .at(path.display().to_string(), None, None)
    })
}

/// That of the file `NAME.minisig` beside a component, if there is one.
pub fn signature_beside(component: &Path) -> Result<Option<String>> {
    let path = PathBuf::from(format!("{}.minisig", component.display()));
    if path.exists() { signature(&path).map(Some) } else { Ok(None) }
}

impl Vouched {
    /// A fault for a signature that is no signature, or that a trusted key says it made and that does not fit.
    pub fn of(signature: Option<&str>, wasm: &[u8], inspection: &Inspection, trust: &Trust) -> Result<Self> {
        let Some(text) = signature else { return Ok(Self::Unsigned) };
        let signature = Signature::parse(text)?;
        let key_id = signature.key_id();
        let Some(trusted) = trust.by_id(&key_id) else { return Ok(Self::Stranger { key_id }) };
        let endorsement = signature.verify(&trusted.key, wasm, &inspection.manifest, &inspection.digest)?;
        let signer = Signer { publisher: trusted.publisher(), key: trusted.key.clone() };
        Ok(Self::By { signer, endorsement })
    }

    pub fn signer(&self) -> Option<&Signer> {
        match self {
            Self::By { signer, .. } => Some(signer),
            Self::Unsigned | Self::Stranger { .. } => None,
        }
    }

    pub fn in_words(&self) -> String {
        match self {
            Self::Unsigned => "not signed".to_owned(),
            Self::By { signer, endorsement } => {
                let Publisher { name, key_id } = &signer.publisher;
                let stated = match endorsement {
                    Endorsement::FileAndRequest => "",
                    Endorsement::FileOnly => "; the signature does not state capabilities",
                };
                format!("signed by {name}, key {key_id}{stated}")
            }
            Self::Stranger { key_id } => {
                format!("not counted as signed: the key {key_id} is not one that you trust")
            }
        }
    }

    pub fn document(&self) -> Value {
        match self {
            Self::Unsigned => json!({ "signed": false }),
            Self::By { signer, endorsement } => json!({
                "signed": true,
                "publisher": signer.publisher,
                "states_capabilities": *endorsement == Endorsement::FileAndRequest,
            }),
            Self::Stranger { key_id } => json!({ "signed": false, "untrusted_key": key_id }),
        }
    }
}
