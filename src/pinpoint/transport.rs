//! Explains why a connection failed, with the URL and what to do. Only this module reads the errors of `reqwest`, `hyper` and
//! `rustls`. Their own texts name neither, or are Rust debug output.

use std::{
    error::Error as StdError,
    fmt, io,
    time::{Duration, SystemTime},
};

pub(super) use reqwest::Error as RequestError;
use rustls::{AlertDescription, CertificateError, PeerIncompatible};
use url::{Host, Url};

use super::{endpoint::is_aws_host, error::AttemptError};
use crate::{config::proxy::Proxies, model::exception::Exception};

/// The maximum number of certificate names in a message.
const MAX_NAMES: usize = 3;

/// A request without a complete response: the connection failed or broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct TransportError {
    pub(super) exception: Exception,
    /// What was attempted on which URL, what happened, and what to do. It holds no path, query or password.
    pub(super) message: String,
}

impl From<TransportError> for AttemptError {
    fn from(error: TransportError) -> Self {
        Self { is_from_intermediary: true, ..Self::new(error.exception, error.message) }
    }
}

impl TransportError {
    /// Creates the error of a request to `url`. `proxy` is the proxy that it went through, if any ([`proxy_of`]).
    pub(super) fn new(error: &RequestError, url: &Url, proxy: Option<&str>) -> Self {
        let peer = Peer { url, proxy };
        let find_io = || causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).last();
        let find_hyper = || causes(error).find_map(|cause| cause.downcast_ref::<hyper::Error>());
        if let Some(tls) = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
            return Self { exception: Exception::TlsError, message: peer.tls(tls) };
        }
        let kind = find_io().map(io::Error::kind);
        if error.is_timeout() || kind == Some(io::ErrorKind::TimedOut) {
            let message = format!("the connection to {peer} timed out; check the network");
            return Self { exception: Exception::Timeout, message };
        }
        if let Some(hyper) = find_hyper().filter(|hyper| hyper.is_parse()) {
            return Self { exception: Exception::InvalidResponse, message: peer.no_http(hyper) };
        }
        let innermost = causes(error).last().map(ToString::to_string).unwrap_or_default();
        let tunnel = causes(error).map(ToString::to_string).find_map(|text| {
            // The type of this error is private to `hyper-util`.
            Some(text.strip_prefix("tunnel error: ")?.to_owned())
        });
        let message = if error.is_dns() {
            peer.unknown_name(&innermost)
        } else if let Some(message) = tunnel.as_deref().and_then(|tunnel| peer.refused_tunnel(tunnel)) {
            message
        } else if let (true, Some(kind)) = (error.is_connect(), kind) {
            peer.no_connection(kind, &innermost)
        } else {
            let is_cut = find_hyper().is_some_and(|hyper| {
                hyper.is_incomplete_message() || hyper.is_canceled() || hyper.is_closed()
            });
            peer.broken_connection(kind, is_cut, &innermost)
        };
        Self { exception: Exception::ConnectionError, message }
    }
}

/// The proxy for requests to this URL, without the user name and password of the proxy URL.
pub(super) fn proxy_of(url: &Url, proxies: &Proxies) -> Option<String> {
    let mut proxy = proxies.of(url)?.clone();
    // This cannot fail, because a URL with a host can hold both.
    _ = proxy.set_username("");
    _ = proxy.set_password(None);
    Some(proxy.as_str().trim_end_matches('/').to_owned())
}

/// Scheme, host and port of a URL. The default port is left out.
pub(super) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// An error and its causes. It includes the error inside an `io::Error`, which `source` skips.
fn causes<'a>(error: &'a RequestError) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error as &(dyn StdError + 'static)), |&cause| {
        match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => cause.source(),
        }
    })
}

/// The other end of a connection.
struct Peer<'a> {
    url: &'a Url,
    proxy: Option<&'a str>,
}

impl fmt::Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&origin(self.url))?;
        self.proxy.iter().try_for_each(|proxy| write!(f, " through the proxy {proxy}"))
    }
}

impl Peer<'_> {
    fn unknown_name(&self, why: &str) -> String {
        let why = why.rsplit(": ").next().unwrap_or_default();
        let cure = match (self.proxy, self.url.host_str()) {
            (Some(_), _) => "check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY, and DNS",
            (None, Some(host)) if is_aws_host(host) => "check the region, and DNS",
            (None, _) => "check the endpoint URL, and DNS",
        };
        format!("cannot connect to {self}: the host name does not resolve ({why}); {cure}")
    }

    fn refused_tunnel(&self, why: &str) -> Option<String> {
        let (peer, proxy) =
            (origin(self.url), self.proxy.map(|proxy| format!(" {proxy}")).unwrap_or_default());
        Some(match why {
            "proxy authorization required" => format!(
                "the proxy{proxy} refused to connect to {peer}: it asks for a user name and password (407); write them \
                 into the proxy's URL"
            ),
            "unsuccessful" => format!(
                "the proxy{proxy} refused to connect to {peer}; allow it there, or name the host in NO_PROXY"
            ),
            "unexpected end of file" => {
                format!(
                    "the proxy{proxy} closed the connection when asked to connect to {peer}; check the proxy"
                )
            }
            "proxy response headers too long" => {
                format!(
                    "the proxy{proxy} did not answer with HTTP when asked to connect to {peer}; check its URL"
                )
            }
            _ => return None,
        })
    }

    fn no_connection(&self, kind: io::ErrorKind, why: &str) -> String {
        let (hop, cure) = match self.proxy {
            Some(proxy) => (format!("the proxy {proxy}"), "check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY"),
            None => ("the server".to_owned(), "check the address"),
        };
        let cause = match kind {
            io::ErrorKind::ConnectionRefused => {
                format!("{hop} refused the connection; {cure}, and that it is up")
            }
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::AddrNotAvailable => {
                format!("there is no route to {hop}; check the network, its routes and firewalls")
            }
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => {
                let tls = if self.url.scheme() == "https" { " during the TLS handshake" } else { "" };
                format!("{hop} closed the connection{tls}; check that the scheme and port are right")
            }
            _ => why.to_owned(),
        };
        format!("cannot connect to {}: {cause}", origin(self.url))
    }

    fn broken_connection(&self, kind: Option<io::ErrorKind>, is_cut: bool, why: &str) -> String {
        let what = match kind {
            Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => "reset the connection",
            Some(io::ErrorKind::UnexpectedEof) => "closed the connection",
            None if is_cut => "closed the connection",
            _ => return format!("the answer of {self} cannot be read: {why}"),
        };
        let scheme = if self.url.scheme() == "http" { "; if it speaks TLS, write https://" } else { "" };
        format!("{self} {what} before its answer was whole{scheme}")
    }

    fn no_http(&self, error: &hyper::Error) -> String {
        if error.is_parse_too_large() {
            return format!("the headers of the answer of {self} are too large; check that the URL is right");
        }
        let cure = match self.url.scheme() {
            "http" => "check the URL; if it speaks TLS, write https://",
            _ => "check the URL",
        };
        format!("{self} does not answer in HTTP/1.1; {cure}")
    }

    fn tls(&self, error: &rustls::Error) -> String {
        match error {
            rustls::Error::InvalidCertificate(error) => self.certificate(error),
            rustls::Error::NoCertificatesPresented => format!("{self} shows no certificate; check the URL"),
            rustls::Error::InvalidMessage(_) => {
                format!("{self} answers without TLS; write http://, or the port where it speaks TLS")
            }
            rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
                format!("{self} asks for a client certificate, and the exporter has none to show")
            }
            rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
            | rustls::Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => format!("{self} speaks neither TLS 1.2 nor 1.3; enable one of them there"),
            rustls::Error::AlertReceived(alert) => format!(
                "{self} refused the TLS handshake ({}); check the host name and the TLS settings there",
                words(&format!("{alert:?}"))
            ),
            rustls::Error::General(why) => format!("the TLS handshake with {self} failed: {why}"),
            rustls::Error::Other(why) => {
                format!("the TLS handshake with {self} failed: {}", words(&why.to_string()))
            }
            other => format!("the TLS handshake with {self} failed: {}", words(&other.to_string())),
        }
    }

    fn certificate(&self, error: &CertificateError) -> String {
        let date = |at: u64| {
            let date = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(at));
            // HTTP dates end with the year 9999.
            date.filter(|_| at < 253_402_300_800).map_or("?".to_owned(), httpdate::fmt_http_date)
        };
        let what = match error {
            CertificateError::UnknownIssuer => {
                "is not signed by a trusted authority; name a PEM file with its authority in AWS_CA_BUNDLE"
                    .to_owned()
            }
            CertificateError::ExpiredContext { time, not_after } => format!(
                "expired at {}, and it is {} by the clock of this machine; renew the certificate, or set the clock",
                date(not_after.as_secs()),
                date(time.as_secs())
            ),
            CertificateError::Expired => "is expired; renew the certificate, or set the clock".to_owned(),
            CertificateError::NotValidYetContext { time, not_before } => format!(
                "is valid from {}, and it is {} by the clock of this machine; set the clock, or replace the certificate",
                date(not_before.as_secs()),
                date(time.as_secs())
            ),
            CertificateError::NotValidYet => "is not valid yet; set the clock".to_owned(),
            CertificateError::NotValidForNameContext { presented, .. } => {
                let host = self.url.host().map(|host: Host<&str>| host.to_string()).unwrap_or_default();
                format!("is for {}, not for {host}; check the host in the URL", listed(presented))
            }
            CertificateError::NotValidForName => {
                "is for another host name; check the host in the URL".to_owned()
            }
            CertificateError::Revoked => "is revoked; replace the certificate".to_owned(),
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "is not for servers; replace it by one with the extended key usage serverAuth".to_owned()
            }
            CertificateError::Other(why) if why.to_string() == "CaUsedAsEndEntity" => {
                "is that of an authority; replace it by one that the authority signed for this host"
                    .to_owned()
            }
            CertificateError::Other(why) => format!("cannot be used: {}", words(&why.to_string())),
            other => format!("cannot be used: {}", words(&format!("{other:?}"))),
        };
        format!("the certificate of {self} {what}")
    }
}

/// The first names of a certificate. `rustls` gives them in debug form, such as `DnsName("localhost")`.
fn listed(names: &[String]) -> String {
    let bare = |name: &String| {
        let (_, inner) = name.split_once('(')?;
        Some(inner.trim_end_matches(')').trim_matches('"').to_owned())
    };
    let mut shown: Vec<_> = names.iter().filter_map(bare).take(MAX_NAMES).collect();
    match names.len().saturating_sub(shown.len()) {
        _ if shown.is_empty() => return "no host name".to_owned(),
        0 => {}
        more => shown.push(format!("{more} more")),
    }
    shown.join(", ")
}

/// The name of a Rust type or variant in words, without its fields: `HandshakeFailure` becomes `handshake failure`.
fn words(debug: &str) -> String {
    let end = debug.find(['(', '{', '[']).unwrap_or(debug.len());
    let mut words = String::new();
    let mut before = ' ';
    for c in debug[..end].trim().chars() {
        if c.is_ascii_uppercase() && before.is_ascii_lowercase() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
        before = c;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_become_words_and_what_they_hold_is_left_out() {
        for (debug, expected) in [
            ("HandshakeFailure", "handshake failure"),
            ("peer misbehaved: TooManyEmptyFragments", "peer misbehaved: too many empty fragments"),
            (
                "UnsupportedSignatureAlgorithmContext { id: [1, 2] }",
                "unsupported signature algorithm context",
            ),
            ("Unknown(7)", "unknown"),
        ] {
            assert_eq!(words(debug), expected);
        }
    }

    #[test]
    fn a_certificates_names_are_listed_bare_and_not_all_of_many() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            listed(&names(&["DnsName(\"a.example\")", "IpAddress(127.0.0.1)"])),
            "a.example, 127.0.0.1"
        );
        assert_eq!(listed(&names(&["DnsName(\"a\")"; 9])), "a, a, a, 6 more");
        assert_eq!(listed(&[]), "no host name");
    }

    #[test]
    fn a_proxy_is_named_without_its_password() {
        let value = |name: &str| match name {
            "HTTPS_PROXY" => Some("http://user:hush@proxy.example:3128"),
            "NO_PROXY" => Some("direct.example"),
            _ => None,
        };
        let proxies = Proxies::read(value, |name, _, why| panic!("{name}: {why}"));
        let proxy = |url: &str| proxy_of(&Url::parse(url).unwrap(), &proxies);
        assert_eq!(proxy("https://host.example/").as_deref(), Some("http://proxy.example:3128"));
        assert_eq!(proxy("https://direct.example/"), None);
        assert_eq!(proxy("http://host.example/"), None);
    }
}
