//! Parses `LOG_LEVEL` into the filter of the log. Whatever the setting asks for, the filter drops log lines of dependencies
//! that may contain a secret.

use tracing_subscriber::filter::{LevelFilter, Targets};

use super::value::Explanation;
use crate::suggest::nearest;

/// The most verbose level that may be logged for each target. The longest matching prefix decides. The levels follow from the
/// sources of the dependencies, in the versions of `Cargo.lock` at the time. The history of this file shows which versions
/// those are.
///
/// * `aws_sigv4` logs requests and strings to sign at trace.
/// * `aws_config` logs access key ids at info. At debug and warn it logs errors of credential sources in their debug form. That
///   form contains whole responses, and the stderr of a credential process. The exporter logs such failures itself, without
///   these details.
/// * `aws_runtime::env_config::normalize` logs lines of the profile file that it does not understand at warn.
/// * `aws_smithy_*` and the service clients log requests and responses at trace, and errors in their debug form at debug.
/// * `aws_smithy_runtime::client::http::connection_poisoning` logs an error for each failed call to a metadata service, because
///   the exporter's HTTP client manages its connections itself.
/// * All other dependencies stay below trace, because libraries log the transferred data at trace.
///
/// Lines that are logged through the crate `log` (reqwest, rustls) never reach the exporter's log.
const MAX_LEVELS: &[(&str, LevelFilter)] = &[
    ("", LevelFilter::DEBUG),
    ("aws_config", LevelFilter::ERROR),
    ("aws_credential", LevelFilter::INFO),
    ("aws_runtime", LevelFilter::INFO),
    ("aws_runtime::env_config::normalize", LevelFilter::ERROR),
    ("aws_sdk", LevelFilter::INFO),
    ("aws_sigv4", LevelFilter::INFO),
    ("aws_smithy", LevelFilter::INFO),
    ("aws_smithy_runtime::client::http::connection_poisoning", LevelFilter::OFF),
    ("h2", LevelFilter::INFO),
    ("hyper", LevelFilter::DEBUG),
    ("pinpoint_exporter", LevelFilter::TRACE),
    ("reqwest", LevelFilter::INFO),
    ("rustls", LevelFilter::INFO),
];

/// These targets log at debug whenever a connection is used, which hides the exporter's own lines. They stay at info unless the
/// filter names them.
const QUIET: [&str; 1] = ["hyper_util"];

const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// Parses a level, or a list of `target=level` directives, which can contain a default level. If a target occurs twice, the
/// later directive wins.
pub(super) fn log_filter(text: &str) -> Result<Targets, Explanation> {
    let mut asked = Vec::new();
    for directive in text.split(',').map(str::trim) {
        if directive.is_empty() {
            return Err("a part of the filter is empty; write such as warn,pinpoint_exporter=debug".into());
        }
        asked.push(match directive.split_once('=') {
            None => ("", level(directive)?),
            Some((target, _)) if !is_target(target.trim()) => {
                return Err(format!(
                    "{target:?} is not the name of a module; write a filter such as pinpoint_exporter=debug"
                ));
            }
            Some((target, text)) => (target.trim(), level(text.trim())?),
        });
    }
    for quiet in QUIET {
        let is_named = asked.iter().any(|(target, _)| {
            !target.is_empty() && (quiet.starts_with(target) || target.starts_with(quiet))
        });
        if !is_named {
            asked.push((quiet, level_of(&asked, quiet).min(LevelFilter::INFO)));
        }
    }
    Ok(limited(&asked))
}

fn level(text: &str) -> Result<LevelFilter, Explanation> {
    LEVELS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, level)| level).ok_or_else(
        || {
            if is_target(text) && (text.contains("::") || text == "pinpoint_exporter") {
                return format!("the level of {text} is missing; write {text}=debug");
            }
            let names = LEVELS.map(|(name, _)| name);
            let nearest = nearest(text, names).unwrap_or_default();
            format!("{text:?} is not a log level; the closest is {nearest}, of {}", names.join(", "))
        },
    )
}

fn is_target(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-' | '.'))
}

/// Limits the requested levels to those that [`MAX_LEVELS`] allows.
fn limited(asked: &[(&str, LevelFilter)]) -> Targets {
    let mut filter = Targets::new().with_default(LevelFilter::OFF);
    // Every target in either table needs its own entry. A limit must hold below a broader request, and a request must hold
    // below a broader limit.
    for target in MAX_LEVELS.iter().chain(asked).map(|(target, _)| *target) {
        let level = level_of(asked, target).min(level_of(MAX_LEVELS, target));
        filter =
            if target.is_empty() { filter.with_default(level) } else { filter.with_target(target, level) };
    }
    filter
}

/// The level of the longest prefix of `target` in a table. If a prefix occurs twice, the last one counts.
fn level_of(table: &[(&str, LevelFilter)], target: &str) -> LevelFilter {
    table
        .iter()
        .filter(|(prefix, _)| target.starts_with(prefix))
        .max_by_key(|(prefix, _)| prefix.len())
        .map_or(LevelFilter::OFF, |(_, level)| *level)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    /// The most verbose level that the filter lets through for a target.
    fn max_level(filter: &Targets, target: &str) -> Option<Level> {
        [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR]
            .into_iter()
            .find(|level| filter.would_enable(target, level))
    }

    #[test]
    fn a_level_is_that_of_everything_up_to_its_limit() {
        let filter = log_filter("Trace").unwrap();
        for (target, level) in [
            ("pinpoint_exporter::collect", Level::TRACE),
            ("some_crate", Level::DEBUG),
            ("aws_sigv4::http_request::sign", Level::INFO),
            ("aws_smithy_runtime::client::orchestrator", Level::INFO),
            ("aws_config::profile::credentials", Level::ERROR),
            ("aws_runtime::env_config::normalize", Level::ERROR),
            ("aws_runtime::env_config::source", Level::INFO),
            ("hyper::proto", Level::DEBUG),
        ] {
            assert_eq!(max_level(&filter, target), Some(level), "{target}");
        }
        assert_eq!(max_level(&log_filter("warn").unwrap(), "pinpoint_exporter"), Some(Level::WARN));
        assert_eq!(max_level(&log_filter("off").unwrap(), "pinpoint_exporter"), None);
    }

    #[test]
    fn the_connection_pool_is_logged_at_debug_only_when_a_filter_names_it() {
        for (text, level) in [
            ("debug", Level::INFO),
            ("debug,pinpoint_exporter=trace", Level::INFO),
            ("warn", Level::WARN),
            ("info,hyper_util=debug", Level::DEBUG),
            ("info,hyper=debug", Level::DEBUG),
            ("info,hyper_util::client=debug", Level::DEBUG),
        ] {
            let filter = log_filter(text).unwrap();
            assert_eq!(max_level(&filter, "hyper_util::client::legacy::pool"), Some(level), "{text}");
        }
        assert_eq!(max_level(&log_filter("off").unwrap(), "hyper_util::client"), None);
    }

    #[test]
    fn no_filter_gets_past_a_limit() {
        for text in [
            "aws=trace",
            "a=trace",
            "aws_sigv4=trace",
            "aws_sigv4::http_request=trace",
            "info,aws_sigv4::http_request::sign=trace",
        ] {
            let filter = log_filter(text).unwrap();
            assert_eq!(max_level(&filter, "aws_sigv4::http_request::sign"), Some(Level::INFO), "{text}");
        }
        let filter = log_filter("aws_config::profile=debug").unwrap();
        assert_eq!(max_level(&filter, "aws_config::profile::credentials"), Some(Level::ERROR));
        assert_eq!(max_level(&filter, "pinpoint_exporter"), None);
    }

    #[test]
    fn a_filter_gives_each_target_its_level() {
        let filter =
            log_filter("warn, pinpoint_exporter=debug,pinpoint_exporter::web=error,aws_config=off").unwrap();
        assert_eq!(max_level(&filter, "pinpoint_exporter::collect"), Some(Level::DEBUG));
        assert_eq!(max_level(&filter, "pinpoint_exporter::web::tls"), Some(Level::ERROR));
        assert_eq!(max_level(&filter, "hyper"), Some(Level::WARN));
        assert_eq!(max_level(&filter, "aws_config"), None);
        let last_wins = log_filter("pinpoint_exporter=debug,pinpoint_exporter=warn,info,error").unwrap();
        assert_eq!(max_level(&last_wins, "pinpoint_exporter"), Some(Level::WARN));
        assert_eq!(max_level(&last_wins, "hyper"), Some(Level::ERROR));
    }

    #[test]
    fn a_word_that_is_no_level_is_refused_with_the_nearest() {
        for (text, cure) in [
            ("inof", "closest is info"),
            ("warning", "closest is warn"),
            ("DEBG", "closest is debug"),
            ("info,pinpoint_exporter", "pinpoint_exporter=debug"),
            ("pinpoint_exporter::web", "pinpoint_exporter::web=debug"),
            ("pinpoint_exporter=verbose", "not a log level"),
            ("info,,warn", "empty"),
            ("info,", "empty"),
            ("=debug", "not the name of a module"),
            ("foo[{bar}]=debug", "not the name of a module"),
            ("a=b=info", "not a log level"),
        ] {
            let explanation = log_filter(text).unwrap_err();
            assert!(explanation.contains(cure), "{text}: {explanation}");
        }
    }
}
