//! Text from outside, as it may be printed to a terminal.

use std::{borrow::Cow, iter::once};

/// Whether a terminal acts on the character instead of showing it: control characters, and those that change the direction of
/// the text around them.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with such characters replaced by what `escape` makes of them.
pub(crate) fn escape(text: &str, escape: impl Fn(char) -> String) -> Cow<'_, str> {
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let shown = |c| if is_control(c) { escape(c) } else { once(c).collect() };
    Cow::Owned(text.chars().map(shown).collect())
}

/// The text as one line.
pub fn line(text: &str) -> Cow<'_, str> {
    escape(text, |c| c.escape_debug().to_string())
}

/// The text with its lines as they are.
pub fn lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| if c == '\n' { "\n".to_owned() } else { c.escape_debug().to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_escaped_and_everything_else_stays() {
        let plain = "é \u{301} 漢字 \\ \" 👩\u{200d}👧";
        assert!(matches!(line(plain), Cow::Borrowed(text) if text == plain));
        assert_eq!(
            line("a\u{1b}[31m\n\t\0\u{7f}\u{9b}\u{202e}\u{2028}"),
            "a\\u{1b}[31m\\n\\t\\0\\u{7f}\\u{9b}\\u{202e}\\u{2028}"
        );
        assert_eq!(lines("a\r\nb\n"), "a\\r\nb\n");
    }
}
