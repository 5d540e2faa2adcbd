//! What must never be shown: AWS echoes parts of a request in its messages, and a message may be logged.

use aws_credential_types::Credentials;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::target::ESCAPED;

/// What stands where a secret was.
const MASK: &str = "***";

/// Shorter forms are no secret, and would mask innocent text.
const SHORTEST: usize = 6;

/// The forms in which the credentials of a request could come back.
#[derive(Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn of(credentials: &Credentials) -> Self {
        let secrets = [
            Some(credentials.access_key_id()),
            Some(credentials.secret_access_key()),
            credentials.session_token(),
        ];
        Self::of_texts(secrets.into_iter().flatten())
    }

    pub(super) fn of_texts<'a>(secrets: impl Iterator<Item = &'a str>) -> Self {
        let mut forms: Vec<String> = secrets.flat_map(forms).filter(|form| form.len() >= SHORTEST).collect();
        // A form that holds another goes first.
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Self(forms)
    }

    /// The text with every form of every secret masked, and without control characters but for line ends: they are not shown,
    /// and would hide a secret that they split.
    pub(super) fn mask(&self, mut text: String) -> String {
        text.retain(|c| !c.is_control() || c == '\n');
        self.0.iter().fold(text, |text, form| {
            if text.contains(form.as_str()) { text.replace(form.as_str(), MASK) } else { text }
        })
    }
}

/// A secret as it is, percent-encoded, in hexadecimal, and in base64.
fn forms(secret: &str) -> Vec<String> {
    let hex = |upper: bool| -> String {
        let digits =
            secret.bytes().map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") });
        digits.collect()
    };
    let mut forms = vec![secret.to_owned(), hex(false), hex(true)];
    for escaped in [NON_ALPHANUMERIC, ESCAPED] {
        let upper = utf8_percent_encode(secret, escaped).to_string();
        forms.push(lower_escapes(&upper));
        forms.push(upper);
    }
    // Within a longer text a secret begins at one of three places of a group, and only whole groups look the same.
    for skip in 0..3 {
        let groups = secret.as_bytes().get(skip..).unwrap_or_default().chunks_exact(3);
        forms.push(groups.map(aws_smithy_types::base64::encode).collect());
    }
    forms
}

/// `%2F` as `%2f`.
fn lower_escapes(text: &str) -> String {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (digits, rest) = part.split_at(part.len().min(2));
        format!("{text}%{}{rest}", digits.to_ascii_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_in_every_form() {
        let credentials =
            Credentials::new("AKIDEXAMPLE", "se/cr+et=", Some("to/ken==".to_owned()), None, "test");
        let secrets = Secrets::of(&credentials);
        for form in [
            "AKIDEXAMPLE",
            "se/cr+et=",
            "to/ken==",
            "se%2Fcr%2Bet%3D",
            "se%2fcr%2bet%3d",
            "QUtJREVYQU1Q",
            "c2UvY3IrZXQ9",
            "73652f63722b65743d",
        ] {
            let masked = secrets.mask(format!("before {form} after"));
            assert!(masked.starts_with("before ***") && masked.ends_with("after"), "{masked}");
            assert!(!masked.contains(&form[4..]), "{masked}");
        }
        // "user:se/cr+et=", and the same one byte on.
        for text in ["dXNlcjpzZS9jcitldD0=", "dXNlcjE6c2UvY3IrZXQ9"] {
            assert!(secrets.mask(text.to_owned()).contains("***"), "{text}");
        }
        assert_eq!(secrets.mask("nothing to hide".to_owned()), "nothing to hide");
    }

    #[test]
    fn control_characters_which_are_not_shown_hide_no_secret() {
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
        let secrets = Secrets::of(&credentials);
        for text in ["AKID\u{7}EXAMPLE", "se\rcret", "s\u{0}e\u{1b}cret", "AKID\u{85}EXAMPLE"] {
            assert_eq!(secrets.mask(format!("a {text}\nb")), "a ***\nb");
        }
    }
}
