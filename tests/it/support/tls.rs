//! A self-signed certificate for tests.

use std::sync::Arc;

use rustls::{ServerConfig, pki_types::PrivateKeyDer};

/// The configuration of a server with a self-signed certificate for `localhost`, and that certificate in PEM.
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
