//! The capability request: what a connector says of itself and asks for, as a custom section that can be read
//! without running it. Built while the connector is compiled, by
//! [`export_extractor!`](crate::export_extractor).

/// The contract this SDK is written for: major and minor of the WIT package.
const CONTRACT: &str = "0.3";
/// What the host reads of the section.
const LARGEST: usize = 64 * 1024;

pub struct Manifest {
    /// Told in lower case, and with `-` for the `_` that a package's name may have.
    pub name: &'static str,
    pub version: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    pub publisher: &'static str,
    pub license: &'static str,
    pub capabilities: &'static [Capability],
}

pub struct Capability {
    pub id: &'static str,
    pub kind: &'static str,
    pub target: Option<&'static str>,
    /// Of a credential: how the host uses the secret.
    pub place: Option<&'static str>,
    pub required: bool,
    pub reason: &'static str,
}

impl Manifest {
    /// Bytes of the document.
    pub const fn size(&self) -> usize {
        assert!(
            is_name(self.name.as_bytes()),
            "a connector's name is 1 to 63 letters, digits and `-`, starting with a letter: give it one with `name:`"
        );
        let mut i = 0;
        while i < self.capabilities.len() {
            let capability = &self.capabilities[i];
            assert!(
                matches!(capability.kind.as_bytes(), b"credential") == capability.place.is_some(),
                "a credential, and nothing else, has a `place`, such as `bearer`"
            );
            i += 1;
        }
        let size = self.write(&mut []);
        assert!(size <= LARGEST, "the capability request is larger than 64 KiB");
        size
    }

    /// The document, when `N` is its size.
    pub const fn json<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.write(&mut bytes);
        bytes
    }

    /// Writes as much as there is room for, and tells how much that would be in all.
    const fn write(&self, into: &mut [u8]) -> usize {
        let mut out = Writer { into, at: 0 };
        out.raw("{\"contract\":");
        out.text(CONTRACT);
        out.raw(",\"world\":\"extractor\",\"name\":\"");
        out.name(self.name.as_bytes());
        out.raw("\",\"version\":");
        out.text(self.version);
        out.raw(",\"title\":");
        out.text(self.title);
        out.raw(",\"description\":");
        out.text(self.description);
        out.raw(",\"publisher\":");
        out.text(self.publisher);
        out.raw(",\"license\":");
        out.text(self.license);
        out.raw(",\"capabilities\":[");
        let mut i = 0;
        while i < self.capabilities.len() {
            out.raw(if i == 0 { "" } else { "," });
            self.capabilities[i].write(&mut out);
            i += 1;
        }
        out.raw("]}");
        out.at
    }
}

impl Capability {
    /// A slot that the pipeline file binds to a secret.
    pub(crate) fn is_credential(&self) -> bool {
        self.kind == "credential"
    }

    const fn write(&self, out: &mut Writer<'_>) {
        out.raw("{\"id\":");
        out.text(self.id);
        out.raw(",\"kind\":");
        out.text(self.kind);
        if let Some(target) = self.target {
            out.raw(",\"target\":");
            out.text(target);
        }
        if let Some(place) = self.place {
            out.raw(",\"place\":");
            out.text(place);
        }
        out.raw(if self.required { ",\"required\":true" } else { ",\"required\":false" });
        out.raw(",\"reason\":");
        out.text(self.reason);
        out.raw("}");
    }
}

struct Writer<'a> {
    into: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    const fn byte(&mut self, byte: u8) {
        if self.at < self.into.len() {
            self.into[self.at] = byte;
        }
        self.at += 1;
    }

    const fn raw(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            self.byte(bytes[i]);
            i += 1;
        }
    }

    const fn name(&mut self, name: &[u8]) {
        let mut i = 0;
        while i < name.len() {
            self.byte(if name[i] == b'_' { b'-' } else { name[i].to_ascii_lowercase() });
            i += 1;
        }
    }

    /// A JSON string.
    const fn text(&mut self, text: &str) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let bytes = text.as_bytes();
        self.byte(b'"');
        let mut i = 0;
        while i < bytes.len() {
            match bytes[i] {
                byte @ (b'"' | b'\\') => {
                    self.byte(b'\\');
                    self.byte(byte);
                }
                byte @ 0..0x20 => {
                    self.raw("\\u00");
                    self.byte(HEX[(byte >> 4) as usize]);
                    self.byte(HEX[(byte & 15) as usize]);
                }
                byte => self.byte(byte),
            }
            i += 1;
        }
        self.byte(b'"');
    }
}

const fn is_name(name: &[u8]) -> bool {
    let mut i = 0;
    while i < name.len() {
        let joins = name[i].is_ascii_digit() || matches!(name[i], b'-' | b'_');
        if !(name[i].is_ascii_alphabetic() || i > 0 && joins) {
            return false;
        }
        i += 1;
    }
    matches!(name.len(), 1..=63)
}

/// The first of what was given and what stands for it otherwise.
pub const fn first(given: &[&'static str]) -> &'static str {
    given[0]
}

pub const fn optional(given: &[&'static str]) -> Option<&'static str> {
    if given.is_empty() { None } else { Some(given[0]) }
}

/// A capability is required unless it says that it is not.
pub const fn required(given: &[bool]) -> bool {
    given.is_empty() || given[0]
}

/// A kind the contract knows; anything else does not compile.
pub const fn kind(given: &'static str) -> &'static str {
    match given.as_bytes() {
        b"files" | b"http" | b"decode" | b"tcp" | b"credential" => given,
        _ => panic!("a capability's kind is one of: files, http, decode, tcp, credential"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_json_whatever_the_words() {
        const MANIFEST: Manifest = Manifest {
            name: "pages",
            version: "1.2.3",
            title: "Pages \"of\" an API",
            description: "back\\slash\nand é",
            publisher: "",
            license: "Apache-2.0",
            capabilities: &[
                Capability {
                    id: "api",
                    kind: "http",
                    target: Some("{config.url}"),
                    place: None,
                    required: true,
                    reason: "asks",
                },
                Capability {
                    id: "fast",
                    kind: "decode",
                    target: None,
                    place: None,
                    required: false,
                    reason: "decodes",
                },
                Capability {
                    id: "token",
                    kind: "credential",
                    target: Some("{config.url}"),
                    place: Some("basic {config.user}"),
                    required: true,
                    reason: "is known there",
                },
            ],
        };
        const BYTES: [u8; MANIFEST.size()] = MANIFEST.json();
        let json: serde_json::Value = serde_json::from_slice(&BYTES).unwrap();
        assert_eq!(json["title"], "Pages \"of\" an API");
        assert_eq!(json["description"], "back\\slash\nand é");
        assert_eq!(json["capabilities"][0]["target"], "{config.url}");
        assert_eq!(json["capabilities"][1].get("target"), None);
        assert_eq!(json["capabilities"][1]["required"], false);
        assert_eq!(json["capabilities"][1].get("place"), None);
        assert_eq!(json["capabilities"][2]["place"], "basic {config.user}");
    }

    #[test]
    fn a_package_s_name_becomes_a_connector_s() {
        for (given, told) in [("pages", "pages"), ("My_pages-2", "my-pages-2")] {
            let mut name = [0; 10];
            let mut out = Writer { into: &mut name, at: 0 };
            out.name(given.as_bytes());
            let length = out.at;
            assert_eq!(&name[..length], told.as_bytes());
            assert!(is_name(given.as_bytes()));
        }
        for bad in ["", "2pages", "_pages", "my pages", "é", &"x".repeat(64)] {
            assert!(!is_name(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn the_contract_s_version_is_that_of_the_wit_package() {
        let worlds = include_str!("../../../wit/worlds.wit");
        assert!(worlds.contains(&format!("package tidegate:connector@{CONTRACT}.")));
    }
}
