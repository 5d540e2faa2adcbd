//! Values that the whole program uses: targets, jobs, snapshots, dates. No I/O. These modules import no other module of the
//! crate.

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
pub(crate) mod token_bucket;
pub mod version;
