//! Problems and warnings about the settings, as sentences for the operator.

use std::fmt;

use super::{aws_variables::CA_BUNDLE, profile};
use crate::model::printable;

/// One problem with a setting. It prints as one line with the variable, its value, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError {
    /// The full name of the variable.
    pub variable: String,
    /// The value for display: quoted, escaped, shortened, with secrets masked. `None` if the variable is not set or its value
    /// must not be shown.
    pub value: Option<String>,
    /// What is wrong, and what to write instead.
    pub explanation: String,
}

impl SettingError {
    pub(super) fn new(variable: &str, value: &str, explanation: impl Into<String>) -> Self {
        let is_path = variable.ends_with("_FILE") || variable == CA_BUNDLE;
        let value = if is_path { printable::path(value) } else { value.into() };
        Self { value: Some(quoted(&value)), ..Self::without_value(variable, explanation) }
    }

    /// Returns a problem with one of AWS's files or with a profile.
    pub(super) fn of_profile(error: profile::Error) -> Self {
        let value = error.value.as_deref().map(quoted);
        Self { value, ..Self::without_value(error.variable, error.problem) }
    }

    /// Returns a problem with a variable that is not set, or whose value must not be shown.
    pub(super) fn without_value(variable: &str, explanation: impl Into<String>) -> Self {
        // The explanation can repeat a part of the value.
        let explanation = printable::without_keys(&explanation.into()).into_owned();
        Self { variable: variable.into(), value: None, explanation }
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.variable)?;
        if let Some(value) = &self.value {
            write!(f, "={value}")?;
        }
        write!(f, ": {}", self.explanation)
    }
}

/// All problems with the settings. It prints one problem per line, and then the warnings. A warning about a misspelt name often
/// shows the cause of a problem.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
pub struct SettingErrors {
    /// The problems. Never empty when this is returned as an error.
    pub problems: Vec<SettingError>,
    /// The warnings.
    pub warnings: Vec<Warning>,
}

impl fmt::Display for SettingErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems = self.problems.iter().map(ToString::to_string);
        let warnings = self.warnings.iter().map(|warning| format!("warning: {warning}"));
        f.write_str(&problems.chain(warnings).collect::<Vec<_>>().join("\n"))
    }
}

impl SettingErrors {
    /// Returns the value that was read, or records the problem.
    pub(super) fn keep<T>(&mut self, reading: Result<T, SettingError>) -> Option<T> {
        reading.map_err(|problem| self.problems.push(problem)).ok()
    }
}

/// Something unusual about the settings that does no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A variable with the exporter's prefix that is not a setting.
    UnknownSetting {
        /// The variable's name, escaped.
        variable: String,
        /// The variable that was probably meant.
        close: Option<&'static str>,
        /// Whether Kubernetes sets a variable like this for a Service with the exporter's name.
        from_service: bool,
    },
    /// A role of `ROLE_ARNS` for an account that no target names.
    UnusedRole {
        role_arn: String,
        /// The account of the role.
        account_id: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSetting { variable, close, from_service } => {
                write!(f, "{variable} is not a setting and has no effect; ")?;
                match close {
                    Some(close) => write!(f, "the closest is {close}")?,
                    None => f.write_str("pinpoint-exporter --help lists all settings")?,
                }
                if *from_service {
                    write!(
                        f,
                        " (it looks like a variable that Kubernetes sets for a Service named pinpoint-exporter; \
                         enableServiceLinks: false in the pod avoids it)"
                    )?;
                }
                Ok(())
            }
            Self::UnusedRole { role_arn, account_id } => write!(
                f,
                "PINPOINT_EXPORTER_ROLE_ARNS: the role {role_arn} is never used, because no target is in account \
                 {account_id}; check the account in both"
            ),
        }
    }
}

/// Returns a value as problems show it: quoted, escaped, shortened, and without anything that looks like a key.
pub(crate) fn quoted(value: &str) -> String {
    const MAX_CHARACTERS: usize = 80;
    let value = printable::without_keys(value);
    let mut shown: String = value.chars().take(MAX_CHARACTERS).collect();
    if shown.len() < value.len() {
        shown.push('…');
    }
    format!("\"{}\"", shown.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_value_is_quoted_escaped_and_shortened() {
        assert_eq!(quoted("a\n\"b\u{202e}\u{1b}"), r#""a\n\"b\u{202e}\u{1b}""#);
        assert_eq!(quoted(&"é".repeat(80)), format!("\"{}\"", "é".repeat(80)));
        assert_eq!(quoted(&"é".repeat(81)), format!("\"{}…\"", "é".repeat(80)));
    }
}
