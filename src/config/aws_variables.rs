//! The names of AWS's variables that are settings of the exporter.

use super::proxy;
use crate::model::printable;

pub(super) const CA_BUNDLE: &str = "AWS_CA_BUNDLE";
/// In order of precedence.
pub(super) const REGION_VARIABLES: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
pub(super) const ENDPOINT_URL: &str = "AWS_ENDPOINT_URL";
pub(super) const PINPOINT_ENDPOINT_URL: &str = "AWS_ENDPOINT_URL_PINPOINT";
pub(super) const STS_ENDPOINT_URL: &str = "AWS_ENDPOINT_URL_STS";
pub(super) const IGNORE_ENDPOINT_URLS: &str = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS";
pub(super) const USE_FIPS: &str = "AWS_USE_FIPS_ENDPOINT";
pub(super) const USE_DUALSTACK: &str = "AWS_USE_DUALSTACK_ENDPOINT";

/// The AWS variables that `config` reads, except `AWS_CA_BUNDLE`, whose value may be a path that is not UTF-8.
pub(super) fn variables() -> impl Iterator<Item = &'static str> {
    let others = [
        ENDPOINT_URL,
        PINPOINT_ENDPOINT_URL,
        STS_ENDPOINT_URL,
        IGNORE_ENDPOINT_URLS,
        USE_FIPS,
        USE_DUALSTACK,
    ];
    REGION_VARIABLES.into_iter().chain(others).chain(proxy::VARIABLES)
}

/// Returns the value of a variable for display. Secrets in URLs are masked.
pub(super) fn shown(variable: &str, text: &str) -> String {
    let is_url = variable.contains("ENDPOINT_URL") && variable != IGNORE_ENDPOINT_URLS;
    if is_url || proxy::VARIABLES.contains(&variable) { printable::url(text) } else { text.to_owned() }
}
