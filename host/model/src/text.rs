//! Words of strangers, and words for people.

/// Known words that a suggestion lists; of more it tells the number.
const MOST_LISTED: usize = 20;

/// Text from outside, made fit for a terminal and a log: it must not move the cursor, ring the bell, hide
/// letters or turn the direction of writing. What would is U+FFFD afterwards, a tab is a space, and line
/// breaks stay.
pub fn tame(text: &str) -> String {
    text.replace("\r\n", "\n")
        .chars()
        .map(|character| match character {
            '\n' => '\n',
            '\t' => ' ',
            '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' => '\u{fffd}',
            other if other.is_control() => '\u{fffd}',
            other => other,
        })
        .collect()
}

/// Percent-decoding, once. What is no code stays as it is.
pub fn percent_decoded(mut text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded = Vec::with_capacity(text.len());
    while let [first, ..] = text {
        let code = match text {
            [b'%', high, low, ..] => digit(*high).zip(digit(*low)),
            _ => None,
        };
        let (byte, length) = code.map_or((*first, 1), |(high, low)| (high << 4 | low, 3));
        decoded.push(byte);
        text = &text[length..];
    }
    decoded
}

/// `a, b and c`
pub fn list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// Help for somebody who gave a word that is not known: the one that was probably meant, and which there are.
pub fn suggestion(given: &str, known: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let known: Vec<_> = known.into_iter().collect();
    let known: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
    let all = match known.split_at_checked(MOST_LISTED) {
        None if known.is_empty() => return "nothing is known here".to_owned(),
        Some((some, rest)) if !rest.is_empty() => format!("{} and {} more", some.join(", "), rest.len()),
        _ => known.join(", "),
    };
    match nearest(given, known) {
        Some(near) => format!("did you mean `{near}`? known here: {all}"),
        None => format!("known here: {all}"),
    }
}

/// The known word that was probably meant: the closest by Jaro-Winkler similarity, if it is close at all.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|word| (strsim::jaro_winkler(given, word), word))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_words_cannot_steer_the_terminal() {
        assert_eq!(
            tame("a\x1b[2Jb\tc\u{202e}d\u{200b}e\rf\r\n"),
            "a\u{fffd}[2Jb c\u{fffd}d\u{fffd}e\u{fffd}f\n"
        );
    }

    #[test]
    fn lists_read_as_sentences() {
        let words: Vec<String> = ["a", "b", "c"].map(String::from).into();
        assert_eq!(list(&words), "a, b and c");
        assert_eq!(list(&words[..1]), "a");
    }

    #[test]
    fn a_suggestion_names_what_was_meant_and_does_not_flood() {
        assert_eq!(
            suggestion("wether", ["planes", "weather"]),
            "did you mean `weather`? known here: planes, weather"
        );
        assert_eq!(suggestion("x", [""; 0]), "nothing is known here");
        let many: Vec<String> = (0..25).map(|number| number.to_string()).collect();
        assert!(suggestion("x", &many).ends_with("18, 19 and 5 more"), "{}", suggestion("x", &many));
    }
}
