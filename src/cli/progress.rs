//! How far a command is.

/// Told as a command goes on: of what, how much is done, of how much.
pub(crate) type Progress<'a> = dyn Fn(&str, usize, usize) + Sync + 'a;
