//! Credentials: the cache of an account's, AWS's provider chain, roles, and whose credentials they are.

pub(super) mod cache;
pub(super) mod chain;
pub(super) mod expiration;
pub(super) mod process;
pub(super) mod provider_error;
pub(super) mod provider_http;
pub(super) mod source;
pub(super) mod sts;
