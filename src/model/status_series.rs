//! Which series of a state set are exposed.

/// Which series of a state set are exposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatusSeries {
    /// One series for each state.
    #[default]
    All,
    /// Only the series of the current state, whose value is 1.
    Current,
}
