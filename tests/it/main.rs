//! The exporter over real sockets, against the fake Pinpoint: one binary.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

mod abusive_clients;
mod architecture;
mod aws_environment;
mod changing_targets;
mod commands;
mod connections;
mod corpus;
mod credential_sources;
mod discovery;
mod documentation;
mod error_texts;
mod exceptions;
mod extreme_settings;
mod golden;
mod iam;
mod log;
mod memory;
mod names;
mod process;
mod prometheus;
mod protected_port;
mod proxies_and_accounts;
mod request_queue;
mod scrape_cost;
mod scrapes;
mod secrets;
mod settings;
mod signatures;
mod status;
mod support;
mod targets_file;
mod web;
mod web_config;
