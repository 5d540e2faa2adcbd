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

use self::{query::Query, view::View};
use crate::{config::EffectiveSetting, model::overview::Overview};

/// The page in HTML; `Err` with a page that says what is wrong with the query.
pub fn page(overview: &Overview, settings: &[EffectiveSetting], query: &str) -> Result<String, String> {
    let query = Query::parse(query).map_err(|problem| page::problem(&problem))?;
    Ok(page::page(&View::of(overview, &query), &query, settings))
}

/// The same in JSON; `Err` with an object that says what is wrong with the query.
pub fn json(overview: &Overview, settings: &[EffectiveSetting], query: &str) -> Result<String, String> {
    let query = Query::parse(query).map_err(|problem| json::problem(&problem))?;
    Ok(json::json(&View::of(overview, &query), settings))
}

/// The `Content-Security-Policy` of the page: its own style sheet and nothing else.
pub fn content_security_policy() -> &'static str {
    &page::CONTENT_SECURITY_POLICY
}
