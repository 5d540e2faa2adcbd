//! One request, one answer: sends it as it is signed, and reads the body within its limits. The only user of `reqwest`,
//! also for the HTTP calls of the credential chain.

use std::{error::Error as StdError, io::Write as _, path::Path};

use flate2::write::MultiGzDecoder;
use http::{HeaderMap, HeaderValue, header};
use reqwest::{Certificate, Proxy};
use url::Url;

use super::{
    error::{Exception, Failure},
    trust::{self, BundleError},
};
use crate::proxy::Proxies;

/// The largest body that is read, after decompression.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// The largest answer of a source of credentials that is read. Real ones have a few thousand bytes.
const MAX_PROVIDER_BODY_BYTES: usize = 1024 * 1024;

/// How the exporter names itself to AWS.
const USER_AGENT: &str = concat!("pinpoint-exporter/", env!("CARGO_PKG_VERSION"));

/// An answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// A header's text, if there is one and it is ASCII.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Why there is no HTTP client.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// `AWS_CA_BUNDLE` is of no use.
    #[error(transparent)]
    CaBundle(#[from] BundleError),
    /// The client cannot be made.
    #[error("the HTTP client cannot be set up: check AWS_CA_BUNDLE")]
    Client(#[source] reqwest::Error),
}

/// HTTP/1.1 clients without redirects, retries or timeouts of their own: each of them is the caller's business.
#[derive(Debug, Clone)]
pub struct Http {
    /// Through the proxies.
    client: reqwest::Client,
    /// For `http://` alone, without a proxy: metadata services are on this machine, and proxies know nothing of them. It
    /// trusts no certificate, so none is loaded for it.
    direct: reqwest::Client,
}

impl Http {
    /// The clients. With `ca_bundle` only its certificates are trusted, else the system's; a system without any falls
    /// back to Mozilla's, which are built in.
    pub fn new(ca_bundle: Option<&Path>, proxies: &Proxies) -> Result<Self, SetupError> {
        // An error means that one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let with_proxies = || {
            let proxies = proxies.clone();
            builder().proxy(Proxy::custom(move |url| proxies.of(url).cloned()))
        };
        let client = match ca_bundle {
            Some(path) => with_proxies().tls_backend_preconfigured(trust::only(path)?).build(),
            None => with_proxies().build().or_else(|_no_system_certificates| {
                let built_in = webpki_root_certs::TLS_SERVER_ROOT_CERTS
                    .iter()
                    .filter_map(|der| Certificate::from_der(der).ok());
                with_proxies().tls_certs_only(built_in).build()
            }),
        };
        Ok(Self {
            client: client.map_err(SetupError::Client)?,
            direct: builder().tls_certs_only([]).build().map_err(SetupError::Client)?,
        })
    }

    /// Sends a `GET` and reads its answer. The caller bounds its time.
    pub(super) async fn get(&self, url: Url, headers: HeaderMap) -> Result<Answer, Failure> {
        let request = self.client.get(url).headers(headers).header(header::ACCEPT_ENCODING, "gzip");
        let mut response = request.send().await.map_err(|error| transport_failure(&error))?;
        let mut body = match response.headers().get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"" | b"identity") => Body::Plain(Limited::default()),
            Some(b"gzip" | b"x-gzip") => Body::Gzip(Box::new(MultiGzDecoder::new(Limited::default()))),
            Some(other) => {
                return Err(Failure::new(
                    Exception::InvalidResponse,
                    format!("the content encoding {:?} was not asked for", String::from_utf8_lossy(other)),
                ));
            }
        };
        while let Some(chunk) = response.chunk().await.map_err(|error| transport_failure(&error))? {
            body.write(&chunk).map_err(|error| refused_body(&error))?;
        }
        Ok(Answer {
            status: response.status().as_u16(),
            headers: std::mem::take(response.headers_mut()),
            body: body.finish().map_err(|error| refused_body(&error))?,
        })
    }

    /// Sends a request to a source of credentials and reads its answer. The caller bounds its time. Metadata services are asked
    /// without a proxy.
    pub(super) async fn ask_provider(
        &self,
        request: http::Request<Vec<u8>>,
        is_metadata: bool,
    ) -> Result<Answer, Failure> {
        let is_plain = request.uri().scheme_str() == Some("http");
        let client = if is_plain && is_metadata { &self.direct } else { &self.client };
        let request = reqwest::Request::try_from(request).map_err(|error| transport_failure(&error))?;
        let mut response = client.execute(request).await.map_err(|error| transport_failure(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| transport_failure(&error))? {
            if body.len() + chunk.len() > MAX_PROVIDER_BODY_BYTES {
                return Err(Failure::new(Exception::InvalidResponse, "the answer exceeds 1 MiB"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status: response.status().as_u16(),
            headers: std::mem::take(response.headers_mut()),
            body,
        })
    }
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        // The environment's are read, and validated, with the settings.
        .no_proxy()
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .user_agent(USER_AGENT)
}

/// A body while it arrives.
enum Body {
    Plain(Limited),
    Gzip(Box<MultiGzDecoder<Limited>>),
}

impl Body {
    fn write(&mut self, chunk: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Plain(bytes) => bytes.write_all(chunk),
            Self::Gzip(decoder) => decoder.write_all(chunk),
        }
    }

    fn finish(self) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Plain(bytes) => Ok(bytes.0),
            Self::Gzip(decoder) => decoder.finish().map(|bytes| bytes.0),
        }
    }
}

/// Bytes up to [`MAX_BODY_BYTES`].
#[derive(Default)]
struct Limited(Vec<u8>);

impl std::io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_BODY_BYTES {
            return Err(std::io::Error::other(TooLarge));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the body exceeds 64 MiB; lower PINPOINT_EXPORTER_PAGE_SIZE")]
struct TooLarge;

fn refused_body(error: &std::io::Error) -> Failure {
    let message = match error.get_ref().and_then(|inner| inner.downcast_ref::<TooLarge>()) {
        Some(too_large) => too_large.to_string(),
        None => format!("the body is no gzip stream: {error}"),
    };
    Failure::new(Exception::InvalidResponse, message)
}

fn transport_failure(error: &reqwest::Error) -> Failure {
    let exception = if error.is_timeout() {
        Exception::Timeout
    } else if causes(error).any(|cause| cause.downcast_ref::<rustls::Error>().is_some()) {
        Exception::TlsError
    } else if causes(error).filter_map(|cause| cause.downcast_ref()).any(hyper::Error::is_parse) {
        Exception::InvalidResponse
    } else {
        Exception::ConnectionError
    };
    // The outermost text names the URL, the innermost what happened.
    Failure::new(exception, causes(error).last().map_or_else(String::new, ToString::to_string))
}

/// An error and its causes. An `io::Error` is passed by the error it holds, which its `source` would skip.
fn causes<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error as &(dyn StdError + 'static)), |&cause| {
        match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => cause.source(),
        }
    })
}
