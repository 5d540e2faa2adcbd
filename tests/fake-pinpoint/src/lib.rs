//! A faithful stand-in for Amazon Pinpoint's export-job API, version 2016-12-01: a world of applications, segments and jobs
//! that live through their states on a clock which can be turned; real HTTP with verified signatures; faults on demand; a log
//! of requests.
//!
//! It restates the protocol by itself, from AWS's documentation, and shares neither code nor types with the exporter. AWS's
//! own SDKs are its judges.

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

/// How long a test waits for what must come. Only a hang takes longer, however busy the machine is.
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
