//! Requests that are not valid HTTP: which are refused here, and what the answers to those say that hyper refuses. Pure.

use std::net::Ipv6Addr;

use http::{
    HeaderValue, Request, Response, StatusCode, Version,
    header::{CONNECTION, HOST, TRANSFER_ENCODING},
};

use super::{body::Body, media_type::TEXT, response::response};

/// The refusal of a request that hyper accepts though it must not be answered ([RFC 9112, sections 3.2 and 6.1]).
///
/// [RFC 9112, sections 3.2 and 6.1]: https://www.rfc-editor.org/rfc/rfc9112#section-3.2
pub(super) fn refuse<B>(request: &Request<B>) -> Option<Response<Body>> {
    let headers = request.headers();
    let mut hosts = headers.get_all(HOST).iter();
    let (host, is_second) = (hosts.next(), hosts.next().is_some());
    let codings = headers.get_all(TRANSFER_ENCODING).iter();
    let (status, text) = if is_second {
        (StatusCode::BAD_REQUEST, "The request has more than one Host header: send one.\n")
    } else if host.is_none() && request.version() == Version::HTTP_11 {
        (StatusCode::BAD_REQUEST, "The request has no Host header: HTTP/1.1 needs one.\n")
    } else if host.is_some_and(|host| !is_host(host.as_bytes())) {
        (StatusCode::BAD_REQUEST, "The Host header holds no host: send a name or an address, and a port.\n")
    } else if codings.count() > 1 || headers.get(TRANSFER_ENCODING).is_some_and(|coding| !is_chunked(coding))
    {
        (StatusCode::NOT_IMPLEMENTED, "Of transfer codings only chunked is understood.\n")
    } else {
        return None;
    };
    let mut refusal = response(status, TEXT, text);
    refusal.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Some(refusal)
}

fn is_chunked(coding: &HeaderValue) -> bool {
    coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")
}

/// Whether this is a host with or without a port ([RFC 3986, section 3.2.2]). It may be empty.
///
/// [RFC 3986, section 3.2.2]: https://www.rfc-editor.org/rfc/rfc3986#section-3.2.2
fn is_host(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value.trim_ascii()) else { return false };
    let (is_host, port) =
        if let Some((address, rest)) = text.strip_prefix('[').and_then(|it| it.split_once(']')) {
            (address.parse::<Ipv6Addr>().is_ok(), rest.strip_prefix(':').or(rest.is_empty().then_some("")))
        } else {
            let (host, port) = text.split_once(':').unwrap_or((text, ""));
            let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
            (host.bytes().all(in_name) && has_whole_escapes(host), Some(port))
        };
    is_host && port.is_some_and(|port| port.is_empty() || is_port(port))
}

/// Whether two hex digits follow each `%`.
fn has_whole_escapes(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|rest| rest.get(..2).is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit())))
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// What hyper writes in its own refusals, which have no body.
const NO_BODY: &[u8] = b"content-length: 0\r\n";

/// hyper's refusal of a request, with a body that says what is wrong. `head` is the beginning of the request. `None` if it is
/// no refusal of hyper's.
pub(super) fn with_reason(refusal: &[u8], head: &[u8]) -> Option<Vec<u8>> {
    let at = refusal.windows(NO_BODY.len()).position(|window| window == NO_BODY)?;
    if !refusal.ends_with(b"\r\n\r\n") {
        return None;
    }
    let reason = match refusal.strip_prefix(b"HTTP/1.")?.get(2..5)? {
        b"400" => reason(head),
        b"414" | b"431" => "The head of the request is larger than 16 KiB, or has more than 100 headers.\n",
        _ => return None,
    };
    let headers = format!("content-type: {TEXT}\r\ncontent-length: {}\r\n", reason.len());
    Some([&refusal[..at], headers.as_bytes(), &refusal[at + NO_BODY.len()..], reason.as_bytes()].concat())
}

/// What is wrong with a head.
fn reason(head: &[u8]) -> &'static str {
    if head.first() == Some(&super::tls::HANDSHAKE) {
        return "This port does not speak TLS: write http, not https.\n";
    }
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.find(|line| !line.is_empty()).unwrap_or_default();
    let mut words = first.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    if !method.is_some_and(is_token) || target.is_none_or(<[u8]>::is_empty) || words.next().is_some() {
        return "The first line of the request must be a method, a path and HTTP/1.1.\n";
    }
    match version {
        Some(b"HTTP/1.1" | b"HTTP/1.0") => {}
        Some(version) if version.starts_with(b"HTTP/") => {
            return "This version of HTTP is not served: speak HTTP/1.1.\n";
        }
        _ => return "The first line of the request must be a method, a path and HTTP/1.1.\n",
    }
    let (mut lengths, mut codings) = (Vec::new(), Vec::new());
    for line in lines.take_while(|line| !line.is_empty()) {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return "A header goes on in a second line: write it in one.\n";
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return "A header has no colon.\n";
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if !is_token(name) {
            return "The name of a header is empty, or holds a character that no name may hold.\n";
        }
        if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return "The value of a header holds a control character.\n";
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            lengths.push(value);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            codings.push(value);
        }
    }
    let is_length = |value: &&[u8]| {
        let digits =
            std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|it| it.is_ascii_digit()));
        digits.is_some_and(|digits| digits.parse::<u64>().is_ok())
    };
    if !lengths.iter().all(is_length) || lengths.windows(2).any(|pair| pair[0] != pair[1]) {
        return "Content-Length must be one whole number.\n";
    }
    if !codings.is_empty() {
        return "Transfer-Encoding must end in chunked, and HTTP/1.0 has none.\n";
    }
    "The path holds a character that no path may hold, or the request is not valid HTTP/1.1.\n"
}

fn is_token(name: &[u8]) -> bool {
    let in_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(in_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_may_have_a_port() {
        for (value, expected) in [
            ("", true),
            ("localhost", true),
            ("exporter.example.com:9787", true),
            ("192.0.2.1", true),
            ("[::1]:9787", true),
            ("[2001:db8::1]", true),
            ("a_b", true),
            ("a%2Db", true),
            ("a%2", false),
            ("a%zz", false),
            ("host:", true),
            ("host:99999", false),
            ("host:+1", false),
            ("host:http", false),
            ("a:1:2", false),
            ("::1", false),
            ("[::1", false),
            ("[::1]x", false),
            ("[x]", false),
            ("a b", false),
            ("a/b", false),
            ("user@host", false),
            ("http://host", false),
            ("h\u{f6}st", false),
        ] {
            assert_eq!(is_host(value.as_bytes()), expected, "{value:?}");
        }
    }

    #[test]
    fn a_refusal_of_hypers_says_what_is_wrong() {
        for (head, expected) in [
            ("GET /metrics\r\n\r\n", "The first line"),
            ("\r\nG{T / HTTP/1.1\r\n\r\n", "The first line"),
            ("GET  / HTTP/1.1\r\n\r\n", "The first line"),
            ("GET / HTTP/3.0\r\n\r\n", "This version of HTTP"),
            ("\x16\x03\x01", "does not speak TLS"),
            ("GET / HTTP/1.1\r\nBad Header: x\r\n\r\n", "The name of a header"),
            ("GET / HTTP/1.1\r\nHost: x\r\nbad\r\n\r\n", "no colon"),
            ("GET / HTTP/1.1\r\nA: \0\r\n\r\n", "a control character"),
            ("GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", "in a second line"),
            ("GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "Content-Length"),
            ("GET / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n", "Content-Length"),
            ("GET / HTTP/1.1\r\ncontent-length: 1\r\nContent-Length: 2\r\n\r\n", "Content-Length"),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", "Transfer-Encoding"),
            ("GET /\0 HTTP/1.1\r\n\r\n", "The path"),
            ("", "The first line"),
        ] {
            assert!(reason(head.as_bytes()).contains(expected), "{head:?}: {}", reason(head.as_bytes()));
        }
        let refusal =
            b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let text = String::from_utf8(with_reason(refusal, b"").unwrap()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.ends_with(&format!("content-length: {}", body.len())) && body.contains("16 KiB"),
            "{text}"
        );
        assert_eq!(with_reason(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""), None);
    }
}
