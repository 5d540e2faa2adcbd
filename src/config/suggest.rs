//! Suggests a name for a setting or an argument that does not exist.

use super::settings::{PREFIX, SETTINGS};
use crate::suggest::nearest;

/// Names that other programs use for a setting, as [`normalized`] returns them, and the variable to set instead.
const OTHER_NAMES: [(&str, &str); 26] = [
    ("WEB_LISTEN_ADDRESS", "PINPOINT_EXPORTER_LISTEN_ADDRESS"),
    ("LISTEN", "PINPOINT_EXPORTER_LISTEN_ADDRESS"),
    ("ADDRESS", "PINPOINT_EXPORTER_LISTEN_ADDRESS"),
    ("BIND", "PINPOINT_EXPORTER_LISTEN_ADDRESS"),
    ("BIND_ADDRESS", "PINPOINT_EXPORTER_LISTEN_ADDRESS"),
    ("HOST", "PINPOINT_EXPORTER_LISTEN_ADDRESS"),
    ("PORT", "PINPOINT_EXPORTER_LISTEN_ADDRESS"),
    ("WEB_CONFIG", "PINPOINT_EXPORTER_WEB_CONFIG_FILE"),
    ("LOGLEVEL", "PINPOINT_EXPORTER_LOG_LEVEL"),
    ("VERBOSE", "PINPOINT_EXPORTER_LOG_LEVEL"),
    ("DEBUG", "PINPOINT_EXPORTER_LOG_LEVEL"),
    ("EXTERNAL_ID", "PINPOINT_EXPORTER_ROLE_EXTERNAL_ID"),
    ("ROLE_ARN", "PINPOINT_EXPORTER_ROLE_ARNS"),
    ("TTL", "PINPOINT_EXPORTER_CACHE_TTL"),
    ("REGION", "AWS_REGION"),
    ("AWS_REGION", "AWS_REGION"),
    ("REGIONS", "AWS_REGION"),
    ("PROFILE", "AWS_PROFILE"),
    ("AWS_PROFILE", "AWS_PROFILE"),
    ("ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"),
    ("SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"),
    ("ENDPOINT", "AWS_ENDPOINT_URL_PINPOINT"),
    ("ENDPOINT_URL", "AWS_ENDPOINT_URL_PINPOINT"),
    ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL"),
    ("CA_BUNDLE", "AWS_CA_BUNDLE"),
    ("PROXY", "HTTPS_PROXY"),
];

/// Returns the variable for a name: a setting without its prefix, or a name from another program. The name can have the form of
/// an option (`--web.listen-address`) or of a variable.
pub(crate) fn variable_of(name: &str) -> Option<&'static str> {
    let name = normalized(name);
    let own = SETTINGS.iter().find(|setting| setting.name == name).map(|setting| setting.variable);
    own.or_else(|| OTHER_NAMES.iter().find(|(other, _)| *other == name).map(|(_, variable)| *variable))
}

/// Returns the variable that a misspelt setting, without its prefix, probably means.
pub(super) fn setting_like(name: &str) -> Option<&'static str> {
    let name = normalized(name);
    let names = || SETTINGS.iter().map(|setting| setting.name);
    let variable = || {
        let close = close(&name, names())?;
        SETTINGS.iter().find(|setting| setting.name == close).map(|setting| setting.variable)
    };
    variable_of(&name).or_else(variable)
}

/// Returns the name in `names` that a misspelt `word` probably means. It differs by a few typing errors, or it is the only name
/// that contains `word`.
pub(crate) fn close<'a>(word: &str, names: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let is_typo = |name: &&str| {
        let mistakes = strsim::damerau_levenshtein(&lower, &name.to_lowercase());
        mistakes <= (word.chars().count() / 4).max(1) && mistakes < name.chars().count()
    };
    let typo = nearest(word, names.clone().filter(is_typo));
    typo.or_else(|| {
        let mut holders = names.filter(|name| lower.len() >= 4 && name.to_lowercase().contains(&lower));
        let first = holders.next()?;
        holders.next().is_none().then_some(first)
    })
}

/// Converts an option or a variable to the form of a setting's name: without value, dashes and prefix, in upper case, with `_`
/// between words.
fn normalized(name: &str) -> String {
    let name = name.split('=').next().unwrap_or_default().trim_start_matches('-');
    let name = name.to_uppercase().replace(['.', '-', ':'], "_");
    name.strip_prefix(PREFIX).unwrap_or(&name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_other_exporters_name_the_variable() {
        for (option, variable) in [
            ("--web.listen-address=:9787", "PINPOINT_EXPORTER_LISTEN_ADDRESS"),
            ("--listen-address", "PINPOINT_EXPORTER_LISTEN_ADDRESS"),
            ("--port", "PINPOINT_EXPORTER_LISTEN_ADDRESS"),
            ("--web.config.file=web.yml", "PINPOINT_EXPORTER_WEB_CONFIG_FILE"),
            ("--log.level", "PINPOINT_EXPORTER_LOG_LEVEL"),
            ("--log.format", "PINPOINT_EXPORTER_LOG_FORMAT"),
            ("--region=us-east-1", "AWS_REGION"),
            ("--targets", "PINPOINT_EXPORTER_TARGETS"),
            ("--cache-ttl", "PINPOINT_EXPORTER_CACHE_TTL"),
            ("PINPOINT_EXPORTER_TARGETS=a", "PINPOINT_EXPORTER_TARGETS"),
        ] {
            assert_eq!(variable_of(option), Some(variable), "{option}");
        }
        assert_eq!(variable_of("--web.telemetry-path"), None);
        assert!(OTHER_NAMES.iter().all(|(name, _)| normalized(name) == *name));
    }

    #[test]
    fn a_name_that_is_far_from_all_settings_suggests_none() {
        for (name, variable) in [
            ("LISTEN", Some("PINPOINT_EXPORTER_LISTEN_ADDRESS")),
            ("REGION", Some("AWS_REGION")),
            ("MAX_AGE", Some("PINPOINT_EXPORTER_FINISHED_JOB_MAX_AGE")),
            ("STALENESS", Some("PINPOINT_EXPORTER_MAX_STALENESS")),
            ("CAHCE_TLT", Some("PINPOINT_EXPORTER_CACHE_TTL")),
            ("TIMEOUT", None),
            ("FOO", None),
            ("X", None),
            ("", None),
        ] {
            assert_eq!(setting_like(name), variable, "{name}");
        }
    }
}
