//! The exporter over real sockets, against the fake Pinpoint: one binary. Modules are marked as tests for clippy to let their
//! helper functions unwrap.

#[cfg(test)]
mod architecture;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod rude_clients;
#[cfg(test)]
mod settings;
#[cfg(test)]
mod signatures;
#[cfg(test)]
mod support;
#[cfg(test)]
mod web;
