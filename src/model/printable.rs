//! Makes text from outside safe to print to a terminal. It escapes control characters, and masks text that may be a misplaced
//! secret. This module has no list of secrets and judges by the form of the text. `pinpoint::secrets` knows the secrets, and
//! masks them in responses of the API and of credential sources.

use std::{borrow::Cow, iter::once};

/// Whether a terminal interprets the character instead of showing it. This includes control characters and characters that
/// change the direction of the surrounding text.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Replaces each such character by the result of `escape`.
pub(crate) fn escape(text: &str, escape: impl Fn(char) -> String) -> Cow<'_, str> {
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let shown = |c| if is_control(c) { escape(c) } else { once(c).collect() };
    Cow::Owned(text.chars().map(shown).collect())
}

/// Escapes all control characters, so that the text stays on one line.
pub fn line(text: &str) -> Cow<'_, str> {
    escape(text, |c| c.escape_debug().to_string())
}

/// Escapes all control characters except line feeds.
pub fn lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| if c == '\n' { "\n".to_owned() } else { c.escape_debug().to_string() })
}

/// Replaces text that may be secret.
const MASK: &str = "***";

/// Masks the parts of a URL, or of text meant as a URL, that may be secret: user information, query and fragment.
pub(crate) fn url(text: &str) -> String {
    let (start, end) = public_part(text);
    let mut masked = String::new();
    if last_at(text).is_some() {
        masked.push_str(text[..start].split_once("://").map_or("", |(scheme, _)| scheme));
        if !masked.is_empty() {
            masked.push_str("://");
        }
        masked.push_str(MASK);
    }
    masked.push_str(&text[start..end]);
    if end < text.len() {
        masked.push_str(&text[end..=end]);
        masked.push_str(MASK);
    }
    masked
}

/// The parts that [`url()`] masks, with the delimiters around them.
pub(crate) fn secrets_of_url(text: &str) -> [&str; 2] {
    let (start, end) = public_part(text);
    [&text[text[..start].find("//").unwrap_or(0)..start], &text[end..]]
}

/// The start and end of the part without secrets. The scheme comes before it.
fn public_part(text: &str) -> (usize, usize) {
    // User information can wrongly contain any character. Therefore everything before the last @ is masked, even if the @ is
    // encoded.
    let start = last_at(text).unwrap_or(0);
    (start, text[start..].find(['?', '#']).map_or(text.len(), |end| start + end))
}

/// The position of the last `@`, plain or percent-encoded any number of times.
fn last_at(text: &str) -> Option<usize> {
    let is_encoded = |at: &usize| {
        let digits = &text[at + 1..];
        digits.trim_start_matches("25").starts_with("40")
    };
    let encoded = text.match_indices('%').map(|(at, _)| at).rfind(is_encoded);
    text.rfind('@').max(encoded)
}

/// Returns a path from the settings for printing. Text that is no plausible path, such as the contents of a file, is masked.
pub(crate) fn path(text: &str) -> Cow<'_, str> {
    let is_plausible = !text.contains(['\n', '{', '}', '"'])
        && !text.contains(": ")
        && !text.contains("-----")
        && !text.ends_with(':');
    if is_plausible { without_keys(text) } else { Cow::Borrowed(MASK) }
}

/// Whether a word of the text looks like an access key, a token or a private key.
pub(crate) fn holds_key(text: &str) -> bool {
    text.contains(PEM) || text.split(is_end_of_word).any(is_key)
}

/// Masks words that look like an access key, a token or a private key.
pub(crate) fn without_keys(text: &str) -> Cow<'_, str> {
    if text.contains(PEM) {
        return Cow::Borrowed(MASK);
    }
    if !holds_key(text) {
        return Cow::Borrowed(text);
    }
    let words = text.split_inclusive(is_end_of_word).map(|word| {
        let bare = word.trim_end_matches(is_end_of_word);
        if is_key(bare) { format!("{MASK}{}", &word[bare.len()..]) } else { word.to_owned() }
    });
    Cow::Owned(words.collect())
}

/// The start of a PEM block, such as a private key.
pub(crate) const PEM: &str = "-----BEGIN";

fn is_end_of_word(c: char) -> bool {
    c.is_whitespace() || "\"',;".contains(c)
}

/// Whether a word contains an AWS access key id, is a bcrypt hash, or changes between upper case, lower case and digits as
/// often as random text does. Names, and ids in lower case or hexadecimal, do not change so often.
fn is_key(word: &str) -> bool {
    if word.starts_with("arn:") {
        return false;
    }
    let is_id = |run: &str| {
        let has_prefix = ["AKIA", "ASIA", "ABIA", "ACCA"].iter().any(|prefix| run.starts_with(prefix));
        run.len() >= 16 && has_prefix && !run.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let is_hash = word.starts_with("$2") && word.len() >= 60;
    if is_hash || word.split(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit()).any(is_id) {
        return true;
    }
    word.split(|c: char| !c.is_ascii_alphanumeric() && !"+/=".contains(c)).any(changes_often)
}

fn changes_often(run: &str) -> bool {
    const WINDOW: usize = 20;
    const FEWEST_CHANGES: usize = 9;
    const UPPER: usize = 0;
    const LOWER: usize = 1;
    const DIGIT: usize = 2;
    let kinds = run.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| match byte {
        b'A'..=b'Z' => UPPER,
        b'a'..=b'z' => LOWER,
        _ => DIGIT,
    });
    let kinds: Vec<usize> = kinds.collect();
    let is_change = |at: usize| usize::from(kinds[at] != kinds[at + 1]);
    // The window moves by one character at a time, so that the check takes linear time.
    let (mut counts, mut changes) = ([0; 3], 0);
    for end in 0..kinds.len() {
        counts[kinds[end]] += 1;
        changes += end.checked_sub(1).map_or(0, is_change);
        if let Some(left) = end.checked_sub(WINDOW) {
            counts[kinds[left]] -= 1;
            changes -= is_change(left);
        }
        if counts[UPPER] >= 5
            && counts[LOWER] >= 3
            && counts[DIGIT] > 0
            && changes >= FEWEST_CHANGES
            && end + 1 >= WINDOW
        {
            return true;
        }
    }
    false
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

    #[test]
    fn what_may_be_secret_in_a_url_is_masked() {
        for (text, shown) in [
            ("https://user:hush@host/path?hush#hush", "https://***@host/path?***"),
            ("https://host/path#hush", "https://host/path#***"),
            ("https://us?er:hush@host", "https://***@host"),
            ("user:hush@host", "***@host"),
            ("@host", "***@host"),
            ("https:user:hush@host:80", "***@host:80"),
            ("https://hush@hush@host", "https://***@host"),
            ("http://user%3Ahush%40host", "http://***%40host"),
            ("http://user:hush%252540host/a?hush", "http://***%252540host/a?***"),
            ("http://user@hush%2540host", "http://***%2540host"),
            ("http://hush%40hush@host", "http://***@host"),
            ("http://host/%4", "http://host/%4"),
            ("ftp://host/", "ftp://host/"),
            ("", ""),
        ] {
            assert_eq!(url(text), shown, "{text}");
        }
    }

    #[test]
    fn what_looks_like_a_key_or_is_no_path_is_masked() {
        const KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        for text in [
            KEY,
            "AKIAIOSFODNN7EXAMPLE",
            "ASIAQNZGKIQY56JQ7WML",
            "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEyMyJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl",
            "$2y$10$hbzjQHQCnkgvQKVcbCTqh.kWBJPBMDYaFpkPcvzwnzGnQYfhVzTcy",
            "-----BEGIN PRIVATE KEY-----\nMIGHAgEA",
        ] {
            assert_eq!(without_keys(text), MASK, "{text}");
            assert_eq!(path(text), MASK, "{text}");
        }
        assert_eq!(without_keys(&format!("a \"{KEY}\" is no region, {KEY}")), "a \"***\" is no region, ***");
        for text in [
            "basic_auth_users: {alice: hush}",
            "basic_auth_users:\n  alice: hush",
            "basic_auth_users:",
            "{\"alice\": \"hush\"}",
        ] {
            assert_eq!(path(text), MASK, "{text}");
        }
        for text in [
            "/etc/pinpoint-exporter/web.yml",
            "/var/run/secrets/eks.amazonaws.com/serviceaccount/token",
            "C:/Users/É Ü/web.yml",
            "/tmp/.tmpAbC1dE/credentials",
            "arn:aws:iam::123456789012:role/AWSReservedSSO_ReadOnly_1a2b3c4d5e6f7a8b",
            "0123456789abcdef0123456789ABCDEF",
            "ACCA0123456789ABCDEF0123456789AB",
            "5b0f6e4c-8f4d-4f6e-9a0c-2f3b6a7c8d9e",
            "warn,pinpoint_exporter::web=debug",
            "MonitoringReaderRole2ForProduction",
            "My-App-2026-V2/Segment-V2-Beta-B2C",
        ] {
            assert_eq!(without_keys(text), text);
            assert_eq!(path(text), text);
        }
    }
}
