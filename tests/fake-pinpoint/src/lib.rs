//! A faithful stand-in for Amazon Pinpoint's export-job API, version 2016-12-01. It has a world of applications, segments and
//! jobs, whose states change on a clock that tests can advance. It serves real HTTP, verifies signatures, produces faults on
//! demand and logs requests.
//!
//! It implements the protocol from AWS's documentation and shares neither code nor types with the exporter. Tests with AWS's
//! own SDKs check it.

mod clock;
mod connection;
pub mod control;
mod demo;
mod error;
pub mod fault;
mod log;
mod operation;
mod paging;
mod permission;
mod reply;
mod server;
mod sigv4;
pub mod world;

use std::time::Duration;

/// How long a test waits for an event that must come. Only a hang takes longer, even on a busy machine.
pub const HANG_LIMIT: Duration = Duration::from_mins(2);

pub use self::{
    clock::Clock,
    demo::demo_world,
    log::Request,
    operation::Operation,
    permission::Policy,
    server::{FakePinpoint, Options},
    sigv4::Key,
};
