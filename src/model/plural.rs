//! The words of the page that `check` uses too.

/// What a call that worked has found.
pub fn found(count: u64, one: &str) -> String {
    format!("ok, {}", counted(count, one))
}

/// A number of things.
pub fn counted(count: u64, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}
