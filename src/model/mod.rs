//! Values that the whole program speaks of: targets, jobs, snapshots, dates. No I/O, and nothing of ours but each other.

pub mod clock;
pub(crate) mod duration;
pub mod exception;
pub mod job;
pub mod job_status;
pub mod list_id;
pub mod names;
pub mod overview;
pub(crate) mod path_segment;
pub mod plural;
pub mod printable;
pub mod refresh_limits;
pub mod shard;
pub mod snapshot;
pub mod status_series;
pub mod target;
pub mod timestamp;
pub mod version;
