//! The environment variables that the exporter uses.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use super::{
    aws_variables::{self, CA_BUNDLE},
    effective::{ENVIRONMENT, EffectiveSetting},
    error::{SettingError, SettingErrors, Warning},
    profile::{AwsEnvironment, is_blank},
    settings::{PREFIX, RawSettings, SETTINGS},
    suggest,
};

pub(super) const HOST_NAME: &str = "HOSTNAME";

/// The environment variables that the exporter uses. Values are trimmed, and empty variables are left out.
#[derive(Debug, Default)]
pub(super) struct Environment {
    pub(super) texts: RawSettings,
    /// AWS's variables and `HOSTNAME`.
    pub(super) others: BTreeMap<&'static str, String>,
    pub(super) ca_bundle: Option<PathBuf>,
    pub(super) credentials: AwsEnvironment,
}

impl Environment {
    pub(super) fn sort(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        problems: &mut SettingErrors,
    ) -> Self {
        let variables: Vec<_> = variables.into_iter().collect();
        let mut settings = BTreeMap::new();
        let mut environment = Self { credentials: AwsEnvironment::of(&variables), ..Self::default() };
        for (name, text) in variables {
            if name == CA_BUNDLE {
                // A path may be non-UTF-8, and white space can be part of it.
                environment.ca_bundle = (!is_blank(&text)).then(|| text.into());
                continue;
            }
            let known = SETTINGS
                .iter()
                .map(|setting| setting.variable)
                .chain(aws_variables::variables())
                .chain([HOST_NAME]);
            let Some(variable) = known.into_iter().find(|variable| name == *variable) else {
                problems.warnings.extend(unknown_setting(&name));
                continue;
            };
            let Ok(text) = text.into_string() else {
                if variable != HOST_NAME {
                    problems.problems.push(SettingError::without_value(
                        variable,
                        "its value is not UTF-8 (and not shown); set it again",
                    ));
                }
                continue;
            };
            let text = text.trim();
            if text.is_empty() {
                continue;
            }
            if variable.starts_with(PREFIX) {
                settings.insert(variable, text.to_owned());
            } else {
                environment.others.insert(variable, text.to_owned());
            }
        }
        let settings = settings.into_iter().map(|(name, text)| (name.to_owned(), text));
        match envy::prefixed(PREFIX).from_iter(settings) {
            Ok(texts) => environment.texts = texts,
            // The names come from the table and all values are text. So this can only fail because of a bug in this file.
            Err(_) => {
                problems.problems.push(SettingError::without_value(PREFIX, "the settings cannot be read"));
            }
        }
        environment
    }

    /// All settings, and the AWS settings that are set and that the exporter reads itself.
    pub(super) fn effective(&self, of_profile: Vec<EffectiveSetting>) -> Vec<EffectiveSetting> {
        let settings = self.texts.all().map(EffectiveSetting::of);
        let asks_host_name = self.texts.shard().text().starts_with("auto/");
        let others = self.others.iter().filter(|(variable, _)| **variable != HOST_NAME || asks_host_name);
        let others = others.map(|(variable, text)| EffectiveSetting {
            variable,
            value: aws_variables::shown(variable, text),
            source: ENVIRONMENT.into(),
        });
        let ca_bundle = self.ca_bundle.iter().map(|path| EffectiveSetting {
            variable: CA_BUNDLE,
            value: path.display().to_string(),
            source: ENVIRONMENT.into(),
        });
        settings.chain(of_profile).chain(others).chain(ca_bundle).collect()
    }

    pub(super) fn other(&self, variable: &str) -> Option<&str> {
        self.others.get(variable).map(String::as_str)
    }
}

/// Returns a warning if the name has the exporter's prefix, ignoring case.
fn unknown_setting(name: &OsStr) -> Option<Warning> {
    let name = name.to_string_lossy();
    let upper_case = name.to_uppercase();
    let rest = upper_case.strip_prefix(PREFIX)?;
    let close = suggest::setting_like(rest);
    let of_port = rest.strip_prefix("PORT").unwrap_or("x");
    let from_service = rest.starts_with("SERVICE_HOST")
        || rest.starts_with("SERVICE_PORT")
        || of_port.is_empty()
        || of_port.starts_with('_');
    let variable = name.escape_debug().to_string();
    Some(Warning::UnknownSetting { variable, close, from_service })
}
