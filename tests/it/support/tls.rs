//! A certificate that nobody but a test trusts.

use std::sync::Arc;

use rustls::{ServerConfig, pki_types::PrivateKeyDer};

/// A server that shows a certificate for `localhost` which it signed itself, and that certificate in PEM.
pub(crate) fn self_signed() -> (Arc<ServerConfig>, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    (Arc::new(config), own.cert.pem())
}
