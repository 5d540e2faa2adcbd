//! Support code that the tests share.

pub(crate) mod harness;
pub(crate) mod pki;
pub(crate) mod ports;
pub(crate) mod program;
pub(crate) mod raw;
pub(crate) mod text_format;
pub(crate) mod tls;
