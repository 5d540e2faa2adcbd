//! Signature Version 4, verified by our own computation from the bytes that came over the wire, as AWS's
//! [documentation] describes it.
//!
//! [documentation]: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use hyper::http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use sha2::{Digest, Sha256};
use time::{PrimitiveDateTime, macros::format_description};

use crate::error::AwsError;

/// Credentials that the fake knows.
#[derive(Debug, Clone, Default)]
pub struct Key {
    /// The access key id.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: String,
    /// The session token that belongs to it, if any.
    pub session_token: Option<String>,
    /// Whether the token has expired.
    pub expired: bool,
}

/// How far a request's date may be from the server's, in milliseconds.
const TOLERANCE: i64 = 5 * 60 * 1000;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "mobiletargeting";

/// What is not escaped in a canonical request: the unreserved characters.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const ESCAPED_IN_PATH: &AsciiSet = &ESCAPED.remove(b'/');

/// The parts of an `Authorization` header.
struct Authorization<'a> {
    access_key_id: &'a str,
    scope: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

/// Whether the request is signed rightly, with a known key, for one of the regions, and at about this date.
pub(crate) fn verify(
    request: &Parts,
    body: &[u8],
    keys: &[Key],
    regions: &[String],
    now: i64,
) -> Result<(), AwsError> {
    let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
    let Some(authorization) = header("authorization") else {
        return Err(AwsError::new("MissingAuthenticationTokenException", "Missing Authentication Token"));
    };
    let authorization = parse(authorization)?;
    let incomplete = |text: String| AwsError::new("IncompleteSignatureException", text);
    let date = header("x-amz-date").ok_or_else(|| {
        incomplete(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.".to_owned(),
        )
    })?;
    let (region, key) = check_scope(&authorization, date, keys, regions)?;
    check_token(key, header("x-amz-security-token"))?;
    check_date(date, now)?;
    let canonical = canonical_request(request, body, &authorization)?;
    let day = &date[..8];
    let to_sign = [ALGORITHM, date, authorization.scope, &hex::encode(Sha256::digest(canonical))].join("\n");
    let secret = format!("AWS4{}", key.secret_access_key);
    let signing_key = [day, region, SERVICE, "aws4_request"]
        .iter()
        .fold(secret.into_bytes(), |key, part| hmac(&key, part.as_bytes()));
    if hex::encode(hmac(&signing_key, to_sign.as_bytes())) != authorization.signature {
        return Err(AwsError::new(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
             Access Key and signing method. Consult the service documentation for details.",
        ));
    }
    Ok(())
}

fn parse(text: &str) -> Result<Authorization<'_>, AwsError> {
    let incomplete = |what: &str| {
        AwsError::new("IncompleteSignatureException", format!("Authorization header requires '{what}'."))
    };
    let rest = text.strip_prefix(ALGORITHM).ok_or_else(|| incomplete(ALGORITHM))?;
    let part = |name: &'static str| {
        rest.split(',')
            .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
            .filter(|value| !value.is_empty())
            .ok_or_else(|| incomplete(name))
    };
    let (access_key_id, scope) =
        part("Credential")?.split_once('/').ok_or_else(|| incomplete("Credential"))?;
    Ok(Authorization {
        access_key_id,
        scope,
        signed_headers: part("SignedHeaders")?,
        signature: part("Signature")?,
    })
}

fn check_scope<'a>(
    authorization: &Authorization<'a>,
    date: &str,
    keys: &'a [Key],
    regions: &[String],
) -> Result<(&'a str, &'a Key), AwsError> {
    let invalid = |text: String| AwsError::new("InvalidSignatureException", text);
    let parts: Vec<&str> = authorization.scope.split('/').collect();
    let [day, region, service, "aws4_request"] = parts[..] else {
        return Err(AwsError::new(
            "IncompleteSignatureException",
            "Credential must have exactly 5 elements.",
        ));
    };
    if service != SERVICE {
        return Err(invalid(format!("Credential should be scoped to correct service: '{SERVICE}'.")));
    }
    if !regions.is_empty() && !regions.iter().any(|known| known == region) {
        return Err(invalid(format!("Credential should be scoped to a valid region, not '{region}'.")));
    }
    if !date.starts_with(day) || day.len() != 8 {
        return Err(invalid(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 date.".to_owned(),
        ));
    }
    let key = keys.iter().find(|key| key.access_key_id == authorization.access_key_id);
    let key = key.ok_or_else(|| {
        AwsError::new("UnrecognizedClientException", "The security token included in the request is invalid.")
    })?;
    Ok((region, key))
}

fn check_token(key: &Key, token: Option<&str>) -> Result<(), AwsError> {
    if key.session_token.as_deref() != token {
        return Err(AwsError::new(
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ));
    }
    if key.expired {
        return Err(AwsError::new(
            "ExpiredTokenException",
            "The security token included in the request is expired",
        ));
    }
    Ok(())
}

fn check_date(date: &str, now: i64) -> Result<(), AwsError> {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let signed = PrimitiveDateTime::parse(date, format).map_err(|_| {
        AwsError::new("IncompleteSignatureException", "Date must be in ISO-8601 'basic format'.")
    })?;
    let signed = signed.assume_utc().unix_timestamp() * 1000;
    let invalid = |text: String| Err(AwsError::new("InvalidSignatureException", text));
    if signed < now - TOLERANCE {
        return invalid(format!(
            "Signature expired: {date} is now earlier than the server's time less 5 min."
        ));
    }
    if signed > now + TOLERANCE {
        return invalid(format!(
            "Signature not yet current: {date} is still later than the server's time and 5 min."
        ));
    }
    Ok(())
}

fn canonical_request(
    request: &Parts,
    body: &[u8],
    authorization: &Authorization<'_>,
) -> Result<String, AwsError> {
    let path = request.uri.path();
    // Encoded once more: what came over the wire is encoded already.
    let canonical_path = percent_encode(path.as_bytes(), ESCAPED_IN_PATH).to_string();
    let mut pairs: Vec<String> = request
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let canonical =
                |text| percent_encode(&percent_decode_str(text).collect::<Vec<u8>>(), ESCAPED).to_string();
            format!("{}={}", canonical(name), canonical(value))
        })
        .collect();
    pairs.sort();
    let mut headers = String::new();
    let signed: Vec<&str> = authorization.signed_headers.split(';').collect();
    if !signed.is_sorted() || !signed.contains(&"host") || !signed.contains(&"x-amz-date") {
        return Err(AwsError::new(
            "InvalidSignatureException",
            "'Host' and 'X-Amz-Date' must be among the 'SignedHeaders', in their order.",
        ));
    }
    if request.headers.contains_key("x-amz-security-token") && !signed.contains(&"x-amz-security-token") {
        return Err(AwsError::new(
            "InvalidSignatureException",
            "'X-Amz-Security-Token' must be a 'SignedHeader'.",
        ));
    }
    for name in &signed {
        let values: Vec<String> = request
            .headers
            .get_all(*name)
            .iter()
            .map(|value| {
                String::from_utf8_lossy(value.as_bytes()).split_whitespace().collect::<Vec<_>>().join(" ")
            })
            .collect();
        let _ = writeln!(headers, "{name}:{}", values.join(","));
    }
    let payload = hex::encode(Sha256::digest(body));
    Ok([
        request.method.as_str(),
        &canonical_path,
        &pairs.join("&"),
        &headers,
        authorization.signed_headers,
        &payload,
    ]
    .join("\n"))
}

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    // A key of any length will do.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}
