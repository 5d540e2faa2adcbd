//! Credentials: the cache of each account, AWS's provider chain, roles, and caller identity.

pub(super) mod cache;
pub(super) mod chain;
pub(super) mod expiration;
pub(super) mod process;
pub(super) mod provider_error;
pub(super) mod provider_http;
pub(super) mod source;
pub(super) mod sts;
