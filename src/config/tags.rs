//! Parses `TAG_LABELS`: tag keys and the labels that show them.

use super::value::Explanation;
use crate::model::names::TagLabels;

/// AWS allows 50 tags on a resource.
const MAX_TAGS: usize = 50;
/// AWS allows 128 characters in a tag key.
const MAX_KEY_CHARACTERS: usize = 128;

/// Parses keys separated by commas. White space around a key is ignored.
pub(super) fn tag_labels(text: &str) -> Result<TagLabels, Explanation> {
    let mut tags = TagLabels::default();
    for key in text.split(',').map(str::trim).filter(|key| !key.is_empty()) {
        if key.chars().count() > MAX_KEY_CHARACTERS {
            return Err(format!(
                "a key has more than {MAX_KEY_CHARACTERS} characters, which no tag of AWS has; write the keys \
                 separated by commas"
            ));
        }
        let label = label(key);
        if let Some(at) = tags.labels.iter().position(|known| *known == label) {
            let known = &tags.keys[at];
            return Err(if known == key {
                format!("the key {key:?} is given twice; write it once")
            } else {
                format!("{known:?} and {key:?} would both be the label {label}; write one of them")
            });
        }
        tags.keys.push(key.to_owned());
        tags.labels.push(label);
    }
    if tags.keys.len() > MAX_TAGS {
        return Err(format!("these are more than {MAX_TAGS} keys, and no resource of AWS has more tags"));
    }
    Ok(tags)
}

/// The label for a key: `tag_` and the key, with `_` for each character that a label name cannot contain.
fn label(key: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    "tag_".chars().chain(key.chars().map(allowed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_a_label_of_its_own() {
        let tags = tag_labels(" team, Cost Centre ,aws:cloudformation:stack-name,日本,").unwrap();
        assert_eq!(tags.keys, ["team", "Cost Centre", "aws:cloudformation:stack-name", "日本"]);
        assert_eq!(
            tags.labels,
            ["tag_team", "tag_Cost_Centre", "tag_aws_cloudformation_stack_name", "tag___"]
        );
        assert_eq!(tag_labels("").unwrap(), TagLabels::default());
    }

    #[test]
    fn keys_that_become_one_label_are_refused_with_both_names() {
        for (text, expected) in [
            ("team,team", "the key \"team\" is given twice"),
            ("a-b,c,a.b", "\"a-b\" and \"a.b\" would both be the label tag_a_b"),
            (&"x".repeat(129), "more than 128 characters"),
            (&(0..51).map(|n| format!("k{n},")).collect::<String>(), "more than 50 keys"),
        ] {
            let explanation = tag_labels(text).unwrap_err();
            assert!(explanation.contains(expected), "{text}: {explanation}");
        }
        assert!(tag_labels(&"x".repeat(128)).is_ok());
    }
}
