//! Verifies Signature Version 4 from the received bytes, by an implementation of AWS's [documentation] that is independent of
//! the exporter.
//!
//! [documentation]: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use hyper::http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use sha2::{Digest, Sha256};
use time::{PrimitiveDateTime, macros::format_description};

use crate::{error::AwsError, paging::form_decoded, permission::Policy};

/// Credentials that the fake knows.
#[derive(Debug, Clone, Default)]
pub struct Key {
    pub access_key_id: String,
    pub secret_access_key: String,
    /// The session token of the key, if it has one.
    pub session_token: Option<String>,
    /// Whether the token has expired.
    pub expired: bool,
    /// The permissions of the key. `None` allows everything.
    pub policies: Option<Vec<Policy>>,
    /// The account of the key. `None` means 123456789012.
    pub account_id: Option<String>,
}

/// The most that a request's date may differ from the server's, in milliseconds.
const TOLERANCE: i64 = 5 * 60 * 1000;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "mobiletargeting";

/// The characters that a canonical request escapes: all but the unreserved ones.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const ESCAPED_IN_PATH: &AsciiSet = &ESCAPED.remove(b'/');

/// The parts of an `Authorization` header.
struct Authorization<'a> {
    access_key_id: &'a str,
    scope: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

/// The identity that signed a request.
#[derive(Debug)]
pub(crate) struct Caller<'a> {
    pub(crate) key: &'a Key,
    /// The region in the signature.
    pub(crate) region: String,
}

/// Verifies that a known key signed the request correctly, for one of the regions and at about this date.
pub(crate) fn verify<'a>(
    request: &Parts,
    body: &[u8],
    keys: &'a [Key],
    regions: &[String],
    now: i64,
) -> Result<Caller<'a>, AwsError> {
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
    let Caller { key, region } = check_scope(&authorization, date, keys, regions)?;
    check_token(key, header("x-amz-security-token"))?;
    check_date(date, now)?;
    let canonical = canonical_request(request, body, &authorization)?;
    if signature(&canonical, date, authorization.scope, &key.secret_access_key) != authorization.signature {
        return Err(AwsError::new(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
             Access Key and signing method. Consult the service documentation for details.",
        ));
    }
    Ok(Caller { key, region })
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
    authorization: &Authorization<'_>,
    date: &str,
    keys: &'a [Key],
    regions: &[String],
) -> Result<Caller<'a>, AwsError> {
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
    key.map(|key| Caller { key, region: region.to_owned() }).ok_or_else(|| {
        AwsError::new("UnrecognizedClientException", "The security token included in the request is invalid.")
    })
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
    // The received path is already encoded. The canonical path encodes it once more.
    let canonical_path = percent_encode(path.as_bytes(), ESCAPED_IN_PATH).to_string();
    let mut pairs: Vec<String> = request
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let canonical = |text| percent_encode(&form_decoded(text), ESCAPED).to_string();
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

/// The signature of a canonical request, with the key derived for its scope.
fn signature(canonical: &str, date: &str, scope: &str, secret: &str) -> String {
    let to_sign = [ALGORITHM, date, scope, &hex::encode(Sha256::digest(canonical))].join("\n");
    let key =
        scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, part| hmac(&key, part.as_bytes()));
    hex::encode(hmac(&key, to_sign.as_bytes()))
}

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    // HMAC accepts a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in AWS's documentation of the algorithm: `ListUsers` of IAM.
    #[test]
    fn the_example_that_aws_published_has_the_signature_that_aws_published() {
        let published = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
        let request = |uri: &str| {
            hyper::Request::builder()
                .uri(uri)
                .header("host", "iam.amazonaws.com")
                .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
                .header("x-amz-date", "20150830T123600Z")
                .body(())
                .unwrap()
                .into_parts()
                .0
        };
        let authorization = Authorization {
            access_key_id: "AKIDEXAMPLE",
            scope: "20150830/us-east-1/iam/aws4_request",
            signed_headers: "content-type;host;x-amz-date",
            signature: published,
        };
        let signed = |uri: &str, secret: &str| {
            let canonical = canonical_request(&request(uri), b"", &authorization).unwrap();
            signature(&canonical, "20150830T123600Z", authorization.scope, secret)
        };
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        assert_eq!(signed("/?Action=ListUsers&Version=2010-05-08", secret), published);
        assert_eq!(signed("/?Version=2010-05-08&Action=ListUsers", secret), published);
        assert_ne!(signed("/?Action=ListUser&Version=2010-05-08", secret), published);
        assert_ne!(signed("/?Action=ListUsers&Version=2010-05-08", &secret.to_lowercase()), published);
    }
}
