//! The progress of a command.

/// Called as a command makes progress, with the kind of items, the number of finished items, and the total.
pub(crate) type Progress<'a> = dyn Fn(&str, usize, usize) + Sync + 'a;
