use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tidegate_model::{Capability, World};

use crate::publisher::{PublicKey, Publisher, Trust, Trusted};

/// An installed component as its record beside it tells: what it is, how it came, and who vouched for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installed {
    pub name: String,
    pub version: semver::Version,
    /// `sha256:` and 64 hexadecimal digits; also the file's name.
    pub digest: String,
    /// In bytes.
    pub size: u64,
    /// The contract's version that it was built for, such as `0.3.0`.
    pub contract: String,
    pub world: World,
    pub capabilities: Vec<Capability>,
    pub state: State,
    pub installed_by: String,
    pub installed_at: DateTime<Utc>,
    /// The file it was installed from, as whoever did it named it.
    pub installed_from: String,
    /// The same, absolute.
    pub origin: String,
    /// The text of the signature that came with it, whoever made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// Who signed it, where that was a trusted publisher when it was installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<Signer>,
    /// The digest of the version that was in use before, when this one asks for more than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks_more_than: Option<String>,
}

/// Whether pipelines that name a component can get this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum State {
    Current,
    /// Another file took the place of this version, or it was rolled back.
    Superseded {
        /// The digest that took its place; none when it was rolled back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        at: DateTime<Utc>,
    },
}

/// A publisher, with the very key that fitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signer {
    pub publisher: Publisher,
    pub key: PublicKey,
}

impl Installed {
    pub fn is_current(&self) -> bool {
        self.state == State::Current
    }

    /// Whoever published it: the signer, while their key is trusted.
    pub fn publisher(&self, trust: &Trust) -> Option<Publisher> {
        let signer = self.signed_by.as_ref()?;
        trust.by_key(&signer.key).map(Trusted::publisher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principal::Principal;
    use crate::publisher::SecretKey;

    #[test]
    fn a_record_reads_back_as_itself_and_its_publisher_lasts_as_long_as_the_trust() {
        let folder = tempfile::tempdir().unwrap();
        let mut trust = Trust::load(folder.path()).unwrap();
        let key = SecretKey::generate(None).unwrap().1;
        let at = DateTime::UNIX_EPOCH;
        let publisher = trust.add("Acme", key.clone(), &Principal::operator(), at).unwrap().publisher();
        let record = Installed {
            name: "pages".into(),
            version: semver::Version::new(1, 2, 3),
            digest: format!("sha256:{}", "ab".repeat(32)),
            size: 7,
            contract: "0.3.0".into(),
            world: World::Extractor,
            capabilities: Vec::new(),
            state: State::Superseded { by: None, at },
            installed_by: "user:alice".into(),
            installed_at: at,
            installed_from: "pages.wasm".into(),
            origin: "/srv/pages.wasm".into(),
            signature: None,
            signed_by: Some(Signer { publisher: publisher.clone(), key: key.clone() }),
            asks_more_than: None,
        };
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Installed>(&text).unwrap(), record);
        assert!(!record.is_current());
        assert_eq!(record.publisher(&trust), Some(publisher));
        trust.remove(&key).unwrap();
        assert_eq!(record.publisher(&trust), None);
    }
}
