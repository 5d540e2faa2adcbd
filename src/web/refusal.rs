//! Adds a reason to the refusals that hyper writes itself. Does no I/O.

use super::media_type::TEXT;

/// The first byte of a TLS handshake. No HTTP request begins with it.
pub(super) const HANDSHAKE: u8 = 22;

/// What hyper writes in its own refusals, which have no body.
const NO_BODY: &[u8] = b"content-length: 0\r\n";

/// Adds a body with the reason to a refusal from hyper. `head` is the beginning of the request. `None` if `refusal` is no
/// refusal from hyper.
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

/// Explains what is wrong with a head.
fn reason(head: &[u8]) -> &'static str {
    if head.first() == Some(&HANDSHAKE) {
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
            return "This version of HTTP is not supported: use HTTP/1.1.\n";
        }
        _ => return "The first line of the request must be a method, a path and HTTP/1.1.\n",
    }
    let (mut lengths, mut codings) = (Vec::new(), Vec::new());
    for line in lines.take_while(|line| !line.is_empty()) {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return "A header continues on a second line: send it on one line.\n";
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return "A header has no colon.\n";
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if !is_token(name) {
            return "The name of a header is empty or contains an invalid character.\n";
        }
        if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return "The value of a header contains a control character.\n";
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
    "The path contains an invalid character, or the request is not valid HTTP/1.1.\n"
}

fn is_token(name: &[u8]) -> bool {
    let in_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(in_token)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", "on a second line"),
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
