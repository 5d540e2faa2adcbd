//! Reads and validates the settings in the file.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};
use rustls::ServerConfig;

use super::{
    document::{self, Field, MAX_BYTES},
    tls,
};
use crate::{
    file_watch::{FileErrors, Files},
    model::{duration::duration, timestamp::Timestamp},
};

/// The settings in the file.
#[derive(Default)]
pub struct WebConfig {
    /// Without it, the port uses plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
    /// When the TLS certificate expires.
    pub certificate_expiry: Option<Timestamp>,
    /// Headers of every response.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// User names, and the bcrypt hashes of their passwords. If there are none, no password is required.
    pub users: BTreeMap<String, String>,
    pub rate_limit: Option<RateLimit>,
    /// Whether the file is empty.
    pub(super) is_empty: bool,
}

impl fmt::Debug for WebConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let users: Vec<_> = self.users.keys().collect();
        f.debug_struct("WebConfig").field("users", &users).finish_non_exhaustive()
    }
}

/// The rate limit of requests: a token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// The time in which the bucket gains one token.
    pub interval: Duration,
    /// The most tokens that the bucket holds.
    pub burst: u32,
}

/// Reads a file and the files it names. Each error is one sentence.
pub fn read(path: &Path) -> Result<WebConfig, Vec<String>> {
    load(path, &mut Files::default())
}

pub(super) fn load(path: &Path, files: &mut Files) -> Result<WebConfig, Vec<String>> {
    let mut errors = FileErrors::default();
    let config = interpret(path, files, &mut errors);
    errors.none_or(config)
}

fn interpret(path: &Path, files: &mut Files, errors: &mut FileErrors) -> WebConfig {
    let text = match files.read(path, MAX_BYTES).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => {
            errors.push("the file is not UTF-8; save it as UTF-8");
            return WebConfig::default();
        }
        Err(error) => {
            errors.push(format!("cannot read it: {error}; write the path of a file"));
            return WebConfig::default();
        }
    };
    let root = match document::parse(&text) {
        Ok(Some(root)) => root,
        Ok(None) => return WebConfig { is_empty: true, ..WebConfig::default() },
        Err(error) => {
            errors.push(error);
            return WebConfig::default();
        }
    };
    let root = Field::root(&root).section(&SECTIONS, errors);
    let [tls, http, users, rate_limit] = SECTIONS.map(|name| root.field(name));
    let http = http.map(|http| http.section(&["http2", "headers"], errors)).unwrap_or_default();
    let http2 = http.boolean("http2", true, errors);
    let tls = tls.map(|tls| tls.section(&tls::FIELDS, errors)).unwrap_or_default();
    let folder = path.parent().unwrap_or(Path::new(""));
    let (tls, certificate_expiry) = tls::read(&tls, http2, folder, files, errors).unzip();
    WebConfig {
        tls,
        certificate_expiry: certificate_expiry.flatten(),
        headers: http.field("headers").map(|headers| read_headers(headers, errors)).unwrap_or_default(),
        users: users.map(|users| read_users(users, errors)).unwrap_or_default(),
        rate_limit: rate_limit.and_then(|rate_limit| read_rate_limit(rate_limit, errors)),
        is_empty: false,
    }
}

const SECTIONS: [&str; 4] = ["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"];

/// The headers that may be set, with their allowed values. An empty list allows any value.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];

fn read_headers(field: &Field<'_>, errors: &mut FileErrors) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for header in field.section(&HEADERS.map(|(name, _)| name), errors).all() {
        let known = HEADERS.iter().find(|(name, _)| *name == header.name());
        let (Some((name, values)), Some(text)) = (known, header.text(errors)) else {
            continue;
        };
        if !values.is_empty() && !values.contains(&text) {
            errors.add(
                header,
                format_args!("{text:?} is not one of its values; write {}", values.join(" or ")),
            );
            continue;
        }
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(text)) {
            (Ok(name), Ok(value)) => headers.push((name, value)),
            _ => errors.add(header, "the value is not valid in a header; write it in one line"),
        }
    }
    headers
}

/// At a higher cost a single check takes minutes, and no request is admitted in the meantime.
const MAX_COST: u32 = 18;

fn read_users(field: &Field<'_>, errors: &mut FileErrors) -> BTreeMap<String, String> {
    let mut users = BTreeMap::new();
    for user in field.map(errors) {
        if user.name().contains(':') {
            errors.add(&user, "basic auth cannot send a name with a colon; write another name");
            continue;
        }
        // Errors never show the value, because it may be a password that was not hashed.
        let hash = user.text(errors).unwrap_or_default();
        let cost = hash.parse().ok().map(|parts: bcrypt::HashParts| parts.get_cost());
        match cost.filter(|cost| *cost >= 4) {
            Some(..=MAX_COST) => _ = users.insert(user.name().to_owned(), hash.to_owned()),
            Some(cost) => errors.add(
                &user,
                format_args!(
                    "the bcrypt cost {cost} is too high, since one check takes minutes; write a hash with a cost of at most {MAX_COST}"
                ),
            ),
            None => errors.add(
                &user,
                "this is not a bcrypt hash of a password (value not shown); make one with htpasswd -nBC 10 \"\"",
            ),
        }
    }
    users
}

fn read_rate_limit(field: &Field<'_>, errors: &mut FileErrors) -> Option<RateLimit> {
    let section = field.section(&["interval", "burst"], errors);
    let interval = section.text("interval", errors).and_then(|(field, text)| {
        let interval = if text == "0" { Ok(Duration::ZERO) } else { duration(text) };
        Some((field, errors.keep(field, interval)?))
    });
    let burst = section.text("burst", errors).and_then(|(field, text)| {
        let burst = text.parse().map_err(|_| format!("{text:?} is not a whole number; write one such as 20"));
        errors.keep(field, burst)
    });
    let (field, interval) = interval.filter(|(_, interval)| !interval.is_zero())?;
    let burst = burst.unwrap_or(0);
    if burst == 0 {
        errors.add(field, "a burst of 0 lets no request through; write a burst of at least 1");
    }
    Some(RateLimit { interval, burst })
}
