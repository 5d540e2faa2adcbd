//! AWS's own Rust SDK as the judge of our fake Pinpoint and of our client: everything is in `tests/`.
