//! What this program is: its version, the revision that it is built from, and the compiler.

/// The version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The revision of the source, or `unknown`.
pub const REVISION: &str = env!("PINPOINT_EXPORTER_REVISION");

/// The version of the Rust compiler.
pub const RUSTC_VERSION: &str = env!("PINPOINT_EXPORTER_RUSTC_VERSION");
