//! Logs failed TLS handshakes: each cause once for each client, up to a limit.

use std::{
    collections::HashSet,
    io,
    sync::{Mutex, PoisonError},
};

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use super::client_address::ClientAddress;

/// How many pairs of client and cause are remembered. Later failures are logged at debug level only.
const MAX_KNOWN: usize = 1000;

/// The failures that were logged.
#[derive(Debug, Default)]
pub(super) struct FailedHandshakes {
    known: Mutex<HashSet<(ClientAddress, String)>>,
}

impl FailedHandshakes {
    /// Logs a failed handshake. A new failure is logged at warn level.
    pub(super) fn log(&self, client: ClientAddress, error: &io::Error) {
        let Some(cause) = cause(error) else {
            tracing::debug!(%client, %error, "a client hung up during the TLS handshake");
            return;
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&(client, cause.clone())) || known.len() >= MAX_KNOWN {
            tracing::debug!(%client, "a TLS handshake failed: {cause}");
            return;
        }
        known.insert((client, cause.clone()));
        let is_last = known.len() == MAX_KNOWN;
        drop(known);
        tracing::warn!(%client, "a TLS handshake failed: {cause}");
        if is_last {
            tracing::warn!("more TLS handshakes that fail are logged at debug level");
        }
    }
}

/// Explains what the client did wrong. `None` if it only disconnected.
fn cause(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    let cause = match error {
        Error::NoCertificatesPresented => {
            "the client shows no certificate, and the web configuration asks for one"
        }
        Error::InvalidCertificate(error) => return Some(certificate_cause(error)),
        Error::PeerIncompatible(error) => match error {
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired => {
                "the client offers no version of TLS that is enabled here"
            }
            PeerIncompatible::NoCipherSuitesInCommon => {
                "the client offers no cipher suite that is enabled here"
            }
            PeerIncompatible::NoKxGroupsInCommon | PeerIncompatible::NamedGroupsExtensionRequired => {
                "the client offers no curve that is enabled here"
            }
            PeerIncompatible::NoSignatureSchemesInCommon
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired => {
                "the client accepts no signature that the certificate of this server can make"
            }
            _ => "the client and this server have no TLS settings in common",
        },
        Error::AlertReceived(alert) => match alert {
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate => {
                "the client does not trust the certificate of this server; check its ca_file and server_name"
            }
            AlertDescription::CertificateExpired => {
                "the client reports that the certificate of this server has expired; renew it"
            }
            other => {
                return Some(format!(
                    "the client refused the connection with TLS alert {}",
                    u8::from(*other)
                ));
            }
        },
        Error::NoApplicationProtocol => "the client speaks neither HTTP/1.1 nor HTTP/2 (ALPN)",
        Error::InvalidMessage(_) => "the client does not send TLS",
        Error::General(text) => return Some(text.clone()),
        other => {
            tracing::debug!(error = %other, "a TLS handshake failed");
            "the client violates the TLS protocol"
        }
    };
    Some(cause.to_owned())
}

fn certificate_cause(error: &CertificateError) -> String {
    let cause = match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet",
        CertificateError::UnknownIssuer => "is signed by no authority of client_ca_file",
        CertificateError::BadSignature => {
            "is signed by no authority of client_ca_file: one has the name but another key"
        }
        CertificateError::BadEncoding => "cannot be read",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "has no name of client_allowed_sans"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not meant for clients: its extended key usage has no clientAuth"
        }
        // rustls has no variant for this error of webpki.
        other if other.to_string().contains("CaUsedAsEndEntity") => {
            "is a CA certificate that client_ca_file does not list"
        }
        other => {
            tracing::debug!(error = %other, "a client's certificate cannot be verified");
            "cannot be verified"
        }
    };
    format!("the client's certificate {cause}")
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    #[test]
    fn what_is_remembered_of_failures_is_bounded() {
        let handshakes = FailedHandshakes::default();
        let error = io::Error::other(Error::NoCertificatesPresented);
        for number in 0..3_000_u32 {
            handshakes.log(IpAddr::from(Ipv4Addr::from_bits(number)).into(), &error);
        }
        assert_eq!(handshakes.known.lock().unwrap().len(), MAX_KNOWN);
    }
}
