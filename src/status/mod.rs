//! Shows what the exporter knows, to people (`/`) and to programs (`/api/v1/jobs`): the state of every list and target, the
//! jobs, and the settings. It never calls the API.
//!
//! `query` parses the request, and `view` selects the matching part of the [`Overview`]. `page` and `json` render that part.

mod age;
mod json;
mod page;
mod query;
mod view;

use self::{query::Query, view::View};
use crate::{config::EffectiveSetting, model::overview::Overview};

/// The status page in HTML. The error is a page that says what is wrong with the query.
pub fn page(overview: &Overview, settings: &[EffectiveSetting], query: &str) -> Result<String, String> {
    let query = Query::parse(query).map_err(|problem| page::problem(&problem))?;
    Ok(page::page(&View::of(overview, &query), &query, settings))
}

/// The same data in JSON. The error is an object that says what is wrong with the query.
pub fn json(overview: &Overview, settings: &[EffectiveSetting], query: &str) -> Result<String, String> {
    let query = Query::parse(query).map_err(|problem| json::problem(&problem))?;
    Ok(json::json(&View::of(overview, &query), settings))
}

/// The `Content-Security-Policy` of the page. It allows the page's style sheet, icon and form, and nothing else.
pub fn content_security_policy() -> &'static str {
    &page::CONTENT_SECURITY_POLICY
}
