//! Masks secrets in texts from outside. AWS and others repeat parts of a request in their messages, and the exporter shows
//! these messages.
//!
//! A text from outside is shown only as [`Secrets::show`] or [`Secrets::mask`] returns it. Both decode the text layer by layer
//! and look for the secrets in each layer, because an echo can be encoded several times.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use aws_credential_types::Credentials;
use aws_smithy_types::base64;
use http::HeaderMap;
use percent_encoding::percent_decode_str;

const MASK: &str = "***";

/// A shorter text is not treated as a secret, because the mask would hide ordinary words.
const MIN_SECRET_BYTES: usize = 6;

/// A secret of at least this length is masked even without its first or last two characters.
const LONG_SECRET_BYTES: usize = 16;

/// A longer text is not shown, which bounds the cost of masking. AWS's messages have a few hundred bytes.
const MAX_TEXT_BYTES: usize = 16 * 1024;

/// A text with more layers of encoding is not shown.
const MAX_LAYERS: usize = 8;

/// A secret is found inside at most this many nested layers of base64 or hexadecimal.
const MAX_NESTED_RUNS: usize = 2;

/// The maximum number of secrets that are remembered. A request has only a few.
const MAX_SECRETS: usize = 256;

/// The secrets that a text from outside can repeat. Clones share them, so a secret that one part learns is masked everywhere.
#[derive(Clone, Default)]
pub(super) struct Secrets(Arc<Mutex<VecDeque<String>>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// A text from outside, such as a header of a response. It has no `Display` and no `Debug`, so it cannot be shown by mistake.
#[derive(Clone, Copy)]
pub(super) struct UntrustedText<'a>(&'a str);

impl<'a> UntrustedText<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The raw text, which must not be shown. A test lists the files that may call this.
    pub(super) fn unmasked(self) -> &'a str {
        self.0
    }

    /// The text as one line of at most `limit` characters. It is masked before it is truncated, because a truncated secret
    /// would not be recognised.
    pub(super) fn shown(self, secrets: &Secrets, limit: usize) -> String {
        secrets.show(self.0).chars().take(limit).collect()
    }
}

impl Secrets {
    pub(super) fn of(credentials: &Credentials) -> Self {
        let secrets = Self::default();
        secrets.learn_credentials(credentials);
        secrets
    }

    pub(super) fn learn(&self, secret: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for form in [secret.to_owned(), visible(secret), decoded(secret)] {
            // A base64 run can lack digits of its first or last group. Most of the secret is still in it, so that part is
            // masked too.
            let long = Some(&*form).filter(|form| form.len() >= LONG_SECRET_BYTES);
            let parts = long.map(|form| [form.get(2..), form.get(..form.len() - 2)]);
            let parts = parts.into_iter().flatten().flatten().chain([&*form]);
            for part in parts.filter(|part| part.len() >= MIN_SECRET_BYTES) {
                let part = part.to_ascii_lowercase();
                known.retain(|other| *other != part);
                if known.len() == MAX_SECRETS {
                    known.pop_front();
                }
                known.push_back(part);
            }
        }
    }

    pub(super) fn learn_credentials(&self, credentials: &Credentials) {
        self.learn(credentials.access_key_id());
        self.learn(credentials.secret_access_key());
        credentials.session_token().iter().for_each(|token| self.learn(token));
    }

    /// Remembers the tokens in the headers of a request.
    pub(super) fn learn_headers(&self, headers: &HeaderMap) {
        let names = [
            "authorization",
            "x-aws-ec2-metadata-token",
            "x-amz-security-token",
            "x-amz-sso_bearer_token",
            "proxy-authorization",
        ];
        let values = names.into_iter().filter_map(|name| headers.get(name)?.to_str().ok());
        // A signature is not a secret, and the credentials in it are already known.
        for value in values.filter(|value| !value.starts_with("AWS4-")) {
            self.learn(value);
            // `Bearer TOKEN`
            value.split_once(' ').iter().for_each(|(_scheme, token)| self.learn(token));
        }
    }

    /// Remembers the values of members whose name says that they are secret, in form data, JSON or XML.
    pub(super) fn learn_members(&self, text: &str) {
        const NAMES: [&str; 5] = ["token", "secretaccesskey", "accesskeyid", "clientsecret", "externalid"];
        let mut rest = text;
        while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
            rest = &rest[start..];
            let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            rest = after;
            let name = name.to_ascii_lowercase();
            if !NAMES.iter().any(|known| name.ends_with(known)) {
                continue;
            }
            let value = after.trim_start_matches(|c: char| "\"':=>".contains(c) || c.is_ascii_whitespace());
            let is_assigned = after[..after.len() - value.len()].contains([':', '=', '>']);
            if is_assigned {
                let end = value.find(|c: char| "\"'&<,}".contains(c) || c.is_ascii_whitespace());
                self.learn(&value[..end.unwrap_or(value.len())]);
            }
        }
    }

    /// The first line of a text, masked and truncated.
    pub(super) fn show(&self, text: &str) -> String {
        one_line(&self.mask(text.trim()))
    }

    /// Masks the secrets in a text and removes its control characters. Returns the decoded text if a secret was in it.
    pub(super) fn mask(&self, text: &str) -> String {
        if text.len() > MAX_TEXT_BYTES {
            return format!("(a text of {} bytes, too long to be shown)", text.len());
        }
        let mut known: Vec<_> =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        // Longer secrets go first, because they can contain shorter ones.
        known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let mut is_masked = false;
        let mut search = Search { known: &known, clean: Default::default() };
        let mut layer = visible(text);
        for _ in 0..MAX_LAYERS {
            for secret in &known {
                is_masked |= mask_plain(&mut layer, secret);
            }
            is_masked |= mask_runs(&mut layer, &mut search);
            let next = visible(&decoded_once(&layer));
            if next == layer {
                let plain = || text.chars().filter(|c| *c == '\n' || !is_invisible(*c)).collect();
                return if is_masked { layer } else { plain() };
            }
            layer = next;
        }
        "(a text that is encoded too many times to be shown)".to_owned()
    }
}

/// Replaces every occurrence of a secret, ignoring case. Returns whether there was one.
fn mask_plain(text: &mut String, secret: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let found: Vec<_> = lower.match_indices(secret).map(|(at, _)| at).collect();
    for at in found.iter().rev() {
        text.replace_range(*at..at + secret.len(), MASK);
    }
    !found.is_empty()
}

/// Replaces every run of base64 or hexadecimal digits that encodes a secret. Returns whether there was one.
fn mask_runs(text: &mut String, search: &mut Search<'_>) -> bool {
    let found: Vec<_> =
        runs(text).filter(|run| search.is_in_run(run, MAX_NESTED_RUNS)).map(str::to_owned).collect();
    for run in &found {
        *text = text.replace(run.as_str(), MASK);
    }
    !found.is_empty()
}

struct Search<'a> {
    known: &'a [String],
    /// Runs that hold no secret, by the number of codings that were still allowed. The layers of a text have most runs in
    /// common, so this saves repeated work.
    clean: [HashSet<String>; MAX_NESTED_RUNS],
}

impl Search<'_> {
    /// Returns whether a text holds a secret in any encoding.
    fn is_in(&mut self, text: &str, codings: usize) -> bool {
        let mut layer = visible(text);
        for _ in 0..MAX_LAYERS {
            let lower = layer.to_ascii_lowercase();
            if self.known.iter().any(|secret| lower.contains(secret.as_str()))
                || runs(&layer).any(|run| self.is_in_run(run, codings))
            {
                return true;
            }
            let next = visible(&decoded_once(&layer));
            if next == layer {
                return false;
            }
            layer = next;
        }
        // The limit is reached before everything is decoded, so the text may hold a secret.
        true
    }

    fn is_in_run(&mut self, run: &str, codings: usize) -> bool {
        let Some(codings) = codings.checked_sub(1) else { return false };
        if self.clean[codings].contains(run) {
            return false;
        }
        let mut is_in_bytes = |bytes: &[u8]| self.is_in(&String::from_utf8_lossy(bytes), codings);
        // In a longer text, a secret can begin at any position within a group of digits.
        let base64 = run.replace('-', "+").replace('_', "/");
        let is_in_base64 = (0..4).any(|skip| {
            let digits = &base64[skip..];
            // An incomplete last group is padded with `A`, which adds only zero bits.
            let missing = digits.len().next_multiple_of(4) - digits.len();
            base64::decode(digits.to_owned() + &"A".repeat(missing)).is_ok_and(|bytes| is_in_bytes(&bytes))
        });
        let hexadecimal = run.split(|c: char| !c.is_ascii_hexdigit());
        let mut hexadecimal = hexadecimal.filter(|digits| digits.len() >= MIN_SECRET_BYTES * 2);
        let is_found = is_in_base64
            || hexadecimal.any(|digits| (0..2).any(|skip| is_in_bytes(&bytes_of_hex(&digits[skip..]))));
        if !is_found {
            self.clean[codings].insert(run.to_owned());
        }
        is_found
    }
}

/// The parts of a text that can be base64 or hexadecimal and are long enough for a secret.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    let is_digit = |c: char| c.is_ascii_alphanumeric() || "+/-_".contains(c);
    text.split(move |c| !is_digit(c)).filter(|run| run.len() >= MIN_SECRET_BYTES * 4 / 3)
}

fn bytes_of_hex(digits: &str) -> Vec<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pairs = digits.as_bytes().chunks_exact(2);
    pairs.filter_map(|pair| Some(value(pair[0])? << 4 | value(pair[1])?)).collect()
}

/// Decodes a text until nothing is left to decode or the limit is reached.
fn decoded(text: &str) -> String {
    let mut layer = visible(text);
    for _ in 0..MAX_LAYERS {
        layer = visible(&decoded_once(&layer));
    }
    layer
}

/// Decodes one layer of escapes: percent encoding, JSON and HTML.
fn decoded_once(text: &str) -> String {
    let text = percent_decode_str(text).decode_utf8_lossy();
    let mut decoded = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(at) = rest.find(['\\', '&']) {
        decoded.push_str(&rest[..at]);
        rest = &rest[at..];
        let (c, length) = backslash(rest)
            .or_else(|| entity(rest))
            .unwrap_or((if rest.starts_with('&') { '&' } else { '\\' }, 1));
        decoded.push(c);
        rest = &rest[length..];
    }
    decoded + rest
}

/// The character of a JSON or JavaScript escape at the start of a text, and the length of the escape.
fn backslash(text: &str) -> Option<(char, usize)> {
    let escaped = text.strip_prefix('\\')?;
    let first = escaped.chars().next()?;
    let digits = match first {
        'u' => escaped.get(1..5),
        'x' => escaped.get(1..3),
        // These stand for line ends and other control characters.
        'b' | 'f' | 'n' | 'r' | 't' => return Some(('\n', 2)),
        c if c.is_ascii_punctuation() => return Some((c, 2)),
        _ => None,
    }?;
    Some((char_of(digits, 16)?, 2 + digits.len()))
}

/// The character of an HTML or XML character reference at the start of a text, and the length of the reference. Letters and
/// digits have no named reference.
fn entity(text: &str) -> Option<(char, usize)> {
    const NAMES: [(&str, char); 16] = [
        ("amp", '&'),
        ("lt", '<'),
        ("gt", '>'),
        ("quot", '"'),
        ("apos", '\''),
        ("sol", '/'),
        ("plus", '+'),
        ("equals", '='),
        ("period", '.'),
        ("colon", ':'),
        ("comma", ','),
        ("lowbar", '_'),
        ("commat", '@'),
        ("percnt", '%'),
        ("bsol", '\\'),
        ("num", '#'),
    ];
    let inner = text.strip_prefix('&')?;
    // Leading zeros are allowed, so the number can be long.
    let end = inner.bytes().take(40).position(|byte| byte == b';')?;
    let name = &inner[..end];
    let c = if let Some(number) = name.strip_prefix('#') {
        match number.strip_prefix(['x', 'X']) {
            Some(digits) => char_of(digits, 16)?,
            None => char_of(number, 10)?,
        }
    } else {
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?.1
    };
    Some((c, end + 2))
}

fn char_of(digits: &str, radix: u32) -> Option<char> {
    u32::from_str_radix(digits, radix).ok().and_then(char::from_u32)
}

/// Removes invisible characters, which could hide a secret by splitting it.
fn visible(text: &str) -> String {
    text.chars().filter(|c| !is_invisible(*c)).collect()
}

/// Control characters, characters that Unicode lets programs ignore, and the replacement character for invalid bytes.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffd}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The first line without control characters, truncated to 500 characters. That is enough for AWS's refusals, which name two
/// ARNs and then the kind of policy that denies the request.
pub(super) fn one_line(text: &str) -> String {
    const LIMIT: usize = 500;
    let line = text.trim().lines().next().unwrap_or_default();
    let mut short: String = line.chars().filter(|c| !c.is_control()).take(LIMIT).collect();
    if line.chars().count() > LIMIT {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "se/cr+et=";

    fn secrets() -> Secrets {
        Secrets::of(&Credentials::new("AKIDEXAMPLE", SECRET, Some("to/ken==".to_owned()), None, "test"))
    }

    #[test]
    fn a_secret_is_masked_in_every_form() {
        for form in [
            "AKIDEXAMPLE",
            "akidexample",
            "se/cr+et=",
            "to/ken==",
            "se%2Fcr%2Bet%3D",
            "se%2fcr%2bet%3d",
            "se%252Fcr%25252Bet%253D",
            r"se\/cr+et=",
            r"se\\/cr\u002bet=",
            r"se\\u002fcr%5Cu002bet=",
            "se&#x2F;cr&#43;et&equals;",
            "se&amp;#x002F;cr&amp;amp;plus;et=",
            "se%26%23x2F%3Bcr+et=",
            "73652f63722b65743d",
            "QUtJREVYQU1QTEU=",
            "c2UvY3IrZXQ9",
            "se/\u{200b}cr\u{ad}+\u{feff}et\u{e0020}=",
            "se%e2%80%8b/cr+et=",
            "se/%FFcr+et=",
            "se/cr\n+\r\net=",
        ] {
            let masked = secrets().mask(&format!("before {form} after"));
            assert_eq!(masked.replace('=', ""), "before *** after", "{form}");
        }
        for text in [
            // "user:se/cr+et=", and the same text shifted by one byte.
            "dXNlcjpzZS9jcitldD0=",
            "dXNlcjE6c2UvY3IrZXQ9",
            // Base64 of percent encoding, URL-safe base64 of base64, and hexadecimal of base64.
            "c2UlMkZjciUyQmV0JTNE",
            "YzJVdlkzSXJaWFE5",
            "63325576593349725a585139",
        ] {
            assert_eq!(secrets().mask(&format!("a {text} b")).replace('=', ""), "a *** b");
        }
    }

    #[test]
    fn a_header_is_masked_before_it_is_shortened() {
        assert_eq!(UntrustedText::new("by AKIDEXAMPL%45 and others").shown(&secrets(), 7), "by *** ");
    }

    #[test]
    fn a_text_without_a_secret_stays_as_it_is() {
        for text in [
            "nothing to hide",
            "apps/a%2Fb &amp; c\\/d\nsecond line: se/cr",
            "User: arn:aws:sts::123456789012:assumed-role/reader/pinpoint-exporter is not authorized",
            "",
        ] {
            assert_eq!(secrets().mask(text), text);
        }
        assert_eq!(secrets().mask("a\u{1b}[31m\u{200b}b"), "a[31mb");
    }

    #[test]
    fn a_text_that_is_long_or_encoded_without_end_is_not_shown_and_costs_little() {
        let percent = |depth: usize| format!("se%{}2Fcr+et=", "25".repeat(depth));
        assert_eq!(secrets().mask(&percent(MAX_LAYERS - 2)), MASK);
        for text in [
            percent(MAX_LAYERS + 1),
            percent(MAX_TEXT_BYTES / 3),
            format!("{}{SECRET}", "a".repeat(MAX_TEXT_BYTES)),
            format!("&{}#x2F;", "amp;".repeat(MAX_TEXT_BYTES / 5)),
        ] {
            let shown = secrets().mask(&text);
            assert!(shown.starts_with("(a text ") && shown.ends_with("to be shown)"), "{shown}");
        }
        // Each of these texts is decoded as often as the limits allow.
        for part in ["AKIDEXAMPL", "%2525252525", "0123456789abcdef", "QUtJREVYQU1Q ", "&amp;", "a"] {
            let text = part.repeat(MAX_TEXT_BYTES / part.len());
            assert!(secrets().mask(&text).len() <= MAX_TEXT_BYTES);
        }
    }

    #[test]
    fn secrets_are_learnt_by_the_names_of_their_members_and_headers() {
        let secrets = Secrets::default();
        secrets.learn_members("Action=AssumeRole&ExternalId=external%2Fid&RoleArn=arn:aws:iam&Token=");
        secrets.learn_members(r#"{"accessToken" : "json\u002ftoken", "message": "the token included here"}"#);
        secrets.learn_members("<SecretAccessKey>xml-secret</SecretAccessKey> <Arn>arn:aws:sts</Arn>");
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer bearer-token".parse().unwrap());
        headers.insert("x-aws-ec2-metadata-token", "metadata".parse().unwrap());
        secrets.learn_headers(&headers);
        for secret in ["external/id", "external%2Fid", "json/token", "xml-secret", "bearer-token", "metadata"]
        {
            assert_eq!(secrets.mask(secret), MASK, "{secret}");
        }
        for text in ["arn:aws:iam", "arn:aws:sts", "included", "AssumeRole", "Bearer"] {
            assert_eq!(secrets.mask(text), text);
        }
    }
}
