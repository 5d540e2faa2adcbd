//! Formats text for a terminal of 80 columns: wrapped, indented, and without control characters, which could change the screen.

use std::fmt;

use crate::model::printable;

/// The default width of a terminal.
pub(super) const COLUMNS: usize = 80;

/// Escapes the control characters in JSON. `serde_json` does not escape those from U+007F.
pub(super) fn printable_json(json: &str) -> String {
    let escaped = |c: char| match c {
        '\n' => "\n".to_owned(),
        c => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    };
    printable::escape(json, escaped).into_owned()
}

/// Wraps a text at [`COLUMNS`] and indents every line by `indent` spaces. Only a longer word, such as an ARN, exceeds the
/// limit, because a split word could not be copied.
pub(super) fn wrapped(f: &mut impl fmt::Write, indent: usize, text: &str) -> fmt::Result {
    let mut line = String::new();
    for word in text.split_whitespace() {
        let is_full = indent + line.chars().count() + 1 + word.chars().count() > COLUMNS;
        if !line.is_empty() && is_full {
            writeln!(f, "{:indent$}{line}", "")?;
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(f, "{:indent$}{line}", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Wrapped(usize, &'static str);

    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            wrapped(f, self.0, self.1)
        }
    }

    #[test]
    fn json_has_no_control_characters_and_means_the_same() {
        let text = "日本\u{1b}\u{9b}\u{7f}\u{202e}\"\\";
        let json = printable_json(&serde_json::to_string(text).unwrap());
        assert_eq!(json, printable::line(&json));
        assert!(json.contains("日本"), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    #[test]
    fn lines_end_within_80_columns_unless_a_word_is_longer() {
        assert_eq!(Wrapped(2, "one two").to_string(), "  one two\n");
        let text =
            Wrapped(4, "one two three four five six seven eight nine ten eleven twelve thirteen fourteen")
                .to_string();
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().all(|line| line.len() <= 80 && line.starts_with("    ")), "{text}");
        let long: &str = "x".repeat(100).leak();
        let mixed: &'static str = format!("a {long} b").leak();
        assert_eq!(Wrapped(1, mixed).to_string(), format!(" a\n {long}\n b\n"));
    }
}
