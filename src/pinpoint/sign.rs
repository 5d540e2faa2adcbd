//! Request + credentials + region + date → the headers that sign it. The only user of `aws-sigv4`.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningError, SigningSettings, sign},
    sign::v4,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

/// The name of Amazon Pinpoint in signatures.
const SIGNING_NAME: &str = "mobiletargeting";

/// The last second of the year 9999: the signer panics at later dates. What it can write before 1970 no clock shows.
const LATEST: Duration = Duration::from_secs(253_402_300_799);

/// Why a request could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The signer refused the request.
    #[error("the request cannot be signed")]
    Signing(#[from] SigningError),
    /// A parameter of the signature is missing.
    #[error("the request cannot be signed")]
    Parameters(#[from] v4::signing_params::BuildError),
    /// The credentials hold characters that cannot stand in a header.
    #[error("the access key id or the session token holds characters that no HTTP header may hold")]
    Header(#[from] http::header::InvalidHeaderValue),
}

/// The headers that sign a `GET` of `url`, which must be sent exactly as it is here: [Signature Version 4] with the date
/// `at`, and the session token where the credentials have one. A date that a signature cannot hold is moved to the nearest that
/// it can, which AWS refuses, and its answer says by how much the clock is wrong.
///
/// [Signature Version 4]: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
pub fn signed_headers(
    url: &Url,
    credentials: &Credentials,
    region: &str,
    at: SystemTime,
) -> Result<HeaderMap, Error> {
    let at = at.clamp(SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + LATEST);
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
            (epoch + LATEST, "99991231T235959Z"),
            (epoch + LATEST + Duration::from_secs(1), "99991231T235959Z"),
            (epoch + far, "99991231T235959Z"),
        ] {
            let headers = signed_headers(&url, &credentials, "us-east-1", at).unwrap();
            assert_eq!(headers["x-amz-date"], written);
        }
    }
}
