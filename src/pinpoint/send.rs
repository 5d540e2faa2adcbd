//! Sends one request as it is signed, and reads the body of the response within limits. The only user of `reqwest`, which the
//! credential chain also uses through this module.

use std::{io::Write as _, path::Path};

use flate2::write::MultiGzDecoder;
use http::{HeaderMap, header};
use reqwest::{Certificate, Proxy};
use url::Url;

use super::{
    error::AttemptError,
    secrets::UntrustedText,
    transport::{RequestError, TransportError, proxy_of},
    trust::{self, BundleError},
};
use crate::{config::proxy::Proxies, model::exception::Exception};

/// The maximum size of a success body, after decompression.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// The maximum size of a response from a source of credentials. Real ones have a few thousand bytes.
const MAX_PROVIDER_BODY_BYTES: usize = 1024 * 1024;

/// The maximum size of an error body, after decompression. An error body holds only a name and a sentence.
const MAX_ERROR_BODY_BYTES: usize = 1024 * 1024;

/// The maximum number of compression layers of a body.
const MAX_CODINGS: usize = 4;

/// The user agent that the exporter sends to AWS.
const USER_AGENT: &str = concat!("pinpoint-exporter/", env!("CARGO_PKG_VERSION"));

/// A response with any status.
#[derive(Debug)]
pub(super) struct HttpResponse {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl HttpResponse {
    /// The text of a header, if it is present and ASCII.
    pub(super) fn header(&self, name: &str) -> Option<UntrustedText<'_>> {
        self.headers.get(name)?.to_str().ok().map(UntrustedText::new)
    }
}

/// Why the HTTP client cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error(transparent)]
    CaBundle(#[from] BundleError),
    #[error("the HTTP client cannot be set up: check AWS_CA_BUNDLE")]
    Client(#[source] reqwest::Error),
}

/// HTTP/1.1 clients without redirects, retries or timeouts, which are up to the caller.
#[derive(Debug, Clone)]
pub struct Http {
    /// Uses the proxies.
    client: reqwest::Client,
    /// Sends `http://` requests without a proxy. Metadata services are local, and a proxy cannot reach them. It trusts no
    /// certificate, so it loads none.
    direct: reqwest::Client,
    /// The proxies of `client`, for error messages.
    proxies: Proxies,
}

impl Http {
    /// Creates the clients. With `ca_bundle` they trust only its certificates. Otherwise they trust the system's, or Mozilla's
    /// built-in list if the system has none.
    pub fn new(ca_bundle: Option<&Path>, proxies: &Proxies) -> Result<Self, SetupError> {
        // An error means that a provider is already installed.
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
            proxies: proxies.clone(),
        })
    }

    /// Sends a `GET` and reads the response. The caller must limit the time. If the body of an error cannot be read, it is left
    /// empty, because the status and the headers are enough.
    pub(super) async fn get(&self, url: Url, headers: HeaderMap) -> Result<HttpResponse, AttemptError> {
        let failed = |error: RequestError| -> AttemptError {
            TransportError::new(&error, &url, proxy_of(&url, &self.proxies).as_deref()).into()
        };
        let request = self.client.get(url.clone()).headers(headers).header(header::ACCEPT_ENCODING, "gzip");
        let mut response = request.send().await.map_err(failed)?;
        let is_success = response.status().is_success();
        let limit = if is_success { MAX_BODY_BYTES } else { MAX_ERROR_BODY_BYTES };
        let body = match read_body(&mut response, limit, failed).await {
            Err(failure) if !is_success && failure.exception == Exception::InvalidResponse => Vec::new(),
            body => body?,
        };
        Ok(HttpResponse {
            status: response.status().as_u16(),
            headers: std::mem::take(response.headers_mut()),
            body,
        })
    }

    /// Sends a request to a source of credentials and reads the response. The caller must limit the time. Requests to metadata
    /// services use no proxy.
    pub(super) async fn ask_provider(
        &self,
        request: http::Request<Vec<u8>>,
        is_metadata: bool,
    ) -> Result<HttpResponse, AttemptError> {
        let is_plain = request.uri().scheme_str() == Some("http");
        let is_direct = is_plain && is_metadata;
        let client = if is_direct { &self.direct } else { &self.client };
        let request = reqwest::Request::try_from(request).map_err(|error| {
            AttemptError::new(Exception::Other, format!("the request cannot be made: {error}"))
        })?;
        let url = request.url().clone();
        let failed = |error: RequestError| -> AttemptError {
            let proxy = proxy_of(&url, &self.proxies).filter(|_| !is_direct);
            TransportError::new(&error, &url, proxy.as_deref()).into()
        };
        let mut response = client.execute(request).await.map_err(failed)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_PROVIDER_BODY_BYTES {
                return Err(AttemptError::new(Exception::InvalidResponse, "the answer exceeds 1 MiB"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpResponse {
            status: response.status().as_u16(),
            headers: std::mem::take(response.headers_mut()),
            body,
        })
    }
}

/// Reads a body of at most `limit` bytes. `failed` converts the error of a broken connection.
async fn read_body(
    response: &mut reqwest::Response,
    limit: usize,
    failed: impl Fn(RequestError) -> AttemptError,
) -> Result<Vec<u8>, AttemptError> {
    let codings = gzip_codings(response.headers())?;
    // The length of a compressed body says nothing about the length of the content.
    let length = response.content_length().filter(|_| codings == 0).and_then(|length| length.try_into().ok());
    let mut body = Layer::content(length.unwrap_or_default(), limit);
    for _ in 0..codings {
        body = body.compressed(limit);
    }
    while let Some(chunk) = response.chunk().await.map_err(&failed)? {
        body.write_all(&chunk).map_err(|error| refused_body(&error))?;
    }
    body.finish().map_err(|error| refused_body(&error))
}

/// The number of compression layers of a body: [RFC 9110, section 8.4](https://www.rfc-editor.org/rfc/rfc9110#section-8.4).
fn gzip_codings(headers: &HeaderMap) -> Result<usize, AttemptError> {
    let mut count = 0;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let value = String::from_utf8_lossy(value.as_bytes());
        for coding in value.split(',').map(str::trim) {
            if ["gzip", "x-gzip"].iter().any(|gzip| coding.eq_ignore_ascii_case(gzip)) {
                count += 1;
            } else if !coding.is_empty() && !coding.eq_ignore_ascii_case("identity") {
                // The name of the coding is not shown, because it can repeat a secret.
                let message = "the answer has a content encoding that was not asked for";
                return Err(AttemptError::new(Exception::InvalidResponse, message));
            }
        }
    }
    if count > MAX_CODINGS {
        let message = format!("the body is compressed {count} times, which is more than {MAX_CODINGS}");
        return Err(AttemptError::new(Exception::InvalidResponse, message));
    }
    Ok(count)
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        // The settings already read and validate the proxies of the environment.
        .no_proxy()
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .user_agent(USER_AGENT)
}

/// A body as it arrives: the content, or a layer of compression around it. Each layer is limited, because a few bytes of one
/// layer can expand to many in the next.
struct Layer {
    /// How many more bytes are accepted.
    room: usize,
    kind: Kind,
}

enum Kind {
    Content(Vec<u8>),
    Gzip(Box<MultiGzDecoder<Layer>>),
}

impl Layer {
    /// Expects content of `length` bytes, or 0 if that is unknown, and accepts `limit` bytes.
    fn content(length: usize, limit: usize) -> Self {
        let mut content = Vec::new();
        // If that much address space is not available, the buffer still grows on demand.
        let _ = content.try_reserve_exact(length.min(limit));
        Self { room: limit, kind: Kind::Content(content) }
    }

    /// Wraps the body in a layer of compression. Compressed data can be slightly larger than the content, so twice the limit is
    /// accepted.
    fn compressed(self, limit: usize) -> Self {
        Self { room: 2 * limit, kind: Kind::Gzip(Box::new(MultiGzDecoder::new(self))) }
    }

    fn finish(self) -> std::io::Result<Vec<u8>> {
        match self.kind {
            Kind::Content(content) => Ok(content),
            Kind::Gzip(decoder) => decoder.finish()?.finish(),
        }
    }
}

impl std::io::Write for Layer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let room = self.room;
        self.room = room.checked_sub(bytes.len()).ok_or_else(|| std::io::Error::other(TooLarge))?;
        match &mut self.kind {
            Kind::Content(content) => {
                let length = content.len() + bytes.len();
                if length > content.capacity() && length > GROWS_BELOW {
                    // If that much address space is not available, the buffer still grows on demand.
                    let _ = content.try_reserve_exact(room);
                }
                content.extend_from_slice(bytes);
            }
            Kind::Gzip(decoder) => decoder.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A larger body of unknown length gets its maximum capacity at once. The operating system provides the memory as it is filled,
/// and gets all of it back. A growing buffer would be copied repeatedly and would fragment the memory of the process.
const GROWS_BELOW: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
#[error("the body exceeds 64 MiB; lower PINPOINT_EXPORTER_PAGE_SIZE")]
struct TooLarge;

fn refused_body(error: &std::io::Error) -> AttemptError {
    let message = match error.get_ref().and_then(|inner| inner.downcast_ref::<TooLarge>()) {
        Some(too_large) => too_large.to_string(),
        None => format!("the body is not valid gzip: {error}"),
    };
    AttemptError::new(Exception::InvalidResponse, message)
}

#[cfg(test)]
mod tests {
    use allocation_counter::measure;
    use flate2::{Compression, write::GzEncoder};
    use http::HeaderValue;

    use super::*;

    const LIMIT: usize = 1024 * 1024;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn codings(lines: &[&str]) -> Result<usize, String> {
        let lines = lines.iter().map(|line| (header::CONTENT_ENCODING, HeaderValue::from_str(line).unwrap()));
        let mut headers = HeaderMap::new();
        lines.for_each(|(name, value)| _ = headers.append(name, value));
        gzip_codings(&headers).map_err(|failure| failure.message)
    }

    /// Decodes a body of `codings` compression layers, in pieces of a few bytes.
    fn read(bytes: &[u8], codings: usize) -> std::io::Result<Vec<u8>> {
        let mut body = Layer::content(0, LIMIT);
        for _ in 0..codings {
            body = body.compressed(LIMIT);
        }
        bytes.chunks(10_000).try_for_each(|chunk| body.write_all(chunk))?;
        body.finish()
    }

    #[test]
    fn content_encodings_are_a_list_in_any_case_on_any_number_of_lines() {
        for (lines, count) in [
            (&[][..], 0),
            (&[""], 0),
            (&["identity"], 0),
            (&["Identity"], 0),
            (&["GZIP"], 1),
            (&["X-Gzip"], 1),
            (&["identity, gzip"], 1),
            (&["gzip,identity"], 1),
            (&[" , gzip\t,,"], 1),
            (&["gzip", "identity", "x-gzip"], 2),
            (&["gzip, gzip", "gzip,gzip"], 4),
        ] {
            assert_eq!(codings(lines), Ok(count), "{lines:?}");
        }
        for lines in [&["br"][..], &["gzip, br"], &["gzip", "deflate"], &["gzip;q=1"], &["gzip gzip"]] {
            assert!(codings(lines).unwrap_err().contains("was not asked for"), "{lines:?}");
        }
        assert!(codings(&["gzip, gzip, gzip", "gzip, gzip"]).unwrap_err().contains("5 times"));
    }

    #[test]
    fn a_body_is_unpacked_as_often_as_it_was_packed() {
        let content: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut packed = content.clone();
        for codings in 0..=MAX_CODINGS {
            assert_eq!(read(&packed, codings).unwrap(), content, "{codings} times");
            packed = gzip(&packed);
        }
        assert!(read(b"no gzip", 1).is_err());
    }

    #[test]
    fn each_layer_of_a_body_is_bounded() {
        assert!(read(&gzip(&vec![0; LIMIT]), 1).is_ok());
        assert!(read(&vec![0; LIMIT + 1], 0).is_err());
        assert!(read(&gzip(&vec![0; LIMIT + 1]), 1).is_err());
        // The result is empty, but the data between the two layers would take hours to decompress.
        let empty_members = gzip(b"").repeat(2 * LIMIT / 20 + 1);
        assert!(read(&gzip(&empty_members), 2).is_err());
        assert!(read(&empty_members, 1).is_err(), "and on the wire");
    }

    #[test]
    fn an_announced_length_is_reserved_once_and_need_not_be_true() {
        let bytes = vec![b'x'; 50_000];
        for (length, reserved) in [(0, 0), (1, 1), (50_000, 50_000), (60_000, 60_000), (usize::MAX, LIMIT)] {
            let mut body = Layer::content(length, LIMIT);
            let Kind::Content(content) = &body.kind else { panic!("it is compressed") };
            assert_eq!(content.capacity(), reserved, "{length} announced");
            let allocated = measure(|| body.write_all(&bytes).unwrap()).count_total;
            assert_eq!(allocated, u64::from(reserved < bytes.len()), "{length} announced");
            assert_eq!(body.finish().unwrap(), bytes);
        }
    }

    #[test]
    fn a_large_body_is_never_copied_and_a_small_one_takes_little() {
        for (size, allowed) in
            [(1, 100), (60_000, 192 * 1024), (70_000, LIMIT + 128 * 1024), (LIMIT, LIMIT + 128 * 1024)]
        {
            let content = vec![b'x'; size];
            for (codings, bytes) in [(0, content.clone()), (1, gzip(&content)), (2, gzip(&gzip(&content)))] {
                let most = measure(|| drop(read(&bytes, codings).unwrap())).bytes_max;
                // A decompressor takes about 100 kB.
                let allowed = (allowed + 128 * 1024 * codings) as u64;
                assert!(most <= allowed, "{most} bytes for {size}, compressed {codings} times");
            }
        }
    }
}
