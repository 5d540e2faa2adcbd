//! Reads `TARGETS` and `TARGETS_FILE`.

use std::path::{Path, PathBuf};

use super::{
    aws_variables::REGION_VARIABLES,
    error::{SettingError, SettingErrors, quoted},
    settings::RawSettings,
};
use crate::{
    file_watch::{FileErrors, Files},
    model::{
        printable::holds_key,
        target::{self, Entry, TargetPattern},
    },
};

/// The maximum size of the file. A larger file has more targets than the limit allows.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The file of `TARGETS_FILE`, and the settings that its targets depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetsFile {
    pub path: PathBuf,
    /// The value of `TARGETS`, or `""`.
    targets: String,
    /// The configured region.
    region: Option<String>,
}

impl TargetsFile {
    pub(super) fn new(texts: &RawSettings, region: Option<&str>) -> Option<Self> {
        let path = texts.targets_file().text?.into();
        Some(Self { path, targets: texts.targets().text().to_owned(), region: region.map(str::to_owned) })
    }

    /// Reads the file again and returns all targets, or one sentence for each error.
    pub(crate) fn read(&self, files: &mut Files) -> Result<Vec<TargetPattern>, Vec<String>> {
        let text = read_text(&self.path, files).map_err(|fault| vec![fault])?;
        let parsed = target::parse_with_file(&self.targets, &text, self.region.as_deref());
        let mut faults = FileErrors::default();
        parsed.errors.iter().for_each(|error| faults.push(fault(error)));
        if let Some(entry) = &parsed.without_region {
            faults.push(without_region(entry));
        }
        faults.none_or(parsed.patterns.into_keys().collect())
    }
}

/// Reads a file of targets.
pub(super) fn read_text(path: &Path, files: &mut Files) -> Result<String, String> {
    let bytes = files.read(path, MAX_BYTES);
    let bytes = bytes.map_err(|error| format!("cannot read it: {error}; write the path of a file"))?;
    let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    let text = text.ok_or_else(|| "it is not UTF-8; save it as UTF-8".to_owned())?;
    let is_wrong = |line: &str| line.split('#').next().is_some_and(looks_secret);
    match text.lines().position(is_wrong) {
        Some(index) => Err(format!("line {}: {LOOKS_SECRET}", index + 1)),
        None => Ok(text),
    }
}

/// The error for a list with a secret. It replaces errors that would show the entries.
const LOOKS_SECRET: &str = "it holds what looks like an access key, a token or a private key (not shown); write targets such as \
                            APP/SEGMENT or APP";

/// Whether an id in a list looks like a key. AWS's own ids are hexadecimal and never look like one.
fn looks_secret(list: &str) -> bool {
    list.split('/').any(holds_key)
}

/// Reads the targets of both settings. `file` is the contents of the file, or `None` if it was not read.
pub(super) fn read(
    texts: &RawSettings,
    file: Option<Result<String, String>>,
    region: Option<&str>,
    problems: &mut SettingErrors,
) -> Vec<TargetPattern> {
    let (variable, file_variable) = (texts.targets(), texts.targets_file());
    if variable.text.or(file_variable.text).is_none() {
        problems.problems.push(SettingError::without_value(
            variable.setting.variable,
            format!(
                "it is required and not set; write targets such as APP/SEGMENT or APP, separated by commas, or name a file \
                 of them in {}",
                file_variable.setting.variable
            ),
        ));
        return Vec::new();
    }
    let mut list = variable.text();
    let mut is_unread = file_variable.text.is_some() && !matches!(file, Some(Ok(_)));
    if looks_secret(list) {
        problems.problems.push(SettingError::without_value(variable.setting.variable, LOOKS_SECRET));
        (list, is_unread) = ("", true);
    }
    let mut faults = FileErrors::default();
    let file = match file {
        Some(Ok(text)) => text,
        Some(Err(fault)) => {
            faults.push(fault);
            String::new()
        }
        None => String::new(),
    };
    let parsed = target::parse_with_file(list, &file, region);
    for error in &parsed.errors {
        match error.entry() {
            None if is_unread => {}
            Some(Entry { text, line: None }) => {
                problems.problems.push(SettingError::new(variable.setting.variable, text, error.to_string()));
            }
            None if file_variable.text.is_none() => {
                let problem =
                    SettingError::new(variable.setting.variable, variable.text(), error.to_string());
                problems.problems.push(problem);
            }
            _ => faults.push(fault(error)),
        }
    }
    for fault in faults.none_or(()).err().unwrap_or_default() {
        let problem = SettingError::new(file_variable.setting.variable, file_variable.text(), fault);
        problems.problems.push(problem);
    }
    if let Some(entry) = &parsed.without_region {
        problems.problems.push(SettingError::without_value(REGION_VARIABLES[0], without_region(entry)));
    }
    parsed.patterns.into_keys().collect()
}

/// The error of an entry, as a sentence about the file.
fn fault(error: &target::Error) -> String {
    match error.entry() {
        None => error.to_string(),
        Some(Entry { text, line: Some(line) }) => format!("line {line}: {}: {error}", quoted(text)),
        Some(entry) => format!("{entry} (in TARGETS): {error}"),
    }
}

fn without_region(entry: &Entry) -> String {
    format!(
        "it is not set, and the target {entry} has no ARN to say its region; set AWS_REGION, AWS_DEFAULT_REGION or \
         the region of the AWS profile, such as us-east-1"
    )
}
