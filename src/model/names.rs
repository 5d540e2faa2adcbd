//! What the lists of applications and segments contain besides ids: names, types and tags. Values only.

use std::sync::Arc;

/// Where names come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NameSource {
    /// Only from the lists that discovery reads anyway.
    #[default]
    Discovered,
    /// From those lists, and from lists that are read only for their names.
    All,
    /// Names are not read.
    Off,
}

/// The tags that are exposed, and their labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagLabels {
    /// The keys of the tags, in the order of the setting.
    pub keys: Vec<String>,
    /// The label of each key, in the same order.
    pub labels: Vec<String>,
}

/// An application or a segment, as a list describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamedResource {
    pub id: String,
    pub name: Option<Arc<str>>,
    /// `SegmentType`. `None` for an application.
    pub segment_type: Option<Arc<str>>,
    /// The values of the exposed tags, in the order of [`TagLabels`].
    pub tags: Box<[Option<Arc<str>>]>,
}

impl NamedResource {
    /// A resource of which only the id is known.
    pub fn unnamed(id: impl Into<String>) -> Self {
        Self { id: id.into(), ..Self::default() }
    }

    /// Finds the resource with this id. `resources` must be sorted by id, as the client returns them.
    pub fn find<'a>(resources: &'a [Self], id: &str) -> Option<&'a Self> {
        let at = resources.binary_search_by(|resource| resource.id.as_str().cmp(id)).ok()?;
        resources.get(at)
    }
}

/// The maximum length of names and tag values, in characters. Longer ones are truncated. AWS allows 256 characters in a tag
/// value.
const MAX_CHARACTERS: usize = 256;

/// Returns the name as it is stored. A longer name is truncated and ends in `…`.
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
