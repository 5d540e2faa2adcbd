//! What the tests share.

pub(crate) mod raw;
pub(crate) mod text_format;
