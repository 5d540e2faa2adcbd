//! The settings in effect, for display. They contain no secrets.

use std::borrow::Cow;

use serde::Serialize;

use super::settings::RawSetting;

/// A setting, its value, and the source of the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EffectiveSetting {
    pub variable: &'static str,
    /// The value as written. `***` if it is secret.
    pub value: String,
    /// The source of the value, in words.
    pub source: Cow<'static, str>,
}

pub(super) const ENVIRONMENT: &str = "environment";
const DEFAULT: &str = "default";

impl EffectiveSetting {
    pub(super) fn of(written: RawSetting<'_>) -> Self {
        let secret = written.setting.name == "ROLE_EXTERNAL_ID" && written.text.is_some();
        let value = if secret { "***" } else { written.text() }.to_owned();
        let source = if written.text.is_some() { ENVIRONMENT } else { DEFAULT };
        Self { variable: written.setting.variable, value, source: source.into() }
    }
}
