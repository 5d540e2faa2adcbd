//! What lists say of applications and segments beside their ids: names, types and tags. Values only.

use std::sync::Arc;

/// Where names come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NameSource {
    /// The lists that discovery reads anyway.
    #[default]
    Discovered,
    /// Those, and lists that are read for the names alone.
    All,
    /// Names are not read.
    Off,
}

/// The tags that are shown, and the labels that show them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagLabels {
    /// The keys of the tags, in the order of the setting.
    pub keys: Vec<String>,
    /// The labels, in the same order.
    pub labels: Vec<String>,
}

/// An application or a segment, as a list describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamedResource {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: Option<Arc<str>>,
    /// `SegmentType`; an application has none.
    pub segment_type: Option<Arc<str>>,
    /// The values of the tags that are shown, in the order of [`TagLabels`].
    pub tags: Box<[Option<Arc<str>>]>,
}

impl NamedResource {
    /// One of which nothing but the id is known.
    pub fn unnamed(id: impl Into<String>) -> Self {
        Self { id: id.into(), ..Self::default() }
    }

    /// The resource of that id. `resources` are in the order of their ids, as the client gives them.
    pub fn find<'a>(resources: &'a [Self], id: &str) -> Option<&'a Self> {
        let at = resources.binary_search_by(|resource| resource.id.as_str().cmp(id)).ok()?;
        resources.get(at)
    }
}

/// Names and tag values of more characters are cut. AWS allows 256 in the value of a tag.
const MAX_CHARACTERS: usize = 256;

/// A name as it is kept. A longer one ends in `…`.
pub fn bounded(name: &str) -> Arc<str> {
    if name.char_indices().nth(MAX_CHARACTERS).is_none() {
        return name.into();
    }
    let kept = name.chars().take(MAX_CHARACTERS - 1);
    kept.chain(['…']).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_more_than_256_characters_is_cut_and_says_so() {
        for (characters, kept) in [(0, 0), (255, 255), (256, 256), (257, 256), (10_000, 256)] {
            let name = bounded(&"é".repeat(characters));
            assert_eq!(name.chars().count(), kept, "{characters}");
            assert_eq!(name.ends_with('…'), characters > 256, "{characters}");
        }
    }
}
