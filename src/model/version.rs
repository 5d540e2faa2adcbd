//! The version of this program, its source revision, and the version of its compiler.

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The source revision, or `unknown`.
pub const REVISION: &str = env!("PINPOINT_EXPORTER_REVISION");

pub const RUSTC_VERSION: &str = env!("PINPOINT_EXPORTER_RUSTC_VERSION");
