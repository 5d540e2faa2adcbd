//! Converts `tls_server_config` into the settings of rustls.

use std::{borrow::Cow, path::Path, sync::Arc};

use rustls::{
    NamedGroup, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{CryptoProvider, SupportedKxGroup, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{NoServerSessionStorage, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};

use super::{
    certificate::{self, CertificateOwner},
    client_certificates::{ClientAuthType, ClientCertificates},
    document::{Field, MAX_BYTES, Section},
};
use crate::{
    file_watch::{FileErrors, Files},
    model::timestamp::Timestamp,
    suggest::nearest,
};

pub(super) const FIELDS: [&str; 13] = [
    "cert",
    "key",
    "client_ca",
    "cert_file",
    "key_file",
    "client_auth_type",
    "client_ca_file",
    "client_allowed_sans",
    "min_version",
    "max_version",
    "cipher_suites",
    "prefer_server_cipher_suites",
    "curve_preferences",
];

/// The fields that enable TLS.
const ENABLING: [&str; 7] =
    ["cert", "key", "cert_file", "key_file", "client_ca", "client_ca_file", "client_auth_type"];

const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// Reads the section. Returns the TLS settings and the expiry of the certificate. `None` if the section does not enable TLS or
/// has errors, which are added to `errors`.
pub(super) fn read(
    section: &Section<'_>,
    http2: bool,
    folder: &Path,
    files: &mut Files,
    errors: &mut FileErrors,
) -> Option<(Arc<ServerConfig>, Option<Timestamp>)> {
    if !ENABLING.iter().any(|name| section.is_set(name)) {
        if let Some(field) = FIELDS.iter().find_map(|name| section.field(name)) {
            errors.add(field, "it needs a certificate; write cert_file and key_file too");
        }
        return None;
    }
    let mut reader = Reader { section, folder, files, errors };
    let chain = reader.chain();
    let key = reader.key();
    let versions = reader.versions();
    let suites = reader.cipher_suites(http2, &versions);
    let groups = reader.curves();
    let provider =
        Arc::new(CryptoProvider { cipher_suites: suites, kx_groups: groups, ..ring::default_provider() });
    let verifier = reader.client_certificates(&provider);
    let server_prefers = section.boolean("prefer_server_cipher_suites", true, reader.errors);
    let (chain, key, Ok(verifier)) = (chain?, key?, verifier) else {
        return None;
    };
    let expiry = chain.first().and_then(certificate::expiry);
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map(|builder| match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        })
        .and_then(|builder| builder.with_single_cert(chain, key));
    let mut config = match config {
        Ok(config) => config,
        Err(error) => {
            let key = reader.section.field("key_file").or_else(|| reader.section.field("key"))?;
            let explanation = match error {
                rustls::Error::InconsistentKeys(_) => {
                    "this is not the key of the certificate; write the one that belongs to it".to_owned()
                }
                error => format!("TLS cannot be set up with it: {error}; write another"),
            };
            reader.errors.add(key, explanation);
            return None;
        }
    };
    config.ignore_client_order = server_prefers;
    // Session resumption is off. Scrapers keep their connections, so they gain little from it. Without it, each handshake
    // verifies the client's certificate.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = if http2 { vec![H2.into(), HTTP_1_1.into()] } else { vec![HTTP_1_1.into()] };
    Some((Arc::new(config), expiry))
}

/// Reading failed, and the reason is among the errors.
struct Faulty;

/// Text in PEM, and the field that it comes from.
type Pem<'a> = (Field<'a>, Cow<'a, [u8]>);

struct Reader<'a, 'b> {
    section: &'b Section<'a>,
    folder: &'b Path,
    files: &'b mut Files,
    errors: &'b mut FileErrors,
}

impl<'a> Reader<'a, '_> {
    /// Reads PEM from the file or from the inline field. `None` if neither is set.
    fn pem(&mut self, inline: &str, file: &str) -> Result<Option<Pem<'a>>, Faulty> {
        let inline_text = self.section.text(inline, self.errors);
        let Some((field, path)) = self.section.text(file, self.errors) else {
            return Ok(inline_text.map(|(field, text)| (field.clone(), text.as_bytes().into())));
        };
        if inline_text.is_some() {
            self.errors.add(field, format_args!("there is {inline} too; keep one of the two"));
        }
        if path.contains("-----BEGIN") {
            // The value may be a private key.
            self.errors
                .add(field, format_args!("this is PEM (not shown) instead of a path; write it as {inline}"));
            return Err(Faulty);
        }
        let contents = self.files.read(&self.folder.join(path), MAX_BYTES);
        let contents =
            contents.map_err(|error| format!("cannot read {path:?}: {error}; write the path of a file"));
        let contents = self.errors.keep(field, contents).ok_or(Faulty)?;
        Ok(Some((field.clone(), contents.into())))
    }

    fn chain(&mut self) -> Option<Vec<CertificateDer<'static>>> {
        let Some((field, pem)) = self.pem("cert", "cert_file").ok()? else {
            self.errors.push("tls_server_config: the certificate is missing; write cert_file or cert");
            return None;
        };
        let chain = self.certificates(&field, &pem)?;
        if let Some(problem) =
            chain.first().and_then(|own| certificate::unsupported(own, CertificateOwner::Server))
        {
            self.errors.add(&field, problem);
            return None;
        }
        Some(chain)
    }

    fn certificates(&mut self, field: &Field<'_>, pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let certificates = match certificates {
            Ok(certificates) if certificates.is_empty() => {
                Err("it contains no certificate; write one in PEM".to_owned())
            }
            other => other.map_err(|_| "this is not valid PEM; write a certificate in PEM".to_owned()),
        };
        self.errors.keep(field, certificates)
    }

    fn key(&mut self) -> Option<PrivateKeyDer<'static>> {
        let Some((field, pem)) = self.pem("key", "key_file").ok()? else {
            self.errors.push("tls_server_config: the private key is missing; write key_file or key");
            return None;
        };
        let encrypted = pem.windows(9).any(|window| window == b"ENCRYPTED");
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
            if encrypted {
                "encrypted private keys are not supported; store it unencrypted, \
                 readable by the exporter alone"
            } else {
                "it contains no private key; write one in PEM"
            }
        });
        self.errors.keep(&field, key)
    }

    fn versions(&mut self) -> Vec<&'static SupportedProtocolVersion> {
        let min = self.version("min_version").unwrap_or(&TLS12);
        let max = self.version("max_version").unwrap_or(&TLS13);
        if min == &TLS13 && max == &TLS12 {
            if let Some(field) = self.section.field("min_version") {
                self.errors.add(field, "it is above max_version; write TLS12, or leave max_version out");
            }
            return vec![&TLS12];
        }
        [&TLS13, &TLS12]
            .into_iter()
            .filter(|version| !(*version == &TLS12 && min == &TLS13 || *version == &TLS13 && max == &TLS12))
            .collect()
    }

    fn version(&mut self, name: &str) -> Option<&'static SupportedProtocolVersion> {
        let (field, text) = self.section.text(name, self.errors)?;
        let version = match text {
            "TLS12" => Ok(&TLS12),
            "TLS13" => Ok(&TLS13),
            "TLS10" | "TLS11" => Err(format!(
                "{text} is insecure, and the exporter's TLS library (rustls) does not support it; write TLS12 or TLS13"
            )),
            _ => Err(format!("{text:?} is not a supported version of TLS; write TLS12 or TLS13")),
        };
        self.errors.keep(field, version)
    }

    /// The cipher suites of TLS 1.3 cannot be chosen, as in Go. They are always enabled.
    fn cipher_suites(
        &mut self,
        http2: bool,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Vec<SupportedCipherSuite> {
        let of_version = |version| move |suite: &&SupportedCipherSuite| suite.version() == version;
        let all = ring::ALL_CIPHER_SUITES;
        let list = self.section.field("cipher_suites");
        let names = list.map(|list| list.list(self.errors)).unwrap_or_default();
        let Some(list) = list.filter(|_| !names.is_empty()) else {
            return all.to_vec();
        };
        let mut chosen = Vec::new();
        for name in &names {
            let Some(text) = name.text(self.errors) else { continue };
            match all.iter().find(|suite| name_of(suite) == text) {
                Some(suite) => chosen.push(*suite),
                None => self.errors.add(name, unknown_suite(text)),
            }
        }
        let all_known = chosen.len() == names.len();
        chosen.retain(|suite| suite.version() == &TLS12);
        let has_required = chosen.iter().any(|suite| REQUIRED_BY_HTTP2.contains(&name_of(suite).as_str()));
        if all_known && http2 && versions.contains(&&TLS12) && !has_required {
            let [rsa, ecdsa] = REQUIRED_BY_HTTP2;
            self.errors.add(
                list,
                format_args!(
                    "HTTP/2 needs {rsa} or {ecdsa}; add it, or set http_server_config.http2 to false"
                ),
            );
        }
        all.iter().filter(of_version(&TLS13)).copied().chain(chosen).collect()
    }

    fn curves(&mut self) -> Vec<&'static dyn SupportedKxGroup> {
        let list = self.section.field("curve_preferences");
        let names = list.map(|list| list.list(self.errors)).unwrap_or_default();
        let mut groups: Vec<&'static dyn SupportedKxGroup> = Vec::new();
        for name in &names {
            let Some(text) = name.text(self.errors) else { continue };
            let group = match text {
                "X25519" => NamedGroup::X25519,
                "CurveP256" => NamedGroup::secp256r1,
                "CurveP384" => NamedGroup::secp384r1,
                "CurveP521" => {
                    self.errors.add(
                        name,
                        "the exporter's cryptography (ring) has no P-521; leave it out, or write X25519, CurveP256 or \
                         CurveP384",
                    );
                    continue;
                }
                _ => {
                    let nearest = nearest(text, ["X25519", "CurveP256", "CurveP384"]).unwrap_or_default();
                    self.errors.add(name, format_args!("unknown curve {text:?}; the closest is {nearest}"));
                    continue;
                }
            };
            groups.extend(ring::ALL_KX_GROUPS.iter().find(|known| known.name() == group));
        }
        if groups.is_empty() { ring::DEFAULT_KX_GROUPS.to_vec() } else { groups }
    }

    /// `None` if clients are not asked for certificates.
    fn client_certificates(
        &mut self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, Faulty> {
        let policy = match self.section.text("client_auth_type", self.errors) {
            None => ClientAuthType::NoClientCert,
            Some((field, text)) => self.errors.keep(field, ClientAuthType::parse(text)).ok_or(Faulty)?,
        };
        let authorities = match self.pem("client_ca", "client_ca_file")? {
            None => None,
            Some((field, pem)) => Some((self.certificates(&field, &pem).ok_or(Faulty)?, field)),
        };
        let sans = self.section.field("client_allowed_sans");
        let allowed_sans = sans.map(|field| {
            let names = field.list(self.errors);
            if names.is_empty() {
                self.errors.add(field, "an empty list lets nobody in; write names, or leave it out");
            }
            names.iter().filter_map(|name| name.text(self.errors)).map(str::to_owned).collect()
        });
        if policy == ClientAuthType::NoClientCert {
            for field in authorities.iter().map(|(_, field)| field).chain(sans) {
                self.errors.add(
                    field,
                    "clients are not asked for certificates; write client_auth_type: RequireAndVerifyClientCert",
                );
            }
            return Ok(None);
        }
        if policy == ClientAuthType::RequireAndVerifyClientCert && authorities.is_none() {
            let field = self.section.field("client_auth_type").ok_or(Faulty)?;
            self.errors
                .add(field, "client certificates cannot be verified without client_ca_file; set it to the CA of your clients");
            return Err(Faulty);
        }
        let field = authorities.as_ref().map(|(_, field)| field.clone());
        let authorities = authorities.map(|(authorities, _)| authorities).unwrap_or_default();
        match ClientCertificates::new(policy, authorities, allowed_sans, provider) {
            Ok(verifier) => Ok(Some(Arc::new(verifier))),
            Err(explanation) => {
                self.errors.add(&field.ok_or(Faulty)?, explanation);
                Err(Faulty)
            }
        }
    }
}

/// [HTTP/2] requires one of these cipher suites.
///
/// [HTTP/2]: https://www.rfc-editor.org/rfc/rfc9113#section-9.2.2
const REQUIRED_BY_HTTP2: [&str; 2] =
    ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"];

/// The name that Go gives to a cipher suite.
fn name_of(suite: &SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
}

/// Parts of the names of cipher suites that Go supports and rustls does not.
const UNSAFE: [&str; 3] = ["_CBC_", "_RC4_", "TLS_RSA_"];

fn unknown_suite(text: &str) -> String {
    let known: Vec<_> = ring::ALL_CIPHER_SUITES.iter().map(name_of).collect();
    let nearest = nearest(text, known.iter().map(String::as_str)).unwrap_or_default();
    if UNSAFE.iter().any(|part| text.contains(part)) {
        format!(
            "{text:?}: the exporter's TLS library (rustls) does not support it, because it is insecure; remove it; the closest \
             secure one is {nearest}"
        )
    } else {
        format!("unknown cipher suite {text:?}; the closest is {nearest}")
    }
}
