//! Writing YAML that people edit. Reading it is `tidegate_model::from_yaml`.

use std::borrow::Cow;

/// A text as a YAML scalar: as it is where that cannot be misread, in double quotes otherwise (a JSON string
/// is one in YAML 1.2).
pub(crate) fn scalar(text: &str) -> Cow<'_, str> {
    if is_plain(text) { Cow::Borrowed(text) } else { Cow::Owned(serde_json::Value::from(text).to_string()) }
}

fn is_plain(text: &str) -> bool {
    const WORDS_WITH_A_MEANING: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic())
        || ["./", "../", "/"].iter().any(|start| text.starts_with(start));
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./@-:".contains(c);
    starts
        && text.chars().all(plain)
        && !text.ends_with(':')
        && !WORDS_WITH_A_MEANING.iter().any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_reads_back_as_itself_in_block_and_flow() {
        for text in [
            "",
            "a",
            "./data",
            "../x",
            "/",
            "https://h:80/p",
            "sha256:12",
            "0.1",
            "12",
            "true",
            "No",
            "~",
            "null",
            "a: b",
            "a #b",
            "- x",
            "{x}",
            "[x]",
            "x, y",
            "\"q\"",
            "'q'",
            "tab\there",
            "line\nbreak",
            "x:",
            "*a",
            "&a",
            "!t",
            "%41",
            "@x",
            "`x`",
            "naïve ☃",
            "1e3",
            ".5",
            "2026-01-01",
            " lead",
            "trail ",
            "?",
            "|",
            ">",
            "0x1f",
            "\u{1}\u{85}\u{2028}",
        ] {
            let block: Vec<String> =
                tidegate_model::from_yaml("t", &format!("- {}\n", scalar(text))).unwrap();
            let flow: Vec<String> =
                tidegate_model::from_yaml("t", &format!("[ {}, x ]\n", scalar(text))).unwrap();
            assert_eq!((block[0].as_str(), flow[0].as_str()), (text, text));
        }
    }
}
