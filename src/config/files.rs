//! Reads the settings together with the files that they name. Errors in a file become problems of the settings.

use std::{ffi::OsString, path::Path};

use super::{
    Config,
    aws_variables::REGION_VARIABLES,
    environment::Environment,
    error::{SettingError, SettingErrors, Warning},
    targets,
};
use crate::{file_watch::Files, web};

impl Config {
    /// Reads the settings like [`Config::parse`], and also AWS's files and the files that `TARGETS_FILE` and `WEB_CONFIG_FILE`
    /// name.
    pub fn read(variables: Vec<(OsString, OsString)>) -> Result<(Self, Vec<Warning>), SettingErrors> {
        let environment = Environment::sort(variables.clone(), &mut SettingErrors::default());
        let texts = &environment.texts;
        let targets_file = texts.targets_file().text;
        let targets = targets_file.map(|path| targets::read_text(Path::new(path), &mut Files::default()));
        let written = texts.web_config_file();
        let faults =
            written.text.and_then(|path| web::config::read(Path::new(path)).err()).unwrap_or_default();
        let variable = written.setting.variable;
        let mut wrong: Vec<_> =
            faults.into_iter().map(|fault| SettingError::new(variable, written.text(), fault)).collect();
        let profiles = match environment.credentials.read() {
            Ok(profiles) => Some(profiles),
            Err(errors) => {
                wrong.extend(errors.into_iter().map(SettingError::of_profile));
                None
            }
        };
        let parsed = Self::parse_with(variables, profiles.as_ref(), targets);
        if wrong.is_empty() {
            return parsed;
        }
        let mut problems = match parsed {
            Ok((_, warnings)) => SettingErrors { problems: Vec::new(), warnings },
            Err(problems) => problems,
        };
        if profiles.is_none() {
            // The region may be in the file that cannot be read, so a missing region is not reported.
            problems
                .problems
                .retain(|problem| problem.variable != REGION_VARIABLES[0] || problem.value.is_some());
        }
        problems.problems.extend(wrong);
        problems.sort();
        Err(problems)
    }
}
