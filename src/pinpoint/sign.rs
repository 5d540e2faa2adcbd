//! Signs a request. The only user of `aws-sigv4`.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningError, SigningSettings, sign},
    sign::v4,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

/// The service name of Amazon Pinpoint in signatures.
const SIGNING_NAME: &str = "mobiletargeting";

/// The last second of the year 9999. The signer panics at later dates. Dates before 1970 become 1970, because no working clock
/// shows them.
const LATEST_DATE: Duration = Duration::from_secs(253_402_300_799);

/// Why a request could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the request cannot be signed")]
    Signing(#[from] SigningError),
    #[error("the request cannot be signed")]
    Parameters(#[from] v4::signing_params::BuildError),
    /// The credentials hold characters that are not allowed in a header.
    #[error("the access key id or the session token holds characters that no HTTP header may hold")]
    Header(#[from] http::header::InvalidHeaderValue),
}

/// The headers that sign a `GET` of `url`, by [Signature Version 4]. The URL must be sent exactly as it is here. `at` is the
/// date of the signature. The headers include the session token, if the credentials have one.
///
/// A date that a signature cannot hold is replaced by the nearest possible one. AWS refuses it, and the response tells the skew
/// of the clock.
///
/// [Signature Version 4]: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
pub fn signed_headers(
    url: &Url,
    credentials: &Credentials,
    region: &str,
    at: SystemTime,
) -> Result<HeaderMap, Error> {
    let at = at.clamp(SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + LATEST_DATE);
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(SIGNING_NAME)
        .time(at)
        .settings(SigningSettings::default())
        .build()?
        .into();
    let request = SignableRequest::new("GET", url.as_str(), std::iter::empty(), SignableBody::Bytes(b""))?;
    let (instructions, _signature) = sign(request, &params)?.into_parts();
    let (signing_headers, _query) = instructions.into_parts();
    let mut headers = HeaderMap::new();
    for header in signing_headers {
        let mut value = HeaderValue::from_str(header.value())?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static(header.name()), value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_date_can_be_signed() {
        let url = Url::parse("https://pinpoint.us-east-1.amazonaws.com/v1/apps").unwrap();
        let credentials = Credentials::new("AKID", "secret", None, None, "test");
        let far = Duration::from_secs(1_000_000_000_000);
        let epoch = SystemTime::UNIX_EPOCH;
        for (at, written) in [
            (epoch - far, "19700101T000000Z"),
            (epoch, "19700101T000000Z"),
            (epoch + LATEST_DATE, "99991231T235959Z"),
            (epoch + LATEST_DATE + Duration::from_secs(1), "99991231T235959Z"),
            (epoch + far, "99991231T235959Z"),
        ] {
            let headers = signed_headers(&url, &credentials, "us-east-1", at).unwrap();
            assert_eq!(headers["x-amz-date"], written);
        }
    }
}
