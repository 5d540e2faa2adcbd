//! What the tests share.

pub(crate) mod text_format;
