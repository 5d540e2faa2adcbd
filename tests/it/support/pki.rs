//! Creates certificates in a folder, for an authority, its server and several kinds of clients.

use std::{fs, path::Path, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tempfile::TempDir;

/// A folder with `ca.pem`, `server.crt`, `server.key` and the files that a test adds.
pub(crate) struct Pki {
    folder: TempDir,
    authority: (CertificateParams, KeyPair),
}

/// The certificate that a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    /// No certificate.
    Nobody,
    /// A certificate that the authority signed.
    OfTheAuthority,
    /// A self-signed certificate that is marked as an authority, as `openssl req -x509` creates it.
    SelfSigned,
    /// Another certificate of the same kind.
    Stranger,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let _ = ring::default_provider().install_default();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let pki = Self { folder, authority: (params, key) };
        pki.renew_server();
        pki.issue("OfTheAuthority", ["DNS:client"].map(san).to_vec());
        for name in ["SelfSigned", "Stranger"] {
            pki.self_sign(name);
        }
        pki
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        // The rename replaces the file in one step.
        let half = self.path().join("half");
        fs::write(&half, text).unwrap();
        fs::rename(&half, &path).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// Creates a new certificate and key of the server. The two files are written one after the other.
    pub(crate) fn renew_server(&self) {
        self.renew_server_until(4000);
    }

    /// Creates a new certificate and key of the server. The certificate expires at the start of `year`.
    pub(crate) fn renew_server_until(&self, year: i32) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = ["DNS:localhost", "IP:127.0.0.1"].map(san).to_vec();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        self.sign(&params, "server.crt", "server.key");
    }

    /// Creates a client certificate that the authority signs, in `<name>.pem` and `<name>.key`.
    pub(crate) fn issue(&self, name: &str, names: Vec<SanType>) {
        self.issue_for(name, names, &[ExtendedKeyUsagePurpose::ClientAuth]);
    }

    /// Creates a client certificate for other purposes.
    pub(crate) fn issue_for(&self, name: &str, names: Vec<SanType>, purposes: &[ExtendedKeyUsagePurpose]) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = names;
        params.extended_key_usages = purposes.to_vec();
        self.sign(&params, &format!("{name}.pem"), &format!("{name}.key"));
    }

    fn sign(&self, params: &CertificateParams, certificate: &str, key_file: &str) {
        let key = KeyPair::generate().unwrap();
        let (authority, authority_key) = &self.authority;
        let issuer = Issuer::from_params(authority, authority_key);
        self.write(certificate, &params.signed_by(&key, &issuer).unwrap().pem());
        self.write(key_file, &key.serialize_pem());
    }

    fn self_sign(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![san("DNS:client")];
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self.write(&format!("{name}.pem"), &params.self_signed(&key).unwrap().pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    /// A client configuration that trusts the authority and sends the certificate in `<name>.pem`, or none if `name` is empty.
    pub(crate) fn client(&self, name: &str, version: &'static SupportedProtocolVersion) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.read("ca.pem").as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_protocol_versions(&[version]).with_root_certificates(roots);
        if name.is_empty() {
            return builder.with_no_client_auth();
        }
        let certificate = self.read(&format!("{name}.pem"));
        let key = self.read(&format!("{name}.key"));
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let signing = ring::sign::any_supported_type(&key).unwrap();
        let certified = Arc::new(rustls::sign::CertifiedKey::new(chain, signing));
        // The client sends this certificate whatever authorities the server names.
        builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)))
    }
}

/// Parses a name such as `DNS:localhost`.
pub(crate) fn san(text: &str) -> SanType {
    let (kind, name) = text.split_once(':').unwrap();
    match kind {
        "DNS" => SanType::DnsName(name.try_into().unwrap()),
        "IP" => SanType::IpAddress(name.parse().unwrap()),
        "email" => SanType::Rfc822Name(name.try_into().unwrap()),
        "URI" => SanType::URI(name.try_into().unwrap()),
        _ => panic!("{kind}"),
    }
}

/// A web configuration that enables TLS.
pub(crate) const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

/// A client that trusts one authority.
pub(crate) fn trusting(authority: &str) -> reqwest::Client {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    reqwest::Client::builder().no_proxy().tls_backend_preconfigured(config).build().unwrap()
}
