//! One request, one answer: sends it as it is signed, and reads the body within its limits. The only user of `reqwest`,
//! also for the HTTP calls of the credential chain.

use std::{io::Write as _, path::Path};

use flate2::write::MultiGzDecoder;
use http::{HeaderMap, header};
use reqwest::{Certificate, Proxy};
use url::Url;

use super::{
    error::AttemptError,
    secrets::Foreign,
    transport::{RequestError, TransportError, proxy_of},
    trust::{self, BundleError},
};
use crate::{config::proxy::Proxies, model::exception::Exception};

/// The largest body of a success that is read, after decompression.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// The largest answer of a source of credentials that is read. Real ones have a few thousand bytes.
const MAX_PROVIDER_BODY_BYTES: usize = 1024 * 1024;

/// The largest body of an error that is read, after decompression. It says no more than a name and a sentence.
const MAX_ERROR_BODY_BYTES: usize = 1024 * 1024;

/// The most times that a body may be compressed.
const MAX_CODINGS: usize = 4;

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
    pub(super) fn header(&self, name: &str) -> Option<Foreign<'_>> {
        self.headers.get(name)?.to_str().ok().map(Foreign::new)
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
    /// The proxies that `client` uses, for errors to name them.
    proxies: Proxies,
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
            proxies: proxies.clone(),
        })
    }

    /// Sends a `GET` and reads its answer. The caller bounds its time. The body of an error that cannot be read is empty: its
    /// status and its headers tell what went wrong.
    pub(super) async fn get(&self, url: Url, headers: HeaderMap) -> Result<Answer, AttemptError> {
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
        Ok(Answer {
            status: response.status().as_u16(),
            headers: std::mem::take(response.headers_mut()),
            body,
        })
    }

    /// Sends a request to a source of credentials and reads its answer. The caller bounds its time. Metadata services are asked
    /// without a proxy.
    pub(super) async fn ask_provider(
        &self,
        request: http::Request<Vec<u8>>,
        is_metadata: bool,
    ) -> Result<Answer, AttemptError> {
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
        Ok(Answer {
            status: response.status().as_u16(),
            headers: std::mem::take(response.headers_mut()),
            body,
        })
    }
}

/// Reads a body of at most `limit` bytes. `failed` says why a connection broke.
async fn read_body(
    response: &mut reqwest::Response,
    limit: usize,
    failed: impl Fn(RequestError) -> AttemptError,
) -> Result<Vec<u8>, AttemptError> {
    let mut body = Layer::content(limit);
    for _ in 0..gzip_codings(response.headers())? {
        body = body.compressed(limit);
    }
    while let Some(chunk) = response.chunk().await.map_err(&failed)? {
        body.write_all(&chunk).map_err(|error| refused_body(&error))?;
    }
    body.finish().map_err(|error| refused_body(&error))
}

/// How many times a body is compressed: [RFC 9110, section 8.4](https://www.rfc-editor.org/rfc/rfc9110#section-8.4).
fn gzip_codings(headers: &HeaderMap) -> Result<usize, AttemptError> {
    let mut count = 0;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let value = String::from_utf8_lossy(value.as_bytes());
        for coding in value.split(',').map(str::trim) {
            if ["gzip", "x-gzip"].iter().any(|gzip| coding.eq_ignore_ascii_case(gzip)) {
                count += 1;
            } else if !coding.is_empty() && !coding.eq_ignore_ascii_case("identity") {
                // The name is not shown: whatever answers could repeat a secret in it.
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
        // The environment's are read, and validated, with the settings.
        .no_proxy()
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .user_agent(USER_AGENT)
}

/// A body while it arrives: its content, or a layer of compression around it. Each layer is bounded, since a few bytes of
/// one can be many of the next.
struct Layer {
    /// How many bytes may still come.
    room: usize,
    kind: Kind,
}

enum Kind {
    Content(Vec<u8>),
    Gzip(Box<MultiGzDecoder<Layer>>),
}

impl Layer {
    fn content(limit: usize) -> Self {
        Self { room: limit, kind: Kind::Content(Vec::new()) }
    }

    /// What arrives from now on is this body compressed. That may be a little more than the body itself.
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

/// Larger bodies get room for the largest at once. The operating system provides it as it is filled, and takes all of it back.
/// A buffer that grows would be copied each time, and what it leaves behind stays with the process.
const GROWS_BELOW: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
#[error("the body exceeds 64 MiB; lower PINPOINT_EXPORTER_PAGE_SIZE")]
struct TooLarge;

fn refused_body(error: &std::io::Error) -> AttemptError {
    let message = match error.get_ref().and_then(|inner| inner.downcast_ref::<TooLarge>()) {
        Some(too_large) => too_large.to_string(),
        None => format!("the body is no gzip stream: {error}"),
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

    /// Reads a body that is compressed so many times, in pieces of some bytes.
    fn read(bytes: &[u8], codings: usize) -> std::io::Result<Vec<u8>> {
        let mut body = Layer::content(LIMIT);
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
        // Nothing comes out of it, but what is between the two layers would keep a processor busy for hours.
        let empty_members = gzip(b"").repeat(2 * LIMIT / 20 + 1);
        assert!(read(&gzip(&empty_members), 2).is_err());
        assert!(read(&empty_members, 1).is_err(), "and on the wire");
    }

    #[test]
    fn a_large_body_is_never_copied_and_a_small_one_takes_little() {
        for (size, allowed) in
            [(1, 100), (60_000, 192 * 1024), (70_000, LIMIT + 128 * 1024), (LIMIT, LIMIT + 128 * 1024)]
        {
            let content = vec![b'x'; size];
            for (codings, bytes) in [(0, content.clone()), (1, gzip(&content)), (2, gzip(&gzip(&content)))] {
                let most = measure(|| drop(read(&bytes, codings).unwrap())).bytes_max;
                // A decompressor takes some 100 kB.
                let allowed = (allowed + 128 * 1024 * codings) as u64;
                assert!(most <= allowed, "{most} bytes for {size}, compressed {codings} times");
            }
        }
    }
}
