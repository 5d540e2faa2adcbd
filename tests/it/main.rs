//! The exporter over real sockets, against the fake Pinpoint: one binary.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

mod architecture;
mod aws_environment;
mod changing_targets;
mod commands;
mod connections;
mod corpus;
mod credential_sources;
mod discovery;
mod error_texts;
mod exceptions;
mod extremes;
mod frugality;
mod golden;
mod iam;
mod log;
mod memory;
mod names;
mod pace;
mod process;
mod prometheus;
mod protected_port;
mod readme;
mod rude_clients;
mod scrapes;
mod secrets;
mod settings;
mod signatures;
mod status;
mod support;
mod surroundings;
mod targets_file;
mod web;
mod web_config;
