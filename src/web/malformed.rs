//! Refuses requests that are not valid HTTP although hyper accepts them. Does no I/O.

use std::net::Ipv6Addr;

use http::{
    HeaderValue, Request, Response, StatusCode, Version,
    header::{CONNECTION, HOST, TRANSFER_ENCODING},
};

use super::{body::Body, media_type::TEXT, response::response};

/// The refusal of a request that hyper accepts but that must not be answered ([RFC 9112, sections 3.2 and 6.1]).
///
/// [RFC 9112, sections 3.2 and 6.1]: https://www.rfc-editor.org/rfc/rfc9112#section-3.2
pub(super) fn refuse<B>(request: &Request<B>) -> Option<Response<Body>> {
    let headers = request.headers();
    let mut hosts = headers.get_all(HOST).iter();
    let (host, is_second) = (hosts.next(), hosts.next().is_some());
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let (status, text) = if is_second {
        (StatusCode::BAD_REQUEST, "The request has more than one Host header: send one.\n")
    } else if host.is_none() && request.version() == Version::HTTP_11 {
        (StatusCode::BAD_REQUEST, "The request has no Host header: HTTP/1.1 needs one.\n")
    } else if host.is_some_and(|host| !is_host(host.as_bytes())) {
        (StatusCode::BAD_REQUEST, "The Host header holds no host: send a name or an address, and a port.\n")
    } else if codings.next().is_some_and(|coding| !is_chunked(coding)) || codings.next().is_some() {
        (StatusCode::NOT_IMPLEMENTED, "The Transfer-Encoding is not supported: send chunked.\n")
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
}
