//! `AWS_CA_BUNDLE`: trusts only the certificates in its file.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};

use crate::config::profile::{read_file, shown};

/// The maximum size of a bundle. Those of operating systems have less than a megabyte.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error(
        "AWS_CA_BUNDLE, or ca_bundle of the AWS profile, names {}, which cannot be read; let the exporter's user read it",
        shown(path)
    )]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "AWS_CA_BUNDLE, or ca_bundle of the AWS profile, names {}, which {what}; name a file of certificates in PEM",
        shown(path)
    )]
    Unusable {
        path: PathBuf,
        /// What is wrong with the file.
        what: &'static str,
    },
}

/// A TLS configuration that trusts only the certificates of a file.
pub(super) fn only(path: &Path) -> Result<ClientConfig, BundleError> {
    let pem = read_file(path, MAX_BYTES + 1)
        .map_err(|source| BundleError::Unreadable { path: path.to_owned(), source })?;
    let unusable = |what| BundleError::Unusable { path: path.to_owned(), what };
    if pem.len() > MAX_BYTES {
        return Err(unusable("is larger than 8 MiB"));
    }
    let bundle: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|_| unusable("contains something other than PEM certificates"))?;
    let mut roots = RootCertStore::empty();
    let (trusted, _) = roots.add_parsable_certificates(bundle.iter().cloned());
    if trusted == 0 {
        return Err(unusable("holds no certificate in PEM"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let by_authority = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|_| unusable("holds no certificate that can be trusted"))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| unusable("cannot be used for TLS"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(BundleVerifier { by_authority, bundle }))
        .with_no_client_auth();
    Ok(config)
}

/// Verifies a server as usual. Like OpenSSL, it also accepts a certificate of the bundle itself.
///
/// `openssl req -x509` marks its certificates as those of a certificate authority. Such server certificates are common, and
/// rustls refuses them. Their key can sign any certificate that the bundle trusts, so accepting them adds no risk.
#[derive(Debug)]
struct BundleVerifier {
    by_authority: Arc<WebPkiServerVerifier>,
    bundle: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for BundleVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.by_authority.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // rustls reports this error after it has verified the dates and before the name.
            Err(error) if is_authority(&error) && self.bundle.iter().any(|one| one == end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_authority.supported_verify_schemes()
    }
}

/// Whether a certificate is refused only because it belongs to a certificate authority.
fn is_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    other.0.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity)
}
