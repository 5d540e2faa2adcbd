//! Verifies client certificates by the five values of `client_auth_type` and by `client_allowed_sans`.

use std::{net::IpAddr, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter};
use x509_cert::{
    Certificate,
    der::{Decode as _, oid::db::rfc5280},
    ext::pkix::{ExtendedKeyUsage, SubjectAltName, name::GeneralName},
};

use super::certificate::{CertificateOwner, unsupported};
use crate::suggest::nearest;

/// `client_auth_type`, with the names of Go's crypto/tls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientAuthType {
    NoClientCert,
    RequestClientCert,
    RequireAnyClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

impl ClientAuthType {
    const ALL: [(&'static str, Self); 6] = [
        ("NoClientCert", Self::NoClientCert),
        ("RequestClientCert", Self::RequestClientCert),
        ("RequireAnyClientCert", Self::RequireAnyClientCert),
        ("VerifyClientCertIfGiven", Self::VerifyClientCertIfGiven),
        ("RequireAndVerifyClientCert", Self::RequireAndVerifyClientCert),
        // exporter-toolkit still accepts this older name.
        ("RequireClientCert", Self::RequireAnyClientCert),
    ];

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, policy)| *policy).ok_or_else(|| {
            let nearest = nearest(text, Self::ALL.map(|(name, _)| name)).unwrap_or_default();
            format!("unknown client_auth_type {text:?}; the closest is {nearest}")
        })
    }

    fn requires(self) -> bool {
        matches!(self, Self::RequireAnyClientCert | Self::RequireAndVerifyClientCert)
    }

    fn verifies(self) -> bool {
        matches!(self, Self::VerifyClientCertIfGiven | Self::RequireAndVerifyClientCert)
    }
}

/// Verifies the certificates of clients.
#[derive(Debug)]
pub(super) struct ClientCertificates {
    policy: ClientAuthType,
    authorities: Vec<CertificateDer<'static>>,
    /// Verifies that one of the authorities signed a certificate. `None` if there are no authorities.
    chains: Option<Arc<dyn ClientCertVerifier>>,
    roots: Arc<RootCertStore>,
    allowed_sans: Option<Vec<String>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertificates {
    /// The error explains what is wrong with the authorities.
    pub(super) fn new(
        policy: ClientAuthType,
        authorities: Vec<CertificateDer<'static>>,
        allowed_sans: Option<Vec<String>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for (index, authority) in authorities.iter().enumerate() {
            roots.add(authority.clone()).map_err(|error| {
                format!("certificate {} in it cannot be used: {error}; write another", index + 1)
            })?;
        }
        let roots = Arc::new(roots);
        let chains = if roots.is_empty() {
            None
        } else {
            let built =
                WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider)).build();
            Some(built.map_err(|error| format!("the certificates in it cannot be used: {error}"))?)
        };
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { policy, authorities, chains, roots, allowed_sans, algorithms })
    }

    fn verify_chain(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        // A self-signed client certificate may itself be listed among the authorities. It is often marked as an authority too,
        // and webpki does not accept an authority as a client.
        if self.authorities.iter().any(|authority| authority == end_entity) {
            return verify_listed(end_entity, now);
        }
        let Some(chains) = &self.chains else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        match chains.verify_client_cert(end_entity, intermediates, now) {
            Err(Error::InvalidCertificate(
                CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
            )) if self.is_for_any_purpose(end_entity, intermediates, now) => Ok(()),
            verified => verified.map(drop),
        }
    }

    /// Whether a certificate is valid and allows any purpose (anyExtendedKeyUsage). rustls accepts clientAuth only.
    fn is_for_any_purpose(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> bool {
        let (algorithms, roots) = (self.algorithms.all, &self.roots.roots);
        EndEntityCert::try_from(end_entity).is_ok_and(|certificate| {
            certificate
                .verify_for_usage(algorithms, roots, intermediates, now, ForClients, None, None)
                .is_ok()
        })
    }
}

/// Accepts certificates for clients or for any purpose, and certificates that name no purpose.
struct ForClients;

impl ExtendedKeyUsageValidator for ForClients {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut names_any = false;
        for purpose in purposes {
            let purpose = purpose?.to_decoded_oid();
            if CLIENT_AUTH == purpose[..] || ANY_PURPOSE == purpose[..] {
                return Ok(());
            }
            names_any = true;
        }
        if names_any { Err(webpki::Error::UnknownIssuer) } else { Ok(()) }
    }
}

/// The object identifiers of id-kp-clientAuth and anyExtendedKeyUsage in RFC 5280.
const CLIENT_AUTH: [usize; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 2];
const ANY_PURPOSE: [usize; 5] = [2, 5, 29, 37, 0];

impl ClientCertVerifier for ClientCertificates {
    /// `client_allowed_sans` also makes a certificate mandatory, since a client without one has none of the names.
    fn client_auth_mandatory(&self) -> bool {
        self.policy.requires() || self.allowed_sans.is_some()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.as_ref().map_or(&[], |chains| chains.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(problem) = unsupported(end_entity, CertificateOwner::Client) {
            return Err(Error::General(problem.replacen("the certificate", "the client's certificate", 1)));
        }
        if self.policy.verifies() {
            self.verify_chain(end_entity, intermediates, now)?;
        }
        if let Some(allowed) = &self.allowed_sans
            && !names_of(end_entity)?.iter().any(|name| allowed.contains(name))
        {
            return Err(CertificateError::NotValidForName.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn parse(certificate: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding.into())
}

/// Verifies that a certificate among the authorities is valid now and allowed for clients.
fn verify_listed(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let certificate = parse(certificate)?;
    let certificate = certificate.tbs_certificate();
    let validity = certificate.validity();
    if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
        return Err(CertificateError::Expired.into());
    }
    let usage = certificate.get_extension::<ExtendedKeyUsage>();
    let usage = usage.map_err(|_| Error::from(CertificateError::BadEncoding))?;
    let for_clients = [rfc5280::ID_KP_CLIENT_AUTH, rfc5280::ANY_EXTENDED_KEY_USAGE];
    match usage {
        Some((_, usage)) if !usage.0.iter().any(|purpose| for_clients.contains(purpose)) => {
            Err(CertificateError::InvalidPurpose.into())
        }
        _ => Ok(()),
    }
}

/// The names in a certificate as text: hosts, addresses, e-mail addresses and URIs.
fn names_of(certificate: &CertificateDer<'_>) -> Result<Vec<String>, Error> {
    let names = parse(certificate)?.tbs_certificate().get_extension::<SubjectAltName>();
    let names = names.map_err(|_| Error::from(CertificateError::BadEncoding))?;
    let name = |name: GeneralName| match name {
        GeneralName::DnsName(name)
        | GeneralName::Rfc822Name(name)
        | GeneralName::UniformResourceIdentifier(name) => Some(name.to_string()),
        GeneralName::IpAddress(address) => {
            let bytes = address.as_bytes();
            let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()?;
            Some(address.to_string())
        }
        _ => None,
    };
    Ok(names.into_iter().flat_map(|(_, names)| names.0).filter_map(name).collect())
}
