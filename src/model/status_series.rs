//! How state sets are exposed.

/// Which series of a state set are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatusSeries {
    /// One for each state.
    #[default]
    All,
    /// Only the one at 1.
    Current,
}
