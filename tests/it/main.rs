//! The integration tests, one binary. Modules are marked as tests so that clippy lets their helpers unwrap.

#[cfg(test)]
mod settings;
