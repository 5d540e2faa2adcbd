//! Request + credentials + region + date → the headers that sign it. The only user of `aws-sigv4`.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningError, SigningSettings, sign},
    sign::v4,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

/// The name of Amazon Pinpoint in signatures.
const SIGNING_NAME: &str = "mobiletargeting";

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
/// `at`, and the session token where the credentials have one.
///
/// [Signature Version 4]: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
pub fn signed_headers(
    url: &Url,
    credentials: &Credentials,
    region: &str,
    at: SystemTime,
) -> Result<HeaderMap, Error> {
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
