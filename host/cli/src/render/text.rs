//! Text in lines.

use unicode_width::UnicodeWidthStr;

/// Breaks at spaces so that no line is wider than `width`, a word that is longer excepted. Lines after the
/// first start with `hanging`.
pub fn wrap(text: &str, width: usize, hanging: &str) -> String {
    let mut lines = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let wide = word.width();
        if used > 0 && used + 1 + wide > width {
            lines.push('\n');
            lines.push_str(hanging);
            used = hanging.width();
        } else if used > 0 {
            lines.push(' ');
            used += 1;
        }
        lines.push_str(word);
        used += wide;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces() {
        assert_eq!(wrap("one two three four", 9, "  "), "one two\n  three\n  four");
        assert_eq!(wrap("", 9, "  "), "");
    }
}
