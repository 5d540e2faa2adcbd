//! Reads certificates from DER, to explain why one cannot be used. Does no I/O.

use rustls::pki_types::CertificateDer;
use x509_cert::{
    Certificate,
    certificate::Version,
    der::{
        Decode as _,
        asn1::{ObjectIdentifier, Uint},
    },
};

use crate::model::timestamp::Timestamp;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ELLIPTIC_CURVE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// Whose certificate it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CertificateOwner {
    /// The exporter's own certificate, whose key signs.
    Server,
    /// A client's certificate, whose signature is verified.
    Client,
}

impl CertificateOwner {
    /// The sizes in bits of the RSA keys that ring supports.
    fn rsa_bits(self) -> std::ops::RangeInclusive<usize> {
        match self {
            Self::Server => 2048..=4096,
            Self::Client => 2048..=8192,
        }
    }
}

/// Explains why the exporter cannot use a certificate, and what to do. `None` if its version and key are supported. Also `None`
/// if it cannot be parsed, which other code reports.
pub(super) fn unsupported(certificate: &CertificateDer<'_>, owner: CertificateOwner) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let certificate = certificate.tbs_certificate();
    if certificate.version() != Version::V3 {
        let number = if certificate.version() == Version::V1 { 1 } else { 2 };
        return Some(format!(
            "the certificate has X.509 version {number}, and the exporter's TLS library (rustls) reads version 3 only; issue it \
             with extensions, such as: openssl x509 -req … -extfile <(echo subjectAltName=DNS:exporter.example.com)"
        ));
    }
    let key = certificate.subject_public_key_info();
    if key.algorithm.oid == RSA {
        let numbers = Vec::<Uint>::from_der(key.subject_public_key.raw_bytes()).ok()?;
        let bits = bits(numbers.first()?.as_bytes());
        let supported = owner.rsa_bits();
        if !supported.contains(&bits) {
            return Some(format!(
                "the certificate's RSA key has {bits} bits, and the exporter's cryptography (ring) accepts {} to {}; issue it for \
                 an RSA key of 3072 bits or an ECDSA key on P-256",
                supported.start(),
                supported.end()
            ));
        }
    } else if key.algorithm.oid == ELLIPTIC_CURVE {
        let curve: ObjectIdentifier = key.algorithm.parameters.as_ref()?.decode_as().ok()?;
        if curve == P521 {
            return Some(
                "the certificate's key is on the curve P-521, which the exporter's cryptography (ring) does not have; issue it \
                 for a key on P-256 or P-384"
                    .to_owned(),
            );
        }
    }
    None
}

/// The number of bits of a big-endian number without leading zero bytes.
fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

pub(super) fn expiry(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let not_after = certificate.tbs_certificate().validity().not_after.to_unix_duration();
    not_after.as_millis().try_into().ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_counted_from_the_first_one() {
        for (number, expected) in [(&[][..], 0), (&[1], 1), (&[0x80], 8), (&[0x7f, 0xff], 15), (&[1, 0], 9)] {
            assert_eq!(bits(number), expected, "{number:?}");
        }
    }
}
