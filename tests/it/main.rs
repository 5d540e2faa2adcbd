//! The exporter over real sockets, against the fake Pinpoint.

mod signatures;
mod support;
