//! Finds the known name that a misspelt name probably means.

use std::cmp::Ordering;

/// Returns the name in `names` closest to `word`, ignoring case. Closest means the fewest typing errors (Damerau-Levenshtein
/// distance). On a tie, the name with the more similar beginning wins (Jaro-Winkler).
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
