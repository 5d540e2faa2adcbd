//! Reading the settings with the files that they name: what is wrong with a file is among the problems.

use std::{ffi::OsString, path::Path};

use super::{Config, Environment, Problem, Problems, Warning, targets};
use crate::{watch::Files, web_config};

impl Config {
    /// Reads the settings as [`Config::parse`] does, and the files that `TARGETS_FILE` and `WEB_CONFIG_FILE` name.
    pub fn read(
        variables: Vec<(OsString, OsString)>,
        profile_region: Option<String>,
    ) -> Result<(Self, Vec<Warning>), Problems> {
        let texts = Environment::sort(variables.clone(), &mut Problems::default()).texts;
        let targets_file = texts.targets_file().text;
        let targets = targets_file.map(|path| targets::read_text(Path::new(path), &mut Files::default()));
        let written = texts.web_config_file();
        let faults =
            written.text.and_then(|path| web_config::read(Path::new(path)).err()).unwrap_or_default();
        let parsed = Self::parse_with(variables, profile_region, targets);
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
