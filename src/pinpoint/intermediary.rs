//! Detects responses that do not come from Amazon Pinpoint, but from a proxy, a gateway or a web server at a wrong address.
//! Does no I/O.

use http::StatusCode;
use url::Url;

use super::{
    error::AttemptError,
    secrets::{Secrets, UntrustedText},
    send::HttpResponse,
    transport::origin,
};

/// Describes what responded instead of Amazon Pinpoint, and what to do. Returns `None` if the response looks like Pinpoint's.
///
/// Every response of Pinpoint has an `x-amzn-RequestId`. Its errors are named in a header or in JSON.
pub(super) fn describe(answer: &HttpResponse, url: &Url, secrets: &Secrets) -> Option<String> {
    let is_success = (200..300).contains(&answer.status);
    let names_error =
        || answer.header("x-amzn-errortype").is_some() || AttemptError::is_told_by(&answer.body);
    let is_html = answer.body.trim_ascii_start().starts_with(b"<");
    let has_request_id = answer.header("x-amzn-requestid").is_some();
    if (!is_success && names_error()) || (has_request_id && !is_html) {
        return None;
    }
    let origin = origin(url);
    if answer.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED.as_u16() {
        return Some(format!(
            "a proxy on the way to {origin} asks for a user name and password (407); write them into the proxy's URL"
        ));
    }
    let reason = StatusCode::from_u16(answer.status).ok().and_then(|status| status.canonical_reason());
    let reason = reason.map(|reason| format!(" {reason}")).unwrap_or_default();
    let body = if is_html { " with HTML" } else { "" };
    let target = answer.header("location").and_then(|location| url.join(location.unmasked()).ok());
    let target = target.filter(|_| (300..400).contains(&answer.status));
    let target = target.map(|target| {
        format!(" with a redirect to {}", UntrustedText::new(&origin_of(&target)).shown(secrets, 100))
    });
    let server = answer.header("server").map(|server| format!(" (server: {})", server.shown(secrets, 40)));
    Some(format!(
        "{origin} answered {}{reason}{body}{}{}, which does not look like Amazon Pinpoint's answer; check the endpoint URL \
         and the proxies",
        answer.status,
        target.unwrap_or_default(),
        server.unwrap_or_default()
    ))
}

/// The scheme and host of a redirect target. Works for any scheme.
fn origin_of(target: &Url) -> String {
    match target.host_str() {
        Some(_) if target.origin().is_tuple() => origin(target),
        _ => format!("{}:", target.scheme()),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    fn described(status: u16, headers: &[(&'static str, &str)], body: &str) -> Option<String> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        let url = Url::parse("https://pinpoint.example:8443/v1/apps?token=hush").unwrap();
        describe(&HttpResponse { status, headers, body: body.as_bytes().to_vec() }, &url, &Secrets::default())
    }

    #[test]
    fn an_answer_of_pinpoint_is_not_taken_for_that_of_an_intermediary() {
        let id = ("x-amzn-requestid", "1");
        for (status, headers, body) in [
            (404, &[id, ("x-amzn-errortype", "NotFoundException")][..], "{}"),
            (404, &[("x-amzn-errortype", "NotFoundException")], ""),
            (403, &[], r#"{"message":"no"}"#),
            (403, &[], r#"{"__type":"x"}"#),
            (500, &[id], ""),
            (200, &[id], "{}"),
        ] {
            assert_eq!(described(status, headers, body), None, "{status} {headers:?} {body}");
        }
    }

    #[test]
    fn another_answer_is_described_with_the_url_without_its_query() {
        let wrong =
            "which does not look like Amazon Pinpoint's answer; check the endpoint URL and the proxies";
        let nginx = ("server", "nginx");
        for (status, headers, body, expected) in [
            (404, &[nginx][..], "<html>", " answered 404 Not Found with HTML (server: nginx), "),
            (403, &[], "", " answered 403 Forbidden, "),
            (418, &[], r#"{"detail":"no"}"#, " answered 418 I'm a teapot, "),
            (599, &[], "", " answered 599, "),
            (200, &[("x-amzn-requestid", "1")], "\r\n<!DOCTYPE html>", " answered 200 OK with HTML, "),
            (200, &[], "{}", " answered 200 OK, "),
            (
                302,
                &[("location", "https://sso.example/login?hush")],
                "",
                " answered 302 Found with a redirect to https://sso.example, ",
            ),
            (
                302,
                &[("location", "/login?hush")],
                "",
                " answered 302 Found with a redirect to https://pinpoint.example:8443, ",
            ),
            (302, &[("location", "mailto:hush")], "", " answered 302 Found with a redirect to mailto:, "),
        ] {
            let found = described(status, headers, body).unwrap();
            assert_eq!(found, format!("https://pinpoint.example:8443{expected}{wrong}"));
        }
        let proxy = described(407, &[], "<html>").unwrap();
        assert!(proxy.contains("user name and password (407)") && !proxy.contains("hush"), "{proxy}");
    }
}
