//! What to look for so that a secret is found in whatever form it comes back, and a fast way to look for all of it at
//! once.

use std::collections::BTreeSet;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use tidegate_permission::Secret;

/// Shorter values are not looked for: they would be found in texts that have nothing to do with them.
pub(crate) const SHORTEST: usize = 8;
/// Bytes of a text that decide how far the search can leap.
const LONGEST_WINDOW: usize = 64;

/// The forms of some secrets, to be searched for together. They are overwritten when this is dropped.
pub(crate) struct Needles {
    texts: Vec<Secret>,
    /// The search looks at so many bytes at once: all texts are at least as long.
    window: usize,
    /// How far it may leap after two bytes at the window's end.
    leaps: Box<[u8; 1 << 16]>,
}

impl Needles {
    /// All forms of these values, but of those that are too short.
    pub(crate) fn new<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let forms: BTreeSet<Vec<u8>> = values
            .into_iter()
            .filter(|value| value.len() >= SHORTEST)
            .flat_map(forms)
            .filter(|form| form.len() >= SHORTEST)
            .collect();
        let texts: Vec<Secret> = forms.into_iter().map(Secret::new).collect();
        let shortest = texts.iter().map(|text| text.expose().len()).min().unwrap_or(SHORTEST);
        let window = shortest.min(LONGEST_WINDOW);
        let mut leaps = Box::new([leap(window - 1); 1 << 16]);
        for text in &texts {
            for (at, pair) in text.expose()[..window].windows(2).enumerate() {
                let known = &mut leaps[pair_of(pair[0], pair[1])];
                *known = (*known).min(leap(window - 2 - at));
            }
        }
        Self { texts, window, leaps }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Every place of every text, also of those that overlap.
    ///
    /// Wu and Manber's search (1994) with blocks of two bytes: most windows are leapt over by looking at their last
    /// two bytes.
    pub(crate) fn find(&self, bytes: &[u8], found: &mut Vec<Range<usize>>) {
        if self.is_empty() {
            return;
        }
        let mut end = self.window;
        while end <= bytes.len() {
            let leap = self.leaps[pair_of(bytes[end - 2], bytes[end - 1])];
            if leap > 0 {
                end += usize::from(leap);
                continue;
            }
            let start = end - self.window;
            let rest = &bytes[start..];
            let here = self.texts.iter().map(Secret::expose).filter(|text| rest.starts_with(text));
            if let Some(length) = here.map(<[u8]>::len).max() {
                found.push(start..start + length);
            }
            end += 1;
        }
    }

    /// Bytes of the longest text.
    pub(crate) fn longest(&self) -> usize {
        self.texts.iter().map(|text| text.expose().len()).max().unwrap_or_default()
    }

    /// Whether one of them is in a text that somebody wrote in lower case.
    pub(crate) fn are_in_lower_case(&self, text: &str) -> bool {
        let text = text.as_bytes();
        self.texts.iter().any(|needle| {
            let needle = needle.expose();
            text.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle))
        })
    }
}

/// The same texts are looked for.
impl PartialEq for Needles {
    fn eq(&self, other: &Self) -> bool {
        self.texts.len() == other.texts.len()
            && self.texts.iter().zip(&other.texts).all(|(one, another)| one.expose() == another.expose())
    }
}

fn leap(bytes: usize) -> u8 {
    // A window is shorter than 256 bytes.
    u8::try_from(bytes).unwrap_or(u8::MAX)
}

fn pair_of(first: u8, second: u8) -> usize {
    usize::from(u16::from_le_bytes([first, second]))
}

/// As it is, and as servers like to write it: hexadecimal, percent-encoded, escaped in JSON, in base64 of both
/// alphabets, alone and in the middle of something longer.
fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![
        value.to_vec(),
        hex(value, b"0123456789abcdef"),
        hex(value, b"0123456789ABCDEF"),
        percent_encoded(value).into_bytes(),
        percent_encoded(value).replace("%20", "+").into_bytes(),
        lower_codes(&percent_encoded(value)).into_bytes(),
    ];
    if let Ok(text) = std::str::from_utf8(value) {
        let quoted = serde_json::Value::from(text).to_string();
        forms.push(quoted.as_bytes()[1..quoted.len() - 1].to_vec());
    }
    for alphabet in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        forms.push(alphabet.encode(value).into_bytes());
        forms.extend((0..3).map(|before| inner_base64(value, before, &alphabet)));
    }
    forms
}

/// What base64 of something longer has in it for certain, when `before` bytes (of three) come before the value.
fn inner_base64(value: &[u8], before: usize, alphabet: &impl Engine) -> Vec<u8> {
    let longer = [&[0; 2][..before], value].concat();
    let encoded = alphabet.encode(&longer).into_bytes();
    // A character stands for six bits. Those that share bits with a neighbour depend on it.
    let first = (before * 8).div_ceil(6);
    let last = longer.len() * 8 / 6;
    encoded[first..last].to_vec()
}

fn hex(value: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    value.iter().flat_map(|byte| [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]).collect()
}

/// Percent-encoded but for the characters that never need it (RFC 3986, 2.3).
pub(crate) fn percent_encoded(value: &[u8]) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(*byte));
            }
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// The same with lower-case digits in its codes.
fn lower_codes(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut text, part| {
        let (code, rest) = part.split_at(2);
        text.push('%');
        text.push_str(&code.to_ascii_lowercase());
        text.push_str(rest);
        text
    })
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::*;

    const SECRET: &[u8] = b"tide/gate \"sec\x7fret\"=42?~";

    fn found(text: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        Needles::new([SECRET]).find(text, &mut found);
        found
    }

    #[test]
    fn a_secret_is_found_in_every_form() {
        let text = std::str::from_utf8(SECRET).unwrap();
        for (form, written) in [
            ("raw", text.to_owned()),
            ("JSON", serde_json::json!({ "echo": text }).to_string()),
            ("base64", STANDARD.encode(SECRET)),
            ("base64 without padding", STANDARD_NO_PAD.encode(SECRET)),
            ("base64 of URLs", URL_SAFE.encode(SECRET)),
            ("base64, one byte before", STANDARD.encode([b"x", SECRET, b"tail"].concat())),
            ("base64, two bytes before", URL_SAFE.encode([b"xy", SECRET, b"t"].concat())),
            ("base64, a user before", STANDARD.encode([b"Bearer ", SECRET].concat())),
            ("percent", percent_encoded(SECRET)),
            ("percent, lower", lower_codes(&percent_encoded(SECRET))),
            ("a form", percent_encoded(SECRET).replace("%20", "+")),
            ("hex", hex(SECRET, b"0123456789abcdef").iter().map(|b| char::from(*b)).collect()),
            ("HEX", hex(SECRET, b"0123456789ABCDEF").iter().map(|b| char::from(*b)).collect()),
        ] {
            let text = format!("before {written} after");
            let ranges = found(text.as_bytes());
            assert!(!ranges.is_empty(), "{form}: {written}");
            // What is left is too little to guess the rest from: at most the characters at both ends.
            let black: usize = ranges.iter().map(ExactSizeIterator::len).max().unwrap();
            assert!(black + 14 >= written.len(), "{form}: {black} of {written}");
        }
        assert_eq!(found(b"tide/gate \"sec\x7fret\"=42?"), [] as [std::ops::Range<usize>; 0]);
    }

    #[test]
    fn short_values_are_not_looked_for() {
        let needles = Needles::new([&b"1234567"[..]]);
        assert!(needles.is_empty());
    }

    #[test]
    fn the_search_finds_what_a_slow_one_finds() {
        let secrets: [&[u8]; 3] = [b"abababab", b"babababa", b"aaaaaaaaaaaa"];
        let needles = Needles::new(secrets);
        // Every text of two letters and eleven characters.
        for number in 0..1_u32 << 11 {
            let text: Vec<u8> = (0..11).map(|bit| if number >> bit & 1 == 1 { b'a' } else { b'b' }).collect();
            let mut fast = Vec::new();
            needles.find(&text, &mut fast);
            let starts = (0..text.len()).filter(|start| {
                needles.texts.iter().any(|needle| text[*start..].starts_with(needle.expose()))
            });
            let fast: Vec<_> = fast.iter().map(|range| range.start).collect();
            assert_eq!(fast, starts.collect::<Vec<_>>(), "{}", String::from_utf8_lossy(&text));
        }
    }
}
