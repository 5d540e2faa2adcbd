//! What must never be shown: AWS echoes parts of a request in its messages, and a message may be logged.

use aws_credential_types::Credentials;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands where a secret was.
const MASK: &str = "***";

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
        let mut forms: Vec<String> = secrets
            .into_iter()
            .flatten()
            .filter(|secret| !secret.is_empty())
            .flat_map(|secret| {
                let encoded = aws_smithy_types::base64::encode(secret);
                // Without the last characters, which depend on what follows in a longer text.
                let stem = encoded.trim_end_matches('=');
                let stem = stem.get(..stem.len().saturating_sub(1)).unwrap_or(stem);
                [
                    secret.to_owned(),
                    stem.to_owned(),
                    utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
                    utf8_percent_encode(secret, super::operation::ESCAPED).to_string(),
                ]
            })
            .collect();
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Self(forms)
    }

    /// The text with every form of every secret masked.
    pub(super) fn mask(&self, text: String) -> String {
        self.0.iter().filter(|form| !form.is_empty()).fold(text, |text, form| {
            if text.contains(form.as_str()) { text.replace(form.as_str(), MASK) } else { text }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_in_every_form() {
        let credentials =
            Credentials::new("AKIDEXAMPLE", "se/cr+et=", Some("to/ken==".to_owned()), None, "test");
        let secrets = Secrets::of(&credentials);
        for form in
            ["AKIDEXAMPLE", "se/cr+et=", "to/ken==", "se%2Fcr%2Bet%3D", "c2UvY3IrZXQ9", "QUtJREVYQU1QTEU="]
        {
            let masked = secrets.mask(format!("before {form} after"));
            assert!(!masked.contains(form.trim_end_matches('=')), "{masked}");
            assert!(masked.starts_with("before ***") && masked.ends_with("after"), "{masked}");
        }
        assert_eq!(secrets.mask("nothing to hide".to_owned()), "nothing to hide");
    }
}
