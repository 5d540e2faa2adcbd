//! `WEB_CONFIG_FILE`: what is wrong with the file is among the problems of the settings.

use std::{ffi::OsString, path::Path};

use super::{Config, Environment, Problem, Problems, Warning};
use crate::web_config;

impl Config {
    /// Reads the settings as [`Config::parse`] does, and looks into the file that `WEB_CONFIG_FILE` names.
    pub fn read(
        variables: Vec<(OsString, OsString)>,
        profile_region: Option<String>,
    ) -> Result<(Self, Vec<Warning>), Problems> {
        let environment = Environment::sort(variables.clone(), &mut Problems::default());
        let written = environment.texts.web_config_file();
        let faults =
            written.text.and_then(|path| web_config::read(Path::new(path)).err()).unwrap_or_default();
        let parsed = Self::parse(variables, profile_region);
        if faults.is_empty() {
            return parsed;
        }
        let mut problems = match parsed {
            Ok((_, warnings)) => Problems { problems: Vec::new(), warnings },
            Err(problems) => problems,
        };
        let variable = written.setting.variable;
        let faults = faults.into_iter().map(|fault| Problem::new(variable, written.text(), fault));
        problems.problems.extend(faults);
        problems.sort();
        Err(problems)
    }
}
