//! What the tests share.

pub(crate) mod house;
pub(crate) mod program;
pub(crate) mod text_format;
pub(crate) mod tls;
