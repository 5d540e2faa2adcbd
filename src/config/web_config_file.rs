//! The files that settings name: what is wrong with `WEB_CONFIG_FILE` and with AWS's files is among the problems of the settings.

use std::{ffi::OsString, path::Path};

use super::{Config, Environment, Problem, Problems, REGION_VARIABLES, Warning};
use crate::web_config;

impl Config {
    /// Reads the settings as [`Config::parse`] does, and looks into the files that they name: that of `WEB_CONFIG_FILE`, and
    /// AWS's. Not so `healthcheck`: the server may hold a file that was good, while what stands there now is broken.
    pub fn read(
        variables: Vec<(OsString, OsString)>,
        looks_into_files: bool,
    ) -> Result<(Self, Vec<Warning>), Problems> {
        let environment = Environment::sort(variables.clone(), &mut Problems::default());
        let written = environment.texts.web_config_file();
        let path = written.text.filter(|_| looks_into_files);
        let faults = path.and_then(|path| web_config::read(Path::new(path)).err()).unwrap_or_default();
        let variable = written.setting.variable;
        let mut wrong: Vec<_> =
            faults.into_iter().map(|fault| Problem::new(variable, written.text(), fault)).collect();
        let profiles = match environment.credentials.read() {
            Ok(profiles) => Some(profiles),
            Err(errors) => {
                wrong.extend(errors.into_iter().filter(|_| looks_into_files).map(Problem::of_profile));
                None
            }
        };
        let parsed = Self::parse(variables, profiles.as_ref());
        if wrong.is_empty() {
            return parsed;
        }
        let mut problems = match parsed {
            Ok((_, warnings)) => Problems { problems: Vec::new(), warnings },
            Err(problems) => problems,
        };
        if profiles.is_none() {
            // The region may be in the file that cannot be read.
            problems
                .problems
                .retain(|problem| problem.variable != REGION_VARIABLES[0] || problem.value.is_some());
        }
        problems.problems.extend(wrong);
        problems.sort();
        Err(problems)
    }
}
