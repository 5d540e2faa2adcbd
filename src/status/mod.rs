//! What the exporter itself sees, for people (`/`) and for programs (`/api/v1/jobs`): the state of every list and target, and
//! the jobs that it shows, with the settings. It never calls the API.
//!
//! `query` is what is asked for, `view` what of the [`Overview`] that is, `page` and `json` how it is written. [`words`] are
//! those of `check` too.

mod age;
mod json;
mod page;
mod query;
mod view;
pub mod words;

use std::{sync::Arc, time::Duration};

use self::{query::Query, view::View, words::CallError};
use crate::{config::Effective, discovery::Catalog, job::Timestamp, picture::Picture, target::Target};

/// What is known of everything that is watched, at a date.
#[derive(Debug, Clone)]
pub struct Overview {
    /// When it was looked at.
    pub now: Timestamp,
    /// The lists of applications and segments, in their order.
    pub lists: Vec<ListState>,
    /// The targets, in their order.
    pub targets: Vec<TargetState>,
}

/// A list of applications or segments.
#[derive(Debug, Clone)]
pub struct ListState {
    /// Which one.
    pub catalog: Catalog,
    /// How many ids the last good reading found.
    pub found: Option<usize>,
    /// The last reading; none has ended yet.
    pub reading: Option<Reading>,
}

/// A target.
#[derive(Debug, Clone)]
pub struct TargetState {
    /// Which one.
    pub target: Target,
    /// The last refresh; none has ended yet.
    pub reading: Option<Reading>,
    /// When the data are as of, and the data unless they are too old to be shown.
    pub data: Option<(Timestamp, Option<Arc<Picture>>)>,
}

/// How something was read the last time.
#[derive(Debug, Clone)]
pub struct Reading {
    /// When that began.
    pub began: Timestamp,
    /// How long it took, with all waits.
    pub took: Duration,
    /// A scrape after this reads it anew.
    pub next: Timestamp,
    /// Why it failed, if it did.
    pub error: Option<CallError>,
}

/// The page in HTML; `Err` with a page that says what is wrong with the query.
pub fn page(overview: &Overview, settings: &[Effective], query: &str) -> Result<String, String> {
    let query = Query::parse(query).map_err(|problem| page::problem(&problem))?;
    Ok(page::page(&View::of(overview, &query), &query, settings))
}

/// The same in JSON; `Err` with an object that says what is wrong with the query.
pub fn json(overview: &Overview, settings: &[Effective], query: &str) -> Result<String, String> {
    let query = Query::parse(query).map_err(|problem| json::problem(&problem))?;
    Ok(json::json(&View::of(overview, &query), settings))
}

/// The `Content-Security-Policy` of the page: its own style sheet and nothing else.
pub fn content_security_policy() -> &'static str {
    &page::CONTENT_SECURITY_POLICY
}
