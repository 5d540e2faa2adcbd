//! Settings as they are in effect, for people to see. Nothing secret is in them.

use std::borrow::Cow;

use serde::Serialize;

use super::settings::Written;

/// A setting, its value, and where that is from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EffectiveSetting {
    /// The variable's name.
    pub variable: &'static str,
    /// The value as it is written; `***` for a secret one.
    pub value: String,
    /// Where it is from, in words.
    pub source: Cow<'static, str>,
}

pub(super) const ENVIRONMENT: &str = "environment";
const DEFAULT: &str = "default";

impl EffectiveSetting {
    pub(super) fn of(written: Written<'_>) -> Self {
        let secret = written.setting.name == "ROLE_EXTERNAL_ID" && written.text.is_some();
        let value = if secret { "***" } else { written.text() }.to_owned();
        let source = if written.text.is_some() { ENVIRONMENT } else { DEFAULT };
        Self { variable: written.setting.variable, value, source: source.into() }
    }
}
