//! The mask for texts from outside. AWS and others repeat parts of a request in their messages, and a message may be shown.
//!
//! A text from outside is shown only as [`Secrets::show`] or [`Secrets::mask`] returns it. Both compare the text with the
//! secrets after every decoding of it, because an echo may be encoded, and more than once.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use aws_credential_types::Credentials;
use aws_smithy_types::base64;
use http::HeaderMap;
use percent_encoding::percent_decode_str;

/// What stands where a secret was.
const MASK: &str = "***";

/// A shorter text is not treated as a secret, because the mask would hide innocent words.
const SHORTEST: usize = 6;

/// From this length on, a secret that lacks two characters at an end is a secret too.
const LONG: usize = 16;

/// A longer text is not shown. This bounds the cost of the mask; AWS's messages have a few hundred bytes.
const LONGEST: usize = 16 * 1024;

/// A text that can be decoded more often is not shown.
const MOST_LAYERS: usize = 8;

/// How often a secret may be in base64 or hexadecimal, one within the other, and is found.
const MOST_CODINGS: usize = 2;

/// The most secrets that are remembered, the oldest of which are forgotten first. A request has a handful.
const MOST_SECRETS: usize = 256;

/// The secrets that a text from outside may repeat. Clones share them, so what one place learns masks the texts of all.
#[derive(Clone, Default)]
pub(super) struct Secrets(Arc<Mutex<VecDeque<String>>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// A text from outside, such as a header of an answer. It has no `Display` and no `Debug`, so that it cannot be shown by
/// mistake.
#[derive(Clone, Copy)]
pub(super) struct Foreign<'a>(&'a str);

impl<'a> Foreign<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The text as it is, to be read and not to be shown. A test knows the files that call this.
    pub(super) fn unmasked(self) -> &'a str {
        self.0
    }

    /// The text as one line, at most so many characters of it. It is masked before it is shortened, since the first part of a
    /// secret would not be recognised.
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

    /// Remembers a secret.
    pub(super) fn learn(&self, secret: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for form in [secret.to_owned(), visible(secret), decoded(secret)] {
            // Without the part that a group of base64 digits may lack, most of it is still there.
            let long = Some(&*form).filter(|form| form.len() >= LONG);
            let parts = long.map(|form| [form.get(2..), form.get(..form.len() - 2)]);
            let parts = parts.into_iter().flatten().flatten().chain([&*form]);
            for part in parts.filter(|part| part.len() >= SHORTEST) {
                let part = part.to_ascii_lowercase();
                known.retain(|other| *other != part);
                if known.len() == MOST_SECRETS {
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
        // A signature is no secret, and the credentials in it are known.
        for value in values.filter(|value| !value.starts_with("AWS4-")) {
            self.learn(value);
            // `Bearer TOKEN`
            value.split_once(' ').iter().for_each(|(_scheme, token)| self.learn(token));
        }
    }

    /// Remembers the values of members that hold a secret by their name: of a form, of JSON, or of XML.
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

    /// The first line of a text, masked and cut short.
    pub(super) fn show(&self, text: &str) -> String {
        one_line(&self.mask(text.trim()))
    }

    /// The text without control characters and with its secrets masked. If a secret is in it, encoded or not, this is the
    /// decoded text.
    pub(super) fn mask(&self, text: &str) -> String {
        if text.len() > LONGEST {
            return format!("(a text of {} bytes, too long to be shown)", text.len());
        }
        let mut known: Vec<_> =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        // A secret that holds another one goes first.
        known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let mut is_masked = false;
        let mut search = Search { known: &known, clean: Default::default() };
        let mut layer = visible(text);
        for _ in 0..MOST_LAYERS {
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

/// Replaces every occurrence of a secret, in any case. Returns whether there was one.
fn mask_plain(text: &mut String, secret: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let found: Vec<_> = lower.match_indices(secret).map(|(at, _)| at).collect();
    for at in found.iter().rev() {
        text.replace_range(*at..at + secret.len(), MASK);
    }
    !found.is_empty()
}

/// Replaces every run of base64 or hexadecimal digits that a secret is encoded in. Returns whether there was one.
fn mask_runs(text: &mut String, search: &mut Search<'_>) -> bool {
    let found: Vec<_> =
        runs(text).filter(|run| search.is_in_run(run, MOST_CODINGS)).map(str::to_owned).collect();
    for run in &found {
        *text = text.replace(run.as_str(), MASK);
    }
    !found.is_empty()
}

/// A search for secrets within runs of base64 or hexadecimal digits.
struct Search<'a> {
    known: &'a [String],
    /// Runs without a secret, by the codings that were still allowed in them. The layers of a text repeat most of its runs.
    clean: [HashSet<String>; MOST_CODINGS],
}

impl Search<'_> {
    /// Whether a text holds a secret in any encoding.
    fn is_in(&mut self, text: &str, codings: usize) -> bool {
        let mut layer = visible(text);
        for _ in 0..MOST_LAYERS {
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
        // It cannot be said that it holds none.
        true
    }

    fn is_in_run(&mut self, run: &str, codings: usize) -> bool {
        let Some(codings) = codings.checked_sub(1) else { return false };
        if self.clean[codings].contains(run) {
            return false;
        }
        let mut is_in_bytes = |bytes: &[u8]| self.is_in(&String::from_utf8_lossy(bytes), codings);
        // Within a longer text a secret begins at any place of a group of digits.
        let base64 = run.replace('-', "+").replace('_', "/");
        let is_in_base64 = (0..4).any(|skip| {
            let digits = &base64[skip..];
            // The last group may lack digits, and an A adds no bit.
            let missing = digits.len().next_multiple_of(4) - digits.len();
            base64::decode(digits.to_owned() + &"A".repeat(missing)).is_ok_and(|bytes| is_in_bytes(&bytes))
        });
        let hexadecimal = run.split(|c: char| !c.is_ascii_hexdigit());
        let mut hexadecimal = hexadecimal.filter(|digits| digits.len() >= SHORTEST * 2);
        let is_found = is_in_base64
            || hexadecimal.any(|digits| (0..2).any(|skip| is_in_bytes(&bytes_of_hex(&digits[skip..]))));
        if !is_found {
            self.clean[codings].insert(run.to_owned());
        }
        is_found
    }
}

/// The parts of a text that may be base64 or hexadecimal, and are long enough for a secret.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    let is_digit = |c: char| c.is_ascii_alphanumeric() || "+/-_".contains(c);
    text.split(move |c| !is_digit(c)).filter(|run| run.len() >= SHORTEST * 4 / 3)
}

fn bytes_of_hex(digits: &str) -> Vec<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pairs = digits.as_bytes().chunks_exact(2);
    pairs.filter_map(|pair| Some(value(pair[0])? << 4 | value(pair[1])?)).collect()
}

/// The text decoded until nothing is left to decode, within the limit.
fn decoded(text: &str) -> String {
    let mut layer = visible(text);
    for _ in 0..MOST_LAYERS {
        layer = visible(&decoded_once(&layer));
    }
    layer
}

/// The text with one layer of escapes decoded: those of percent encoding, of JSON, and of HTML.
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

/// The character that an escape of JSON or JavaScript at the beginning of a text means, and the length of the escape.
fn backslash(text: &str) -> Option<(char, usize)> {
    let escaped = text.strip_prefix('\\')?;
    let first = escaped.chars().next()?;
    let digits = match first {
        'u' => escaped.get(1..5),
        'x' => escaped.get(1..3),
        // Line ends and the like.
        'b' | 'f' | 'n' | 'r' | 't' => return Some(('\n', 2)),
        c if c.is_ascii_punctuation() => return Some((c, 2)),
        _ => None,
    }?;
    Some((char_of(digits, 16)?, 2 + digits.len()))
}

/// The same for a character reference of HTML or XML. Letters and digits have none by name.
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
    // Leading zeros are allowed.
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

/// The text without characters that are not seen, which would hide a secret that they split.
fn visible(text: &str) -> String {
    text.chars().filter(|c| !is_invisible(*c)).collect()
}

/// Control characters, those that Unicode lets programs ignore, and the one that stands for bytes that are no text.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffd}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The first line, at most 500 characters of it, without control characters. AWS says at the end of a refusal, after two ARNs,
/// which kind of policy it is from.
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
            // "user:se/cr+et=", and the same one byte on.
            "dXNlcjpzZS9jcitldD0=",
            "dXNlcjE6c2UvY3IrZXQ9",
            // In base64 of its percent encoding, in URL-safe base64 after base64, in hexadecimal of base64.
            "c2UlMkZjciUyQmV0JTNE",
            "YzJVdlkzSXJaWFE5",
            "63325576593349725a585139",
        ] {
            assert_eq!(secrets().mask(&format!("a {text} b")).replace('=', ""), "a *** b");
        }
    }

    #[test]
    fn a_header_is_masked_before_it_is_shortened() {
        assert_eq!(Foreign::new("by AKIDEXAMPL%45 and others").shown(&secrets(), 7), "by *** ");
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
        assert_eq!(secrets().mask(&percent(MOST_LAYERS - 2)), MASK);
        for text in [
            percent(MOST_LAYERS + 1),
            percent(LONGEST / 3),
            format!("{}{SECRET}", "a".repeat(LONGEST)),
            format!("&{}#x2F;", "amp;".repeat(LONGEST / 5)),
        ] {
            let shown = secrets().mask(&text);
            assert!(shown.starts_with("(a text ") && shown.ends_with("to be shown)"), "{shown}");
        }
        // Each of them is decoded as often as the limits allow.
        for part in ["AKIDEXAMPL", "%2525252525", "0123456789abcdef", "QUtJREVYQU1Q ", "&amp;", "a"] {
            let text = part.repeat(LONGEST / part.len());
            assert!(secrets().mask(&text).len() <= LONGEST);
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
