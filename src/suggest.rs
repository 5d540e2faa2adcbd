//! The known name that a misspelt one is likely to mean.

use std::cmp::Ordering;

/// Of `names` the one that is written most like `word`, case apart: the fewest typing mistakes away, and of several
/// the one that begins like it.
pub(crate) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let likeness = |name: &str| {
        let name = name.to_lowercase();
        (strsim::damerau_levenshtein(&word, &name), -strsim::jaro_winkler(&word, &name))
    };
    names
        .into_iter()
        .map(|name| (likeness(name), name))
        .min_by(|(one, _), (other, _)| one.partial_cmp(other).unwrap_or(Ordering::Equal))
        .map(|(_, name)| name)
}
