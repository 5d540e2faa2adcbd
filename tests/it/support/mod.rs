//! What the tests share.

pub mod text_format;
