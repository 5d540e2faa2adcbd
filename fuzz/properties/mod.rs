//! What must hold for any input, one function for each fuzz target: libFuzzer looks for inputs that break it, and a test runs
//! the inputs that it kept (`fuzz/corpus`) through the same functions.

#![expect(
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "what was written is compared with what its reader has: floats"
)]

pub(crate) mod answers;
pub(crate) mod aws_files;
pub(crate) mod credentials;
pub(crate) mod dates;
pub(crate) mod errors;
pub(crate) mod exposition;
pub(crate) mod query;
pub(crate) mod settings;
pub(crate) mod targets;
pub(crate) mod web_config;

/// Checks one input, and panics where a property does not hold.
pub(crate) type Property = fn(&[u8]);

/// Every fuzz target, by the name of its corpus.
pub(crate) const ALL: &[(&str, Property)] = &[
    ("answers", answers::check),
    ("aws_files", aws_files::check),
    ("credentials", credentials::check),
    ("dates", dates::check),
    ("errors", errors::check),
    ("exposition", exposition::check),
    ("query", query::check),
    ("settings", settings::check),
    ("targets", targets::check),
    ("web_config", web_config::check),
];
