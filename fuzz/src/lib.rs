//! What the fuzz targets share: the properties, and a reader of the text format from the exporter's tests.

#[path = "../properties/mod.rs"]
mod properties;

#[path = "../../tests/it/support/text_format.rs"]
#[expect(dead_code, reason = "it is the tests', which need more of it")]
mod text_format;

mod support {
    pub(crate) use super::text_format;
}

/// Checks one input of a target.
pub fn check(target: &str, input: &[u8]) {
    let property = properties::ALL.iter().find(|(name, _)| *name == target);
    property.expect("the target has a property").1(input);
}
