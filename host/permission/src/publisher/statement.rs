use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tidegate_model::{CapabilityKind, Code, Fault, Manifest, Result};

use super::bad_signature;

/// Starts a trusted comment that is one of ours; the number is the format's.
const PREFIX: &str = "tidegate:1 ";
const ANY_PREFIX: &str = "tidegate:";
/// Bytes of capabilities beyond which only their digest is stated: minisign takes 8 KiB of comment.
const LONGEST: usize = 2 << 10;

/// What a publisher says of the file that they sign: the trusted comment, readable by any minisign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Statement {
    name: String,
    version: String,
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capabilities: Option<Vec<Asked>>,
    /// Of the same list as JSON, where it is too long to be stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capabilities_sha256: Option<String>,
}

/// A line of the request without its reason: words bind nobody, and the digest covers them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    id: String,
    kind: CapabilityKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    required: bool,
}

impl Statement {
    pub(crate) fn of(manifest: &Manifest, digest: &str) -> Result<Self> {
        let mut asked: Vec<_> = manifest
            .capabilities
            .iter()
            .map(|capability| Asked {
                id: capability.id.clone(),
                kind: capability.kind,
                target: capability.target.clone(),
                place: capability.place.clone(),
                required: capability.required,
            })
            .collect();
        asked.sort_by(|a, b| a.id.cmp(&b.id));
        let canonical = ascii_json(&asked)?;
        let long = canonical.len() > LONGEST;
        Ok(Self {
            name: manifest.name.clone(),
            version: manifest.version.to_string(),
            digest: digest.to_owned(),
            capabilities_sha256: long.then(|| format!("sha256:{:x}", Sha256::digest(&canonical))),
            capabilities: (!long).then_some(asked),
        })
    }

    pub(crate) fn to_comment(&self) -> Result<String> {
        Ok(format!("{PREFIX}{}", ascii_json(self)?))
    }

    /// The statement in a trusted comment; none when the comment is somebody else's.
    pub(crate) fn parse(comment: &str) -> Result<Option<Self>> {
        match comment.strip_prefix(PREFIX) {
            Some(json) => serde_json::from_str(json).map(Some).map_err(|error| {
                bad_signature(format!("what the signature states cannot be understood: {error}"))
            }),
            None if comment.starts_with(ANY_PREFIX) => {
                Err(bad_signature("what the signature states is in a format that this version does not know")
                    .help("verify it with a newer version"))
            }
            None => Ok(None),
        }
    }

    /// Refuses a statement that is not the one about this file, naming the first thing that differs.
    pub(crate) fn must_be(&self, actual: &Self) -> Result<()> {
        let differs = |what: &str, stated: &str, found: &str| {
            Err(bad_signature(format!("the signature states {what} {stated}, and the file's is {found}"))
                .help("ask the publisher for the signature of this very file"))
        };
        if self.name != actual.name {
            return differs("the name", &self.name, &actual.name);
        }
        if self.version != actual.version {
            return differs("the version", &self.version, &actual.version);
        }
        if self.digest != actual.digest {
            return differs("the digest", &self.digest, &actual.digest);
        }
        if self != actual {
            return Err(bad_signature("the signature states other capabilities than the file requests")
                .help("`tidegate plugin inspect FILE.wasm` shows what it requests; ask the publisher"));
        }
        Ok(())
    }
}

/// JSON in the order of the fields and in ASCII: one text for one value, which every tool shows as it is.
fn ascii_json(value: &impl Serialize) -> Result<String> {
    let json = serde_json::to_string(value).map_err(|error| {
        Fault::internal(Code::Bug, format!("a statement that cannot be written: {error}"))
    })?;
    let mut ascii = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() && !character.is_ascii_control() {
            ascii.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    Ok(ascii)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest(capabilities: &serde_json::Value) -> Manifest {
        serde_json::from_value(json!({
            "contract": "0.3", "name": "pages", "version": "1.2.3", "world": "extractor",
            "capabilities": capabilities,
        }))
        .unwrap()
    }

    fn asks(id: &str, target: &str) -> serde_json::Value {
        json!({ "id": id, "kind": "http", "target": target, "required": true, "reason": "reads" })
    }

    #[test]
    fn it_is_one_line_that_reads_back_as_itself() {
        let manifest = manifest(&json!([asks("b", "https://b/ü😀\u{7f}"), asks("a", "https://a")]));
        let statement = Statement::of(&manifest, "sha256:12").unwrap();
        let comment = statement.to_comment().unwrap();
        assert_eq!(
            comment,
            r#"tidegate:1 {"name":"pages","version":"1.2.3","digest":"sha256:12","capabilities":[{"id":"a","kind":"http","target":"https://a","required":true},{"id":"b","kind":"http","target":"https://b/\u00fc\ud83d\ude00\u007f","required":true}]}"#
        );
        assert_eq!(Statement::parse(&comment).unwrap(), Some(statement));
        assert_eq!(Statement::parse("timestamp:1 file:pages.wasm hashed").unwrap(), None);
        for bad in ["tidegate:2 {}", "tidegate:1 {", r#"tidegate:1 {"name":"x"}"#] {
            assert_eq!(Statement::parse(bad).unwrap_err().code, Code::BadSignature, "{bad}");
        }
    }

    #[test]
    fn a_long_request_is_stated_by_its_digest() {
        let many: Vec<_> = (0..100).map(|number| asks(&number.to_string(), "https://example.org")).collect();
        let one = Statement::of(&manifest(&json!(many)), "sha256:12").unwrap();
        assert!(one.to_comment().unwrap().len() < 400);
        let other = Statement::of(&manifest(&json!(many[1..])), "sha256:12").unwrap();
        assert!(one.must_be(&other).unwrap_err().message.contains("other capabilities"));
    }

    #[test]
    fn what_differs_is_named() {
        let stated = Statement::of(&manifest(&json!([asks("a", "https://a")])), "sha256:12").unwrap();
        let other = |change: fn(&mut Statement)| {
            let mut actual = stated.clone();
            change(&mut actual);
            stated.must_be(&actual).map_or_else(|fault| fault.message, |()| "fine".to_owned())
        };
        for (change, expected) in [
            ((|_| ()) as fn(&mut Statement), "fine"),
            (|other| other.name = "x".into(), "the signature states the name pages, and the file's is x"),
            (
                |other| other.version = "2.0.0".into(),
                "the signature states the version 1.2.3, and the file's is 2.0.0",
            ),
            (
                |other| other.digest = "sha256:0".into(),
                "the signature states the digest sha256:12, and the file's is sha256:0",
            ),
            (
                |other| other.capabilities = Some(Vec::new()),
                "the signature states other capabilities than the file requests",
            ),
        ] {
            assert_eq!(other(change), expected);
        }
    }
}
