//! Counts with their nouns, as the status page and `check` print them.

/// Describes the result of a successful call, such as `ok, 3 jobs`.
pub fn found(count: u64, one: &str) -> String {
    format!("ok, {}", counted(count, one))
}

/// A count with its noun, such as `1 job` or `2 jobs`.
pub fn counted(count: u64, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}
