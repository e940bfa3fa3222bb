//! What a secret can look like where it is found.

/// As it is, in hexadecimal, percent-encoded in two ways, and the parts that base64 of it has wherever it stands.
pub fn forms(secret: &str) -> Vec<String> {
    let mut forms = plainly(secret);
    for (before, standard) in encoded(secret).into_iter().enumerate() {
        // Less the letters that depend on what stands around it.
        let own = &standard[(before * 4).div_ceil(3)..standard.len() - 4];
        forms.push(own.to_owned());
        forms.push(own.replace('+', "-").replace('/', "_"));
    }
    forms
}

/// All that somebody can say of it who knows it: the same, with base64 whole.
pub fn sayings(secret: &str) -> Vec<String> {
    let encoded = encoded(secret);
    let safe: Vec<String> = encoded.iter().map(|text| text.replace('+', "-").replace('/', "_")).collect();
    [plainly(secret), encoded, safe].concat()
}

fn plainly(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let percent = |upper: bool| -> String {
        bytes
            .iter()
            .map(|byte| match byte {
                byte if plain(*byte) => char::from(*byte).to_string(),
                byte if upper => format!("%{byte:02X}"),
                byte => format!("%{byte:02x}"),
            })
            .collect()
    };
    vec![secret.to_owned(), hexadecimal, percent(false), percent(true)]
}

/// In base64, behind none, one and two other bytes.
fn encoded(secret: &str) -> Vec<String> {
    (0..3).map(|before| base64(&[&vec![0; before][..], secret.as_bytes()].concat())).collect()
}

/// RFC 4648, 4, without padding: written down here, so that no library of the host's is its own witness.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bit = |index: usize| bytes.get(index / 8).is_some_and(|byte| byte >> (7 - index % 8) & 1 == 1);
    let letter = |start: usize| (0..6).fold(0, |value, offset| value << 1 | usize::from(bit(start + offset)));
    (0..bytes.len() * 8).step_by(6).map(|start| char::from(LETTERS[letter(start)])).collect()
}

#[test]
fn base64_is_what_it_should_be() {
    for (text, expected) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
        assert_eq!(base64(text.as_bytes()), expected);
    }
}
