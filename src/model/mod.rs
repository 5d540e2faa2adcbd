//! Values that the whole program speaks of: targets, jobs, snapshots, dates. No I/O, and nothing of ours but each other.

pub mod clock;
pub mod job;
pub mod names;
pub mod overview;
pub mod plural;
pub mod printable;
pub mod refresh_limits;
pub mod shard;
pub mod snapshot;
pub mod target;
pub mod version;
